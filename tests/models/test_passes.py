"""Rows run together by length, within a number of tokens."""

import numpy as np
import pytest
import torch

from persona_interp.errors import ModelError
from persona_interp.models.passes import run_rows

ERRORS = [
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"),
    RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes."),
    MemoryError(),
]


class Memory:
    """Runs rows of these lengths, and runs out beyond a number of tokens."""

    def __init__(self, lengths: list[int], *, most: int, error: Exception) -> None:
        self.lengths, self.most, self.error = lengths, most, error
        self.n_refused = 0

    def run(self, rows: list[int]) -> list[int]:
        if sum(self.lengths[row] for row in rows) > self.most:
            self.n_refused += 1
            raise self.error
        return [self.lengths[row] ** 2 for row in rows]


def test_every_row_once_and_no_pass_above_its_tokens() -> None:
    lengths = np.random.default_rng(0).integers(1, 60, 200).tolist()
    batches = [rows for rows, _ in run_rows(len, lengths, batch=128)]
    assert sorted(row for rows in batches for row in rows) == list(range(200))
    for rows in batches:
        widest = max(lengths[row] for row in rows)
        assert len(rows) == 1 or len(rows) * widest <= 128
    # shortest first, so that a pass pads next to nothing
    assert [lengths[row] for rows in batches for row in rows] == sorted(lengths)


def test_a_row_longer_than_a_pass_runs_alone() -> None:
    assert list(run_rows(len, [500, 3], batch=10)) == [([1], 1), ([0], 1)]
    assert list(run_rows(len, [], batch=10)) == []


@pytest.mark.parametrize("error", ERRORS)
def test_less_runs_together_when_memory_runs_out(error: Exception) -> None:
    lengths = np.random.default_rng(1).integers(1, 60, 300).tolist()
    memory = Memory(lengths, most=1_100, error=error)
    squares = {}
    for rows, values in run_rows(memory.run, lengths):
        squares |= dict(zip(rows, values, strict=True))
    assert squares == {row: length**2 for row, length in enumerate(lengths)}
    # halved from 2048 tokens on, and kept: not tried again at every group
    assert memory.n_refused == 1


def test_what_cannot_be_halved_is_named() -> None:
    memory = Memory([7, 7, 200], most=100, error=ERRORS[0])
    with pytest.raises(ModelError, match=r"1 rows of 200 tokens.*dtype='bfloat16'"):
        list(run_rows(memory.run, memory.lengths))
    with pytest.raises(ModelError, match=r"2 rows of 60 tokens.*batch='auto', or at most 60"):
        list(run_rows(Memory([60, 60], most=100, error=ERRORS[0]).run, [60, 60], batch=2048))


def test_other_errors_pass() -> None:
    memory = Memory([200], most=100, error=RuntimeError("shapes differ"))
    with pytest.raises(RuntimeError, match="shapes differ"):
        list(run_rows(memory.run, [200]))


@pytest.mark.parametrize("batch", [0, -1, 2.5, True, "many", None])
def test_a_batch_is_a_number_of_tokens(batch: object) -> None:
    with pytest.raises(ModelError, match="batch is a number of tokens"):
        list(run_rows(len, [1], batch=batch))  # type: ignore[arg-type]
