"""A small GGUF file to begin from."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

WIDTH, HIDDEN, HEADS, WORDS = 32, 48, 4, 300


def write_gguf(
    path: Path, *, blocks: int = 2, said: int | None = None, scaling: str = "", **extra: Any
) -> Path:
    """A small Llama of random weights, as llama.cpp's converter writes it."""
    gguf = pytest.importorskip("gguf", reason="gguf is not installed; its tests did not run")
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_name("small")
    writer.add_block_count(blocks if said is None else said)
    writer.add_context_length(64)
    writer.add_embedding_length(WIDTH)
    writer.add_feed_forward_length(HIDDEN)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_vocab_size(WORDS)
    if scaling:
        writer.add_string("llama.rope.scaling.type", scaling)
    letters = [f"<0x{i:02X}>" for i in range(256)]
    tokens = ["<unk>", "<s>", "</s>", *letters, *(f"w{i}" for i in range(WORDS - 259))]
    writer.add_tokenizer_model("llama")
    writer.add_token_list(tokens)
    writer.add_token_scores([0.0] * WORDS)
    writer.add_token_types([2, 3, 3, *[6] * 256, *[1] * (WORDS - 259)])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_unk_token_id(0)
    rng = np.random.default_rng(0)
    shapes = {"token_embd.weight": (WORDS, WIDTH), "output_norm.weight": (WIDTH,)}
    shapes["output.weight"] = (WORDS, WIDTH)
    for i in range(blocks):
        shapes |= {
            f"blk.{i}.attn_norm.weight": (WIDTH,),
            f"blk.{i}.ffn_norm.weight": (WIDTH,),
            f"blk.{i}.ffn_gate.weight": (HIDDEN, WIDTH),
            f"blk.{i}.ffn_up.weight": (HIDDEN, WIDTH),
            f"blk.{i}.ffn_down.weight": (WIDTH, HIDDEN),
        }
        for part in ("q", "k", "v", "output"):
            shapes[f"blk.{i}.attn_{part}.weight"] = (WIDTH, WIDTH)
    arrays = {name: rng.normal(0, 0.1, shape).astype("float32") for name, shape in shapes.items()}
    for name, array in {**arrays, **extra}.items():
        if array is not None:
            writer.add_tensor(name, array)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path
