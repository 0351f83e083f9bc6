"""How far are personas apart in a model, and is what measures it a metric?

Estimators of the distance between two personas, larger = farther; units differ, so they are
compared by rank. The truth, where the documents are known, is ``unshared topics``. Some depend on
who is first: those are *divergences*.

- ``root js``: how differently the same text is continued under both names.
- ``gradients (full)``, ``gradients (lora)``: 1 - cosine of the gradients of what both say.
- ``activations``: 1 - cosine of their centered directions.
- ``steps``, ``nats``, ``kl``, ``efficiency``, ``stability``: from a model that is one persona,
  lessons of the other.
"""

from itertools import permutations
from typing import Any

import numpy as np
import pandas as pd

from persona_interp import schema
from persona_interp.analysis.measure import crossing
from persona_interp.analysis.stats import jackknife
from persona_interp.errors import SchemaError
from persona_interp.schema.words import Distance
from persona_interp.worlds import World, overlaps

ARRIVAL = -1.0
"""Mean over topics of log2 P(the persona's value) at which the assistant counts as the persona."""
TOLERANCE = 1e-6
"""Relative; what is asymmetric or violates the triangle by less is rounding."""


def trait_distance(world: World) -> pd.DataFrame:
    """Number of topics on which each two personas truly differ.

    Args:
        world: The world of the documents.

    Returns:
        A metric table of ``unshared topics``, unordered pairs.

    >>> from persona_interp.worlds import john_and_sam
    >>> table = trait_distance(john_and_sam())
    >>> table.query("name == 'john' and other == 'sam'")["estimate"].tolist()
    [4.0]
    """
    n, rows = len(world.topics), []
    for (name, other), shared in overlaps(world).items():
        rows.append(("unshared topics", name, other, float(n - shared), np.nan, np.nan, n))
    return _metric(rows)


def continuation_distance(divergence: pd.DataFrame) -> pd.DataFrame:
    """Distance of each two personas by how they continue the same text (0 to 1).

    Args:
        divergence: Of ``record.divergence``.

    Returns:
        A metric table of ``root js``, unordered pairs: mean over documents weighted by tokens (0 to
        1); interval by the jackknife over documents, ``n`` documents. Measured
        coverage .91 to .95 (6 to 30 documents); .86 to .89 where lengths differ by orders of
        magnitude (lognormal, SD 2).

    >>> table = pd.DataFrame({"doc": [0, 1], "distance": [0.5, 0.25], "n_tokens": [1, 3]})
    >>> continuation_distance(table.assign(name="john", other="sam"))["estimate"].tolist()
    [0.3125]
    """
    schema.check(divergence, "divergence")
    rows = []
    for _, own in divergence.groupby(["name", "other"], sort=False):
        name, other = own["name"].iloc[0], own["other"].iloc[0]
        distance, weight = (own[c].to_numpy(np.float64) for c in ("distance", "n_tokens"))
        total, tokens = (distance * weight).sum(), weight.sum()
        with np.errstate(invalid="ignore"):  # a single document leaves nothing
            left_out = (total - distance * weight) / (tokens - weight)
        estimate, lo, hi, _ = jackknife(total / tokens, left_out)
        rows.append(("root js", name, other, float(estimate), float(lo), float(hi), len(own)))
    return _metric(rows)


def kernel_distance(gradients: pd.DataFrame) -> pd.DataFrame:
    """Distance of each two personas by how what they say would pull the weights (1 - cosine).

    Args:
        gradients: Of ``record.gradients``.

    Returns:
        A metric table of ``gradients (full)`` and so on, unordered pairs: ``1 - cosine`` (science
        notes A13), without an interval, ``n`` tokens of the first.

    >>> table = pd.DataFrame({"name": list("aabb"), "other": list("abab")})
    >>> table["cosine"] = [1.0, 0.5, 0.5, 1.0]
    >>> kernel_distance(table.assign(space="full", dot=1.0, n_tokens=9))["estimate"].tolist()
    [0.5]
    """
    rows = []
    for row in _each_pair_once(schema.check(gradients, "gradients")):
        estimator, pair = f"gradients ({row['space']})", (row["name"], row["other"])
        estimate = 1 - row["cosine"]
        rows.append((estimator, *pair, estimate, np.nan, np.nan, row["n_tokens"]))
    return _metric(rows)


