"""Folders of other libraries in their layouts; expected values by formulas written out here."""

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from persona_interp.dictionaries import (
    SparseDictionary,
    fit,
    hint,
    load_pretrained,
    measure_residuals,
    open_any,
    open_dictionary,
)
from persona_interp.dictionaries.saelens import build
from persona_interp.errors import ModelError
from persona_interp.models import Checkpoint

D, M, K = 6, 20, 3
SMALL: dict[str, Any] = {
    "hook": "blocks.0.hook_out",
    "d_sae": 64,
    "k": 4,
    "steps": 20,
    "batch": 256,
    "n_tokens": 600,
}


def rand(*dims: int, seed: int = 0) -> Tensor:
    return torch.randn(*dims, generator=torch.Generator().manual_seed(seed + sum(dims)))


X = rand(50, D, seed=9)


def topk(pre: Tensor) -> Tensor:
    kept = pre.relu().topk(K, dim=-1)
    return torch.zeros_like(pre).scatter(-1, kept.indices, kept.values)


def learned(folder: Path, kind: str, weights: dict[str, Tensor], **trainer: Any) -> Path:
    folder.mkdir()
    torch.save(weights, folder / "ae.pt")
    config = {
        "trainer": {
            "dict_class": kind,
            "layer": 3,
            "lm_name": "org/model",
            "submodule_name": None,
            **trainer,
        }
    }
    (folder / "config.json").write_text(json.dumps(config))
    return folder


ENC, DEC = rand(M, D), rand(D, M)  # as torch.nn.Linear stores them: (out, in)
B, BE, BG, BM, R = (
    rand(D, seed=1),
    rand(M, seed=2),
    rand(M, seed=3),
    rand(M, seed=4),
    rand(M, seed=5),
)
T = rand(M, seed=6).abs()
UNIT = DEC / DEC.norm(dim=0)
CASES = {
    "AutoEncoder": (
        {"bias": B, "encoder.weight": ENC, "encoder.bias": BE, "decoder.weight": DEC},
        lambda x: ((x - B) @ ENC.T + BE).relu() * DEC.norm(dim=0),
        lambda f: f @ UNIT.T + B,
    ),
    "AutoEncoderNew": (
        {"encoder.weight": ENC, "encoder.bias": BE, "decoder.weight": DEC, "decoder.bias": B},
        lambda x: (x @ ENC.T + BE).relu() * DEC.norm(dim=0),
        lambda f: f @ UNIT.T + B,
    ),
    "GatedAutoEncoder": (
        {
            "decoder_bias": B,
            "encoder.weight": ENC,
            "decoder.weight": DEC,
            "gate_bias": BG,
            "mag_bias": BM,
            "r_mag": R,
        },
        lambda x: ((x - B) @ ENC.T + BG > 0) * ((x - B) @ ENC.T * R.exp() + BM).relu(),
        lambda f: f @ DEC.T + B,
    ),
    "JumpReluAutoEncoder": (
        {"W_enc": ENC.T, "b_enc": BE, "W_dec": DEC.T, "b_dec": B, "threshold": T},
        lambda x: (x @ ENC.T + BE).relu() * (x @ ENC.T + BE > T),
        lambda f: f @ DEC.T + B,
    ),
    "AutoEncoderTopK": (
        {"encoder.weight": ENC, "encoder.bias": BE, "decoder.weight": DEC, "b_dec": B},
        lambda x: topk((x - B) @ ENC.T + BE),
        lambda f: f @ DEC.T + B,
    ),
    "BatchTopKSAE": (
        {
            "encoder.weight": ENC,
            "encoder.bias": BE,
            "decoder.weight": DEC,
            "b_dec": B,
            "threshold": torch.tensor(0.7),
            "k": torch.tensor(K, dtype=torch.int),
        },
        lambda x: ((x - B) @ ENC.T + BE).relu() * ((x - B) @ ENC.T + BE > 0.7),
        lambda f: f @ DEC.T + B,
    ),
    "MatryoshkaBatchTopKSAE": (
        {"W_enc": ENC.T, "b_enc": BE, "W_dec": DEC.T, "b_dec": B, "threshold": torch.tensor(0.7)},
        lambda x: ((x - B) @ ENC.T + BE).relu() * ((x - B) @ ENC.T + BE > 0.7),
        lambda f: f @ DEC.T + B,
    ),
}


