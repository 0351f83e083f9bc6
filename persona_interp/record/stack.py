"""How do activations of several hooks become one array, and numbers labelled directions?"""

import re
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from persona_interp import schema
from persona_interp.errors import SchemaError, unknown

Acts = xr.Dataset | Iterable[xr.Dataset]


def stacked(acts: Acts, checkpoint: str | None) -> xr.DataArray:
    """What are the residuals of one checkpoint at all these hooks?

    Args:
        acts: Dataset of ``record.activations``, or several of the same prompts at distinct hooks.
        checkpoint: Label of a checkpoint; the first by default.

    Returns:
        Residuals, dims (hook, prompt, d_model), float64, with the coordinates of the prompts;
        attributes checkpoint, weights, position and token_ids ("" where not known).

    Raises:
        SchemaError: No activations, an unknown checkpoint, a hook twice or different prompts.
    """
    parts = [acts] if isinstance(acts, xr.Dataset) else list(acts)
    if not parts:
        raise SchemaError("directions are made of activations; got none.")
    rows, hooks = (
        [],
        [str(schema.check(part, "activations").attrs.get("hook", "")) for part in parts],
    )
    if "" in hooks or len(set(hooks)) < len(hooks):
        raise SchemaError(f"expected activations of distinct hooks, one Dataset each; got {hooks}.")
    labels = [str(label) for label in parts[0]["checkpoint"].to_numpy()]
    label = labels[0] if checkpoint is None else checkpoint
    for part in parts:
        if label not in part["checkpoint"]:
            raise SchemaError(unknown("checkpoint", label, part["checkpoint"].to_numpy()))
        rows.append(part.sel(checkpoint=label)["act"].astype(np.float64))
    try:
        whole = xr.concat(rows, "hook", join="exact", coords="minimal", compat="override")
    except ValueError as error:
        raise SchemaError(
            f"these activations do not have the same prompts and width: {error}"
        ) from error
    said = {name: str(parts[0].attrs.get(name, "")) for name in ("position", "token_ids")}
    weights = str(rows[0]["weights"].item()) if "weights" in rows[0].coords else ""
    return whole.assign_coords(hook=hooks).assign_attrs(checkpoint=label, weights=weights, **said)


def along(rows: xr.DataArray, name: str) -> npt.NDArray[np.str_]:
    """What does this coordinate say of every prompt?

    Args:
        rows: Of ``stacked``.
        name: A coordinate along ``prompt``.

    Returns:
        A string a prompt.

    Raises:
        SchemaError: There is no such coordinate.
    """
    valid = [str(key) for key, values in rows.coords.items() if values.dims == ("prompt",)]
    if name not in valid:
        raise SchemaError(unknown("coordinate along prompt", name, valid))
    return rows[name].to_numpy().astype(str)


def hidden_state(hook: str) -> int:
    """Which entry of transformers' ``hidden_states`` is the residual at this hook?

    Args:
        hook: Canonical hook name.

    Returns:
        The output of block i is entry i + 1, its input entry i; -1 for hooks that are no entry.
        (The last entry of transformers is after the final norm, the hook before it.)

    >>> hidden_state("blocks.3.hook_out"), hidden_state("blocks.3.hook_in"), hidden_state("blocks.3.mlp.hook_out")
    (4, 3, -1)
    """
    block = re.fullmatch(r"blocks\.(\d+)\.hook_(in|out)", hook)
    return int(block[1]) + (block[2] == "out") if block else -1


def made_directions(
    vectors: npt.ArrayLike,
    rows: xr.DataArray,
    *,
    names: Sequence[str],
    n: npt.ArrayLike,
    **said: str,
) -> xr.DataArray:
    """Which labelled directions are these vectors?

    Args:
        vectors: Dims (name, hook, d_model), residual units.
        rows: Residuals they were made from, of ``stacked``.
        names: A name each.
        n: Prompts or pairs behind each.
        said: Method and reference, kept as attributes.

    Returns:
        Directions, float32, with ``hidden_state`` along hook.
    """
    hooks = [str(hook) for hook in rows["hook"].to_numpy()]
    coords: dict[str, Any] = {
        "name": list(names),
        "hook": hooks,
        "hidden_state": ("hook", [hidden_state(hook) for hook in hooks]),
        "d_model": rows["d_model"].to_numpy(),
        "n": ("name", np.asarray(n)),
        "norm": ("hook", np.linalg.norm(rows.to_numpy(), axis=-1).mean(1)),
    }
    kept = {
        name: str(rows.attrs[name]) for name in ("checkpoint", "weights", "position", "token_ids")
    }
    attrs = {"kind": "directions", **said, **kept, "n": rows.sizes["prompt"]}
    return xr.DataArray(
        np.asarray(vectors, np.float32),
        dims=("name", "hook", "d_model"),
        coords=coords,
        attrs=attrs,
    )
