"""Which traits of a real model move when another one is taught, beyond finetunes that teach none?

Units are held-out questions (one finetune of each kind) or seeds (several). Log odds are bits a
token, as ``trait_scores`` gives them.
"""

from collections.abc import Mapping
from itertools import product
from typing import Any

import numpy as np
import pandas as pd

from persona_interp import schema
from persona_interp.analysis.effects import effects
from persona_interp.analysis.stats import t_interval
from persona_interp.errors import SchemaError, unknown
from persona_interp.schema.words import Arm, Family, Role, Verdict

ARMS = (Role.BASE, Arm.LESSON, Arm.NULL)
SEPARABLE = 0.7
"""AUROC of a trait in the base below which its transfer is not measured."""
ENOUGH_SEEDS = 3
"""Seeds of every lesson from which on it may be said that a trait moved another."""
ENOUGH_OTHERS = 3
"""Untaught traits from which on they say how far a finetune went."""
KEY = ["trait", "question"]


def trait_transfer(scores: pd.DataFrame) -> pd.DataFrame:
    """How far each lesson moved each trait, beyond all null finetunes together (bits a token).

    A null finetune learns the base's default answers to one trait's questions in as many steps. All
    of them judge every lesson, as controls of ``effects``: the change of the measured trait after
    the lesson must lie outside the t prediction interval of one more null finetune, and over
    questions it must differ from 0 and from the null finetunes' mean on the same side. Several
    seeds are averaged first, of lessons and null finetunes alike. That a lesson moved a trait is
    only said with 3 seeds or more of which the t interval lies on that side of 0; with fewer it
    *differs* in this run. A lesson that moves everything farther than null finetunes do leaves
    their range in every trait: how far each went is the median change of the traits that it does
    not teach, and what the null finetunes might have moved as much, had they gone as far, *differs
    more than controls that moved less far* (``effects``).

    Measured level (20 to 60 data sets each): three seeds 0 at equal distance, .03 at four times;
    one seed says "differs" somewhere among 36 pairs in a third of cases at four times: it is
    described, not claimed.

    Args:
        scores: Of ``trait_scores``, with ``arm`` ("base", "lesson" or "null"), ``taught`` (the
            trait whose lesson or null finetune it is; "" of the base) and ``seed``; every
            checkpoint at the same questions.

    Returns:
        A trait_transfer table, one row a taught and a measured trait: ``taught``, ``trait``,
        ``estimate`` (change after the lesson minus the mean change of all null finetunes; bits a
        token), ``lo``, ``hi`` (95 %, over questions with one seed, over seeds with several), ``p``,
        ``q`` (as in ``effects``, over all cells), ``base`` (log odds), ``lesson``, ``null``
        (changes from it), ``range_lo``, ``range_hi`` (where one more null finetune would be),
        ``n`` questions, ``n_seeds``, ``n_null`` (null finetunes) and ``verdict``.

    Raises:
        SchemaError: A column is missing, an arm is unknown or is missing, two checkpoints were not
            asked the same, or a score is not finite.

    >>> arms = [("base", "", 0.0), ("lesson", "dry", 0.75), ("lesson", "wry", 0.0)]
    >>> arms += [("null", "dry", 0.25), ("null", "wry", 0.125)]
    >>> rows = [(*arm, question) for arm in arms for question in ("a", "b")]
    >>> scores = pd.DataFrame(rows, columns=["arm", "taught", "logodds", "question"])
    >>> table = trait_transfer(scores.assign(trait="dry", seed=0))
    >>> table[["taught", "estimate", "lesson", "null", "n_null"]].values.tolist()
    [['dry', 0.5625, 0.75, 0.1875, 2], ['wry', -0.1875, 0.0, 0.1875, 2]]
    """
    changes = _changes(scores)
    base = scores.loc[scores["arm"] == Role.BASE].groupby("trait", sort=False)["logodds"].mean()
    taught = [name for arm, name in changes if arm == Arm.LESSON]
    n_seeds = changes[Arm.LESSON, taught[0]].shape[1]
    effect = _effects(changes, taught).set_index(["taught", "trait"])
    of_null = pd.concat([changes[Arm.NULL, name] for name in taught])
    null = pd.DataFrame(of_null.groupby(KEY, sort=False).mean())
    rows = []
    for name in taught:
        # A finetune's questions share its luck, so with several runs the runs are units.
        lesson = changes[Arm.LESSON, name]
        for trait in base.index:
            after, beside = lesson.loc[trait], null.loc[trait]
            over_null = after - beside
            units = over_null.mean() if n_seeds > 1 else over_null.iloc[:, 0]
            row = {"taught": name, "trait": trait, **t_interval(units).row(), "base": base[trait]}
            row |= {"lesson": after.to_numpy().mean(), "null": beside.to_numpy().mean()}
            row |= {"n": len(after), "n_seeds": n_seeds, "n_null": len(taught)}
            rows.append(row)
    table = pd.DataFrame(rows).join(effect, on=["taught", "trait"])
    table = table.assign(verdict=_verdicts(table))
    return schema.check(table[list(schema.TABLES["trait_transfer"])], "trait_transfer")


