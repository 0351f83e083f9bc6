"""Which directions does this ``.pt`` file of another tool hold, and how are ours written so that it reads them?

Both layouts are tensors of one row a layer, and they count layers differently:

- **persona_vectors** (``*_diff.pt``): ``[layers + 1, d_model]``, row l = Hugging Face's
  ``hidden_states[l]``: row 0 the embedding, row l the output of block l - 1. (In files that tool
  made, the last row was read after the final norm.)
- **assistant_axis**: ``[layers, d_model]``, row l = the output of block l. A bare tensor, or a dict
  of ``axis``, ``default_mean``, ``role_mean``, ``n_default``, ``n_roles``, or of ``vector``,
  ``type``, ``role``, or tensors by name.

Files are read with ``torch.load(weights_only=True)`` only: nothing in them is ever executed.
"""

import re
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import xarray as xr

from persona_interp import schema
from persona_interp.errors import ModelError, SchemaError, unknown

LAYOUTS = ("persona_vectors", "assistant_axis")
POOLS = ("_response_avg_diff", "_prompt_avg_diff", "_prompt_last_diff", "_diff")
AXIS_PARTS = ("axis", "default_mean", "role_mean")
EMBEDDING = "blocks.0.hook_in"

Rows = npt.NDArray[np.float32]


def read_vectors(
    path: str | Path,
    *,
    name: str | None = None,
    layout: str | None = None,
    n_layers: int | None = None,
) -> xr.DataArray:
    """Which directions does this file hold?

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
        ModelError: The file cannot be read, needs code to be run, is no such layout, or holds
            numbers that are not finite, or another number of layers than ``n_layers``; the message
            says what was found.
    """
    path = Path(path).expanduser()
    tensors = _named(path, load_tensors(path), name)
    made = {called: rows_of(path, called, value) for called, value in tensors.items()}
    if len({rows.shape for rows in made.values()}) > 1:
        shapes = ", ".join(f"{called} {rows.shape}" for called, rows in made.items())
        raise ModelError(f"{path}: all directions of a file have one shape; got {shapes}.")
    stack = np.stack(list(made.values()))
    which = _layout(
        path, stack.shape[1], layout=layout, n_layers=n_layers, is_axis=AXIS_PARTS[0] in made
    )
    first = -1 if which == "persona_vectors" else 0  # block of row 0
    used = np.flatnonzero(stack.any(axis=(0, 2)))
    if not len(used):
        raise ModelError(f"{path}: every row is zero; there is no direction in it.")
    blocks = used + first
    pool = next(
        (p.strip("_").removesuffix("_diff") for p in POOLS[:-1] if path.stem.endswith(p)), ""
    )
    said = {
        "kind": "directions",
        "method": "read from a file",
        "reference": path.name,
        "layout": which,
        "pool": pool,
    }
    return xr.DataArray(
        stack[:, used],
        dims=("name", "hook", "d_model"),
        coords={
            "name": list(made),
            "hook": [EMBEDDING if b < 0 else f"blocks.{b}.hook_out" for b in blocks],
            "hidden_state": ("hook", blocks + 1),
            "n": ("name", np.zeros(len(made), int)),
        },
        attrs=said | {"absent": [int(i) for i in range(stack.shape[1]) if i not in used]},
    )