@pytest.mark.parametrize("kind", CASES)
def test_dictionary_learning_folders_encode_as_their_formulas_say(
    kind: str, tmp_path: Path
) -> None:
    weights, encode, decode = CASES[kind]
    found = load_pretrained(
        learned(tmp_path / "sae", kind, {k: v.clone() for k, v in weights.items()}, k=K)
    )
    feats = encode(X).float()
    assert 0 < (feats > 0).float().mean() < 1
    torch.testing.assert_close(found.encode(X), feats, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(found.decode(feats), decode(feats), rtol=1e-5, atol=1e-5)
    assert (found.hook, found.d_in, found.d_sae, found.provenance["l0"]) == (
        "blocks.3.hook_out",
        D,
        M,
        K,
    )
    torch.testing.assert_close(found.mean, B)
    assert found.variance != found.variance, "NaN: nobody knows"


def test_a_pickle_in_a_folder_is_not_run(tmp_path: Path) -> None:
    class Harm:
        def __reduce__(self) -> tuple[Any, ...]:
            return (Path.touch, (tmp_path / "harm",))

    folder = learned(tmp_path / "sae", "AutoEncoder", {"bias": B})
    torch.save({"bias": Harm()}, folder / "ae.pt")
    with pytest.raises(ModelError, match="can run any code"):
        load_pretrained(folder)
    assert not (tmp_path / "harm").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kind": "CrossCoder"}, "dict_class 'CrossCoder' is unknown"),
        ({"weights": {"bias": B}}, "lacks 'W_enc' of an AutoEncoder; it has bias"),
        ({"layer": None}, "does not say where it reads; give hook="),
    ],
)
def test_what_cannot_be_converted_is_refused(
    change: dict[str, Any], message: str, tmp_path: Path
) -> None:
    settings = {"kind": "AutoEncoder", "weights": CASES["AutoEncoder"][0], "layer": 3} | change
    with pytest.raises(ModelError, match=message):
        load_pretrained(
            learned(
                tmp_path / "sae", settings["kind"], settings["weights"], layer=settings["layer"]
            )
        )


def sparsify(folder: Path, **stated: Any) -> Path:
    folder.mkdir(parents=True)
    weights = {"encoder.weight": ENC, "encoder.bias": BE, "W_dec": DEC.T.contiguous(), "b_dec": B}
    save_file(weights, folder / "sae.safetensors")
    config = {
        "expansion_factor": 32,
        "normalize_decoder": True,
        "num_latents": M,
        "k": K,
        "d_in": D,
    }
    (folder / "cfg.json").write_text(json.dumps(config | stated))
    return folder


