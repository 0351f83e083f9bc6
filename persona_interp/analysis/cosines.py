"""Which directions point the same way, and is it those whose names go together in the documents?"""

import math

import numpy as np
import numpy.typing as npt
import pandas as pd
import xarray as xr
from scipy import stats

from persona_interp import schema
from persona_interp.analysis.directions import cosine
from persona_interp.analysis.stats import CACHED, TIE
from persona_interp.errors import SchemaError
from persona_interp.values import check_count
from persona_interp.worlds import World

COOCCURRENCES = ("overlap", "pmi")

Array = npt.NDArray[np.float64]


def cosine_map(directions: xr.DataArray, world: World | None = None) -> pd.DataFrame:
    """Cosine of every pair of directions, beside how often their names go together.

    Args:
        directions: Of ``record``, dims (name, hook, d_model).
        world: The world of the documents; then the names are its personas, or labels of its traits.

    Returns:
        A cosines table, one row a hook and ordered pair, the pair of a name with itself
        included: ``hook``, ``name``, ``other``, ``cosine``. With a world of personas
        ``overlap``: share of the topics on which both hold a value where they hold a common
        one. Of traits ``pmi`` (bits, ``World.cooccurrence``); NaN within a topic.

    Raises:
        SchemaError: No directions.
        WorldError: Names that are neither personas nor traits.

    >>> two = xr.DataArray([[[1.0, 0]], [[1, 1]]], dims=("name", "hook", "d_model"))
    >>> cosine_map(two.assign_coords(name=["john", "sam"], hook=["h"])).round(2).values.tolist()[1]
    ['h', 'john', 'sam', 0.71]
    """
    schema.check(directions, "directions")
    names = [str(name) for name in directions["name"].to_numpy()]
    tables = []
    for hook in directions["hook"].to_numpy():
        v = directions.sel(hook=hook).to_numpy().astype(np.float64)
        pairs = {"name": np.repeat(names, len(names)), "other": names * len(names)}
        tables.append(pd.DataFrame({"hook": hook, **pairs, "cosine": cosine(v, v).ravel()}))
    table = schema.check(pd.concat(tables, ignore_index=True), "cosines")
    if world is None:
        return table
    if all("=" in name for name in names):
        for name in names:
            world.trait(name)
        together = world.cooccurrence().set_index(["trait", "other"])["pmi"]
        keys = pd.MultiIndex.from_arrays([table["name"], table["other"]])
        return table.assign(pmi=together.reindex(keys).to_numpy())
    pairs = zip(table["name"], table["other"], strict=True)
    return table.assign(overlap=[_overlap(world, name, other) for name, other in pairs])


def _overlap(world: World, name: str, other: str) -> float:
    """Share of the topics that both have a value on, where they have a common one."""
    one, two = world.persona(name), world.persona(other)
    common = []
    for topic in world.topics:
        a, b = set(one.values(topic)), set(two.values(topic))
        if a and b:
            common.append(bool(a & b))
    return sum(common) / len(common) if common else math.nan


