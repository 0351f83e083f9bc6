"""Transfer between trait files: its cells, and a toy run on a random model of a few words."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from persona_interp import schema
from persona_interp.analysis.trait_predictors import TRAIT_PREDICTORS
from persona_interp.errors import SchemaError, WorldError
from persona_interp.experiments import compute, from_dict, preset, summarize, to_dict
from persona_interp.experiments import run as run_cells
from persona_interp.experiments.experiment import draw_report
from persona_interp.experiments.trait_transfer.config import TraitTransfer
from persona_interp.report import provenance_of
from persona_interp.store import Store
from persona_interp.tables import read_json, read_table
from tests.experiments.toys import TRAITS, save_start, save_traits, trait_transfer

Run = tuple[Path, dict[str, pd.DataFrame]]
"""Folder and tables of a finished run."""
NAMES = tuple(TRAITS)


@pytest.fixture(scope="module")
def traits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_traits(tmp_path_factory.mktemp("traits"))


@pytest.fixture(scope="module")
def toy(traits: Path, tmp_path_factory: pytest.TempPathFactory) -> TraitTransfer:
    return trait_transfer(traits, save_start(tmp_path_factory.mktemp("start") / "model"))


@pytest.fixture(scope="module")
def run(toy: TraitTransfer, tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("toy") / "run"
    return folder, compute(toy, folder, workers=0, progress=False)


def test_cells_are_those_of_the_base_and_two_finetunes_a_trait_and_seed(toy: TraitTransfer) -> None:
    assert toy.names == NAMES
    base, cells = toy.base_cells(), toy.seed_cells(0)
    assert len(base) == 4 + 1 + 4 and len(cells) == 9 + 8
    assert {key[0] for key in cells if key not in base} == {"lesson", "null"}
    more = replace(toy, seeds=(0, 1, 2))
    assert {cell.id for cell in toy.cells()} < {cell.id for cell in more.cells()}
    assert len(more.cells()) == 9 + 3 * 8
    lesson, null = cells["lesson", "arty"], cells["null", "arty"]
    assert (lesson.config["side"], null.config["side"]) == ("pos", "default")
    assert {**lesson.config, "arm": "", "side": ""} == {**null.config, "arm": "", "side": ""}, (
        "steps and seed alike"
    )


def test_a_run_folder_needs_the_trait_files_no_more(toy: TraitTransfer) -> None:
    again = from_dict(json.loads(json.dumps(to_dict(toy))))
    assert again == toy and again.files[0].instructions[0].pos == "you really like art ."
    assert [cell.id for cell in again.cells()] == [cell.id for cell in toy.cells()]


def test_presets_name_traits_and_read_them_from_a_folder(traits: Path) -> None:
    quick, standard = preset("quick", "trait_transfer"), preset("standard", "trait_transfer")
    assert len(quick.names) == 4 and len(standard.names) == 6 and standard.seeds == (0, 1, 2)
    assert standard.lesson.steps == 20 and len(preset("paper", "trait_transfer").names) == 12
    with pytest.raises(WorldError, match=r"--traits FOLDER.*mystical"):
        quick.cells()
    with pytest.raises(SchemaError, match=r"'mystical' is unknown.*--trait all"):
        replace(quick, traits=str(traits))
    two = replace(quick, traits=str(traits), names=("sporty", "arty"))
    assert two.names == ("arty", "sporty")
    assert replace(two, names=("arty",)).files == two.files[:1]
    with pytest.raises(WorldError, match="did you mean 'arty'"):
        replace(two, names=("art",))
    with pytest.raises(WorldError, match="has 2 instructions, n_instructions is 3"):
        replace(two, n_instructions=3)


def test_what_it_costs_grows_with_traits_and_seeds(toy: TraitTransfer, traits: Path) -> None:
    fewer = replace(toy, traits=str(traits), names=("arty", "sporty"))
    assert 0 < fewer.core_minutes() < toy.core_minutes() < replace(toy, seeds=(0, 1)).core_minutes()
    with pytest.raises(WorldError, match="whose traits"):
        preset("quick", "trait_transfer").core_minutes()


def test_a_toy_run_gives_every_table(run: Run) -> None:
    _, tables = run
    assert list(tables["traits"]["trait"]) == list(NAMES) and not tables["traits"]["aside"].any()
    assert tables["traits"]["n_answers"].eq(3 * 2 * 3 + 2 * 3).all(), (
        "2 instructions of both sides, 2 of none; measured"
    )
    transfer = schema.check(tables["transfer"], "trait_transfer")
    assert len(transfer) == 16 and transfer["n"].max() == 3
    assert np.isfinite(transfer["estimate"]).all() and (transfer["estimate"] != 0).all()
    assert set(transfer["n_null"]) == {4} and not transfer["verdict"].str.contains("moved").any()
    judge = schema.check(tables["judge"], "judge_fitness")
    assert list(judge["trait"]) == list(NAMES) and judge["auroc"].between(0, 1).all()
    assert judge[["n_pos", "n_neg"]].eq(3).all(axis=None)
    assert len(tables["pairs"]) == 12 and tables["pairs"].notna().all(axis=None)
    predictors = schema.check(tables["predictors"], "trait_predictors")
    assert list(predictors["predictor"]) == list(TRAIT_PREDICTORS)
    assert predictors["p_min"].eq(1 / 24).all()
    assert set(tables["shown"]["taught"]) <= set(NAMES)
    assert np.isfinite(tables["shown"]["estimate"]).all()
    assert set(tables["answers"]["arm"]) == {"lesson", "null finetune"}
    assert set(tables["answers"]["split"]) == {"test"}


def test_lesson_and_measurement_share_no_question(run: Run, toy: TraitTransfer) -> None:
    store = Store.open(run[0])
    for trait in NAMES:
        answers = read_table(store.path(toy.base_cells()["answers", trait], "answers.parquet"))
        halves = {split: set(half["question"]) for split, half in answers.groupby("split")}
        assert not halves["train"] & halves["test"]
        assert len(halves["train"]) == len(halves["test"]) == 3
        lesson = answers.query("split == 'train'").groupby("side").size()
        assert lesson.to_dict() == {"default": 6, "neg": 6, "pos": 6}, (
            "as many chats in the null finetune"
        )


def test_weights_of_finetunes_are_not_kept(run: Run, toy: TraitTransfer) -> None:
    store = Store.open(run[0])
    folder = store.path(toy.seed_cells(0)["lesson", "arty"])
    files = sorted(path.name for path in folder.iterdir() if path.name[0] != ".")
    assert files == ["said.parquet", "scores.parquet", "shown.parquet"]
    assert not list(run[0].rglob("*.safetensors"))


def test_traits_that_the_base_cannot_tell_apart_are_set_aside_before_anything_is_taught(
    toy: TraitTransfer, run: Run, tmp_path: Path
) -> None:
    auroc = run[1]["traits"].set_index("trait")["auroc"]
    best = list(auroc.index[auroc == auroc.max()])
    assert len(best) < 4
    for least, separable in ((float(auroc.max()), best), (1.1, [])):
        strict, folder = replace(toy, least=least), tmp_path / str(least)
        shutil.copytree(run[0], folder)  # what the base says is there already
        store = run_cells(strict.cells(), Store(folder), workers=0, progress=False)
        tables = summarize(strict, store)
        assert list(tables["traits"].query("not aside")["trait"]) == separable
        assert ("transfer" in tables) == bool(separable)
        if separable:
            transfer = tables["transfer"]
            assert set(transfer["taught"]) == set(transfer["trait"]) == set(separable)
        other = next(name for name in NAMES if name not in separable)
        note = read_json(store.path(strict.seed_cells(0)["lesson", other], "aside.json"))
        assert note == {"aside": other}
        page = draw_report(folder, tables, provenance=provenance_of(store, to_dict(strict)))
        assert "set aside before anything was taught" in page.read_text()


def test_the_transfer_is_lesson_minus_null_finetune(run: Run) -> None:
    transfer = run[1]["transfer"]
    assert np.allclose(transfer["lesson"] - transfer["null"], transfer["estimate"])
