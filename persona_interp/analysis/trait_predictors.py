"""What foretells which untaught traits follow a lesson: geometry, co-occurrence or behavior of the model before it?

Rows are ordered pairs of traits (taught, measured), and traits are the unit of chance: pairs that
share one are not independent, so permutations relabel traits, rows and columns together, and
intervals leave out one trait at a time.
"""

import math
from itertools import permutations

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import linalg, stats

from persona_interp import schema
from persona_interp.errors import SchemaError, unknown

TRAIT_PREDICTORS = ("cosine", "cooccurrence", "behavior")
LEAST = 4
"""Traits below which there is no interval, and too few pairs for a partial correlation."""
TIE = 1e-9  # two correlations that differ by less are one, computed in another order

Array = npt.NDArray[np.float64]


def trait_cooccurrence(judged: pd.DataFrame) -> pd.DataFrame:
    """Which traits come along when the base is told to show one?

    Args:
        judged: An instructed table with ``asked`` (the trait whose instruction the answer was given
            under) and ``side`` (pos or neg), as ``record.trait_bits`` gives it of answers to trait
            prompts.

    Returns:
        One row an ordered pair: ``taught`` (the trait asked for), ``trait``, ``cooccurrence`` =
        mean of (bits_pos - bits_neg) / n_tokens over the positively instructed answers minus the
        mean over the negatively instructed ones (bits a token).

    Raises:
        SchemaError: A column is missing, or a trait lacks a side.

    >>> judged = pd.DataFrame({"asked": "dry", "side": ["pos", "neg"], "trait": "wry", "bits_pos": [-8.0, -9],
    ...                        "bits_neg": [-10.0, -9], "n_tokens": 4, "prompt": ["a", "b"], "sample": 0})
    >>> trait_cooccurrence(judged)[["taught", "trait", "cooccurrence"]].values.tolist()
    [['dry', 'wry', 0.5]]
    """
    scored = _scored(judged, "asked", "side")
    sides = scored.pivot_table(index=["asked", "trait"], columns="side", values="score", sort=False)
    sides = sides.reindex(columns=["pos", "neg"])
    if sides.isna().any(axis=None):
        lacking = sides.index[sides.isna().any(axis=1)][0]
        raise SchemaError(
            f"answers for '{lacking[0]}' lack a side; both, pos and neg, are compared."
        )
    found = sides.reset_index()
    apart = found["pos"] - found["neg"]
    return pd.DataFrame({"taught": found["asked"], "trait": found["trait"], "cooccurrence": apart})


def trait_behavior(judged: pd.DataFrame) -> pd.DataFrame:
    """Which traits rise and fall together from one default answer of the base to the next?

    Args:
        judged: An instructed table of default answers, every answer judged by every trait.

    Returns:
        One row an ordered pair of distinct traits: ``taught``, ``trait``, ``behavior`` = Spearman's
        correlation over answers of (bits_pos - bits_neg) / n_tokens of both.

    Raises:
        SchemaError: A column is missing, or an answer is not judged by every trait.

    >>> rows = [(i, t, -float(i)) for i in range(3) for t in ("dry", "wry")]
    >>> judged = pd.DataFrame(rows, columns=["prompt", "trait", "bits_pos"]).assign(bits_neg=0.0, n_tokens=1, sample=0)
    >>> trait_behavior(judged).round(6).values.tolist()
    [['dry', 'wry', 1.0], ['wry', 'dry', 1.0]]
    """
    wide = _scored(judged).pivot(index=["prompt", "sample"], columns="trait", values="score")
    if wide.isna().any(axis=None):
        raise SchemaError(
            f"the answer {wide.index[wide.isna().any(axis=1)][0]} is not judged by every trait."
        )
    rho = wide.corr(method="spearman")
    rows = [(a, b, float(rho.loc[a, b])) for a in rho.index for b in rho.columns if a != b]
    return pd.DataFrame(rows, columns=["taught", "trait", "behavior"])


