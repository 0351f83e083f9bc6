"""Rows run together by length, within a number of tokens."""

import numpy as np

from persona_interp.models.passes import row_batches


def test_every_row_once_and_no_pass_above_its_tokens() -> None:
    lengths = np.random.default_rng(0).integers(1, 60, 200).tolist()
    batches = row_batches(lengths, batch=128)
    assert sorted(row for rows in batches for row in rows) == list(range(200))
    for rows in batches:
        widest = max(lengths[row] for row in rows)
        assert len(rows) == 1 or len(rows) * widest <= 128
    # shortest first, so that a pass pads next to nothing
    assert [lengths[row] for rows in batches for row in rows] == sorted(lengths)


def test_a_row_longer_than_a_pass_runs_alone() -> None:
    assert row_batches([500, 3], batch=10) == [[1], [0]]
    assert row_batches([], batch=10) == []
