"""One change of every feature of a crosscoder: at which checkpoint, and what is after it?

Everything is read from inner products between checkpoints of each feature's vectors
(``latent_scaling.inner_products``): lengths, angles and means need no more.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
Numbers = npt.NDArray[np.intp]


def common_gains(inner: Array) -> Array:
    """Length of the usual feature at each checkpoint: medians of the steps between neighbors.

    A checkpoint in which many features are born has longer residuals, so that the rest seems to
    shrink in units of its scale. Most features do not change at a given step.
    """
    lengths = np.sqrt(np.clip(np.diagonal(inner, axis1=1, axis2=2), 0, None))
    there = lengths > 0.25 * lengths.max(axis=1, keepdims=True)
    steps = [0.0]
    for k in range(1, lengths.shape[1]):
        both = there[:, k] & there[:, k - 1]
        ratio = np.log(lengths[both, k] / lengths[both, k - 1])
        steps.append(float(np.median(ratio)) if both.any() else 0.0)
    return np.exp(np.cumsum(steps))


def change_points(inner: Array) -> tuple[Numbers, Array]:
    """First checkpoint after the change of each feature, and the share of variation it explains."""
    n = inner.shape[1]
    if n == 1:
        return np.zeros(len(inner), dtype=np.intp), np.ones(len(inner))
    within = np.stack(
        [_squares(inner[:, :s, :s]) + _squares(inner[:, s:, s:]) for s in range(1, n)]
    )
    total = _squares(inner)
    best = np.where(np.isnan(within), np.inf, within).argmin(axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        explained = 1 - np.take_along_axis(within, best[None], axis=0)[0] / total
    return best + 1, explained


def _squares(inner: Array) -> Array:
    """Sum of squared distances of vectors from their mean, from their inner products."""
    return np.trace(inner, axis1=-2, axis2=-1) - inner.sum(axis=(-2, -1)) / inner.shape[-1]


class Change(NamedTuple):
    """One change of every feature: dims (feature,), or (part, feature) without one part."""

    before: Array
    after: Array
    inner: Array


def around(inner: Array, at: Numbers) -> Change:
    """Inner products of the mean vectors before and after the change."""
    n = inner.shape[-1]
    steps = np.arange(n)
    after = (steps >= at[:, None]).astype(float)
    before = 1 - after
    after /= after.sum(axis=1, keepdims=True)
    with np.errstate(invalid="ignore", divide="ignore"):
        before /= before.sum(axis=1, keepdims=True)
    return Change(
        np.einsum("...jkl,jk,jl->...j", inner, before, before),
        np.einsum("...jkl,jk,jl->...j", inner, after, after),
        np.einsum("...jkl,jk,jl->...j", inner, before, after),
    )


def log_ratio(change: Change) -> Array:
    """Log of the length after over that before; a length of nothing counts as a thousandth."""
    floor = 1e-6 * np.maximum(change.before, change.after)
    return 0.5 * np.log(np.maximum(change.after, floor) / np.maximum(change.before, floor))


def turn(change: Change) -> Array:
    """Angle between before and after in degrees; 0 where one of them is not there."""
    lengths = np.sqrt(np.clip(change.before, 0, None) * np.clip(change.after, 0, None))
    with np.errstate(invalid="ignore", divide="ignore"):
        cosine = np.where(lengths > 0, change.inner / lengths, 1.0)
    return np.rad2deg(np.arccos(np.clip(cosine, -1, 1)))


def share(change: Change) -> Array:
    """Of the longer vector's direction, what the shorter one has, over the longer's length."""
    return change.inner / np.maximum(change.before, change.after)


def aside(change: Change) -> Array:
    """What the shorter vector has at right angles to the longer one, over the longer's length."""
    longer, shorter = np.maximum(*change[:2]), np.minimum(*change[:2])
    # a feature that is on neither side has a squared length around 0, after the bias is off
    longer = np.where(longer > 0, longer, np.nan)
    return np.sqrt(np.clip(shorter - change.inner**2 / longer, 0, None) / longer)


def spread(whole: Array, left_out: Array) -> tuple[Array, Array]:
    """A number and its jackknife standard error over parts."""
    n = len(left_out)
    variance = (n - 1) / n * ((left_out - left_out.mean(axis=0)) ** 2).sum(axis=0)
    return whole, np.sqrt(variance)


def from_when(whole: Array, left_out: Array, at: Numbers, width: float) -> tuple[Numbers, Numbers]:
    """From which checkpoint on the change may be a quarter done, and must be three quarters."""

    def done(inner: Array) -> Array:
        """Way from the first checkpoint's vector to the last one's, at each checkpoint."""
        along = inner[..., -1] - inner[..., 0]
        with np.errstate(invalid="ignore", divide="ignore"):
            return (along - along[..., :1]) / (along[..., -1:] - along[..., :1])

    middle, se = spread(done(whole), done(left_out))
    may, must = middle + width * se > 0.25, middle - width * se > 0.75
    n = whole.shape[1]
    lo = np.where(may[:, 1:].any(axis=1), may[:, 1:].argmax(axis=1) + 1, n - 1)
    # the last checkpoint at which it is not surely done, plus one
    unsure = ~must
    last = n - 1 - unsure[:, ::-1].argmax(axis=1)
    hi = np.clip(np.where(unsure.any(axis=1), last + 1, 1), 1, max(1, n - 1))
    return np.minimum(lo, at), np.maximum(hi, at)
