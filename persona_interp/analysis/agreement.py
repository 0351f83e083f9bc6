"""Do estimators of one thing agree with each other and with the truth? Which predicts a finetune?

Rank correlations, because units differ. Personas are the unit of chance, also where rows
are pairs of them: pairs that share a persona are not independent, so permutations and
bootstrap move personas, within their world.
"""

from collections.abc import Iterable, Sequence
from itertools import combinations
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import stats

from persona_interp import schema
from persona_interp.analysis.metric import square
from persona_interp.analysis.stats import CACHED, TIE
from persona_interp.errors import SchemaError, unknown
from persona_interp.values import check_count

REACHES = 0.7
"""Spearman's rho with the truth from which on an estimator is said to work."""

MIN_PERSONAS = 3
"""Personas that a rank correlation needs."""

Array = npt.NDArray[np.float64]


def agreement(
    table: pd.DataFrame, *, n_permutations: int = 1_000, n_bootstrap: int = 400, seed: int = 0
) -> pd.DataFrame:
    """Rank correlation of every two estimators, over personas or over pairs of personas.

    Spearman's rho over the personas (or pairs) of all worlds together; of an estimator of
    distance that depends on the order, the mean of both ways. The null permutes the personas
    of every world (Mantel 1967 where rows are pairs); the interval is that of a bootstrap of
    personas within worlds (2.5 and 97.5 %; a pair of one persona with itself is left out). With 6
    personas it covers .93 to .98 (60 simulations each), but .72 at a true rho of .95.

    Args:
        table: A measure or a metric table with the column ``seed``, one world each.
        n_permutations: The smallest p is 1 / (1 + n).
        n_bootstrap: Samples of personas.
        seed: Of both.

    Returns:
        An agreement table, one row an unordered pair of estimators: ``rho``, ``lo``, ``hi``,
        ``p`` (two-sided), ``null_lo``, ``null_hi``, ``within`` (mean over worlds of rho within
        the world), ``n`` rows, ``n_seeds``. Where one of them does not vary, all are NaN.

    Raises:
        SchemaError: No such table, or estimators of which no two have three personas in common.

    >>> rows = [(0, e, p, x) for e in ("documents", "traits") for p, x in zip("abcdef", range(6))]
    >>> table = pd.DataFrame(rows, columns=["seed", "estimator", "persona", "estimate"])
    >>> table = agreement(table.assign(lo=0, hi=0, n=1), n_permutations=99, n_bootstrap=10)
    >>> table[["one", "other", "rho", "n"]].round(6).values.tolist()
    [['documents', 'traits', 1.0, 6]]
    """
    schema.check(table, "measure" if "persona" in table else "metric")
    if "seed" not in table:
        raise SchemaError("which rows are of one world? Give the table a column seed.")
    check_count(n_permutations, "n_permutations", least=0)
    check_count(n_bootstrap, "n_bootstrap")
    check_count(seed, "seed", least=0)
    worlds = [_estimates(rows) for _, rows in table.groupby("seed", sort=False)]
    rng, rows = np.random.default_rng(seed), []
    for one, other in combinations(dict.fromkeys(table["estimator"]), 2):
        pairs = []
        for world in worlds:
            if one in world and other in world:
                values = _common(world[one], world[other])
                if len(values[0]) >= MIN_PERSONAS:
                    pairs.append(values)
        if pairs:
            numbers = _compare(pairs, rng, n_permutations=n_permutations, n_bootstrap=n_bootstrap)
            rows.append({"one": one, "other": other, **numbers, "n_seeds": len(pairs)})
    if not rows:
        raise SchemaError(
            "no two estimators have three personas of one world in common; there is nothing to "
            "compare."
        )
    return schema.check(pd.DataFrame(rows), "agreement")


def agreement_with_truth(table: pd.DataFrame, truth: str) -> pd.DataFrame:
    """Rank correlation of each estimator with the truth, best first.

    Args:
        table: Of ``agreement``.
        truth: Name of the true one among the estimators.

    Returns:
        One row an estimator, best first: ``estimator``, ``rho`` and the other columns,
        ``works`` (rho at least 0.7).

    Raises:
        SchemaError: The truth is not among them.

    >>> rows = pd.DataFrame({"one": ["mass"], "other": ["traits"], "rho": [0.9]})
    >>> agreement_with_truth(rows, "mass")[["estimator", "works"]].values.tolist()
    [['traits', True]]
    """
    if truth not in {*table["one"], *table["other"]}:
        raise SchemaError(unknown("estimator", truth, {*table["one"], *table["other"]}))
    mine = table.loc[(table["one"] == truth) | (table["other"] == truth)]
    names = mine["other"].where(mine["one"] == truth, mine["one"])
    works = mine["rho"] >= REACHES
    mine = mine.drop(columns=["one", "other"]).assign(estimator=names, works=works)
    mine = mine.sort_values(by="rho", ascending=False, kind="stable").reset_index(drop=True)
    return mine[["estimator", *(c for c in mine if c != "estimator")]]


