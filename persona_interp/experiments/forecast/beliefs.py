"""What does a base believe of everybody, and what follows from it for any lesson?

It is asked once, and costs a lesson nothing.
"""

from collections.abc import Iterable
from typing import NamedTuple

import pandas as pd

from persona_interp import analysis
from persona_interp.analysis.beliefs import NAMED, NAMELESS
from persona_interp.analysis.uplift import NOTHING
from persona_interp.schema.words import Predictor

SPLIT = "test"
"""Wordings that are asked: those that no document and no lesson has."""
N_CLASSES = 8
"""Personas without names that are looked for."""
PLAIN_STEPS = 2
"""Steps of the plain pilot."""


class Known(NamedTuple):
    """What is known of a base once, ready for all its lessons.

    Attributes:
        behavior: What it says as nobody and under every name.
        stated: What it says as nobody once each trait was stated, or nothing.
        classes: Personas without names that its answers fall into.
    """

    behavior: pd.DataFrame
    stated: pd.DataFrame
    classes: pd.DataFrame


def know(behavior: pd.DataFrame, stated: pd.DataFrame) -> Known:
    """What follows for every lesson from what a base says.

    Args:
        behavior: What it says as nobody and under every name; of a training its last checkpoint.
        stated: What it says as nobody once each trait was stated.

    Returns:
        The same, with its personas without names.
    """
    own = last_rows(behavior)
    nothing = own.loc[own["context"] == NAMELESS].assign(stated=NOTHING)
    rows = pd.concat([nothing, stated], ignore_index=True)
    return Known(own, rows, analysis.latent_personas(rows, n=N_CLASSES, split=SPLIT))


def predict_known(known: Known, taught: Iterable[str]) -> pd.DataFrame:
    """Predictors that follow from what is known of a base once, and cost a lesson nothing.

    Args:
        known: Of the base.
        taught: Labels of the taught traits.

    Returns:
        A predictors table of the nameless context; of a base that was not asked by name without
        what follows from names.
    """
    labels = list(dict.fromkeys(taught))
    tables = [
        analysis.belief_forecast(
            known.classes,
            labels,
            weights=known.classes.attrs["weights"],
            predictor=Predictor.CLASSES,
        ),
        analysis.uplift_forecast(known.stated, labels, split=SPLIT),
    ]
    if NAMED in set(known.behavior["context"]):
        tables.append(analysis.belief_forecast(known.behavior, labels, split=SPLIT))
        tables.append(analysis.summon_forecast(known.behavior, labels, split=SPLIT))
    return pd.concat(tables, ignore_index=True)


def predict_plain(behavior: pd.DataFrame, taught: Iterable[str]) -> pd.DataFrame:
    """What the first steps of the finetune itself say: the pilot that everybody would do.

    Args:
        behavior: Of the finetune, asked at step ``PLAIN_STEPS``.
        taught: Labels of the taught traits.

    Returns:
        A predictors table of the nameless context; the readout is not counted.
    """
    shifts = analysis.shift(behavior, before=0, after=PLAIN_STEPS, split=SPLIT)
    shifts = shifts.loc[shifts["context"] == NAMELESS]
    labels = list(dict.fromkeys(taught))
    return analysis.predictors(
        shifts, labels, predictor=Predictor.PLAIN_PILOT, cost=float(PLAIN_STEPS)
    )


def last_rows(behavior: pd.DataFrame) -> pd.DataFrame:
    """Rows of the base itself, which is the last checkpoint of its training.

    Args:
        behavior: Of the training.

    Returns:
        The rows.
    """
    label = behavior["checkpoint"].iloc[-1]
    return behavior.loc[behavior["checkpoint"] == label].reset_index(drop=True)
