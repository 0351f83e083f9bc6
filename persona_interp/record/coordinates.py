"""Which labels does a recorded number carry? Those of its checkpoint, its prompt and its token."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from persona_interp.models import Checkpoint, Tokens, hash_weights
from persona_interp.models.explain import pieces

TEXTS = ("context", "persona", "topic", "template", "split", "kind", "value")
TEXTS += ("stated", "trait", "side", "role", "question")
"""Columns of this package's tables that are texts, whatever their values are."""
TAKEN = ("checkpoint", "stage", "step", "seed", "weights", "prompt", "token", "hook", "name")
TAKEN += ("d_model", "head", "d_head", "feature", "act", "fvu")
"""Names that mean something else in a Dataset."""
EXTRA = "extra"
"""Column in which ``readers.read`` keeps what it did not need."""

Array = npt.NDArray[Any]


def checkpoint_coords(checkpoints: Sequence[Checkpoint]) -> dict[str, Any]:
    """Coordinates along ``checkpoint``.

    Args:
        checkpoints: The checkpoints.

    Returns:
        label, stage, step, seed and weights (hash).
    """
    return {
        "checkpoint": [c.label for c in checkpoints],
        "stage": ("checkpoint", [c.stage for c in checkpoints]),
        "step": ("checkpoint", [c.step for c in checkpoints]),
        "seed": ("checkpoint", [c.seed for c in checkpoints]),
        "weights": ("checkpoint", [hash_weights(c) for c in checkpoints]),
    }


def place_of(checkpoint: Checkpoint) -> dict[str, Any]:
    """Columns that say whose row of a table it is.

    Args:
        checkpoint: The checkpoint.

    Returns:
        checkpoint (its label), seed, stage and step.
    """
    return {
        "checkpoint": checkpoint.label,
        "seed": checkpoint.seed,
        "stage": checkpoint.stage,
        "step": checkpoint.step,
    }


def prompt_coords(prompts: pd.DataFrame) -> dict[str, Array]:
    """Every column of a table that holds texts, numbers or booleans.

    Args:
        prompts: A prompts or corpus table; what ``extra`` holds counts as columns.

    Returns:
        Arrays by column. Missing texts are "", missing numbers NaN. Left out are lists, dicts and
        dates, columns without any value, and names that mean something else in a Dataset or that
        NetCDF cannot hold.

    >>> table = pd.DataFrame({"topic": ["art", None], "score": [1, 2], "tags": [["a"], []]})
    >>> {name: values.tolist() for name, values in prompt_coords(table).items()}
    {'topic': ['art', ''], 'score': [1, 2]}
    """
    columns = {str(name): column for name, column in prompts.items()}
    if EXTRA in prompts and all(isinstance(row, Mapping) for row in prompts[EXTRA]):
        extra = pd.DataFrame(prompts[EXTRA].tolist(), index=prompts.index)
        columns = {str(name): column for name, column in extra.items()} | columns
    coords = {}
    for name, column in columns.items():
        # NetCDF takes a slash for a folder
        if name in TAKEN or "/" in name or "\0" in name or name in ("", "."):
            continue
        values = _values(column, as_text=name in TEXTS)
        if values is not None:
            coords[name] = values
    return coords


def token_coords(
    tokenizer: Any, tokens: Tokens, marks: Sequence[npt.NDArray[np.bool_]]
) -> dict[str, Array]:
    """Coordinates along ``token``: every marked token of every prompt, in order.

    Args:
        tokenizer: Tokenizer of the checkpoint.
        tokens: Tokens of the prompts.
        marks: Which of them, booleans of every row.

    Returns:
        pos (in its prompt, from 0), piece (text), role and turn (number of its message, -1 for
        none); and row, the number of the prompt.
    """
    texts = pieces(tokenizer, (i for row in tokens.ids for i in row))
    rows = np.repeat(np.arange(len(marks)), [int(mark.sum()) for mark in marks])
    positions = np.concatenate([np.flatnonzero(mark) for mark in marks])
    places = list(zip(rows.tolist(), positions.tolist(), strict=True))
    return {
        "row": rows,
        "pos": positions,
        "piece": np.array([texts[tokens.ids[row][pos]] for row, pos in places], str),
        "role": np.array([tokens.roles[row][pos] for row, pos in places], str),
        "turn": np.array([tokens.turns[row][pos] for row, pos in places], int),
    }


def _values(column: pd.Series, *, as_text: bool) -> Array | None:
    """Values of a column as one array; None where they are no labels."""
    if isinstance(column.dtype, np.dtype) and column.dtype.kind in "biuf" and not as_text:
        return column.to_numpy()
    values = column.to_numpy(object)
    missing = np.array([_is_missing(value) for value in values])
    present = values[~missing]
    scalar = all(isinstance(value, str | bool | int | float | np.generic) for value in present)
    dates = any(isinstance(value, np.datetime64 | np.timedelta64) for value in present)
    if not scalar or dates or (missing.all() and not as_text):
        return None
    numbers = np.array(present.tolist()) if not as_text else np.array("")
    if numbers.dtype.kind == "b" and not missing.any():
        return numbers
    if numbers.dtype.kind in "iuf":
        filled = np.full(len(values), np.nan)
        filled[~missing] = numbers
        return numbers if not missing.any() else filled
    return np.array(["" if gone else _text(v) for gone, v in zip(missing, values, strict=True)])


def _is_missing(value: Any) -> bool:
    return value is None or value is pd.NA or (isinstance(value, float) and np.isnan(value))


def _text(value: Any) -> str:
    """Text that a NetCDF file can hold."""
    return str(value).encode("utf-8", "replace").decode().replace("\0", "\ufffd")
