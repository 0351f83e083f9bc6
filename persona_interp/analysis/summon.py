"""Who is summoned: the common one, the near one, or whom Bayes says? Laws of choice, compared on cells they never saw.

A lesson on a trait that several candidates share raises each by some share. The two-factor law says
``log2 P_i = a log2 measure_i - b distance_i + c``: a conditional logit over the candidates of a
cell (McFadden 1974), fitted by maximum likelihood to the shares. Each rival drops a factor or
replaces the law by exact Bayes.
"""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.optimize import OptimizeResult, minimize, minimize_scalar
from scipy.spatial.distance import jensenshannon

from persona_interp import schema
from persona_interp.analysis.stats import jackknife, t_interval
from persona_interp.errors import SchemaError, unknown

LAW = "measure and distance"
FACTORS = {
    LAW: ("measure", "distance"),
    "measure and estimated distance": ("measure", "distance_js"),
    "measure alone": ("measure",),
    "distance alone": ("distance",),
    "uniform": (),
}
"""Name of a law of choice -> its factors."""
BAYES = {"Bayes, lesson alone": "bayes_lesson", "Bayes, start and lesson": "bayes_start"}
"""Name of a prediction without parameters -> its column."""
MIXING = "Bayes, mixing of both"

Array = npt.NDArray[np.float64]


class _Cells(NamedTuple):
    """Lessons (cell) with their candidates (candidate): shares, factors by name, where each belongs."""

    share: Array
    columns: dict[str, Array]
    seed: npt.NDArray[np.int64]
    start: npt.NDArray[np.str_]

    def only(self, keep: npt.NDArray[np.bool_]) -> "_Cells":
        return _Cells(
            self.share[keep],
            {c: x[keep] for c, x in self.columns.items()},
            self.seed[keep],
            self.start[keep],
        )


def summon_law(summoned: pd.DataFrame, *, distance: str = "distance") -> pd.DataFrame:
    """How much do measure and distance say about who is summoned?

    Args:
        summoned: A summoned table: one row a seed, start and candidate.
        distance: Column of the distance: ``"distance"`` (topics) or ``"distance_js"`` (estimated).

    Returns:
        Two rows, ``factor`` measure and distance: ``estimate`` (a, bits a doubling of the measure;
        b, bits a unit of distance, positive = the near one is summoned), ``lo``, ``hi`` (95 %,
        jackknife over seeds; of one seed over starts), ``unit`` (what the interval is over),
        ``n_units``, ``n`` lessons.

    Raises:
        SchemaError: No such table, or a cell lacks a candidate.

    >>> rows = [(0, s, p, m, d) for s, ds in (("aa", (0, 1)), ("bb", (1, 0))) for p, m, d in zip("ij", (0.2, 0.1), ds)]
    >>> table = pd.DataFrame(rows, columns=["seed", "start", "persona", "measure", "distance"])
    >>> odds = table.measure**0.5 * 2.0 ** (-3 * table.distance)
    >>> table = table.assign(share=odds / odds.groupby(table.start).transform("sum"), distance_js=0.0)
    >>> summon_law(table.assign(bayes_lesson=0.5, bayes_start=0.5))["estimate"].round(2).tolist()
    [0.5, 3.0]
    """
    cells = _cells(summoned)
    factors = ("measure", distance)
    if distance not in cells.columns:
        raise SchemaError(unknown("distance", distance, cells.columns))
    unit, clusters = _units(cells)
    names = np.unique(clusters)
    left = [_fit(cells.only(clusters != name), factors) for name in names] if len(names) > 1 else []
    estimate, lo, hi, n = jackknife(_fit(cells, factors), left)
    return pd.DataFrame(
        {
            "factor": ["measure", "distance"],
            "estimate": estimate,
            "lo": lo,
            "hi": hi,
            "unit": unit,
            "n_units": n,
            "n": len(cells.share),
        }
    )


