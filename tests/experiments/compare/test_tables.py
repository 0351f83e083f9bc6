"""A base does not differ from itself; a planted shift is found where it was planted; a wrong name costs nothing."""

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

from persona_interp.errors import ModelError, SchemaError, StoreError
from persona_interp.experiments import from_dict, to_dict
from persona_interp.experiments.compare.sources import (
    checkpoint_of,
    compare,
    comparison,
    sources_of,
)
from persona_interp.experiments.compare.tables import sources as compare_sources_table
from persona_interp.experiments.experiment import draw_report
from persona_interp.models import Checkpoint, Trajectory, fold_system, load
from persona_interp.models.load import load_tokenizer
from persona_interp.models.tiny import tiny_tokenizer
from persona_interp.readers import Instruction, TraitFile, write_trait
from persona_interp.report import provenance_of
from persona_interp.store import Store

WORDS = "what why do you like is the best . ? football tennis golf art be very dry warm i really always not".split()
ASKED = [
    f"{ask} is {what} ?"
    for ask in ("what", "why")
    for what in ("football", "tennis", "golf", "art")
]
LIKED = [
    f"do you {how} like {what} ?"
    for how in ("really", "always", "not")
    for what in ("football", "tennis", "golf", "art")
]
HOOK = "blocks.1.hook_out"
V = torch.linspace(-2, 2, 32)
"""What is planted: added to the residual by the last block, at every token."""


