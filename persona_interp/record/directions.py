"""Which directions of the residual stand for a persona, a trait, or a finetune?

Every function answers with ``xarray.DataArray`` of dims (name, hook, d_model): raw residual units,
never unit length, so that "as far as the vector is long" means something. Coordinates: ``n`` along
name (prompts, or matched pairs, behind it) and ``norm`` along hook (mean length of the residuals
read, the unit of ``add(strength=)``). Attributes say the method, the reference, the position, the
token ids and the weights.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
import xarray as xr

from persona_interp import schema
from persona_interp.errors import SchemaError, unknown
from persona_interp.record.stack import Acts, along, made_directions, stacked

MATCHES = ("norm", "variance")


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


def mean_difference(
    acts: Acts,
    *,
    by: str = "persona",
    labels: Mapping[str, Sequence[bool] | npt.NDArray[np.bool_]] | None = None,
    checkpoint: str | None = None,
) -> xr.DataArray:
    """In which direction do the residuals of each name lie, seen from the others?

    ``v(name) = mean over its prompts - mean over the means of the other names``: a balanced
    reference, in which a name with many prompts weighs no more than one with few. With ``labels``,
    which may overlap, ``v = mean where true - mean where false`` (difference in means: Marks and
    Tegmark 2023; Panickssery et al. 2023). Positive = towards the name.

    Args:
        acts: Dataset of ``record.activations``, or several of the same prompts at distinct hooks.
        by: Coordinate along ``prompt`` that names; prompts named "" are left out.
        labels: Instead of ``by``: name -> boolean a prompt.
        checkpoint: Label of a checkpoint; the first by default.

    Returns:
        Directions, dims (name, hook, d_model), float32, residual units.

    Raises:
        SchemaError: No activations, an unknown checkpoint or coordinate, or a name with nothing to
            compare it with.

    >>> act = np.array([[[1.0, 0], [1, 0], [0, 1]]])
    >>> data = xr.Dataset({"act": (("checkpoint", "prompt", "d_model"), act)}, attrs={"hook": "blocks.0.hook_out"})
    >>> data = data.assign_coords(checkpoint=["base@0"], prompt=list("abc"), persona=("prompt", list("jjs")))
    >>> mean_difference(data).sel(name="j", hook="blocks.0.hook_out").values.tolist()
    [1.0, -1.0]
    """
    rows = stacked(acts, checkpoint)
    if labels is None:
        names = along(rows, by)
        found, weights, _ = _contrasts(names, np.zeros(len(names), int), by=by)
        n = np.array([(names == name).sum() for name in found])
        reference = f"mean of the means of the other names of {by}"
    else:
        found, weights, n = _masks(labels, rows.sizes["prompt"])
        reference = "mean of the prompts without the label"
    said = {"method": "mean difference", "reference": reference}
    return made_directions(
        np.einsum("np,hpd->nhd", weights, rows.to_numpy()), rows, names=found, n=n, **said
    )


def minimal_pairs(
    acts: Acts,
    *,
    by: str = "persona",
    match: Sequence[str] = ("topic", "template"),
    checkpoint: str | None = None,
) -> xr.DataArray:
    """In which direction do the residuals of each name lie, where nothing but the name differs?

    ``v(name) = mean over match keys of (h(name) - mean over the other names at the same key)``.
    Named probes differ in the header's name only; for a trait, pass prompts that differ in one
    stated value. Keys where a name stands alone are left out. Positive = towards the name.

    Args:
        acts: Dataset of ``record.activations``, or several of the same prompts at distinct hooks.
        by: Coordinate along ``prompt`` that names; prompts named "" are left out.
        match: Coordinates along ``prompt`` that are equal within a pair.
        checkpoint: Label of a checkpoint; the first by default.

    Returns:
        Directions, dims (name, hook, d_model), float32, residual units; ``n`` counts match keys.

    Raises:
        SchemaError: No activations, an unknown checkpoint or coordinate, or a name without a
            partner at any key.

    >>> act = np.array([[[1.0, 0], [0, 1], [5, 4], [4, 5]]])
    >>> data = xr.Dataset({"act": (("checkpoint", "prompt", "d_model"), act)}, attrs={"hook": "blocks.0.hook_out"})
    >>> data = data.assign_coords(checkpoint=["base@0"], prompt=list("abcd"), persona=("prompt", ["john", "sam"] * 2))
    >>> data = data.assign_coords(topic=("prompt", ["sport", "sport", "art", "art"]))
    >>> minimal_pairs(data, match=("topic",)).sel(name="john", hook="blocks.0.hook_out").values.tolist()
    [1.0, -1.0]
    """
    rows = stacked(acts, checkpoint)
    names, keys = along(rows, by), pd.DataFrame({m: along(rows, m) for m in match})
    numbers = keys.groupby(list(match), sort=False).ngroup().to_numpy()
    found, weights, n = _contrasts(names, numbers, by=by)
    said = {
        "method": "minimal pairs",
        "reference": f"mean of the other names of {by} at the same {', '.join(match)}",
    }
    return made_directions(
        np.einsum("np,hpd->nhd", weights, rows.to_numpy()), rows, names=found, n=n, **said
    )


def logistic(
    acts: Acts, *, by: str = "persona", C: float = 1.0, checkpoint: str | None = None
) -> xr.DataArray:
    """In which direction does a linear classifier see each name?

    Logistic regression of every name against the rest (scikit-learn, L2, balanced classes) on
    standardized residuals, mapped back to raw ones; scaled to the length of the name's
    ``mean_difference``, so that projections on both can be compared. Positive = towards the name.

    Args:
        acts: Dataset of ``record.activations``, or several of the same prompts at distinct hooks.
        by: Coordinate along ``prompt`` that names; prompts named "" are left out.
        C: Inverse strength of the L2 penalty.
        checkpoint: Label of a checkpoint; the first by default.

    Returns:
        Directions, dims (name, hook, d_model), float32, residual units.

    Raises:
        SchemaError: No activations, an unknown checkpoint or coordinate, or fewer than two names.

    >>> act = np.array([[[1.0, 5], [2, 5], [-1, 5], [-2, 5]]])
    >>> data = xr.Dataset({"act": (("checkpoint", "prompt", "d_model"), act)}, attrs={"hook": "blocks.0.hook_out"})
    >>> data = data.assign_coords(checkpoint=["base@0"], prompt=list("abcd"), persona=("prompt", list("jjss")))
    >>> logistic(data).sel(name="j", hook="blocks.0.hook_out").round(2).values.tolist()
    [3.0, 0.0]
    """
    from sklearn.linear_model import LogisticRegression  # takes a second to import
    from sklearn.preprocessing import StandardScaler

    parts = [acts] if isinstance(acts, xr.Dataset) else list(acts)
    rows, reference = (
        stacked(parts, checkpoint),
        mean_difference(parts, by=by, checkpoint=checkpoint),
    )
    named = along(rows, by)
    h, labels = rows.to_numpy()[:, named != ""], named[named != ""]
    vectors = np.empty(reference.shape)
    for j, x in enumerate(h):
        scaler = StandardScaler().fit(x)
        for i, name in enumerate(reference["name"].to_numpy()):
            model = LogisticRegression(C=C, class_weight="balanced", max_iter=5000)
            vectors[i, j] = model.fit(scaler.transform(x), labels == name).coef_[0] / scaler.scale_
    length, target = (
        np.linalg.norm(v, axis=-1, keepdims=True) for v in (vectors, reference.to_numpy())
    )
    vectors *= np.divide(target, length, out=np.zeros_like(length), where=length > 0)
    said = {"method": f"logistic regression, C={C:g}", "reference": f"the other names of {by}"}
    return made_directions(
        vectors, rows, names=list(reference["name"].values), n=reference["n"].to_numpy(), **said
    )


def random_directions(
    like: xr.DataArray, *, n: int, seed: int, match: str = "norm", acts: Acts | None = None
) -> xr.DataArray:
    """Which directions would chance give? The control of everything that is said about a vector.

    Args:
        like: Directions to be compared with; gives hooks, and at every hook the length: the mean
            over its names.
        n: Directions.
        seed: Of the draw.
        match: "norm" = uniform on the sphere; "variance" = drawn from the covariance of ``acts``,
            then brought to that length: a direction in which these residuals do vary.
        acts: With "variance": activations at the hooks of ``like`` (first checkpoint).

    Returns:
        Directions "random 0", ..., dims (name, hook, d_model), float32, residual units.

    Raises:
        SchemaError: No directions, an unknown match, or "variance" without activations at these
            hooks.

    >>> john = xr.DataArray(np.ones((1, 1, 4)), dims=("name", "hook", "d_model"), attrs={"kind": "directions"})
    >>> john = john.assign_coords(name=["john"], hook=["blocks.0.hook_out"])
    >>> np.linalg.norm(random_directions(john, n=2, seed=0).values, axis=-1).round(2).tolist()
    [[2.0], [2.0]]
    """
    like = schema.check(like, "directions")
    if match not in MATCHES:
        raise SchemaError(unknown("match", match, MATCHES))
    if (match == "variance") != (acts is not None):
        raise SchemaError(
            'match="variance" draws from the covariance of acts=, and nothing else takes acts; give both.'
        )
    rng, hooks = np.random.default_rng(seed), [str(hook) for hook in like["hook"].values]
    if acts is None:
        drawn = rng.standard_normal((n, *like.shape[1:]))
    else:
        rows = stacked(acts, None)
        if missing := [hook for hook in hooks if hook not in set(rows["hook"].values)]:
            raise SchemaError(unknown("hook of the activations", missing[0], rows["hook"].values))
        h = rows.sel(hook=hooks).to_numpy()
        drawn = np.einsum(
            "nhp,hpd->nhd",
            rng.standard_normal((n, len(hooks), h.shape[1])),
            h - h.mean(1, keepdims=True),
        )
    length = np.linalg.norm(like.to_numpy().astype(np.float64), axis=-1).mean(0)
    drawn *= length[:, None] / np.linalg.norm(drawn, axis=-1, keepdims=True)
    made = like.isel(name=[0] * n).copy(data=drawn.astype(np.float32))
    made = made.assign_coords(name=[f"random {i}" for i in range(n)], n=("name", np.zeros(n, int)))
    return made.assign_attrs(
        kind="directions", method=f"random, seed {seed}", reference=f"matched in {match}", n=0
    )


def _contrasts(names: npt.NDArray[np.str_], keys: npt.NDArray[np.intp], *, by: str) -> Contrasts:
    """Mean over keys of a name's mean there minus the mean of the other names' means there, as weights of the prompts.

    Args:
        names: A name a prompt; "" is nobody.
        keys: Number of the match key of every prompt.
        by: What the names are, for the error.
    """
    cells = pd.DataFrame({"name": names, "key": keys})
    cells = cells.loc[cells["name"] != ""]
    share = 1 / cells.groupby(["name", "key"])["key"].transform("size")  # of a prompt in its cell
    at_key = cells.groupby("key")["name"].transform("nunique").to_numpy()
    cells = cells.assign(share=share, others=at_key - 1).loc[at_key > 1]
    found, missing = sorted(set(cells["name"])), sorted(set(names) - set(cells["name"]) - {""})
    if missing or not found:
        raise SchemaError(
            f"a direction needs another name to differ from; {by} "
            f"{', '.join(missing) or 'is empty and'} has none. "
            "Record prompts of at least two names, with the same match coordinates."
        )
    weights, n = np.zeros((len(found), len(names))), np.zeros(len(found), int)
    for i, name in enumerate(found):
        here = cells.loc[cells["key"].isin(cells.loc[cells["name"] == name, "key"])]
        n[i] = here["key"].nunique()
        sign = np.where(here["name"] == name, 1.0, -1 / here["others"])
        weights[i, here.index] = sign * here["share"] / n[i]
    return Contrasts(found, weights, n)


def _masks(labels: Mapping[str, Any], n_prompts: int) -> Contrasts:
    """Mean where true minus mean where false, as weights of the prompts."""
    weights = np.zeros((len(labels), n_prompts))
    for i, (name, marks) in enumerate(labels.items()):
        mask = np.asarray(marks, dtype=bool)
        if mask.shape != (n_prompts,) or mask.all() or not mask.any():
            raise SchemaError(
                f"label {name!r} takes one boolean for each of {n_prompts} prompts, some true and "
                "some false; got "
                f"{int(mask.sum())} true of {mask.size}."
            )
        weights[i] = mask / mask.sum() - ~mask / (~mask).sum()
    return Contrasts(
        list(labels), weights, np.array([np.asarray(m, dtype=bool).sum() for m in labels.values()])
    )
