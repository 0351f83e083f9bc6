"""Every kind of adapter that PEFT knows is merged as what it is, or refused by name."""

from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PEFT_TYPE_TO_CONFIG_MAPPING, PeftType, PromptLearningConfig, get_peft_model

from persona_interp.errors import ModelError
from persona_interp.models import load, resolve
from persona_interp.models.adapters import UNMERGED
from tests.models.test_adapters import IDS, off

CONFIGS = {kind.value: PEFT_TYPE_TO_CONFIG_MAPPING[kind] for kind in PeftType}
PROMPTS = [kind for kind, config in CONFIGS.items() if issubclass(config, PromptLearningConfig)]
QV = {"target_modules": ["q_proj", "v_proj"]}
VBLORA = {**QV, "r": 4, "num_vectors": 16, "vector_length": 8}
FIELDS: dict[str, dict[str, Any]] = {
    "ADALORA": {**QV, "total_step": 9},
    "BEFT": {"target_modules": ["q_proj"]},
    "C3A": {**QV, "block_size": 16},
    "IA3": {},
    "TRAINABLE_TOKENS": {"token_indices": [4, 5, 6]},
    "VBLORA": VBLORA,
}
"""What a kind must be told, where it is not which modules it changes."""
ROWS = {kind: (kind, FIELDS.get(kind, QV)) for kind in CONFIGS if kind not in (*UNMERGED, *PROMPTS)}
ROWS["VBLORA, its largest weights"] = ("VBLORA", {**VBLORA, "save_only_topk_weights": True})
pytestmark = pytest.mark.filterwarnings("ignore")  # what PEFT says while it makes adapters


def saved(start: Any, kind: str, fields: dict[str, Any], folder: Path) -> torch.Tensor:
    """Save an adapter that changes something; logits of the model with it, unmerged."""
    torch.manual_seed(0)
    model: Any = get_peft_model(
        load(start).model, CONFIGS[kind](task_type="CAUSAL_LM", **fields)
    ).eval()
    with torch.no_grad():
        for weight in model.parameters():
            if weight.requires_grad and weight.is_floating_point():
                weight.add_(torch.randn_like(weight) * 0.05)
        if fields.get("save_only_topk_weights"):
            model.train()(input_ids=IDS)
            model.eval()
        model.save_pretrained(folder)
        return model(input_ids=IDS).logits


@pytest.mark.parametrize("row", [row for row in ROWS if row != "BEFT"])
def test_merged_is_what_peft_computes(tiny: Any, tmp_path: Path, row: str) -> None:
    want = saved(tiny, *ROWS[row], tmp_path / "mine")
    assert off(resolve(tmp_path / "mine", base=tiny), want) <= 1e-5
    assert off(tiny, want) > 1e-3


def test_beft_is_merged_into_biases_where_there_are_some(tiny: Any, tmp_path: Path) -> None:
    saved(tiny, *ROWS["BEFT"], tmp_path / "mine")
    with pytest.raises(ModelError, match=r"PEFT cannot merge .*Base layer has no bias"):
        resolve(tmp_path / "mine", base=tiny)
    model, tokenizer = load(tiny)
    config = type(model.config)(**{**model.config.to_dict(), "attention_bias": True})
    torch.manual_seed(0)
    type(model)(config).save_pretrained(tmp_path / "base")
    tokenizer.save_pretrained(tmp_path / "base")
    base = resolve(tmp_path / "base")
    want = saved(base, *ROWS["BEFT"], tmp_path / "biased")
    assert off(resolve(tmp_path / "biased", base=base), want) <= 1e-5 and off(base, want) > 1e-4


@pytest.mark.parametrize("kind", [*UNMERGED, *PROMPTS])
def test_what_has_no_merged_model_is_refused_by_name(tiny: Any, tmp_path: Path, kind: str) -> None:
    (tmp_path / "adapter_config.json").write_text(f'{{"peft_type": "{kind}"}}')
    with pytest.raises(ModelError, match=rf"is {kind}: it adds tokens or .* Use LoRA or another"):
        resolve(tmp_path, base=tiny)


@pytest.mark.parametrize("kind", ["ADAPTION_PROMPT", "LILY", "POLY", "SHADOW"])
def test_peft_itself_merges_none_of_those(tiny: Any, kind: str) -> None:
    fields = {"ADAPTION_PROMPT": {"adapter_len": 4, "adapter_layers": 1}, "SHADOW": {}}
    model: Any = get_peft_model(
        load(tiny).model, CONFIGS[kind](task_type="CAUSAL_LM", **fields.get(kind, QV))
    )
    with pytest.raises((AttributeError, NotImplementedError, ValueError)):
        model.merge_and_unload()


def test_a_shared_weight_that_is_in_no_file_is_missed(tiny: Any, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    saved(tiny, *ROWS["VBLORA"], tmp_path)
    file = tmp_path / "adapter_model.safetensors"
    weights = load_file(file)
    save_file({k: w for k, w in weights.items() if not k.endswith("vector_bank")}, file)
    with pytest.raises(ModelError, match=r"does not fit.*vblora_vector_bank"):
        resolve(tmp_path, base=tiny)


def test_every_kind_of_peft_stands_here() -> None:
    assert {kind for kind, _ in ROWS.values()} | {*UNMERGED, *PROMPTS} == {*CONFIGS}
