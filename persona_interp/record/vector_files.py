"""How are directions read from ``.pt`` files of other tools, and written for them?

Both layouts are tensors of one row a layer, and they count layers differently:

- **persona_vectors** (``*_diff.pt``): ``[layers + 1, d_model]``, row l = Hugging Face's
  ``hidden_states[l]``: row 0 the embedding, row l the output of block l - 1. (In files that tool
  made, the last row was read after the final norm.)
- **assistant_axis**: ``[layers, d_model]``, row l = the output of block l.

Instead of a tensor there may be a list of vectors or a dict of them by layer. A file holds one such
direction, several by name, ``axis``, ``default_mean`` and ``role_mean``, or a ``vector`` beside
what is said of it (``role``, ``type``, ``layer``, ``metadata``). Nothing in it is ever executed.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
import xarray as xr

from persona_interp import schema
from persona_interp.errors import ModelError, SchemaError, unknown
from persona_interp.models.pt_files import load_tensors, write_tensors
from persona_interp.models.sites import EMBEDDING, block_of
from persona_interp.record.vector_layers import select_directions

LAYOUTS = ("persona_vectors", "assistant_axis")
# Block of row 0 by layout; -1 is the embedding.
FIRST_BLOCK = {"persona_vectors": -1, "assistant_axis": 0}
ENDINGS = ("_response_avg_diff", "_prompt_avg_diff", "_prompt_last_diff", "_diff")


def read_vectors(
    path: str | Path,
    *,
    name: str | None = None,
    layout: str | None = None,
    n_layers: int | None = None,
) -> xr.DataArray:
    """Directions of a file of another tool.

    Args:
        path: A ``.pt`` file.
        name: What to call the direction; by default of the file ("evil" of
            evil_response_avg_diff.pt). Where the file holds several, which one; None for all.
        layout: persona_vectors or assistant_axis. By default a file that holds "axis", or has it in
            its name, is assistant_axis, and a file that ends in ``_diff.pt`` is persona_vectors.
        n_layers: Number of blocks of the model they are for; checked, and decides the layout where
            nothing else does.

    Returns:
        Directions, dims (name, hook, d_model), float32, residual units. Coordinate ``hidden_state``
        along hook is Hugging Face's index (block + 1); rows of zeros stand for no direction and are
        listed in attribute ``absent`` (rows of the file), not among the hooks. ``n`` is 0: a file
        does not say how many answers are behind it.

    Raises:
        ModelError: The file cannot be read, needs code to be run, is no such layout, names one
            layer or direction twice, or holds numbers that are not finite, or other layers than
            those of ``n_layers``; the message says what the file holds.
    """
    path = Path(path).expanduser()
    label = path.stem.removesuffix(_ending(path))
    parts = select_directions(path, load_tensors(path), name=name, label=label)
    layers = next(iter(parts.values())).layers
    stack = np.stack([part.rows for part in parts.values()])
    layout = _layout(path, layers, layout=layout, n_layers=n_layers, is_axis="axis" in parts)
    # a row of zeros, such as write_vectors writes for a block without a direction, is none
    present = stack.any(axis=(0, 2))
    if not present.any():
        raise ModelError(f"{path}: every row is zero; there is no direction in it.")
    blocks = np.array(layers)[present] + FIRST_BLOCK[layout]
    return xr.DataArray(
        stack[:, present],
        dims=("name", "hook", "d_model"),
        coords={
            "name": list(parts),
            "hook": [_hook(int(block)) for block in blocks],
            "hidden_state": ("hook", blocks + 1),
            "n": ("name", np.zeros(len(parts), int)),
        },
        attrs={
            "kind": "directions",
            "method": "read from a file",
            "reference": path.name,
            "layout": layout,
            "pool": _ending(path).strip("_").removesuffix("_diff"),
            "absent": np.array(layers)[~present].tolist(),
        },
    )


def write_vectors(
    directions: xr.DataArray,
    path: str | Path,
    *,
    name: str | None = None,
    layout: str = "persona_vectors",
    n_layers: int | None = None,
) -> Path:
    """Write a direction to a file that the other tool reads.

    Args:
        directions: Directions of ``record``; hooks are outputs of blocks (persona_vectors also the
            embedding).
        path: A ``.pt`` file; an existing one is replaced. persona_vectors expects
            ``<trait>_response_avg_diff.pt``.
        name: Which direction; may be left out where there is one.
        layout: persona_vectors or assistant_axis; both are written as one float32 tensor.
        n_layers: Number of blocks of the model. None: the hooks must be all blocks from 0. Where it
            is given, blocks without a direction get zeros, which change nothing when they are
            added.

    Returns:
        The path.

    Raises:
        SchemaError: Not one direction, blocks that are missing or too high, or an unknown layout.
        ModelError: A hook is not the output of a block.
    """
    schema.check(directions, "directions")
    path = Path(path).expanduser()
    if layout not in LAYOUTS:
        raise SchemaError(unknown("layout", layout, LAYOUTS))
    names = [str(n) for n in directions["name"].values]
    if name is None and len(names) > 1:
        raise SchemaError(f"the file holds one direction; say which of {', '.join(names)}: name=.")
    if name is not None and name not in names:
        raise SchemaError(unknown("direction", name, names))
    index = 0 if name is None else names.index(name)
    direction = directions.isel(name=index).transpose("hook", "d_model")
    blocks = [block_of(str(hook)) for hook in direction["hook"].values]
    n_blocks = n_layers
    if n_blocks is None:
        n_blocks = max(blocks) + 1
    missing = sorted(set(range(n_blocks)) - set(blocks))
    if max(blocks) >= n_blocks or (missing and n_layers is None):
        raise SchemaError(
            f"a file holds one row for each block; blocks {sorted(blocks)} of {n_blocks} have a "
            f"direction and {missing} have none. Record every hook, or give n_layers= of the model "
            "to write zeros there."
        )
    first = FIRST_BLOCK[layout]
    if min(blocks) < first:
        raise SchemaError(
            f"layout {layout} has no row for the embedding ({EMBEDDING}); leave that hook out."
        )
    rows = torch.zeros(n_blocks - first, direction.sizes["d_model"])
    row_numbers = [block - first for block in blocks]
    rows[row_numbers] = torch.tensor(direction.to_numpy()).float()
    write_tensors(rows, path)
    return path


def _hook(block: int) -> str:
    if block < 0:
        return EMBEDDING
    return f"blocks.{block}.hook_out"


def _ending(path: Path) -> str:
    """Part of a file's name that persona_vectors puts after the trait; "" in other names."""
    for ending in ENDINGS:
        if path.stem.endswith(ending):
            return ending
    return ""


