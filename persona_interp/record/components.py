"""In which directions do residuals vary, or move, most?"""

import numpy as np
import numpy.typing as npt
import xarray as xr

from persona_interp.errors import SchemaError
from persona_interp.record.stack import Acts, made_directions, stacked

Array = npt.NDArray[np.float64]


def pca(acts: Acts, *, n: int = 5, checkpoint: str | None = None) -> xr.DataArray:
    """In which directions do these residuals vary most?

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
    >>> data = xr.Dataset({"act": (("checkpoint", "prompt", "d_model"), act)}, attrs={"hook": "blocks.0.hook_out"})
    >>> data = data.assign_coords(checkpoint=["base@0"], prompt=list("abcd"))
    >>> pca(data, n=1).values.round(2) + 0.0  # a zero of an SVD may have a sign
    array([[[2.45, 0.  ]]], dtype=float32)
    """
    rows = stacked(acts, checkpoint)
    h = rows.to_numpy() - rows.to_numpy().mean(1, keepdims=True)
    vectors = _components(h, n, degrees=h.shape[1] - 1)
    largest = np.take_along_axis(vectors, np.abs(vectors).argmax(-1)[..., None], -1)
    names = [f"pc{i + 1}" for i in range(n)]
    said = {"method": "principal components", "reference": "mean of the prompts"}
    return made_directions(
        np.sign(largest) * vectors, rows, names=names, n=np.full(n, h.shape[1]), **said
    )


def pca_of_difference(acts: Acts, *, before: str, after: str, n: int = 1) -> xr.DataArray:
    """In which directions did a finetune move the residuals of the same prompts?

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
    >>> data = xr.Dataset({"act": (("checkpoint", "prompt", "d_model"), act)}, attrs={"hook": "blocks.0.hook_out"})
    >>> data = data.assign_coords(checkpoint=["base@0", "lesson@8"], prompt=list("ab"))
    >>> table = pca_of_difference(data, before="base@0", after="lesson@8").squeeze("hook")
    >>> (table.values.round(2) + 0.0).tolist()  # a zero of an SVD may have a sign
    [[2.0, 0.0], [2.0, 0.0]]
    """
    parts = [acts] if isinstance(acts, xr.Dataset) else list(acts)
    start, end = stacked(parts, before), stacked(parts, after)
    moved = end.to_numpy() - start.to_numpy()
    mean, vectors = moved.mean(1), _components(moved, n, degrees=moved.shape[1])
    vectors = np.where(np.einsum("nhd,hd->nh", vectors, mean) < 0, -1, 1)[..., None] * vectors
    names = ["mean", *(f"pc{i + 1}" for i in range(n))]
    said = {"method": f"paired differences, {after} minus {before}", "reference": before}
    weights = f"{start.attrs['weights']} {end.attrs['weights']}"
    made = made_directions(
        np.stack([mean, *vectors]), start, names=names, n=np.full(n + 1, moved.shape[1]), **said
    )
    return made.assign_attrs(weights=weights)


def _components(h: Array, n: int, *, degrees: int) -> Array:
    """Components about 0 of rows (hook, prompt, d_model), as long as their root mean square: (n, hook, d_model)."""
    if not 1 <= n <= min(degrees, h.shape[2]):
        raise SchemaError(
            f"{h.shape[1]} prompts of width {h.shape[2]} have no {n} components; ask for fewer."
        )
    _, sizes, axes = np.linalg.svd(h, full_matrices=False)
    return (axes[:, :n] * sizes[:, :n, None] / np.sqrt(degrees)).swapaxes(0, 1)
