"""Adapters made by PEFT elsewhere become the very model they are, or an error says why not."""

import json
import shutil
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import AdaLoraConfig, IA3Config, LoraConfig, PromptTuningConfig, get_peft_model
from safetensors.torch import load_file, save_file

from persona_interp.errors import ModelError
from persona_interp.models import hash_weights, load, resolve

IDS = torch.arange(4, 16)[None]
LORA: dict[str, Any] = {"r": 4, "lora_alpha": 8, "task_type": "CAUSAL_LM"}
QV = ["q_proj", "v_proj"]
# what PEFT says while these tests make adapters
pytestmark = [
    pytest.mark.filterwarnings("ignore:Setting `save_embedding_layers`:UserWarning"),
    pytest.mark.filterwarnings("ignore:Model (has|with) `tie_word_embeddings:UserWarning"),
]
KINDS = {
    "lora_all_linear": LoraConfig(target_modules="all-linear", **LORA),
    "lora_attention": LoraConfig(target_modules=QV, **LORA),
    "rslora": LoraConfig(target_modules="all-linear", use_rslora=True, **LORA),
    "dora": LoraConfig(target_modules="all-linear", use_dora=True, **LORA),
    "dora_attention": LoraConfig(target_modules=QV, use_dora=True, **LORA),
    "whole_embeddings": LoraConfig(target_modules=QV, modules_to_save=["embed_tokens"], **LORA),
    "head": LoraConfig(target_modules=["lm_head"], **LORA),
    "adalora": AdaLoraConfig(target_modules=QV, total_step=9, init_r=4, task_type="CAUSAL_LM"),
    "ia3": IA3Config(task_type="CAUSAL_LM"),
}


def adapted(start: Any, config: Any, *, steps: int = 2) -> Any:
    """A PEFT model, trained a little."""
    torch.manual_seed(0)
    model = get_peft_model(load(start).model, deepcopy(config))
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], 1e-2)
    for _ in range(steps):
        model(input_ids=IDS, labels=IDS).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    return model.eval()


def saved(start: Any, config: Any, folder: Path, *, steps: int = 2) -> tuple[Path, torch.Tensor]:
    """The folder that PEFT saves, and the unmerged model's logits."""
    model = adapted(start, config, steps=steps)
    model.save_pretrained(folder)
    with torch.inference_mode():
        return folder, model(input_ids=IDS).logits


@torch.inference_mode()
def off(checkpoint: Any, want: torch.Tensor) -> float:
    got = load(checkpoint, attention="eager").model(input_ids=IDS).logits
    return float((got - want).norm() / want.norm())


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("start", ["tiny", "stories"])  # an untied and a tied head
def test_merged_is_unmerged(
    request: pytest.FixtureRequest, tmp_path: Path, start: str, kind: str
) -> None:
    base = request.getfixturevalue(start)
    folder, want = saved(base, KINDS[kind], tmp_path / "mine")
    made = resolve(folder, base=base)
    assert made.label == "mine" and off(made, want) <= 1e-5
    assert hash_weights(made) != hash_weights(base) and off(base, want) > 1e-3


def test_it_is_merged_once_by_its_content(tiny: Any, tmp_path: Path) -> None:
    folder, _ = saved(tiny, KINDS["lora_attention"], tmp_path / "one")
    first = resolve(folder, base=tiny)
    shutil.copytree(folder, tmp_path / "two")
    assert resolve(tmp_path / "two", base=tiny).path == first.path
    other, _ = saved(tiny, KINDS["lora_attention"], tmp_path / "other", steps=1)
    assert resolve(other, base=tiny).path != first.path


@pytest.mark.parametrize("place", ["absolute", "relative", "from where the training ran"])
def test_the_base_is_the_one_it_names(tiny: Any, tmp_path: Path, place: str) -> None:
    folder, want = saved(tiny, KINDS["rslora"], tmp_path / "run" / "lora")
    shutil.copytree(tiny.path, tmp_path / "run" / "base")
    named = {"absolute": str(tmp_path / "run" / "base"), "relative": "../base"}
    rename(folder, named.get(place, "run/base"))
    assert off(resolve(folder), want) <= 1e-5


def rename(folder: Path, base: str | None, **fields: Any) -> None:
    path = folder / "adapter_config.json"
    config = {**json.loads(path.read_text()), "base_model_name_or_path": base, **fields}
    path.write_text(json.dumps(config))


