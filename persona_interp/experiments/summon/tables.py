"""What did the cells of `summon` find, as tables? One function a question, on cells of one seed."""

from collections.abc import Callable
from itertools import product
from typing import Any

import numpy as np
import pandas as pd

from persona_interp import analysis, worlds
from persona_interp.analysis.agreement import best_estimator
from persona_interp.analysis.directions import cosine
from persona_interp.analysis.summon import answer_distance
from persona_interp.experiments.summon import cases
from persona_interp.experiments.summon.cases import after, ends, read_behavior
from persona_interp.experiments.summon.config import Cells, Summon
from persona_interp.store import Store
from persona_interp.tables import read_dataset, read_table
from persona_interp.worlds import World, certain
from persona_interp.worlds.candidates import (
    CANDIDATES,
    DISTANCE_TOPICS,
    READOUT_TOPICS,
    start_traits,
)
from persona_interp.worlds.candidates import distance as topic_distance

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
    readers: list[Callable[..., Tables]] = [
        _gates,
        summoned,
        _solutions,
        cases.misalignment,
        cases.novelty,
    ]
    parts: dict[str, list[pd.DataFrame]] = {}
    for seed in experiment.seeds:
        cells, world = experiment.seed_cells(seed), worlds.candidates(seed)
        for reader in readers:
            for name, table in reader(experiment, store, cells, world=world).items():
                parts.setdefault(name, []).append(table.assign(seed=seed))
    tables = {name: pd.concat(seeds, ignore_index=True) for name, seeds in parts.items()}
    tables |= cases.worst_cases(experiment, store)
    tables["predictions"] = cases.predictions(experiment.villains, seed=experiment.seeds[0])
    if "summoned" in tables:
        tables |= _laws(tables["summoned"]) | _estimators(tables["summoned"])
    if "novelty" in tables:
        tables["told_apart"] = cases.novelty_auroc(tables["novelty"])
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
        tables["chosen"] = best_estimator(shares, names)
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


NAMING_KINDS = ("third", "first", "named")
"""Kinds of documents that say who somebody is: the candidates' measure is their mass in these."""


def summoned(experiment: Summon, store: Store, cells: Cells, *, world: World) -> Tables:
    """Who is summoned from which start, and how far apart the ends of the lessons lie.

    Args:
        experiment: The experiment.
        store: The run.
        cells: Cells of one seed.
        world: Its world of candidates.

    Returns:
        ``summoned``, a row a start and candidate: its ``share`` after the lesson and ``before``,
        ``measure``, distances and shares by exact Bayes; ``paths`` (``analysis.paths``).
    """
    lessons = []
    for start, repeat in product(experiment.starts, range(experiment.repeats)):
        if store.has(cells["lesson", start, repeat]):
            lessons.append((start, repeat))
    if not lessons or not store.has(cells["documents",]):
        return {}
    seed = cells["documents",].config["seed"]
    parts = []
    for start, repeat in lessons:
        part = ends(read_behavior(store, cells["lesson", start, repeat]))
        parts.append(part.assign(start=start, repeat=repeat, seed=seed))
    behavior = pd.concat(parts, ignore_index=True)
    shares = _shares(behavior, world)
    # Distances are measured from the first repeat of a start.
    starts = [start for start in experiment.starts if (start, 0) in lessons]
    shares = shares.loc[shares["start"].isin(starts)]
    pairs = list(zip(shares["start"], shares["persona"], strict=True))
    for name, column in _expectations(world).items():
        shares[name] = [column[start][persona] for start, persona in pairs]
    shares["distance_js"] = _answer_distances(store, cells, pairs)
    shares["distance_act"] = _residual_distances(store, cells, pairs)
    paths = analysis.paths(behavior, topics=list(READOUT_TOPICS)).drop(columns="seed")
    return {"summoned": shares, "paths": paths}


def _shares(behavior: pd.DataFrame, world: World) -> pd.DataFrame:
    """Weight of each candidate over that of all, mean over repeats: ``before``, ``share`` after."""
    weights = analysis.persona_weights(behavior, world, topics=list(READOUT_TOPICS))
    own = weights.loc[weights["persona"].isin(list(CANDIDATES))]
    total = own.groupby(["start", "repeat", "step"])["weight"].transform("sum")
    when = np.where(own["step"] == 0, "before", "share")
    own = own.assign(share=own["weight"] / total, when=when)
    index = ["start", "persona"]
    return own.pivot_table(index=index, columns="when", values="share").reset_index()


def _answer_distances(store: Store, cells: Cells, pairs: list[tuple[str, str]]) -> list[float]:
    """Distance of what each start says from what the base says under each candidate's name."""
    base = analysis.logodds(after(read_behavior(store, cells["documents",])))
    starts: dict[str, pd.DataFrame] = {}
    distances = []
    for start, persona in pairs:
        if start not in starts:
            starts[start] = analysis.logodds(after(read_behavior(store, cells["start", start, 0])))
        named = base.loc[base["persona"] == persona]
        distances.append(answer_distance(named, starts[start], topics=DISTANCE_TOPICS))
    return distances


def _residual_distances(store: Store, cells: Cells, pairs: list[tuple[str, str]]) -> list[float]:
    """1 - cosine of the residuals of each start and candidate; NaN where they were not read."""
    if not (store.has(cells["standing",]) and store.has(cells["inside",])):
        return [np.nan] * len(pairs)
    named = read_dataset(store.path(cells["inside",], "named.nc"))["act"].isel(checkpoint=0)
    personas = named.groupby("persona").mean("prompt").transpose("persona", "d_model")
    standing = read_dataset(store.path(cells["standing",], "standing.nc"))
    starts = standing["act"].mean("prompt")
    # Residuals share a large mean; seen from the mean of all names, directions are of personas.
    center = personas.mean("persona").to_numpy()
    distances = []
    for start, persona in pairs:
        one = starts.sel(checkpoint=start).to_numpy() - center
        other = (personas.sel(persona=persona) - center).to_numpy()
        distances.append(1.0 - float(cosine(one[None], other[None])[0, 0]))
    return distances


def _expectations(world: World) -> dict[str, Any]:
    """Measure, distance and both Bayes predictions: column -> start -> persona -> number."""
    mass = world.mass()[list(NAMING_KINDS)]
    measure = mass.sum(axis=1) / mass.to_numpy().sum()
    lesson = _bayes_shares(world, certain(world.taught))
    columns: dict[str, Any] = {
        name: {} for name in ("measure", "distance", "bayes_lesson", "bayes_start")
    }
    for letters in product("ab", repeat=len(DISTANCE_TOPICS)):
        pattern = "".join(letters)
        traits = start_traits(world, pattern)
        columns["measure"][pattern] = measure
        columns["distance"][pattern] = {n: topic_distance(world, n, traits) for n in CANDIDATES}
        columns["bayes_lesson"][pattern] = lesson
        evidence = (*traits, *certain(world.taught))
        columns["bayes_start"][pattern] = _bayes_shares(world, evidence)
    return columns


def _bayes_shares(world: World, evidence: tuple[Any, ...]) -> dict[str, float]:
    """Shares of the candidates in exact Bayes' belief, given this evidence.

    About a speaker of the documents that say who speaks: nameless dialogues hide the mass.
    """
    table = world.posterior([evidence], population=NAMING_KINDS).persona
    own = table.loc[table["persona"].isin(list(CANDIDATES))].set_index("persona")["probability"]
    return {str(name): float(p) for name, p in (own / own.sum()).items()}
