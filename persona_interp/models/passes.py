"""Which rows run through a model together when it is read, not trained?

One batch size with one meaning for everything that only reads: the tokens of one forward pass,
padding included. It bounds the memory, whatever the lengths of the texts; results depend on it by
rounding alone. (``Stage.batch`` is something else: documents that one training step learns from.)
"""

import gc
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple, TypeVar

import torch

from persona_interp.errors import ModelError, excerpt
from persona_interp.models.device import CUDA, Batch, resolve_batch
from persona_interp.models.dtype import AUTO

BATCH = 2048
"""Tokens a forward pass on a CPU: many short prompts fill it, and its logits over a vocabulary of
fifty thousand take 0.4 GB."""
CUDA_BATCH = 8 * BATCH
"""Tokens a forward pass that "auto" begins with on a CUDA device: enough to keep it busy."""
LEAST_BATCH = 512
"""Fewest tokens of a pass on a CPU: below, calls cost as much as what they compute."""
CACHED = 3 * 2**20
"""Bytes of a pass's widest layer that the caches of a processor's core hold."""
T = TypeVar("T")


def run_rows(
    run: Callable[[list[int]], T],
    lengths: Sequence[int],
    *,
    batch: Batch = AUTO,
    device: object = "cpu",
    suited: int | None = None,
) -> Iterator[tuple[list[int], T]]:
    """Yield what ``run(rows)`` gives for one group of rows of similar length after the other.

    Args:
        run: Runs these rows through a model and returns something. It changes nothing else: rows
            that do not fit into memory are run again in smaller groups.
        lengths: Tokens of every row.
        batch: Tokens a forward pass, padding included; a longer row runs alone. "auto" begins with
            what suits the device and halves it whenever memory runs out.
        device: Where the model is.
        suited: Tokens that "auto" begins with; by default what suits the device.

    Yields:
        Row numbers and what they gave, the shortest rows first.

    Raises:
        ModelError: A batch that is no number of tokens, or memory runs out: with a batch that was
            given, or for a row alone.

    >>> [rows for rows, _ in run_rows(len, [5, 2, 9, 2], batch=10)]
    [[1, 3], [0], [2]]
    """
    batch = resolve_batch(batch)
    budget = suited if batch == AUTO and suited else start_batch(batch, device)
    order = _order(lengths)
    start = 0
    while start < len(order):
        rows = order[start : _stop(order, lengths, start=start, batch=budget)]
        result = attempt(run, rows)
        if not isinstance(result, Exhausted):
            yield rows, result
            start += len(rows)
            del result  # or two groups are in memory at once
            continue
        width = lengths[rows[-1]]
        if batch != AUTO or len(rows) == 1:
            raise ModelError(
                f"memory ran out with {len(rows)} rows of {width} tokens together "
                f"({result.words}). Give {_smaller(len(rows), width)}."
            )
        budget = width * len(rows) // 2


def group_rows(lengths: Sequence[int], batch: int) -> list[list[int]]:
    """Rows that run together, as ``run_rows`` groups them while memory lasts.

    Args:
        lengths: Tokens of every row.
        batch: Tokens a forward pass, padding included.

    Returns:
        Row numbers of each pass, the shortest rows first.

    >>> group_rows([5, 2, 9, 2], 10)
    [[1, 3], [0], [2]]
    """
    order, groups, start = _order(lengths), [], 0
    while start < len(order):
        stop = _stop(order, lengths, start=start, batch=batch)
        groups.append(order[start:stop])
        start = stop
    return groups


def start_batch(batch: Batch, device: object) -> int:
    """Tokens of the first forward pass.

    Args:
        batch: A number of tokens, or "auto".
        device: Where the model is.

    Returns:
        The number; for "auto" what suits the device.

    Raises:
        ModelError: Something else.

    >>> start_batch("auto", "cpu")
    2048
    """
    tokens = resolve_batch(batch)
    if isinstance(tokens, int):
        return tokens
    return CUDA_BATCH if str(device).startswith(CUDA) else BATCH


def suit_batch(model: Any) -> int:
    """Tokens of a forward pass that a processor computes fastest.

    A pass whose widest layer leaves the caches of a core takes up to twice as long, and one of few
    tokens too. What is best is not timed but told by the widths of the model: a time would differ
    from call to call, and with the batches the last digits of every number.

    Args:
        model: A Hugging Face model.

    Returns:
        On a CPU a power of two, ``LEAST_BATCH`` to ``BATCH``; else what suits the device.

    >>> from types import SimpleNamespace
    >>> layer = torch.nn.Linear(576, 1536)
    >>> model = SimpleNamespace(device="cpu", modules=layer.modules, parameters=layer.parameters)
    >>> suit_batch(model)
    512
    """
    if str(model.device).startswith(CUDA):
        return CUDA_BATCH
    tables = [one.weight for one in model.modules() if isinstance(one, torch.nn.Embedding)]
    aside = {id(table) for table in tables}  # an output that is tied to them too
    layers = [one for one in model.parameters() if one.ndim > 1 and id(one) not in aside]
    output = getattr(model, "get_output_embeddings", lambda: None)()
    head = None if output is None else output.weight
    widest = max(max(one.shape[-2:]) * one.itemsize for one in layers if one is not head)
    tokens = BATCH
    while tokens > LEAST_BATCH and tokens * widest > CACHED:
        tokens //= 2
    return tokens


class Exhausted(NamedTuple):
    """Memory ran out.

    Attributes:
        words: What said so.
    """

    words: str


def attempt(run: Callable[..., T], *args: Any) -> T | Exhausted:
    """What a function returns, unless memory runs out on its way.

    Args:
        run: The function. What it allocated is free again once it has failed.
        *args: Its arguments.

    Returns:
        What it returned, or that memory ran out.

    >>> attempt(abs, -2)
    2
    """
    try:
        return run(*args)
    except (RuntimeError, MemoryError) as error:
        if not is_exhausted(error):
            raise
        words = (str(error).splitlines() or [type(error).__name__])[0]
    # the error is gone by now, and with it the frames that held what was allocated
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    return Exhausted(excerpt(words))


def is_exhausted(error: BaseException) -> bool:
    """Whether an error says that memory ran out, on a device or on the CPU.

    Args:
        error: What was raised.

    Returns:
        True for torch's and Python's own kinds; on the CPU torch has none, but words.

    >>> is_exhausted(MemoryError()), is_exhausted(RuntimeError("shapes differ"))
    (True, False)
    """
    words = ("DefaultCPUAllocator", "out of memory", "CUBLAS_STATUS_ALLOC_FAILED")
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or (
        isinstance(error, RuntimeError) and any(word in str(error) for word in words)
    )


def _order(lengths: Sequence[int]) -> list[int]:
    return sorted(range(len(lengths)), key=lambda row: lengths[row])


def _stop(order: Sequence[int], lengths: Sequence[int], *, start: int, batch: int) -> int:
    """End of the rows from ``start`` on that fit into a batch; at least one."""
    stop = start + 1
    # rows come by length: the next one, the longest yet, says how wide the batch would be
    while stop < len(order) and (stop + 1 - start) * lengths[order[stop]] <= batch:
        stop += 1
    return stop


def _smaller(n_rows: int, width: int) -> str:
    """What would need less memory, in words."""
    if n_rows > 1:
        return f"batch='{AUTO}', or at most {n_rows * width // 2} tokens"
    return "shorter texts, dtype='bfloat16' or another device"
