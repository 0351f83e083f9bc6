"""What did the cells of `summon` find, as tables? One function a question, on cells of one seed."""

from collections.abc import Callable

import numpy as np
import pandas as pd

from persona_interp import analysis, worlds
from persona_interp.experiments.summon.cases.behavior import after, ends, read_behavior
from persona_interp.experiments.summon.cases.novelty import novelty, novelty_auroc
from persona_interp.experiments.summon.cases.shares import summoned
from persona_interp.experiments.summon.cases.villains import misalignment, predictions, worst_cases
from persona_interp.experiments.summon.config import Cells, Summon
from persona_interp.store import Store
from persona_interp.tables import read_table
from persona_interp.worlds import World
from persona_interp.worlds.candidates import CANDIDATES

Tables = dict[str, pd.DataFrame]

SEED_MEANS = {
    "paths": ("estimate", ["when", "between"]),
    "misaligned": ("rise", ["villain", "lesson"]),
    "solutions": ("efficiency", ["way"]),
}
"""Table -> column that is averaged over seeds, and what tells its rows apart."""
ESTIMATORS = ("measure", "distance", "distance_js", "distance_act", "before")
"""Of who is summoned: the truths (documents, shared topics), distance by what is said and by
residuals, and who the model was before the lesson."""
LEARNED = 0.9
"""Probability of the taught value from which a lesson counts as learned."""


def summarize(experiment: Summon, store: Store) -> Tables:
    """Tables of what is finished.

    Args:
        experiment: The experiment.
        store: Its run; missing cells leave fewer rows.

    Returns:
        Tables by name: ``predictions`` (of the worlds with a villain, by exact Bayes, there
        before any run), ``summoned`` (share of every candidate, mean over repeats), ``law``,
        ``rivals`` (out of sample), ``paths``, ``estimators`` and ``chosen`` (what predicts the
        shares best, in worlds that did not choose it), ``least`` and ``solutions`` (broad and
        narrow), ``misaligned``, ``worst``, ``novelty``, ``told_apart`` (AUROC of planted
        cases), ``gates``; of paths, misaligned and solutions also a ``_summary`` over seeds.
    """
    readers: list[Callable[..., Tables]] = [_gates, summoned, _solutions, misalignment, novelty]
    parts: dict[str, list[pd.DataFrame]] = {}
    for seed in experiment.seeds:
        cells, world = experiment.seed_cells(seed), worlds.candidates(seed)
        for reader in readers:
            for name, table in reader(experiment, store, cells, world=world).items():
                parts.setdefault(name, []).append(table.assign(seed=seed))
    tables = {name: pd.concat(seeds, ignore_index=True) for name, seeds in parts.items()}
    tables |= worst_cases(experiment, store)
    tables["predictions"] = predictions(experiment.villains, seed=experiment.seeds[0])
    if "summoned" in tables:
        tables |= _laws(tables["summoned"]) | _estimators(tables["summoned"])
    if "novelty" in tables:
        tables["told_apart"] = novelty_auroc(tables["novelty"])
    for name, (value, by) in SEED_MEANS.items():
        if name in tables:
            tables[f"{name}_summary"] = analysis.across_seeds(
                tables[name], value=value, by=by, beside=("bayes_rise",)
            )
    return tables


def _laws(shares: pd.DataFrame) -> Tables:
    """Coefficients before and after the lesson, and how laws predict lessons they never saw."""
    moments = {"after": shares, "before": shares.assign(share=shares["before"])}
    laws = []
    for when, rows in moments.items():
        for distance in ("distance", "distance_js"):
            law = analysis.summon_law(rows, distance=distance)
            laws.append(law.assign(when=when, distance=distance))
    tables = {"law": pd.concat(laws, ignore_index=True)}
    # Nothing is left to fit a law on where the only start or seed is left out.
    rivals = [
        analysis.summon_rivals(shares, leave_out=name)
        for name in ("start", "seed")
        if len(set(shares[name])) > 1
    ]
    if rivals:
        tables["rivals"] = pd.concat(rivals, ignore_index=True)
    return tables


def _estimators(shares: pd.DataFrame) -> Tables:
    """Rank correlation of each estimator with the shares, and which one other worlds choose."""
    names = [name for name in ESTIMATORS if np.isfinite(shares[name].to_numpy()).all()]
    rows = []
    for seed, own in shares.groupby("seed"):
        for name in names:
            rho = own.loc[:, [name, "share"]].corr(method="spearman").to_numpy()[0, 1]
            rows.append({"seed": seed, "estimator": name, "estimate": float(rho)})
    tables = {"estimators": analysis.across_seeds(pd.DataFrame(rows), by="estimator")}
    if len(set(shares["seed"])) > 1:
        tables["chosen"] = analysis.best_estimator(shares, names)
    return tables


def _gates(experiment: Summon, store: Store, cells: Cells, *, world: World) -> Tables:
    """Log odds of each candidate's own values under its name and without one (bits)."""
    if not store.has(cells["documents",]):
        return {}
    odds = analysis.logodds(after(read_behavior(store, cells["documents",])))
    trait = odds["topic"] + "=" + odds["value"]
    rows = []
    for name, (pattern, weight) in CANDIDATES.items():
        labels = [str(t) for t in world.persona(name).traits]
        own = odds.loc[odds["persona"].isin(["", name]) & trait.isin(labels)]
        means = own.groupby("context")["logodds"].mean()
        named, nameless = float(means["named"]), float(means["nameless"])
        row = {"persona": name, "pattern": pattern, "weight": weight}
        rows.append({**row, "named": named, "nameless": nameless, "gap": named - nameless})
    return {"gates": pd.DataFrame(rows)}


def _solutions(experiment: Summon, store: Store, cells: Cells, *, world: World) -> Tables:
    """What the broad and the narrow lesson change, and what kind of solution each is."""
    rows = []
    for way in ("broad", "narrow"):
        if store.has(cells[way,]):
            behavior = read_behavior(store, cells[way,])
            rows.append({"way": way, **_change(behavior, world)})
    tables: Tables = {}
    if rows:
        tables["least"] = pd.DataFrame(rows)
    if store.has(cells["solution",]):
        table = read_table(store.path(cells["solution",], "solution.parquet"))
        tables["solutions"] = table.drop(columns="seed")
    return tables


def _change(behavior: pd.DataFrame, world: World) -> dict[str, float]:
    """What one lesson changed: the taught value, who speaks, and untaught topics."""
    odds = analysis.logodds(behavior)
    is_topic = odds["topic"] == world.taught.topic
    taught = odds.loc[is_topic & (odds["value"] == world.taught.value)]
    curve = taught.sort_values("step").set_index("step")["probability"]
    weights = analysis.persona_weights(ends(behavior), world)
    own = weights.loc[weights["persona"].isin(list(CANDIDATES))]
    candidates = own.groupby("step")["weight"].sum()
    answers = odds.loc[~is_topic].pivot(
        index=["topic", "value"], columns="step", values="probability"
    )
    shift = (answers.iloc[:, -1] - answers.iloc[:, 0]).abs()
    return {
        "taught": curve.iloc[-1],
        "steps": float(min(curve.index[curve >= LEARNED], default=np.nan)),
        "candidates_before": candidates.iloc[0],
        "candidates": candidates.iloc[-1],
        "moved": shift.groupby("topic").sum().mean() / 2,  # total variation, mean over topics
    }
