"""An SAE of SAELens, a path or a pair wherever a dictionary is asked for."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor

from persona_interp import record
from persona_interp.dictionaries import (
    as_dictionary,
    diagnose,
    fidelity,
    fidelity_at,
    fit,
    load_pretrained,
    measure_residuals,
    open_any,
    save_dictionary,
)
from persona_interp.dictionaries.dictionary import SparseDictionary
from persona_interp.dictionaries.saelens import build, is_sae
from persona_interp.errors import ModelError, SchemaError
from persona_interp.models import Checkpoint

HOOK = "blocks.0.hook_out"
SMALL: dict[str, Any] = {"d_sae": 64, "k": 4, "steps": 20, "batch": 256, "n_tokens": 600}


@pytest.fixture(scope="module")
def ours(counter: Checkpoint, corpus: pd.DataFrame) -> SparseDictionary:
    return fit(counter, corpus, hook=HOOK, **SMALL)


def prompts(corpus: pd.DataFrame) -> pd.DataFrame:
    return corpus.head(4)


def test_an_sae_of_saelens_is_read_like_its_folder(
    ours: SparseDictionary, counter: Checkpoint, corpus: pd.DataFrame, tmp_path: Path
) -> None:
    sae = ours.sae
    assert is_sae(sae) and sae.cfg.metadata.hook_name == HOOK
    sae.save_model(tmp_path)
    asked = prompts(corpus)
    values = {}
    for name, value in {"object": sae, "path": tmp_path, "text": str(tmp_path)}.items():
        data = record.features(counter, asked, dictionary=value)
        values[name] = data["act"].to_numpy()
        assert data.attrs["hook"] == HOOK
    for name in ("path", "text"):
        np.testing.assert_array_equal(values["object"], values[name])
    expected = record.features(counter, asked, dictionary=ours)["act"]
    np.testing.assert_array_equal(values["object"], expected)


def test_every_reader_takes_one(
    ours: SparseDictionary, counter: Checkpoint, corpus: pd.DataFrame
) -> None:
    sae, asked = ours.sae, prompts(corpus)
    assert fidelity(sae, counter, corpus, n_tokens=300)["fvu"][0] >= 0
    assert fidelity_at(sae, counter, asked)["l0"][0] > 0
    assert diagnose(sae, counter, corpus, n_tokens=300)["check"].iloc[-1] == "overall"
    acts = record.activations(counter, asked, hook=HOOK)
    assert record.encode(acts, dictionary=sae).sizes["feature"] == 64
    assert len(record.tokens(counter, asked, dictionary=sae, features=[3]))
    for edit in (record.clamp(sae, features=3, value=1.0), record.ablate(sae, features=3)):
        assert edit.hook == HOOK


def test_an_attached_sae_is_taken_without_its_hooks(ours: SparseDictionary) -> None:
    fired: list[Any] = []

    def spy(acts: Tensor, hook: Any) -> Tensor:
        fired.append(hook)
        return acts * 100

    ours.sae.add_hook("hook_sae_acts_post", spy)
    rows = torch.randn(3, ours.d_in, generator=torch.Generator().manual_seed(0))
    try:
        free = as_dictionary(ours.sae)
        feats = free.encode(rows)
        assert not fired
    finally:
        ours.sae.reset_hooks()
    torch.testing.assert_close(feats, ours.encode(rows), rtol=0, atol=0)


def test_halves_and_trainable_ones_are_read_as_float32(ours: SparseDictionary) -> None:
    half = as_dictionary(ours.sae)
    config, weights = ours.sae.cfg.to_dict(), ours.sae.state_dict()
    other = build(config, {k: v.clone() for k, v in weights.items()}, source="test")
    other.requires_grad_(requires_grad=True).to(torch.bfloat16)
    half = as_dictionary(other)
    assert half.W_dec.dtype == torch.float32 and not half.W_dec.requires_grad
    assert other.W_dec.dtype == torch.bfloat16 and other.W_dec.requires_grad, "it stays as it is"


def test_an_sae_in_training_is_finished_first() -> None:
    from sae_lens import TrainingSAE

    config = {"architecture": "batchtopk", "d_in": 6, "d_sae": 20, "k": 3, "decoder_init_norm": 0.1}
    metadata = {"hook_name": "blocks.2.hook_resid_pre"}
    training = TrainingSAE.from_dict({**config, "metadata": metadata})
    training.topk_threshold.fill_(0.05)  # type: ignore[operator]
    found = as_dictionary(training)
    assert found.hook == "blocks.2.hook_in"
    assert found.sae.cfg.architecture() == "jumprelu"  # type: ignore[attr-defined]


def test_an_sae_that_does_not_say_where_it_reads_is_named(ours: SparseDictionary) -> None:
    config = ours.sae.cfg.to_dict() | {"metadata": {"sae_lens_version": "6.54.12"}}
    sae = build(config, ours.sae.state_dict(), source="test")
    with pytest.raises(ModelError, match="does not say where it reads; give hook="):
        as_dictionary(sae)


def test_an_sae_with_numbers_that_are_not_finite_is_named(ours: SparseDictionary) -> None:
    weights = {k: v.clone() for k, v in ours.sae.state_dict().items()}
    sae = build(ours.sae.cfg.to_dict(), weights, source="test")
    sae.b_dec.data[0] = torch.nan
    with pytest.raises(ModelError, match="'b_dec' holds 1 of 64 numbers"):
        as_dictionary(sae)
    sae.cfg.metadata.l0 = "many"
    sae.b_dec.data[0] = 0.0
    with pytest.raises(ModelError, match="'l0' must be a number; got 'many'"):
        as_dictionary(sae)


def test_what_is_kept_of_an_sae(
    ours: SparseDictionary, counter: Checkpoint, corpus: pd.DataFrame, tmp_path: Path
) -> None:
    found = measure_residuals(ours.sae, counter, corpus, n_tokens=600)
    torch.testing.assert_close(found.mean, ours.mean, rtol=1e-4, atol=1e-5)
    save_dictionary(found, tmp_path / "kept")
    with pytest.raises(ModelError, match=r"An SAE of SAELens writes itself: sae\.save_model"):
        save_dictionary(ours.sae, tmp_path)


@pytest.mark.parametrize("value", [5, None, [1], {"a": 1}, torch.ones(3)])
def test_anything_else_is_refused_in_a_sentence(value: Any) -> None:
    with pytest.raises(ModelError, match="expected a dictionary: of fit"):
        as_dictionary(value)


@pytest.mark.parametrize(
    "call",
    [
        lambda: load_pretrained("gpt2-small-res-jb", "blocks.99"),
        lambda: load_pretrained(("gpt2-small-res-jb", "blocks.99")),
        lambda: load_pretrained("gpt2-small-res-jb/blocks.99"),
        lambda: open_any(("gpt2-small-res-jb", "blocks.99")),
        lambda: as_dictionary(("gpt2-small-res-jb", "blocks.99")),
    ],
)
def test_a_release_and_its_sae_are_named_as_saelens_names_them(call: Any) -> None:
    with pytest.raises(ModelError, match=r"ID blocks\.99 not found in release"):
        call()


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (("a", "b", "c"), r"is \(release, sae_id\)"),
        (("a", 5), r"is \(release, sae_id\)"),
        (("gpt2-small-res-jb", ""), r"is \(release, sae_id\)"),
        (5, "expected the folder of an SAE"),
        ("a\0b", "expected the folder of an SAE|there is no folder"),
        ("", "there is no folder|holds no SAE"),
        ("./gone/sae", "there is no folder"),
        (Path("gone/sae/folder"), "there is no folder gone/sae/folder"),
        ("runs/gone", "there is no folder runs/gone, and SAELens' list has no such release"),
        ("~nobody_at_all/sae", "expected the folder of an SAE"),
    ],
)
def test_what_names_no_sae_is_refused(source: Any, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        load_pretrained(source)


def test_another_width_or_a_hook_of_heads_is_named(
    ours: SparseDictionary, counter: Checkpoint, corpus: pd.DataFrame
) -> None:
    asked = prompts(corpus)
    for hook in ("blocks.0.attn.hook_pattern", "blocks.0.mlp.hook_post"):
        elsewhere = dataclasses.replace(ours, hook=hook)
        for read in (
            lambda d: record.features(counter, asked, dictionary=d),
            lambda d: record.tokens(counter, asked, dictionary=d, features=[3]),
            lambda d: fidelity(d, counter, corpus, n_tokens=300),
        ):
            with pytest.raises(ModelError, match=r"reads width 64; blocks\.0|one vector a token"):
                read(elsewhere)
    for hook in ("blocks.0.attn.hook_pattern", "blocks.0.attn.hook_rot_q"):
        with pytest.raises(ModelError, match="expected one vector a token"):
            record.activations(counter, asked, hook=hook)


def test_a_decoder_row_can_be_added(ours: SparseDictionary) -> None:
    row = ours.sae.W_dec[3]
    edit = record.add(row, hook=HOOK, absolute=2.0)
    assert edit.vectors is not None
    np.testing.assert_allclose(edit.vectors[0], 2 * row.detach().numpy())
    with pytest.raises(SchemaError, match="give absolute= instead, multiples of the vector"):
        record.add(row, hook=HOOK, strength=1.0)
    with pytest.raises(SchemaError, match=r'give hook="blocks\.12\.hook_out"'):
        record.add(row, absolute=1.0)
