"""A model computes with every weight of its files, or says which it does not use."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import GPTNeoXConfig, GPTNeoXForCausalLM

from persona_interp.errors import ModelError
from persona_interp.models import Checkpoint, Trajectory, boot, checkup, hash_weights, load, resolve
from persona_interp.models.copies import with_tokenizer
from persona_interp.models.tiny import tiny_tokenizer

Weights = dict[str, torch.Tensor]
Q_BIAS = "model.layers.0.self_attn.q_proj.bias"


@pytest.fixture
def changed(tiny: Any, tmp_path: Path) -> Callable[..., Checkpoint]:
    """The tiny model with other weights or another configuration."""

    def change(weights: Callable[[Weights], Weights] | None = None, **config: Any) -> Checkpoint:
        folder = tmp_path / "changed"
        shutil.copytree(tiny.path, folder, dirs_exist_ok=True)
        if weights:
            new = weights(load_file(tiny.path / "model.safetensors"))
            save_file(new, folder / "model.safetensors", metadata={"format": "pt"})
        written = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps({**written, **config}))
        return Checkpoint(folder)

    return change


def plus(**weights: torch.Tensor) -> Callable[[Weights], Weights]:
    named = {name.replace("__", "."): weight for name, weight in weights.items()}
    return lambda held: {**held, **named}


def under(prefix: str) -> Callable[[Weights], Weights]:
    return lambda held: {f"{prefix}{name}": weight for name, weight in held.items()}


@pytest.mark.parametrize(
    ("weights", "config", "message"),
    [
        (
            plus(**{Q_BIAS: torch.ones(64)}),
            {},
            rf"holds 1 weights that a llama .* first '{Q_BIAS}'; .*attention_bias",
        ),
        (None, {"num_hidden_layers": 1}, r"holds 9 weights .* first 'model\.layers\.1\."),
        (None, {"num_hidden_layers": -1}, r"holds 18 weights .* first 'model\.layers\.0\."),
        (
            plus(model__layers__0__self_attn__q_proj__lora_A__weight=torch.ones(2, 64)),
            {},
            r"lora_A\.weight'; .*adapter's: save the model after merge_and_unload",
        ),
        (
            plus(model__layers__0__self_attn__q_norm__weight=torch.ones(16)),
            {},
            r"q_norm\.weight'; without them it computes something else",
        ),
        (
            plus(lm_head__weight_scale_inv=torch.ones(1)),
            {},
            r"first 'lm_head\.weight_scale_inv'",
        ),
        (under("_orig_mod."), {}, r"begin with '_orig_mod\.' .*torch\.compile"),
        (under("module."), {}, r"begin with 'module\.' .*save model\.module"),
        (under("base_model.model."), {}, r"begin with 'base_model\.model\.' .*merge_and_unload"),
        (
            plus(**{"_orig_mod.lm_head.weight": torch.ones(2, 2)}),
            {},
            r"'_orig_mod\.': torch\.compile wrote it",
        ),
    ],
)
def test_a_weight_without_a_place_is_refused_by_name(
    changed: Callable[..., Checkpoint], weights: Any, config: dict[str, Any], message: str
) -> None:
    checkpoint = changed(weights, **config)
    with pytest.raises(ModelError, match=message):
        load(checkpoint)
    with pytest.raises(ModelError, match=message):
        boot(checkpoint)
    table = checkup(checkpoint, text="what sport ?").set_index("check")
    assert table.verdict["parity"] == "red" == table.verdict["overall"]


def test_it_is_refused_wherever_the_model_is_met(
    changed: Callable[..., Checkpoint], tiny: Any, tmp_path: Path
) -> None:
    from peft import LoraConfig, get_peft_model

    bad = changed(plus(**{Q_BIAS: torch.ones(64)}))
    adapter = get_peft_model(
        load(tiny).model, LoraConfig(r=2, target_modules=["q_proj"], task_type="CAUSAL_LM")
    )
    adapter.save_pretrained(str(tmp_path / "adapter"))
    copy = with_tokenizer(bad, tiny_tokenizer(["other"]), out=tmp_path / "copy")
    snapshots = Trajectory((Checkpoint(tiny.path, "a", 0), Checkpoint(bad.path, "a", 1)))
    snapshots.save(tmp_path / "run")
    for use in (
        lambda: resolve(tmp_path / "adapter", base=bad),
        lambda: load(copy),
        lambda: load(Trajectory.open(tmp_path / "run").last),
        lambda: load(str(bad.path)),
    ):
        with pytest.raises(ModelError, match=Q_BIAS):
            use()


@pytest.mark.parametrize("head", ["v_head.summary.weight", "score.weight", "mtp.layers.0.w"])
def test_a_head_beside_the_language_model_is_reported(
    changed: Callable[..., Checkpoint], tiny: Any, head: str
) -> None:
    checkpoint = changed(plus(**{head: torch.ones(1, 64)}))
    with pytest.warns(UserWarning, match=rf"1 weights beside the language model, first {head}"):
        model = load(checkpoint).model
    ids = torch.arange(4, 12)[None]
    with torch.inference_mode():
        assert torch.equal(model(ids).logits, load(tiny).model(ids).logits)
    with pytest.warns(UserWarning, match=head):
        rows = checkup(checkpoint, text="what sport ?").set_index("check")
    assert head in rows.text["idle weights"] and rows.verdict["idle weights"] == "green"


def test_what_is_computed_may_be_in_the_file_and_is_not_mentioned(
    changed: Callable[..., Checkpoint],
) -> None:
    load(changed(plus(model__layers__0__self_attn__rotary_emb__inv_freq=torch.ones(8))))


def test_what_transformers_keeps_quiet_about_is_seen(tmp_path: Path) -> None:
    tokenizer = tiny_tokenizer("a chat of few words".split())
    config = GPTNeoXConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=16,
    )
    GPTNeoXForCausalLM(config).save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    held = load_file(tmp_path / "model.safetensors")
    mask = "gpt_neox.layers.0.attention.bias"
    masks = {mask: torch.ones(1, 1, 16, 16), f"{mask[:-4]}masked_bias": torch.tensor(-1e9)}
    save_file({**held, **masks}, tmp_path / "model.safetensors", metadata={"format": "pt"})
    load(Checkpoint(tmp_path))
    # a bias of that name is none of the masks that transformers is told to skip
    save_file({**held, mask: torch.ones(32)}, tmp_path / "model.safetensors")
    with pytest.raises(ModelError, match=rf"first '{mask}'"):
        load(Checkpoint(tmp_path))


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_weights_that_are_no_numbers_are_refused(
    changed: Callable[..., Checkpoint], bad: float
) -> None:
    def spoil(held: Weights) -> Weights:
        held["model.layers.1.mlp.up_proj.weight"][3, 5] = bad
        return held

    checkpoint = changed(spoil)
    for use in (load, boot):
        with pytest.raises(ModelError, match=r"NaN or infinite: 1, first model\.layers\.1\.mlp"):
            use(checkpoint)
    assert checkup(checkpoint, text="what sport ?").set_index("check").verdict["finite"] == "red"


def test_large_weights_are_numbers(changed: Callable[..., Checkpoint]) -> None:
    """Their sum is none; what is computed from them is."""

    def grow(held: Weights) -> Weights:
        return {**held, "lm_head.weight": torch.full_like(held["lm_head.weight"], 1e36)}

    assert load(changed(grow)).model.lm_head.weight.isfinite().all()


def test_a_stale_shard_is_left_aside(tiny: Any, tmp_path: Path) -> None:
    model, tokenizer = load(tiny)
    model.save_pretrained(tmp_path, max_shard_size="100KB")
    tokenizer.save_pretrained(tmp_path)
    clean = hash_weights(Checkpoint(tmp_path))
    (tmp_path / "model-00001-of-00099.safetensors").write_bytes(b"stale")
    shutil.copy(tiny.path / "model.safetensors", tmp_path / "old.safetensors")
    assert hash_weights(Checkpoint(tmp_path)) == clean
    copy = with_tokenizer(Checkpoint(tmp_path), tiny_tokenizer(["other"]))
    assert not list(copy.path.glob("*99.safetensors"))
    assert (
        checkup(Checkpoint(tmp_path), text="what sport ?").set_index("check").verdict["overall"]
        == "green"
    )
    shutil.copy(tiny.path / "model.safetensors", tmp_path / "model.safetensors")
    with pytest.raises(ModelError, match="holds its weights twice"):
        load(Checkpoint(tmp_path))


def test_weights_of_whole_numbers_are_refused(changed: Callable[..., Checkpoint]) -> None:
    name = "model.layers.0.mlp.up_proj.weight"
    whole = changed(lambda held: {**held, name: (held[name] * 1000).to(torch.int8)})
    with pytest.raises(ModelError, match=r"1 weights of whole numbers, first .*up_proj.* \(I8\)"):
        load(whole)


def test_sizes_that_do_not_fit_are_named_with_both_shapes(
    changed: Callable[..., Checkpoint],
) -> None:
    with pytest.raises(ModelError, match=r"proj.weight.* would be of shape .* and is of"):
        load(changed(intermediate_size=999))
