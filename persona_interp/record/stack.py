"""How do activations of several hooks become one array, and vectors labelled directions?"""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from persona_interp import schema
from persona_interp.errors import SchemaError, unknown
from persona_interp.models.sites import hidden_state

Acts = xr.Dataset | Iterable[xr.Dataset]

PROVENANCE = ("checkpoint", "weights", "position", "token_ids")


def stack_hooks(acts: Acts, checkpoint: str | None) -> xr.DataArray:
    """Residuals of one checkpoint at all these hooks.

    Args:
        acts: Dataset of ``record.activations``, or several of the same prompts at distinct hooks.
        checkpoint: Label of a checkpoint; the first by default.

    Returns:
        Residuals, dims (hook, prompt, d_model), float64, with the coordinates of the prompts;
        attributes checkpoint, weights, position and token_ids ("" where not known).

    Raises:
        SchemaError: No activations, an unknown checkpoint, a hook twice or different prompts.
    """
    parts = schema.list_datasets(acts)
    if not parts:
        raise SchemaError("directions are made of activations; got none.")
    hooks = [str(schema.check(part, "activations").attrs.get("hook", "")) for part in parts]
    if "" in hooks or len(set(hooks)) < len(hooks):
        raise SchemaError(f"expected activations of distinct hooks, one Dataset each; got {hooks}.")
    label = checkpoint
    if label is None:
        label = str(parts[0]["checkpoint"].to_numpy()[0])
    rows = []
    for part in parts:
        if label not in part["checkpoint"]:
            raise SchemaError(unknown("checkpoint", label, part["checkpoint"].to_numpy()))
        rows.append(part.sel(checkpoint=label)["act"].astype(np.float64))
    try:
        residuals = xr.concat(rows, "hook", join="exact", coords="minimal", compat="override")
    except ValueError as error:
        raise SchemaError(
            f"these activations do not have the same prompts and width: {error}"
        ) from error
    weights = ""
    if "weights" in rows[0].coords:
        weights = str(rows[0]["weights"].item())
    return residuals.assign_coords(hook=hooks).assign_attrs(
        checkpoint=label,
        weights=weights,
        position=str(parts[0].attrs.get("position", "")),
        token_ids=str(parts[0].attrs.get("token_ids", "")),
    )


def prompt_labels(residuals: xr.DataArray, coordinate: str) -> npt.NDArray[np.str_]:
    """Text of a coordinate at every prompt.

    Args:
        residuals: Of ``stack_hooks``.
        coordinate: Name of a coordinate along ``prompt``.

    Returns:
        A string a prompt.

    Raises:
        SchemaError: There is no such coordinate.
    """
    valid = [str(key) for key, values in residuals.coords.items() if values.dims == ("prompt",)]
    if coordinate not in valid:
        raise SchemaError(unknown("coordinate along prompt", coordinate, valid))
    return residuals[coordinate].to_numpy().astype(str)


def label_directions(
    vectors: npt.ArrayLike,
    residuals: xr.DataArray,
    *,
    names: Sequence[str],
    n: npt.ArrayLike,
    method: str,
    reference: str,
) -> xr.DataArray:
    """Directions with their names, hooks and provenance.

    Args:
        vectors: Dims (name, hook, d_model), residual units.
        residuals: What they were computed from, of ``stack_hooks``.
        names: A name each.
        n: Prompts or pairs behind each.
        method: How they were computed.
        reference: What a name is compared with.

    Returns:
        Directions, float32, with ``hidden_state`` along hook.
    """
    hooks = [str(hook) for hook in residuals["hook"].to_numpy()]
    coords: dict[str, Any] = {
        "name": list(names),
        "hook": hooks,
        "hidden_state": ("hook", [hidden_state(hook) for hook in hooks]),
        "d_model": residuals["d_model"].to_numpy(),
        "n": ("name", np.asarray(n)),
        # the length of a usual residual, so that a push can be told as a fraction of it
        "norm": ("hook", np.linalg.norm(residuals.to_numpy(), axis=-1).mean(1)),
    }
    attrs = {
        "kind": "directions",
        "method": method,
        "reference": reference,
        **{name: str(residuals.attrs[name]) for name in PROVENANCE},
        "n": residuals.sizes["prompt"],
    }
    return xr.DataArray(
        np.asarray(vectors, np.float32),
        dims=("name", "hook", "d_model"),
        coords=coords,
        attrs=attrs,
    )