def summon_rivals(summoned: pd.DataFrame, *, leave_out: str = "start") -> pd.DataFrame:
    """Does the two-factor law predict lessons it never saw better than its rivals do?

    Every law is fitted to the other lessons and predicts those left out; ``bits`` is the mean
    divergence ``KL(shares || prediction)``. Rivals: each factor alone, the law with the distance
    estimated from what is said, all candidates alike, and exact Bayes: given the lesson alone,
    given the start's statements too, and a mixture of both (its weight fitted).

    Args:
        summoned: A summoned table.
        leave_out: ``"start"`` (all lessons from one start) or ``"seed"`` (all of one seed).

    Returns:
        One row a law: ``law``, ``parameters`` fitted, ``bits`` (a lesson, held out), ``estimate`` =
        its bits minus those of the two-factor law (positive = worse than the law) with ``lo``,
        ``hi`` (95 %, t over seeds; of one seed over starts), ``unit``, ``n_units``, ``n`` lessons,
        ``left_out``, ``verdict``: better, worse or not told apart.

    Raises:
        SchemaError: No such table, a cell lacks a candidate, or nothing is left to fit on.

    >>> starts, measure = {"aa": (0, 1, 2), "bb": (2, 0, 1)}, (0.2, 0.1, 0.4)
    >>> rows = [(0, s, p, m, d) for s, ds in starts.items() for p, m, d in zip("ijk", measure, ds)]
    >>> table = pd.DataFrame(rows, columns=["seed", "start", "persona", "measure", "distance"])
    >>> odds = table.measure**0.5 * 2.0 ** (-3 * table.distance)
    >>> table = table.assign(share=odds / odds.groupby(table.start).transform("sum"), distance_js=0.0)
    >>> rivals = summon_rivals(table.assign(bayes_lesson=0.5, bayes_start=0.5)).set_index("law")
    >>> rivals.loc[["uniform"], ["bits", "estimate"]].round(2).values.tolist()  # the law misses none
    [[0.9, 0.9]]
    """
    cells = _cells(summoned)
    if leave_out not in ("start", "seed"):
        raise SchemaError(unknown("leave_out", leave_out, ("start", "seed")))
    groups = getattr(cells, leave_out)
    names = np.unique(groups)
    if len(names) < 2:
        raise SchemaError(
            f"leaving out a {leave_out} needs two of them; this table has "
            f"{', '.join(map(str, names))}."
        )
    laws = [*FACTORS, *BAYES, MIXING]
    bits = {law: np.empty(len(cells.share)) for law in laws}
    for name in names:
        held = groups == name
        for law in laws:
            predicted = _predicted(law, cells.only(~held), cells.only(held))
            bits[law][held] = _divergence(cells.share[held], predicted)
    unit, clusters = _units(cells)
    rows = []
    for law in laws:
        apart = [(bits[law] - bits[LAW])[clusters == name].mean() for name in np.unique(clusters)]
        estimate, lo, hi, n = t_interval(apart)
        row = {
            "law": law,
            "parameters": len(FACTORS.get(law, ())) + (law == MIXING),
            "bits": bits[law].mean(),
        }
        row |= {
            "estimate": float(estimate),
            "lo": float(lo),
            "hi": float(hi),
            "unit": unit,
            "n_units": n,
        }
        verdict = "the law itself" if law == LAW else _verdict(float(lo), float(hi))
        rows.append({**row, "n": len(cells.share), "left_out": leave_out, "verdict": verdict})
    return pd.DataFrame(rows)


def answer_distance(one: pd.DataFrame, other: pd.DataFrame, *, topics: Iterable[str]) -> float:
    """How differently do two speakers answer, by what they say?

    Args:
        one: Rows of a logodds table, one a topic and value.
        other: The same topics and values of somebody else.
        topics: Topics that count.

    Returns:
        Root of the Jensen-Shannon divergence of their answers, in bits (0 = alike, 1 = never the
        same), mean over topics: a metric.

    Raises:
        SchemaError: A topic that is not in both.

    >>> rows = pd.DataFrame({"topic": "sport", "value": ["golf", "rugby"], "probability": [1.0, 0.0]})
    >>> round(answer_distance(rows, rows.assign(probability=[0.0, 1.0]), topics=["sport"]), 6)
    1.0
    """
    columns = ["topic", "value", "probability"]
    both = one[columns].merge(
        other[columns], on=["topic", "value"], suffixes=("", "_other"), validate="one_to_one"
    )
    apart = []
    for topic in topics:
        rows = both.loc[both["topic"] == topic]
        if rows.empty:
            raise SchemaError(unknown("topic", topic, both["topic"].unique()))
        said = rows[["probability", "probability_other"]].to_numpy(np.float64)
        apart.append(float(jensenshannon(said[:, 0], said[:, 1], base=2)))
    return float(np.mean(apart))


