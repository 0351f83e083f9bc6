"""Who is summoned from which start: which share of the candidates does each of them take?"""

from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from persona_interp import analysis
from persona_interp.analysis.directions import cosine
from persona_interp.experiments.summon.cases.behavior import after, ends, read_behavior
from persona_interp.store import Store
from persona_interp.tables import read_dataset
from persona_interp.worlds import World, certain
from persona_interp.worlds.candidates import (
    CANDIDATES,
    DISTANCE_TOPICS,
    READOUT_TOPICS,
    distance,
    start_traits,
)

if TYPE_CHECKING:
    from persona_interp.experiments.summon.config import Cells, Summon

Tables = dict[str, pd.DataFrame]

NAMING_KINDS = ("third", "first", "named")
"""Kinds of documents that say who somebody is: the candidates' measure is their mass in these."""


def summoned(experiment: "Summon", store: Store, cells: "Cells", *, world: World) -> Tables:
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


def _answer_distances(store: Store, cells: "Cells", pairs: list[tuple[str, str]]) -> list[float]:
    """Distance of what each start says from what the base says under each candidate's name."""
    base = analysis.logodds(after(read_behavior(store, cells["documents",])))
    starts: dict[str, pd.DataFrame] = {}
    distances = []
    for start, persona in pairs:
        if start not in starts:
            starts[start] = analysis.logodds(after(read_behavior(store, cells["start", start, 0])))
        named = base.loc[base["persona"] == persona]
        distances.append(analysis.answer_distance(named, starts[start], topics=DISTANCE_TOPICS))
    return distances


def _residual_distances(store: Store, cells: "Cells", pairs: list[tuple[str, str]]) -> list[float]:
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
        columns["distance"][pattern] = {n: distance(world, n, traits) for n in CANDIDATES}
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
