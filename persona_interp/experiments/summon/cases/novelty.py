"""Is what a planted lesson taught told composable from known personas, or new?"""

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import xarray as xr

from persona_interp import analysis
from persona_interp.experiments.summon.cases.behavior import after, read_behavior
from persona_interp.experiments.summon.plants import Kind, Plant, plants
from persona_interp.schema.words import Composition
from persona_interp.store import Store
from persona_interp.tables import read_dataset
from persona_interp.worlds import World

if TYPE_CHECKING:
    from persona_interp.experiments.summon.config import Cells, Summon

Tables = dict[str, pd.DataFrame]


def novelty(experiment: "Summon", store: Store, cells: "Cells", *, world: World) -> Tables:
    """Misfit and residual of lessons of which it is known whether they are composable.

    Args:
        experiment: The experiment.
        store: The run.
        cells: Cells of one seed.
        world: Its world of candidates.

    Returns:
        ``novelty``, a row a case: ``case``, ``kind``, ``planted`` (composable or new), ``left_out``
        (who is not among the known; a lesson about them is new), on the topics that the lesson was
        not about (on all where it was about all), and what ``analysis.novelty`` and
        ``analysis.shift_residual`` say.
    """
    base = cells["documents",]
    lessons = plants(world, n=experiment.n_plants, seed=base.config["seed"])
    lessons = [plant for plant in lessons if store.has(cells["plant", plant.name])]
    if not lessons or not store.has(base):
        return {}
    named = after(read_behavior(store, base))
    named = named.loc[named["context"] == "named"]
    inside = _inside(store, cells)
    # Who is known and what is read: cases that have both in common share one null.
    cases: dict[tuple[str, tuple[str, ...]], list[Plant]] = {}
    for plant in lessons:
        for left_out in _left_out(plant):
            cases.setdefault((left_out, _readout_topics(world, plant)), []).append(plant)
    tables = []
    for (left_out, topics), group in cases.items():
        known = [p.name for p in world.personas if p.name != left_out]
        parts = [_behavior_after(store, cells, plant) for plant in group]
        behavior = pd.concat(parts, ignore_index=True)
        table = analysis.novelty(behavior, world, named=named, topics=topics, known=known)
        is_new = table["kind"].eq(Kind.RECOMBINED) | (left_out != "")
        planted = np.where(is_new, Composition.NEW.value, Composition.COMPOSABLE.value)
        table = table.assign(left_out=left_out, planted=planted)
        if inside:
            residual = _shift_residual(inside, table["checkpoint"].tolist(), known)
            table = table.merge(residual, on="checkpoint", how="left", validate="one_to_one")
        tables.append(table)
    return {"novelty": pd.concat(tables, ignore_index=True)}


def novelty_auroc(novelty: pd.DataFrame) -> pd.DataFrame:
    """How well new lessons are told from composable ones (AUROC).

    Args:
        novelty: Table ``novelty``, all seeds.

    Returns:
        One row a ``score`` (misfit, residual) and a kind of ``new`` lesson (all, recombined, left
        out): ``estimate``, the AUROC against all composable ones, with ``lo``, ``hi`` (95 %,
        DeLong, cases as units) and ``n`` cases.

    >>> table = pd.DataFrame({"planted": ["new", "new", "composable"], "misfit": [2.0, 1.0, 0.1]})
    >>> novelty_auroc(table.assign(left_out=["", "john", ""]))[["new", "estimate"]].values.tolist()
    [['all', 1.0], ['recombined', 1.0], ['left out', 1.0]]
    """
    is_new, left_out = novelty["planted"].eq(Composition.NEW), novelty["left_out"].ne("")
    groups = {"all": is_new, "recombined": is_new & ~left_out, "left out": is_new & left_out}
    rows = []
    for score in ("misfit", "residual"):
        if score not in novelty or all(is_new):
            continue
        for name, members in groups.items():
            if any(members):
                # Other new lessons are no negatives of this kind, so they are in no pair.
                cases = novelty.loc[members | ~is_new]
                area = analysis.auroc(cases[score], cases["planted"].eq(Composition.NEW))
                rows.append({"score": score, "new": name, **area.row(), "n": area.n})
    return pd.DataFrame(rows)


def _left_out(plant: Plant) -> tuple[str, ...]:
    """Who is not among the known, a case each: nobody, and the one whom the lesson is about."""
    if plant.kind in (Kind.KNOWN, Kind.PART):
        return ("", plant.personas[0])
    return ("",)


def _readout_topics(world: World, plant: Plant) -> tuple[str, ...]:
    """Untaught topics; all but the one that worlds teach where a lesson was about all of them."""
    taught = {trait.topic for trait in plant.traits}
    others = tuple(topic for topic in world.topics if topic != world.taught.topic)
    return tuple(topic for topic in others if topic not in taught) or others


def _behavior_after(store: Store, cells: "Cells", plant: Plant) -> pd.DataFrame:
    """Behavior after a planted lesson."""
    behavior = after(read_behavior(store, cells["plant", plant.name]))
    return behavior.assign(case=plant.name, kind=plant.kind.value)


def _inside(store: Store, cells: "Cells") -> dict[str, xr.Dataset]:
    """Activations of nameless prompts, and of named ones before any lesson; none if not read."""
    cell = cells["inside",]
    if not store.has(cell):
        return {}
    return {name: read_dataset(store.path(cell, f"{name}.nc")) for name in ("neutral", "named")}


def _shift_residual(
    inside: dict[str, xr.Dataset], checkpoints: list[str], known: list[str]
) -> pd.DataFrame:
    """Share of each lesson's shift that known personas do not explain, by checkpoint."""
    before = inside["neutral"]["checkpoint"].to_numpy()[0]
    neutral = inside["neutral"].sel(checkpoint=[before, *checkpoints])
    table = analysis.shift_residual(neutral, inside["named"], known=known)
    table = table.loc[:, ["checkpoint", "residual", "lo", "hi"]]
    return table.rename(columns={"lo": "residual_lo", "hi": "residual_hi"})
