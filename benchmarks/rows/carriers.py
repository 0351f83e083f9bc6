"""Calibration of what is said to carry a finetune's effect."""

from functools import partial

import numpy as np
import pandas as pd

from persona_interp import analysis
from persona_interp.schema.words import Carries, Group
from planted.carriers import BASE, PATCHED, edited
from rows.row import Outcome, Row, coverage, false_share, rejects

SHARE, SPREAD = 0.6, 0.2
"""Share of the effect that a planted candidate takes; SD of what random edits take (mean 0)."""
DRAWS = 6
"""Random edits of either kind."""


def _random(rng: np.random.Generator, n: int = DRAWS) -> np.ndarray:
    """What random edits of both kinds take, dims (kind, draw)."""
    return SPREAD * rng.standard_normal((2, n))


def _over_prompts(rng: np.random.Generator, *, questions: int, tuned: int) -> Outcome:
    """The share of the patch, whose truth is the same in all finetunes."""
    shares = np.full((tuned, 1), SHARE)
    data = edited(rng, shares, _random(rng, 2), questions=questions)
    row = analysis.carriers(data.cases, data.scores, base=BASE).iloc[0]
    return coverage(row["share_of_patch_lo"], row["share_of_patch_hi"], SHARE / PATCHED)


def _over_finetunes(rng: np.random.Generator, *, tuned: int) -> Outcome:
    """Shares that scatter over finetunes, SD .1."""
    shares = SHARE + 0.1 * rng.standard_normal((tuned, 1))
    data = edited(rng, shares, _random(rng, 2), questions=20)
    row = analysis.carriers(data.cases, data.scores, base=BASE).iloc[0]
    return coverage(row["tuned_lo"], row["tuned_hi"], SHARE / PATCHED)


def _level(rng: np.random.Generator, *, tuned: int) -> Outcome:
    """A candidate that is one more random edit."""
    shares = np.full((tuned, 1), SPREAD * rng.standard_normal())
    data = edited(rng, shares, _random(rng), questions=20)
    return rejects(analysis.carriers(data.cases, data.scores, base=BASE)["p"].iloc[0])


def _verdicts(rng: np.random.Generator, *, tuned: int, candidates: int, planted: int) -> Outcome:
    """Candidates of which a few were planted; the rest are random edits like those beside them."""
    shares = SPREAD * rng.standard_normal(candidates)
    is_planted = np.arange(candidates) < planted
    shares[is_planted] = SHARE * 1.5
    data = edited(rng, np.tile(shares, (tuned, 1)), _random(rng), questions=20)
    return _found(analysis.carriers(data.cases, data.scores, base=BASE), is_planted)


def _family(rng: np.random.Generator, *, finetunes: int, candidates: int) -> Outcome:
    """Finetunes that are searched alone and corrected together; nothing was planted in any."""
    tables = []
    for number in range(finetunes):
        shares = SPREAD * rng.standard_normal((1, candidates))
        data = edited(rng, shares, _random(rng), questions=20)
        table = analysis.carriers(data.cases, data.scores, base=BASE)
        tables.append(table.assign(of=f"finetune {number}"))
    table = analysis.in_one_family(pd.concat(tables, ignore_index=True))
    return _found(table, np.zeros(finetunes * candidates, dtype=bool))


def _found(table: pd.DataFrame, is_planted: np.ndarray) -> Outcome:
    """What is claimed, beside what was planted."""
    own = table.loc[table["group"] == Group.CANDIDATE, "verdict"]
    claimed = own.isin([Carries.CARRIES, Carries.HERE, Carries.AGAINST]).to_numpy()
    return false_share(claimed, is_planted)


ROWS = [
    *(
        Row(
            "carriers.carriers",
            f"share of the patch over {n} questions, {tuned} finetune{'s' if tuned > 1 else ''}",
            partial(_over_prompts, questions=n, tuned=tuned),
            1_500,
        )
        for n, tuned in ((8, 1), (20, 1), (8, 3))
    ),
    Row(
        "carriers.carriers",
        "share of the patch over 3 finetunes",
        partial(_over_finetunes, tuned=3),
        1_500,
    ),
    Row("carriers.carriers", "p of one more random edit", partial(_level, tuned=1), 1_500),
    *(
        Row(
            "carriers.carriers",
            f"verdicts of {n} candidates, {planted} planted, {tuned} finetunes",
            partial(_verdicts, tuned=tuned, candidates=n, planted=planted),
            600,
        )
        for n, planted, tuned in ((10, 0, 3), (10, 2, 3))
    ),
    Row(
        "carriers.in_one_family",
        "verdicts of 4 finetunes with 5 candidates each, none planted",
        partial(_family, finetunes=4, candidates=5),
        600,
    ),
]
