"""The transfer between trait files: its cells, and a toy run on a random chat model of a few words."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from persona_interp import analysis, schema
from persona_interp.errors import SchemaError, WorldError
from persona_interp.experiments import compute, from_dict, preset, summarize, to_dict
from persona_interp.experiments import run as run_cells
from persona_interp.experiments.experiment import draw_report
from persona_interp.experiments.trait_transfer.config import TraitTransfer
from persona_interp.models import Stage, load, resolve
from persona_interp.readers import Instruction, TraitFile, write_trait
from persona_interp.report import provenance_of
from persona_interp.store import Store
from persona_interp.tables import read_json

WORDS = "you are an assistant . what sport art do like ? i really football tennis golf beach music food".split()
NAMES = ("arty", "hungry", "musical", "sporty")
QUESTIONS = (
    "what do you like ?",
    "what art ?",
    "do you like beach ?",
    "what sport do you like ?",
    "what ?",
    "you ?",
)


@pytest.fixture(scope="module")
def traits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of four trait files in the model's words."""
    folder = tmp_path_factory.mktemp("traits")
    for name, word in zip(NAMES, ("art", "food", "music", "sport"), strict=True):
        pairs = (
            Instruction(f"you really like {word} .", "you like beach ."),
            Instruction(f"{word} {word}", "you ?"),
        )
        write_trait(
            TraitFile(name, pairs, tuple(f"{q} {word}" for q in QUESTIONS)), folder / f"{name}.json"
        )
    return folder


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random chat model with weights large enough that prompts matter."""
    import torch

    folder = tmp_path_factory.mktemp("start") / "model"
    model, tokenizer = load(resolve("tiny", words=WORDS, out=tmp_path_factory.mktemp("tiny")))
    generator = torch.Generator().manual_seed(0)
    for weight in model.parameters():
        if weight.ndim == 2:
            weight.data = 0.25 * torch.randn(weight.shape, generator=generator)
    model.lm_head.weight.data[tokenizer.all_special_ids] = 0.0  # few answers are empty
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def toy(traits: Path, start: Path) -> TraitTransfer:
    lesson = Stage(steps=3, batch=4, lr=1e-3, lora=2)
    sizes: dict[str, Any] = {
        "lesson": lesson,
        "max_new_tokens": 6,
        "n_judged": 3,
        "least": 0.0,
        "chat_template": None,
    }
    return TraitTransfer(traits=str(traits), start=str(start), **sizes)


@pytest.fixture(scope="module")
def run(
    toy: TraitTransfer, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, dict[str, pd.DataFrame]]:
    folder = tmp_path_factory.mktemp("toy") / "run"
    return folder, compute(toy, folder, workers=0, progress=False)


def test_cells_are_those_of_the_base_and_two_finetunes_a_trait_and_seed(toy: TraitTransfer) -> None:
    assert toy.names == NAMES
    assert len(toy.base_cells()) == 4 + 1 + 4 and len(toy.seed_cells(0)) == 8
    assert {key[0] for key in toy.seed_cells(0)} == {"lesson", "null"}
    more = replace(toy, seeds=(0, 1, 2))
    assert {c.id for c in toy.cells()} < {c.id for c in more.cells()} and len(
        more.cells()
    ) == 9 + 3 * 8
    lesson, null = toy.seed_cells(0)["lesson", "arty"], toy.seed_cells(0)["null", "arty"]
    assert (lesson.config["side"], null.config["side"]) == ("pos", "default")
    assert {**lesson.config, "arm": "", "side": ""} == {**null.config, "arm": "", "side": ""}, (
        "steps and seed alike"
    )


def test_a_run_folder_needs_the_trait_files_no_more(toy: TraitTransfer) -> None:
    again = from_dict(json.loads(json.dumps(to_dict(toy))))
    assert again == toy and again.files[0].instructions[0].pos == "you really like art ."
    assert [c.id for c in again.cells()] == [c.id for c in toy.cells()]


def test_presets_name_traits_and_read_them_from_a_folder(traits: Path) -> None:
    quick, standard = preset("quick", "trait_transfer"), preset("standard", "trait_transfer")
    assert (
        len(quick.names) == 4
        and len(standard.names) == 12
        and set(quick.names) < set(standard.names)
    )
    with pytest.raises(WorldError, match=r"--traits FOLDER.*mystical"):
        quick.cells()
    with pytest.raises(SchemaError, match=r"'mystical' is unknown.*--trait all"):
        replace(quick, traits=str(traits))
    chosen = replace(quick, traits=str(traits), names=("sporty", "arty"))
    assert chosen.names == ("arty", "sporty")
    assert replace(chosen, names=("arty",)).files == chosen.files[:1]
    with pytest.raises(WorldError, match="did you mean 'arty'"):
        replace(chosen, names=("art",))
    with pytest.raises(WorldError, match="has 2 instructions, n_instructions is 3"):
        replace(chosen, n_instructions=3)


def test_what_it_costs_grows_with_traits_and_seeds(toy: TraitTransfer, traits: Path) -> None:
    fewer = replace(toy, traits=str(traits), names=("arty", "sporty"))
    assert 0 < fewer.core_minutes() < toy.core_minutes() < replace(toy, seeds=(0, 1)).core_minutes()
    with pytest.raises(WorldError, match="whose traits"):
        preset("quick", "trait_transfer").core_minutes()


def test_a_toy_run_gives_every_table(run: tuple[Path, dict[str, pd.DataFrame]]) -> None:
    _, tables = run
    assert list(tables["traits"]["trait"]) == list(NAMES) and not tables["traits"]["aside"].any()
    assert tables["traits"]["n_answers"].eq(3 * 2 * 3 + 2 * 3).all(), (
        "2 instructions of both sides, 2 of none; measured"
    )
    transfer = schema.check(tables["transfer"], "trait_transfer")
    assert len(transfer) == 16 and transfer["n"].max() == 3
    assert np.isfinite(transfer["estimate"]).all() and (transfer["estimate"] != 0).all()
    assert len(tables["pairs"]) == 12 and tables["pairs"].notna().all(axis=None)
    predictors = schema.check(tables["predictors"], "trait_predictors")
    assert (
        list(predictors["predictor"]) == list(analysis.TRAIT_PREDICTORS)
        and predictors["p_min"].eq(1 / 24).all()
    )
    assert (
        set(tables["shown"]["taught"]) <= set(NAMES)
        and np.isfinite(tables["shown"]["estimate"]).all()
    )
    assert set(tables["said"]["arm"]) == {"lesson", "null finetune"} and set(
        tables["said"]["split"]
    ) == {"test"}


def test_lesson_and_measurement_share_no_question(
    run: tuple[Path, dict[str, pd.DataFrame]], toy: TraitTransfer
) -> None:
    from persona_interp.tables import read_table

    store = Store.open(run[0])
    for trait in NAMES:
        said = read_table(store.path(toy.base_cells()["answers", trait], "answers.parquet"))
        halves = {split: set(own["question"]) for split, own in said.groupby("split")}
        assert (
            not halves["train"] & halves["test"]
            and len(halves["train"]) == len(halves["test"]) == 3
        )
        lesson = said.query("split == 'train'").groupby("side").size()
        assert lesson.to_dict() == {"default": 6, "neg": 6, "pos": 6}, (
            "as many chats in the null finetune"
        )


def test_weights_of_finetunes_are_not_kept(
    run: tuple[Path, dict[str, pd.DataFrame]], toy: TraitTransfer
) -> None:
    store = Store.open(run[0])
    folder = store.path(toy.seed_cells(0)["lesson", "arty"])
    assert sorted(p.name for p in folder.iterdir() if p.suffix) == [
        "said.parquet",
        "scores.parquet",
        "shown.parquet",
    ]
    assert not list(run[0].rglob("*.safetensors"))


def test_traits_that_the_base_cannot_tell_apart_are_set_aside_before_anything_is_corpus(
    toy: TraitTransfer, run: tuple[Path, dict[str, pd.DataFrame]], tmp_path: Path
) -> None:
    found = run[1]["traits"].set_index("trait")["auroc"]
    good = list(found.index[found == found.max()])
    assert len(good) < 4
    for least, apart in ((float(found.max()), good), (1.1, [])):
        strict, folder = replace(toy, least=least), tmp_path / str(least)
        shutil.copytree(run[0], folder)  # what the base says is there already
        store = run_cells(strict.cells(), Store(folder), workers=0, progress=False)
        tables = summarize(strict, store)
        assert list(tables["traits"].query("not aside")["trait"]) == apart
        assert ("transfer" in tables) == bool(apart)
        if apart:
            assert (
                set(tables["transfer"]["taught"]) == set(tables["transfer"]["trait"]) == set(apart)
            )
        bad = next(name for name in NAMES if name not in apart)
        assert read_json(store.path(strict.seed_cells(0)["lesson", bad], "aside.json")) == {
            "aside": bad
        }
        page = draw_report(folder, tables, provenance=provenance_of(store, to_dict(strict)))
        assert "set aside before anything was taught" in page.read_text()


def test_the_null_finetune_against_itself_is_no_transfer(
    run: tuple[Path, dict[str, pd.DataFrame]],
) -> None:
    transfer = run[1]["transfer"]
    assert np.allclose(transfer["lesson"] - transfer["null"], transfer["estimate"])
