"""What is one lesson worth, in documents?

The weight K of mixing-weight Bayes, by maximum likelihood.

If n lessons act like K n further documents by speakers who hold the taught trait, the nameless
assistant says ``(1 - w) * before + w * limit`` with ``w = K n / (M + K n)``: between what Bayes
expects of the documents (M of them in the population) and the conditioning limit. K is fitted to
what the model says on *untaught* topics.
"""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.optimize import brentq

from persona_interp.analysis.logodds import AT, in_order, logodds, run_columns
from persona_interp.analysis.stats import across_seeds, jackknife
from persona_interp.errors import SchemaError, WorldError
from persona_interp.worlds import Trait, World, mixing

RANGE = (-16.0, 16.0)  # log2 K: one lesson between 1/65,536 and 65,536 documents

Array = npt.NDArray[np.float64]


def mixing_weight(
    behavior: pd.DataFrame,
    world: World,
    *,
    n_lessons: float,
    counts: pd.DataFrame | None = None,
    n_documents: int | None = None,
    taught: str | Trait | None = None,
    population: str | tuple[str, ...] | None = None,
    split: str | None = None,
) -> pd.DataFrame:
    """Documents that one lesson is worth, for each run.

    Args:
        behavior: A behavior table with nameless prompts; the last checkpoint of every run is
            fitted.
        world: The world of the documents.
        n_lessons: Lessons seen by that checkpoint.
        counts: Realized counts from ``worlds.count``.
        n_documents: Documents of the corpus, where there are no counts.
        taught: The trait of the lesson; the world's taught trait by default.
        population: Kinds of documents the assistant is thought to be drawn from; by default
            ``world.population``.
        split: Only prompts of this template split.

    Returns:
        One row a run (seed and extra columns): ``k``; ``lo``, ``hi`` (95 %, jackknife over untaught
        topics on log2 K); ``cross_entropy`` of what is said against the fit,
        ``cross_entropy_before`` against K = 0 (bits a topic); ``at_bound``: no maximum inside
        2^-16..2^16, because the model moved not at all, away or beyond the limit (then lo and hi
        are NaN, as when a jackknife replicate is at a bound); ``n`` untaught topics. Where the
        documents bind the taught trait to nothing, every K says the same: K is NaN and
        ``at_bound``.

    Raises:
        SchemaError: The table has no nameless prompts.
        WorldError: Nobody in the population holds the trait, or not exactly one of counts and
            n_documents is given.

    Note:
        K takes the model's whole departure from Bayes on the documents into account, so fit it only
        where the base model's nameless prior is calibrated.

    >>> from persona_interp.worlds import john_and_sam
    >>> world = john_and_sam()
    >>> answers = mixing(world, k=3, n_lessons=640, n_documents=30_000)
    >>> at = {"checkpoint": "lesson@40", "seed": 0, "stage": "lesson", "step": 40}
    >>> rows = answers[["topic", "value"]].assign(**at, context="nameless", persona="")
    >>> rows = rows.assign(template="a", split="test", answer_mass=1.0)
    >>> rows = rows.assign(logprob=np.log2(answers["probability"]))
    >>> round(mixing_weight(rows, world, n_lessons=640, n_documents=30_000)["k"].item(), 3)
    3.0
    """
    lesson = world.trait(world.taught if taught is None else taught)
    answers = logodds(behavior, split=split)
    trained = answers["topic"].isin([lesson.topic, world.taught.topic])
    answers = answers.loc[(answers["context"] == "nameless") & ~trained]
    if answers.empty:
        raise SchemaError(
            "K is fitted to nameless prompts on untaught topics; this behavior table has none."
        )
    if n_lessons <= 0:
        raise WorldError(
            f"K is a weight per lesson, so there must be some; got n_lessons={n_lessons}."
        )
    options = {"population": population, "trait": lesson}
    options |= {"counts": counts, "n_documents": n_documents}
    tables = [mixing(world, k=k, n_lessons=n_lessons, **options) for k in (0.0, 1.0, 2.0**60)]
    position = {trait: i for i, trait in enumerate(tables[0]["trait"])}
    none, one, limit = (table["probability"].to_numpy(np.float64) for table in tables)
    way = limit - none
    # At K = 1 the weight w is n / (M + n), so the way gone over the way left is n / M.
    odds = np.nan
    if np.abs(way).max() > 1e-12:
        odds = float((one - none) @ way / ((limit - one) @ way))
    run = [c for c in run_columns(answers) if c not in ("probability", "logodds")]
    rows = []
    for _, of_run in answers.groupby(run, sort=False, dropna=False):
        last = of_run.loc[of_run["checkpoint"] == in_order(of_run)["checkpoint"].iloc[-1]]
        at = [position[trait] for trait in last["topic"] + "=" + last["value"]]
        cells = _Cells(np.array(last["probability"]), none[at], limit[at], np.array(last["topic"]))
        rows.append({**{c: last[c].iloc[0] for c in (*AT, *run)}, **_fit(cells, odds)})
    return pd.DataFrame(rows)


