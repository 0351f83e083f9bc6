"""What foretells which untaught traits follow a lesson: geometry, co-occurrence or behavior?

All three are read from the model before the lesson.

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
from persona_interp.analysis.stats import CACHED, TIE
from persona_interp.errors import SchemaError
from persona_interp.values import check_count

TRAIT_PREDICTORS = ("cosine", "cooccurrence", "behavior")
LEAST_TRAITS = 4
"""Traits below which there is no interval, and too few pairs for a partial correlation."""

Array = npt.NDArray[np.float64]


def trait_cooccurrence(judged: pd.DataFrame) -> pd.DataFrame:
    """How far each trait comes along when the base is told to show another (bits a token).

    Args:
        judged: A trait bits table with ``own_trait`` (the trait whose instruction the answer was
            given under) and ``side`` (pos or neg), as ``record.trait_bits`` gives it of answers to
            trait prompts.

    Returns:
        One row an ordered pair: ``taught`` (the trait of the instruction), ``trait``,
        ``cooccurrence`` = mean of (bits_pos - bits_neg) / n_tokens over the positively instructed
        answers minus the mean over the negatively instructed ones (bits a token).

    Raises:
        SchemaError: A column is missing, or a trait lacks a side.

    >>> answers = {"own_trait": "dry", "side": ["pos", "neg"], "prompt": ["a", "b"], "sample": 0}
    >>> bits = {"trait": "wry", "bits_pos": [-8.0, -9.0], "bits_neg": [-10.0, -9.0], "n_tokens": 4}
    >>> judged = pd.DataFrame({**answers, **bits})
    >>> trait_cooccurrence(judged)[["taught", "trait", "cooccurrence"]].values.tolist()
    [['dry', 'wry', 0.5]]
    """
    scored = _scored(judged, "own_trait", "side")
    sides = scored.pivot_table(
        index=["own_trait", "trait"], columns="side", values="score", sort=False
    )
    sides = sides.reindex(columns=["pos", "neg"])
    if sides.isna().any(axis=None):
        lacking = sides.index[sides.isna().any(axis=1)][0]
        raise SchemaError(
            f"answers for '{lacking[0]}' lack a side; both, pos and neg, are compared."
        )
    table = sides.reset_index()
    # What both instructions raise alike (longer answers, say) cancels.
    rise = table["pos"] - table["neg"]
    return pd.DataFrame(
        {"taught": table["own_trait"], "trait": table["trait"], "cooccurrence": rise}
    )


def trait_behavior(judged: pd.DataFrame) -> pd.DataFrame:
    """Rank correlation of each two traits over the base's default answers.

    Args:
        judged: A trait bits table of default answers, every answer judged by every trait.

    Returns:
        One row an ordered pair of distinct traits: ``taught``, ``trait``, ``behavior`` = Spearman's
        correlation over answers of (bits_pos - bits_neg) / n_tokens of both.

    Raises:
        SchemaError: A column is missing, or an answer is not judged by every trait.

    >>> rows = [(i, t, -float(i)) for i in range(3) for t in ("dry", "wry")]
    >>> judged = pd.DataFrame(rows, columns=["prompt", "trait", "bits_pos"])
    >>> judged = judged.assign(bits_neg=0.0, n_tokens=1, sample=0)
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
    """Rank correlation of each predictor with what a lesson moves, alone and given the others.

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
        that does not vary: NaN. Measured: p holds its level; the interval covers .91 of 0 with 11
        traits, .84 where traits have heavy row and column effects.

    Raises:
        SchemaError: A column is missing, a pair is there twice or not at all, or a number is not
            finite.

    >>> names, x = list("abcdef"), np.random.default_rng(0).standard_normal((3, 6, 6))
    >>> distinct = [(i, j) for i in range(6) for j in range(6) if i != j]
    >>> rows = [(names[i], names[j], *x[:, i, j]) for i, j in distinct]
    >>> pairs = pd.DataFrame(rows, columns=["taught", "trait", *TRAIT_PREDICTORS])
    >>> table = trait_predictors(pairs.assign(estimate=pairs["cosine"]), n_permutations=1000)
    >>> first = table.round(6)[["predictor", "rho", "n_traits", "n_pairs"]].values.tolist()[0]
    >>> first, float(table["p"][0]) < 0.01
    (['cosine', 1.0, 6, 30], True)
    """
    names, (y, *xs) = _matrices(pairs, [outcome, *TRAIT_PREDICTORS])
    n, rows = len(names), []
    check_count(n_permutations, "n_permutations")
    check_count(seed, "seed", least=0)
    orders = _orders(n, n_permutations, seed)
    for k, predictor in enumerate(TRAIT_PREDICTORS):
        others = xs[:k] + xs[k + 1 :]
        row: dict[str, str | float] = {"predictor": predictor}
        row |= _correlate(y, xs[k], [], orders=orders)
        partial = _correlate(y, xs[k], others, orders=orders)
        row["partial"] = partial.pop("rho")
        row |= {f"partial_{name}": value for name, value in partial.items()}
        rows.append(row)
    total = len(orders) + (len(orders) != math.factorial(n))
    table = pd.DataFrame(rows).assign(p_min=1 / total, n_traits=n, n_pairs=n * (n - 1))
    return schema.check(table, "trait_predictors")