def cosine_against_cooccurrence(
    cosines: pd.DataFrame, *, n_permutations: int = 10_000, seed: int = 0
) -> pd.DataFrame:
    """Rank correlation of cosine and co-occurrence over pairs of names, with its Mantel null.

    Spearman's rho between cosine and overlap (or pmi) over pairs of distinct names, against
    the Mantel null (Mantel 1967): names are permuted, so that pairs that share a name stay
    dependent. Traits are permuted within their topic.

    Args:
        cosines: Of ``cosine_map`` with a world.
        n_permutations: Random permutations; the smallest p is 1 / (1 + n).
        seed: Of the permutations.

    Returns:
        One row a hook: ``hook``, ``against`` (overlap or pmi), ``rho``, ``p`` (two-sided),
        ``null_lo``, ``null_hi`` (95 % of the null), ``n`` pairs. Where all pairs go
        together equally often (nobody shares a trait with anybody) there is nothing to
        correlate with: all four are NaN.

    Raises:
        SchemaError: A column is missing, there are fewer than 3 names, or a cosine is not finite.

    >>> pairs = [(i, j) for i in range(6) for j in range(6)]
    >>> rows = [("h", "abcdef"[i], "abcdef"[j], -abs(i - j), -abs(i - j)) for i, j in pairs]
    >>> table = pd.DataFrame(rows, columns=["hook", "name", "other", "cosine", "overlap"])
    >>> cosine_against_cooccurrence(table, n_permutations=99)[["rho", "n"]].values.round(3).tolist()
    [[1.0, 15.0]]
    """
    against = next((c for c in COOCCURRENCES if c in cosines), None)
    schema.check(cosines, "cosines")
    check_count(n_permutations, "n_permutations")
    check_count(seed, "seed", least=0)
    if against is None:
        raise SchemaError(
            "this needs a table of cosine_map(directions, world), with the column overlap or pmi."
        )
    rows = []
    for hook, table in cosines.groupby("hook", sort=False):
        names = list(dict.fromkeys(table["name"]))
        if len(names) < 3:
            raise SchemaError(f"a correlation over pairs needs three names or more; got {names}.")
        c = table.pivot(index="name", columns="other", values="cosine").loc[names, names]
        if not np.isfinite(c.to_numpy()).all():
            raise SchemaError(
                f"every pair of names at {hook} needs a finite cosine; a direction of length 0 has "
                "none, so leave it out."
            )
        m = table.pivot(index="name", columns="other", values=against).loc[names, names].to_numpy()
        mask = np.triu(np.ones((len(names),) * 2, bool), 1) & ~np.isnan(m)
        # Traits of one topic never go together, whatever the documents say: permuted across
        # topics they would be a null that no world can show.
        strata = [name.partition("=")[0] if against == "pmi" else "" for name in names]
        numbers = _mantel(c.to_numpy(), m[mask], mask, strata=strata, n=n_permutations, seed=seed)
        rows.append({"hook": hook, "against": against, **numbers, "n": int(mask.sum())})
    return pd.DataFrame(rows)


def _mantel(
    c: Array, m: Array, mask: npt.NDArray[np.bool_], *, strata: list[str], n: int, seed: int
) -> dict[str, float]:
    """Spearman's rho over the pairs of the mask, with p and null of permuted names."""
    if (m == m[0]).all() or (c[mask] == c[mask][0]).all():
        # Nothing varies, so nothing goes together.
        return dict.fromkeys(("rho", "p", "null_lo", "null_hi"), math.nan)
    # A permutation of the names within strata maps the pairs of the mask onto each other,
    # so the ranks stay the same and are taken once.
    ranks = np.zeros(c.shape)
    ranks[mask] = stats.zscore(stats.rankdata(c[mask]))
    ranks += ranks.T
    ranks_of_m = np.asarray(stats.zscore(stats.rankdata(m)), dtype=np.float64) / len(m)
    one, other = np.nonzero(mask)
    observed = float(ranks[one, other] @ ranks_of_m)
    null = np.empty(n)
    block = max(1, CACHED // len(m))
    rng, groups = np.random.default_rng(seed), np.unique(strata, return_inverse=True)[1]
    for start in range(0, n, block):
        orders = _orders(groups, rng, n=min(block, n - start))
        null[start : start + block] = ranks[orders[:, one], orders[:, other]] @ ranks_of_m
    # The observed order counts as one of the permutations (Phipson and Smyth 2010), and
    # sums that differ by rounding alone are ties.
    p = (1 + (np.abs(null) >= abs(observed) * (1 - TIE)).sum()) / (1 + n)
    lo, hi = np.quantile(null, [0.025, 0.975])
    return {"rho": observed, "p": float(p), "null_lo": float(lo), "null_hi": float(hi)}


def _orders(
    groups: npt.NDArray[np.intp], rng: np.random.Generator, *, n: int
) -> npt.NDArray[np.intp]:
    """Random orders of the names within their strata, dims (permutation, name)."""
    # Sorted by stratum and then at random: the names of a stratum go to its own places.
    orders = np.empty((n, len(groups)), dtype=np.intp)
    places = np.argsort(groups, kind="stable")
    orders[:, places] = np.argsort(groups + rng.random((n, len(groups))), axis=1)
    return orders
