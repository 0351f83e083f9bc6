"""What did the cells of `summon` find, as tables? One function a question, each on the finished cells of one seed."""

from collections.abc import Callable
from itertools import product
from typing import Any

import numpy as np
import pandas as pd

from persona_interp import analysis, worlds
from persona_interp.analysis.directions import cosine
from persona_interp.experiments.summon import cases
from persona_interp.experiments.summon.config import Summon
from persona_interp.store import Cell, Store
from persona_interp.tables import read_dataset, read_table
from persona_interp.worlds import World, certain
from persona_interp.worlds.candidates import (
    CANDIDATES,
    DISTANCE_TOPICS,
    READOUT_TOPICS,
    distance,
    start_traits,
)

Tables = dict[str, pd.DataFrame]
Cells = dict[tuple[Any, ...], Cell]

DOCUMENTED = ("third", "first", "named")
"""Kinds of documents that say who somebody is: the candidates' measure is their mass in these."""
OVER_SEEDS = {
    "paths": ("estimate", ["when", "between"]),
    "misaligned": ("rise", ["villain", "lesson"]),
    "solutions": ("efficiency", ["way"]),
}
"""Table -> column that is averaged over seeds, and what tells its rows apart."""
ESTIMATORS = ("measure", "distance", "distance_js", "distance_act", "before")
"""Of who is summoned: the truths (documents, shared topics), distance by what is said and by residuals, and who the
model was before the lesson."""
LEARNED = 0.9
"""Probability of the taught value from which a lesson counts as learned."""


def summarize(experiment: Summon, store: Store) -> dict[str, pd.DataFrame]:
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
    parts: dict[str, list[pd.DataFrame]] = {}
    readers: tuple[Callable[..., Tables], ...] = (
        _gates,
        _summoned,
        _least,
        cases.misaligned,
        cases.planted,
    )
    for seed in experiment.seeds:
        cells, world = experiment.seed_cells(seed), worlds.candidates(seed)
        for reader in readers:
            for name, table in reader(experiment, store, cells, world=world).items():
                parts.setdefault(name, []).append(table.assign(seed=seed))
    found = {name: pd.concat(part, ignore_index=True) for name, part in parts.items()}
    found |= cases.worst(experiment, store)
    found["predictions"] = cases.predictions(experiment.villains, seed=experiment.seeds[0])
    if "summoned" in found:
        found |= _laws(found["summoned"]) | _estimators(found["summoned"])
    if "novelty" in found:
        found["told_apart"] = cases.told_apart(found["novelty"])
    for name, (value, by) in OVER_SEEDS.items():
        if name in found:
            found[f"{name}_summary"] = analysis.across_seeds(
                found[name], value=value, by=by, beside=("bayes_rise",)
            )
    return found


def _laws(summoned: pd.DataFrame) -> Tables:
    """Coefficients before and after the lesson, and what each law says of lessons that it never saw."""
    laws = [
        analysis.summon_law(rows, distance=column).assign(when=when, distance=column)
        for when, rows in (
            ("after", summoned),
            ("before", summoned.assign(share=summoned["before"])),
        )
        for column in ("distance", "distance_js")
    ]
    left = [name for name in ("start", "seed") if len(set(summoned[name])) > 1]
    rivals = [analysis.summon_rivals(summoned, leave_out=name) for name in left]
    found = {"law": pd.concat(laws, ignore_index=True)}
    return found | ({"rivals": pd.concat(rivals, ignore_index=True)} if rivals else {})


def _gates(experiment: Summon, store: Store, cells: Cells, *, world: World) -> Tables:
    """Does the model know each candidate, heavy or light? Log odds of its own values under its name and without one."""
    if not store.has(cells["documents",]):
        return {}
    said = analysis.logodds(_after(store, cells["documents",]))
    rows = []
    for name, (pattern, weight) in CANDIDATES.items():
        labels = [str(t) for t in world.persona(name).traits]
        asked = said.loc[said["persona"].isin(["", name])]
        mine = (
            asked.loc[(asked["topic"] + "=" + asked["value"]).isin(labels)]
            .groupby("context")["logodds"]
            .mean()
        )
        named, nameless = float(mine["named"]), float(mine["nameless"])
        row = {
            "persona": name,
            "pattern": pattern,
            "weight": weight,
            "named": named,
            "nameless": nameless,
        }
        rows.append({**row, "gap": named - nameless})
    return {"gates": pd.DataFrame(rows)}


