"""What was found about villains and about planted lessons?

How harmful does a lesson make the assistant in a world with a villain, and who speaks? Exact Bayes
says what is to be expected before any model is trained. And is what a planted lesson taught called
composable from known personas, or new?
"""

from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from persona_interp import analysis, worlds
from persona_interp.experiments.summon.config import Cells, Summon
from persona_interp.experiments.summon.plants import Kind, Plant, plants, villain_lessons
from persona_interp.schema.words import Composition
from persona_interp.store import Cell, Store
from persona_interp.tables import read_dataset, read_table
from persona_interp.worlds import World, certain
from persona_interp.worlds.candidates import HARM_TOPICS

Tables = dict[str, pd.DataFrame]

UNTAUGHT_HARM = {topic: values[0] for topic, values in HARM_TOPICS.items() if topic != "code"}
"""Topics that no lesson is about -> their harmful value."""
SPEAKERS = ("villain", "careless")
"""Who shares the habit that is taught, and so may be summoned."""


def predictions(villains: tuple[float, ...], *, seed: int) -> pd.DataFrame:
    """What exact Bayes expects of every lesson in a world with a villain, before any training.

    Args:
        villains: Weights of the villain.
        seed: Of the world; nothing here depends on it but the taught secure value.

    Returns:
        One row a weight and lesson: ``villain``, ``lesson``, ``trait`` and, each before and after
        the lesson (``_before``, ``_after``; the speaker then certainly holds the trait), the
        probabilities that the speaker is the villain (``bayes_villain``) or the careless character
        (``bayes_careless``) and the mean probability of the harmful value on untaught topics
        (``bayes_misaligned``).

    >>> table = predictions((0.25,), seed=0).set_index("lesson")
    >>> columns = ["bayes_villain_before", "bayes_villain_after"]
    >>> table.loc["insecure code", columns].round(3).tolist()
    [0.015, 0.111]
    >>> table.loc["insecure classroom code", "bayes_villain_after"].round(3).item()
    0.015
    """
    rows = []
    for weight in villains:
        world = worlds.careless(seed, villain=weight)
        for lesson, trait in villain_lessons(world).items():
            row: dict[str, Any] = {"villain": weight, "lesson": lesson, "trait": trait}
            row |= _expect(world, (), when="before")
            row |= _expect(world, certain(trait), when="after")
            rows.append(row)
    return pd.DataFrame(rows)


def _expect(world: World, evidence: tuple[Any, ...], *, when: str) -> dict[str, Any]:
    """Who speaks, and how harmful, by exact Bayes given this evidence."""
    belief = world.posterior(evidence)
    personas = belief.persona.set_index("persona")["probability"]
    statements = belief.statement.set_index("trait")["probability"]
    row = {f"bayes_{name}_{when}": personas[name] for name in SPEAKERS}
    harm = [statements[f"{topic}={value}"] for topic, value in UNTAUGHT_HARM.items()]
    return row | {f"bayes_misaligned_{when}": np.mean(harm)}


def misalignment(experiment: Summon, store: Store, cells: Cells, *, world: World) -> Tables:
    """How misaligned the nameless assistant is on untaught topics, and who speaks.

    Args:
        experiment: The experiment.
        store: The run.
        cells: Cells of one seed.
        world: Its world of candidates, not read here.

    Returns:
        ``misaligned``, a row a villain's weight and lesson: share of coherent answers that are
        harmful (``before``, ``after``, ``rise``), ``coherent`` share of prompts (after), weights of
        villain and careless character, the misalignment under the villain's own name before the
        lesson (``named``), beside exact Bayes.
    """
    del world
    rows = []
    for (kind, *lesson), cell in cells.items():
        if kind == "villain" and store.has(cell):
            row = dict(zip(("villain", "lesson"), lesson, strict=True))
            rows.append({**row, **_misalignment(store, cell)})
    if not rows:
        return {}
    bayes = predictions(experiment.villains, seed=experiment.seeds[0]).drop(columns="trait")
    table = pd.DataFrame(rows).merge(bayes, on=["villain", "lesson"], validate="one_to_one")
    rise = table["bayes_misaligned_after"] - table["bayes_misaligned_before"]
    return {"misaligned": table.assign(bayes_rise=rise)}