def _correlate(
    y: Array, x: Array, others: list[Array], *, orders: npt.NDArray[np.intp]
) -> dict[str, float]:
    """(Partial) rank correlation with its interval, p and null range; NaN where there is none."""
    n = len(y)
    everybody = np.arange(n)
    rho = float("nan")
    if n >= LEAST_TRAITS or not others:
        rho = _rho(y, x, others, at=everybody)
    # A trait takes all its pairs with it, so leaving out traits, not pairs, keeps what is left
    # independent of it (jackknife for dyads, Snijders and Borgatti 1999).
    left_out = [_rho(y, x, others, at=np.delete(everybody, i)) for i in range(n)]
    lo, hi = _bounds(rho, left_out)
    row = {"rho": rho, "lo": lo, "hi": hi, "p": np.nan, "null_lo": np.nan, "null_hi": np.nan}
    if not np.isfinite(rho):
        return row
    null = _null(y, x, others, orders=orders)
    if not np.isfinite(null).all():
        return row
    # Where all orders are enumerated the labels as they are are among them; else they count once,
    # so that p is never 0.
    own = 0 if len(orders) == math.factorial(n) else 1
    larger = (np.abs(null) >= abs(rho) - TIE).sum()
    null_lo, null_hi = np.quantile(null, [0.025, 0.975])
    p = (larger + own) / (len(orders) + own)
    return row | {"p": float(p), "null_lo": float(null_lo), "null_hi": float(null_hi)}


def _scored(judged: pd.DataFrame, *more: str) -> pd.DataFrame:
    """The table with each answer's ``score`` (bits a token); it has the columns in ``more``."""
    schema.check(judged, "trait_bits")
    schema.require(judged, *more)
    return judged.assign(score=(judged["bits_pos"] - judged["bits_neg"]) / judged["n_tokens"])


def _matrices(pairs: pd.DataFrame, columns: list[str]) -> tuple[list[str], list[Array]]:
    """Traits, and of each column a matrix (taught, measured) with an empty diagonal."""
    schema.require(pairs, "taught", "trait", *columns)
    rows = pairs.loc[pairs["taught"] != pairs["trait"]]
    names = sorted({*pairs["taught"], *pairs["trait"]})
    n = len(names)
    if rows.duplicated(["taught", "trait"]).any() or len(rows) != n * (n - 1):
        raise SchemaError(
            f"{n} traits make {n * (n - 1)} ordered pairs, each once; got {len(rows)} rows."
        )
    matrices = []
    for column in columns:
        square = rows.pivot(index="taught", columns="trait", values=column).loc[names, names]
        matrix = square.to_numpy(float)
        if not np.isfinite(matrix[~np.eye(n, dtype=bool)]).all():
            raise SchemaError(f"{column} is not finite for every pair of traits.")
        matrices.append(matrix)
    return names, matrices


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
    basis = _basis(beside, n=len(one))
    return _correlation(_rest(one, basis), _rest(other, basis))


def _basis(others: list[Array], *, n: int) -> Array:
    """Orthonormal columns that span a constant and the others."""
    # Of the rank that there is, so that a predictor which does not vary adds nothing.
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
    basis = _basis([stats.rankdata(_pairs_of(m, here)) for m in others], n=int(off.sum()))
    outcome = _rest(stats.rankdata(_pairs_of(y, here)), basis)
    # Double semi-partialing (MRQAP; Dekker, Krackhardt and Snijders 2007). Permuting the predictor
    # itself would break its relation with the others too, and so test the wrong null. Only what
    # the others leave of it is permuted; a permuted rest is related to the others by chance, so
    # they are taken out of it again.
    free = np.zeros_like(x)
    free[off] = _rest(stats.rankdata(_pairs_of(x, here)), basis)
    # Rows and columns together (QAP; Krackhardt 1988): a trait that moves everything, or is moved
    # by everything, does so under every order.
    taught, trait = np.nonzero(off)
    null = np.empty(len(orders))
    block = max(1, CACHED // len(taught))
    for start in range(0, len(orders), block):
        at = orders[start : start + block]
        shuffled = _rest(free[at[:, taught], at[:, trait]], basis)
        sizes = np.linalg.norm(shuffled, axis=1) * np.linalg.norm(outcome)
        with np.errstate(invalid="ignore", divide="ignore"):
            null[start : start + block] = np.where(sizes > TIE, shuffled @ outcome / sizes, np.nan)
    return null


def _bounds(rho: float, left_out: list[float]) -> tuple[float, float]:
    """95 % interval of a correlation from those without one trait each."""
    # Fisher's z is nearer to normal than the correlation, and its interval stays within -1 to 1;
    # a correlation of 1 has no z.
    n, near = len(left_out), 1 - 1e-12
    z = np.arctanh(np.clip(left_out, -near, near))
    if n < LEAST_TRAITS or not np.isfinite([rho, *z]).all():
        return float("nan"), float("nan")
    # A dyad is left out with either of its two traits, so the factor is (n - 2) / 2n where the
    # jackknife of single units has (n - 1) / n.
    se = np.sqrt((n - 2) / (2 * n) * ((z - z.mean()) ** 2).sum())
    middle, half = np.arctanh(np.clip(rho, -near, near)), stats.t.ppf(0.975, n - 1) * se
    return float(np.tanh(middle - half)), float(np.tanh(middle + half))
