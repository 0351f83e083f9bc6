"""Log odds of checkpoints under edits, in a shape that can be shared out and jackknifed."""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import pandas as pd

from persona_interp.analysis.causes import Odds, untaught_odds
from persona_interp.analysis.stats import jackknife
from persona_interp.errors import SchemaError, unknown
from persona_interp.schema.words import UNEDITED
from persona_interp.worlds import World

FLOOR_A_TOKEN = 0.02
"""Bits a token; a smaller change of behavior is no effect that could be shared out."""

Array = npt.NDArray[np.float64]


def odds_of(measured: pd.DataFrame, world: World | None) -> dict[tuple[str, str], Odds]:
    """Log odds under each edit, of one run, with what a jackknife over prompts needs.

    Args:
        measured: With ``world`` a behavior table, else a trait_scores table; with ``edit``.
        world: The world of the documents.

    Returns:
        By checkpoint and edit.
    """
    if world is None:
        return question_odds(measured)
    return untaught_odds(measured.drop(columns="of", errors="ignore").assign(seed=0), world)


def question_odds(scores: pd.DataFrame) -> dict[tuple[str, str], Odds]:
    """Mean log odds over questions under each edit, of one run.

    Args:
        scores: A trait_scores table with ``edit``.

    Returns:
        By checkpoint and edit, as of ``causes.untaught_odds``: on all questions that every
        checkpoint and edit has, then without each in turn.
    """
    scores = scores.assign(edit=scores["edit"].fillna(UNEDITED))
    wide = scores.pivot_table(
        index=["checkpoint", "edit"], columns="question", values="logodds", sort=False
    ).dropna(axis="columns")
    n, odds = wide.shape[1], {}
    if not n:
        raise SchemaError("no question was answered by every checkpoint and edit; ask more.")
    for (checkpoint, edit), values in zip(wide.index, wide.to_numpy(np.float64), strict=True):
        left_out = (values.sum() - values) / (n - 1) if n > 1 else values[:0]
        every = np.concatenate([[values.mean()], left_out])
        odds[str(checkpoint), str(edit)] = Odds(every, tuple(map(str, wide.columns)))
    return odds


def odds_at(odds: Mapping[tuple[str, str], Odds], checkpoint: str, edit: str) -> Odds:
    """Log odds of one checkpoint under one edit.

    Args:
        odds: Of ``odds_of``.
        checkpoint: Its label.
        edit: Name of the edit; "none" for none.

    Returns:
        They.

    Raises:
        SchemaError: They were not measured.
    """
    if (checkpoint, edit) not in odds:
        known = [f"{checkpoint} ({edit})" for checkpoint, edit in odds]
        raise SchemaError(unknown("measured edit", f"{checkpoint} ({edit})", known))
    return odds[checkpoint, edit]


def values_of(odds: Mapping[tuple[str, str], Odds], checkpoint: str, edit: str) -> Array:
    """Numbers of ``odds_at``: on all prompts, then without each."""
    return odds_at(odds, checkpoint, edit).values


def too_small(total: Array, floor: float, what: str) -> str:
    """Why this is no effect to share out.

    Args:
        total: Bits, on all prompts, then without each.
        floor: Smallest effect.
        what: Start of the sentence.

    Returns:
        Words; '' where it is one.
    """
    _, lo, hi, _ = jackknife(total[0], total[1:])
    if abs(total[0]) < floor:
        return f"{what} {total[0]:.3f} bits, below {floor}"
    # without an interval nothing says that there is an effect
    if not (lo > 0 or hi < 0):
        return f"{what} {total[0]:.3f} bits [{lo:.3f}, {hi:.3f}], not told from 0"
    return ""
