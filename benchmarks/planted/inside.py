"""Residuals and features at prompts, as the rooms of the package exchange them."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr

HOOK = "blocks.1.hook_out"


def residuals(act: np.ndarray, along: Mapping[str, Any]) -> xr.Dataset:
    """Activations, dims (checkpoint, prompt, d_model), with coordinates along the prompts."""
    data = xr.Dataset({"act": (("checkpoint", "prompt", "d_model"), act)})
    return _labelled(data, along).assign_attrs(hook=HOOK, token_ids="x")


def features(act: np.ndarray, along: Mapping[str, Any]) -> xr.Dataset:
    """Features, dims (checkpoint, prompt, feature), with coordinates along the prompts."""
    data = xr.Dataset({"act": (("checkpoint", "prompt", "feature"), act)})
    data = data.assign(fvu=(("checkpoint", "prompt"), np.full(act.shape[:2], 0.05)))
    data = _labelled(data, along).assign_coords(feature=range(act.shape[2]))
    return data.assign_attrs(hook=HOOK, token_ids="x", dictionary="planted")


def readouts(values: np.ndarray, along: Mapping[str, Any]) -> xr.DataArray:
    """Readouts, dims (name, checkpoint, prompt)."""
    array = xr.DataArray(values, dims=("name", "checkpoint", "prompt"))
    array = array.assign_coords(name=[f"r{i}" for i in range(len(values))])
    return _labelled(array, along)


def directions(vectors: np.ndarray, names: list[str]) -> xr.DataArray:
    """Directions, dims (name, hook, d_model), from vectors (name, d_model)."""
    array = xr.DataArray(vectors[:, None], dims=("name", "hook", "d_model"))
    return array.assign_coords(name=names, hook=[HOOK])


def sparse(
    rng: np.random.Generator, shape: tuple[int, ...], *, rate: np.ndarray | float
) -> np.ndarray:
    """Activations that are 0 but for a share ``rate`` of the entries, which are exponential."""
    return np.where(rng.random(shape) < rate, rng.exponential(size=shape), 0.0)


def _labelled(data: Any, along: Mapping[str, Any]) -> Any:
    n = data.sizes["prompt"]
    labels = [f"lesson@{i}" for i in range(data.sizes["checkpoint"])]
    data = data.assign_coords(checkpoint=labels, prompt=[f"p{i}" for i in range(n)])
    return data.assign_coords({name: ("prompt", list(values)) for name, values in along.items()})