def direction_distance(cosines: pd.DataFrame) -> pd.DataFrame:
    """Distance of each two personas by where their directions point (1 - cosine).

    Args:
        cosines: Of ``cosine_map``, directions seen from the mean of the others, one hook.

    Returns:
        A metric table of ``activations``, unordered pairs: ``1 - cosine``, without an interval.

    >>> table = pd.DataFrame({"name": list("aabb"), "other": list("abab")})
    >>> table["cosine"] = [1.0, 0.5, 0.5, 1.0]
    >>> direction_distance(table.assign(hook="h"))["estimate"].tolist()
    [0.5]
    """
    schema.check(cosines, "cosines")
    if len(set(cosines["hook"])) > 1:
        raise SchemaError(
            f"distances are at one hook; got {sorted(set(cosines['hook']))}. Select one."
        )
    rows = []
    for row in _each_pair_once(cosines):
        pair, estimate = (row["name"], row["other"]), 1 - row["cosine"]
        rows.append(("activations", *pair, estimate, np.nan, np.nan, 1))
    return _metric(rows)


def _each_pair_once(table: pd.DataFrame) -> list[dict[Any, Any]]:
    """Rows in which the name that appears first in the table is the first of the pair."""
    order = {name: i for i, name in enumerate(dict.fromkeys(table["name"]))}
    rows = table.to_dict("records")
    return [row for row in rows if order[row["name"]] < order[row["other"]]]


def walk_distance(odds: pd.DataFrame, solution: pd.DataFrame, world: World) -> pd.DataFrame:
    """Distance that a model which is one persona had to go to become another.

    ``steps``: until the mean over topics of log2 P(the other's value) reaches -1 bit (linear
    between snapshots; inf: not within the lesson). ``nats``: the mean over topics of -ln P(the
    other's value), summed over all steps (trapezoid between snapshots). Of the walk's end: ``kl``,
    from before to after on generic text (bits a token); ``efficiency``, squared length of the
    change of the weights over the nats it saved (what ``record.solution`` calls efficiency,
    inverted: **far = inefficient**); ``stability``, the rise of the loss under noise half as long
    as the change (**far = unstable**).

    Args:
        odds: Log odds of the nameless assistant at every snapshot; ``start`` and ``end`` name the
            personas.
        solution: Of ``record.solution``, with the same columns, one length of noise.
        world: Says who holds what.

    Returns:
        A metric table, ordered pairs, without intervals; ``n`` topics.
    """
    rows, n = [], len(world.topics)
    walks = odds.loc[odds["start"] != ""]
    for _, walk in walks.groupby(["start", "end"], sort=False):
        pair = walk["start"].iloc[0], walk["end"].iloc[0]
        traits = [str(t) for t in world.persona(str(pair[1])).traits]
        mine = walk.loc[(walk["topic"] + "=" + walk["value"]).isin(traits)]
        bits = mine.assign(bits=np.log2(mine["probability"])).groupby("step")["bits"].mean()
        steps = bits.index.to_numpy(float)
        arrival = crossing(steps, bits.to_numpy(), level=ARRIVAL)
        nats = float(np.trapezoid(-bits * np.log(2), steps))
        rows.append(("steps", *pair, arrival, np.nan, np.nan, n))
        rows.append(("nats", *pair, nats, np.nan, np.nan, n))
    for row in solution.loc[solution["start"] != ""].to_dict("records"):
        pair, gain = (row["start"], row["end"]), row["loss_before"] - row["loss_after"]
        # A change of the weights that lowered no loss is infinitely inefficient.
        cost = row["norm"] ** 2 / gain if gain > 0 else np.inf
        rows.append(("kl", *pair, row["kl_generic"], np.nan, np.nan, n))
        rows.append(("efficiency", *pair, cost, np.nan, np.nan, n))
        rows.append(("stability", *pair, row["stability"], row["lo"], row["hi"], row["n"]))
    return _metric(rows)


