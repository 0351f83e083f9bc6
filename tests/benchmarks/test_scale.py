"""The page of costs says what its script computes, and that is what a reader computes by hand."""

import math
from pathlib import Path

import numpy as np
import pytest

import scale
from persona_interp.models import load, resolve

PAGE = Path(__file__).parents[2] / "docs/scale.md"


def test_the_page_holds_the_tables() -> None:
    assert scale.tables() in PAGE.read_text(encoding="utf-8")


def test_a_row_by_hand() -> None:
    """Twenty checkpoints of Gemma-2-9B, 100M tokens, all 131k features in float32."""
    block = 3584 * (16 + 8 + 8 + 16) * 256 + 3 * 3584 * 14_336
    weights = 42 * block + 256_000 * 3584
    assert weights == 9_241_100_288  # with its norms it has 9,241,705,984
    token = 21 * (2 * block + 4 * 512 * 16 * 256)
    tokens = 100e6 / 16
    seconds = (
        4.4  # start
        + 2 * 2 * weights / 1.5e9  # hashed, then read
        + tokens * token / (989e12 * 0.4 * 1.02)
        + tokens * 2 * 3584 * 131_072 / (67e12 * 0.4 * 1.02)
    )
    (case,) = (one for one in scale.cases() if "131k features, in float32" in one.name)
    assert case.jobs == 320 and case.seconds.usual == pytest.approx(seconds)
    shown = scale.row(case)
    assert shown[3].startswith(f"{320 * seconds / 3600:.1f} (")
    assert shown[6].startswith(f"{5 * seconds / 3600:.3g} ("), "320 jobs on 64 nodes: five rounds"
    hours = seconds / 3600
    gone = (math.exp(0.01 * hours) - 1) * (100 + 120 / 3600) - hours
    assert shown[9].startswith(f"{320 * gone:.3g} (")
    assert scale.LLAMA.weights == pytest.approx(1.2358e9, rel=1e-3)  # published: 1.24 billion


def test_weights_are_counted_as_a_model_has_them(tmp_path: Path) -> None:
    """Of a tiny Llama: matrices of blocks and embedding; norms are left out."""
    model, _ = load(resolve("tiny", words=["a", "b"], out=tmp_path))
    c = model.config
    shape = scale.Shape(
        c.num_hidden_layers,
        c.hidden_size,
        c.intermediate_size,
        c.num_attention_heads,
        c.num_key_value_heads,
        c.hidden_size // c.num_attention_heads,
        c.vocab_size,
    )
    matrices = {id(w): w.numel() for w in model.parameters() if w.ndim == 2}
    output = 0 if c.tie_word_embeddings else c.vocab_size * c.hidden_size
    assert shape.weights + output == sum(matrices.values())


@pytest.mark.parametrize("piece", [None, 2.0])
def test_lost_work_is_what_jobs_lose(piece: float | None) -> None:
    """Twenty thousand jobs of ten hours, killed at random."""
    random = np.random.default_rng(0)
    total = 0.0
    for _ in range(20_000):
        for length in [10.0] if piece is None else [piece] * 5:
            while (kill := random.exponential(1 / scale.RATE)) < length:
                total += kill + 0.5
    expected = scale.lost(10.0, piece=piece, again=0.5)
    assert total / 20_000 == pytest.approx(expected, rel=0.05)
