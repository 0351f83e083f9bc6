"""How do recordings of several checkpoints stand where a tensor of their residuals would?

One recording a checkpoint, all of the same tokens: asserted by the ids and the place of every row.
Rows are read from the disk as they are asked for. In memory are their numbers, places and order
alone: some tens of bytes a token, whatever the width.
"""

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
import torch

from persona_interp.dictionaries.act_store import ActStore
from persona_interp.errors import ModelError

SAME = {
    "token_ids": "other tokens",
    "mask": "tokens of other roles",
    "hook": "another hook",
}
"""What recordings must share, and what a message says of those that do not."""


class Recordings:
    """Residuals of several checkpoints on the same tokens, indexed as a tensor of them all.

    Its dims would be (checkpoint, token, d_model), float32. A token that is an attention sink at
    any checkpoint is left out of all.

    Attributes:
        stores: One recording a checkpoint.
        numbers: Rows of the recordings that are taken, dims (token,).
        shape: (checkpoints, tokens, d_model).

    Args:
        stores: The recordings.
        numbers: Rows to take; by default all that are no attention sinks.

    Raises:
        ModelError: They are not of the same tokens at one hook, row by row.
    """

    def __init__(self, stores: Sequence[ActStore], numbers: np.ndarray | None = None) -> None:
        self.stores = list(stores)
        if numbers is None:
            _check_same(self.stores)
            no_sink = np.logical_and.reduce([store.no_sink.numpy() for store in self.stores])
            numbers = np.flatnonzero(no_sink)
        self.numbers = numbers
        self.shape = (len(self.stores), len(numbers), self.stores[0].shape[1])

    def __len__(self) -> int:
        return len(self.stores)

    def __getitem__(self, at: Any) -> Any:
        """Rows, as of a tensor of all of them.

        Args:
            at: A slice of checkpoints; or checkpoints and tokens: (slice, numbers), (number,
                numbers), or two tensors of numbers, one pair a row.

        Returns:
            The recordings of these checkpoints; or rows, float32, dims (checkpoint, token,
            d_model), of one checkpoint or of pairs (token, d_model).
        """
        if isinstance(at, slice):
            return Recordings(self.stores[at], self.numbers)
        which, tokens = at
        rows = self.numbers[np.asarray(tokens)]
        if isinstance(which, slice):
            return torch.stack([store[rows].float() for store in self.stores[which]])
        if isinstance(which, int):
            return self.stores[which][rows].float()
        which = np.asarray(which)
        out = torch.empty(len(rows), self.shape[2])
        for i in np.unique(which):
            own = which == i
            out[torch.from_numpy(own)] = self.stores[i][rows[own]].float()
        return out

    @property
    def hook(self) -> str:
        """Hook of all of them."""
        return self.stores[0].hook

    @cached_property
    def documents(self) -> np.ndarray:
        """Document of every token, dims (token,)."""
        docs, _ = self.stores[0].places()
        return docs[self.numbers]

    @property
    def provenance(self) -> dict[str, Any]:
        """Where they come from, as of a harvest of all checkpoints."""
        first = self.stores[0].provenance
        return {
            "checkpoints": [store.provenance["checkpoints"][0] for store in self.stores],
            "weights": [store.provenance["weights"][0] for store in self.stores],
            "token_ids": first["token_ids"],
            "n_tokens": self.shape[1],
            "n_documents": first["n_documents"],
            "n_excluded_sinks": len(self.stores[0]) - self.shape[1],
            "where": first["where"],
        }


def as_recordings(value: Any) -> Recordings | None:
    """Recordings that a value means.

    Args:
        value: ``Recordings``, an ``ActStore``, or a list of these stores.

    Returns:
        The recordings; None where it is none of these.

    Raises:
        ModelError: They are not of the same tokens at one hook.
    """
    if isinstance(value, Recordings):
        return value
    if isinstance(value, ActStore):
        return Recordings([value])
    is_list = isinstance(value, list | tuple) and len(value) > 0
    return Recordings(value) if is_list and all(isinstance(v, ActStore) for v in value) else None


def _check_same(stores: Sequence[ActStore]) -> None:
    """Refuse recordings whose rows are not the same tokens."""
    first = stores[0]
    for store in stores[1:]:
        for name, what in SAME.items():
            if store.provenance[name] != first.provenance[name]:
                raise ModelError(
                    f"{store.folder} holds residuals of {what} than {first.folder}; record each "
                    "checkpoint with the same corpus, hook=, n_tokens=, seed= and where=. Only "
                    "checkpoints that share a tokenizer can share features."
                )
        if store.shape != first.shape:
            raise ModelError(
                f"{store.folder} has shape {store.shape}, and {first.folder} {first.shape}."
            )
        if not all(map(np.array_equal, store.places(), first.places())):
            raise ModelError(
                f"{store.folder} holds the tokens of {first.folder} in another order; record both "
                "with one version of this package."
            )
