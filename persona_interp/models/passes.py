"""Which rows run through a model together when it is read, not trained?

One batch size with one meaning for everything that only reads: the tokens of one forward pass,
padding included. It bounds the memory, whatever the lengths of the texts; results depend on it by
rounding alone. (``Stage.batch`` is something else: documents that one training step learns from.)
"""

from collections.abc import Sequence

BATCH = 2048
"""Tokens a forward pass: many short prompts fill it, and its logits over a vocabulary of fifty
thousand take 0.4 GB."""


def row_batches(lengths: Sequence[int], batch: int = BATCH) -> list[list[int]]:
    """Rows that run together: of similar length, so that little is padded.

    Args:
        lengths: Tokens of every row.
        batch: Tokens a forward pass, padding included; a longer row runs alone.

    Returns:
        Row numbers of every batch, the shortest rows first.

    >>> row_batches([5, 2, 9, 2], batch=10)
    [[1, 3], [0], [2]]
    """
    batches: list[list[int]] = []
    for row in sorted(range(len(lengths)), key=lambda row: lengths[row]):
        # rows come by length: this one, the longest yet, says how wide the batch would be
        if batches and (len(batches[-1]) + 1) * lengths[row] <= batch:
            batches[-1].append(row)
        else:
            batches.append([row])
    return batches
