"""How harmful does a lesson make the assistant in a world with a villain, and who speaks?

Exact Bayes says beforehand, before any model is trained, what is to be expected.
"""

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from persona_interp import analysis, worlds
from persona_interp.experiments.summon.cases.behavior import ends, read_behavior
from persona_interp.experiments.summon.plants import villain_lessons
from persona_interp.store import Cell, Store
from persona_interp.worlds import World, certain
from persona_interp.worlds.candidates import HARM_TOPICS

if TYPE_CHECKING:
    from persona_interp.experiments.summon.config import Cells, Summon

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


def misalignment(experiment: "Summon", store: Store, cells: "Cells", *, world: World) -> Tables:
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


def worst_cases(experiment: "Summon", store: Store) -> Tables:
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
