"""Does a finetune or a data set move a model along a direction, more than along random ones?"""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pandas as pd

from persona_interp import schema
from persona_interp.analysis.nulls import chance_range
from persona_interp.analysis.stats import cluster_interval
from persona_interp.errors import SchemaError, unknown
from persona_interp.values import as_tuple


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

    >>> rows = pd.DataFrame({"checkpoint": ["b", "b", "t", "t"], "prompt": ["x", "y"] * 2})
    >>> rows = rows.assign(projection=[0.0, 1.0, 1.0, 4.0], name="wry", hook="h", n_tokens=3)
    >>> projection_shift(rows, before="b", after="t")[["estimate", "n"]].values.tolist()
    [[2.0, 2.0]]
    """
    rows = _shifts(projections, before, after)
    null = None if random is None else _shifts(random, before, after)
    units = list(rows["prompt"])
    if clusters is not None:
        if missing := [name for name in units if name not in clusters]:
            raise SchemaError(f"conversation {missing[0]!r} has no cluster; name one for each.")
        units = [clusters[name] for name in units]
    return _by_direction(rows.assign(cluster=units), random=null)


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
    rows, names = schema.check(differences, "projection_difference"), set(as_tuple(random))
    if missing := sorted(names - set(rows["name"])):
        raise SchemaError(
            unknown("name of a random direction", missing[0], sorted(set(rows["name"])))
        )
    is_random = rows["name"].isin(names)
    rows = rows.rename(columns={"difference": "value", "doc": "cluster"})
    null = rows.loc[is_random] if names else None
    return _by_direction(rows.loc[~is_random], random=null)


def _shifts(table: pd.DataFrame, before: str, after: str) -> pd.DataFrame:
    """After minus before of every conversation or turn, hook and name, as ``value``."""
    schema.check(table, "projections")
    key = ["prompt", "hook", "name"]
    if "turn" in table:
        key.insert(1, "turn")
    parts = []
    for label in (before, after):
        if label not in set(table["checkpoint"]):
            raise SchemaError(unknown("checkpoint", label, sorted(set(table["checkpoint"]))))
        parts.append(table.loc[table["checkpoint"] == label].set_index(key)["projection"])
    first, last = parts
    if set(first.index) != set(last.index):
        raise SchemaError(
            f"{before} and {after} have different conversations; record both on the same."
        )
    return (last.reindex(first.index) - first).rename("value").reset_index()


def _by_direction(rows: pd.DataFrame, *, random: pd.DataFrame | None) -> pd.DataFrame:
    """Mean ``value`` of every hook and name, beside the range of the random directions there."""
    # A shift of all residuals moves every direction, so 0 is the wrong thing to compare with: the
    # null is what random directions at the same hook do.
    nulls = {}
    if random is not None:
        for hook, group in random.groupby("hook"):
            nulls[hook] = group.groupby("name")["value"].agg("mean").to_numpy()
    table: list[dict[str, Any]] = []
    for _, group in rows.groupby(["hook", "name"], sort=False):
        hook, name = group["hook"].iloc[0], group["name"].iloc[0]
        interval = cluster_interval(group["value"], group["cluster"])
        null = nulls.get(hook, np.array([]))
        null_lo, null_hi = chance_range(null)
        row = {"hook": hook, "name": name, **interval.row(), "null_lo": null_lo, "null_hi": null_hi}
        row |= {"n": len(group), "n_clusters": interval.n, "n_random": len(null)}
        table.append(row)
    return schema.check(pd.DataFrame(table), "projection_shift")
