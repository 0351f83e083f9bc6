"""How much of a card's arithmetic does a harvest use, and how fast is a training step of an SAE?

    python benchmarks/gpu.py [--device cuda] [--layers 28] [--tokens 200000]

The model is of the shape of Qwen2-1.5B with random weights, made here; the ceiling is a large
product of bfloat16 matrices, measured in the same process. Counted are the multiplications of the
blocks that are run (two for each weight and token) and of attention's scores and means; embedding
and output are not. The training step of the sparse engine (2,304 -> 65,536 features, k 64, batch
4,096) stands beside SAELens' ``SAETrainer``, by the clock, in interleaved pairs. Exits with 1 below
``LEAST`` or ``FASTER``, and with 0 where there is no CUDA device, after saying so.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM

import sae
from pairs import Ratios, spread
from persona_interp import models
from persona_interp.dictionaries.harvest import read_marked
from persona_interp.dictionaries.saelens import import_saelens
from persona_interp.models import Checkpoint, Tokens
from persona_interp.models.load import quiet
from persona_interp.models.tiny import tiny_tokenizer

LEAST = 0.5
"""Share of the ceiling that a harvest has to reach."""
FASTER = 2.0
"""How many times as fast as SAELens' a training step has to be."""
STEP = sae.Shape(d_in=2304, d_sae=65_536, k=64, batch=4096, n=100_000)
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


def harvest(device: str, *, layers: int, n_tokens: int) -> tuple[float, float]:
    """Floating point operations a second and tokens a second of a harvest."""
    n_documents = max(1, n_tokens // LENGTH)
    generator = torch.Generator().manual_seed(0)
    rows = torch.randint(QWEN2["vocab_size"], (n_documents, LENGTH), generator=generator).tolist()
    roles = tuple(["text"] * LENGTH for _ in rows)
    learn, turns = tuple([True] * LENGTH for _ in rows), tuple([0] * LENGTH for _ in rows)
    tokens = Tokens(tuple(rows), roles, learn, turns, (LENGTH,) * len(rows))
    with tempfile.TemporaryDirectory() as folder:
        checkpoint = random_model(Path(folder), layers, device)
        bridge = models.boot(checkpoint, device=device, dtype="bfloat16")
        hook = f"blocks.{layers - 1}.hook_out"
        seconds = timed(lambda: read_marked(bridge, tokens, hook=hook, where=["text"]), device)
    read = n_documents * LENGTH
    return operations(bridge, read) / seconds, read / seconds


def step_speeds(
    device: str, name: str, *, shape: sae.Shape = STEP, pairs: int = 5, steps: int = 20
) -> Ratios:
    """How many times as fast as SAELens' steps those of the sparse engine are.

    Args:
        device: Where they are taken.
        name: "topk" or "batchtopk".
        shape: How large a step is.
        pairs: Interleaved pairs.
        steps: Steps of each run of a pair.
    """
    shape = shape._replace(device=device)
    acts = sae.residuals(shape)
    slow, fast = (sae.engine(which, name, acts, steps, shape) for which in ("saelens", "sparse"))

    def seconds(run: Callable[[], None]) -> float:
        wait(device)
        began = time.perf_counter()
        run()
        wait(device)
        return time.perf_counter() - began

    seconds(slow)
    seconds(fast)
    return spread([seconds(slow) / seconds(fast) for _ in range(pairs)])


def main() -> None:
    """Measure, print a line each, and judge."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--layers", type=int, default=28)
    parser.add_argument("--tokens", type=int, default=200_000)
    parser.add_argument("--side", type=int, default=SIDE)
    arguments = parser.parse_args()
    device = arguments.device
    if device.startswith("cuda") and not torch.cuda.is_available():
        print("no CUDA device here; neither the harvest nor the training step was timed")
        return
    speed, rate = harvest(device, layers=arguments.layers, n_tokens=arguments.tokens)
    peak = ceiling(device, arguments.side)
    print(
        f"harvest: {rate:,.0f} tokens/s, {speed / 1e12:.2f} of {peak / 1e12:.2f} TFLOP/s, "
        f"{speed / peak:.0%} of the matrix peak ({LEAST:.0%} asked for)",
        flush=True,
    )
    is_met = speed >= LEAST * peak
    import_saelens()
    for name in sae.TARGETS:
        ratios = step_speeds(device, name)
        print(f"SAE step, {name}: {ratios} times SAELens' ({FASTER:g} asked for)", flush=True)
        is_met &= ratios.median >= FASTER
    if not is_met:
        sys.exit(1)


if __name__ == "__main__":
    main()
