"""Does a finetune or a data set move a model along a direction, more than along random ones?"""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pandas as pd

from persona_interp import schema
from persona_interp.analysis.stats import cluster_interval
from persona_interp.errors import SchemaError, unknown


def projection_shift(
    projections: pd.DataFrame,
    *,
    before: str,
    after: str,
    random: pd.DataFrame | None = None,
    clusters: Mapping[str, str] | None = None,
) -> pd.DataFrame:
    """How far along each direction a finetune moved the residuals of the same conversations.

    The finetuning shift ``<E[h_after] - E[h_before], v / |v|>`` (Chen et al. 2025), paired by
    conversation, and by turn where the table has turns.

    Args:
        projections: Of ``record.projections``, with both checkpoints.
        before: Label of a checkpoint.
        after: Label of a checkpoint.
        random: The same of ``record.random_directions``: the null. Any shift of all residuals moves
            these too.
        clusters: Cluster by name of the conversation, for example its question; by default each is
            its own.

    Returns:
        A projection_shift table, one row a hook and name: ``estimate`` (residual units; positive =
        towards the name), ``lo``, ``hi`` (95 %, clustered by conversation), ``null_lo``,
        ``null_hi`` (2.5 and 97.5 % points over the random directions at the hook), ``n``
        conversations or turns, ``n_clusters``, ``n_random``.

    Raises:
        SchemaError: An unknown checkpoint, conversations that differ between the two, or no cluster
            for one.

    >>> rows = pd.DataFrame({"checkpoint": ["b", "b", "t", "t"], "prompt": ["x", "y"] * 2, "name": "wry", "hook": "h",
    ...                      "projection": [0.0, 1.0, 1.0, 4.0], "n_tokens": 3})
    >>> projection_shift(rows, before="b", after="t")[["estimate", "n"]].values.tolist()
    [[2.0, 2.0]]
    """
    tables = {"": projections} | ({} if random is None else {"random": random})
    moved = {name: _moved(table, before, after) for name, table in tables.items()}
    rows = moved[""]
    units = list(rows["prompt"])
    if clusters is not None:
        if missing := [name for name in units if name not in clusters]:
            raise SchemaError(f"conversation {missing[0]!r} has no cluster; name one for each.")
        units = [clusters[name] for name in units]
    return _by_direction(rows.assign(cluster=units), random=moved.get("random"))


def projection_pull(differences: pd.DataFrame, *, random: Iterable[str] = ()) -> pd.DataFrame:
    """How far a data set would pull a model towards each trait.

    The mean over its rows of the projection difference. A direction of no trait is moved too,
    because other people's answers differ from the model's own in many ways: compare with the random
    directions and with other data.

    Args:
        differences: Of ``record.projection_difference``.
        random: Names in it that are random directions.

    Returns:
        As ``projection_shift``, over the rows of the data set.

    Raises:
        SchemaError: No such table, or an unknown name.
    """
    rows, names = schema.check(differences, "projection_difference"), set(random)
    if missing := sorted(names - set(rows["name"])):
        raise SchemaError(
            unknown("name of a random direction", missing[0], sorted(set(rows["name"])))
        )
    drawn = rows["name"].isin(names)
    rows = rows.rename(columns={"difference": "value", "doc": "cluster"})
    return _by_direction(rows.loc[~drawn], random=rows.loc[drawn] if names else None)


def _moved(table: pd.DataFrame, before: str, after: str) -> pd.DataFrame:
    """After minus before of every conversation or turn, hook and name, as ``value``."""
    schema.check(table, "projections")
    key = ["prompt", *(["turn"] if "turn" in table else []), "hook", "name"]
    parts = []
    for label in (before, after):
        if label not in set(table["checkpoint"]):
            raise SchemaError(unknown("checkpoint", label, sorted(set(table["checkpoint"]))))
        parts.append(table.loc[table["checkpoint"] == label].set_index(key)["projection"])
    if set(parts[0].index) != set(parts[1].index):
        raise SchemaError(
            f"{before} and {after} have different conversations; record both on the same."
        )
    return (parts[1].reindex(parts[0].index) - parts[0]).rename("value").reset_index()


def _by_direction(rows: pd.DataFrame, *, random: pd.DataFrame | None) -> pd.DataFrame:
    nulls = (
        {}
        if random is None
        else {
            hook: group.groupby("name")["value"].agg("mean").to_numpy()
            for hook, group in random.groupby("hook")
        }
    )
    found: list[dict[str, Any]] = []
    for _, group in rows.groupby(["hook", "name"], sort=False):
        hook, name = group["hook"].iloc[0], group["name"].iloc[0]
        mean, lo, hi, n_clusters = cluster_interval(group["value"], group["cluster"])
        null = nulls.get(hook, np.array([]))
        null_lo, null_hi = np.quantile(null, [0.025, 0.975]) if len(null) else (np.nan, np.nan)
        row = {
            "hook": hook,
            "name": name,
            "estimate": float(mean),
            "lo": float(lo),
            "hi": float(hi),
        }
        row |= {"null_lo": null_lo, "null_hi": null_hi, "n": len(group), "n_clusters": n_clusters}
        found.append({**row, "n_random": len(null)})
    return schema.check(pd.DataFrame(found), "projection_shift")
