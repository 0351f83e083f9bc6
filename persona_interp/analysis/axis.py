"""Where do roles lie along the assistant axis, and is that axis how roles differ anyway?"""

import numpy as np
import numpy.typing as npt
import pandas as pd
import xarray as xr

from persona_interp import schema
from persona_interp.analysis.stats import cluster_interval
from persona_interp.errors import SchemaError, unknown

Array = npt.NDArray[np.float64]


def role_loadings(
    acts: xr.Dataset, directions: xr.DataArray, *, by: str = "role", cluster: str = "question"
) -> pd.DataFrame:
    """Position of every role along each direction, from the mean of all roles, in residual units.

    ``<h(role) - mean over roles of h, v / |v|>``, h(role) the mean over its answers.

    Args:
        acts: Dataset of ``record.activations`` of the roles' answers, first checkpoint.
            Take answers to other questions than the direction was made from: on its own
            ones the default character lies too far out.
        directions: Of ``record.assistant_axis`` or ``record.role_components``, with the
            hook of the activations.
        by: Coordinate along ``prompt`` that names the role.
        cluster: Coordinate whose answers belong together: the questions, which are the same for
            every role.

    Returns:
        A role_loadings table, one row a direction and role, largest first: ``estimate``
        (residual units) with ``lo``, ``hi`` (95 %, clustered by question), ``n`` answers,
        ``n_clusters`` questions. The mean of the roles is taken question by question,
        over those that answered it.

    Raises:
        SchemaError: An unknown hook or coordinate.

    >>> act = np.array([[[1.0, 0], [3, 0], [0, 2], [0, 2]]])
    >>> data = xr.Dataset({"act": (("checkpoint", "prompt", "d_model"), act)}, attrs={"hook": "h"})
    >>> along = {"role": ["bard", "bard", "default", "default"], "question": list("qrqr")}
    >>> data = data.assign_coords({k: ("prompt", v) for k, v in along.items()})
    >>> data = data.assign_coords(checkpoint=["b"], prompt=list("abcd"))
    >>> axis = xr.DataArray(np.array([[[-2.0, 0]]]), dims=("name", "hook", "d_model"))
    >>> table = role_loadings(data, axis.assign_coords(name=["assistant"], hook=["h"]))
    >>> table[["role", "estimate"]].values.tolist()
    [['default', 1.0], ['bard', -1.0]]
    """
    hook = _hook(acts, directions)
    for name in (by, cluster):
        if name not in acts.coords:
            coordinates = map(str, acts["prompt"].coords)
            raise SchemaError(unknown("coordinate along prompt", name, coordinates))
    v = directions.sel(hook=hook).to_numpy().astype(np.float64)
    h = acts["act"].isel(checkpoint=0).to_numpy().astype(np.float64)
    unit = v / np.linalg.norm(v, axis=-1, keepdims=True)
    projections = h @ unit.T
    rows = []
    for i, name in enumerate(directions["name"].to_numpy().astype(str)):
        answers = pd.DataFrame(
            {
                "value": projections[:, i],
                "role": acts[by].to_numpy(),
                "cluster": acts[cluster].to_numpy(),
            }
        )
        cells = answers.groupby(["cluster", "role"], as_index=False)["value"].agg(["mean", "size"])
        # Questions shift all roles alike. Each question has its own mean of the roles, so a role
        # that left some questions unanswered is not compared with others on different ones.
        cells["mean"] -= cells.groupby("cluster")["mean"].transform("mean")
        for role, group in cells.groupby("role"):
            mean, lo, hi, n = cluster_interval(group["mean"], group["cluster"])
            row = {"hook": hook, "name": name, "role": role}
            row |= {"estimate": float(mean), "lo": float(lo), "hi": float(hi)}
            row |= {"n": int(np.sum(group["size"])), "n_clusters": n}
            rows.append(row)
    table = pd.DataFrame(rows).sort_values(
        ["name", "estimate"], ascending=[True, False], kind="stable", ignore_index=True
    )
    return schema.check(table, "role_loadings")


def axis_cosine(means: xr.Dataset, *, default: str = "default") -> pd.DataFrame:
    """Cosine of the assistant axis with the axis along which roles differ most, with its null.

    The cosine of the assistant axis with the first principal component of the roles, the
    default left out. Its null: every role in turn is taken for the default. Any role lies
    somewhere along the main axis of the others, so that only a default further out than
    most roles means anything.

    Args:
        means: Dataset of ``record.role_means``, one hook.
        default: Name of the role that is none.

    Returns:
        An axis_cosine table of one row: ``cosine`` (0 to 1: the sign of a component means
        nothing), ``null_median``, ``null_hi`` (95 % point over the roles), ``p`` (share of
        roles at least as high, the default among them), ``variance`` (share of the first
        component), ``n_roles``.

    Raises:
        SchemaError: The default is not there, or there are fewer than 4 roles.
    """
    h = schema.check(means, "activations")["act"].isel(checkpoint=0).to_numpy().astype(np.float64)
    roles = means["prompt"].to_numpy().astype(str)
    if default not in roles:
        raise SchemaError(unknown("role", default, roles))
    if len(roles) < 4:
        raise SchemaError(
            f"a main axis of roles needs three beside '{default}'; got {len(roles) - 1}."
        )
    cosines, variances = np.transpose([_cosine(h, i) for i in range(len(roles))])
    of_default = int(np.flatnonzero(roles == default)[0])
    cosine, null = cosines[of_default], np.delete(cosines, of_default)
    row = {
        "hook": str(means.attrs.get("hook", "")),
        "cosine": float(cosine),
        "null_median": float(np.median(null)),
        "null_hi": float(np.quantile(null, 0.95)),
        "p": float((1 + (null >= cosine).sum()) / len(roles)),
        "variance": float(variances[of_default]),
        "n_roles": len(null),
    }
    return schema.check(pd.DataFrame([row]), "axis_cosine")


def _cosine(h: Array, i: int) -> tuple[float, float]:
    """Cosine of row i minus the mean of the others with their first component, and its variance."""
    others = np.delete(h, i, axis=0)
    mean = others.mean(0)
    # Row i takes no part in the component: it would pull it towards itself.
    _, sizes, axes = np.linalg.svd(others - mean, full_matrices=False)
    axis = h[i] - mean
    cosine = abs(axis @ axes[0]) / np.linalg.norm(axis)
    variance = sizes[0] ** 2 / (sizes**2).sum()
    return float(cosine), float(variance)


def _hook(acts: xr.Dataset, directions: xr.DataArray) -> str:
    """Hook of the activations, which the directions must have too."""
    hook = str(schema.check(acts, "activations").attrs.get("hook", ""))
    if hook not in schema.check(directions, "directions")["hook"]:
        raise SchemaError(unknown("hook of the directions", hook, directions["hook"].to_numpy()))
    return hook