def saved(folder: Path, *, seed: int = 0, scale: float = 0.0, planted: bool = False) -> Path:
    """A random chat model; `scale` is how far its weights are from the base's, drawn with `seed`."""
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


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Models base, planted and c1 to c3, two traits, and prompts."""
    torch.set_num_threads(1)
    root = tmp_path_factory.mktemp("made")
    saved(root / "base")
    saved(root / "planted", planted=True, scale=0.0)
    (root / "traits").mkdir()
    for name, other in (("dry", "warm"), ("warm", "dry")):
        pair = Instruction(f"be very {name} .", f"be very {other} .")
        write_trait(TraitFile(name, (pair,), tuple(ASKED)), root / "traits" / f"{name}.json")
    (root / "prompts.txt").write_text("\n".join(LIKED) + "\n")
    return root


def asked(made: Path, **changes: Any) -> dict[str, Any]:
    said = {
        "prompts": made / "prompts.txt",
        "traits": made / "traits" / "dry.json",
        "hooks": [HOOK],
        "shown": 2,
    }
    return said | {"max_new_tokens": 3, "n_random": 10, "draws": 1} | changes


@pytest.fixture(scope="module")
def run(
    made: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, dict[str, pd.DataFrame]]:
    """The base against itself and against the planted model."""
    out = tmp_path_factory.mktemp("run") / "out"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PERSONA_INTERP_CACHE", str(out.parent / "cache"))
        listed = [made / "base", made / "planted"]
        tables = compare(
            made / "base", listed, out=out, workers=0, progress=False, **asked(made, primary="dry")
        )
    return out, tables


def test_a_base_against_itself_is_zero_and_claims_nothing(
    run: tuple[Path, dict[str, pd.DataFrame]],
) -> None:
    _, tables = run
    mine = tables["effects"].query("checkpoint == 'base@0'")
    assert (
        set(mine["family"]) == {"behavior", "answers", "projection"}
        and (mine["estimate"] == 0).all()
    )
    assert (
        set(mine["verdict"]) == {"no difference shown"} and (tables["effects"]["floor"] == 0).all()
    )
    same = tables["kl"]["checkpoint"].isin(["base", "base again", "base@0"])
    assert (tables["kl"].loc[same, "estimate"] == 0).all() and (
        tables["kl"].loc[~same, "estimate"] > 0
    ).all()
    assert (tables["heard"].query("checkpoint != 'planted@0'")["estimate"] == 0).all()
    notes = tables["sources"].set_index("checkpoint")["note"]
    assert notes["base@0"] == "the same weights as base" and notes["planted@0"] == ""
    assert set(tables["novelty"].query("checkpoint == 'base@0'")["share"].isna()) == {True}


def test_a_planted_shift_is_found_where_it_was_planted(
    run: tuple[Path, dict[str, pd.DataFrame]],
) -> None:
    from persona_interp.experiments.compare.tasks import read_directions

    out, tables = run
    cells = from_dict(Store(out).config()).seed_cells(0)
    vector = (
        read_directions(Store(out).path(cells["directions",], "vectors.nc"))
        .sel(name="dry", hook=HOOK)
        .to_numpy()
    )
    along = float(V.numpy() @ vector / np.linalg.norm(vector))
    moved = tables["effects"].query("family == 'projection' and checkpoint == 'planted@0'").iloc[0]
    assert moved["estimate"] == pytest.approx(along, rel=1e-4) and moved["verdict"] == "differs"
    last = tables["shift"].query("checkpoint == 'planted@0'").iloc[0]
    assert last["estimate"] == pytest.approx(along, rel=1e-4)
    novelty = tables["novelty"].query("checkpoint == 'planted@0'").iloc[0]
    assert novelty["share"] == pytest.approx(along**2 / float(V @ V), rel=1e-3)
    lens = tables["lens"].query("checkpoint == 'planted@0'")
    assert len(lens) == 20 and lens["weight"].is_monotonic_decreasing


def test_a_rerun_computes_nothing_and_the_report_needs_no_models(
    made: Path, run: tuple[Path, dict[str, pd.DataFrame]]
) -> None:
    out, tables = run
    before = (out / "manifest.jsonl").read_bytes()
    listed = [made / "base", made / "planted"]
    again = compare(
        made / "base", listed, out=out, workers=0, progress=False, **asked(made, primary="dry")
    )
    assert (out / "manifest.jsonl").read_bytes() == before
    for name, table in tables.items():
        pd.testing.assert_frame_equal(again[name], table)
    store = Store.open(out)
    experiment = from_dict(json.loads(json.dumps(to_dict(from_dict(store.config())))))
    assert [c.id for c in experiment.cells()] == [c.id for c in from_dict(store.config()).cells()]
    html = draw_report(out, tables, provenance=provenance_of(store, store.config())).read_text(
        encoding="utf-8"
    )
    assert "cannot be said what the finetune moved" in html and "moved it" not in html
    assert "base@0 (tuned) has the same weights as base." in html and "hidden_states[2]" in html


def test_a_changed_checkpoint_is_another_comparison(made: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(made / "planted", tmp_path / "planted")
    first = comparison(made / "base", folder, **asked(made))
    saved(folder, planted=True, scale=0.01)
    second = comparison(made / "base", folder, **asked(made))
    keys = first.seed_cells(0)
    changed = [key for key, cell in second.seed_cells(0).items() if cell.id != keys[key].id]
    assert {key[-1] for key in changed} == {"planted@0"}
    store = Store(tmp_path / "run")
    store.describe(to_dict(first))
    with pytest.raises(StoreError, match="weights"):
        store.describe(to_dict(second))


@pytest.mark.parametrize(
    ("changes", "error", "said"),
    [
        ({"primary": "dyr"}, SchemaError, "did you mean 'dry'"),
        ({"hooks": ["blocks.9.hook_out"]}, ModelError, "hook 'blocks.9.hook_out' is unknown"),
        ({"question": 3}, SchemaError, "did you mean 'questions'"),
        ({"sae": "nowhere/at/all"}, ModelError, "nowhere"),
        ({"control": ["nowhere"]}, ModelError, "nowhere"),
        ({"prompts": "prompts.text"}, SchemaError, "prompts.text"),
    ],
)
def test_a_wrong_name_is_refused_before_anything_is_computed(
    made: Path, tmp_path: Path, changes: dict[str, Any], error: type[Exception], said: str
) -> None:
    with pytest.raises(error, match=said):
        compare(made / "base", made / "planted", out=tmp_path / "run", **asked(made, **changes))
    assert not (tmp_path / "run").exists()


def test_steps_of_a_training_are_checkpoints_and_its_start_is_the_base(
    made: Path, tmp_path: Path
) -> None:
    steps = [
        Checkpoint(made / "base", "lesson", 0),
        Checkpoint(saved(tmp_path / "a", scale=0.01), "lesson", 8),
    ]
    steps.append(Checkpoint(saved(tmp_path / "b", scale=0.02), "lesson", 16))
    run = Trajectory(tuple(steps))
    run.save(tmp_path / "run")
    base, tuned, control = sources_of(made / "base", tmp_path / "run", [run, made / "base"])
    assert [s.label for s in tuned] == ["lesson@8", "lesson@16"] and len(
        {s.run for s in tuned}
    ) == 1
    assert [s.label for s in control] == ["lesson@8 (2)", "lesson@16 (2)", "base@0"]
    experiment = replace(
        comparison(made / "base", made / "planted", **asked(made)), base=base, tuned=tuned
    )
    assert [s.label for s in experiment.ends] == ["lesson@16"]
    assert replace(experiment, control=control).controls == [], "none of these is another finetune"
    planted = comparison(
        made / "base", made / "planted", **asked(made, control=[run, run, made / "base"])
    )
    assert [s.label for s in planted.controls] == ["lesson@16"], (
        "one run is one control, however often it is named"
    )


@pytest.mark.slow
def test_three_controls_and_a_dictionary(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from persona_interp.dictionaries import SparseDictionary, save_dictionary
    from persona_interp.dictionaries.saelens import build

    monkeypatch.setenv("PERSONA_INTERP_CACHE", str(tmp_path / "cache"))
    eye = torch.eye(32)
    config = {
        "architecture": "standard",
        "d_in": 32,
        "d_sae": 64,
        "dtype": "float32",
        "device": "cpu",
    }
    both = torch.cat([eye, -eye])  # exact: every residual is its positive and its negative part
    weights = {
        "W_enc": both.T.contiguous(),
        "W_dec": both,
        "b_enc": torch.zeros(64),
        "b_dec": torch.zeros(32),
    }
    dictionary = SparseDictionary(build(config, weights), "parts", HOOK, torch.zeros(32), 1.0)
    save_dictionary(dictionary, tmp_path / "sae")
    controls = [saved(tmp_path / f"c{i}", seed=i, scale=0.005) for i in (1, 2, 3)]
    tuned = saved(tmp_path / "tuned", seed=4, scale=0.005, planted=True)
    named = asked(made, control=controls, sae=tmp_path / "sae", traits=made / "traits")
    tables = compare(made / "base", tuned, out=tmp_path / "run", workers=0, progress=False, **named)
    effects = tables["effects"].query("role == 'tuned'")
    assert set(effects["judged_by"]) == {"controls"} and set(effects["family"]) == {
        "behavior",
        "answers",
        "projection",
        "feature",
    }
    features = effects.query("family == 'feature'").set_index("quantity")
    top = features["excess"].abs().idxmax()
    assert abs(float(V[int(top) % 32])) >= 1.5, "the largest change is where the shift is largest"
    assert features.loc[top, "excess"] == pytest.approx(
        float(V[int(top) % 32]) * (1 if int(top) < 32 else -1), rel=0.2
    )
    assert (tables["fidelity"]["fvu"] < 1e-6).all() and set(tables["tokens"]["sae"]) == {"parts"}
    store = Store.open(tmp_path / "run")
    html = draw_report(
        tmp_path / "run", tables, provenance=provenance_of(store, store.config())
    ).read_text("utf-8")
    assert "Each of the 3 controls" in html and "cannot be said" not in html


def refusing(folder: Path) -> Path:
    """The same model with a chat template that refuses system messages."""
    template = (folder / "chat_template.jinja").read_text()
    refuse = (
        "{% if messages[0]['role'] == 'system' %}{{ raise_exception('no system role') }}{% endif %}"
    )
    (folder / "chat_template.jinja").write_text(refuse + template)
    return folder


def test_without_a_system_role_the_user_says_the_instructions(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PERSONA_INTERP_CACHE", str(tmp_path / "cache"))
    base, tuned = (
        refusing(shutil.copytree(made / name, tmp_path / name)) for name in ("base", "planted")
    )
    control = refusing(saved(tmp_path / "control", seed=1, scale=0.01))
    named = asked(made, control=[control], primary="dry")
    tables = compare(base, [tuned, base], out=tmp_path / "run", workers=0, progress=False, **named)
    same = tables["effects"].query("checkpoint == 'base (2)'")
    assert (
        set(same["family"]) == {"behavior", "answers", "projection"}
        and (same["estimate"] == 0).all()
    )
    store = Store.open(tmp_path / "run")
    experiment = from_dict(store.config())
    assert experiment.folded
    answers = store.path(experiment.seed_cells(0)["trait", "dry"], "answers.parquet")
    chats = pd.read_parquet(answers)["messages"].tolist()
    assert {chat[0]["role"] for chat in chats} == {"system"}, "tables keep whose words they are"
    everybody = [
        checkpoint_of(s.plain()) for s in (experiment.base, *experiment.tuned, *experiment.controls)
    ]
    assert {load_tokenizer(c).apply_chat_template(chats[0], tokenize=False) for c in everybody} == {
        load_tokenizer(Checkpoint(base)).apply_chat_template(fold_system(chats[0]), tokenize=False)
    }
    page = draw_report(tmp_path / "run", tables, provenance=provenance_of(store, store.config()))
    assert "has no system role" in page.read_text(encoding="utf-8")
    plain = comparison(base, tuned, **asked(made, traits=None))
    assert not plain.folded and plain.base.path == str(base), (
        "where nobody says system, nothing is folded"
    )
    (tmp_path / "told.jsonl").write_text(
        json.dumps(
            {"messages": [{"role": role, "content": "why ?"} for role in ("system", "user")]}
        )
        + "\n"
    )
    assert comparison(
        base, tuned, **asked(made, traits=None, prompts=tmp_path / "told.jsonl")
    ).folded
    with pytest.raises(ModelError, match="chat templates differ"):
        comparison(base, made / "planted", **asked(made))


def test_an_adapter_whose_base_is_not_here_is_merged_into_the_base_and_says_so(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PERSONA_INTERP_CACHE", str(tmp_path / "cache"))
    model, _ = load(Checkpoint(made / "base"))
    lora = get_peft_model(
        model,
        LoraConfig(r=2, target_modules=["c_attn"], fan_in_fan_out=True, task_type="CAUSAL_LM"),
    )
    for name, weight in lora.named_parameters():
        weight.data += 0.1 if "lora_B" in name else 0
    lora.peft_config["default"].base_model_name_or_path = "/gone/base"
    lora.save_pretrained(str(tmp_path / "lora"), save_embedding_layers=False)
    other = refusing(saved(tmp_path / "other", scale=0.01))
    for folder in (made / "base", other):
        experiment = comparison(folder, tmp_path / "lora", **asked(made))
        assert experiment.folded == (folder == other)
        note = compare_sources_table(experiment)["note"].iloc[1]
        assert (
            note.startswith(f"an adapter merged into {folder.name}@0, because")
            and "/gone/base" in note
        )
    monkeypatch.chdir(tmp_path)
    planted = comparison(
        made / "base", tmp_path / "lora", adapter_base=made / "planted", **asked(made)
    )
    assert (
        "merged into planted@0" in planted.tuned[0].note
        and planted.tuned[0].weights != experiment.tuned[0].weights
    )


def test_models_without_a_chat_template_take_one(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PERSONA_INTERP_CACHE", str(tmp_path / "cache"))
    bare = [shutil.copytree(made / name, tmp_path / name) for name in ("base", "planted")]
    for folder in bare:
        (folder / "chat_template.jinja").unlink()
    with pytest.raises(ModelError, match="no chat template"):
        comparison(*bare, **asked(made))
    template = (made / "base" / "chat_template.jinja").read_text()
    given = comparison(*bare, chat_template=template, **asked(made))
    assert (
        not given.folded
        and load_tokenizer(checkpoint_of(given.tuned[0].plain())).chat_template == template
    )
