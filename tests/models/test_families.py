"""Small random models of many families: hooked residuals are transformers' own, padded or not."""

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from persona_interp.errors import ModelError
from persona_interp.models import Checkpoint, Tokens, boot, load
from persona_interp.models.load import quiet
from persona_interp.models.tiny import tiny_tokenizer

# a test's tokenizer is none of its family's, which is said
pytestmark = pytest.mark.filterwarnings("ignore:.*transformers takes its tokenizer:UserWarning")

N_BLOCKS = 3
SMALL = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": N_BLOCKS,
    "num_attention_heads": 4,
    "max_position_embeddings": 64,
}
GROUPED = {**SMALL, "num_key_value_heads": 2, "head_dim": 8}
SLIDING = {**GROUPED, "sliding_window": 4}
LAYERS = ["sliding_attention", "full_attention", "sliding_attention"]
FAMILIES = {
    "llama": GROUPED,
    "qwen2": {**SMALL, "num_key_value_heads": 2},
    "qwen3": GROUPED,
    "gemma2": {**SLIDING, "query_pre_attn_scalar": 8},
    "gemma3_text": {**SLIDING, "query_pre_attn_scalar": 8, "layer_types": LAYERS},
    "mistral": SLIDING,
    "gpt2": {"n_embd": 32, "n_layer": N_BLOCKS, "n_head": 4, "n_positions": 64},
    "gpt_neox": SMALL,
    "phi3": {**SMALL, "num_key_value_heads": 2},
    "olmo2": {**SMALL, "num_key_value_heads": 2},
    # not promised: these pass the same check today
    "falcon": SMALL,
    "opt": {**SMALL, "ffn_dim": 48, "word_embed_proj_dim": 32},
    "smollm3": {**SMALL, "num_key_value_heads": 2},
}
ROWS = ([4, 9, 12, 7, 8, 5, 11, 6, 10], [4, 8, 5], [9, 9, 12, 4, 6, 7])


def made(folder: Path, family: str, settings: dict[str, Any]) -> Checkpoint:
    tokenizer = tiny_tokenizer("a chat of few words and no sense".split())
    config = AutoConfig.for_model(
        family,
        **settings,
        vocab_size=len(tokenizer),
        bos_token_id=2,
        eos_token_id=3,
        pad_token_id=0,
    )
    torch.manual_seed(0)
    with quiet():
        AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return Checkpoint(folder)


def residuals_of(plain: Any, row: list[int]) -> list[torch.Tensor]:
    """The output of every block, before the final norm."""
    (blocks,) = [
        m for m in plain.modules() if isinstance(m, torch.nn.ModuleList) and len(m) == N_BLOCKS
    ]
    found: dict[int, torch.Tensor] = {}

    def keep(i: int) -> Any:
        return lambda _, __, out: found.update({i: (out[0] if isinstance(out, tuple) else out)[:]})

    handles = [block.register_forward_hook(keep(i)) for i, block in enumerate(blocks)]
    states = plain(torch.tensor([row]), output_hidden_states=True).hidden_states
    for handle in handles:
        handle.remove()
    assert all(torch.equal(found[i], states[i + 1]) for i in range(N_BLOCKS - 1))
    return [found[i][0] for i in range(N_BLOCKS)]


@pytest.mark.parametrize("family", FAMILIES)
@torch.inference_mode()
def test_residuals_are_hidden_states_at_every_block_alone_and_padded(
    family: str, tmp_path: Path
) -> None:
    checkpoint = made(tmp_path, family, FAMILIES[family])
    bridge, names = boot(checkpoint), [f"blocks.{i}.hook_out" for i in range(N_BLOCKS)]
    empty = tuple([""] * len(row) for row in ROWS)
    tokens = Tokens(ROWS, empty, empty, empty, (0,) * len(ROWS))  # type: ignore[arg-type]
    for attention, tolerance in (("eager", 1e-5), (None, 5e-4)):
        plain = load(checkpoint, attention=attention).model
        want = [residuals_of(plain, row) for row in ROWS]
        for side in ("right", "left"):
            ids, mask = tokens.pad(side=side)
            _, held = bridge.run_with_cache(ids, attention_mask=mask, names_filter=names)
            for i, row in enumerate(ROWS):
                own = slice(0, len(row)) if side == "right" else slice(-len(row), None)
                for name, true in zip(names, want[i], strict=True):
                    off = float((held[name][i, own] - true).norm() / true.norm())
                    assert off <= tolerance, f"{attention}, {side}, row {i}, {name}: {off:.1e}"


@pytest.mark.parametrize("family", ["qwen2", "gemma2", "olmo2"])
def test_half_precision_is_checked_with_its_own_tolerance(family: str, tmp_path: Path) -> None:
    bridge = boot(made(tmp_path, family, FAMILIES[family]), dtype="bfloat16")
    assert bridge.original_model.dtype == bridge.cfg.dtype == torch.bfloat16


@pytest.mark.parametrize(
    ("family", "settings", "message"),
    [
        (
            "helium",
            GROUPED,
            r"cannot boot .*model_type 'helium'.*Could not determine supported architecture",
        ),
        (
            "cohere",
            {**SMALL, "num_key_value_heads": 2},
            r"disagree on this model \(model_type 'cohere'\)",
        ),
        ("mamba", SMALL, r"model_type 'mamba'"),
    ],
)
def test_another_family_is_refused_by_name_with_the_cause(
    family: str, settings: dict[str, Any], message: str, tmp_path: Path
) -> None:
    checkpoint = made(tmp_path, family, settings)
    with pytest.raises(ModelError, match=message):
        boot(checkpoint)
    assert load(checkpoint).model(torch.tensor([ROWS[0]])).logits.isfinite().all(), (
        "behavior works all the same"
    )


def test_the_check_at_load_sees_padding_and_windows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from transformer_lens.model_bridge import TransformerBridge

    checkpoint, right = (
        made(tmp_path, "gpt2", FAMILIES["gpt2"]),
        TransformerBridge.boot_transformers,
    )

    def deaf(*args: Any, **kwargs: Any) -> Any:
        bridge = right(*args, **kwargs)
        monkeypatch.setattr(bridge, "_accepts_derived_position_ids", lambda: False)
        return bridge

    monkeypatch.setattr(TransformerBridge, "boot_transformers", deaf)
    with pytest.raises(ModelError, match="disagree on this model"):
        boot(checkpoint)
