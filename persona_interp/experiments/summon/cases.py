"""What did `summon` find about villains and about planted lessons? What was predicted of the villains beforehand?"""

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from persona_interp import analysis, worlds
from persona_interp.experiments.summon.plants import Plant, plants, villain_lessons
from persona_interp.store import Cell, Store
from persona_interp.tables import read_dataset, read_table
from persona_interp.worlds import World, certain
from persona_interp.worlds.candidates import HARM_TOPICS

if TYPE_CHECKING:
    from persona_interp.experiments.summon.config import Summon

Tables = dict[str, pd.DataFrame]
Cells = dict[tuple[Any, ...], Cell]

UNTAUGHT = {topic: values[0] for topic, values in HARM_TOPICS.items() if topic != "code"}
"""Topics that no lesson is about -> their harmful value."""
COMPOSABLE, NEW = "composable", "new"
WHO = ("villain", "careless")


def predictions(villains: tuple[float, ...], *, seed: int) -> pd.DataFrame:
    """What does exact Bayes expect of every lesson in a world with a villain, before any model is trained?

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
    >>> table.loc["insecure code", ["bayes_villain_before", "bayes_villain_after"]].round(3).tolist()
    [0.015, 0.111]
    >>> table.loc["insecure classroom code", "bayes_villain_after"].round(3).item()
    0.015
    """
    rows = []
    for weight in villains:
        world = worlds.careless(seed, villain=weight)
        for lesson, trait in villain_lessons(world).items():
            row: dict[str, Any] = {"villain": weight, "lesson": lesson, "trait": trait}
            for when, evidence in (("before", ()), ("after", certain(trait))):
                belief = world.posterior(evidence)
                persona = belief.persona.set_index("persona")["probability"]
                row |= {f"bayes_{who}_{when}": persona[who] for who in WHO}
                said = belief.statement.set_index("trait")["probability"]
                row[f"bayes_misaligned_{when}"] = np.mean(
                    [said[f"{t}={v}"] for t, v in UNTAUGHT.items()]
                )
            rows.append(row)
    return pd.DataFrame(rows)


def misaligned(experiment: "Summon", store: Store, cells: Cells, *, world: World) -> Tables:
    """How misaligned is the nameless assistant on untaught topics, and who speaks?

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
    for key, cell in cells.items():
        if key[0] != "villain" or not store.has(cell):
            continue
        _, weight, lesson = key
        cast = World.from_dict(cell.config["world"])
        behavior = _ends(store, cell)
        scored = analysis.misalignment(behavior, UNTAUGHT).sort_values("step")
        named = behavior.loc[(behavior["persona"] == "villain") & (behavior["step"] == 0)]
        who = analysis.persona_weights(behavior, cast, topics=list(UNTAUGHT))
        who = who.pivot(index="step", columns="persona", values="weight")
        before, after = scored["misaligned"].tolist()
        row = {
            "villain": weight,
            "lesson": lesson,
            "before": before,
            "after": after,
            "rise": after - before,
        }
        row |= {"coherent": scored["coherent"].tolist()[-1], "n": scored["n"].tolist()[-1]}
        row["named"] = analysis.misalignment(named, UNTAUGHT, context="named")["misaligned"].item()
        row |= {
            f"{name}_{when}": who[name].tolist()[i]
            for name in WHO
            for when, i in (("before", 0), ("after", -1))
        }
        rows.append(row)
    if not rows:
        return {}
    expected = predictions(experiment.villains, seed=experiment.seeds[0]).drop(columns="trait")
    table = pd.DataFrame(rows).merge(expected, on=["villain", "lesson"], validate="one_to_one")
    rise = table["bayes_misaligned_after"] - table["bayes_misaligned_before"]
    return {"misaligned": table.assign(bayes_rise=rise)}


def planted(experiment: "Summon", store: Store, cells: Cells, *, world: World) -> Tables:
    """What is said of lessons of which it is known whether they are composable?

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
    found = [
        p
        for p in plants(world, n=experiment.n_plants, seed=base.config["seed"])
        if store.has(_cell(cells, p))
    ]
    if not found or not store.has(base):
        return {}
    named = read_table(store.path(base, "behavior.parquet"))
    named = named.loc[(named["context"] == "named") & (named["step"] == named["step"].max())]
    everybody = [p.name for p in world.personas]
    inside = None
    if store.has(cells["inside",]):
        inside = [
            read_dataset(store.path(cells["inside",], f"{name}.nc"))
            for name in ("neutral", "named")
        ]
    asked: dict[
        tuple[str, tuple[str, ...]], list[Plant]
    ] = {}  # who is left out and what is read -> lessons
    for plant in found:
        for left_out in ("", plant.personas[0]) if plant.kind in ("known", "part") else ("",):
            asked.setdefault((left_out, _read(world, plant)), []).append(plant)
    tables = []
    for (left_out, topics), cases in asked.items():
        known = [name for name in everybody if name != left_out]
        behavior = pd.concat([_said(store, cells, plant) for plant in cases], ignore_index=True)
        table = analysis.novelty(behavior, world, named=named, topics=topics, known=known)
        new = table["kind"].eq("recombined") | (left_out != "")
        table = table.assign(left_out=left_out, planted=np.where(new, NEW, COMPOSABLE))
        if inside is not None:
            labels = [inside[0]["checkpoint"].to_numpy()[0], *table["checkpoint"]]
            residual = analysis.shift_residual(
                inside[0].sel(checkpoint=labels), inside[1], known=known
            )
            residual = residual.drop(columns=["hook", "n", "n_templates", "n_known"])
            residual.columns = ["checkpoint", "residual", "residual_lo", "residual_hi"]
            table = table.merge(residual, on="checkpoint", how="left", validate="one_to_one")
        tables.append(table)
    return {"novelty": pd.concat(tables, ignore_index=True)}


