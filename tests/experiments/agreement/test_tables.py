"""The agreement experiment: its cells, and a toy run of every one of them."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from persona_interp import analysis, schema
from persona_interp.experiments import compute, from_dict, preset, to_dict
from persona_interp.experiments.agreement import report
from persona_interp.experiments.agreement.config import Agreement
from persona_interp.experiments.agreement.tasks import answers, dialogues
from persona_interp.models import Stage
from persona_interp.store import Store
from persona_interp.worlds import World, graded


def small() -> World:
    """Four personas of a graded world."""
    world = graded()
    personas = world.personas[:4]
    one, two = personas[0].traits, personas[1].traits
    taught, unrelated = next((a, b) for a, b in zip(one, two, strict=True) if a != b)
    weights = {p.name: world.weights[p.name] for p in personas}
    target = personas[0].name
    return replace(
        world, personas=personas, weights=weights, target=target, taught=taught, unrelated=unrelated
    )


def test_cells_of_a_seed() -> None:
    experiment = preset("quick", "agreement")
    cells = experiment.seed_cells(0)
    walks = {key[1]: cell for key, cell in cells.items() if key[0] == "walk"}
    assert (
        len(walks) == 16
        and sum(bool(cell.config["others"]) for cell in walks.values()) == experiment.walkers
    )
    assert [len(cell.config["others"]) for cell in walks.values()] == [7] * 8 + [0] * 8
    lessons = [key[1] for key in cells if key[0] == "lesson"]
    assert lessons == experiment.taught(0) and len(set(lessons)) == experiment.lessons
    assert {trait.split("=")[0] for trait in lessons} == set(graded().topics)
    assert all(cells["styles",] in cells["lesson", trait].needs for trait in lessons)
    assert from_dict(to_dict(experiment)) == experiment
    assert len(preset("standard", "agreement").cells()) == 3 * len(cells)


def test_a_chat_model_is_asked_as_it_is() -> None:
    experiment = preset("real", "agreement", start="a/folder")
    cells = experiment.seed_cells(0)
    assert {key[0] for key in cells} == {"estimates", "walk"} and len(
        cells
    ) == 1 + experiment.walkers
    assert all(cell.config["start"] == "a/folder" and not cell.needs for cell in cells.values())


def test_dialogues_are_whole_and_answers_cover_all_topics() -> None:
    world = graded()
    persona = world.personas[2]
    labels = {str(t) for t in persona.traits}
    told = dialogues(world, persona.name).corpus(5)
    assert all(set(said) == labels for said in told["statements"]) and set(told["persona"]) == {
        persona.name
    }
    chats = answers(world, persona.name, seed=0)
    assert len(chats) == 5 * 25 and chats["doc"].is_unique
    assert {said[0] for said in chats["statements"][:5]} == labels, "topics in turn"


@pytest.mark.slow
def test_a_toy_run_gives_every_table_and_a_report(tmp_path: Path) -> None:
    toy = Agreement(
        world=small(),
        documents=Stage(steps=60, batch=16, lr=4e-3, loss="all"),
        n_documents=1_000,
        walk=Stage(steps=2, batch=8, lr=1e-3),
        snapshots=(1,),
        walkers=3,
        n_told=2,
        n_shared=4,
        n_generic=2,
        n_draws=2,
        lessons=3,
        lesson=Stage(steps=2, batch=8),
    )
    tables = compute(toy, tmp_path / "run", workers=0, progress=False)
    kinds = ("measure", "metric")
    for name in kinds:
        schema.check(tables[name], name)
        schema.check(tables[f"{name}_agreement"], "agreement")
    assert len(tables["axioms"]) == tables["metric"]["estimator"].nunique() == 10
    assert tables["measure"]["estimator"].nunique() == 10 and set(tables["measure"]["persona"]) == {
        p.name for p in small().personas
    }
    walked = tables["metric"].query("estimator == 'nats'")
    assert len(walked) == 6 and (walked["estimate"] > 0).all()
    spilled = tables["spillover_rows"]
    assert (
        len(spilled) == 3 * 32
        and np.isfinite(spilled[["estimate", "pmi", "cosine", "style"]].to_numpy()).all()
    )
    assert list(tables["spillover"]["predictor"]) == ["pmi", "cosine", "style"]
    store = Store(tmp_path / "run")
    cell = toy.seed_cells(0)["walk", small().personas[0].name]
    assert sorted(
        p.name for p in store.path(cell, "said.parquet").parent.iterdir() if p.suffix == ".parquet"
    ) == [
        "said.parquet",
        "solution.parquet",
    ], "weights of walks are not kept"
    blocks = report.blocks(tmp_path / "run", tables, provenance={"experiment": "agreement"})
    assert blocks[0]["lead"]
    again = analysis.agreement_with_truth(pd.DataFrame(tables["measure_agreement"]), "documents")
    assert again["estimator"].iloc[0] == "fact tokens"
