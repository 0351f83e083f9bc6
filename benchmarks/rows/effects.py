"""Claims about a finetune beside its controls: traits, sparse features, lessons and their nulls."""

from functools import partial

import numpy as np
import pandas as pd

from persona_interp import analysis
from persona_interp.schema.words import Family, Verdict
from planted.finetunes import (
    BASE,
    TUNED,
    activations,
    controls,
    measurements,
    offsets,
    table,
)
from planted.noise import Noise
from rows.row import FREE, Bounds, Outcome, Quantity, Row, false_share

MOVED = (Verdict.UP, Verdict.DOWN)
AT_LEAST = {Quantity.POWER: Bounds(0.8, np.nan)}
TRAITS, UNITS = 12, 20
FAR = 8.0
"""A planted change in standard deviations of the controls' changes."""
FLIPS = 2_000
"""Enough for a lone claim among a dozen tests: 12 / 2,001 is below .05."""
KL = 0.1
"""Distance of the controls from the base (bits a token)."""


def claims(effects: pd.DataFrame, quantities: int, *, words: tuple[Verdict, ...]) -> np.ndarray:
    """Of which quantities one of these words is said; what is not tested is not claimed."""
    rows = effects.loc[(effects["role"] == "tuned") & effects["verdict"].isin(words)]
    claimed = np.zeros(quantities, dtype=bool)
    claimed[rows["quantity"].astype(int)] = True
    return claimed


def _traits(
    rng: np.random.Generator,
    *,
    n_controls: int,
    kind: Noise = Noise.NORMAL,
    farther: float = 1.0,
    told: bool = False,
) -> Outcome:
    """Is any trait said to have moved? The finetune is one more control, maybe a farther one."""
    changes = offsets(rng, TRAITS, n_controls=n_controls, kind=kind, farther=farther)
    labels = controls(n_controls)
    distance = dict.fromkeys(labels, KL) | {TUNED: KL * farther**2} if told else None
    effects = analysis.effects(
        measurements(rng, changes, units=UNITS),
        base=BASE,
        tuned=[TUNED],
        controls=labels,
        distance=distance,
        n_flips=FLIPS,
    )
    return {Quantity.LEVEL: float(claims(effects, TRAITS, words=MOVED).any())}


def _primary(rng: np.random.Generator, *, n_controls: int, moved: float) -> Outcome:
    """One trait that was named beforehand."""
    changes = offsets(rng, 2, n_controls=n_controls, kind=Noise.NORMAL)
    changes[-1, 0] += moved
    effects = analysis.effects(
        measurements(rng, changes, units=UNITS),
        base=BASE,
        tuned=[TUNED],
        controls=controls(n_controls),
        primary=[(TUNED, "0")],
        n_flips=FLIPS,
    )
    claimed = claims(effects, 2, words=MOVED)[0]
    return {Quantity.POWER if moved else Quantity.LEVEL: float(claimed)}


def _discoveries(rng: np.random.Generator, *, n_controls: int) -> Outcome:
    """Two of twelve traits moved by 8 SD of the controls' changes."""
    changes = offsets(rng, TRAITS, n_controls=n_controls, kind=Noise.NORMAL)
    planted = np.arange(TRAITS) < 2
    changes[-1, planted] += FAR
    effects = analysis.effects(
        measurements(rng, changes, units=UNITS),
        base=BASE,
        tuned=[TUNED],
        controls=controls(n_controls),
        n_flips=FLIPS,
    )
    return false_share(claims(effects, TRAITS, words=MOVED), planted)


def _units(rng: np.random.Generator, *, units: int, moved: float) -> Outcome:
    """Without controls: do base and finetune differ? Answers scatter, and here nothing else."""
    changes = np.zeros((2, TRAITS))
    changes[1, 0] = moved
    effects = analysis.effects(measurements(rng, changes, units=units), base=BASE, tuned=[TUNED])
    claimed = claims(effects, TRAITS, words=(Verdict.DIFFERS,))
    if moved:
        return {Quantity.POWER: float(claimed[0])}
    return {Quantity.LEVEL: float(claimed.any())}


