"""What do directions and sets of features read at each prompt?

Readouts are the form in which both can be compared.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr
from einops import rearrange

from persona_interp import schema
from persona_interp.errors import SchemaError, unknown
from persona_interp.values import check_mapping

ATTRS = ("hook", "position", "token_ids")
"""Attributes of the data that its readouts have too."""


def readouts(
    acts: xr.Dataset | None = None,
    feats: xr.Dataset | None = None,
    *,
    directions: xr.DataArray | None = None,
    spans: Mapping[str, Sequence[str]] | None = None,
    sets: Mapping[str, Sequence[int]] | None = None,
) -> xr.DataArray:
    """How far each prompt is along each direction, and how active each set of features is there.

    Args:
        acts: Activations at one hook; with ``directions``.
        feats: Features on the same prompts; with ``sets``.
        directions: Dims (name, hook, d_model), residual units. The readout is ``<h - m, v> / <v,
            v>``, m the mean residual over the prompts of the first checkpoint: 0 = an average
            prompt of the base, 1 = a whole vector further.
        spans: Name -> names of directions; the readout is the length of the projection of ``h - m``
            on their span, in residual units: how far the prompt is from average within that
            subspace, in whichever direction.
        sets: Name -> features; the readout is the sum of their activations. A list of one is a
            single feature.

    Returns:
        Readouts, dims (name, checkpoint, prompt), float64, with the coordinates of the prompts and
        checkpoints; directions first. Attributes: hook, position, token_ids. For dictionaries of
        several kinds call it again and ``xr.concat`` along name.

    Raises:
        SchemaError: Activations without directions or features without sets (or the other way
            around), another hook, width, prompts or tokens, an unknown feature, a direction of
            length 0, or a name twice.

    >>> act = [[[1.0, 0.0], [3.0, 0.0]]]
    >>> acts = xr.Dataset({"act": (("checkpoint", "prompt", "d_model"), act)}, attrs={"hook": "h"})
    >>> acts = acts.assign_coords(checkpoint=["base@0"], prompt=["a", "b"])
    >>> coords = {"name": ["john"], "hook": ["h"]}
    >>> john = xr.DataArray([[[2.0, 0.0]]], dims=("name", "hook", "d_model"), coords=coords)
    >>> readouts(acts, directions=john).values.tolist()
    [[[-0.5, 0.5]]]
    """
    for data, readers, what in ((acts, directions, "directions"), (feats, sets, "sets")):
        if (data is None) != (readers is None):
            raise SchemaError(
                f"{what} and what they read come together: acts with directions, feats with sets."
            )
    parts = []
    if acts is not None and directions is not None:
        parts.append(_projections(acts, directions, spans or {}))
    if feats is not None and sets is not None:
        parts.append(_sums(feats, sets))
    if not parts:
        raise SchemaError(
            "nothing to read out; give acts and directions, or feats and sets, or all four."
        )
    if len(parts) == 2:
        _check_alike(*parts)
    table = xr.concat(
        parts,
        "name",
        coords="minimal",
        compat="override",
        join="exact",
        combine_attrs="drop_conflicts",
    )
    names = [str(name) for name in table["name"].to_numpy()]
    if len(set(names)) < len(names):
        raise SchemaError(f"every readout needs a name of its own; got {', '.join(names)}.")
    return table.transpose("name", "checkpoint", "prompt")


def _label(values: np.ndarray, data: xr.Dataset, names: Sequence[str]) -> xr.DataArray:
    """Readouts with the coordinates of the data along checkpoint and prompt."""
    coords: dict[Any, Any] = {}
    for name, coordinate in data.coords.items():
        if coordinate.dims in (("prompt",), ("checkpoint",)):
            coords[name] = coordinate
    coords["name"] = list(names)
    attrs = {name: data.attrs[name] for name in ATTRS if name in data.attrs}
    return xr.DataArray(values, dims=("name", "checkpoint", "prompt"), coords=coords, attrs=attrs)


def _projections(
    acts: xr.Dataset, directions: xr.DataArray, spans: Mapping[str, Sequence[str]]
) -> xr.DataArray:
    """Readouts of the directions and of their spans."""
    schema.check(acts, "activations")
    if set(directions.dims) != {"name", "hook", "d_model"}:
        raise SchemaError(f"directions have dims (name, hook, d_model); got {directions.dims}.")
    hook, hooks = acts.attrs.get("hook"), [str(h) for h in directions["hook"].to_numpy()]
    if hook not in hooks:
        raise SchemaError(
            f"{unknown('hook', str(hook), hooks)} Record activations where the directions were "
            "found."
        )
    vectors = directions.sel(hook=hook).transpose("name", "d_model").to_numpy().astype(np.float64)
    if vectors.shape[1] != acts.sizes["d_model"]:
        raise SchemaError(
            f"directions of width {vectors.shape[1]} cannot read width {acts.sizes['d_model']}."
        )
    names = [str(name) for name in directions["name"].to_numpy()]
    squares = (vectors**2).sum(axis=1)
    if not squares.all():
        raise SchemaError(
            f"direction {names[int(np.argmin(squares))]!r} has length 0; it reads nothing."
        )
    act = acts["act"].to_numpy().astype(np.float64)
    # From an average prompt of the base: residuals share a large part whatever the prompt says.
    away = act - act[0].mean(axis=0)
    along = away @ (vectors / squares[:, None]).T
    values = list(rearrange(along, "checkpoint prompt name -> name checkpoint prompt"))
    check_mapping(spans, "spans", of="directions")
    for members in spans.values():
        if missing := [name for name in members if name not in names]:
            raise SchemaError(unknown("direction of a span", missing[0], names))
        basis, _ = np.linalg.qr(vectors[[names.index(name) for name in members]].T)
        values.append(np.linalg.norm(away @ basis, axis=-1))
    return _label(np.stack(values), acts, [*names, *spans])


def _sums(feats: xr.Dataset, sets: Mapping[str, Sequence[int]]) -> xr.DataArray:
    """Readouts of the sets of features."""
    schema.check(feats, "features")
    indices = feats["feature"].to_numpy().tolist()
    check_mapping(sets, "sets", of="features")
    for features in sets.values():
        for feature in features:
            if feature not in indices:
                raise SchemaError(
                    f"feature {feature} is unknown; this dictionary has {len(indices)}: 0 to "
                    f"{indices[-1]}."
                )
    if not sets or not all(len(features) for features in sets.values()):
        raise SchemaError(f"every set needs at least one feature; got {dict(sets)}.")
    act = feats["act"].to_numpy().astype(np.float64)
    sums = []
    for features in sets.values():
        columns = [indices.index(feature) for feature in features]
        sums.append(act[..., columns].sum(axis=-1))
    return _label(np.stack(sums), feats, list(sets))


def _check_alike(one: xr.DataArray, other: xr.DataArray) -> None:
    """Raise unless both are of the same prompts, checkpoints and tokens."""
    for dim in ("checkpoint", "prompt"):
        if not np.array_equal(one[dim].to_numpy(), other[dim].to_numpy()):
            raise SchemaError(
                f"activations and features are not of the same {dim}s in the same order; record "
                "alike."
            )
    if one.attrs.get("token_ids") != other.attrs.get("token_ids"):
        raise SchemaError(
            "activations and features are of different token_ids; record both on the same prompts."
        )
