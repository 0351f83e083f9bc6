"""How much of a card's arithmetic does a harvest of residuals use?

    python benchmarks/gpu.py [--device cuda] [--layers 28] [--tokens 200000]

The model is of the shape of Qwen2-1.5B with random weights, made here; the ceiling is a large
product of bfloat16 matrices, measured in the same process. Counted are the multiplications of the
blocks that are run (two for each weight and token) and of attention's scores and means; embedding
and output are not. Exits with 1 below ``LEAST``, and says so where there is no CUDA device.
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM

from persona_interp import models
from persona_interp.dictionaries.harvest import read_marked
from persona_interp.models import Checkpoint, Tokens
from persona_interp.models.load import quiet
from persona_interp.models.tiny import tiny_tokenizer

LEAST = 0.4
"""Share of the ceiling that a harvest has to reach."""
SIDE = 8192
"""Rows and columns of the product that measures the ceiling."""
LENGTH = 512
"""Tokens of a document."""
QWEN2 = {
    "vocab_size": 151_936,
    "hidden_size": 1536,
    "intermediate_size": 8960,
    "num_attention_heads": 12,
    "num_key_value_heads": 2,
    "max_position_embeddings": 2048,
    "tie_word_embeddings": True,
}


def ceiling(device: str, side: int, repeats: int = 20) -> float:
    """Floating point operations a second of a product of bfloat16 matrices."""
    one = torch.randn(side, side, device=device, dtype=torch.bfloat16)
    other = torch.randn(side, side, device=device, dtype=torch.bfloat16)
    seconds = timed(lambda: [one @ other for _ in range(repeats)], device)
    return 2 * side**3 * repeats / seconds


def timed(run: Any, device: str) -> float:
    """Seconds of the second run; the first warms up."""
    run()
    wait(device)
    began = time.perf_counter()
    run()
    wait(device)
    return time.perf_counter() - began


def wait(device: str) -> None:
    """Let a card finish what it was given."""
    if device.startswith("cuda"):
        torch.cuda.synchronize(device)


def random_model(folder: Path, layers: int, device: str) -> Checkpoint:
    """Qwen2 of so many blocks with random weights, on disk."""
    tokenizer = tiny_tokenizer(["a", "b"])
    config = AutoConfig.for_model("qwen2", num_hidden_layers=layers, dtype="bfloat16", **QWEN2)
    torch.manual_seed(0)
    with quiet(), torch.device(device):
        model = AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return Checkpoint(folder)


def operations(bridge: Any, n_tokens: int) -> float:
    """Floating point operations of a harvest after the last block."""
    blocks = bridge.original_model.model.layers
    weights = sum(w.numel() for w in blocks.parameters() if w.ndim == 2)
    # scores and means over them: two products of (length, width) a token, block by block
    attention = 2 * LENGTH * QWEN2["hidden_size"] * len(blocks)
    return 2.0 * n_tokens * (weights + attention)


def main() -> None:
    """Measure, print a line, and judge."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--layers", type=int, default=28)
    parser.add_argument("--tokens", type=int, default=200_000)
    parser.add_argument("--side", type=int, default=SIDE)
    arguments = parser.parse_args()
    device = arguments.device
    if device.startswith("cuda") and not torch.cuda.is_available():
        print("no CUDA device here; the harvest was not timed")
        return
    n_documents = max(1, arguments.tokens // LENGTH)
    generator = torch.Generator().manual_seed(0)
    rows = torch.randint(QWEN2["vocab_size"], (n_documents, LENGTH), generator=generator).tolist()
    roles = tuple(["text"] * LENGTH for _ in rows)
    learn, turns = tuple([True] * LENGTH for _ in rows), tuple([0] * LENGTH for _ in rows)
    tokens = Tokens(tuple(rows), roles, learn, turns, (LENGTH,) * len(rows))
    with tempfile.TemporaryDirectory() as folder:
        checkpoint = random_model(Path(folder), arguments.layers, device)
        bridge = models.boot(checkpoint, device=device, dtype="bfloat16")
        hook = f"blocks.{arguments.layers - 1}.hook_out"
        seconds = timed(lambda: read_marked(bridge, tokens, hook=hook, where=["text"]), device)
    n_tokens = n_documents * LENGTH
    speed, peak = operations(bridge, n_tokens) / seconds, ceiling(device, arguments.side)
    print(
        f"harvest: {n_tokens / seconds:,.0f} tokens/s, {speed / 1e12:.2f} of {peak / 1e12:.2f} "
        f"TFLOP/s, {speed / peak:.0%} of the matrix peak ({LEAST:.0%} asked for)"
    )
    if speed < LEAST * peak:
        sys.exit(1)


if __name__ == "__main__":
    main()
