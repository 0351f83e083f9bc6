"""How far do control finetunes go, and would one more of them go as far as this finetune?

Arrays hold changes from the base, means over units; a control is a training run. How far one run
goes is known from a few others, so everything here has as many degrees of freedom as there are
controls less one.
"""

import numpy as np
import numpy.typing as npt
from scipy import stats

TAIL = 2
"""Power of the distance with which the largest change of a finetune gets rare, or faster."""

Array = npt.NDArray[np.float64]


def spread_constant(controls: Array) -> float:
    """What is added to the spread of features: its median over those that vary.

    Of many features most hardly ever fire, and some spread is small by luck or none at all; a
    constant keeps a ratio from exploding there (the s0 of SAM: Tusher, Tibshirani and Chu 2001).
    What never varies says nothing about how far finetunes go, so it is not in the median.

    Args:
        controls: Dims (control, feature), two controls or more.

    Returns:
        In units of the changes; NaN where nothing varies, so that nothing can be judged.

    >>> round(spread_constant(np.array([[0.0, 0.0], [2.0, 0.0]])), 2)
    1.41
    """
    sd = controls.std(axis=0, ddof=1)
    return float(np.median(sd[sd > 0])) if (sd > 0).any() else np.nan


def spread(controls: Array, *, constant: float = 0.0) -> Array:
    """Standard deviation of the controls' changes.

    Args:
        controls: Dims (control, quantity), two controls or more.
        constant: Added to it; of features ``spread_constant``.

    Returns:
        One entry a quantity; NaN where it is 0, so that nothing can be judged.

    >>> spread(np.array([[0.0, 0.0], [2.0, 0.0]]), constant=1.0).round(2).tolist()
    [2.41, 1.0]
    """
    sd = controls.std(axis=0, ddof=1) + constant
    return np.where(sd > 0, sd, np.nan)


def prediction_error(controls: Array, *, constant: float = 0.0) -> Array:
    """Standard error of where one more control would be: ``spread sqrt(1 + 1/n)``.

    Args:
        controls: Dims (control, quantity).
        constant: As in ``spread``.

    Returns:
        One entry a quantity.
    """
    return spread(controls, constant=constant) * np.sqrt(1 + 1 / len(controls))


def distances(
    change: Array, controls: Array, *, ratio: float = 1.0, constant: float = 0.0
) -> Array:
    """How many prediction errors a change lies outside of what controls do.

    Args:
        change: Of one finetune, one entry a quantity.
        controls: Dims (control, quantity).
        ratio: How many times farther the finetune went than its controls, at least 1. Controls
            that had gone as far would change by something between their mean and ``ratio`` times
            it, with ``ratio`` times the error.
        constant: As in ``spread``.

    Returns:
        Not negative; NaN where the controls cannot judge.

    >>> c = np.array([[1.0], [2.0], [3.0]])
    >>> [distances(np.array([6.0]), c, ratio=r).round(2).item() for r in (1.0, 2.0)]
    [3.46, 0.87]
    """
    mean = controls.mean(axis=0)
    error = ratio * prediction_error(controls, constant=constant)
    nearest = np.clip(change, np.minimum(mean, ratio * mean), np.maximum(mean, ratio * mean))
    return np.abs(change - nearest) / error


def p_of(distance: Array, *, n: int) -> Array:
    """Two-sided p of a distance: could one more control be as far?

    Args:
        distance: Of ``distances``.
        n: Number of controls.

    Returns:
        p by t with n - 1 degrees of freedom; 1 where the controls cannot judge.
    """
    p = 2 * stats.t.sf(distance, n - 1)
    return np.where(np.isnan(distance), 1.0, p)


def largest_distances(controls: Array) -> Array:
    """Largest distance of each control from the others, over features.

    Args:
        controls: Dims (control, feature), three controls or more.

    Returns:
        One entry a control; NaN where no feature varies among the others.
    """
    # Of all controls: two others that happen to agree in a handful of features would have next to
    # none, and put the third beyond anything that a finetune can do.
    constant = spread_constant(controls)
    rows = []
    for i, own in enumerate(controls):
        others = np.delete(controls, i, axis=0)
        outside = distances(own, others, constant=constant).max()
        rows.append(np.nan if np.isnan(spread_constant(others)) else outside)
    return np.array(rows)


def p_as_largest(distance: Array, largest: Array) -> Array:
    """Two-sided p of a distance as the largest of all quantities of one more control.

    The largest distance of a run (max-T, Westfall and Young 1993) is one number a run, whatever the
    number of quantities, their tails and their correlation. That one more run's is the largest of 1
    + n has probability 1 / (1 + n). A rank alone cannot tell less than that, so beyond the largest
    control the tail is continued: it falls with the square of the distance or faster wherever
    finetunes have a variance, which makes ``(largest of the controls / distance)^2 / (1 + n)`` an
    upper bound (exact for a Pareto tail of index 2). Controls are judged by one control fewer than
    the finetune is, which makes their distances larger: on the safe side.

    Args:
        distance: Of ``distances``, of all quantities.
        largest: Of ``largest_distances``, over all of them.

    Returns:
        p that is corrected for all quantities already; 1 up to the largest control, and where a
        control cannot be judged by the others.

    >>> p_as_largest(np.array([1.0, 4.0, 20.0]), np.array([1.0, 2.0, 2.0])).round(4).tolist()
    [1.0, 0.0625, 0.0025]
    """
    farthest = largest.max()  # NaN where one is
    with np.errstate(divide="ignore", invalid="ignore"):
        p = (farthest / distance) ** TAIL / (1 + len(largest))
    return np.where(distance > farthest, p, 1.0)


def times_farther(distance: float, controls: Array) -> float:
    """How many times farther a finetune went than its controls.

    Args:
        distance: Its Kullback-Leibler divergence from the base (bits a token).
        controls: Those of its controls.

    Returns:
        Ratio of the square roots, because a small offset of all logits changes the divergence by
        its square; inf where no control left the base, NaN where nobody did.
    """
    usual = float(np.mean(np.sqrt(controls)))
    if usual > 0:
        return float(np.sqrt(distance)) / usual
    return np.inf if distance > 0 else np.nan