def test_sparsify_folders_encode_as_their_formula_says(tmp_path: Path) -> None:
    sparsify(tmp_path / "many" / "layers.3")
    found = load_pretrained(
        sparsify(tmp_path / "many" / "layers.5.mlp", activation="topk", transcode=False)
    )
    feats = topk((X - B) @ ENC.T + BE)
    torch.testing.assert_close(found.encode(X), feats, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(found.decode(feats), feats @ DEC.T + B, rtol=1e-5, atol=1e-5)
    assert (found.hook, found.provenance["stored"]) == ("blocks.5.mlp.hook_out", "float32")
    with pytest.raises(ModelError, match=r"several hooks: name one of layers\.3, layers\.5\.mlp"):
        load_pretrained(tmp_path / "many")
    with pytest.raises(ModelError, match="transcode=True is no autoencoder"):
        load_pretrained(sparsify(tmp_path / "layers.1", transcode=True))
    with pytest.raises(ModelError, match="does not say where it reads"):
        load_pretrained(sparsify(tmp_path / "mine"))
    assert load_pretrained(tmp_path / "mine", hook=2).hook == "blocks.2.hook_out"


def saelens(
    folder: Path, architecture: str = "jumprelu", *, dtype: Any = torch.float32, **more: Any
) -> Path:
    config = {"architecture": architecture, "d_in": D, "d_sae": M, **more}
    weights = {"W_enc": ENC.T, "b_enc": BE, "W_dec": DEC.T, "b_dec": B}
    if architecture == "jumprelu":
        weights["threshold"] = T
    if architecture == "gated":
        del weights["b_enc"]
        weights |= {"b_gate": BG, "b_mag": BM, "r_mag": R}
    sae = build(config, weights, source=folder)
    sae.cfg.metadata.hook_name = "blocks.4.hook_resid_pre"
    sae.cfg.metadata.prepend_bos = True
    sae.cfg.metadata.neuronpedia_id = "gpt2-small/4-res"
    sae.to(dtype).save_model(folder)
    return folder


@pytest.mark.parametrize(
    ("architecture", "more"),
    [("standard", {}), ("topk", {"k": K}), ("jumprelu", {}), ("gated", {})],
)
def test_saelens_folders_are_opened_with_what_they_say(
    architecture: str, more: dict[str, Any], tmp_path: Path
) -> None:
    found = load_pretrained(saelens(tmp_path / "sae", architecture, **more))
    assert isinstance(found, SparseDictionary)
    expected = {
        "standard": ((X - B) @ ENC.T + BE).relu(),
        "topk": topk((X - B) @ ENC.T + BE),
        "jumprelu": ((X - B) @ ENC.T + BE).relu() * ((X - B) @ ENC.T + BE > T),
        "gated": CASES["GatedAutoEncoder"][1](X),
    }[architecture]
    torch.testing.assert_close(found.encode(X), expected, rtol=1e-5, atol=1e-5)
    said = found.provenance
    assert (found.hook, said["prepend_bos"], said["stored"], said["declared"]) == (
        "blocks.4.hook_in",
        True,
        "float32",
        "float32",
    )
    assert hint(found, 7) == "https://www.neuronpedia.org/gpt2-small/4-res/7"


def test_half_precision_is_read_as_float32_and_said(tmp_path: Path) -> None:
    found = load_pretrained(saelens(tmp_path / "sae", dtype=torch.bfloat16))
    assert found.W_dec.dtype == torch.float32
    assert (found.provenance["stored"], found.provenance["declared"]) == ("bfloat16", "bfloat16")


def test_a_stored_factor_is_kept_and_folded_on_request(tmp_path: Path) -> None:
    folder = saelens(tmp_path / "sae", normalize_activations="expected_average_only_in")
    (folder / "activation_scaler.json").write_text(
        json.dumps({"scaling_factor": 0.5, "has_whitening": False})
    )
    plain, folded = load_pretrained(folder), load_pretrained(folder, scale=0.5)
    assert (plain.provenance["scaling_factor"], plain.provenance["normalize_activations"]) == (
        0.5,
        "expected_average_only_in",
    )
    torch.testing.assert_close(folded.encode(X), plain.encode(X * 0.5))
    torch.testing.assert_close(
        folded.decode(folded.encode(X)), plain.decode(plain.encode(X * 0.5)) / 0.5
    )


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("no-such-folder", "no folder no-such-folder"),
        ("gpt2-small-res-jb/blocks.1.hook_resid_pre", "no hub answered .*folder with cfg.json"),
        ("gpt2-small-res-jb/blocks.99", "ID blocks.99 not found in release"),
        ("nobody/nothing/sae", "no hub answered"),
    ],
)
def test_a_published_sae_offline_offers_a_folder(source: str, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        load_pretrained(source)


def test_a_transcoder_is_refused(tmp_path: Path) -> None:
    folder = saelens(tmp_path / "sae")
    stated = json.loads((folder / "cfg.json").read_text()) | {"architecture": "transcoder"}
    (folder / "cfg.json").write_text(json.dumps(stated))
    with pytest.raises(ModelError, match="does not rebuild the residual"):
        load_pretrained(folder)


def test_ours_are_opened_and_an_altered_one_is_named(
    counter: Checkpoint, corpus: pd.DataFrame, tmp_path: Path
) -> None:
    ours = fit(
        counter,
        corpus,
        hook="blocks.0.hook_out",
        d_sae=64,
        k=4,
        steps=20,
        batch=256,
        n_tokens=600,
        out=tmp_path,
    )
    again = load_pretrained(tmp_path)
    assert (
        torch.equal(again.mean, ours.mean)
        and again.name == ours.name
        and "altered" not in again.provenance
    )
    weights = load_file(tmp_path / "sae_weights.safetensors")
    save_file({**weights, "W_enc": 2 * weights["W_enc"]}, tmp_path / "sae_weights.safetensors")
    assert "altered" in load_pretrained(tmp_path).provenance
    for strict in (open_dictionary, open_any):
        with pytest.raises(ModelError, match="fit it again"):
            strict(tmp_path)


def test_the_mean_of_a_foreign_dictionary_can_be_measured(
    counter: Checkpoint, corpus: pd.DataFrame, tmp_path: Path
) -> None:
    ours = fit(counter, corpus, **SMALL)
    ours.sae.save_model(tmp_path)
    foreign = load_pretrained(tmp_path)
    assert foreign.variance != foreign.variance
    found = measure_residuals(foreign, counter, corpus, n_tokens=600)
    torch.testing.assert_close(found.mean, ours.mean, rtol=1e-4, atol=1e-5)
    assert found.variance == pytest.approx(ours.variance, rel=1e-4)
