"""Which weighted sum of prompts is a direction? Those of one name minus those of the others."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
import xarray as xr
from einops import einsum

from persona_interp.errors import SchemaError


class Contrasts(NamedTuple):
    """Directions as weights of the prompts.

    Attributes:
        names: Names.
        weights: Dims (name, prompt); each row sums to 0.
        n: Prompts or match keys behind each name.
    """

    names: list[str]
    weights: npt.NDArray[np.float64]
    n: npt.NDArray[np.intp]


def weigh_prompts(
    weights: npt.NDArray[np.float64], residuals: xr.DataArray
) -> npt.NDArray[np.float64]:
    """Weighted sums of the residuals over prompts.

    Args:
        weights: Dims (name, prompt).
        residuals: Dims (hook, prompt, d_model), of ``stack_hooks``.

    Returns:
        Vectors, dims (name, hook, d_model).
    """
    pattern = "name prompt, hook prompt d_model -> name hook d_model"
    return einsum(weights, residuals.to_numpy(), pattern)


def name_contrasts(
    owners: npt.NDArray[np.str_], keys: npt.NDArray[np.intp], *, by: str
) -> Contrasts:
    """Mean over keys of a name's mean there minus the mean of the other names' means there.

    Args:
        owners: A name a prompt; "" is nobody.
        keys: Number of the match key of every prompt.
        by: What the names are, for the error.

    Returns:
        One contrast a name, sorted; ``n`` counts match keys.

    Raises:
        SchemaError: A name without another one at any of its keys.
    """
    cells = pd.DataFrame({"name": owners, "key": keys})
    cells = cells.loc[cells["name"] != ""]
    # prompts of a name share its weight at a key; a key with one name alone compares nothing
    share = 1 / cells.groupby(["name", "key"])["key"].transform("size")
    others = cells.groupby("key")["name"].transform("nunique") - 1
    cells = cells.assign(share=share, others=others).loc[others > 0]
    names = sorted(set(cells["name"]))
    missing = sorted(set(owners) - set(names) - {""})
    if missing or not names:
        raise SchemaError(
            f"a direction needs another name to differ from; {by} "
            f"{', '.join(missing) or 'is empty and'} has none. "
            "Record prompts of at least two names, with the same match coordinates."
        )
    weights, n = np.zeros((len(names), len(owners))), np.zeros(len(names), int)
    for i, name in enumerate(names):
        own_keys = cells.loc[cells["name"] == name, "key"]
        here = cells.loc[cells["key"].isin(own_keys)]
        n[i] = here["key"].nunique()
        sign = np.where(here["name"] == name, 1.0, -1 / here["others"])
        weights[i, here.index] = sign * here["share"] / n[i]
    return Contrasts(names, weights, n)


def label_contrasts(labels: Mapping[str, Any], n_prompts: int) -> Contrasts:
    """Mean where true minus mean where false.

    Args:
        labels: By name, a boolean a prompt.
        n_prompts: How many prompts there are.

    Returns:
        One contrast a label; ``n`` counts the prompts where it is true.

    Raises:
        SchemaError: A label that is not one boolean a prompt, some true and some false.
    """
    weights, n = np.zeros((len(labels), n_prompts)), np.zeros(len(labels), int)
    for i, (name, marks) in enumerate(labels.items()):
        mask = np.asarray(marks, dtype=bool)
        if mask.shape != (n_prompts,) or mask.all() or not mask.any():
            raise SchemaError(
                f"label {name!r} takes one boolean for each of {n_prompts} prompts, some true and "
                f"some false; got {int(mask.sum())} true of {mask.size}."
            )
        weights[i] = mask / mask.sum() - ~mask / (~mask).sum()
        n[i] = mask.sum()
    return Contrasts(list(labels), weights, n)