def trait_predictors(
    pairs: pd.DataFrame, *, outcome: str = "estimate", n_permutations: int = 5_000, seed: int = 0
) -> pd.DataFrame:
    """Which predictor tells what a lesson moves besides its trait, and which does when the others are known?

    Over ordered pairs of distinct traits: Spearman's correlation with the outcome, and the partial
    one given the other predictors (of ranks). The null permutes traits, rows and columns together
    (QAP, Krackhardt 1988); for the partial one, what the others leave of the predictor is permuted
    (double semi-partialing, Dekker, Krackhardt and Snijders 2007). Where there are no more than
    ``n_permutations`` orders of the traits all are enumerated. Intervals: jackknife over traits for
    dyads, ``se^2 = (n - 2) / (2 n) * sum_i (z_i - mean z)^2`` (Snijders and Borgatti 1999), of ``z
    = artanh rho``, t with n - 1 degrees of freedom.

    Args:
        pairs: One row an ordered pair: ``taught``, ``trait``, the outcome and the predictors. Rows
            of a trait with itself are left out.
        outcome: Column that is predicted.
        n_permutations: Random orders, where they are not enumerated.
        seed: Of these.

    Returns:
        A trait_predictors table, one row a predictor: ``rho``, ``lo``, ``hi``, ``p``, ``null_lo``,
        ``null_hi``, the same of the partial correlation as ``partial...``, ``p_min`` (smallest p
        that these permutations can give), ``n_traits``, ``n_pairs``. Fewer than 4 traits have no
        interval and no partial correlation, fewer than 3 no correlation at all, nor has a predictor
        that does not vary: NaN.

    Raises:
        SchemaError: A column is missing, a pair is there twice or not at all, or a number is not
            finite.

    >>> names, x = list("abcdef"), np.random.default_rng(0).standard_normal((3, 6, 6))
    >>> pairs = pd.DataFrame([(names[i], names[j], *x[:, i, j]) for i in range(6) for j in range(6) if i != j],
    ...                      columns=["taught", "trait", *TRAIT_PREDICTORS])
    >>> found = trait_predictors(pairs.assign(estimate=pairs["cosine"]), n_permutations=1000)
    >>> first = found.round(6)[["predictor", "rho", "n_traits", "n_pairs"]].values.tolist()[0]
    >>> first, float(found["p"][0]) < 0.01
    (['cosine', 1.0, 6, 30], True)
    """
    names, (y, *xs) = _matrices(pairs, [outcome, *TRAIT_PREDICTORS])
    n, rows = len(names), []
    orders = _orders(n, n_permutations, seed)
    everybody = np.arange(n)
    for k, predictor in enumerate(TRAIT_PREDICTORS):
        x, others = xs[k], [other for i, other in enumerate(xs) if i != k]
        row: dict[str, str | float] = {"predictor": predictor}
        for prefix, beside in (("", []), ("partial_", others)):
            rho = _rho(y, x, beside, at=everybody) if n >= LEAST or not beside else float("nan")
            left_out = [_rho(y, x, beside, at=np.delete(everybody, i)) for i in range(n)]
            lo, hi = _bounds(rho, left_out)
            null = (
                _null(y, x, beside, orders=orders)
                if np.isfinite(rho)
                else np.full(len(orders), np.nan)
            )
            own = (
                0 if len(orders) == math.factorial(n) else 1
            )  # the labels as they are, among the enumerated
            larger = (np.abs(null) >= abs(rho) - TIE).sum()
            p = (larger + own) / (len(orders) + own) if np.isfinite(null).all() else np.nan
            bounds = (
                np.quantile(null, [0.025, 0.975]) if np.isfinite(null).all() else (np.nan, np.nan)
            )
            found = {"rho" if not prefix else "": rho, "lo": lo, "hi": hi, "p": p}
            found |= {"null_lo": bounds[0], "null_hi": bounds[1]}
            row |= {(prefix + key).removesuffix("_"): float(value) for key, value in found.items()}
        rows.append(row)
    total = len(orders) + (len(orders) != math.factorial(n))
    table = pd.DataFrame(rows).assign(p_min=1 / total, n_traits=n, n_pairs=n * (n - 1))
    return schema.check(table, "trait_predictors")


def _scored(judged: pd.DataFrame, *more: str) -> pd.DataFrame:
    schema.check(judged, "trait_bits")
    for column in more:
        if column not in judged:
            raise SchemaError(unknown("column", column, judged.columns))
    return judged.assign(score=(judged["bits_pos"] - judged["bits_neg"]) / judged["n_tokens"])