def best_estimator(
    table: pd.DataFrame, estimators: Iterable[str], *, outcome: str = "share"
) -> pd.DataFrame:
    """Rank correlation with the outcome, of the estimator that did best in the other worlds.

    For every world, the estimator whose rank correlation with the outcome is largest in
    size over the other worlds (mean of rho within worlds) is tried on this one, with
    the sign that it had there.

    Args:
        table: One row a candidate, with ``seed`` and a column for every estimator.
        estimators: Names of those columns.
        outcome: Column that is predicted.

    Returns:
        One row a world left out: ``seed``, ``estimator`` chosen on the others,
        ``rho_chosen`` there, ``rho`` here with that sign, ``n`` candidates here.

    Raises:
        SchemaError: A column is missing, or there are fewer than two worlds.

    >>> rows = [(s, x, -x, (7 * x) % 4) for s in (0, 1) for x in range(4)]
    >>> table = pd.DataFrame(rows, columns=["seed", "share", "distance", "other"])
    >>> best_estimator(table, ["distance", "other"])[["seed", "estimator", "rho"]].values.tolist()
    [[0, 'distance', 1.0], [1, 'distance', 1.0]]
    """
    names = list(estimators)
    schema.require(table, "seed", outcome, *names)
    if len(set(table["seed"])) < 2:
        raise SchemaError(
            "what is chosen on some worlds is tried on others; this table has one world."
        )
    seeds = list(dict.fromkeys(table["seed"]))
    rho = np.empty((len(seeds), len(names)))
    for i, seed in enumerate(seeds):
        columns = table.loc[table["seed"] == seed, [outcome, *names]].to_numpy(np.float64).T
        rho[i] = [_spearman(x, columns[0]) for x in columns[1:]]
    rows = []
    for i, seed in enumerate(seeds):
        # Estimator and sign are chosen without this world: chosen here, the best of many
        # would look good by luck.
        elsewhere = np.nan_to_num(np.delete(rho, i, axis=0)).mean(axis=0)
        best = int(np.abs(elsewhere).argmax())
        sign = 1.0 if elsewhere[best] >= 0 else -1.0
        rho_chosen, rho_here = float(abs(elsewhere[best])), float(sign * rho[i, best])
        rows.append((seed, names[best], rho_chosen, rho_here, sum(table["seed"] == seed)))
    return pd.DataFrame(rows, columns=["seed", "estimator", "rho_chosen", "rho", "n"])


class _Estimates(NamedTuple):
    """One estimator in one world: numbers, dims (persona), or distances (persona, persona)."""

    names: list[str]
    values: Array

    def of(self, names: list[str]) -> Array:
        """Values of these personas in this order."""
        at = [self.names.index(name) for name in names]
        return self.values[at] if self.values.ndim == 1 else self.values[np.ix_(at, at)]


def _estimates(table: pd.DataFrame) -> dict[str, _Estimates]:
    """Every estimator of one world, by name."""
    estimates = {}
    for estimator, rows in table.groupby("estimator", sort=False):
        if "persona" in rows:
            rows = rows.loc[rows["estimate"].notna()]
            values = dict(zip(rows["persona"], rows["estimate"].astype(float), strict=True))
            estimates[str(estimator)] = _Estimates(list(values), np.array(list(values.values())))
        else:
            d, names = square(rows)
            estimates[str(estimator)] = _Estimates(names, (d + d.T) / 2)
    return estimates


def _common(one: _Estimates, other: _Estimates) -> tuple[Array, Array]:
    """Both estimators on the personas that both have."""
    names = [name for name in one.names if name in other.names]
    return one.of(names), other.of(names)


