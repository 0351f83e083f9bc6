"""Tables of a dictionaries run in which a lesson wakes, and does not create; three seeds."""

import numpy as np
import pandas as pd

from persona_interp.analysis.nulls import against_null
from persona_interp.analysis.stats import across_seeds
from persona_interp.experiments.dictionaries.config import (
    CHANGES,
    EDITS,
    MATCHED,
    NULLS,
    PERSONA,
    Life,
    Verb,
)
from persona_interp.experiments.dictionaries.tables import by_seed
from persona_interp.schema.words import Status

SEEDS = (0, 1, 2)
N = 4
"""Features in each group."""


def groups(*, woken: int = 3) -> pd.DataFrame:
    """Features of each group: so many are woken, one of these rotated, none born."""
    rows = []
    for seed in SEEDS:
        for k, group in enumerate([*EDITS, *MATCHED.values()]):
            for i in range(N):
                own = group in EDITS
                status = Status.ROTATED if own and i == 0 else Status.SHARED
                row = {"seed": seed, "group": str(group), "feature": 10 * k + i, "status": status}
                row |= {"auroc_before": 0.9 - i / 10 + seed / 100, "lo_before": 0.8}
                row |= {"auroc_after": 0.92 - i / 10 + seed / 100, "lo_after": 0.8}
                row |= {"hi_before": 0.95, "hi_after": 0.96, "bayes_after": 0.95}
                row |= {"norm_before": 0.95, "act_before": 0.1, "rise": 2.0 * own + seed / 10}
                row |= {"unrelated": 0.0, "n_topics": 5, Verb.CREATES: False}
                # one seed wakes one more, so that there is a spread to make an interval of
                row |= {Verb.MOVES: own and i == 0, Verb.WAKES: own and i < woken + (seed == 2)}
                rows.append(row)
    return pd.DataFrame(rows)


def counts(*, born: float = 0.5) -> pd.DataFrame:
    """Share of the active features by life, status and seed: born where documents made them."""
    rows = []
    for seed in SEEDS:
        for life in Life:
            share = dict.fromkeys(map(str, Status), 0.0)
            share[Status.BORN] = born + seed / 100 if life == Life.DOCUMENTS else 0.0
            share[Status.ROTATED] = 0.03 + seed / 1000 if life == Life.LESSON else 0.0
            share[Status.SHARED] = 1 - share[Status.BORN] - share[Status.ROTATED]
            for status, estimate in share.items():
                rows.append(
                    {"life": str(life), "status": status, "seed": seed, "estimate": estimate}
                )
    return pd.DataFrame(rows)


def changes(table: pd.DataFrame) -> pd.DataFrame:
    """The lesson's shares beside those of the other lives."""
    share = table.set_index(["life", "status", "seed"])["estimate"]
    rows = [
        {
            "verb": str(verb),
            "life": str(life),
            "seed": seed,
            "estimate": sum(share[Life.LESSON, status, seed] for status in statuses),
            "null": sum(share[life, status, seed] for status in statuses),
        }
        for verb, statuses in CHANGES.items()
        for life in NULLS
        for seed in SEEDS
    ]
    return against_null(pd.DataFrame(rows), by=["verb", "life"])


def stops() -> pd.DataFrame:
    """What goes without each group at two steps; at the first nothing is there to go."""
    rows = []
    for seed in SEEDS:
        for group in EDITS:
            for step in (2, 40):
                row = {"seed": seed, "group": group, "step": step, "n_sets": 10}
                row |= {"estimate": 0.8 + seed / 100, "null": 0.1, "most": 0.3, "direction": 0.9}
                if step == 2:
                    row |= {"estimate": np.nan}
                rows.append(row | {"shift": 4.0 if step == 40 else 0.05})
    beside = ("most", "direction", "n_sets", "shift")
    return against_null(pd.DataFrame(rows), by=["group", "step"], beside=beside)


def directions() -> pd.DataFrame:
    """Scores of two directions at both ends."""
    rows = [
        {"seed": seed, "feature": name, "moment": moment, "auroc": 0.94}
        for seed in SEEDS
        for name in ("mean difference", "minimal pair")
        for moment in ("before", "after")
    ]
    return pd.DataFrame(rows)


def tables(*, woken: int = 3, born: float = 0.5) -> dict[str, pd.DataFrame]:
    """The tables that sentences are made of."""
    own = groups(woken=woken)
    life = counts(born=born)
    fits = {"checkpoint": "lesson@0", "fvu": 0.03, "verdict": "fits", "life": str(Life.LESSON)}
    return {
        "groups": own,
        "verbs": against_null(by_seed(own, matched=MATCHED), by=["group", "verb"]),
        "shares": across_seeds(life, by=["life", "status"]),
        "changes": changes(life),
        "stops": stops(),
        "directions": directions(),
        "reconstruction": pd.DataFrame([fits | {"seed": seed} for seed in SEEDS]),
    }


__all__ = ["PERSONA", "SEEDS", "N", "tables"]
