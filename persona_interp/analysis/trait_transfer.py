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
from persona_interp.schema.words import Arm, Role

ARMS = (Role.BASE, Arm.LESSON, Arm.NULL)
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

    >>> arms = (("base", "", 0), ("null", "dry", 0.25), ("lesson", "dry", 0.75))
    >>> rows = [(*arm, question) for arm in arms for question in ("a", "b")]
    >>> scores = pd.DataFrame(rows, columns=["arm", "taught", "logodds", "question"])
    >>> table = trait_transfer(scores.assign(trait="dry", seed=0))
    >>> table[["taught", "estimate", "lesson", "null"]].values.tolist()
    [['dry', 0.5, 0.75, 0.25]]
    """
    key = ["trait", "question"]
    for column in ("seed", "taught", "arm", *key, "logodds"):
        if column not in scores:
            raise SchemaError(unknown("column", column, scores.columns))
    for arm in scores["arm"].unique():
        if arm not in ARMS:
            raise SchemaError(unknown("arm", arm, ARMS))
    if not np.isfinite(scores["logodds"].to_numpy(np.float64)).all():
        raise SchemaError("a score is not finite; every question needs an answer of each side.")
    of_base = scores["arm"] == Role.BASE
    base = scores.loc[of_base].drop_duplicates(key).set_index(key)["logodds"].sort_index()
    finetunes = scores.loc[~of_base]
    rows = []
    for taught in dict.fromkeys(finetunes["taught"]):
        own = finetunes.loc[finetunes["taught"] == taught]
        seeds = sorted(set(own["seed"]))
        lesson = _changes(own, base, arm=Arm.LESSON, seeds=seeds)
        null = _changes(own, base, arm=Arm.NULL, seeds=seeds)
        for trait in dict.fromkeys(base.index.get_level_values("trait")):
            after, beside = lesson.loc[trait], null.loc[trait]
            # Questions of one training run share its luck; of several runs, the runs are units.
            over_null = after - beside
            units = over_null.mean() if len(seeds) > 1 else over_null[seeds[0]]
            row = {"taught": taught, "trait": trait, **_test(units), "base": base[trait].mean()}
            row |= {"lesson": after.to_numpy().mean(), "null": beside.to_numpy().mean()}
            rows.append({**row, "n": len(after), "n_seeds": len(seeds)})
    if not rows:
        raise SchemaError(f"these scores hold no lesson; expected the arms {', '.join(ARMS)}.")
    table = pd.DataFrame(rows)
    table.insert(6, "q", benjamini_hochberg(table["p"]))
    return schema.check(table, "trait_transfer")


def _changes(own: pd.DataFrame, base: pd.Series, *, arm: Arm, seeds: list[int]) -> pd.DataFrame:
    """Log odds of one arm minus the base's, dims (trait and question, seed)."""
    columns = {}
    for seed in seeds:
        run = own.loc[(own["arm"] == arm) & (own["seed"] == seed)]
        values = run.set_index(["trait", "question"])["logodds"].sort_index()
        if not values.index.equals(base.index):
            number = f"{len(values)} questions" if len(values) else "none"
            raise SchemaError(
                f"the {arm} of '{own['taught'].iloc[0]}', seed {seed}, needs a score at each of "
                f"the base's {len(base)} questions, once; got {number}."
            )
        columns[seed] = values - base
    return pd.DataFrame(columns)


def _test(values: Iterable[float]) -> dict[str, float]:
    """Mean, t interval and two-sided p of its being 0."""
    interval = t_interval(list(values))
    estimate, n = interval.estimate, interval.n
    if n < 2:
        return {**interval.row(), "p": np.nan}
    if estimate == 0:
        return {**interval.row(), "p": 1.0}  # also without any spread, where t would be 0 / 0
    half = float(interval.hi - estimate)
    with np.errstate(invalid="ignore", divide="ignore"):
        t = np.float64(estimate) * stats.t.ppf(0.975, n - 1) / half
    return {**interval.row(), "p": float(2 * stats.t.sf(abs(t), n - 1))}
