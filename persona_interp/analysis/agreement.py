"""Do estimators of one thing agree with each other and with the truth, and which of them predicts a finetune?

Rank correlations, because units differ. Personas are the unit of chance, also where rows are pairs
of them: pairs that share a persona are not independent, so permutations and bootstrap move
personas, within their world.
"""

from collections.abc import Iterable
from itertools import combinations
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import stats

from persona_interp import schema
from persona_interp.analysis.metric import square
from persona_interp.errors import SchemaError, unknown

REACHES = 0.7
"""Spearman's rho with the truth from which on an estimator is said to work."""

Array = npt.NDArray[np.float64]


def agreement(
    table: pd.DataFrame, *, n_permutations: int = 1_000, n_bootstrap: int = 400, seed: int = 0
) -> pd.DataFrame:
    """Do two estimators rank personas, or pairs of personas, alike?

    Spearman's rho over the personas (or pairs) of all worlds together; of an estimator of distance
    that depends on the order, the mean of both ways. The null permutes the personas of every world
    (Mantel 1967 where rows are pairs); the interval is that of a bootstrap of personas within
    worlds (2.5 and 97.5 %; a pair of one persona with itself is left out).

    Args:
        table: A measure or a metric table with the column ``seed``, one world each.
        n_permutations: The smallest p is 1 / (1 + n).
        n_bootstrap: Samples of personas.
        seed: Of both.

    Returns:
        An agreement table, one row an unordered pair of estimators: ``rho``, ``lo``, ``hi``, ``p``
        (two-sided), ``null_lo``, ``null_hi``, ``within`` (mean over worlds of rho within the
        world), ``n`` rows, ``n_seeds``. Where one of them does not vary, all are NaN.

    Raises:
        SchemaError: No such table, or estimators of which no two have three personas in common.

    >>> rows = [(0, e, p, x) for e in ("documents", "traits") for p, x in zip("abcdef", range(6))]
    >>> table = pd.DataFrame(rows, columns=["seed", "estimator", "persona", "estimate"]).assign(lo=0.0, hi=0.0, n=1)
    >>> agreement(table, n_permutations=99, n_bootstrap=10)[["one", "other", "rho", "n"]].values.tolist()
    [['documents', 'traits', 1.0, 6]]
    """
    schema.check(table, "measure" if "persona" in table else "metric")
    if "seed" not in table:
        raise SchemaError("which rows are of one world? Give the table a column seed.")
    worlds = {s: _estimates(own) for s, own in table.groupby("seed", sort=False)}
    rng, rows = np.random.default_rng(seed), []
    for one, other in combinations(dict.fromkeys(table["estimator"]), 2):
        both = [
            _common(found[one], found[other])
            for found in worlds.values()
            if one in found and other in found
        ]
        both = [(x, y) for x, y in both if len(x) > 2]
        if both:
            found = _compared(both, rng, n_permutations=n_permutations, n_bootstrap=n_bootstrap)
            rows.append({"one": one, "other": other, **found, "n_seeds": len(both)})
    if not rows:
        raise SchemaError(
            "no two estimators have three personas of one world in common; there is nothing to "
            "compare."
        )
    return schema.check(pd.DataFrame(rows), "agreement")