@pytest.mark.parametrize(
    ("base", "message"),
    [
        (None, r"does not name its base; give the base .*base=.*--base"),
        (
            "/data/models/llama",
            r"names its base '/data/models/llama', a folder that is not here; give the base",
        ),
        ("nobody/llama", r"'nobody/llama'.*hub cache"),
    ],
)
def test_a_base_that_is_not_here(tiny: Any, tmp_path: Path, base: str | None, message: str) -> None:
    folder, _ = saved(tiny, KINDS["lora_attention"], tmp_path / "lora")
    rename(folder, base)
    with pytest.raises(ModelError, match=message):
        resolve(folder)


def test_an_adapter_that_changes_nothing_is_an_error(tiny: Any, tmp_path: Path) -> None:
    folder, _ = saved(tiny, KINDS["lora_all_linear"], tmp_path / "fresh", steps=0)
    with pytest.raises(
        ModelError, match=r"changes nothing: all 14 of its lora_B matrices are zero"
    ):
        resolve(folder, base=tiny)
    folder, _ = saved(tiny, KINDS["lora_all_linear"], tmp_path / "mute")
    rename(folder, None, lora_alpha=0)
    with pytest.raises(ModelError, match="changes nothing: its lora_alpha is 0"):
        resolve(folder, base=tiny)


def test_weights_without_a_place_and_places_without_weights(tiny: Any, tmp_path: Path) -> None:
    folder, _ = saved(tiny, KINDS["lora_attention"], tmp_path / "lora")
    weights = load_file(folder / "adapter_model.safetensors")
    first = next(iter(weights))
    save_file(
        {k: w for k, w in weights.items() if k != first}, folder / "adapter_model.safetensors"
    )
    with pytest.raises(ModelError, match=r"lacks 1 weights in this base, first .*lora_A"):
        resolve(folder, base=tiny)
    save_file(
        {**weights, first.replace("layers.0", "layers.7"): weights[first].clone()},
        folder / "adapter_model.safetensors",
    )
    with pytest.raises(
        ModelError, match=r"has no place for 1 weights in this base, first .*layers\.7"
    ):
        resolve(folder, base=tiny)


def test_another_base_is_refused(tiny: Any, stories: Any, tmp_path: Path) -> None:
    folder, _ = saved(tiny, KINDS["lora_attention"], tmp_path / "lora")
    with pytest.raises(ModelError, match=r"does not fit"):
        resolve(folder, base=stories)


def test_what_cannot_be_merged_is_named(tiny: Any, tmp_path: Path) -> None:
    config = PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=2)
    folder, _ = saved(tiny, config, tmp_path / "prompt")
    with pytest.raises(ModelError, match="PROMPT_TUNING: it adds tokens or a computation"):
        resolve(folder, base=tiny)
    folder, _ = saved(tiny, KINDS["lora_attention"], tmp_path / "lora")
    rename(folder, None, task_type="SEQ_CLS")
    with pytest.raises(ModelError, match="made for SEQ_CLS"):
        resolve(folder, base=tiny)
    rename(folder, None, peft_type="NEW_KIND")
    with pytest.raises(ModelError, match="peft_type 'NEW_KIND' is unknown"):
        resolve(folder, base=tiny)


def test_pickled_adapters_are_not_opened(tiny: Any, tmp_path: Path) -> None:
    folder, _ = saved(tiny, KINDS["lora_attention"], tmp_path / "lora")
    (folder / "adapter_model.safetensors").rename(folder / "adapter_model.bin")
    with pytest.raises(ModelError, match=r"lacks adapter_model\.safetensors.*pickled"):
        resolve(folder, base=tiny)


def test_a_whole_model_with_an_adapter_beside_it_is_ambiguous(tiny: Any, tmp_path: Path) -> None:
    folder, _ = saved(tiny, KINDS["lora_attention"], tmp_path / "both")
    shutil.copytree(tiny.path, folder, dirs_exist_ok=True)
    with pytest.raises(ModelError, match="a whole model and an adapter"):
        resolve(folder)