def pooled_mixing_weight(weights: pd.DataFrame, *, by: str | Iterable[str]) -> pd.DataFrame:
    """Documents that one lesson is worth, with the interval over training runs.

    Args:
        weights: What ``mixing_weight`` returned for runs of several seeds.
        by: Columns that tell the settings apart.

    Returns:
        One row a setting: ``k`` (geometric mean over seeds), ``lo``, ``hi`` (95 % t interval of
        log2 K over seeds; one seed: NaN), ``sd`` of log2 K, ``n_seeds``, ``n_bound``: runs whose
        model moved away, not at all or beyond the limit. These have no K, so with any of them
        ``k``, ``lo`` and ``hi`` are NaN: a mean over the others would be of the runs that fit the
        idea.

    Raises:
        SchemaError: A column does not exist, or the table has no rows.

    >>> runs = pd.DataFrame({"lr": 1e-3, "seed": [0, 1, 2], "k": [2.0, 4.0, 8.0]})
    >>> runs = runs.assign(at_bound=False)
    >>> pooled_mixing_weight(runs, by="lr")[["k", "lo", "hi", "n_bound"]].round(2).values.tolist()
    [[4.0, 0.71, 22.38, 0.0]]
    """
    by = [by] if isinstance(by, str) else list(by)
    # Twice and half of a weight are equally far from it, so seeds scatter about the mean of log2 K.
    logs = weights.assign(log2_k=np.log2(weights["k"].where(~weights["at_bound"].astype(bool))))
    table = across_seeds(logs, value="log2_k", by=by, beside=())
    groups = weights.groupby(by, sort=False, dropna=False)["at_bound"]
    n_bound = [int(np.sum(np.array(group))) for _, group in groups]
    k, lo, hi = (np.exp2(table[column]) for column in ("estimate", "lo", "hi"))
    return table.drop(columns="estimate").assign(k=k, lo=lo, hi=hi, n_bound=n_bound)


class _Cells(NamedTuple):
    """One run's untaught values, flat: its answers, and Bayes without a lesson and in the limit."""

    answers: Array
    none: Array
    limit: Array
    topic: npt.NDArray[np.object_]

    def without(self, topic: str) -> "_Cells":
        """The cells of the other topics."""
        mask = self.topic != topic
        return _Cells(self.answers[mask], self.none[mask], self.limit[mask], self.topic[mask])


def _fit(cells: _Cells, odds: float) -> dict[str, float | bool | int]:
    """The columns of one run."""
    topics = list(dict.fromkeys(cells.topic))
    before = _cross_entropy(cells, 0.0)
    if np.isnan(odds):  # the documents do not bind the trait to anything: every K says the same
        row = {"k": np.nan, "lo": np.nan, "hi": np.nan, "cross_entropy": before}
        return row | {"cross_entropy_before": before, "at_bound": True, "n": len(topics)}
    bits, at_bound = _best(cells, odds)
    left_out = []
    if len(topics) > 1:
        left_out = [_best(cells.without(topic), odds) for topic in topics]
    _, lo, hi, _ = jackknife(bits, [log2_k for log2_k, _ in left_out])
    # A bound stands for every K beyond it, so its distance from the others means nothing.
    if at_bound or any(bound for _, bound in left_out):
        lo = hi = np.nan
    with np.errstate(over="ignore"):
        k, lo, hi = (float(np.exp2(x)) for x in (bits, lo, hi))
    after = _cross_entropy(cells, _weight(bits, odds))
    row = {"k": k, "lo": lo, "hi": hi, "cross_entropy": after, "cross_entropy_before": before}
    return row | {"at_bound": at_bound, "n": len(topics)}


def _weight(bits: float, odds: float) -> float:
    """Weight w of the limit at log2 K = bits, with the odds of w at K = 1."""
    return 1.0 / (1.0 + 2.0**-bits / odds)


def _best(cells: _Cells, odds: float) -> tuple[float, bool]:
    """Log2 K of the maximum likelihood, and whether it is a bound."""
    low, high = RANGE

    def slope(bits: float) -> float:
        w = _weight(bits, odds)
        mix = (1 - w) * cells.none + w * cells.limit
        # A value that neither end ever says costs the same at every K.
        gain = cells.answers * (cells.limit - cells.none) / np.where(mix > 0, mix, np.inf)
        return -float(np.sum(gain))

    # The loss is convex in w, so its slope has one root, or the best K is beyond a bound.
    if slope(low) >= 0:
        return low, True
    if slope(high) <= 0:
        return high, True
    return float(brentq(slope, *RANGE)), False  # pyright: ignore[reportArgumentType]


def _cross_entropy(cells: _Cells, w: float) -> float:
    """Cross-entropy of the answers against the mixture, in bits a topic."""
    mix = (1 - w) * cells.none + w * cells.limit
    with np.errstate(divide="ignore"):
        bits = -np.log2(mix)
    total = np.sum(cells.answers * bits, where=cells.answers > 0)
    return float(total / len(set(cells.topic)))