def agreement_with_truth(table: pd.DataFrame, truth: str) -> pd.DataFrame:
    """Which estimators find the truth?

    Args:
        table: Of ``agreement``.
        truth: Name of the true one among the estimators.

    Returns:
        One row an estimator, best first: ``estimator``, ``rho`` and the other columns, ``works``
        (rho at least 0.7).

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
    found = mine.drop(columns=["one", "other"]).assign(
        estimator=names, works=mine["rho"] >= REACHES
    )
    found = found.sort_values(by="rho", ascending=False, kind="stable").reset_index(drop=True)
    return found[["estimator", *(c for c in found if c != "estimator")]]


def best_estimator(
    table: pd.DataFrame, estimators: Iterable[str], *, outcome: str = "share"
) -> pd.DataFrame:
    """Which estimator predicts who is summoned, in worlds that did not choose it?

    For every world, the estimator whose rank correlation with the outcome is largest in size over
    the other worlds (mean of rho within worlds) is tried on this one, with the sign that it had
    there.

    Args:
        table: One row a candidate, with ``seed`` and a column for every estimator.
        estimators: Names of those columns.
        outcome: Column that is predicted.

    Returns:
        One row a world left out: ``seed``, ``estimator`` chosen on the others, ``rho_chosen``
        there, ``rho`` here with that sign, ``n`` candidates here.

    Raises:
        SchemaError: A column is missing, or there are fewer than two worlds.

    >>> rows = [(s, x, -x, (7 * x) % 4) for s in (0, 1) for x in range(4)]
    >>> table = pd.DataFrame(rows, columns=["seed", "share", "distance", "other"])
    >>> best_estimator(table, ["distance", "other"])[["seed", "estimator", "rho"]].values.tolist()
    [[0, 'distance', 1.0], [1, 'distance', 1.0]]
    """
    names = list(estimators)
    for column in ("seed", outcome, *names):
        if column not in table:
            raise SchemaError(unknown("column", column, table.columns))
    if len(set(table["seed"])) < 2:
        raise SchemaError(
            "what is chosen on some worlds is tried on others; this table has one world."
        )
    seeds = list(dict.fromkeys(table["seed"]))
    rho = np.empty((len(seeds), len(names)))
    for i, seed in enumerate(seeds):
        own = table.loc[table["seed"] == seed, [outcome, *names]].to_numpy(np.float64).T
        rho[i] = [_spearman(x, own[0]) for x in own[1:]]
    rows = []
    for i, seed in enumerate(seeds):
        elsewhere = np.nan_to_num(np.delete(rho, i, axis=0)).mean(axis=0)
        best = int(np.abs(elsewhere).argmax())
        sign = 1.0 if elsewhere[best] >= 0 else -1.0
        n = sum(table["seed"] == seed)
        rows.append((seed, names[best], float(abs(elsewhere[best])), float(sign * rho[i, best]), n))
    return pd.DataFrame(rows, columns=["seed", "estimator", "rho_chosen", "rho", "n"])


class _Estimates(NamedTuple):
    """One estimator in one world: of whom, and numbers, dims (persona), or distances, dims (persona, persona)."""

    names: list[str]
    values: Array

    def of(self, names: list[str]) -> Array:
        """These personas in this order."""
        at = [self.names.index(name) for name in names]
        return self.values[at] if self.values.ndim == 1 else self.values[np.ix_(at, at)]


def _estimates(table: pd.DataFrame) -> dict[str, _Estimates]:
    """Every estimator of one world."""
    found = {}
    for estimator, own in table.groupby("estimator", sort=False):
        if "persona" in own:
            known = {
                p: float(x) for p, x in zip(own["persona"], own["estimate"], strict=True) if x == x
            }
            found[str(estimator)] = _Estimates(list(known), np.array(list(known.values())))
        else:
            d, names = square(own)
            found[str(estimator)] = _Estimates(names, (d + d.T) / 2)
    return found


def _common(one: _Estimates, other: _Estimates) -> tuple[Array, Array]:
    """Both estimators on the personas that both have."""
    names = [name for name in one.names if name in other.names]
    return one.of(names), other.of(names)


def _compared(
    both: list[tuple[Array, Array]],
    rng: np.random.Generator,
    *,
    n_permutations: int,
    n_bootstrap: int,
) -> dict[str, float | int]:
    """What is rho of all worlds together, with its null and interval?"""
    here = [np.arange(len(x))[None] for x, _ in both]
    first, second = (
        np.concatenate([_rows(p[k], at) for p, at in zip(both, here, strict=True)], 1)
        for k in (0, 1)
    )
    rho = _spearman(first[0], second[0])
    within = [
        _spearman(_rows(x, at)[0], _rows(y, at)[0]) for (x, y), at in zip(both, here, strict=True)
    ]
    if np.isnan(rho):  # one of them says the same of everybody
        return {
            **dict.fromkeys(("rho", "lo", "hi", "p", "null_lo", "null_hi", "within"), np.nan),
            "n": first.shape[1],
        }
    order = [rng.permuted(np.tile(at, (n_permutations, 1)), axis=1) for at in here]
    # A permutation changes no rank, so ranks are taken once.
    ranks = _standardized(stats.rankdata(second[0]))
    shuffled = np.concatenate(
        [_rows(x, at) for (x, _), at in zip(both, order, strict=True)], axis=1
    )
    null = _standardized(stats.rankdata(shuffled, axis=1)) @ ranks / len(ranks)
    drawn = []
    for _ in range(n_bootstrap):
        at = [rng.integers(len(x), size=(1, len(x))) for x, _ in both]
        x, y = (
            np.concatenate([_rows(p[k], i)[0] for p, i in zip(both, at, strict=True)])
            for k in (0, 1)
        )
        keep = ~np.isnan(x)
        drawn.append(_spearman(x[keep], y[keep]))
    p = (1 + (np.abs(null) >= abs(rho) * (1 - 1e-9)).sum()) / (1 + n_permutations)
    lo, hi = np.nanquantile(drawn, [0.025, 0.975])
    null_lo, null_hi = np.quantile(null, [0.025, 0.975])
    found = {
        "rho": rho,
        "lo": lo,
        "hi": hi,
        "p": p,
        "null_lo": null_lo,
        "null_hi": null_hi,
        "within": np.mean(within),
    }
    return {**{name: float(value) for name, value in found.items()}, "n": first.shape[1]}


def _rows(x: Array, at: npt.NDArray[np.intp]) -> Array:
    """What is compared when these personas stand in these places: dims (draw, persona or pair)."""
    if x.ndim == 1:
        return x[at]
    i, j = np.triu_indices(at.shape[1], 1)
    return np.where(
        at[:, i] == at[:, j], np.nan, x[at[:, i], at[:, j]]
    )  # somebody drawn twice is no pair


def _spearman(x: Array, y: Array) -> float:
    if len(x) < 3 or (x == x[0]).all() or (y == y[0]).all():
        return float("nan")
    return float(_standardized(stats.rankdata(x)) @ _standardized(stats.rankdata(y)) / len(x))


def _standardized(ranks: Array) -> Array:
    return (ranks - ranks.mean(axis=-1, keepdims=True)) / ranks.std(axis=-1, keepdims=True)
