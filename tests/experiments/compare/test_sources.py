"""What a model lacks is made up for, or named: system role, base of adapters, chat template."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from peft import LoraConfig, get_peft_model

from persona_interp.errors import ModelError, SchemaError, StoreError
from persona_interp.experiments import from_dict
from persona_interp.experiments.compare import tables as compare_tables
from persona_interp.experiments.compare.sources import (
    checkpoint_of,
    compare,
    comparison,
)
from persona_interp.experiments.experiment import draw_report
from persona_interp.experiments.inputs import prompts_file
from persona_interp.models import Checkpoint, encode, fold_system, load
from persona_interp.models.load import load_tokenizer
from persona_interp.readers import read_prompts
from persona_interp.report import provenance_of
from persona_interp.store import Store
from tests.experiments.compare.conftest import (
    save_model,
    small,
)


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


@pytest.mark.slow
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


def test_prompts_may_be_anything_that_the_door_takes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PERSONA_INTERP_CACHE", str(tmp_path))
    file = prompts_file(["Why?", "How?"])
    assert read_prompts(file)["question"].tolist() == ["Why?", "How?"]
    assert prompts_file(["Why?", "How?"]) == file != prompts_file(["Why?"])
    assert prompts_file(str(tmp_path)) == tmp_path


def test_neutral_requests_that_are_more_than_a_question_are_refused(material: Path) -> None:
    told = [{"question": "Why?", "system": "Be dry."}, {"question": "How?"}]
    with pytest.raises(SchemaError, match="asked alone, and 1 of 2 have a system message"):
        comparison(material / "base", material / "planted", **small(material, neutral=told))


@pytest.mark.usefixtures("cache")
def test_without_a_template_questions_are_read_as_plain_text_and_the_report_says_so(
    material: Path, tmp_path: Path
) -> None:
    bare = copy_models(material, tmp_path)
    for folder in bare:
        (folder / "chat_template.jinja").unlink()
    (tmp_path / "few.txt").write_text("do you like golf ?\nwhat is art ?\n")
    named = small(material, traits=None, prompts=tmp_path / "few.txt")
    named["options"] = replace(named["options"], neutral=tmp_path / "few.txt")
    out = tmp_path / "run"
    tables = compare(*bare, out=out, workers=0, progress=False, **named)
    store = Store.open(out)
    experiment = from_dict(store.config())
    assert experiment.plain_text
    tokenizer = load_tokenizer(checkpoint_of(experiment.base.plain()))
    question = [{"role": "user", "content": "do you like golf ?"}]
    plain = encode(tokenizer, [[{"role": "text", "content": "do you like golf ?"}]])
    assert encode(tokenizer, [question]).ids == plain.ids
    page = draw_report(out, tables, provenance=provenance_of(store, store.config()))
    assert "prompts are read as plain text" in page.read_text(encoding="utf-8")
    with pytest.raises(ModelError, match=r"chat templates differ.*--chat-template"):
        comparison(bare[0], material / "planted", **small(material, traits=None))
    assert not comparison(material / "base", material / "planted", **small(material)).plain_text


@pytest.mark.usefixtures("cache")
def test_a_template_and_a_tokenizer_that_are_named_read_for_all(
    material: Path, tmp_path: Path
) -> None:
    base, tuned = copy_models(material, tmp_path)
    template = (material / "base" / "chat_template.jinja").read_text()
    (tuned / "chat_template.jinja").write_text(
        template.replace("{{ bos_token }}", "{{ bos_token }} .")
    )
    with pytest.raises(ModelError, match=r"differ.*--tokenizer BASE.*--chat-template FILE"):
        comparison(base, tuned, **small(material))
    for named in ({"tokenizer": str(base)}, {"chat_template": template + "{# mine #}"}):
        experiment = comparison(base, tuned, **small(material, **named))
        sources = (experiment.base, *experiment.tuned)
        readers = [load_tokenizer(checkpoint_of(source.plain())) for source in sources]
        assert {r.chat_template for r in readers} == {named.get("chat_template", template)}


@pytest.mark.usefixtures("cache")
def test_a_run_keeps_the_day_that_its_template_prints(
    material: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    models = copy_models(material, tmp_path)
    for folder in models:
        template = (folder / "chat_template.jinja").read_text()
        today = "{% if strftime_now('%Y') == '1999' %}what {% endif %}"
        (folder / "chat_template.jinja").write_text(today + template)
    (tmp_path / "few.txt").write_text("do you like golf ?\nwhat is art ?\n")
    named = small(material, traits=None, prompts=tmp_path / "few.txt")
    named["options"] = replace(named["options"], neutral=tmp_path / "few.txt")
    out = tmp_path / "run"
    monkeypatch.setenv("PERSONA_INTERP_DAY", "1999-12-31")
    tables = compare(*models, out=out, workers=0, progress=False, **named)
    config = Store.open(out).config()
    assert config["template_day"] == "1999-12-31"
    monkeypatch.setenv("PERSONA_INTERP_DAY", "2031-01-01")
    cells = Store.open(out).status()
    shutil.rmtree(next((out / "cells").glob("*")))
    again = compare(*models, out=out, workers=0, progress=False, **named)
    assert Store.open(out).config() == config and len(Store.open(out).status()) == len(cells)
    pd.testing.assert_frame_equal(again["distance"], tables["distance"])
    page = draw_report(out, again, provenance=provenance_of(Store.open(out), config))
    assert "print 1999-12-31" in page.read_text(encoding="utf-8")
    with pytest.raises(StoreError, match="belongs to another configuration: template_day"):
        Store.open(out).describe({**config, "template_day": "2031-01-01"})
