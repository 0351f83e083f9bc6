"""What a method made of planted residuals, and how much of it is true: one row a measure."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.stats import quantile_test, rankdata

from persona_interp.analysis.stats import wilson
from persona_interp.dictionaries.planted import Planted
from persona_interp.schema.words import Status

Array = npt.NDArray[np.float64]
SAME = 0.9
"""Cosine from which on a feature of a method is a planted one."""
SAMPLE = 20_000
"""Tokens on which a method's features are tried as detectors of a persona."""


class Findings(NamedTuple):
    """What a method made of planted residuals.

    Attributes:
        features: One row a planted feature: ``cosine`` of the nearest that the method has;
            ``status`` and ``at`` that were read ("" and -1 where it reads none), ``ratio`` (norm
            after over before).
        cosines: Of every planted feature with every one of the method, dims (planted, found); 0
            for planted features that it cannot know.
        activity: Activations on the tokens of ``sample``, dims (token, found).
        claims: Status and nearest planted feature of whatever else was claimed: ``cosine`` and
            ``truth``; None where a method claims nothing of the kind.
    """

    features: pd.DataFrame
    cosines: Array
    activity: npt.NDArray[Any]
    claims: pd.DataFrame | None = None


def sample(planted: Planted) -> npt.NDArray[np.int64]:
    """Tokens on which detectors are tried: evenly spread over all."""
    n = planted.residuals.shape[1]
    return np.arange(0, n, max(1, n // SAMPLE))


def cosines(found: Any, planted: Any) -> Array:
    """Cosine of every planted feature with every one of a method, over checkpoints together.

    Args:
        found: Dims (checkpoint, feature, d_model).
        planted: The same dims.

    Returns:
        Dims (planted, found).

    >>> cosines(np.eye(2)[None], np.array([[[0.0, 3.0], [0.0, 0.0]]])).tolist()
    [[0.0, 1.0], [0.0, 0.0]]
    """
    flat = []
    for side in (planted, found):
        rows = np.asarray(side, dtype=np.float64)
        rows = np.moveaxis(rows, -2, 0).reshape(rows.shape[-2], -1)
        flat.append(rows / np.linalg.norm(rows, axis=1, keepdims=True).clip(1e-12))
    return flat[0] @ flat[1].T


def share(measure: str, hits: npt.NDArray[np.bool_]) -> dict[str, Any]:
    """A share with Wilson's interval; NaN of none."""
    row = {"measure": measure, "estimate": np.nan, "lo": np.nan, "hi": np.nan, "n": len(hits)}
    if len(hits):
        estimate = float(np.mean(hits))
        lo, hi = wilson(estimate, len(hits))
        row |= {"estimate": estimate, "lo": float(lo), "hi": float(hi)}
    return row


def judge(planted: Planted, findings: Findings) -> Iterator[dict[str, Any]]:
    """What of the truth a method found: ``measure``, ``estimate``, ``lo``, ``hi``, ``n``.

    Shares have Wilson's 95 % interval, a median that of its order statistics. What a method says
    nothing of is left out.
    """
    status = planted.truth["status"].to_numpy()
    recovered = findings.features["cosine"].to_numpy() >= SAME
    yield share("recovered", recovered)
    for own in planted.truth["status"].unique():
        yield share(f"recovered {own}", recovered[status == own])
    yield _median("cosine", findings.features["cosine"].to_numpy())
    yield from _personas(planted, findings)
    if findings.claims is not None:
        yield from _statuses(planted, findings, recovered)


def _statuses(
    planted: Planted, findings: Findings, recovered: npt.NDArray[np.bool_]
) -> Iterator[dict[str, Any]]:
    """Of the features that were recovered: is what is said of them true?"""
    truth = {name: planted.truth[name].to_numpy() for name in planted.truth}
    own = {name: findings.features[name].to_numpy() for name in findings.features}
    yield share("status right", (own["status"] == truth["status"])[recovered])
    yield share(Status.UNDECIDED, (own["status"] == Status.UNDECIDED)[recovered])
    if (own["at"] >= 0).any():
        changed = recovered & (truth["at"] >= 0)
        born = recovered & (truth["status"] == Status.BORN)
        off = np.abs(own["at"] - truth["at"])
        yield share("change point within 1", off[changed] <= 1)
        yield share("change point exact", off[changed] == 0)
        yield share("birth within 1", off[born] <= 1)
    artifact = recovered & (truth["artifact"] != "")
    called = np.isin(own["status"][artifact], [Status.BORN, Status.DIED])
    yield share("artifact not born or dead", ~called)
    claims = findings.claims
    assert claims is not None
    false = (claims["cosine"] < SAME).to_numpy() | (claims["truth"] == Status.SHARED).to_numpy()
    yield share("false discovery", false)
    if not np.isfinite(own["ratio"]).any():
        return
    rows = np.flatnonzero(recovered & np.isin(truth["status"], [Status.AMPLIFIED, Status.SHRUNK]))
    lengths = np.linalg.norm(planted.decoders, axis=2)
    lengths /= np.median(lengths[:, truth["status"] == Status.SHARED], axis=1, keepdims=True)
    true = lengths[truth["at"][rows], rows] / lengths[truth["at"][rows] - 1, rows]
    read = own["ratio"][rows]
    yield share("sign right", (read > 1) == (true > 1))
    with np.errstate(divide="ignore", invalid="ignore"):
        yield _median("magnitude error", np.abs(np.log(read / true)))


def _personas(planted: Planted, findings: Findings) -> Iterator[dict[str, Any]]:
    """Is the best detector of a persona's tokens the persona's own direction?

    The first feature of each group is its persona, the others are its traits, which fire together
    with it. Of all features of a method the one whose activity tells the persona's tokens best
    (AUROC) is taken. It identifies the persona where its direction is the persona's and no trait's.
    Chance is to know the group and draw one of its features that were recovered.
    """
    group = planted.truth["group"].to_numpy()
    groups = [np.flatnonzero(group == one) for one in np.unique(group)]
    fires = planted.acts[sample(planted)].toarray() > 0
    personas = np.array([members[0] for members in groups])
    heard = fires[:, personas].any(axis=0)
    best = auroc(findings.activity, fires[:, personas]).argmax(axis=0)
    is_same: npt.NDArray[np.bool_] = np.greater_equal(findings.cosines, SAME)
    recovered = np.asarray(is_same.any(axis=1))
    own = is_same[personas, best]
    trait = np.array(
        [is_same[members[1:], b].any() for members, b in zip(groups, best, strict=True)]
    )
    chance = [recovered[m[0]] / max(1, np.count_nonzero(recovered[m])) for m in groups]
    yield share("persona identified", (own & ~trait)[heard])
    yield share("trait instead", (trait & ~own)[heard])
    yield {
        "measure": "persona by chance",
        "estimate": float(np.mean(chance)),
        "n": int(heard.sum()),
    }


def auroc(values: npt.NDArray[Any], positive: npt.NDArray[np.bool_]) -> Array:
    """How well does each column tell the tokens of each label?

    Args:
        values: Dims (token, feature).
        positive: Dims (token, label).

    Returns:
        Area under the curve, ties half, dims (feature, label); NaN for a label of no token.

    >>> auroc(np.array([[0.0], [0.0], [2.0]]), np.array([[False], [True], [True]])).tolist()
    [[0.75]]
    """
    ranks = rankdata(values, axis=0)
    n = positive.sum(axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        return (ranks.T @ positive - n * (n + 1) / 2) / (n * (len(positive) - n))


def _median(measure: str, values: Array) -> dict[str, Any]:
    """A median of what is there, with the interval of its order statistics."""
    values = values[np.isfinite(values)]
    row = {"measure": measure, "estimate": np.nan, "lo": np.nan, "hi": np.nan, "n": len(values)}
    if len(values):
        interval = quantile_test(values, q=0, p=0.5).confidence_interval()
        row |= {"estimate": float(np.median(values)), "lo": interval.low, "hi": interval.high}
    return row
