"""Who is summoned: the common one, the near one, or whom Bayes says?

Laws of choice, compared on cells they never saw.

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
from persona_interp.schema.words import Rivalry

TWO_FACTOR_LAW = "measure and distance"
FACTORS = {
    TWO_FACTOR_LAW: ("measure", "distance"),
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
    """Lessons (cell) with their candidates (candidate): shares, factors by name, seed and start."""

    share: Array
    columns: dict[str, Array]
    seed: npt.NDArray[np.int64]
    start: npt.NDArray[np.str_]

    def only(self, mask: npt.NDArray[np.bool_]) -> "_Cells":
        columns = {name: values[mask] for name, values in self.columns.items()}
        return _Cells(self.share[mask], columns, self.seed[mask], self.start[mask])


def summon_law(summoned: pd.DataFrame, *, distance: str = "distance") -> pd.DataFrame:
    """Weights of measure and distance in the law of who is summoned, with intervals (bits).

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

    >>> starts, measure = {"aa": (0, 1), "bb": (1, 0)}, (0.2, 0.1)
    >>> rows = [(0, s, p, m, d) for s, ds in starts.items() for p, m, d in zip("ij", measure, ds)]
    >>> table = pd.DataFrame(rows, columns=["seed", "start", "persona", "measure", "distance"])
    >>> odds = table.measure**0.5 * 2.0 ** (-3 * table.distance)
    >>> share = odds / odds.groupby(table.start).transform("sum")
    >>> table = table.assign(share=share, distance_js=0.0)
    >>> summon_law(table.assign(bayes_lesson=0.5, bayes_start=0.5))["estimate"].round(2).tolist()
    [0.5, 3.0]
    """
    cells = _cells(summoned)
    factors = ("measure", distance)
    if distance not in cells.columns:
        raise SchemaError(unknown("distance", distance, cells.columns))
    unit, clusters = _units(cells)
    names = np.unique(clusters)
    left_out: list[Array] = []
    if len(names) > 1:
        left_out = [_fit(cells.only(clusters != name), factors) for name in names]
    estimate, lo, hi, n = jackknife(_fit(cells, factors), left_out)
    columns = {"factor": ["measure", "distance"], "estimate": estimate, "lo": lo, "hi": hi}
    return pd.DataFrame({**columns, "unit": unit, "n_units": n, "n": len(cells.share)})


def summon_rivals(summoned: pd.DataFrame, *, leave_out: str = "start") -> pd.DataFrame:
    """How well the two-factor law and its rivals predict lessons they never saw (bits).

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
    >>> share = odds / odds.groupby(table.start).transform("sum")
    >>> table = table.assign(share=share, distance_js=0.0)
    >>> rivals = summon_rivals(table.assign(bayes_lesson=0.5, bayes_start=0.5)).set_index("law")
    >>> rivals.loc[["uniform"], ["bits", "estimate"]].round(2).values.tolist()
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
    # Laws with more parameters fit better whatever is true, so none is judged on what it was
    # fitted to.
    for name in names:
        test = groups == name
        for law in laws:
            prediction = _predict(law, cells.only(~test), cells.only(test))
            bits[law][test] = _divergence(cells.share[test], prediction)
    unit, clusters = _units(cells)
    rows = []
    for law in laws:
        excess = bits[law] - bits[TWO_FACTOR_LAW]
        interval = t_interval([excess[clusters == name].mean() for name in np.unique(clusters)])
        n_parameters = len(FACTORS.get(law, ())) + (law == MIXING)
        row = {"law": law, "parameters": n_parameters, "bits": bits[law].mean()}
        row |= {**interval.row(), "unit": unit, "n_units": interval.n, "n": len(cells.share)}
        row |= {"left_out": leave_out, "verdict": _verdict(law, row["lo"], row["hi"]).value}
        rows.append(row)
    return pd.DataFrame(rows)


