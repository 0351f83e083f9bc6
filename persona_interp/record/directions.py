"""Which directions of the residual stand for a persona, a trait, or a finetune?

Every function answers with ``xarray.DataArray`` of dims (name, hook, d_model): raw residual units,
never unit length, so that "as far as the vector is long" means something. Coordinates: ``n`` along
name (prompts, or matched pairs, behind it) and ``norm`` along hook (mean length of the residuals
read, the unit of ``add(strength=)``). Attributes say the method, the reference, the position, the
token ids and the weights.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd
import xarray as xr
from einops import einsum

from persona_interp import schema
from persona_interp.errors import SchemaError, excerpt, unknown
from persona_interp.record.contrasts import label_contrasts, name_contrasts, weigh_prompts
from persona_interp.record.stack import (
    Acts,
    label_directions,
    prompt_labels,
    stack_hooks,
)
from persona_interp.values import as_tuple, check_count, is_number

MATCHES = ("norm", "variance")


def mean_difference(
    acts: Acts,
    *,
    by: str = "persona",
    labels: Mapping[str, Sequence[bool] | npt.NDArray[np.bool_]] | None = None,
    checkpoint: str | None = None,
) -> xr.DataArray:
    """Direction of each name: its mean residual minus the mean of the others.

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
    >>> data = xr.Dataset({"act": (("checkpoint", "prompt", "d_model"), act)})
    >>> data = data.assign_coords(checkpoint=["base@0"], prompt=list("abc"))
    >>> data = data.assign_coords(persona=("prompt", list("jjs")))
    >>> data = data.assign_attrs(hook="blocks.0.hook_out")
    >>> mean_difference(data).sel(name="j", hook="blocks.0.hook_out").values.tolist()
    [1.0, -1.0]
    """
    residuals = stack_hooks(acts, checkpoint)
    if labels is None:
        owners = prompt_labels(residuals, by)
        one_key = np.zeros(len(owners), int)
        names, weights, _ = name_contrasts(owners, one_key, by=by)
        n = np.array([(owners == name).sum() for name in names])
        reference = f"mean of the means of the other names of {by}"
    else:
        names, weights, n = label_contrasts(labels, residuals.sizes["prompt"])
        reference = "mean of the prompts without the label"
    return label_directions(
        weigh_prompts(weights, residuals),
        residuals,
        names=names,
        n=n,
        method="mean difference",
        reference=reference,
    )


def minimal_pairs(
    acts: Acts,
    *,
    by: str = "persona",
    match: Sequence[str] = ("topic", "template"),
    checkpoint: str | None = None,
) -> xr.DataArray:
    """Direction of each name, from prompts that differ in nothing but the name.

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
    >>> data = xr.Dataset({"act": (("checkpoint", "prompt", "d_model"), act)})
    >>> data = data.assign_coords(checkpoint=["base@0"], prompt=list("abcd"))
    >>> data = data.assign_coords(persona=("prompt", ["john", "sam"] * 2))
    >>> data = data.assign_coords(topic=("prompt", ["sport", "sport", "art", "art"]))
    >>> pairs = minimal_pairs(data.assign_attrs(hook="blocks.0.hook_out"), match=("topic",))
    >>> pairs.sel(name="john", hook="blocks.0.hook_out").values.tolist()
    [1.0, -1.0]
    """
    residuals, match = stack_hooks(acts, checkpoint), as_tuple(match)
    if not match:
        raise SchemaError("match= names coordinates that are equal within a pair, at least one.")
    owners = prompt_labels(residuals, by)
    columns = pd.DataFrame({column: prompt_labels(residuals, column) for column in match})
    keys = columns.groupby(list(match), sort=False).ngroup().to_numpy()
    names, weights, n = name_contrasts(owners, keys, by=by)
    return label_directions(
        weigh_prompts(weights, residuals),
        residuals,
        names=names,
        n=n,
        method="minimal pairs",
        reference=f"mean of the other names of {by} at the same {', '.join(match)}",
    )


def logistic(
    acts: Acts, *, by: str = "persona", C: float = 1.0, checkpoint: str | None = None
) -> xr.DataArray:
    """Direction in which a linear classifier sees each name.

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
    >>> data = xr.Dataset({"act": (("checkpoint", "prompt", "d_model"), act)})
    >>> data = data.assign_coords(checkpoint=["base@0"], prompt=list("abcd"))
    >>> data = data.assign_coords(persona=("prompt", list("jjss")))
    >>> data = data.assign_attrs(hook="blocks.0.hook_out")
    >>> logistic(data).sel(name="j", hook="blocks.0.hook_out").round(2).values.tolist()
    [3.0, 0.0]
    """
    from sklearn.linear_model import LogisticRegression  # takes a second to import
    from sklearn.preprocessing import StandardScaler

    if not is_number(C) or C <= 0:
        raise SchemaError(f"C is the inverse strength of the penalty, above 0; got {excerpt(C)}.")
    parts = schema.list_datasets(acts)
    residuals = stack_hooks(parts, checkpoint)
    reference = mean_difference(parts, by=by, checkpoint=checkpoint)
    names = [str(name) for name in reference["name"].to_numpy()]
    owners = prompt_labels(residuals, by)
    owned = owners != ""
    vectors = np.empty(reference.shape)
    for hook, h in enumerate(residuals.to_numpy()[:, owned]):
        scaler = StandardScaler().fit(h)
        for i, name in enumerate(names):
            model = LogisticRegression(C=C, class_weight="balanced", max_iter=5000)
            model.fit(scaler.transform(h), owners[owned] == name)
            # a weight of a standardized coordinate over its scale is one of the raw coordinate
            vectors[i, hook] = model.coef_[0] / scaler.scale_
    length = np.linalg.norm(vectors, axis=-1, keepdims=True)
    target = np.linalg.norm(reference.to_numpy(), axis=-1, keepdims=True)
    vectors *= np.divide(target, length, out=np.zeros_like(length), where=length > 0)
    return label_directions(
        vectors,
        residuals,
        names=names,
        n=reference["n"].to_numpy(),
        method=f"logistic regression, C={C:g}",
        reference=f"the other names of {by}",
    )


def random_directions(
    like: xr.DataArray, *, n: int, seed: int, match: str = "norm", acts: Acts | None = None
) -> xr.DataArray:
    """Directions that chance gives: the control of every claim about a vector.

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

    >>> john = xr.DataArray(np.ones((1, 1, 4)), dims=("name", "hook", "d_model"))
    >>> john = john.assign_coords(name=["john"], hook=["blocks.0.hook_out"])
    >>> vectors = random_directions(john.assign_attrs(kind="directions"), n=2, seed=0).values
    >>> np.linalg.norm(vectors, axis=-1).round(2).tolist()
    [[2.0], [2.0]]
    """
    like = schema.check(like, "directions")
    if match not in MATCHES:
        raise SchemaError(unknown("match", match, MATCHES))
    if (match == "variance") != (acts is not None):
        raise SchemaError(
            'match="variance" draws from the covariance of acts=, and nothing else takes acts; '
            "give both."
        )
    n, rng = check_count(n, "n"), np.random.default_rng(check_count(seed, "seed", least=0))
    if acts is None:
        # Gaussian vectors have no preferred direction: at one length they are uniform on a sphere
        vectors = rng.standard_normal((n, *like.shape[1:]))
    else:
        # sums of the centered rows with Gaussian weights have the covariance of the rows
        h = _residuals_at(acts, [str(hook) for hook in like["hook"].values])
        weights = rng.standard_normal((n, *h.shape[:2]))
        vectors = einsum(
            weights,
            h - h.mean(1, keepdims=True),
            "name hook prompt, hook prompt d_model -> name hook d_model",
        )
    length = np.linalg.norm(like.to_numpy().astype(np.float64), axis=-1).mean(0)
    vectors *= length[:, None] / np.linalg.norm(vectors, axis=-1, keepdims=True)
    directions = like.isel(name=[0] * n).copy(data=vectors.astype(np.float32))
    directions = directions.assign_coords(
        name=[f"random {i}" for i in range(n)], n=("name", np.zeros(n, int))
    )
    return directions.assign_attrs(
        kind="directions", method=f"random, seed {seed}", reference=f"matched in {match}", n=0
    )


def _residuals_at(acts: Acts, hooks: list[str]) -> npt.NDArray[np.float64]:
    """Residuals of the first checkpoint at these hooks, dims (hook, prompt, d_model)."""
    residuals = stack_hooks(acts, None)
    for hook in hooks:
        if hook not in residuals["hook"].values:
            raise SchemaError(unknown("hook of the activations", hook, residuals["hook"].values))
    return residuals.sel(hook=hooks).to_numpy()
