"""Which traits of a real model move when another one is taught, over a finetune that taught none?

Units are held-out questions (one finetune of each kind) or seeds (several). Log odds are bits a
token, as ``trait_scores`` gives them.
"""

from collections.abc import Iterable

import numpy as np
import pandas as pd
from scipy import stats

from persona_interp import schema
from persona_interp.analysis.stats import benjamini_hochberg, t_interval
from persona_interp.errors import SchemaError, unknown

ARMS = ("base", "lesson", "null")
SEPARABLE = 0.7
"""AUROC of a trait in the base below which its transfer is not measured."""


def trait_transfer(scores: pd.DataFrame) -> pd.DataFrame:
    """How far each lesson moved each trait, over its null finetune (bits a token).

    Of every question: log odds after the lesson minus log odds after the null finetune (as many
    steps on the base's default answers to the same questions). With one seed the interval is over
    questions (t), and says nothing about another training run; with several it is over seeds'
    means. p is two-sided of the same t; q is over all cells.

    Args:
        scores: Of ``trait_scores``, with ``arm`` ("base", "lesson" or "null"), ``taught`` (the
            trait whose lesson or null finetune it is; "" of the base) and ``seed``; every
            checkpoint at the same questions.

    Returns:
        A trait_transfer table, one row a taught and a measured trait: ``taught``, ``trait``,
        ``estimate``, ``lo``, ``hi`` (bits a token), ``p``, ``q``, ``base`` (log odds), ``lesson``,
        ``null`` (changes from it), ``n`` questions, ``n_seeds``.

    Raises:
        SchemaError: A column is missing, an arm is unknown or is missing, two checkpoints were not
            asked the same, or a score is not finite.

    >>> rows = [("base", "", 0), ("null", "dry", 0.25), ("lesson", "dry", 0.75)]
    >>> table = pd.DataFrame(rows, columns=["arm", "taught", "logodds"]).merge(pd.DataFrame({"question": ["a", "b"]}),
    ...                                                                        how="cross")
    >>> trait_transfer(table.assign(trait="dry", seed=0))[["taught", "estimate", "lesson", "null"]].values.tolist()
    [['dry', 0.5, 0.75, 0.25]]
    """
    asked = ["trait", "question"]
    for column in ("seed", "taught", "arm", *asked, "logodds"):
        if column not in scores:
            raise SchemaError(unknown("column", column, scores.columns))
    for arm in scores["arm"].unique():
        if arm not in ARMS:
            raise SchemaError(unknown("arm", arm, ARMS))
    if not np.isfinite(scores["logodds"].to_numpy(np.float64)).all():
        raise SchemaError("a score is not finite; every question needs an answer of each side.")
    base = (
        scores.loc[scores["arm"] == "base"]
        .drop_duplicates(asked)
        .set_index(asked)["logodds"]
        .sort_index()
    )
    rows = []
    for taught in dict.fromkeys(scores.loc[scores["arm"] != "base", "taught"]):
        own = scores.loc[(scores["taught"] == taught) & (scores["arm"] != "base")]
        runs = {
            key: run.set_index(asked)["logodds"].sort_index()
            for key, run in own.groupby(["arm", "seed"])
        }
        seeds = sorted({seed for _, seed in runs})
        for key in ((arm, seed) for arm in ("lesson", "null") for seed in seeds):
            if key not in runs or not runs[key].index.equals(base.index):
                got = f"{len(runs[key])} questions" if key in runs else "none"
                raise SchemaError(
                    f"the {key[0]} of '{taught}', seed {key[1]}, needs a score at each of the "
                    f"base's {len(base)} "
                    f"questions, once; got {got}."
                )
        lesson, null = (
            pd.DataFrame({s: runs[arm, s] - base for s in seeds}) for arm in ("lesson", "null")
        )
        for trait in dict.fromkeys(base.index.get_level_values("trait")):
            after, beside, n = lesson.loc[trait], null.loc[trait], len(lesson.loc[trait])
            units = (after - beside).mean() if len(seeds) > 1 else (after - beside)[seeds[0]]
            means = {
                "base": base[trait].mean(),
                "lesson": after.to_numpy().mean(),
                "null": beside.to_numpy().mean(),
            }
            rows.append(
                {
                    "taught": taught,
                    "trait": trait,
                    **_tested(units),
                    **means,
                    "n": n,
                    "n_seeds": len(seeds),
                }
            )
    if not rows:
        raise SchemaError("these scores hold no lesson; expected the arms base, lesson and null.")
    table = pd.DataFrame(rows)
    table.insert(6, "q", benjamini_hochberg(table["p"]))
    return schema.check(table, "trait_transfer")


def _tested(values: Iterable[float]) -> dict[str, float]:
    """Mean, t interval and two-sided p of its being 0."""
    estimate, lo, hi, n = t_interval(list(values))
    half = float(hi - estimate)
    with np.errstate(invalid="ignore", divide="ignore"):
        t = np.float64(estimate) * stats.t.ppf(0.975, n - 1) / half if n > 1 else np.float64(np.nan)
    p = (
        1.0
        if n > 1 and estimate == 0
        else float(2 * stats.t.sf(abs(t), n - 1))
        if n > 1
        else np.nan
    )
    return {"estimate": float(estimate), "lo": float(lo), "hi": float(hi), "p": p}
