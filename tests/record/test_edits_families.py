"""Families with their own caches and attention: steered text is that of hooks by hand."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from persona_interp.models import Checkpoint, encode, load
from persona_interp.record import add, answers
from tests.models.test_families import FAMILIES, N_BLOCKS, made

QUICK = ("gemma2", "qwen3", "gpt2", "gpt_neox")
SLOW = [pytest.param(name, marks=pytest.mark.slow) for name in FAMILIES if name not in QUICK]
V = np.random.default_rng(0).normal(size=32)
TEXTS = ("a chat", "no sense of a few words and no chat of few words", "few words", "sense of no")
CHATS = [[{"role": "text", "content": f"{text} {word}"}] for text in TEXTS for word in ("a", "of")]


def louder(checkpoint: Checkpoint) -> Checkpoint:
    """The same model with every matrix redrawn larger: no two positions say the same."""
    model, _ = load(checkpoint)
    generator = torch.Generator().manual_seed(1)
    for weight in model.parameters():
        if weight.ndim == 2:
            weight.data = 0.2 * torch.randn(weight.shape, generator=generator)
    model.save_pretrained(checkpoint.path)
    return checkpoint


def by_hand(checkpoint: Checkpoint, n: int, *, drawn_alone: bool) -> list[str]:
    """Greedy text with V added to the output of block 1, without a cache, row by row."""
    model, tokenizer = load(checkpoint, attention="eager")
    (blocks,) = [
        m for m in model.modules() if isinstance(m, torch.nn.ModuleList) and len(m) == N_BLOCKS
    ]
    first = 0

    def push(block: Any, inputs: Any, out: Any) -> Any:
        acts = out[0] if isinstance(out, tuple) else out
        on = torch.arange(acts.shape[-2]) >= first
        acts = acts + on[:, None] * torch.as_tensor(2 * V).float()
        return (acts, *out[1:]) if isinstance(out, tuple) else acts

    blocks[1].register_forward_hook(push)
    texts = []
    for row in encode(tokenizer, CHATS).ids:
        ids, first = list(row), len(row) if drawn_alone else 0
        while len(ids) < len(row) + n and ids[-1] != tokenizer.eos_token_id:
            with torch.inference_mode():
                logits = model(torch.tensor([ids]), use_cache=False).logits
            ids.append(int(logits[0, -1].argmax()))
        texts.append(tokenizer.decode(ids[len(row) :], skip_special_tokens=True).strip())
    return texts


# a test's tokenizer is none of its family's, which is said
@pytest.mark.filterwarnings("ignore:.*transformers takes its tokenizer:UserWarning")
@pytest.mark.parametrize("family", [*QUICK, *SLOW])
def test_steered_text_of_a_family(family: str, tmp_path: Path) -> None:
    """Left padded, with the cache of the family; longer than its window, where it has one."""
    checkpoint = louder(made(tmp_path, family, FAMILIES[family]))
    prompts = pd.DataFrame({"prompt": range(len(CHATS)), "messages": CHATS})
    hook = "blocks.1.hook_out"
    edits = [
        add(V, hook=hook, absolute=2.0, name="all"),
        add(V, hook=hook, absolute=2.0, where="generated", name="drawn"),
    ]
    table = answers(checkpoint, prompts, edits=edits, temperature=0, max_new_tokens=8, cache=False)
    texts = table.groupby("edit", sort=False)["answer"].agg(list)
    assert texts["all"] == by_hand(checkpoint, 8, drawn_alone=False)
    assert texts["drawn"] == by_hand(checkpoint, 8, drawn_alone=True)
    assert texts["none"] != texts["all"]