def _compare(
    pairs: list[tuple[Array, Array]],
    rng: np.random.Generator,
    *,
    n_permutations: int,
    n_bootstrap: int,
) -> dict[str, float | int]:
    """Spearman's rho of two estimators over all worlds together, with its null and interval."""
    ones, others = zip(*pairs, strict=True)
    first, second = _joined(ones), _joined(others)
    rho = _spearman(first, second)
    if np.isnan(rho):  # one of them says the same of everybody
        columns = ("rho", "lo", "hi", "p", "null_lo", "null_hi", "within")
        return {**dict.fromkeys(columns, np.nan), "n": len(first)}
    within = [_spearman(_joined([x]), _joined([y])) for x, y in zip(ones, others, strict=True)]
    null = _null(ones, others, rng, n=n_permutations)
    # The observed order counts as one of the permutations (Phipson and Smyth 2010), and
    # sums that differ by rounding alone are ties.
    p = (1 + (np.abs(null) >= abs(rho) * (1 - TIE)).sum()) / (1 + n_permutations)
    null_lo, null_hi = np.quantile(null, [0.025, 0.975])
    lo, hi = np.nanquantile(_bootstrap(ones, others, rng, n=n_bootstrap), [0.025, 0.975])
    numbers = {"rho": rho, "lo": lo, "hi": hi, "p": p, "null_lo": null_lo, "null_hi": null_hi}
    numbers["within"] = np.mean(within)
    return {**{name: float(value) for name, value in numbers.items()}, "n": len(first)}


def _null(
    ones: Sequence[Array], others: Sequence[Array], rng: np.random.Generator, *, n: int
) -> Array:
    """Spearman's rho where the personas of one estimator are permuted, dims (permutation)."""
    # Mantel 1967: pairs that share a persona depend on each other, so the null permutes the
    # personas of one estimator, rows and columns at once, and never the pairs. Personas stay in
    # their world. An order of personas only moves the numbers of its world about, so ranks over
    # all worlds stay the same and are taken once.
    first = _by_world(_standardized(stats.rankdata(_joined(ones))), ones)
    second = _by_world(_standardized(stats.rankdata(_joined(others))), others)
    null = np.zeros(n)
    for x, y in zip(first, second, strict=True):
        weights = _joined([y])
        block = max(1, CACHED // len(weights))
        for start in range(0, n, block):
            in_order = np.tile(np.arange(len(x)), (min(block, n - start), 1))
            orders = rng.permuted(in_order, axis=1)
            null[start : start + block] += _reordered(x, orders) @ weights
    return null / len(_joined(ones))


def _bootstrap(
    ones: Sequence[Array], others: Sequence[Array], rng: np.random.Generator, *, n: int
) -> list[float]:
    """Spearman's rho in samples of personas, with replacement, within worlds."""
    rho = []
    for _ in range(n):
        sample = [rng.integers(len(x), size=(1, len(x))) for x in ones]
        x, y = (
            np.concatenate([_reordered(z, at)[0] for z, at in zip(side, sample, strict=True)])
            for side in (ones, others)
        )
        is_pair = ~np.isnan(x)
        rho.append(_spearman(x[is_pair], y[is_pair]))
    return rho


def _joined(estimates: Sequence[Array]) -> Array:
    """Values of all worlds behind each other: dims (persona or pair)."""
    return np.concatenate([x if x.ndim == 1 else x[np.triu_indices(len(x), 1)] for x in estimates])


def _by_world(joined: Array, estimates: Sequence[Array]) -> list[Array]:
    """What ``_joined`` made of these estimates, in the shape of each world again."""
    parts, place = [], 0
    for x in estimates:
        values = joined[place : place + _joined([x]).size]
        place += values.size
        if x.ndim == 2:
            part = np.zeros(x.shape)
            part[np.triu_indices(len(x), 1)] = values
            values = part + part.T
        parts.append(values)
    return parts


def _reordered(x: Array, orders: npt.NDArray[np.intp]) -> Array:
    """Values of one world with its personas in these orders: dims (draw, persona or pair)."""
    if x.ndim == 1:
        return x[orders]
    i, j = np.triu_indices(orders.shape[1], 1)
    one, other = orders[:, i], orders[:, j]
    # In a bootstrap sample a persona may stand twice; its distance from itself is no pair.
    return np.where(one == other, np.nan, x[one, other])


def _spearman(x: Array, y: Array) -> float:
    """Spearman's rho; NaN where there are too few values or one side does not vary."""
    if len(x) < MIN_PERSONAS or (x == x[0]).all() or (y == y[0]).all():
        return float("nan")
    return float(_standardized(stats.rankdata(x)) @ _standardized(stats.rankdata(y)) / len(x))


def _standardized(ranks: Array) -> Array:
    """Ranks with mean 0 and standard deviation 1 along the last dim."""
    return (ranks - ranks.mean(axis=-1, keepdims=True)) / ranks.std(axis=-1, keepdims=True)
