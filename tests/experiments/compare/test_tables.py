"""A base does not differ from itself; a planted shift is found; a wrong name costs nothing."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import GPT2Config, GPT2LMHeadModel

from persona_interp.dictionaries import SparseDictionary, save_dictionary
from persona_interp.dictionaries.saelens import build
from persona_interp.errors import ModelError, SchemaError, StoreError
from persona_interp.experiments import from_dict, to_dict
from persona_interp.experiments.compare import tables as compare_tables
from persona_interp.experiments.compare.config import CompareOptions, CompareSettings
from persona_interp.experiments.compare.sources import (
    checkpoint_of,
    compare,
    comparison,
    sources_of,
)
from persona_interp.experiments.experiment import draw_report
from persona_interp.models import Checkpoint, Trajectory, fold_system, load
from persona_interp.models.load import load_tokenizer
from persona_interp.models.tiny import tiny_tokenizer
from persona_interp.readers import Instruction, TraitFile, write_trait
from persona_interp.report import provenance_of
from persona_interp.schema.words import Verdict
from persona_interp.store import Store
from persona_interp.tables import read_directions

Run = tuple[Path, dict[str, pd.DataFrame]]
"""Folder and tables of a finished comparison."""
SUBJECTS = ("football", "tennis", "golf", "art")
WORDS = [
    *"what why do you like is the best . ?".split(),
    *SUBJECTS,
    *"be very dry warm i really always not".split(),
]
QUESTIONS = [f"{ask} is {subject} ?" for ask in ("what", "why") for subject in SUBJECTS]
PROMPTS = [
    f"do you {how} like {subject} ?" for how in ("really", "always", "not") for subject in SUBJECTS
]
SETTINGS = CompareSettings(samples=2, max_new_tokens=3, n_random=10, draws=1)
HOOK = "blocks.1.hook_out"
V = torch.linspace(-2, 2, 32)
"""What is planted: added to the residual by the last block, at every token."""


def save_model(folder: Path, *, seed: int = 0, scale: float = 0.0, planted: bool = False) -> Path:
    """Save a random chat model; `scale` is how far its weights are from the base's, by `seed`."""
    tokenizer = tiny_tokenizer(WORDS)
    special = {
        f"{name}_token_id": tokenizer.convert_tokens_to_ids(f"<{name}>")
        for name in ("bos", "eos", "pad")
    }
    config = GPT2Config(
        vocab_size=len(tokenizer), n_embd=32, n_layer=2, n_head=2, n_positions=64, **special
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = GPT2LMHeadModel(config)
        for weight in model.parameters():
            weight.data += 0.2 * torch.randn(weight.shape)
        torch.manual_seed(seed)
        for weight in model.parameters():
            weight.data += scale * torch.randn(weight.shape)
    if planted:
        model.transformer.h[1].mlp.c_proj.bias.data += V
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def save_parts(folder: Path) -> Path:
    """Save an exact dictionary: every residual is its positive and its negative part."""
    eye = torch.eye(32)
    both = torch.cat([eye, -eye])
    config = {
        **{"architecture": "standard", "d_in": 32, "d_sae": 64},
        **{"dtype": "float32", "device": "cpu"},
    }
    weights = {
        "W_enc": both.T.contiguous(),
        "W_dec": both,
        "b_enc": torch.zeros(64),
        "b_dec": torch.zeros(32),
    }
    dictionary = SparseDictionary(build(config, weights), "parts", HOOK, torch.zeros(32), 1.0)
    save_dictionary(dictionary, folder)
    return folder


@pytest.fixture(scope="module")
def material(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of the models base and planted, two traits, and prompts."""
    torch.set_num_threads(1)
    material = tmp_path_factory.mktemp("material")
    save_model(material / "base")
    save_model(material / "planted", planted=True)
    (material / "traits").mkdir()
    for name, other in (("dry", "warm"), ("warm", "dry")):
        pair = Instruction(f"be very {name} .", f"be very {other} .")
        write_trait(
            TraitFile(name, (pair,), tuple(QUESTIONS)), material / "traits" / f"{name}.json"
        )
    (material / "prompts.txt").write_text("\n".join(PROMPTS) + "\n")
    return material


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cache of this test alone."""
    monkeypatch.setenv("PERSONA_INTERP_CACHE", str(tmp_path / "cache"))


def small(material: Path, *, prompts: Path | str = "", **changes: Any) -> dict[str, Any]:
    """Prompts and options of a small comparison."""
    options = {"traits": material / "traits" / "dry.json", "hooks": [HOOK], "settings": SETTINGS}
    return {
        "prompts": prompts or material / "prompts.txt",
        "options": CompareOptions(**options | changes),
    }


def compare_planted(material: Path, out: Path) -> dict[str, pd.DataFrame]:
    """The base against itself and against the planted model."""
    tuned, named = [material / "base", material / "planted"], small(material, primary="dry")
    return compare(material / "base", tuned, out=out, workers=0, progress=False, **named)


@pytest.fixture(scope="module")
def run(material: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    out = tmp_path_factory.mktemp("run") / "out"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PERSONA_INTERP_CACHE", str(out.parent / "cache"))
        return out, compare_planted(material, out)


def test_a_base_against_itself_is_zero_and_claims_nothing(run: Run) -> None:
    _, tables = run
    effects = tables["effects"].query("checkpoint == 'base@0'")
    assert set(effects["family"]) == {"behavior", "answers", "projection"}
    assert (effects["estimate"] == 0).all() and set(effects["verdict"]) == {Verdict.NONE}
    assert (tables["effects"]["floor"] == 0).all()
    drift = tables["drift"]
    same = drift["checkpoint"].isin(["base", "base again", "base@0"])
    assert (drift.loc[same, "estimate"] == 0).all() and (drift.loc[~same, "estimate"] > 0).all()
    assert (tables["sound"].query("checkpoint != 'planted@0'")["estimate"] == 0).all()
    notes = tables["sources"].set_index("checkpoint")["note"]
    assert notes["base@0"] == "the same weights as base" and notes["planted@0"] == ""
    assert set(tables["novelty"].query("checkpoint == 'base@0'")["share"].isna()) == {True}


def test_a_planted_shift_is_found_where_it_was_planted(run: Run) -> None:
    out, tables = run
    store = Store(out)
    cell = from_dict(store.config()).seed_cells(0)["directions",]
    vectors = read_directions(store.path(cell, "vectors.nc"))
    vector = vectors.sel(name="dry", hook=HOOK).to_numpy()
    along = float(V.numpy() @ vector / np.linalg.norm(vector))

    planted = {
        name: table.query("checkpoint == 'planted@0'")
        for name, table in tables.items()
        if "checkpoint" in table
    }
    effect = planted["effects"].query("family == 'projection'").iloc[0]
    assert effect["estimate"] == pytest.approx(along, rel=1e-4)
    assert effect["verdict"] == Verdict.DIFFERS
    assert planted["shift"].iloc[0]["estimate"] == pytest.approx(along, rel=1e-4)
    share = planted["novelty"].iloc[0]["share"]
    assert share == pytest.approx(along**2 / float(V @ V), rel=1e-3)
    assert len(planted["lens"]) == 20 and planted["lens"]["weight"].is_monotonic_decreasing


def test_a_rerun_computes_nothing_and_the_report_needs_no_models(material: Path, run: Run) -> None:
    out, tables = run
    before = (out / "manifest.jsonl").read_bytes()
    again = compare_planted(material, out)
    assert (out / "manifest.jsonl").read_bytes() == before
    for name, table in tables.items():
        pd.testing.assert_frame_equal(again[name], table)
    store = Store.open(out)
    first = from_dict(store.config())
    second = from_dict(json.loads(json.dumps(to_dict(first))))
    assert [cell.id for cell in second.cells()] == [cell.id for cell in first.cells()]
    page = draw_report(out, tables, provenance=provenance_of(store, store.config()))
    html = page.read_text(encoding="utf-8")
    assert "cannot be said what the finetune moved" in html and "moved it" not in html
    assert "base@0 (tuned) has the same weights as base." in html and "hidden_states[2]" in html


def test_a_changed_checkpoint_is_another_comparison(material: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(material / "planted", tmp_path / "planted")
    first = comparison(material / "base", folder, **small(material))
    save_model(folder, planted=True, scale=0.01)
    second = comparison(material / "base", folder, **small(material))
    keys = first.seed_cells(0)
    changed = [key for key, cell in second.seed_cells(0).items() if cell.id != keys[key].id]
    assert {key[-1] for key in changed} == {"planted@0"}
    store = Store(tmp_path / "run")
    store.describe(to_dict(first))
    with pytest.raises(StoreError, match="weights"):
        store.describe(to_dict(second))


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"primary": "dyr"}, SchemaError, "did you mean 'dry'"),
        ({"hooks": ["blocks.9.hook_out"]}, ModelError, "hook 'blocks.9.hook_out' is unknown"),
        ({"sae": "nowhere/at/all"}, ModelError, "nowhere"),
        ({"control": ["nowhere"]}, ModelError, "nowhere"),
        ({"prompts": "prompts.text"}, SchemaError, "prompts.text"),
    ],
)
def test_a_wrong_name_is_refused_before_anything_is_computed(
    material: Path, tmp_path: Path, changes: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        compare(
            material / "base",
            material / "planted",
            out=tmp_path / "run",
            **small(material, **changes),
        )
    assert not (tmp_path / "run").exists()


def test_a_wrong_setting_is_refused() -> None:
    with pytest.raises(SchemaError, match=r"at least one question.*questions=0"):
        CompareSettings(questions=0)
    with pytest.raises(TypeError, match="'question'"):
        CompareSettings(question=3)  # type: ignore[call-arg]


def test_dictionaries_of_one_name_are_refused(material: Path, tmp_path: Path) -> None:
    folders = [save_parts(tmp_path / name) for name in ("a", "b")]
    named = small(material, sae=folders)
    with pytest.raises(ModelError, match="two dictionaries are called 'parts'"):
        comparison(material / "base", material / "planted", **named)
    experiment = comparison(
        material / "base", material / "planted", **small(material, sae=folders[0])
    )
    assert [sae.name for sae in experiment.sae] == ["parts"]


def test_the_base_is_trusted_as_much_the_second_time(material: Path) -> None:
    experiment = comparison(material / "base", material / "planted", **small(material))
    trusted = replace(experiment, base=replace(experiment.base, trusted=True))
    assert trusted.again.trusted and not experiment.again.trusted


def test_steps_of_a_training_are_checkpoints_and_its_start_is_the_base(
    material: Path, tmp_path: Path
) -> None:
    steps = (
        Checkpoint(material / "base", "lesson", 0),
        Checkpoint(save_model(tmp_path / "a", scale=0.01), "lesson", 8),
        Checkpoint(save_model(tmp_path / "b", scale=0.02), "lesson", 16),
    )
    training = Trajectory(steps)
    training.save(tmp_path / "run")
    base, tuned, control = sources_of(
        material / "base", tmp_path / "run", [training, material / "base"]
    )
    assert [source.label for source in tuned] == ["lesson@8", "lesson@16"]
    assert len({source.run for source in tuned}) == 1
    labels = [source.label for source in control]
    assert labels == ["lesson@8 (2)", "lesson@16 (2)", "base@0"]

    planted = comparison(material / "base", material / "planted", **small(material))
    experiment = replace(planted, base=base, tuned=tuned)
    assert [source.label for source in experiment.ends] == ["lesson@16"]
    assert replace(experiment, control=control).controls == [], "none of these is another finetune"
    named = small(material, control=[training, training, material / "base"])
    planted = comparison(material / "base", material / "planted", **named)
    assert [source.label for source in planted.controls] == ["lesson@16"], (
        "one run is one control, however often it is named"
    )


@pytest.mark.slow
@pytest.mark.usefixtures("cache")
def test_three_controls_and_a_dictionary(material: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    controls = [save_model(tmp_path / f"c{i}", seed=i, scale=0.005) for i in (1, 2, 3)]
    tuned = save_model(tmp_path / "tuned", seed=4, scale=0.005, planted=True)
    sae = save_parts(tmp_path / "sae")
    named = small(material, control=controls, sae=sae, traits=material / "traits")
    tables = compare(material / "base", tuned, out=out, workers=0, progress=False, **named)
    effects = tables["effects"].query("role == 'tuned'")
    assert set(effects["judged_by"]) == {"controls"}
    assert set(effects["family"]) == {"behavior", "answers", "projection", "feature"}
    features = effects.query("family == 'feature'").set_index("quantity")
    top = features["excess"].abs().idxmax()
    planted, sign = float(V[int(top) % 32]), 1 if int(top) < 32 else -1
    assert abs(planted) >= 1.5, "the largest change is where the shift is largest"
    assert features.loc[top, "excess"] == pytest.approx(sign * planted, rel=0.2)
    assert (tables["fidelity"]["fvu"] < 1e-6).all() and set(tables["tokens"]["sae"]) == {"parts"}
    store = Store.open(out)
    page = draw_report(out, tables, provenance=provenance_of(store, store.config()))
    html = page.read_text(encoding="utf-8")
    assert "Each of the 3 controls" in html and "cannot be said" not in html
    assert f"largest change of mean activation: {features.loc[top, 'estimate']:+.3g}" in html


def copy_models(material: Path, out: Path) -> list[Path]:
    """Copy base and planted, so that they can be changed."""
    return [shutil.copytree(material / name, out / name) for name in ("base", "planted")]


def refuse_system(folder: Path) -> Path:
    """Give a model a chat template that refuses system messages."""
    template = (folder / "chat_template.jinja").read_text()
    refuse = (
        "{% if messages[0]['role'] == 'system' %}{{ raise_exception('no system role') }}{% endif %}"
    )
    (folder / "chat_template.jinja").write_text(refuse + template)
    return folder


@pytest.mark.usefixtures("cache")
def test_without_a_system_role_the_user_says_the_instructions(
    material: Path, tmp_path: Path
) -> None:
    base, tuned = map(refuse_system, copy_models(material, tmp_path))
    control = refuse_system(save_model(tmp_path / "control", seed=1, scale=0.01))
    named = small(material, control=[control], primary="dry")
    out = tmp_path / "run"
    tables = compare(base, [tuned, base], out=out, workers=0, progress=False, **named)
    same = tables["effects"].query("checkpoint == 'base (2)'")
    assert set(same["family"]) == {"behavior", "answers", "projection"}
    assert (same["estimate"] == 0).all()

    store = Store.open(out)
    experiment = from_dict(store.config())
    assert experiment.fold_system
    answers = store.path(experiment.seed_cells(0)["trait", "dry"], "answers.parquet")
    chats = pd.read_parquet(answers)["messages"].tolist()
    assert {chat[0]["role"] for chat in chats} == {"system"}, "tables keep whose words they are"
    sources = (experiment.base, *experiment.tuned, *experiment.controls)
    tokenizers = [load_tokenizer(checkpoint_of(source.plain())) for source in sources]
    texts = {tokenizer.apply_chat_template(chats[0], tokenize=False) for tokenizer in tokenizers}
    plain = load_tokenizer(Checkpoint(base))
    assert texts == {plain.apply_chat_template(fold_system(chats[0]), tokenize=False)}
    page = draw_report(out, tables, provenance=provenance_of(store, store.config()))
    assert "has no system role" in page.read_text(encoding="utf-8")


@pytest.mark.usefixtures("cache")
def test_system_messages_are_folded_only_where_somebody_says_them(
    material: Path, tmp_path: Path
) -> None:
    base, tuned = map(refuse_system, copy_models(material, tmp_path))
    plain = comparison(base, tuned, **small(material, traits=None))
    assert not plain.fold_system and plain.base.path == str(base), (
        "where nobody says system, nothing is folded"
    )
    chat = [{"role": role, "content": "why ?"} for role in ("system", "user")]
    prompts = tmp_path / "instructed.jsonl"
    prompts.write_text(json.dumps({"messages": chat}) + "\n")
    assert comparison(base, tuned, **small(material, traits=None, prompts=prompts)).fold_system
    with pytest.raises(ModelError, match="chat templates differ"):
        comparison(base, material / "planted", **small(material))


@pytest.mark.usefixtures("cache")
def test_an_adapter_whose_base_is_not_here_is_merged_into_the_base_and_says_so(
    material: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, _ = load(Checkpoint(material / "base"))
    config = LoraConfig(r=2, target_modules=["c_attn"], fan_in_fan_out=True, task_type="CAUSAL_LM")
    lora = get_peft_model(model, config)
    for name, weight in lora.named_parameters():
        weight.data += 0.1 if "lora_B" in name else 0
    lora.peft_config["default"].base_model_name_or_path = "/gone/base"
    lora.save_pretrained(str(tmp_path / "lora"), save_embedding_layers=False)
    other = refuse_system(save_model(tmp_path / "other", scale=0.01))
    for folder in (material / "base", other):
        experiment = comparison(folder, tmp_path / "lora", **small(material))
        assert experiment.fold_system == (folder == other)
        note = compare_tables.sources(experiment)["note"].iloc[1]
        assert note.startswith(f"an adapter merged into {folder.name}@0, because")
        assert "/gone/base" in note
    monkeypatch.chdir(tmp_path)
    named = small(material, adapter_base=material / "planted")
    planted = comparison(material / "base", tmp_path / "lora", **named)
    assert "merged into planted@0" in planted.tuned[0].note
    assert planted.tuned[0].weights != experiment.tuned[0].weights


@pytest.mark.usefixtures("cache")
def test_models_without_a_chat_template_take_one(material: Path, tmp_path: Path) -> None:
    bare = copy_models(material, tmp_path)
    for folder in bare:
        (folder / "chat_template.jinja").unlink()
    with pytest.raises(ModelError, match="no chat template"):
        comparison(*bare, **small(material))
    template = (material / "base" / "chat_template.jinja").read_text()
    experiment = comparison(*bare, **small(material, chat_template=template))
    assert not experiment.fold_system
    tokenizer = load_tokenizer(checkpoint_of(experiment.tuned[0].plain()))
    assert tokenizer.chat_template == template