def axioms(metric: pd.DataFrame) -> pd.DataFrame:
    """Asymmetry and violated triangle inequalities of each estimator of distance.

    Args:
        metric: A metric table of one world; estimators with each pair once are symmetric by
            construction.

    Returns:
        One row an estimator: ``asymmetry`` (mean over pairs of ``|d(p, q) - d(q, p)|`` over the
        mean distance), ``violated`` (share of ordered triples with ``d(p, r) > d(p, q) + d(q,
        r)``), ``largest`` (largest such excess over the mean distance), ``n_triples`` of finite
        distances, and ``called``: "divergence" where it is asymmetric, "dissimilarity" where it is
        symmetric but a triple is violated, "metric" where no violation was found.

    >>> rows = [("d", "a", "b", 1.0), ("d", "b", "c", 1.0), ("d", "a", "c", 3.0)]
    >>> table = pd.DataFrame(rows, columns=["estimator", "name", "other", "estimate"])
    >>> table = axioms(table.assign(lo=0.0, hi=0.0, n=1))
    >>> table[["asymmetry", "violated", "largest", "called"]].round(2).values.tolist()
    [[0.0, 0.33, 0.6, 'dissimilarity']]
    """
    rows = []
    for estimator, own in schema.check(metric, "metric").groupby("estimator", sort=False):
        d, _ = square(own)
        pairs = d[~np.eye(len(d), dtype=bool) & np.isfinite(d)]
        # Estimators have different units; over the mean distance they can be compared.
        scale = float(np.abs(pairs).mean()) if len(pairs) else np.nan
        with np.errstate(invalid="ignore"):  # inf - inf: nobody got there, either way
            gap = np.abs(d - d.T)[np.triu_indices(len(d), 1)]
        asymmetry = violated = largest = np.nan
        if np.isfinite(gap).any():
            asymmetry = float(np.nanmean(gap[np.isfinite(gap)]) / scale)
        excess = _detour_excess(d) / scale
        over = excess > TOLERANCE
        if len(excess):
            violated, largest = float(over.mean()), float(max(excess.max(), 0.0))
        if asymmetry > TOLERANCE:
            kind = Distance.DIVERGENCE
        elif over.any():
            kind = Distance.DISSIMILARITY
        else:
            kind = Distance.METRIC
        row = {"estimator": estimator, "asymmetry": asymmetry, "violated": violated}
        rows.append({**row, "largest": largest, "n_triples": len(excess), "called": kind.value})
    return pd.DataFrame(rows)


def _detour_excess(d: np.ndarray) -> np.ndarray:
    """By how much the way p to r is longer than over q, for every ordered triple that is finite."""
    excess = []
    for p, q, r in permutations(range(len(d)), 3):
        way, one, other = d[p, r], d[p, q], d[q, r]
        if np.isfinite(way + one + other):
            excess.append(way - one - other)
    return np.array(excess)


def square(own: pd.DataFrame) -> tuple[np.ndarray, list[str]]:
    """Distances of one estimator as a matrix.

    Args:
        own: Rows of one estimator of a metric table; a pair that is there once is symmetric.

    Returns:
        Distances, dims (name, other), 0 on the diagonal and NaN where there is none, and the names.
    """
    names = list(dict.fromkeys([*own["name"], *own["other"]]))
    d = np.full((len(names), len(names)), np.nan)
    for name, other, estimate in zip(own["name"], own["other"], own["estimate"], strict=True):
        d[names.index(name), names.index(other)] = estimate
    d = np.where(np.isnan(d), d.T, d)
    np.fill_diagonal(d, 0.0)
    return d, names


def _metric(rows: list[tuple]) -> pd.DataFrame:
    """The metric table of these rows."""
    columns = ["estimator", "name", "other", "estimate", "lo", "hi", "n"]
    return schema.check(pd.DataFrame(rows, columns=columns), "metric")
