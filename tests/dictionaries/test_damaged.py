"""SAE folders that are damaged, mixed up or of another kind: refused by name, never opened."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from persona_interp.dictionaries import load_pretrained, open_any, save_dictionary
from persona_interp.dictionaries.dictionary import CARD, SparseDictionary, open_dictionary
from persona_interp.dictionaries.saelens import build
from persona_interp.errors import ModelError

D, M, K = 6, 20, 3


def rand(*dims: int) -> Tensor:
    return torch.randn(*dims, generator=torch.Generator().manual_seed(sum(dims)))


WEIGHTS = {"W_enc": rand(D, M), "b_enc": rand(M), "W_dec": rand(M, D), "b_dec": rand(D)}
CONFIG: dict[str, Any] = {
    "architecture": "topk",
    "d_in": D,
    "d_sae": M,
    "k": K,
    "apply_b_dec_to_input": True,
    "normalize_activations": "none",
    "metadata": {"hook_name": "blocks.1.hook_resid_post", "sae_lens_version": "6.54.12"},
}


def saelens(folder: Path, config: Any, weights: dict[str, Tensor]) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "cfg.json").write_text(config if isinstance(config, str) else json.dumps(config))
    save_file({k: v.contiguous() for k, v in weights.items()}, folder / "sae_weights.safetensors")
    return folder


def learned(folder: Path, trainer: Any, weights: Any, **settings: Any) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text(json.dumps({"trainer": trainer, **settings}))
    torch.save(weights, folder / "ae.pt")
    return folder


def without(mapping: dict[str, Any], key: str) -> dict[str, Any]:
    return {k: v for k, v in mapping.items() if k != key}


def test_a_whole_folder_opens(tmp_path: Path) -> None:
    dictionary = load_pretrained(saelens(tmp_path / "sae", CONFIG, WEIGHTS))
    assert (dictionary.hook, dictionary.d_in, dictionary.d_sae) == ("blocks.1.hook_out", D, M)
    assert int((dictionary.encode(rand(5, D)) > 0).sum(-1).max()) <= K


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ({"W_enc": WEIGHTS["W_enc"].T}, r"W_enc has the shape \(20, 6\).*transposed\?"),
        ({"W_dec": WEIGHTS["W_dec"].T}, r"W_enc has the shape \(6, 20\); beside a decoder of \(6,"),
        ({"b_enc": rand(1)}, r"b_enc has the shape \(1,\).*must be \(20,\)"),
        ({"W_dec": rand(D)}, "lacks a decoder 'W_dec'"),
        (
            {"W_enc": WEIGHTS["W_enc"].to(torch.int8)},
            r"'W_enc' must be.*a tensor \(6, 20\) of int8",
        ),
        ({"W_enc": WEIGHTS["W_enc"].to(torch.float8_e4m3fn)}, "of float8_e4m3fn"),
        (
            {"b_dec": torch.full((D,), torch.nan)},
            "'b_dec' holds 6 of 6 numbers that are not finite",
        ),
        ({"W_dec": WEIGHTS["W_dec"] / 0}, "'W_dec' holds 120 of 120 numbers"),
        ({"W_dec": WEIGHTS["W_dec"] * 1e37}, "numbers that are not finite"),
        ({"b_gate": rand(M)}, "SAELens cannot read.*[Uu]nexpected key.*b_gate"),
        ({"scaling_factor": 2 * torch.ones(M)}, "holds scaling_factor"),
        ({"W_skip": rand(D, D)}, "[Uu]nexpected key.*W_skip"),
        ({"b_enc": None}, "[Mm]issing key.*b_enc"),
        ({"W_dec": None}, "lacks a decoder 'W_dec', .*it has W_enc, b_dec, b_enc"),
    ],
)
def test_weights_that_would_answer_wrong_are_refused(
    weights: dict[str, Tensor | None], message: str, tmp_path: Path
) -> None:
    changed = {key: value for key, value in (WEIGHTS | weights).items() if value is not None}
    with pytest.raises(ModelError, match=message):
        load_pretrained(saelens(tmp_path / "sae", CONFIG, changed))


def test_factors_of_one_change_nothing(tmp_path: Path) -> None:
    folder = saelens(tmp_path / "sae", CONFIG, WEIGHTS | {"scaling_factor": torch.ones(M)})
    assert load_pretrained(folder).d_sae == M


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (CONFIG | {"d_in": 7}, "'d_in' is 7, the weights beside it have 6"),
        (CONFIG | {"d_sae": 10**9}, "'d_sae' is 1000000000, the weights"),
        (CONFIG | {"d_in": "6"}, "'d_in' must be a whole number; got '6'"),
        (CONFIG | {"d_in": True}, "'d_in' must be a whole number; got True"),
        (CONFIG | {"k": 3.5}, "'k', a whole number from 1 to 20; got 3.5"),
        (CONFIG | {"k": 0}, "whole number from 1 to 20; got 0"),
        (CONFIG | {"k": 21}, "whole number from 1 to 20; got 21"),
        (without(CONFIG, "k"), "needs 'k'.*got None"),
        (CONFIG | {"architecture": "topkk"}, "'topkk' is unknown; did you mean 'topk'"),
        (CONFIG | {"architecture": ["topk"]}, "'architecture' must be a text"),
        (CONFIG | {"architecture": "jumprelu"}, "[Mm]issing key.*threshold"),
        (CONFIG | {"architecture": "skip_transcoder"}, "does not rebuild the residual"),
        (CONFIG | {"apply_b_dec_to_input": "no"}, "must be true or false; got 'no'"),
        (CONFIG | {"normalize_activations": "zscore"}, "normalize_activations must be"),
        (CONFIG | {"activation_fn": "tanh-relu"}, "activation 'tanh-relu' is unknown"),
        (CONFIG | {"reshape_activations": "hook_z"}, "only be called for hook_z SAEs"),
        (CONFIG | {"metadata": {"hook_head_index": 3}}, "an SAE of head 3 alone"),
        (CONFIG | {"metadata": []}, "'metadata' must be an object"),
        (CONFIG | {"metadata": {"hook_name": 5}}, "'hook_name' must be a text; got 5"),
        (CONFIG | {"metadata": {"l0": "many"}}, "'l0' must be a number; got 'many'"),
        (without(CONFIG, "metadata"), "does not say where it reads; give hook="),
        ([CONFIG], r"cfg\.json: expected a JSON object"),
        ("null", "expected a JSON object"),
        ("[" * 200_000, "nested deeper than 100"),
        ('{"d_in": 6, "d_in": 7}', "there twice"),
        ("", r"cfg\.json is empty"),
    ],
)
def test_settings_that_would_answer_wrong_are_refused(
    config: Any, message: str, tmp_path: Path
) -> None:
    with pytest.raises(ModelError, match=message) as error:
        load_pretrained(saelens(tmp_path / "sae", config, WEIGHTS))
    assert len(str(error.value)) < 1000


@pytest.mark.parametrize("factor", [0, -0.5, float("nan"), "0.5", [1]])
def test_a_factor_that_scales_nothing_is_refused(factor: Any, tmp_path: Path) -> None:
    folder = saelens(tmp_path / "sae", CONFIG, WEIGHTS)
    (folder / "activation_scaler.json").write_text(json.dumps({"scaling_factor": factor}))
    with pytest.raises(ModelError, match="'scaling_factor' must be a number"):
        load_pretrained(folder)


def test_a_stated_hook_always_wins(tmp_path: Path) -> None:
    for number, place in enumerate(("my own words", 1, "blocks.9.hook_resid_pre")):
        settings = {"hook_name": place} if isinstance(place, str) else {}
        folder = saelens(tmp_path / str(number), CONFIG | {"metadata": settings}, WEIGHTS)
        assert load_pretrained(folder, hook=2).hook == "blocks.2.hook_out"
        assert open_any(folder, hook="layers.3").hook == "blocks.3.hook_out"


@pytest.mark.parametrize(
    ("older", "hook"),
    [
        ({"hook_point": "blocks.8.hook_resid_pre"}, "blocks.8.hook_in"),
        (
            {"hook_point": "blocks.{layer}.hook_resid_pre", "hook_point_layer": 8},
            "blocks.8.hook_in",
        ),
        ({"hook_name": "blocks.8.hook_mlp_out", "hook_layer": 8}, "blocks.8.hook_mlp_out"),
    ],
)
def test_folders_of_older_versions_open(older: dict[str, Any], hook: str, tmp_path: Path) -> None:
    config = {"d_in": D, "d_sae": M, "activation_fn_str": "topk", "activation_fn_kwargs": {"k": K}}
    folder = saelens(tmp_path / "sae", config | older, WEIGHTS)
    found = load_pretrained(folder)
    new = load_pretrained(saelens(tmp_path / "new", CONFIG, WEIGHTS))
    assert found.hook == hook and torch.equal(found.encode(rand(5, D)), new.encode(rand(5, D)))


TRAINER = {"dict_class": "BatchTopKSAE", "layer": 1, "k": K, "submodule_name": "resid_post_layer_1"}
LINEAR = {
    "encoder.weight": WEIGHTS["W_enc"].T.contiguous(),
    "encoder.bias": WEIGHTS["b_enc"],
    "decoder.weight": WEIGHTS["W_dec"].T.contiguous(),
    "b_dec": WEIGHTS["b_dec"],
    "threshold": torch.tensor(0.5),
    "k": torch.tensor(K),
}


@pytest.mark.parametrize(
    ("trainer", "hook"),
    [
        ({}, "blocks.1.hook_out"),
        ({"submodule_name": None}, "blocks.1.hook_out"),
        ({"submodule_name": "mlp_out_layer_1"}, "blocks.1.mlp.hook_out"),
        ({"submodule_name": "model.layers.1", "layer": None}, "blocks.1.hook_out"),
    ],
)
def test_published_places_are_read(trainer: dict[str, Any], hook: str, tmp_path: Path) -> None:
    folder = learned(tmp_path / "sae", TRAINER | trainer, LINEAR)
    assert load_pretrained(folder).hook == hook
    assert load_pretrained(folder, hook="blocks.5.hook_in").hook == "blocks.5.hook_in"


@pytest.mark.parametrize(
    ("trainer", "weights", "message"),
    [
        ({}, {"threshold": torch.tensor(-1.0)}, "threshold is -1, its value before training"),
        ({}, {"threshold": rand(2)}, r"threshold has the shape \(2,\)"),
        ({}, {"k": torch.tensor(5)}, "'k' is 3, the weights beside it have 5"),
        ({}, {"k": rand(2)}, "'k' must be one whole number"),
        ({}, {"W_skip": rand(D, D)}, "holds 'W_skip', which no BatchTopKSAE has"),
        ({}, {"b_dec": None}, "lacks 'b_dec' of an BatchTopKSAE"),
        ({}, {"encoder.bias": rand(M).long()}, "'encoder.bias' must be a vector or matrix"),
        ({}, {"encoder.bias": rand(M) / 0}, "not finite"),
        ({"layer": 2}, {}, "says both 'resid_post_layer_1' and layer 2; give hook="),
        ({"submodule_name": "my words"}, {}, "place of an SAE 'my words' is unknown"),
        ({"activation_dim": 7}, {}, "'activation_dim' is 7"),
        ({"dict_size": 7}, {}, "'dict_size' is 7"),
        ({"dict_class": 5}, {}, "'dict_class' must be a text"),
        ({"k": "3"}, {}, "'k' must be a whole number"),
    ],
)
def test_folders_of_dictionary_learning_are_checked(
    trainer: dict[str, Any], weights: dict[str, Any], message: str, tmp_path: Path
) -> None:
    changed = {key: value for key, value in (LINEAR | weights).items() if value is not None}
    with pytest.raises(ModelError, match=message):
        load_pretrained(learned(tmp_path / "sae", TRAINER | trainer, changed))


@pytest.mark.parametrize("content", [[WEIGHTS["b_dec"]], {"a": 5}, WEIGHTS["b_dec"], {5: rand(2)}])
def test_what_is_no_state_dict_is_described(content: Any, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"ae\.pt is no state dict|names of weights must be texts"):
        load_pretrained(learned(tmp_path / "sae", TRAINER, content))


def test_an_sae_of_the_input_is_named(tmp_path: Path) -> None:
    place = {"submodule_name": "model.layers.1", "layer": 1}
    folder = learned(tmp_path / "a", TRAINER | place, LINEAR, buffer={"io": "in"})
    assert load_pretrained(folder).hook == "blocks.1.hook_in"
    both = learned(tmp_path / "b", TRAINER, LINEAR, buffer={"io": "in_and_out"})
    with pytest.raises(ModelError, match="does not rebuild what it reads"):
        load_pretrained(both)


def test_a_decoder_row_of_zeros_stays_zero(tmp_path: Path) -> None:
    weights = without(without(LINEAR, "threshold"), "k") | {"bias": LINEAR["b_dec"]}
    weights["decoder.weight"] = LINEAR["decoder.weight"].clone()
    weights["decoder.weight"][:, 3] = 0
    weights = without(weights, "b_dec")
    found = load_pretrained(
        learned(tmp_path / "a", {"dict_class": "AutoEncoder", "layer": 1}, weights)
    )
    assert not found.W_dec[3].any() and bool(found.encode(rand(5, D)).isfinite().all())


@pytest.mark.parametrize("cut", [0, 4, 100, -1])
def test_a_cut_weight_file_is_named(cut: int, tmp_path: Path) -> None:
    folder = saelens(tmp_path / "sae", CONFIG, WEIGHTS)
    file = folder / "sae_weights.safetensors"
    file.write_bytes(file.read_bytes()[:cut])
    with pytest.raises(ModelError, match=r"sae_weights\.safetensors is damaged and no whole"):
        load_pretrained(folder)


def test_a_header_of_a_terabyte_is_not_read(tmp_path: Path) -> None:
    folder = saelens(tmp_path / "sae", CONFIG, WEIGHTS)
    file = folder / "sae_weights.safetensors"
    file.write_bytes((2**40).to_bytes(8, "little") + file.read_bytes()[8:])
    with pytest.raises(ModelError, match=r"sae_weights\.safetensors is damaged"):
        load_pretrained(folder)


def ours(folder: Path) -> SparseDictionary:
    sae = build(CONFIG, WEIGHTS, source=folder)
    return SparseDictionary(sae, "ours", "blocks.1.hook_out", rand(D), 1.0, {"k": K})


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("apply_b_dec_to_input", False),
        ("k", 4),
        ("normalize_activations", "layer_norm"),
        ("rescale_acts_by_decoder_norm", True),
    ],
)
def test_a_changed_setting_of_ours_is_refused(key: str, value: Any, tmp_path: Path) -> None:
    """The hash of the weights does not see it, the answers do."""
    folder = save_dictionary(ours(tmp_path), tmp_path / "ours")
    config = json.loads((folder / "cfg.json").read_text()) | {key: value}
    (folder / "cfg.json").write_text(json.dumps(config))
    with pytest.raises(ModelError, match=rf"cfg\.json says '{key}' = .*fit it again"):
        open_dictionary(folder)
    assert key in load_pretrained(folder).provenance["altered"]


def test_cards_of_older_versions_open(tmp_path: Path) -> None:
    folder = save_dictionary(ours(tmp_path), tmp_path / "ours")
    card = json.loads((folder / CARD).read_text())
    (folder / CARD).write_text(json.dumps(without(card, "settings")))
    assert open_dictionary(folder).name == "ours"


@pytest.mark.parametrize(
    ("card", "message"),
    [
        ({"mean": "x"}, "'mean' must be a list"),
        ({"mean": [1, "x"]}, "'mean' must be numbers"),
        ({"mean": []}, "'mean' must be numbers"),
        ({"mean": [1.0]}, "hash to"),
        ({"variance": {}}, "'variance' must be numbers"),
        ({"name": 5}, "'name' must be a text"),
        ({"provenance": {"l0": "many"}}, "'l0' must be a number; got 'many'"),
        ({"hash": None}, "lacks hash"),
        ({"hook": "blocks.2.hook_out"}, "hash to"),
    ],
)
def test_a_changed_card_is_refused(card: dict[str, Any], message: str, tmp_path: Path) -> None:
    folder = save_dictionary(ours(tmp_path), tmp_path / "ours")
    (folder / CARD).write_text(json.dumps(json.loads((folder / CARD).read_text()) | card))
    with pytest.raises(ModelError, match=message):
        open_dictionary(folder)


def test_a_dictionary_is_written_whole_or_not_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = save_dictionary(ours(tmp_path), tmp_path / "ours")
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert set(before) == {"cfg.json", "sae_weights.safetensors", CARD}

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("safetensors.torch.save_file", full)
    monkeypatch.setattr("sae_lens.saes.sae.save_file", full)
    with pytest.raises(OSError, match="No space left"):
        save_dictionary(ours(tmp_path), folder)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    with pytest.raises(OSError, match="No space left"):
        save_dictionary(ours(tmp_path), tmp_path / "new")
    assert not any((tmp_path / "new").iterdir())


def test_weights_without_a_card_are_said_to_be_half_written(tmp_path: Path) -> None:
    folder = save_dictionary(ours(tmp_path), tmp_path / "ours")
    (folder / CARD).unlink()
    with pytest.raises(ModelError, match="weights alone: half written"):
        open_dictionary(folder)
    assert load_file(folder / "sae_weights.safetensors").keys() == WEIGHTS.keys()