def answer_distance(one: pd.DataFrame, other: pd.DataFrame, *, topics: Iterable[str]) -> float:
    """Distance of two speakers by what they answer (0 to 1).

    Args:
        one: Rows of a logodds table, one a topic and value.
        other: The same topics and values of somebody else.
        topics: Topics that count.

    Returns:
        Root of the Jensen-Shannon divergence of their answers, in bits (0 = alike, 1 = never the
        same), mean over topics: a metric.

    Raises:
        SchemaError: A topic that is not in both.

    >>> rows = pd.DataFrame({"topic": "sport", "value": ["golf", "rugby"]})
    >>> one, other = rows.assign(probability=[1.0, 0.0]), rows.assign(probability=[0.0, 1.0])
    >>> round(answer_distance(one, other, topics=["sport"]), 6)
    1.0
    """
    columns = ["topic", "value", "probability"]
    both = one[columns].merge(
        other[columns], on=["topic", "value"], suffixes=("", "_other"), validate="one_to_one"
    )
    distances = []
    for topic in topics:
        rows = both.loc[both["topic"] == topic]
        if rows.empty:
            raise SchemaError(unknown("topic", topic, both["topic"].unique()))
        answers = rows[["probability", "probability_other"]].to_numpy(np.float64)
        # The divergence itself violates the triangle inequality; its root does not (Endres and
        # Schindelin 2003), and the root is what scipy returns.
        distances.append(float(jensenshannon(answers[:, 0], answers[:, 1], base=2)))
    return float(np.mean(distances))


def _cells(summoned: pd.DataFrame) -> _Cells:
    schema.check(summoned, "summoned")
    index = ["seed", "start"]
    columns = ["share", "measure", "distance", "distance_js", *BAYES.values()]
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
    factors = {c: wide[c].to_numpy(np.float64) for c in columns}
    share = factors.pop("share")
    seed, start = (wide.index.get_level_values(name).to_numpy() for name in index)
    return _Cells(share / share.sum(axis=1, keepdims=True), factors, seed, start.astype(str))


def _units(cells: _Cells) -> tuple[str, npt.NDArray[np.generic]]:
    """Units that are independent, with the unit of each cell: seeds, or starts of a single seed."""
    if len(np.unique(cells.seed)) > 1:
        return "seeds", cells.seed
    return "starts", cells.start


def _factors(cells: _Cells, names: Iterable[str]) -> Array:
    """Dims (cell, candidate, factor): log2 measure, minus distance."""
    factors = []
    for name in names:
        values = cells.columns[name]
        factors.append(np.log2(values) if name == "measure" else -values)
    return np.stack(factors, axis=-1)


def _choose(score: Array) -> Array:
    """Probabilities from scores in bits; dims (cell, candidate)."""
    odds = np.exp2(score - score.max(axis=1, keepdims=True))
    return odds / odds.sum(axis=1, keepdims=True)


def _fit(cells: _Cells, names: Iterable[str]) -> Array:
    """Coefficients of the conditional logit by maximum likelihood."""
    x = _factors(cells, names)
    n = len(x)

    def loss(beta: Array) -> tuple[float, Array]:
        p = _choose(x @ beta)
        slope = np.einsum("ci,cik->k", p - cells.share, x) / n
        return float(-(cells.share * np.log2(np.maximum(p, 1e-300))).sum() / n), slope

    # The likelihood is concave (McFadden 1974), so the start does not matter.
    start = np.zeros(x.shape[-1])
    fit = minimize(loss, start, jac=True, method="BFGS", options={"gtol": 1e-8})
    return np.asarray(fit.x, dtype=np.float64)


def _predict(law: str, train: _Cells, test: _Cells) -> Array:
    """Shares that a law, fitted to some cells, expects in others."""
    if law in BAYES:
        return test.columns[BAYES[law]]
    if law == MIXING:
        return _mixture(test, _fit_mixture(train))
    factors = FACTORS[law]
    if not factors:
        return np.full(test.share.shape, 1 / test.share.shape[1])
    return _choose(_factors(test, factors) @ _fit(train, factors))


def _mixture(cells: _Cells, weight: float) -> Array:
    """Both predictions of exact Bayes, with this weight on the one that knows the start."""
    lesson, start = cells.columns["bayes_lesson"], cells.columns["bayes_start"]
    return (1 - weight) * lesson + weight * start


def _fit_mixture(cells: _Cells) -> float:
    """Weight of the mixture with the least divergence."""
    best: OptimizeResult = minimize_scalar(  # pyright: ignore[reportAssignmentType]
        lambda weight: _divergence(cells.share, _mixture(cells, weight)).mean(),
        bounds=(0.0, 1.0),
        method="bounded",
    )
    return float(best.x)


def _divergence(share: Array, prediction: Array) -> Array:
    """KL(share || prediction) of every cell (bits)."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(share > 0, share * np.log2(share / prediction), 0.0).sum(axis=1)


def _verdict(law: str, lo: float, hi: float) -> Rivalry:
    """Whether a law's excess of bits over the two-factor law is told from 0."""
    if law == TWO_FACTOR_LAW:
        return Rivalry.ITSELF
    if lo > 0:
        return Rivalry.WORSE
    if hi < 0:
        return Rivalry.BETTER
    return Rivalry.UNDECIDED
