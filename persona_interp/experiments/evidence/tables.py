"""What do the finished cells of an evidence run say, as tables?"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from persona_interp import analysis
from persona_interp.analysis.contexts import OWN
from persona_interp.analysis.evidence import pooled_lasting_effect
from persona_interp.analysis.mixing import pooled_mixing_weight
from persona_interp.analysis.nulls import against_null, departures
from persona_interp.analysis.reach import SETTING
from persona_interp.experiments.evidence.cases import Tables, of_seed
from persona_interp.experiments.evidence.config import Evidence
from persona_interp.schema.words import AVERAGE, WORST
from persona_interp.store import Store

SETTING_COLUMNS = ["setting", *SETTING]
STEP, DOCUMENT = "step", "document"
"""Units that bits are counted by, of ``analysis.evidence.UNITS``."""
EARLY = 4
"""Step up to which a rise is called initial."""


def summarize(experiment: Evidence, store: Store) -> dict[str, pd.DataFrame]:
    """Tables of what is finished.

    Args:
        experiment: The experiment.
        store: Its run; missing cells leave fewer rows.

    Returns:
        Tables by name, in bits. Of every run: ``evidence`` (the belief along the steps),
        ``additive`` (the same of the nearest learner to whom every step adds the same, read by the
        same reader), ``scale`` (which belief is read of a speaker, by prior), ``mixing`` (K),
        ``contexts`` (forgetting and leakage), ``statements`` (in the prompt), ``priors`` (the
        tested setting after documents with each prior), ``slopes`` (of its gains on the prior).
        Over seeds: ``curve``, ``bits`` (by step, document, statement, fact token), ``lasting`` (of
        the effect: its peak and end), ``k``, ``cost`` (forgetting and leakage beside the gain),
        ``saturation`` (alpha), ``interaction`` (prior x dose), ``prompt``, ``exchange`` (what is
        worth what); the last four beside their nulls.
    """
    parts: dict[str, list[pd.DataFrame]] = {}
    for seed in experiment.seeds:
        for name, table in of_seed(experiment, store, seed):
            parts.setdefault(name, []).append(table.assign(seed=seed))
    tables = {name: pd.concat(rows, ignore_index=True) for name, rows in parts.items()}
    return tables | _over_seeds(tables)


def _over_seeds(tables: Tables) -> Tables:
    """Means over seeds, with intervals."""
    means: Tables = {}
    if "statements" in tables:
        means["prompt"] = against_null(
            tables["statements"],
            by=["statements", "traits"],
            beside=("exact", "before", "after", "topics"),
        )
    if "slopes" in tables:
        means["interaction"] = against_null(tables["slopes"], by="step", beside=["n"])
    if "evidence" in tables:
        means |= _lessons_over_seeds(tables)
    return means


def _lessons_over_seeds(tables: Tables) -> Tables:
    """Means over seeds of what the lessons after the usual documents say."""
    curve = tables["evidence"]
    rates = analysis.bits_per_unit(curve, until=_until(curve))
    lasting = analysis.lasting_effect(curve)
    means = {
        "curve": analysis.across_seeds(
            curve,
            value="persona_bits",
            by=[*SETTING_COLUMNS, "step"],
            beside=("effect", "p_taught", "misfit", "documents"),
        ),
        "bits": analysis.across_seeds(rates, by=[*SETTING_COLUMNS, "unit"]),
        "lasting": pooled_lasting_effect(lasting, by=SETTING_COLUMNS),
        "k": pooled_mixing_weight(tables["mixing"], by=SETTING_COLUMNS),
        "cost": _cost(tables["contexts"], lasting),
    }
    if "additive" in tables:
        means["saturation"] = _saturation(curve.loc[curve["replay"] == 0], tables["additive"])
        means["curve"] = _beside_additive(means["curve"], tables["additive"])
    if "statements" in tables:
        means["exchange"] = _exchange(rates, tables["mixing"], tables["statements"])
    return means


def _saturation(curve: pd.DataFrame, additive: pd.DataFrame) -> pd.DataFrame:
    """Alpha of what is read, of the additive learner read the same, and of the belief behind."""
    run = [*SETTING_COLUMNS, "seed", "order"]
    alphas = analysis.saturation(curve)
    nulls = analysis.saturation(additive).loc[:, [*run, "alpha", "latent", "highest", "named"]]
    table = alphas.merge(nulls.rename(columns={"alpha": "alpha_null"}), on=run)
    table = table.assign(short=table["named"] - table["highest"])
    means = analysis.across_seeds(
        table,
        value="latent",
        by=SETTING_COLUMNS,
        beside=("highest", "named", "b", "c", "r2", "at_bound"),
    )
    for column in ("alpha", "alpha_null", "short"):
        own = analysis.across_seeds(table, value=column, by=SETTING_COLUMNS, beside=())
        means[column] = own["estimate"]
        means[[f"{column}_lo", f"{column}_hi"]] = own[["lo", "hi"]]
    return means.assign(verdict=departures(means["lo"], means["hi"]))


def _beside_additive(curve: pd.DataFrame, additive: pd.DataFrame) -> pd.DataFrame:
    """The mean curves, beside those of the additive learners (NaN where there are none)."""
    by = [*SETTING_COLUMNS, "step"]
    nulls = analysis.across_seeds(additive, value="persona_bits", by=by, beside=())
    nulls = nulls.loc[:, [*by, "estimate"]].rename(columns={"estimate": "additive"})
    return curve.merge(nulls, on=by, how="left")


def _cost(contexts: pd.DataFrame, lasting: pd.DataFrame) -> pd.DataFrame:
    """Forgetting and leakage beside the gain of the same lesson, over seeds."""
    run = ["seed", "setting", "order"]
    cost = contexts.merge(lasting[[*run, "last"]], on=run)
    summaries = cost["persona"].isin([AVERAGE, WORST, ""])
    rows = cost.loc[summaries | cost["quantity"].eq(OWN)]
    by = [*SETTING_COLUMNS, "context", "persona", "quantity"]
    return analysis.across_seeds(rows, by=by, beside=["last"])


def _exchange(rates: pd.DataFrame, mixing: pd.DataFrame, statements: pd.DataFrame) -> pd.DataFrame:
    """What is worth what: ratios of bits by setting, over seeds; none where one has no bits."""
    run = ["setting", "seed", "order"]
    wide = rates.pivot(
        index=[*SETTING_COLUMNS, "seed", "order"], columns="unit", values="estimate"
    ).reset_index()
    once = statements.loc[statements["statements"] == 1, ["seed", "estimate", "null"]]
    once = once.rename(columns={"estimate": "stated", "null": "exact"})
    wide = wide.merge(once, on="seed").merge(mixing[[*run, "k", "at_bound"]], on=run)
    # At an end of its range K is not known; nothing exact says what it should be.
    wide["k"] = wide["k"].where(~wide["at_bound"].astype(bool))
    parts = []
    for statement, column in (("stated", "estimate"), ("exact", "null")):
        bits = wide[statement]
        ratios = {
            ("lesson documents", "statement in the prompt"): bits / wide[DOCUMENT],
            ("steps", "statement in the prompt"): bits / wide[STEP],
            ("documents of pretraining", "statement in the prompt"): wide["k"]
            * bits
            / wide[DOCUMENT],
        }
        parts.append(_logs(wide, ratios).rename(columns={"log": column}))
    logs = parts[0].assign(null=parts[1]["null"])
    k = {("documents of pretraining", "lesson document"): wide["k"]}
    logs = pd.concat([logs, _logs(wide, k).rename(columns={"log": "estimate"})])
    # Means and t intervals are of logarithms, so that a ratio and its inverse say the same.
    table = against_null(logs, by=[*SETTING_COLUMNS, "amount", "of"])
    table = table.rename(columns=lambda name: name.replace("difference", "times"))
    powers = ("estimate", "lo", "hi", "null", "times", "times_lo", "times_hi")
    return table.assign(**{column: np.exp2(table[column]) for column in powers})


def _logs(wide: pd.DataFrame, ratios: Mapping[tuple[str, str], Any]) -> pd.DataFrame:
    """Log2 of these ratios, one row a run and ratio; NaN where one of both has no bits."""
    parts = []
    for (amount, of), ratio in ratios.items():
        logs = np.log2(ratio.where(ratio > 0))
        rows = wide[[*SETTING_COLUMNS, "seed"]]
        parts.append(rows.assign(amount=amount, of=of, log=logs))
    return pd.concat(parts, ignore_index=True)


def _until(curve: pd.DataFrame) -> int:
    """Step up to which the initial rise is read; the last one where a lesson ends before it."""
    steps = sorted(step for step in curve["step"].unique() if step > 0)
    late = [step for step in steps if step >= EARLY]
    if late:
        return int(late[0])
    return int(steps[-1])
