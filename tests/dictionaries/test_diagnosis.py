"""Faults planted one at a time into a pair that fits: each is named, and none on the clean pair."""

import dataclasses
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from safetensors.torch import load_file, save_file

from persona_interp import schema
from persona_interp.dictionaries import (
    SparseDictionary,
    diagnose,
    fit,
    load_pretrained,
    neutral_text,
)
from persona_interp.dictionaries.checks import diagnosis_rows
from persona_interp.dictionaries.examination import Examination
from persona_interp.dictionaries.harvest import harvest
from persona_interp.dictionaries.hooks import neighbors
from persona_interp.dictionaries.precision import Precision
from persona_interp.dictionaries.repairs import Repair, best_factor, fvu, null_fvu
from persona_interp.dictionaries.saelens import train
from persona_interp.models import Checkpoint, boot, checkup, load, resolve

WORDS = "one two three four five six seven eight".split()

HOOK = "blocks.0.hook_out"
SETTINGS: dict[str, Any] = {"d_sae": 64, "k": 4, "steps": 300, "batch": 256}


@pytest.fixture(scope="module")
def fitted(
    counter: Checkpoint, corpus: pd.DataFrame, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    folder = tmp_path_factory.mktemp("sae")
    fit(counter, corpus, hook=HOOK, n_tokens=1200, out=folder, **SETTINGS)
    (folder / "dictionary.json").unlink()  # as a stranger would publish it
    return folder


@pytest.fixture
def clean(fitted: Path) -> SparseDictionary:
    return load_pretrained(fitted)


def named(dictionary: Any, checkpoint: Checkpoint, corpus: pd.DataFrame) -> tuple[str, str, str]:
    """Cause, light and sentence."""
    table = schema.check(diagnose(dictionary, checkpoint, corpus, n_tokens=600), "diagnosis")
    last = table.iloc[-1]
    assert last.check == "overall" and table.cause.nunique() == 1
    return last.cause, last.verdict, last.text


def test_a_clean_pair_is_green(
    clean: SparseDictionary, counter: Checkpoint, corpus: pd.DataFrame
) -> None:
    table = diagnose(clean, counter, corpus, n_tokens=600)
    assert set(table.verdict) == {"green"} and set(table.cause) == {""}
    assert table.text.iloc[-1] == "it fits"
    value = table.set_index("check").value
    assert 10 * value["fvu"] < value["fvu at blocks.1.hook_out"]
    assert value["fvu of text"] == pytest.approx(value["fvu"], rel=0.2)


def scaled(*names: str) -> Callable[[SparseDictionary], None]:
    def change(dictionary: SparseDictionary) -> None:
        for name in names:
            weight = getattr(dictionary.sae, name)
            weight.data = 2 * weight.data

    return change


@pytest.mark.parametrize(
    "change",
    [
        scaled("W_enc", "b_enc"),
        scaled("W_dec"),
        scaled("W_dec", "b_dec"),
        lambda dictionary: dictionary.sae.fold_activation_norm_scaling_factor(2.0),
    ],
)
def test_a_scale_is_named(
    change: Any, clean: SparseDictionary, counter: Checkpoint, corpus: pd.DataFrame
) -> None:
    change(clean)
    cause, light, text = named(clean, counter, corpus)
    assert (cause, light) == ("input scale", "red") and "by 0.5" in text


@pytest.mark.parametrize("hook", ["blocks.1.hook_out", "blocks.0.hook_in", "blocks.2.hook_out"])
def test_a_wrong_layer_is_named(
    hook: str, clean: SparseDictionary, counter: Checkpoint, corpus: pd.DataFrame
) -> None:
    cause, light, text = named(dataclasses.replace(clean, hook=hook), counter, corpus)
    assert (cause, light) == ("wrong layer", "red")
    assert f"it says {hook} but fits {HOOK}" in text


def test_unfolded_normalization_is_named(counter: Checkpoint, corpus: pd.DataFrame) -> None:
    acts = harvest([counter], corpus, hook=HOOK, n_tokens=1200, seed=0).acts
    factor = acts.shape[1] ** 0.5 / float(acts.norm(dim=-1).mean())
    assert factor > 2, "else this model cannot show the fault"
    sae = train(acts * factor, hook=HOOK, lr=2e-3, seed=0, **SETTINGS)
    found = SparseDictionary(sae, "unfolded", HOOK, acts.mean(0), 1.0)
    cause, light, text = named(found, counter, corpus)
    assert (cause, light) == ("unfolded normalization", "red")
    assert float(text.split("by ")[1].split()[0]) == pytest.approx(factor, rel=0.15)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_a_dtype_is_named(
    dtype: torch.dtype, fitted: Path, counter: Checkpoint, corpus: pd.DataFrame, tmp_path: Path
) -> None:
    shutil.copytree(fitted, tmp_path / "stated")
    stated = json.loads((fitted / "cfg.json").read_text()) | {
        "dtype": str(dtype).removeprefix("torch.")
    }
    (tmp_path / "stated" / "cfg.json").write_text(json.dumps(stated))
    rounded = {
        name: weight.to(dtype).float()
        for name, weight in load_file(fitted / "sae_weights.safetensors").items()
    }
    shutil.copytree(fitted, tmp_path / "rounded")
    save_file(rounded, tmp_path / "rounded" / "sae_weights.safetensors")
    for folder in ("stated", "rounded"):
        cause, light, text = named(load_pretrained(tmp_path / folder), counter, corpus)
        assert (cause, light) == ("dtype", "amber"), folder
        assert str(dtype).removeprefix("torch.") in text


def test_weights_that_overflowed_are_red(
    clean: SparseDictionary, counter: Checkpoint, corpus: pd.DataFrame
) -> None:
    clean.sae.W_dec.data[0, 0] = torch.inf
    cause, light, text = named(clean, counter, corpus)
    assert (cause, light) == ("dtype", "red") and "not finite" in text


def test_another_bos_handling_is_named(
    clean: SparseDictionary, counter: Checkpoint, corpus: pd.DataFrame, tmp_path: Path
) -> None:
    """The tokenizer has lost its BOS: only the first tokens of documents show it."""
    bare = tmp_path / "bare"
    shutil.copytree(counter.path, bare)
    tokenizer = json.loads((bare / "tokenizer.json").read_text()) | {"post_processor": None}
    (bare / "tokenizer.json").write_text(json.dumps(tokenizer))
    cause, light, text = named(clean, Checkpoint(bare), corpus)
    assert (
        cause == "first token / BOS handling" and light in ("amber", "red") and "with BOS" in text
    )
    stated = dataclasses.replace(clean, provenance={**clean.provenance, "prepend_bos": False})
    assert named(stated, counter, corpus)[0] == "first token / BOS handling"


def test_the_sae_of_another_model_is_named(
    counter: Checkpoint, corpus: pd.DataFrame, tmp_path: Path
) -> None:
    other = resolve("tiny", words=WORDS, seed=5, out=tmp_path / "other")
    foreign = fit(other, corpus, hook=HOOK, n_tokens=1200, **SETTINGS)
    cause, light, _ = named(foreign, counter, corpus)
    assert (cause, light) == ("made for another model", "red")
    noise = torch.randn(600, 32, generator=torch.Generator().manual_seed(0))
    sae = train(noise, hook=HOOK, lr=2e-3, seed=0, **{**SETTINGS, "steps": 5})
    narrow = SparseDictionary(sae, "narrow", HOOK, torch.zeros(32), 1.0)
    cause, _, text = named(narrow, counter, corpus)
    assert cause == "made for another model" and "reads width 32, this model has [64]" in text


def test_a_finetune_is_compared_with_the_base(
    clean: SparseDictionary, counter: Checkpoint, corpus: pd.DataFrame, tmp_path: Path
) -> None:
    model, tokenizer = load(counter)
    generator = torch.Generator().manual_seed(0)
    for weight in model.parameters():
        weight.data += weight.data.std() * torch.randn(weight.shape, generator=generator)
    model.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    table = diagnose(
        clean, [counter, Checkpoint(tmp_path, stage="tuned", step=1)], corpus, n_tokens=600
    )
    drift = table.query("check == 'drift'")
    assert list(drift.checkpoint) == ["tuned@1"]
    base = table.query("check == 'fvu' and checkpoint == 'documents@60'").value.item()
    assert drift.reference.item() == base and drift.value.item() > 1.25 * base
    assert drift.verdict.item() in ("amber", "red")


def test_a_finetune_that_moved_is_no_fault_of_the_dictionary() -> None:
    """A factor would mend it, as a wrong scale: but the base is read at the same scale and fits."""
    sound = Precision("float32", {}, {}, finite=True)
    factor = Repair("input", 0.4, 0.2)
    base = Examination("blocks.0.hook_out", 64, {"blocks.0.hook_out": 64}, {}, sound, fvu=0.04)
    tuned = dataclasses.replace(base, fvu=0.7, null_fvu=0.9, scales=[factor], stated_scale=factor)
    assert tuned.cause == "input scale" and not base.cause
    tuned.base_fits = True
    overall = diagnosis_rows(tuned, base)[-1]
    assert tuned.cause == "" and overall["verdict"] == "red"
    assert "fits the base, not this finetune" in overall["text"]
    assert dataclasses.replace(tuned, null_fvu=0.2).cause == "made for another model"


def test_what_is_weighed_against_what() -> None:
    sound = Precision("float32", {}, {}, finite=True)
    widths = {"blocks.0.hook_out": 64}
    pair = Examination("blocks.0.hook_out", 64, widths, {"l0": 8.0}, sound, fvu=3.0, null_fvu=0.4)
    dense, right = Repair("decoder", 0.35, 0.09, l0=34.0), Repair("encoder", 0.5, 0.094, l0=7.7)
    scaled = dataclasses.replace(pair, scales=[Repair("input", 1.0, 3.0, l0=34.0), dense, right])
    assert scaled.cause == "input scale" and scaled.remedies["input scale"] is right, (
        "a dense repair hides no other"
    )
    strange = dataclasses.replace(
        pair, fvu=0.74, null_fvu=0.74, opening_fvus={"read": 1.7, "toggled": 0.8}
    )
    assert strange.opens_otherwise and strange.cause == "made for another model", (
        "its first tokens say nothing"
    )
    fixed = dataclasses.replace(pair, fvu=0.2, null_fvu=0.9, l0=8.0)
    for l0, z, cause in ((8.0, 9.0, "input scale"), (12.0, 9.0, ""), (8.0, 2.0, "")):
        assert dataclasses.replace(fixed, scales=[Repair("input", 2.0, 0.19, z, l0)]).cause == cause


def test_neighbors_are_near_and_never_the_hook_itself(counter: Checkpoint) -> None:
    bridge = boot(counter)
    assert neighbors(bridge, "blocks.1.hook_out")[:2] == ["blocks.0.hook_out", "blocks.0.hook_in"]
    assert "blocks.1.hook_in" not in neighbors(bridge, "blocks.0.hook_out"), (
        "the same residual under another name"
    )
    assert neighbors(bridge, "blocks.7.hook_out")[0] == "blocks.1.hook_out"


def test_the_best_factor_is_found() -> None:
    assert best_factor(lambda factor: (factor - 0.03) ** 2, name="input").factor == pytest.approx(
        0.03, rel=0.05
    )


def test_turned_residuals_are_the_null(
    clean: SparseDictionary, counter: Checkpoint, corpus: pd.DataFrame
) -> None:
    acts = harvest([counter], corpus, hook=HOOK, n_tokens=600, seed=1).acts
    assert null_fvu(clean, acts) > 2 * fvu(clean, acts)


def test_a_sound_model_is_green_and_a_broken_one_is_not(
    counter: Checkpoint, tmp_path: Path
) -> None:
    table = schema.check(checkup(counter, text="one two three"), "diagnosis")
    assert set(table.verdict) == {"green"}
    said = table.set_index("check").text
    assert said["bos"] == "a text begins with 1 BOS; the tokenizer puts one"
    assert said["chat bos"] == "a chat begins with 1 BOS"
    assert said["chat template"] == "roles of its tokens: special user special assistant special"
    model, tokenizer = load(counter)
    model.model.norm.weight.data[0] = torch.nan
    model.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    broken = checkup(Checkpoint(tmp_path), text="one two three")
    assert (
        broken.cause.iloc[0] == "finite"
        and "model.norm.weight" in broken.query("check == 'finite'").text.item()
    )


def test_neutral_text_suits_the_tokenizer(counter: Checkpoint) -> None:
    tokenizer = load(counter).tokenizer
    chats = schema.check(neutral_text(tokenizer), "corpus")
    tokenizer.chat_template = None
    texts = neutral_text(tokenizer)
    assert [len(m) for m in chats.messages[:2]] == [2, 2] and {
        m[0]["role"] for m in texts.messages
    } == {"text"}


@pytest.mark.parametrize(("share", "light"), [(1.0, "green"), (1 / 3, "amber")])
def test_more_features_than_it_keeps_are_amber(
    share: float,
    light: str,
    clean: SparseDictionary,
    counter: Checkpoint,
    corpus: pd.DataFrame,
) -> None:
    """A BatchTopK SAE whose threshold was never trained states k and has 3 times as many."""
    clean.sae.threshold.data[:] = 0.0
    l0 = diagnose(clean, counter, corpus, n_tokens=600).set_index("check").loc["l0", "value"]
    stated = {"k": share * l0, "l0": share * l0}
    dense = dataclasses.replace(clean, provenance={**clean.provenance, **stated})
    row = diagnose(dense, counter, corpus, n_tokens=600).set_index("check").loc["l0"]
    assert (row["verdict"], row["reference"]) == (light, share * l0)
    assert f"{l0:.1f} features a token; its metadata says {share * l0:.1f}" in row["text"]