def _summoned(experiment: Summon, store: Store, cells: Cells, *, world: World) -> Tables:
    """Who is summoned from which start, and how far apart do the ends lie?"""
    keys = list(product(experiment.starts, range(experiment.repeats)))
    done = [
        (p, r)
        for p, r in keys
        if store.has(cells["lesson", p, r]) and store.has(cells["documents",])
    ]
    if not done:
        return {}
    seed = cells["documents",].config["seed"]
    behavior = pd.concat(
        [
            ends(read_table(store.path(cells["lesson", p, r], "behavior.parquet"))).assign(
                start=p, repeat=r, seed=seed
            )
            for p, r in done
        ],
        ignore_index=True,
    )
    weights = analysis.persona_weights(behavior, world, topics=list(READOUT_TOPICS))
    mine = weights.loc[weights["persona"].isin(list(CANDIDATES))]
    total = mine.groupby(["start", "repeat", "step"])["weight"].transform("sum")
    mine = mine.assign(
        share=mine["weight"] / total, when=np.where(mine["step"] == 0, "before", "share")
    )
    shares = mine.pivot_table(
        index=["start", "persona"], columns="when", values="share"
    ).reset_index()
    base = analysis.logodds(_after(store, cells["documents",]))
    starts = {
        p: analysis.logodds(_after(store, cells["start", p, 0]))
        for p in experiment.starts
        if (p, 0) in done
    }
    shares = shares.loc[shares["start"].isin(list(starts))]
    for name, column in _expected(world).items():
        shares[name] = [
            column[start][persona]
            for start, persona in zip(shares["start"], shares["persona"], strict=True)
        ]
    shares["distance_js"] = [
        analysis.answer_distance(
            base.loc[base["persona"] == persona], starts[start], topics=DISTANCE_TOPICS
        )
        for start, persona in zip(shares["start"], shares["persona"], strict=True)
    ]
    shares["distance_act"] = _turned(store, cells, shares)
    return {
        "summoned": shares,
        "paths": analysis.paths(behavior, topics=list(READOUT_TOPICS)).drop(columns="seed"),
    }


def _turned(store: Store, cells: Cells, shares: pd.DataFrame) -> list[float]:
    """1 - cosine between the start's residuals and each candidate's, both from the mean of all names; NaN if unread."""
    if not (store.has(cells["standing",]) and store.has(cells["inside",])):
        return [np.nan] * len(shares)
    named = read_dataset(store.path(cells["inside",], "named.nc"))["act"].isel(checkpoint=0)
    means = named.groupby("persona").mean("prompt").transpose("persona", "d_model")
    standing = read_dataset(store.path(cells["standing",], "standing.nc"))["act"].mean("prompt")
    center = means.mean("persona").to_numpy()
    return [
        1.0
        - float(
            cosine(
                (standing.sel(checkpoint=s).to_numpy() - center)[None],
                (means.sel(persona=p) - center).to_numpy()[None],
            )[0, 0]
        )
        for s, p in zip(shares["start"], shares["persona"], strict=True)
    ]


def _estimators(summoned: pd.DataFrame) -> Tables:
    """Rank correlation of each estimator with the shares within a world, and which one other worlds would choose."""
    names = [name for name in ESTIMATORS if np.isfinite(summoned[name].to_numpy()).all()]
    rows = [
        {"seed": seed, "estimator": name, "estimate": _rho(own.loc[:, [name, "share"]])}
        for seed, own in summoned.groupby("seed")
        for name in names
    ]
    found: Tables = {"estimators": analysis.across_seeds(pd.DataFrame(rows), by="estimator")}
    return found | (
        {"chosen": analysis.best_estimator(summoned, names)}
        if len(set(summoned["seed"])) > 1
        else {}
    )


