"""Which features matter to behavior, by what happens without each?"""

import numpy as np
import pandas as pd

from persona_interp import schema
from persona_interp.analysis.causes import FLOOR
from persona_interp.analysis.edit_odds import FLOOR_A_TOKEN, odds_of, too_small, values_of
from persona_interp.analysis.stats import jackknife, t_interval
from persona_interp.schema.words import UNEDITED
from persona_interp.worlds import World

ENOUGH_TUNED = 3
"""Finetunes from which on there is an interval over them."""


def net_effects(
    measured: pd.DataFrame, *, base: str, tuned: str, world: World | None = None
) -> pd.DataFrame:
    """What each edit takes of a finetune's effect, net of what it does to the base.

    ``(tuned - edited tuned) - (base - edited base)``: what destroys both models alike is no cause.

    Args:
        measured: With ``world`` a behavior table, else a trait_scores table, with ``edit``: base
            and tuned, each unedited and under the same edits.
        base: Label of the base.
        tuned: Label of the finetune.
        world: The world of the documents.

    Returns:
        One row an edit: ``edit``, ``effect`` (bits, net), ``lo``, ``hi`` (95 %, jackknife over
        prompts), ``share`` of tuned minus base (NaN where that is too small to be shared out).

    Raises:
        SchemaError: A column is missing, or an edit of one of the two was not measured.

    >>> rows = [("b", "none", 0.0), ("b", "x", -0.5), ("t", "none", 2.0), ("t", "x", 0.5)]
    >>> scores = pd.DataFrame(rows, columns=["checkpoint", "edit", "logodds"])
    >>> scores = pd.concat([scores.assign(question=q) for q in "ab"])
    >>> net_effects(scores, base="b", tuned="t")[["edit", "effect", "share"]].values.tolist()
    [['x', 1.0, 0.5]]
    """
    schema.require_rows(measured, "checkpoint", "edit")
    odds = odds_of(measured.assign(of=tuned), world)
    floor = FLOOR if world is not None else FLOOR_A_TOKEN
    total = values_of(odds, tuned, UNEDITED) - values_of(odds, base, UNEDITED)
    is_shared, rows = not too_small(total, floor, ""), []
    for edit in dict.fromkeys(edit for _, edit in odds if edit != UNEDITED):
        taken = [values_of(odds, at, UNEDITED) - values_of(odds, at, edit) for at in (tuned, base)]
        net = taken[0] - taken[1]
        effect, lo, hi, _ = jackknife(net[0], net[1:])
        share = float(net[0] / total[0]) if is_shared else np.nan
        rows.append((edit, float(effect), float(lo), float(hi), share))
    return pd.DataFrame(rows, columns=["edit", "effect", "lo", "hi", "share"])


def causal_ranking(ranked: pd.DataFrame, *, n_tuned: int = 0) -> pd.DataFrame:
    """Features by what taking each out of the tuned model does to behavior.

    The features whose mean activation a finetune moved most are taken out one by one, and ranked by
    the size of the effect (after Wang et al. 2025, who steer with them).

    Args:
        ranked: One row a finetune and feature: ``of``, ``dictionary``, ``feature``, ``before``,
            ``after`` (mean activation), ``effect`` (bits) and ``share``, as of ``net_effects``.
        n_tuned: Finetunes; by default those of the table. A feature that was not among those most
            moved in one of them counts as 0 there.

    Returns:
        One row a dictionary and feature, the largest absolute effect first: ``rank``, the means of
        ``before``, ``after``, ``effect`` and ``share`` over the finetunes (the share over those
        that have one), ``lo`` and ``hi`` of the effect (t interval over finetunes; NaN of fewer
        than three) and ``n_tuned``.

    Raises:
        SchemaError: A column is missing.

    >>> rows = {"of": list("aabb"), "dictionary": "sae", "feature": [1, 2, 1, 2], "before": 0.0}
    >>> table = pd.DataFrame({**rows, "after": 1.0, "effect": [0.1, -0.5, 0.3, -0.7]})
    >>> table["share"] = table["effect"] / 2
    >>> causal_ranking(table)[["rank", "feature", "effect"]].values.round(2).tolist()
    [[1.0, 2.0, -0.6], [2.0, 1.0, 0.2]]
    """
    schema.require(ranked, "of", "dictionary", "feature", "before", "after", "effect", "share")
    n, rows = n_tuned or len(set(ranked["of"])), []
    for _, part in ranked.groupby(["dictionary", "feature"], sort=False):
        effects = np.zeros(n)
        effects[: len(part)] = part["effect"]
        lo, hi = np.nan, np.nan
        if n >= ENOUGH_TUNED:
            _, lo, hi, _ = t_interval(effects)
        means = {column: part[column].sum() / n for column in ("before", "after")}
        names = {"dictionary": part["dictionary"].iloc[0], "feature": int(part["feature"].iloc[0])}
        row = {**names, **means, "effect": effects.mean()}
        row |= {"lo": float(lo), "hi": float(hi), "share": part["share"].mean(), "n_tuned": n}
        rows.append(row)
    columns = ["dictionary", "feature", "before", "after", "effect", "lo", "hi", "share", "n_tuned"]
    table = pd.DataFrame(rows, columns=columns)
    order = np.argsort(-table["effect"].abs().to_numpy(np.float64), kind="stable")
    table = table.iloc[order].reset_index(drop=True)
    table.insert(0, "rank", np.arange(1, len(table) + 1))
    return table