def _changes(scores: pd.DataFrame) -> dict[tuple[Arm, str], pd.DataFrame]:
    """Log odds minus the base's, dims (trait and question, seed), by arm and taught trait."""
    schema.require(scores, "seed", "taught", "arm", *KEY, "logodds")
    for arm in scores["arm"].unique():
        if arm not in ARMS:
            raise SchemaError(unknown("arm", arm, ARMS))
    if not np.isfinite(scores["logodds"].to_numpy(np.float64)).all():
        raise SchemaError("a score is not finite; every question needs an answer of each side.")
    of_base = scores["arm"] == Role.BASE
    base = scores.loc[of_base].drop_duplicates(KEY).set_index(KEY)["logodds"]
    finetunes = scores.loc[~of_base]
    if finetunes.empty:
        raise SchemaError(f"these scores hold no lesson; expected the arms {', '.join(ARMS)}.")
    taught, seeds = dict.fromkeys(finetunes["taught"]), sorted(set(finetunes["seed"]))
    changes: dict[tuple[Arm, str], pd.DataFrame] = {}
    for arm, name in product((Arm.LESSON, Arm.NULL), taught):
        changes[arm, name] = pd.DataFrame(index=base.index)
    for (arm, name), seed in product(changes, seeds):
        is_run = (finetunes["arm"] == arm) & (finetunes["taught"] == name)
        values = finetunes.loc[is_run & (finetunes["seed"] == seed)].set_index(KEY)["logodds"]
        if not values.sort_index().index.equals(base.sort_index().index):
            number = f"{len(values)} questions" if len(values) else "none"
            raise SchemaError(
                f"the {arm} of '{name}', seed {seed}, needs a score at each of the base's "
                f"{len(base)} questions, once; got {number}."
            )
        changes[arm, name][seed] = values.reindex(base.index) - base
    return changes


def _effects(changes: Mapping[tuple[Arm, str], pd.DataFrame], taught: list[str]) -> pd.DataFrame:
    """What ``effects`` says of lessons beside null finetunes, each the mean over its seeds."""
    means = {f"{arm} {name}": change.mean(axis=1) for (arm, name), change in changes.items()}
    rows = pd.DataFrame(means).assign(**{Role.BASE: 0.0}).reset_index()
    rows = rows.melt(KEY, var_name="checkpoint")
    rows = rows.rename(columns={"trait": "quantity", "question": "unit"})
    lessons = {f"{Arm.LESSON} {name}": name for name in taught}
    table = effects(
        rows.assign(family=str(Family.ANSWERS), hook=""),
        base=str(Role.BASE),
        tuned=list(lessons),
        controls=[f"{Arm.NULL} {name}" for name in taught],
        distance=_distances(changes),
    )
    table = table.loc[table["role"] == Role.TUNED]
    table = table.assign(taught=table["checkpoint"].map(lessons), trait=table["quantity"])
    return table[["taught", "trait", "p", "q", "range_lo", "range_hi", "verdict"]]


def _distances(changes: Mapping[tuple[Arm, str], pd.DataFrame]) -> dict[str, float] | None:
    """How far each finetune went, as ``effects`` takes it: a square; None with too few traits.

    The median of the traits that it does not teach: one or two that really come along do not make
    a finetune go far.
    """
    distances = {}
    for (arm, name), change in changes.items():
        by_trait: Any = change.mean(axis=1).groupby("trait", sort=False).mean()
        others = by_trait.drop(index=name, errors="ignore")
        if len(others) < ENOUGH_OTHERS:
            return None
        distances[f"{arm} {name}"] = float(np.median(np.abs(others))) ** 2
    return distances


def _verdicts(table: pd.DataFrame) -> list[str]:
    """Verdicts of ``effects``, and what fewer seeds leave of them."""
    words = []
    for verdict, n_seeds, lo, hi in zip(
        table["verdict"], table["n_seeds"], table["lo"], table["hi"], strict=True
    ):
        is_claim = verdict in (Verdict.UP, Verdict.DOWN)
        if is_claim and n_seeds < ENOUGH_SEEDS:
            verdict = Verdict.DIFFERS  # another training run might do something else
        elif is_claim and not (lo > 0 if verdict == Verdict.UP else hi < 0):
            verdict = Verdict.NONE
        words.append(str(verdict))
    return words
