"""In which direction does the model's own character lie, seen from the roles it can play? The assistant axis."""

from collections.abc import Iterable

import numpy as np
import xarray as xr

from persona_interp import schema
from persona_interp.errors import SchemaError, unknown
from persona_interp.record.components import pca
from persona_interp.record.stack import Acts, along, made_directions, stacked

DEFAULT = "default"


def role_means(acts: Acts, *, by: str = "role", checkpoint: str | None = None) -> list[xr.Dataset]:
    """Where is each role, on average over its answers?

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
    >>> data = xr.Dataset({"act": (("checkpoint", "prompt", "d_model"), act)}, attrs={"hook": "blocks.0.hook_out"})
    >>> roles = ("prompt", ["bard", "bard", "default"])
    >>> data = data.assign_coords(checkpoint=["base@0"], prompt=list("abc"), role=roles)
    >>> role_means(data)[0]["act"].values.tolist()
    [[[2.0, 0.0], [0.0, 2.0]]]
    """
    parts = [acts] if isinstance(acts, xr.Dataset) else list(acts)
    rows = stacked(parts, checkpoint)
    names = along(rows, by)
    roles = sorted(set(names) - {""})
    weights = np.stack([(names == role) / max((names == role).sum(), 1) for role in roles])
    means = np.einsum("rp,hpd->hrd", weights, rows.to_numpy())
    coords = {
        "checkpoint": [rows.attrs["checkpoint"]],
        "prompt": roles,
        "role": ("prompt", roles),
        "n": ("prompt", [int((names == role).sum()) for role in roles]),
        "d_model": rows["d_model"].to_numpy(),
        "weights": ("checkpoint", [rows.attrs["weights"]]),
    }
    return [
        xr.Dataset(
            {"act": (schema.DATASETS["activations"]["act"], mean[None].astype(np.float32))},
            coords=coords,
            attrs={**part.attrs, "position": f"mean of the answers by {by}"},
        )
        for part, mean in zip(parts, means, strict=True)
    ]


def assistant_axis(means: Iterable[xr.Dataset], *, default: str = DEFAULT) -> xr.DataArray:
    """In which direction does the default character lie, seen from the roles?

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
    rows = stacked(means, None)
    roles = _roles(rows, default)
    weights = np.where(roles == default, 1.0, -1 / (len(roles) - 1))
    vector = np.einsum("r,hrd->hd", weights, rows.to_numpy())
    said = {"method": "assistant axis", "reference": f"mean of {len(roles) - 1} roles"}
    return made_directions(vector[None], rows, names=["assistant"], n=[len(roles) - 1], **said)


def role_components(
    means: Iterable[xr.Dataset], *, n: int = 3, default: str = DEFAULT
) -> xr.DataArray:
    """In which directions do the roles differ most? ``pca`` of their means, the default left out.

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
    listed = list(means)
    axis = assistant_axis(listed, default=default)
    others = [part.sel(prompt=part["prompt"] != default) for part in listed]
    made = pca(others, n=n)
    toward = (made.astype(np.float64) * axis.isel(name=0, drop=True).astype(np.float64)).sum(
        "d_model"
    )
    rows = stacked(others, None)
    total = ((rows - rows.mean("prompt")) ** 2).sum(["prompt", "d_model"]) / (
        rows.sizes["prompt"] - 1
    )
    signed = made.copy(
        data=made.to_numpy() * np.where(toward.to_numpy() < 0, -1, 1)[..., None].astype(np.float32)
    )
    share = (made.astype(np.float64) ** 2).sum("d_model").to_numpy() / total.to_numpy()
    return signed.assign_coords(variance=(("name", "hook"), share)).assign_attrs(
        reference=f"mean of the roles but {default}"
    )


def _roles(rows: xr.DataArray, default: str) -> np.ndarray:
    roles = rows["prompt"].to_numpy().astype(str)
    if default not in roles:
        raise SchemaError(unknown("role", default, roles))
    if len(roles) < 2:
        raise SchemaError(f"an axis needs roles beside '{default}'; there is none.")
    return roles
