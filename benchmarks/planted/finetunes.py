"""Measurements of a base, of control finetunes and of the finetune that a claim is about."""

import numpy as np
import pandas as pd

from persona_interp.schema.words import Family
from planted.inside import sparse
from planted.noise import Noise, noise

BASE, TUNED = "base", "tuned"


def controls(n: int) -> list[str]:
    """Their labels."""
    return [f"control {i}" for i in range(n)]


def offsets(
    rng: np.random.Generator,
    quantities: int,
    *,
    n_controls: int,
    kind: Noise,
    farther: float = 1.0,
    rho: float = 0.3,
) -> np.ndarray:
    """Chance changes of base (0), controls and finetune, dims (checkpoint, quantity), SD 1.

    Those of one run correlate by rho; the finetune's are ``farther`` times as large.
    """
    runs = n_controls + 1
    own, common = noise(rng, (runs, quantities), kind), noise(rng, (runs, 1), kind)
    changes = np.sqrt(rho) * common + np.sqrt(1 - rho) * own
    changes[-1] *= farther
    return np.concatenate([np.zeros((1, quantities)), changes])


def measurements(
    rng: np.random.Generator, changes: np.ndarray, *, units: int, within: float = 1.0
) -> pd.DataFrame:
    """Behavior with these mean changes; questions differ, and answers scatter by ``within``."""
    runs, quantities = changes.shape
    values = rng.standard_normal((quantities, units)) + changes[:, :, None]
    values = values + within * rng.standard_normal((runs, quantities, units))
    return table(values, family=Family.BEHAVIOR)


def activations(
    rng: np.random.Generator, features: int, *, n_controls: int, units: int, silent: float
) -> np.ndarray:
    """Sparse features of base, controls and finetune, which chance alone tells apart.

    Dims (checkpoint, feature, unit). A share ``silent`` is 0 everywhere. The others fire at 2 to
    50 % of the units; a run multiplies each by a factor (SD .3 nats) and adds its own firings.
    """
    runs = n_controls + 2
    rate = np.exp(rng.uniform(np.log(0.02), np.log(0.5), features))[:, None]
    rate = np.where(np.arange(features)[:, None] < silent * features, 0.0, rate)
    fires = sparse(rng, (features, units), rate=rate)
    factors = np.exp(0.3 * rng.standard_normal((runs, features, 1)))
    factors[0] = 1.0
    further = sparse(rng, (runs, features, units), rate=0.1 * rate)
    further[0] = 0.0
    return fires * factors + further


def table(values: np.ndarray, *, family: Family) -> pd.DataFrame:
    """A measurements table of values, dims (checkpoint, quantity, unit): base, controls, tuned."""
    labels = np.array([BASE, *controls(len(values) - 2), TUNED])
    checkpoint, quantity, unit = (index.ravel() for index in np.indices(values.shape))
    return pd.DataFrame(
        {
            "checkpoint": labels[checkpoint],
            "family": str(family),
            "hook": "sae at h" if family == Family.FEATURE else "",
            "quantity": np.array([str(i) for i in range(values.shape[1])])[quantity],
            "unit": np.array([f"u{i}" for i in range(values.shape[2])])[unit],
            "value": values.ravel(),
        }
    )