def write_vectors(
    directions: xr.DataArray,
    path: str | Path,
    *,
    name: str | None = None,
    layout: str = "persona_vectors",
    n_layers: int | None = None,
) -> Path:
    """Where are these directions kept so that the other tool reads them?

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
        SchemaError: Not one direction, hooks that are no outputs of blocks, blocks that are missing
            or too high, or an unknown layout.
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
    chosen = directions.isel(name=names.index(name) if name else 0)
    blocks = [block_of(str(hook)) for hook in chosen["hook"].values]
    highest = max(blocks) + 1 if n_layers is None else n_layers
    missing = sorted(set(range(highest)) - set(blocks))
    if max(blocks) >= highest or (missing and n_layers is None):
        raise SchemaError(
            f"a file holds one row for each block; blocks {sorted(blocks)} of {highest} have a "
            "direction and "
            f"{missing} have none. Record every hook, or give n_layers= of the model to write "
            "zeros there."
        )
    first = -1 if layout == "persona_vectors" else 0
    if min(blocks) < first:
        raise SchemaError(
            f"layout {layout} has no row for the embedding ({EMBEDDING}); leave that hook out."
        )
    rows = torch.zeros(highest - first, chosen.sizes["d_model"])
    rows[[block - first for block in blocks]] = torch.tensor(
        chosen.transpose("hook", "d_model").to_numpy()
    ).float()
    torch.save(rows, path)
    return path


def load_tensors(path: Path) -> Any:
    """What does this ``.pt`` file hold?

    Args:
        path: The file.

    Returns:
        Tensors, numbers, texts, and lists and dicts of them.

    Raises:
        ModelError: The file is missing or broken, or needs code to be run, which is never done.
    """
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings(
                "ignore", "Detected pickle protocol", UserWarning
            )  # an error where it matters
            return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # whatever a broken or hostile file raises
        said = str(error)
        asked = re.search(r"GLOBAL ([\w.]+)", said)
        # torch advises to load such a file without the restriction; that advice is not passed on
        plain = "" if "weights_only" in said else said.split("\n")[0]
        reason = f"it asks for {asked[1].rstrip('.')}" if asked else plain or type(error).__name__
        raise ModelError(
            f"{path} cannot be read as tensors, numbers and texts; nothing else is loaded, because "
            "a pickle can run "
            f"any code: {reason}"
        ) from error


def rows_of(path: Path, name: str, given: Any) -> Rows:
    """Which rows of numbers are these?

    Args:
        path: The file, for messages.
        name: What they are called there.
        given: What should be a tensor [layers, d_model].

    Returns:
        Its rows, float32.

    Raises:
        ModelError: It is no dense tensor of floats of that shape, or has numbers that are not
            finite.
    """
    if (
        not isinstance(given, torch.Tensor)
        or given.layout != torch.strided
        or not given.is_floating_point()
    ):
        raise ModelError(
            f"{path}: '{name}' must be a dense tensor of floats; found {described(given)}."
        )
    if given.ndim != 2 or not given.numel():
        raise ModelError(
            f"{path}: '{name}' must be [layers, d_model]; found the shape {tuple(given.shape)}."
        )
    rows = given.detach().float().numpy()
    if bad := np.flatnonzero(~np.isfinite(rows).all(axis=1)).tolist():
        raise ModelError(
            f"{path}: '{name}' has numbers that are not finite in rows {bad[:8]}; it was not "
            "computed well."
        )
    return rows


def block_of(hook: str) -> int:
    """Which block's output is this?

    Args:
        hook: Hook name, canonical or by its alias ``hook_resid_post``.

    Returns:
        Number of the block; -1 for the embedding (``blocks.0.hook_in``).

    Raises:
        SchemaError: It is not the output of a block.

    >>> block_of("blocks.3.hook_out")
    3
    """
    head, _, tail = hook.partition(".hook_")
    number = head.removeprefix("blocks.")
    if hook == EMBEDDING:
        return -1
    if (
        not hook.startswith("blocks.")
        or tail not in ("out", "resid_post")
        or not number.isdecimal()
    ):
        raise SchemaError(
            f"'{hook}' is not the output of a block, which is what these files hold; see "
            "blocks.0.hook_out."
        )
    return int(number)


def described(given: Any) -> str:
    """What is this, in a few words?

    Args:
        given: What a file holds.

    Returns:
        Its type, and its shape or keys.

    >>> described(torch.zeros(2, 3))
    'a tensor (2, 3) of float32'
    """
    if isinstance(given, torch.Tensor):
        return f"a tensor {tuple(given.shape)} of {str(given.dtype).removeprefix('torch.')}"
    if isinstance(given, Mapping):
        return "a dict of " + (
            ", ".join(f"{key} ({type(value).__name__})" for key, value in list(given.items())[:8])
            or "nothing"
        )
    return f"{type(given).__name__} {str(given)[:40]!r}"


def _named(path: Path, given: Any, name: str | None) -> dict[str, Any]:
    """The tensors that a file of either layout holds, by name."""
    if isinstance(given, torch.Tensor):
        ending = next((p for p in POOLS if path.stem.endswith(p)), "")
        return {name or path.stem.removesuffix(ending): given}
    if not isinstance(given, Mapping) or not given:
        raise ModelError(
            f"{path}: expected a tensor [layers, d_model] or a dict of them; found "
            f"{described(given)}."
        )
    if "vector" in given and "role" in given:
        return {name or str(given["role"]): given["vector"]}
    tensors = {str(key): value for key, value in given.items() if isinstance(value, torch.Tensor)}
    other = [str(key) for key in given if str(key) not in tensors]
    if "axis" in tensors:
        tensors = {key: tensors[key] for key in AXIS_PARTS if key in tensors}
    elif other or not tensors:
        raise ModelError(
            f"{path}: expected axis, vector and role, or tensors by name; found {described(given)}."
        )
    if name is not None and name not in tensors:
        raise ModelError(f"{path}: {unknown('direction', name, tensors)}")
    return tensors if name is None else {name: tensors[name]}


def _layout(
    path: Path, n_rows: int, *, layout: str | None, n_layers: int | None, is_axis: bool
) -> str:
    if layout is not None and layout not in LAYOUTS:
        raise SchemaError(unknown("layout", layout, LAYOUTS))
    if layout is None and (is_axis or "axis" in path.stem):
        layout = "assistant_axis"
    elif layout is None and path.stem.endswith("_diff"):
        layout = "persona_vectors"
    elif layout is None and n_layers is not None:
        layout = {n_layers + 1: "persona_vectors", n_layers: "assistant_axis"}.get(n_rows)
    if layout is None and n_layers is None:
        raise ModelError(
            f"{path} does not say how its {n_rows} rows count layers: persona_vectors (row l = "
            "output of block l - 1) "
            "or assistant_axis (row l = output of block l)? Give layout=, or n_layers= of the "
            "model."
        )
    expected = None if n_layers is None else n_layers + (layout != "assistant_axis")
    if layout is None or (expected is not None and n_rows != expected):
        raise ModelError(
            f"{path} has {n_rows} rows; a model of {n_layers} blocks has {n_layers} "
            "(assistant_axis) or "
            f"{(n_layers or 0) + 1} (persona_vectors). It was made for another model, or in the "
            "other layout."
        )
    return layout