def _matrices(pairs: pd.DataFrame, columns: list[str]) -> tuple[list[str], list[Array]]:
    """Traits, and of each column a matrix (taught, measured) with an empty diagonal."""
    for column in ("taught", "trait", *columns):
        if column not in pairs:
            raise SchemaError(unknown("column", column, pairs.columns))
    rows = pairs.loc[pairs["taught"] != pairs["trait"]]
    names = sorted({*pairs["taught"], *pairs["trait"]})
    n = len(names)
    if rows.duplicated(["taught", "trait"]).any() or len(rows) != n * (n - 1):
        raise SchemaError(
            f"{n} traits make {n * (n - 1)} ordered pairs, each once; got {len(rows)} rows."
        )
    found = [
        rows.pivot(index="taught", columns="trait", values=c).loc[names, names].to_numpy(float)
        for c in columns
    ]
    for column, values in zip(columns, found, strict=True):
        if not np.isfinite(values[~np.eye(n, dtype=bool)]).all():
            raise SchemaError(f"{column} is not finite for every pair of traits.")
    return names, found


def _orders(n: int, n_permutations: int, seed: int) -> npt.NDArray[np.intp]:
    """Orders of n traits, dims (permutation, trait): all of them if there are few enough."""
    if math.factorial(n) <= n_permutations:
        return np.array(list(permutations(range(n))), dtype=np.intp)
    return np.random.default_rng(seed).permuted(np.tile(np.arange(n), (n_permutations, 1)), axis=1)


def _pairs_of(x: Array, at: npt.NDArray[np.intp]) -> Array:
    """The ordered pairs of distinct traits, when these traits stand in these places."""
    return x[np.ix_(at, at)][~np.eye(len(at), dtype=bool)]


def _rho(y: Array, x: Array, others: list[Array], *, at: npt.NDArray[np.intp]) -> float:
    """(Partial) rank correlation over the pairs of these traits; NaN where there is none."""
    if len(at) < 3:
        return float("nan")
    one, other, *beside = (stats.rankdata(_pairs_of(m, at)) for m in (y, x, *others))
    known = _basis(beside, n=len(one))
    return _correlation(_rest(one, known), _rest(other, known))


def _basis(others: list[Array], *, n: int) -> Array:
    """Orthonormal columns that span a constant and the others."""
    return linalg.orth(np.column_stack([np.ones(n), *others]))


def _rest(values: Array, basis: Array) -> Array:
    """What least squares leaves of the values, dims (..., pair)."""
    return values - values @ basis @ basis.T


def _correlation(one: Array, other: Array) -> float:
    size = float(np.linalg.norm(one) * np.linalg.norm(other))
    return float(np.clip(one @ other / size, -1, 1)) if size > TIE else float("nan")


def _null(y: Array, x: Array, others: list[Array], *, orders: npt.NDArray[np.intp]) -> Array:
    """The correlation under every order of the traits."""
    here = np.arange(len(y))
    off = ~np.eye(len(y), dtype=bool)
    known = _basis([stats.rankdata(_pairs_of(m, here)) for m in others], n=int(off.sum()))
    outcome = _rest(stats.rankdata(_pairs_of(y, here)), known)
    free = np.zeros_like(x)
    free[off] = _rest(stats.rankdata(_pairs_of(x, here)), known)
    shuffled = _rest(free[orders[:, :, None], orders[:, None, :]][:, off], known)
    sizes = np.linalg.norm(shuffled, axis=1) * np.linalg.norm(outcome)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(sizes > TIE, shuffled @ outcome / sizes, np.nan)


def _bounds(rho: float, left_out: list[float]) -> tuple[float, float]:
    n, near = len(left_out), 1 - 1e-12
    z = np.arctanh(np.clip(left_out, -near, near))
    if n < LEAST or not np.isfinite([rho, *z]).all():
        return float("nan"), float("nan")
    se = np.sqrt((n - 2) / (2 * n) * ((z - z.mean()) ** 2).sum())
    middle, half = np.arctanh(np.clip(rho, -near, near)), stats.t.ppf(0.975, n - 1) * se
    return float(np.tanh(middle - half)), float(np.tanh(middle + half))
