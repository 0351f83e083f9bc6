"""The agreement experiment: its cells, and a toy run of every one of them."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from persona_interp import schema
from persona_interp.analysis.agreement import agreement_with_truth
from persona_interp.experiments import compute, from_dict, preset, to_dict
from persona_interp.experiments.agreement import report
from persona_interp.experiments.agreement.config import Agreement
from persona_interp.experiments.agreement.tasks import answers, dialogues
from persona_interp.store import Store
from persona_interp.worlds import graded
from tests.experiments.toys import AGREEMENT, few_personas


def test_cells_of_a_seed() -> None:
    experiment = preset("quick", "agreement")
    cells = experiment.seed_cells(0)
    walks = {key[1]: cell for key, cell in cells.items() if key[0] == "walk"}
    assert len(walks) == 16
    assert sum(bool(cell.config["ends"]) for cell in walks.values()) == experiment.walkers
    assert [len(cell.config["ends"]) for cell in walks.values()] == [7] * 8 + [0] * 8
    lessons = [key[1] for key in cells if key[0] == "lesson"]
    assert lessons == experiment.taught(0) and len(set(lessons)) == experiment.lessons
    assert {trait.split("=")[0] for trait in lessons} == set(graded().topics)
    assert all(cells["styles",] in cells["lesson", trait].needs for trait in lessons)
    assert from_dict(to_dict(experiment)) == experiment
    assert len(preset("standard", "agreement").cells()) == 3 * len(cells)


def test_a_chat_model_is_asked_as_it_is() -> None:
    experiment = preset("real", "agreement", start="a/folder")
    cells = experiment.seed_cells(0)
    assert {key[0] for key in cells} == {"estimates", "walk"}
    assert len(cells) == 1 + experiment.walkers
    assert all(cell.config["start"] == "a/folder" and not cell.needs for cell in cells.values())


def test_dialogues_are_whole_and_answers_cover_all_topics() -> None:
    world = graded()
    persona = world.personas[2]
    labels = {str(t) for t in persona.traits}
    corpus = dialogues(world, persona.name).corpus(5)
    assert all(set(statements) == labels for statements in corpus["statements"])
    assert set(corpus["persona"]) == {persona.name}
    chats = answers(world, persona.name, seed=0)
    assert len(chats) == 5 * 25 and chats["doc"].is_unique
    firsts = {statements[0] for statements in chats["statements"][:5]}
    assert firsts == labels, "topics in turn"


@pytest.mark.slow
def test_a_toy_run_gives_every_table_and_a_report(tmp_path: Path) -> None:
    toy = Agreement(world=few_personas(), **AGREEMENT)
    tables = compute(toy, tmp_path / "run", workers=0, progress=False)
    for name in ("measure", "metric"):
        schema.check(tables[name], name)
        schema.check(tables[f"{name}_agreement"], "agreement")
    assert len(tables["axioms"]) == tables["metric"]["estimator"].nunique() == 10
    names = {p.name for p in few_personas().personas}
    assert tables["measure"]["estimator"].nunique() == 10
    assert set(tables["measure"]["persona"]) == names
    walks = tables["metric"].query("estimator == 'nats'")
    assert len(walks) == 6 and (walks["estimate"] > 0).all()
    shifts = tables["spillover_rows"][["estimate", "pmi", "cosine", "style"]].to_numpy()
    assert len(shifts) == 3 * 32 and np.isfinite(shifts).all()
    assert list(tables["spillover"]["predictor"]) == ["pmi", "cosine", "style"]
    store = Store(tmp_path / "run")
    cell = toy.seed_cells(0)["walk", few_personas().personas[0].name]
    files = sorted(path.name for path in store.path(cell).iterdir())
    assert "model" not in files, "weights of walks are not kept"
    assert [name for name in files if name.endswith(".parquet")] == [
        "logodds.parquet",
        "solution.parquet",
    ]
    blocks = report.blocks(tmp_path / "run", tables, provenance={"experiment": "agreement"})
    assert blocks[0]["lead"]
    rows = agreement_with_truth(pd.DataFrame(tables["measure_agreement"]), "documents")
    assert rows["estimator"].iloc[0] == "fact tokens"