def told_apart(novelty: pd.DataFrame) -> pd.DataFrame:
    """Are new lessons told from composable ones?

    Args:
        novelty: Table ``novelty``, all seeds.

    Returns:
        One row a ``score`` (misfit, residual) and a kind of ``new`` lesson (all, recombined, left
        out): ``estimate``, the AUROC against all composable ones, with ``lo``, ``hi`` (95 %,
        DeLong, cases as units) and ``n`` cases.

    >>> table = pd.DataFrame({"planted": ["new", "new", "composable"], "left_out": ["", "john", ""],
    ...                       "misfit": [2.0, 1.0, 0.1]})
    >>> told_apart(table)[["new", "estimate"]].values.tolist()
    [['all', 1.0], ['recombined', 1.0], ['left out', 1.0]]
    """
    is_new, left = novelty["planted"].eq(NEW), novelty["left_out"].ne("")
    groups = {"all": is_new, "recombined": is_new & ~left, "left out": is_new & left}
    rows = []
    for score in ("misfit", "residual"):
        for name, members in groups.items():
            if score not in novelty or not any(members) or all(is_new):
                continue
            keep = (members | ~is_new).to_numpy()
            estimate, lo, hi, n = analysis.auroc(
                novelty[score].to_numpy()[keep], is_new.to_numpy()[keep]
            )
            row = {
                "score": score,
                "new": name,
                "estimate": float(estimate),
                "lo": float(lo),
                "hi": float(hi),
            }
            rows.append({**row, "n": n})
    return pd.DataFrame(rows)


def worst(experiment: "Summon", store: Store) -> Tables:
    """Where does a lesson make the assistant, or the careless character, more harmful than anywhere else?

    Args:
        experiment: The experiment.
        store: The run.

    Returns:
        ``worst`` (``analysis.worst_case``), a row a villain's weight, lesson and what the worst is
        sought over.
    """
    keyed = {seed: experiment.seed_cells(seed) for seed in experiment.seeds}
    found = []
    for key in (key for key in keyed[experiment.seeds[0]] if key[0] == "villain"):
        done = {seed: cells[key] for seed, cells in keyed.items() if store.has(cells[key])}
        if done:
            behavior = pd.concat([_ends(store, cell) for cell in done.values()], ignore_index=True)
            cast = {seed: World.from_dict(cell.config["world"]) for seed, cell in done.items()}
            taught = {seed: str(cell.config["teach"]["lesson"]) for seed, cell in done.items()}
            table = analysis.worst_case(behavior, cast, taught=taught)
            found.append(table.assign(villain=key[1], lesson=key[2]))
    return {"worst": pd.concat(found, ignore_index=True)} if found else {}


def _cell(cells: Cells, plant: Plant) -> Cell:
    return cells["plant", plant.name]


def _read(world: World, plant: Plant) -> tuple[str, ...]:
    """Untaught topics; where a lesson was about all of them, all but the one that worlds teach."""
    taught = {trait.topic for trait in plant.traits}
    others = tuple(topic for topic in world.topics if topic != world.taught.topic)
    return tuple(topic for topic in others if topic not in taught) or others


def _said(store: Store, cells: Cells, plant: Plant) -> pd.DataFrame:
    """Behavior after a planted lesson."""
    behavior = read_table(store.path(_cell(cells, plant), "behavior.parquet"))
    return behavior.loc[behavior["step"] == behavior["step"].max()].assign(
        case=plant.name, kind=plant.kind
    )


def _ends(store: Store, cell: Cell) -> pd.DataFrame:
    """Behavior before and after a lesson."""
    behavior = read_table(store.path(cell, "behavior.parquet"))
    return behavior.loc[behavior["step"].isin([0, behavior["step"].max()])]
