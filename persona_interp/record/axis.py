"""Where does a model's own character lie, seen from the roles it can play? The assistant axis."""

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt
import xarray as xr
from einops import einsum

from persona_interp import schema
from persona_interp.errors import SchemaError, unknown
from persona_interp.record.components import pca
from persona_interp.record.stack import (
    Acts,
    label_directions,
    prompt_labels,
    stack_hooks,
)

DEFAULT = "default"


def role_means(acts: Acts, *, by: str = "role", checkpoint: str | None = None) -> list[xr.Dataset]:
    """Mean residual of each role over its answers.

    Args:
        acts: ``record.activations(checkpoint, record.conversations(answers), hook=hooks,
            position="answer")``, the answers to ``readers.role_prompts``: the same questions to
            every role, and to the default.
        by: Coordinate along ``prompt`` that names the role.
        checkpoint: Label of a checkpoint; the first by default.

    Returns:
        Activations, one Dataset a hook, whose prompts are the roles, sorted; ``n`` answers of each
        along prompt.

    Raises:
        SchemaError: No activations, or an unknown checkpoint or coordinate.

    >>> act = np.array([[[1.0, 0], [3, 0], [0, 2]]])
    >>> data = xr.Dataset({"act": (("checkpoint", "prompt", "d_model"), act)})
    >>> data = data.assign_coords(checkpoint=["base@0"], prompt=list("abc"))
    >>> data = data.assign_coords(role=("prompt", ["bard", "bard", "default"]))
    >>> role_means(data.assign_attrs(hook="blocks.0.hook_out"))[0]["act"].values.tolist()
    [[[2.0, 0.0], [0.0, 2.0]]]
    """
    parts = schema.list_datasets(acts)
    residuals = stack_hooks(parts, checkpoint)
    labels = prompt_labels(residuals, by)
    roles = sorted(set(labels) - {""})
    counts = [int((labels == role).sum()) for role in roles]
    weights = np.stack([(labels == role) / n for role, n in zip(roles, counts, strict=True)])
    means = einsum(
        weights, residuals.to_numpy(), "role prompt, hook prompt d_model -> hook role d_model"
    )
    coords = {
        "checkpoint": [residuals.attrs["checkpoint"]],
        "prompt": roles,
        "role": ("prompt", roles),
        "n": ("prompt", counts),
        "d_model": residuals["d_model"].to_numpy(),
        "weights": ("checkpoint", [residuals.attrs["weights"]]),
    }
    dims = schema.DATASETS["activations"]["act"]
    datasets = []
    for part, mean in zip(parts, means, strict=True):
        act = mean[None].astype(np.float32)
        attrs = {**part.attrs, "position": f"mean of the answers by {by}"}
        datasets.append(xr.Dataset({"act": (dims, act)}, coords=coords, attrs=attrs))
    return datasets


def assistant_axis(means: Iterable[xr.Dataset], *, default: str = DEFAULT) -> xr.DataArray:
    """Direction of the default character, seen from the roles.

    ``a = h(default) - mean over the other roles of h(role)`` (assistant axis, Lu et al. 2026),
    every role weighing the same. Positive = towards the default character.

    Args:
        means: Of ``role_means``.
        default: Name of the role that is none.

    Returns:
        Directions, dims (name = "assistant", hook, d_model), float32, residual units; ``n`` roles
        compared with.

    Raises:
        SchemaError: The default is not among the roles, or is alone.
    """
    residuals = stack_hooks(means, None)
    roles = _roles(residuals, default)
    n_others = len(roles) - 1
    weights = np.where(roles == default, 1.0, -1 / n_others)
    vector = einsum(weights, residuals.to_numpy(), "role, hook role d_model -> hook d_model")
    return label_directions(
        vector[None],
        residuals,
        names=["assistant"],
        n=[n_others],
        method="assistant axis",
        reference=f"mean of {n_others} roles",
    )


def role_components(
    means: Iterable[xr.Dataset], *, n: int = 3, default: str = DEFAULT
) -> xr.DataArray:
    """Directions in which the roles differ most: ``pca`` of their means, the default left out.

    Args:
        means: Of ``role_means``.
        n: Components.
        default: Name of the role that is none.

    Returns:
        Directions "pc1", ..., as long as the standard deviation of the roles along them; the sign
        is that of the assistant axis: the default character lies on the positive side. ``variance``
        along (name, hook) is the share of the roles' variance.

    Raises:
        SchemaError: The default is not among the roles, or there are too few roles.
    """
    parts = schema.list_datasets(means)
    axis = assistant_axis(parts, default=default).isel(name=0, drop=True)
    others = [part.sel(prompt=part["prompt"] != default) for part in parts]
    components = pca(others, n=n)

    # a component has no sign of its own; the axis gives it one
    toward = (components.astype(np.float64) * axis.astype(np.float64)).sum("d_model")
    sign = np.where(toward.to_numpy() < 0, -1, 1)[..., None].astype(np.float32)
    oriented = components.copy(data=components.to_numpy() * sign)

    # a component is as long as the standard deviation along it: its square is a variance
    residuals = stack_hooks(others, None)
    squares = (residuals - residuals.mean("prompt")) ** 2
    total = squares.sum(["prompt", "d_model"]) / (residuals.sizes["prompt"] - 1)
    variance = (components.astype(np.float64) ** 2).sum("d_model")
    share = variance.to_numpy() / total.to_numpy()
    oriented = oriented.assign_coords(variance=(("name", "hook"), share))
    return oriented.assign_attrs(reference=f"mean of the roles but {default}")


def _roles(residuals: xr.DataArray, default: str) -> npt.NDArray[np.str_]:
    roles = residuals["prompt"].to_numpy().astype(str)
    if default not in roles:
        raise SchemaError(unknown("role", default, roles))
    if len(roles) < 2:
        raise SchemaError(f"an axis needs roles beside '{default}'; there is none.")
    return roles