def _switched(
    rng: np.random.Generator, *, n_features: int, n_controls: int, jitter: bool = False
) -> Outcome:
    """One feature is 0 in base and controls and 5 in the finetune; 95 % are silent everywhere.

    ``jitter``: one control fires once, by a millionth.
    """
    act = activations(rng, n_features, n_controls=n_controls, units=UNITS, silent=0.95)
    act[:, 0] = 0.0
    act[-1, 0] = 5.0
    if jitter:
        act[1, 0, 0] = 1e-6
    effects = _feature_effects(act, n_controls=n_controls)
    claimed = claims(effects, n_features, words=MOVED)
    return {
        Quantity.POWER: float(claimed[0]),
        Quantity.LEVEL: float(claimed[1:].any()),
    }


def _features(rng: np.random.Generator, *, n_features: int, n_controls: int) -> Outcome:
    """Is any feature said to have moved? The finetune is one more control."""
    act = activations(rng, n_features, n_controls=n_controls, units=UNITS, silent=0.5)
    claimed = claims(_feature_effects(act, n_controls=n_controls), n_features, words=MOVED)
    return {Quantity.LEVEL: float(claimed.any())}


def _feature_effects(act: np.ndarray, *, n_controls: int) -> pd.DataFrame:
    """Effects of features; those that never fire are left out, as ``measure_features`` does."""
    values = table(act, family=Family.FEATURE)
    fires = np.any(act > 0, axis=(0, 2))
    values = values.loc[fires[values["quantity"].astype(int)]]
    return analysis.effects(values, base=BASE, tuned=[TUNED], controls=controls(n_controls))


ROWS = [
    *(
        Row(
            "effects.effects",
            f"12 traits, {n} controls, {kind}, exchangeable",
            partial(_traits, n_controls=n, kind=kind),
            300,
        )
        for n in (3, 5)
        for kind in (Noise.NORMAL, Noise.HEAVY)
    ),
    *(
        Row(
            "effects.effects",
            f"12 traits, {n} controls, {farther:g} times as far, "
            + ("distances given" if told else "distances not given"),
            partial(_traits, n_controls=n, farther=farther, told=told),
            300,
        )
        for n, farther, told in (
            (3, 2.0, True),
            (5, 2.0, True),
            (3, 7.0, True),
            (5, 7.0, True),
            (5, 7.0, False),
        )
    ),
    *(
        Row(
            "effects.effects",
            f"1 primary trait, {n} controls, moved by {moved:g} SD",
            partial(_primary, n_controls=n, moved=moved),
            200,
        )
        for n, moved in ((3, 0.0), (5, 0.0), (3, FAR), (5, FAR))
    ),
    *(
        Row(
            "effects.effects",
            f"2 of 12 traits moved by 8 SD, {n} controls",
            partial(_discoveries, n_controls=n),
            200,
        )
        for n in (3, 5)
    ),
    *(
        Row(
            "effects.effects",
            f"12 traits, no controls, {units} units, moved by {moved:g} SD of an answer",
            partial(_units, units=units, moved=moved),
            300,
        )
        for units, moved in ((10, 0.0), (20, 0.0), (20, 2.0))
    ),
    *(
        Row(
            "effects.effects",
            f"a feature switched on among {n:,}, {k} controls"
            + (", one of which fires by a millionth" if jitter else ""),
            partial(_switched, n_features=n, n_controls=k, jitter=jitter),
            simulations,
            bounds=AT_LEAST if simulations >= 100 else AT_LEAST | {Quantity.LEVEL: FREE},
        )
        for n, k, jitter, simulations in (
            (64, 3, False, 100),
            (64, 5, False, 100),
            (64, 3, True, 100),
            (4_096, 3, False, 100),
            (4_096, 5, False, 100),
            (16_384, 5, False, 15),
        )
    ),
    *(
        Row(
            "effects.effects",
            f"{n} sparse features, {k} controls, exchangeable",
            partial(_features, n_features=n, n_controls=k),
            200,
        )
        for n, k in ((60, 3), (60, 5))
    ),
]