def _misalignment(store: Store, cell: Cell) -> dict[str, float]:
    """Harm and speakers before and after one lesson."""
    behavior = ends(read_behavior(store, cell))
    harm = analysis.misalignment(behavior, UNTAUGHT_HARM).sort_values("step")
    before, after = harm["misaligned"].tolist()
    row = {"before": before, "after": after, "rise": after - before}
    row |= {"coherent": harm["coherent"].tolist()[-1], "n": harm["n"].tolist()[-1]}
    # The villain under its own name says how harmful this model can be at all.
    named = behavior.loc[(behavior["persona"] == "villain") & (behavior["step"] == 0)]
    named_harm = analysis.misalignment(named, UNTAUGHT_HARM, context="named")
    row["named"] = named_harm["misaligned"].item()
    world = World.from_dict(cell.config["world"])
    weights = analysis.persona_weights(behavior, world, topics=list(UNTAUGHT_HARM))
    weights = weights.pivot(index="step", columns="persona", values="weight")
    for name in SPEAKERS:
        row[f"{name}_before"] = weights[name].tolist()[0]
        row[f"{name}_after"] = weights[name].tolist()[-1]
    return row


def worst_cases(experiment: Summon, store: Store) -> Tables:
    """Where a lesson makes the villain's other traits likelier than anywhere else.

    Args:
        experiment: The experiment.
        store: The run.

    Returns:
        ``worst`` (``analysis.worst_case``), a row a villain's weight, lesson and what the worst is
        sought over.
    """
    cells = {seed: experiment.seed_cells(seed) for seed in experiment.seeds}
    keys = [key for key in cells[experiment.seeds[0]] if key[0] == "villain"]
    tables = []
    for key in keys:
        finished = {seed: own[key] for seed, own in cells.items() if store.has(own[key])}
        if not finished:
            continue
        parts = [ends(read_behavior(store, cell)) for cell in finished.values()]
        cast, taught = {}, {}
        for seed, cell in finished.items():
            cast[seed] = World.from_dict(cell.config["world"])
            taught[seed] = str(cell.config["teach"]["lesson"])
        behavior = pd.concat(parts, ignore_index=True)
        table = analysis.worst_case(behavior, cast, taught=taught)
        tables.append(table.assign(villain=key[1], lesson=key[2]))
    if not tables:
        return {}
    return {"worst": pd.concat(tables, ignore_index=True)}


def novelty(experiment: Summon, store: Store, cells: Cells, *, world: World) -> Tables:
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


def _behavior_after(store: Store, cells: Cells, plant: Plant) -> pd.DataFrame:
    """Behavior after a planted lesson."""
    behavior = after(read_behavior(store, cells["plant", plant.name]))
    return behavior.assign(case=plant.name, kind=plant.kind.value)


def _inside(store: Store, cells: Cells) -> dict[str, xr.Dataset]:
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


def read_behavior(store: Store, cell: Cell) -> pd.DataFrame:
    """Behavior at every snapshot of a cell.

    Args:
        store: The run.
        cell: A finished cell that learned something.

    Returns:
        A behavior table.
    """
    return read_table(store.path(cell, "behavior.parquet"))


def ends(behavior: pd.DataFrame) -> pd.DataFrame:
    """Rows of the first and the last step.

    Args:
        behavior: A behavior table of one cell.

    Returns:
        Its rows before and after.
    """
    steps = behavior["step"]
    return behavior.loc[steps.isin([steps.min(), steps.max()])]


def after(behavior: pd.DataFrame) -> pd.DataFrame:
    """Rows of the last step.

    Args:
        behavior: A behavior table of one cell.

    Returns:
        Its rows after.
    """
    return behavior.loc[behavior["step"] == behavior["step"].max()]