def test_new_tokens_come_with_the_adapter(tiny: Any, tmp_path: Path) -> None:
    model, tokenizer = load(tiny)
    tokenizer.add_tokens(["<tool>", "<extra>"])
    model.resize_token_embeddings(len(tokenizer), mean_resizing=False)
    config = LoraConfig(target_modules=QV, modules_to_save=["embed_tokens", "lm_head"], **LORA)
    grown = get_peft_model(model, config)
    with torch.no_grad():
        for name, weight in grown.named_parameters():
            if weight.requires_grad:
                weight += 0.05 * torch.randn(
                    weight.shape, generator=torch.Generator().manual_seed(len(name))
                )
        want = grown.eval()(input_ids=IDS).logits
    grown.save_pretrained(str(tmp_path / "grown"))
    bare = resolve(shutil.copytree(tiny.path, tmp_path / "bare"))
    tokenizer.save_pretrained(bare.path)
    with pytest.raises(
        ModelError, match=r"has 24 embedding rows, but its tokenizer has token 25 \('<extra>'\)"
    ):
        load(bare)
    tokenizer.save_pretrained(tmp_path / "grown")
    made = resolve(tmp_path / "grown", base=tiny)
    assert len(load(made).tokenizer) == len(load(tiny).tokenizer) + 2 and off(made, want) <= 1e-5


@pytest.mark.parametrize("start", ["tiny", "stories"])  # an untied and a tied head
def test_embeddings_of_a_resized_base_come_beside_the_adapter(
    request: pytest.FixtureRequest, tmp_path: Path, start: str
) -> None:
    base = request.getfixturevalue(start)
    model = load(base).model
    model.resize_token_embeddings(model.config.vocab_size + 2, mean_resizing=False)
    grown = get_peft_model(model, deepcopy(KINDS["lora_attention"]))
    with torch.no_grad():
        for name, weight in grown.named_parameters():
            if weight.requires_grad:
                weight += 0.05 * torch.randn(
                    weight.shape, generator=torch.Generator().manual_seed(len(name))
                )
        want = grown.eval()(input_ids=IDS).logits
    # what "auto" does where PEFT can see the base's own size
    grown.save_pretrained(str(tmp_path / "grown"), save_embedding_layers=True)
    assert off(resolve(tmp_path / "grown", base=base), want) <= 1e-5


def test_what_cannot_be_saved_is_an_error_of_ours(tiny: Any, tmp_path: Path) -> None:
    config = LoraConfig(target_modules=QV, layer_replication=[[0, 2], [1, 2]], **LORA)
    folder, _ = saved(tiny, config, tmp_path / "replicated")
    with pytest.raises(ModelError, match="on its base cannot be saved"):
        resolve(folder, base=tiny)


@pytest.mark.parametrize(
    "fields",
    [
        {"target_modules": "(.*)*(.*)*(.*)*q_projx"},
        {"exclude_modules": "((a|b|.)+)+x"},
        {"rank_pattern": {".*.*.*.*.*.*.*.*.*x": 4}},
    ],
)
def test_a_pattern_without_an_end_is_refused(
    tiny: Any, tmp_path: Path, fields: dict[str, Any]
) -> None:
    folder, _ = saved(tiny, KINDS["lora_attention"], tmp_path / "lora")
    rename(folder, str(tiny.path), **fields)
    with pytest.raises(ModelError, match=r"may be matched without an end"):
        resolve(folder)


def test_a_peft_model_in_memory(tiny: Any) -> None:
    model, tokenizer = adapted(tiny, KINDS["dora"]), load(tiny).tokenizer
    with torch.inference_mode():
        want = model(input_ids=IDS).logits
    made = resolve(model, tokenizer=tokenizer, name="mine")
    with torch.inference_mode():
        assert torch.equal(model(input_ids=IDS).logits, want), "the model in memory stays as it is"
    assert made.label == "mine" and off(made, want) <= 1e-5
    with pytest.raises(ModelError, match="adapters of this model change nothing"):
        resolve(adapted(tiny, KINDS["dora"], steps=0), tokenizer=tokenizer)
    config = PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=2)
    with pytest.raises(ModelError, match=r"kind .*PROMPT_TUNING have no merged model"):
        resolve(adapted(tiny, config), tokenizer=tokenizer)


@pytest.mark.parametrize("init", ["pissa", "olora", "orthogonal", "gaussian"])
def test_a_base_that_is_recomputed_exactly_is_the_one_it_was_trained_on(
    tiny: Any, tmp_path: Path, init: str
) -> None:
    config = LoraConfig(target_modules=QV, init_lora_weights=init, **LORA)  # type: ignore[arg-type]
    folder, want = saved(tiny, config, tmp_path / "lora")
    assert off(resolve(folder, base=tiny), want) <= 1e-5
    fresh, _ = saved(tiny, config, tmp_path / "fresh", steps=0)
    if init != "orthogonal":  # whose B is not zero
        with pytest.raises(ModelError, match="changes nothing"):
            resolve(fresh, base=tiny)