def _layout(
    path: Path,
    layers: Sequence[int],
    *,
    layout: str | None,
    n_layers: int | None,
    is_axis: bool,
) -> str:
    """Layout of a file: as told, else as its content, its name or its number of rows says."""
    n_rows = len(layers)
    is_whole = layers[-1] == n_rows - 1  # else some layers are left out
    if layout is not None and layout not in LAYOUTS:
        raise SchemaError(unknown("layout", layout, LAYOUTS))
    if layout is None:
        if is_axis or "axis" in path.stem:
            layout = "assistant_axis"
        elif path.stem.endswith("_diff"):
            layout = "persona_vectors"
        elif n_layers is not None and is_whole:
            by_rows = {n_layers + 1: "persona_vectors", n_layers: "assistant_axis"}
            layout = by_rows.get(n_rows, "assistant_axis")
    if layout is None:
        raise ModelError(
            f"{path} does not say how its {n_rows} rows count layers: persona_vectors (row l = "
            "output of block l - 1) or assistant_axis (row l = output of block l)? Give layout=, "
            "or n_layers= of the model where there is a row for each."
        )
    if n_layers is None:
        return layout
    n_expected = n_layers - FIRST_BLOCK[layout]
    if n_rows != n_expected and (is_whole or layers[-1] >= n_expected):
        raise ModelError(
            f"{path} has {n_rows} rows, the last of layer {layers[-1]}; a model of {n_layers} "
            f"blocks has {n_layers} (assistant_axis) or {n_layers + 1} (persona_vectors). It was "
            "made for another model, or in the other layout."
        )
    return layout