def _cells(summoned: pd.DataFrame) -> _Cells:
    schema.check(summoned, "summoned")
    index, columns = (
        ["seed", "start"],
        ["share", "measure", "distance", "distance_js", *BAYES.values()],
    )
    if summoned.duplicated([*index, "persona"]).any():
        raise SchemaError(
            "two rows of this summoned table are one seed, start and persona; select one lesson "
            "each."
        )
    wide = summoned.pivot(index=index, columns="persona", values=columns)
    if wide.isna().to_numpy().any():
        raise SchemaError(
            "every lesson needs the same candidates, each with share, measure, distances and Bayes."
        )
    found = {c: wide[c].to_numpy(np.float64) for c in columns}
    share = found.pop("share")
    return _Cells(
        share / share.sum(axis=1, keepdims=True),
        found,
        wide.index.get_level_values("seed").to_numpy(),
        wide.index.get_level_values("start").to_numpy().astype(str),
    )


def _units(cells: _Cells) -> tuple[str, npt.NDArray[np.generic]]:
    """What is independent: seeds, or, of a single seed, starts."""
    return ("seeds", cells.seed) if len(np.unique(cells.seed)) > 1 else ("starts", cells.start)


def _factors(cells: _Cells, names: Iterable[str]) -> Array:
    """Dims (cell, candidate, factor): log2 measure, minus distance."""
    found = [np.log2(cells.columns[c]) if c == "measure" else -cells.columns[c] for c in names]
    return np.stack(found, axis=-1) if found else np.zeros((*cells.share.shape, 0))


def _chosen(score: Array) -> Array:
    """Probabilities from scores in bits; dims (cell, candidate)."""
    odds = np.exp2(score - score.max(axis=1, keepdims=True))
    return odds / odds.sum(axis=1, keepdims=True)


def _fit(cells: _Cells, names: Iterable[str]) -> Array:
    """Coefficients of the conditional logit; the likelihood is concave."""
    x = _factors(cells, names)
    n = len(x)

    def loss(beta: Array) -> tuple[float, Array]:
        p = _chosen(x @ beta)
        slope = np.einsum("ci,cik->k", p - cells.share, x) / n
        return float(-(cells.share * np.log2(np.maximum(p, 1e-300))).sum() / n), slope

    found = minimize(loss, np.zeros(x.shape[-1]), jac=True, method="BFGS", options={"gtol": 1e-8})
    return np.asarray(found.x, dtype=np.float64)


def _predicted(law: str, known: _Cells, asked: _Cells) -> Array:
    """What a law that was fitted to some cells says about others."""
    if law in BAYES:
        return asked.columns[BAYES[law]]
    if law == MIXING:

        def mixed(cells: _Cells, weight: float) -> Array:
            return (1 - weight) * cells.columns["bayes_lesson"] + weight * cells.columns[
                "bayes_start"
            ]

        best: OptimizeResult = minimize_scalar(  # pyright: ignore[reportAssignmentType]
            lambda w: _divergence(known.share, mixed(known, w)).mean(),
            bounds=(0.0, 1.0),
            method="bounded",
        )
        return mixed(asked, float(best.x))
    factors = FACTORS[law]
    if not factors:
        return np.full(asked.share.shape, 1 / asked.share.shape[1])
    return _chosen(_factors(asked, factors) @ _fit(known, factors))


def _divergence(share: Array, predicted: Array) -> Array:
    """KL(share || predicted) of every cell (bits)."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(share > 0, share * np.log2(share / predicted), 0.0).sum(axis=1)


def _verdict(lo: float, hi: float) -> str:
    return "worse" if lo > 0 else "better" if hi < 0 else "not told apart"
