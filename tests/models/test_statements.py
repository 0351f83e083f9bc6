"""A configuration that says two things about one is refused; what is said alike is taken."""

import json
from pathlib import Path
from typing import Any

import pytest

from persona_interp.errors import ModelError
from persona_interp.models.statements import check_statements, check_tokens

FILE = Path("config.json")
LLAMA: dict[str, Any] = {
    "model_type": "llama",
    "architectures": ["LlamaForCausalLM"],
    "rope_parameters": {"rope_theta": 1e4, "rope_type": "default"},
}
GEMMA: dict[str, Any] = {
    "model_type": "gemma3_text",
    "rope_parameters": {
        "full_attention": {"rope_theta": 1e6, "rope_type": "default"},
        "sliding_attention": {"rope_theta": 1e4, "rope_type": "default"},
    },
}


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (LLAMA | {"rope_theta": 5e5}, "states rope_theta twice"),
        (LLAMA | {"rope_scaling": {"type": "linear", "factor": 4.0}}, "states rope_type twice"),
        ({"rope_scaling": {"type": "linear", "rope_type": "yarn"}}, "states rope_type twice"),
        (LLAMA | {"partial_rotary_factor": 0.5, "rope_scaling": {"partial_rotary_factor": 1.0}},
         "states partial_rotary_factor twice"),
        (GEMMA | {"rope_theta": 123.0}, "states rope_theta twice"),
        (GEMMA | {"rope_local_base_freq": 123.0}, "states rope_local_base_freq twice"),
        ({"text_config": LLAMA | {"rope_theta": 5e5}}, "states rope_theta twice"),
        ({"model_type": "gpt2", "n_head": 4, "num_attention_heads": 2}, "twice, n_head"),
        (LLAMA | {"model_type": "granite"}, "'granite' and of the architecture 'LlamaForCausalLM'"),
        (LLAMA | {"is_encoder_decoder": True}, "has an encoder"),
    ],
)  # fmt: skip
def test_what_is_stated_twice_and_otherwise_is_refused(
    config: dict[str, Any], message: str
) -> None:
    with pytest.raises(ModelError, match=message):
        check_statements(FILE, config)


@pytest.mark.parametrize(
    "config",
    [
        {},
        LLAMA | {"rope_theta": 1e4, "rope_scaling": None},
        LLAMA | {"rope_scaling": {"type": "default", "rope_type": "default"}},
        GEMMA | {"rope_theta": 1e6, "rope_local_base_freq": 1e4},
        {"model_type": "gpt2", "n_head": 4, "num_attention_heads": 4, "hidden_size": None},
        LLAMA | {"architectures": ["LlamaForSequenceClassification"]},
        {"model_type": "gemma3", "architectures": ["Gemma3ForCausalLM"]},
        {"model_type": "their own", "architectures": ["LlamaForCausalLM"]},
    ],
)
def test_what_is_stated_alike_is_taken(config: dict[str, Any]) -> None:
    check_statements(FILE, config)


def test_every_architecture_agrees_with_itself(tmp_path: Path) -> None:
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

    for kind in ("llama", "gpt2", "qwen2", "gemma3_text", "mistral", "phi3", "gpt_neox", "olmo2"):
        CONFIG_MAPPING[kind]().save_pretrained(tmp_path)
        config = json.loads((tmp_path / "config.json").read_text())
        check_statements(
            FILE, config | {"architectures": [MODEL_FOR_CAUSAL_LM_MAPPING_NAMES[kind]]}
        )


@pytest.mark.parametrize("value", ["3", 3.5, True, [3, [4]], [None], {"id": 3}])
def test_an_end_that_is_no_token_is_refused(value: object) -> None:
    with pytest.raises(ModelError, match="eos_token_id is the id of a token"):
        check_tokens(FILE, {"eos_token_id": value})


@pytest.mark.parametrize("value", [None, 3, [3, 4], []])
def test_an_end_that_is_one_is_taken(value: object) -> None:
    check_tokens(FILE, {"eos_token_id": value})
