"""What would be read off a learner for whom evidence adds up?

Two learners, each read by the same bounded reader as the model (``speakers.belief_scale``). To the
first every step of a lesson adds the same bits (``additive_curve``); the second gains the same bits
whatever he believed before (``equal_gains``). What a model does beside them is evidence against
adding up; what it does as they do is not, since a bounded reader bends every straight line.

Both have a ceiling of their own beside the reader's, fitted as well: the target is at most a share
``k`` of who is speaking, as in ``reliable`` a value is said at most with the probability
``ceiling``. So a run that rises straight and then stops is no evidence against adding up; one that
bends on its way is.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.interpolate import PchipInterpolator
from scipy.optimize import least_squares

from persona_interp import schema
from persona_interp.analysis.evidence import runs
from persona_interp.errors import SchemaError, unknown

Array = npt.NDArray[np.float64]
Reading = Callable[[Array], Array]
"""What is read of a belief (both in bits)."""

NO_CEILING = 16.0
"""Log2 odds of k; here and above there is no ceiling but that of the reader."""
NEAREST = 0.05  # bits that a ceiling is above the start, at least
RATES = np.geomspace(1e-3, 20, 60)
"""Bits of the first step, up or down, from which the search for the nearest learner starts."""
ALPHAS = (-1.0, 0.95)
GRID = (25, 14)  # ceilings and alphas from which it starts
GAINS = np.arange(-12.0, 24.0, 0.01)
"""Bits that the same lesson may add at every prior."""
UNPREDICTED = ("misfit", "effect", "p_taught")


class Learner(NamedTuple):
    """What he believes before the lesson, how far he can go, and how he is read.

    Attributes:
        start: Log2 odds of the target before (bits).
        ceiling: Log2 odds of k.
        reading: What is read of a belief.
    """

    start: float
    ceiling: float
    reading: Reading

    def read(self, gain: npt.ArrayLike) -> Array:
        """What is read after so many bits were added (bits)."""
        # The target speaks with probability k / (1 + 2^-(x + gain)): its inverse odds are those of
        # the ceiling, those of x + gain, and their product. Before, with gain 0, they are the
        # start's, which gives x.
        low = np.exp2(-self.ceiling)
        before = (np.exp2(-self.start) - low) / (1 + low)
        after = before * np.exp2(-np.clip(gain, -40, 40))
        return self.reading(-np.log2(low + after + low * after))


def additive_curve(curve: pd.DataFrame, scale: pd.DataFrame) -> pd.DataFrame:
    """The curve of the learner nearest to each run to whom every step adds the same.

    Two fits by least squares on what is read, both from the run's own start. The bent one, ``bits =
    start + c steps^(1 - alpha)`` with a ceiling, says where the run's ceiling is and which alpha
    its belief has; the straight one is the null: the best rate under that ceiling.

    Args:
        curve: An evidence table, of runs from one model.
        scale: The belief_scale table of that model.

    Returns:
        An evidence table with the same rows: ``persona_bits`` and ``weight`` are the learner's,
        ``misfit``, ``effect`` and ``p_taught`` are NaN; beside them ``rate`` (bits a step),
        ``latent`` (alpha of the bent belief; 0 = evidence adds up), ``highest`` (what is read at
        the ceiling, bits), ``named`` (what is read under the target's own name, bits), ``ceiling``
        (log2 odds of k; 16 = none).

    Raises:
        SchemaError: A run lacks the state before the lesson, or has fewer than four steps.

    Note:
        Ask ``latent`` whether evidence adds up: its null is 0, and in planted runs it is unbiased.
        The alpha of what is read minus that of the nearest additive learner is biased there (-.05
        at .1 bits of noise), and with a ceiling fitted to the straight curve it is 0 for every run,
        bent ones too. It holds under this shape of ceiling; a small bend may be another shape's.

    >>> from persona_interp import schema
    >>> belief = np.arange(-12.0, 16.5, 0.5)
    >>> scale = pd.DataFrame({"belief": belief, "persona_bits": np.minimum(belief, 4.0)})
    >>> steps = np.array([0, 1, 2, 4, 8, 16])
    >>> run = pd.DataFrame({"step": steps, "persona_bits": np.minimum(-4.0 + steps, 4.0)})
    >>> columns = [c for c in schema.TABLES["evidence"] if c not in run]
    >>> run = run.assign(**dict.fromkeys(columns, 0.0))
    >>> additive_curve(run, scale)[["persona_bits", "rate"]].round(1).values.tolist()[-1]
    [4.0, 1.0]
    """
    reading, parts = _reading(scale), []
    named = float(scale["persona_bits"].to_numpy(np.float64).max())
    for _, run in runs(curve):
        step, bits = (run[column].to_numpy(np.float64) for column in ("step", "persona_bits"))
        if step[0] != 0 or len(step) < 4:
            raise SchemaError(
                "the nearest learner is sought from step 0 on, over four steps or more; got steps "
                f"{step.astype(int).tolist()}."
            )
        start = _believed(float(bits[0]), scale)
        _, latent, ceiling = _nearest(step, bits, start, reading, bent=True)
        rate, _, _ = _nearest(step, bits, start, reading, ceiling=ceiling)
        read = Learner(start, ceiling, reading).read(rate * step)
        run = run.assign(persona_bits=read, weight=1 / (1 + np.exp2(-read)))
        run = run.assign(**dict.fromkeys(UNPREDICTED, np.nan), rate=rate, latent=latent)
        highest = float(reading(np.array(ceiling)))
        parts.append(run.assign(highest=highest, named=named, ceiling=ceiling))
    return pd.concat(parts, ignore_index=True)


def equal_gains(
    curve: pd.DataFrame, ceilings: pd.DataFrame, scales: pd.DataFrame, *, prior: str = "prior_bits"
) -> pd.DataFrame:
    """The curves of learners to whom a lesson adds the same bits whatever their prior.

    At each step the gain that all priors of a seed share, by least squares on what is read; how it
    grows with the steps is left open. Every learner starts as its run and has its run's ceiling.

    Args:
        curve: An evidence table with a column for the prior.
        ceilings: ``additive_curve`` of each run, with the prior.
        scales: Belief_scale tables of the models before each lesson, with ``seed`` and the prior.
        prior: That column.

    Returns:
        ``curve`` with the learners' ``persona_bits``.

    Raises:
        SchemaError: A run has no ceiling or no scale.
    """
    parts = []
    for seed, of_seed in curve.groupby("seed", sort=False):
        learners = {}
        for bits in of_seed[prior].unique():
            at = {"seed": seed, prior: bits}
            scale = _only(scales, at)
            start = _only(of_seed, {prior: bits, "step": 0})["persona_bits"].iloc[0]
            ceiling = _only(ceilings, at)["ceiling"].iloc[0]
            learners[bits] = Learner(_believed(start, scale), ceiling, _reading(scale))
        for step, rows in of_seed.groupby("step", sort=False):
            read = np.array([learners[bits].read(GAINS) for bits in rows[prior]])
            # Dims (prior, gain): at each gain, how far are all priors together from what was read?
            distance = ((read - rows["persona_bits"].to_numpy()[:, None]) ** 2).sum(axis=0)
            if step == 0:
                distance = np.abs(GAINS)
            parts.append(rows.assign(persona_bits=read[:, int(distance.argmin())]))
    return pd.concat(parts, ignore_index=True)


def _nearest(
    step: Array,
    bits: Array,
    start: float,
    reading: Reading,
    *,
    bent: bool = False,
    ceiling: float = NO_CEILING,
) -> tuple[float, float, float]:
    """Bits of the first step, alpha and ceiling of the learner with the least squares.

    Not bent, alpha is 0 and the ceiling the one given.
    """

    def read(rate: npt.ArrayLike, alpha: npt.ArrayLike, ceiling: float) -> Array:
        return Learner(start, ceiling, reading).read(
            np.asarray(rate) * step ** (1 - np.asarray(alpha))
        )

    lowest = min(start + NEAREST, NO_CEILING - NEAREST)
    ceilings, alphas = np.array([ceiling]), np.array([0.0])
    if bent:
        ceilings, alphas = np.linspace(lowest, NO_CEILING, GRID[0]), np.linspace(*ALPHAS, GRID[1])
    # Where most of a run is at its ceiling the loss has several minima, so a grid finds the basin.
    rates = np.concatenate([RATES, -RATES])[:, None, None]
    candidates = []
    for most in ceilings:
        loss = ((read(rates, alphas[:, None], most) - bits) ** 2).sum(axis=-1)
        i, j = np.unravel_index(int(loss.argmin()), loss.shape)
        candidates.append(
            (float(loss[i, j]), float(rates.ravel()[i]), float(alphas[j]), float(most))
        )
    _, rate, alpha, most = min(candidates)
    x0, low, high = [rate], [-2 * RATES[-1]], [2 * RATES[-1]]
    if bent:
        x0, low, high = (
            [*x0, alpha, most],
            [*low, ALPHAS[0], lowest],
            [*high, ALPHAS[1], NO_CEILING],
        )

    def whole(x: Array) -> tuple[float, float, float]:
        if bent:
            return float(x[0]), float(x[1]), float(x[2])
        return float(x[0]), alpha, most

    def residuals(x: Array) -> Array:
        return read(*whole(x)) - bits

    best = least_squares(residuals, x0=np.clip(x0, low, high), bounds=(low, high))
    return whole(best.x)


def _reading(scale: pd.DataFrame) -> Reading:
    """What is read of a belief, as a smooth function; constant beyond the scale."""
    schema.require(scale, "belief", "persona_bits")
    belief, bits = (scale[column].to_numpy(np.float64) for column in ("belief", "persona_bits"))
    curve = PchipInterpolator(belief, bits)

    def read(x: Array) -> Array:
        return curve(np.clip(x, belief[0], belief[-1]))

    return read


def _believed(bits: float, scale: pd.DataFrame) -> float:
    """The belief of which so many bits are read."""
    return float(np.interp(bits, scale["persona_bits"], scale["belief"]))


def _only(table: pd.DataFrame, at: dict[str, object]) -> pd.DataFrame:
    """Rows with these values."""
    for column, value in at.items():
        if column not in table:
            raise SchemaError(unknown("column", column, table.columns))
        table = table.loc[table[column] == value]
    if table.empty:
        raise SchemaError(f"there is no row for {at}, so this run cannot be read.")
    return table
