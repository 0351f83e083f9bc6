"""In which directions do residuals vary, or move, most?"""

import numpy as np
import numpy.typing as npt
import xarray as xr
from einops import einsum, rearrange

from persona_interp import schema
from persona_interp.errors import SchemaError
from persona_interp.record.stack import Acts, label_directions, stack_hooks

Array = npt.NDArray[np.float64]


def pca(acts: Acts, *, n: int = 5, checkpoint: str | None = None) -> xr.DataArray:
    """Directions in which these residuals vary most.

    Principal components of the rows minus their mean. A vector is as long as the standard deviation
    of the rows along it; the sign makes its largest coordinate positive, which means nothing.

    Args:
        acts: Dataset of ``record.activations``, or several of the same prompts at distinct hooks.
        n: Components.
        checkpoint: Label of a checkpoint; the first by default.

    Returns:
        Directions "pc1", "pc2", ..., dims (name, hook, d_model), float32, residual units.

    Raises:
        SchemaError: No activations, an unknown checkpoint, or fewer than n components.

    >>> act = np.array([[[3.0, 1], [-3, 1], [0, 2], [0, 0]]])
    >>> data = xr.Dataset({"act": (("checkpoint", "prompt", "d_model"), act)})
    >>> data = data.assign_coords(checkpoint=["base@0"], prompt=list("abcd"))
    >>> table = pca(data.assign_attrs(hook="blocks.0.hook_out"), n=1)
    >>> table.values.round(2) + 0.0  # a zero of an SVD may have a sign
    array([[[2.45, 0.  ]]], dtype=float32)
    """
    residuals = stack_hooks(acts, checkpoint)
    n_prompts = residuals.sizes["prompt"]
    h = residuals.to_numpy() - residuals.to_numpy().mean(1, keepdims=True)
    # the mean takes one degree of freedom, as in a sample variance
    vectors = _components(h, n, degrees=n_prompts - 1)
    largest = np.take_along_axis(vectors, np.abs(vectors).argmax(-1)[..., None], -1)
    return label_directions(
        np.sign(largest) * vectors,
        residuals,
        names=_component_names(n),
        n=np.full(n, n_prompts),
        method="principal components",
        reference="mean of the prompts",
    )


def pca_of_difference(acts: Acts, *, before: str, after: str, n: int = 1) -> xr.DataArray:
    """Directions in which a finetune moved the residuals of the same prompts most.

    "mean" is the mean of the differences ``h(after) - h(before)``, prompt by prompt; "pc1", ... are
    the components of those differences about 0, not about their mean: what a random sign on every
    pair would leave (Zou et al. 2023). A component is as long as the root mean square of the
    differences along it; positive = along "mean".

    Args:
        acts: Dataset of ``record.activations`` with both checkpoints, or several at distinct hooks.
        before: Label of a checkpoint.
        after: Label of a checkpoint.
        n: Components.

    Returns:
        Directions "mean", "pc1", ..., dims (name, hook, d_model), float32, residual units.

    Raises:
        SchemaError: No activations, an unknown checkpoint, or fewer than n components.

    >>> act = np.array([[[0.0, 0], [1, 1]], [[2, 0], [3, 1]]])
    >>> data = xr.Dataset({"act": (("checkpoint", "prompt", "d_model"), act)})
    >>> data = data.assign_coords(checkpoint=["base@0", "lesson@8"], prompt=list("ab"))
    >>> data = data.assign_attrs(hook="blocks.0.hook_out")
    >>> table = pca_of_difference(data, before="base@0", after="lesson@8")
    >>> (table.squeeze("hook").values.round(2) + 0.0).tolist()  # a zero of an SVD may have a sign
    [[2.0, 0.0], [2.0, 0.0]]
    """
    parts = schema.list_datasets(acts)
    start, end = stack_hooks(parts, before), stack_hooks(parts, after)
    shift = end.to_numpy() - start.to_numpy()
    n_prompts = shift.shape[1]
    mean = shift.mean(1)
    vectors = _components(shift, n, degrees=n_prompts)
    along_mean = einsum(vectors, mean, "component hook d_model, hook d_model -> component hook")
    vectors = np.where(along_mean < 0, -1, 1)[..., None] * vectors
    directions = label_directions(
        np.stack([mean, *vectors]),
        start,
        names=["mean", *_component_names(n)],
        n=np.full(n + 1, n_prompts),
        method=f"paired differences, {after} minus {before}",
        reference=before,
    )
    return directions.assign_attrs(weights=f"{start.attrs['weights']} {end.attrs['weights']}")


def _component_names(n: int) -> list[str]:
    return [f"pc{i + 1}" for i in range(n)]


def _components(h: Array, n: int, *, degrees: int) -> Array:
    """Components about 0 of rows (hook, prompt, d_model); dims (component, hook, d_model).

    Each is as long as the root mean square of the rows along it.
    """
    n_prompts, width = h.shape[1:]
    if not 1 <= n <= min(degrees, width):
        raise SchemaError(
            f"{n_prompts} prompts of width {width} have no {n} components; ask for fewer."
        )
    # h = U diag(sizes) axes, so that the squares of the rows along an axis sum to size^2
    _, sizes, axes = np.linalg.svd(h, full_matrices=False)
    components = axes[:, :n] * sizes[:, :n, None] / np.sqrt(degrees)
    return rearrange(components, "hook component d_model -> component hook d_model")
