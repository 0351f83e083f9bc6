"""In which order are stored rows read? At random, each once an epoch, and exactly resumable."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
from torch import Tensor

from persona_interp.errors import ModelError
from persona_interp.values import check_count

ROUNDS = 4
"""Rounds of the Feistel network: four make a pseudorandom permutation of random functions (Luby and
Rackoff 1988)."""
Numbers = npt.NDArray[np.int64]


class Sampler:
    """Endless batches of rows at random, every row once an epoch; iterating it goes on.

    The order is computed, not kept: a keyed permutation says which row is the i-th of an epoch, so
    that the state is a handful of numbers however many rows there are.

    Attributes:
        rows: From row numbers, an array, to rows.
        n: How many rows there are.
        batch: Rows of a batch.
        seed: Seed of the order.
        position: Rows that were given so far, over all epochs.

    >>> import torch
    >>> sampler = Sampler(lambda numbers: torch.as_tensor(numbers), 5, batch=2, seed=0)
    >>> first, state = next(sampler), sampler.state()
    >>> rest = [next(sampler).tolist() for _ in range(4)]
    >>> sampler.restore(state)
    >>> [next(sampler).tolist() for _ in range(4)] == rest
    True
    """

    def __init__(self, rows: Any, n: int, *, batch: int, seed: int = 0) -> None:
        check_count(batch, "batch")
        if n < batch:
            raise ModelError(
                f"there are {n} rows, less than one batch of {batch}; give more documents, or a "
                "smaller batch=."
            )
        self.rows, self.n, self.batch, self.seed, self.position = rows, n, batch, seed, 0

    def __iter__(self) -> Iterator[Tensor]:
        return self

    def __next__(self) -> Tensor:
        places = np.arange(self.position, self.position + self.batch)
        self.position += self.batch
        numbers = np.empty(self.batch, dtype=np.int64)
        for epoch in np.unique(places // self.n):
            own = places // self.n == epoch
            numbers[own] = permute(places[own] % self.n, self.n, key=(self.seed, int(epoch)))
        return self.rows(numbers)

    def state(self) -> dict[str, int]:
        """What ``restore`` takes: JSON-able numbers."""
        return {name: getattr(self, name) for name in ("n", "batch", "seed", "position")}

    def restore(self, state: Mapping[str, int]) -> None:
        """Go on where another sampler of the same rows was.

        Args:
            state: Its ``state()``.

        Raises:
            ModelError: It sampled another number of rows.
        """
        if state.get("n") != self.n:
            raise ModelError(
                f"this state is of {state.get('n')} rows, and here are {self.n}; use the recording "
                "it was saved with."
            )
        self.batch, self.seed, self.position = state["batch"], state["seed"], state["position"]


def permute(places: Numbers, n: int, *, key: tuple[int, int]) -> Numbers:
    """Numbers at some places of a random order of 0 to n - 1.

    Args:
        places: Places in the order, 0 to n - 1.
        n: How many numbers there are.
        key: Seeds of the order.

    Returns:
        The numbers, dims as places.

    >>> sorted(permute(np.arange(10), 10, key=(0, 0)).tolist()) == list(range(10))
    True
    """
    half = max(1, (max(n - 1, 1).bit_length() + 1) // 2)
    mask = np.uint64(2**half - 1)
    keys = np.random.default_rng(key).integers(0, 2**63, size=ROUNDS, dtype=np.uint64)
    numbers = np.asarray(places, dtype=np.uint64)
    pending = np.ones(len(numbers), dtype=bool)
    # a number beyond the last is permuted again until it is none (cycle walking): the network's
    # range is less than four times n, so that a few rounds do
    while pending.any():
        left, right = numbers[pending] >> np.uint64(half), numbers[pending] & mask
        for one in keys:
            left, right = right, left ^ (_mix(right + one) & mask)
        numbers[pending] = (left << np.uint64(half)) | right
        pending &= numbers >= np.uint64(n)
    return numbers.astype(np.int64)


def _mix(x: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """Scramble 64 bits (the finalizer of splitmix64, Steele et al. 2014)."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))
