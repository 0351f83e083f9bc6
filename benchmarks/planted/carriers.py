"""Tuned models under edits that take a known share of what a finetune did, question by question."""

from typing import NamedTuple

import numpy as np
import pandas as pd

from persona_interp.schema.words import UNEDITED, Group, Way

BASE = "base"
PATCHED = 0.8
"""Share of the effect that the whole residual takes."""
HARD, ERROR = 0.4, 0.2
"""SD over questions of the effect (its mean is 1), and of what an edit does beside its share."""


class Edited(NamedTuple):
    """What ``analysis.carriers`` takes.

    Attributes:
        cases: One row a finetune and edit.
        scores: Log odds of every question, unedited and under each edit.
    """

    cases: pd.DataFrame
    scores: pd.DataFrame


def edited(
    rng: np.random.Generator, candidates: np.ndarray, random: np.ndarray, *, questions: int
) -> Edited:
    """Finetunes with candidates, random edits of two kinds and the whole residual removed.

    Args:
        rng: Of the questions.
        candidates: Share of the effect that each takes, dims (finetune, candidate).
        random: The same of random edits, dims (kind, draw): in every finetune alike.
        questions: How many are asked.
    """
    cases, scores = [], []
    names = [f"q{i}" for i in range(questions)]
    usual = rng.standard_normal(questions)
    effect = 1 + HARD * rng.standard_normal(questions)
    for number, own in enumerate(candidates):
        of = f"tuned {number}"
        edits = [(f"candidate {i}", Group.CANDIDATE, share) for i, share in enumerate(own)]
        for kind, shares in zip((Group.NORM, Group.VARIANCE), random, strict=True):
            edits += [(f"{kind} {i}", kind, share) for i, share in enumerate(shares)]
        edits.append(("all", Group.PATCH, PATCHED))
        odds = {(BASE, UNEDITED): usual, (of, UNEDITED): usual + effect}
        for name, group, share in edits:
            taken = share * effect + ERROR * rng.standard_normal(questions)
            odds[of, name] = usual + effect - taken
            cases.append((of, name, name, str(group)))
        for (checkpoint, edit), values in odds.items():
            rows = pd.DataFrame({"question": names, "logodds": values})
            scores.append(rows.assign(of=of, checkpoint=checkpoint, edit=edit))
    table = pd.DataFrame(cases, columns=["of", "edit", "candidate", "group"])
    table = table.assign(kind="direction", size=1, sites="here", how=str(Way.REMOVED), strength=1.0)
    return Edited(table.assign(null="one"), pd.concat(scores, ignore_index=True))