def _rho(two: pd.DataFrame) -> float:
    """Spearman's rank correlation of two columns."""
    return float(two.corr(method="spearman").to_numpy()[0, 1])


def _expected(world: World) -> dict[str, Any]:
    """Measure, distance and both Bayes predictions: column -> start -> persona -> number."""
    mass = (
        world.mass()[list(DOCUMENTED)].sum(axis=1) / world.mass()[list(DOCUMENTED)].to_numpy().sum()
    )
    patterns = ["".join(letters) for letters in product("ab", repeat=len(DISTANCE_TOPICS))]
    told = {pattern: start_traits(world, pattern) for pattern in patterns}
    lesson = _shares(world, certain(world.taught))
    return {
        "measure": dict.fromkeys(patterns, mass),
        "distance": {
            p: {name: distance(world, name, traits) for name in CANDIDATES}
            for p, traits in told.items()
        },
        "bayes_lesson": dict.fromkeys(patterns, lesson),
        "bayes_start": {
            p: _shares(world, (*traits, *certain(world.taught))) for p, traits in told.items()
        },
    }


def _shares(world: World, evidence: tuple[Any, ...]) -> dict[str, float]:
    """Shares of the candidates in exact Bayes' belief about a speaker of the documents that say who speaks."""
    table = world.posterior([evidence], population=DOCUMENTED).persona
    mine = table.loc[table["persona"].isin(list(CANDIDATES))].set_index("persona")["probability"]
    return {str(name): float(p) for name, p in (mine / mine.sum()).items()}


def _least(experiment: Summon, store: Store, cells: Cells, *, world: World) -> Tables:
    """What kind of solution is the broad one, and what the narrow one?"""
    rows = []
    for way in ("broad", "narrow"):
        if not store.has(cells[way,]):
            continue
        behavior = read_table(store.path(cells[way,], "behavior.parquet"))
        said = analysis.logodds(behavior)
        taught = said.loc[
            (said["topic"] == world.taught.topic) & (said["value"] == world.taught.value)
        ]
        curve = taught.sort_values("step").set_index("step")["probability"]
        learned = curve.index[curve >= LEARNED]
        weights = analysis.persona_weights(ends(behavior), world)
        weights = (
            weights.loc[weights["persona"].isin(list(CANDIDATES))].groupby("step")["weight"].sum()
        )
        untaught = said.loc[said["topic"] != world.taught.topic]
        wide = untaught.pivot(index=["topic", "value"], columns="step", values="probability")
        moved = (wide.iloc[:, -1] - wide.iloc[:, 0]).abs().groupby("topic").sum().mean() / 2
        row = {
            "way": way,
            "taught": curve.iloc[-1],
            "steps": float(learned[0]) if len(learned) else np.nan,
        }
        row |= {
            "candidates_before": weights.iloc[0],
            "candidates": weights.iloc[-1],
            "moved": moved,
        }
        rows.append(row)
    found: Tables = {"least": pd.DataFrame(rows)} if rows else {}
    if store.has(cells["solution",]):
        found["solutions"] = read_table(store.path(cells["solution",], "solution.parquet")).drop(
            columns="seed"
        )
    return found


def ends(behavior: pd.DataFrame) -> pd.DataFrame:
    """Which rows are of the first and the last step?

    Args:
        behavior: A behavior table of one run.

    Returns:
        Its rows.
    """
    return behavior.loc[behavior["step"].isin([behavior["step"].min(), behavior["step"].max()])]


def _after(store: Store, cell: Cell) -> pd.DataFrame:
    """Behavior at the last step."""
    behavior = read_table(store.path(cell, "behavior.parquet"))
    return behavior.loc[behavior["step"] == behavior["step"].max()]