@pytest.mark.parametrize("init", ["pissa_niter_16", "pissa_niter_2"])
def test_a_base_that_is_recomputed_at_random_is_refused(
    tiny: Any, tmp_path: Path, init: str
) -> None:
    config = LoraConfig(target_modules=QV, init_lora_weights=init, **LORA)  # type: ignore[arg-type]
    folder, _ = saved(tiny, config, tmp_path / "lora")
    with pytest.raises(
        ModelError, match=rf"init_lora_weights='{init}'.*path_initial_model_for_weight_conversion"
    ):
        resolve(folder, base=tiny)


def test_it_may_be_converted_where_it_was_trained(tiny: Any, tmp_path: Path) -> None:
    drawn: Any = "pissa_niter_16"
    config = LoraConfig(target_modules=QV, init_lora_weights=drawn, **LORA)
    model = adapted(tiny, config, steps=0)
    model.peft_config["default"].init_lora_weights = True
    model.save_pretrained(tmp_path / "first")
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], 1e-2)
    model(input_ids=IDS, labels=IDS).loss.backward()
    optimizer.step()
    with torch.inference_mode():
        want = model(input_ids=IDS).logits
    model.peft_config["default"].init_lora_weights = "pissa_niter_16"
    model.save_pretrained(
        tmp_path / "last", path_initial_model_for_weight_conversion=str(tmp_path / "first")
    )
    assert off(resolve(tmp_path / "last", base=tiny), want) <= 1e-5


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"peft_type": 5}, "peft_type is str; got 5"),
        ({"peft_type": "LORRA"}, "peft_type 'LORRA' is unknown; did you mean 'LORA'"),
        ({"peft_type": None}, "peft_type 'None' is unknown"),
        ({"r": "four"}, "r is int; got 'four'"),
        ({"r": 2}, "does not fit its base"),
        ({"lora_alpha": float("nan")}, "NaN"),
        ({"target_modules": ["no_such"]}, "does not fit its base"),
        ({"target_modules": {"q_proj": 1}}, "target_modules is str or list"),
        ({"target_modules": []}, "does not fit"),
        ({"rank_pattern": []}, "rank_pattern is dict"),
        ({"init_lora_weights": ["pissa"]}, "init_lora_weights is bool or str"),
        ({"init_lora_weights": "none such"}, "does not fit its base"),
        ({"init_lora_weights": "loftq"}, "loftq|does not fit its base"),
        ({"init_lora_weights": "corda"}, "does not fit its base"),
        ({"layers_to_transform": [99]}, "does not fit"),
        ({"use_newest": True}, "the setting 'use_newest', which the installed PEFT does not know"),
    ],
)
def test_a_configuration_of_another_kind(
    tiny: Any, tmp_path: Path, fields: dict[str, Any], message: str
) -> None:
    folder, _ = saved(tiny, KINDS["lora_attention"], tmp_path / "lora")
    rename(folder, str(tiny.path), **fields)
    with pytest.raises(ModelError, match=message) as caught:
        resolve(folder)
    assert len(str(caught.value)) < 2_000


@pytest.mark.parametrize("text", ["", "[]", "null", "5", "{", "[" * 100_000])
def test_a_configuration_that_is_no_object(tiny: Any, tmp_path: Path, text: str) -> None:
    folder, _ = saved(tiny, KINDS["lora_attention"], tmp_path / "lora")
    (folder / "adapter_config.json").write_text(text)
    with pytest.raises(ModelError, match=r"adapter_config\.json"):
        resolve(folder)


def test_weights_of_an_adapter_that_are_no_numbers(tiny: Any, tmp_path: Path) -> None:
    folder, _ = saved(tiny, KINDS["lora_attention"], tmp_path / "lora")
    file = folder / "adapter_model.safetensors"
    weights = load_file(file)
    next(iter(weights.values()))[0, 0] = float("nan")
    save_file(weights, file)
    with pytest.raises(ModelError, match=r"NaN|nan"):
        resolve(folder, base=tiny)
    file.write_bytes(file.read_bytes()[:-5])
    with pytest.raises(ModelError, match="is damaged"):
        resolve(folder, base=tiny)


@pytest.mark.parametrize("key", ["r", "lora_alpha"])
def test_a_scale_that_is_not_said_is_no_default(tiny: Any, tmp_path: Path, key: str) -> None:
    folder, _ = saved(tiny, KINDS["lora_attention"], tmp_path / "lora")
    path = folder / "adapter_config.json"
    config = json.loads(path.read_text())
    path.write_text(json.dumps({name: config[name] for name in config if name != key}))
    with pytest.raises(ModelError, match="does not say its r and lora_alpha"):
        resolve(folder, base=tiny)
