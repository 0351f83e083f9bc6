"""Does evidence add up: do all steps add as much, and to every prior?

Where evidence adds up as for an exact reader, every step of a lesson adds the same number of bits,
whatever the model believed before. Both halves can fail, and each has its number here: ``alpha`` (0
= every step adds the same) and the interaction of prior and dose (0 = a step adds the same to every
prior). Both are of what is *read*, by a bounded reader, and a model stops somewhere too: a learner
whose evidence adds up exactly can be read with an alpha of .7. So each stands beside that of a
learner read the same (``additive``), and the claim is about the difference.
"""

import numpy as np
import pandas as pd
from scipy.optimize import OptimizeResult, minimize_scalar

from persona_interp.analysis.evidence import runs
from persona_interp.errors import SchemaError, unknown

ALPHAS = (-1.0, 0.95)
"""Between which alpha is sought: bits that grow with steps squared, and almost with their log."""
EDGE = 1e-3  # an alpha this near to an end of the range is that end


def saturation(curve: pd.DataFrame, *, until: int | None = None) -> pd.DataFrame:
    """Power of the number of steps with which a lesson's bits grow, for each run.

    Fits ``bits(N) = b + c N^(1 - alpha)`` over steps N by least squares: log odds that are linear
    in a power of the number of examples (Bigelow et al., in-context and activation evidence). An
    alpha above 0 is a curve that flattens; whether evidence fails to add up, or the reader and the
    model's own ceiling flatten it, ``additive_curve`` says.

    Args:
        curve: An evidence table; every run has at least four steps, the state before included.
        until: Last step that is fitted; all by default.

    Returns:
        One row a run: ``alpha``, ``b`` (bits before), ``c`` (bits of the first step), ``r2``,
        ``at_bound`` (the best alpha is an end of the range searched: the curve is no such power),
        ``n`` steps.

    Raises:
        SchemaError: A run has fewer than four steps.

    >>> from persona_interp import schema
    >>> steps = np.array([0, 1, 4, 16, 64])
    >>> curve = pd.DataFrame({"step": steps, "persona_bits": -5 + 0.75 * steps**0.5, "seed": 0})
    >>> columns = [c for c in schema.TABLES["evidence"] if c not in curve]
    >>> curve = curve.assign(**dict.fromkeys(columns, 0.0))
    >>> saturation(curve)[["alpha", "b", "c"]].round(2).values.tolist()
    [[0.5, -5.0, 0.75]]
    """
    rows = []
    for at, run in runs(curve):
        if until is not None:
            run = run.loc[run["step"] <= until]
        if len(run) < 4:
            raise SchemaError(f"a fit of three numbers needs at least four steps; got {len(run)}.")
        step, bits = (run[column].to_numpy(np.float64) for column in ("step", "persona_bits"))
        alpha = _best_alpha(step, bits)
        (b, c), rest = _fit_power(step, bits, alpha)
        total = float(np.sum((bits - bits.mean()) ** 2))
        row = {**at, "alpha": alpha, "b": float(b), "c": float(c)}
        row["r2"] = 1 - rest / total if total > 0 else np.nan
        row["at_bound"] = alpha < ALPHAS[0] + EDGE or alpha > ALPHAS[1] - EDGE
        rows.append({**row, "n": len(run)})
    return pd.DataFrame(rows)


def _fit_power(step: np.ndarray, bits: np.ndarray, alpha: float) -> tuple[np.ndarray, float]:
    """Line (b, c) by least squares at this alpha, and the residual sum of squares."""
    # Given alpha the curve is linear in b and c, so alpha alone has to be searched for.
    design = np.column_stack([np.ones_like(step), step ** (1 - alpha)])
    line = np.linalg.lstsq(design, bits, rcond=None)[0]
    return line, float(np.sum((bits - design @ line) ** 2))


def _best_alpha(step: np.ndarray, bits: np.ndarray) -> float:
    """The alpha with the least residual sum of squares."""

    def loss(alpha: float) -> float:
        return _fit_power(step, bits, alpha)[1]

    # The loss in alpha can have two minima, so a grid finds the basin first.
    grid = np.linspace(*ALPHAS, 40)
    i = int(np.argmin([loss(alpha) for alpha in grid]))
    ends = (float(grid[max(i - 1, 0)]), float(grid[min(i + 1, len(grid) - 1)]))
    best: OptimizeResult = minimize_scalar(  # pyright: ignore[reportAssignmentType]
        loss, bounds=ends, method="bounded"
    )
    return float(best.x)


def prior_interaction(curve: pd.DataFrame, *, prior: str = "prior_bits") -> pd.DataFrame:
    """Slope of the bits that a lesson adds on the bits that were believed before.

    The same lesson after documents that differ in how common the target is: the slope of the bits
    gained on the bits that the documents said before, by least squares over priors.

    Args:
        curve: An evidence table with a column for the prior; its runs differ in the prior and in
            what tells settings and seeds apart. The prior is known (from the documents), not
            measured: what a model happens to believe before is in the gain too, with the opposite
            sign.
        prior: That column: log2 odds of the target in the documents (bits).

    Returns:
        One row a seed, setting and step after the start: ``estimate`` (bits gained a bit of prior;
        0 = evidence adds up, -1 = the lesson leads to the same belief from everywhere), ``n``
        priors.

    Raises:
        SchemaError: There is no such column, or a seed has fewer than two priors.

    >>> from persona_interp import schema
    >>> steps = [(prior, step) for prior in (-6.0, -4.0, -2.0) for step in (0, 4)]
    >>> rows = [(prior, step, prior - step * prior / 8) for prior, step in steps]
    >>> curve = pd.DataFrame(rows, columns=["prior_bits", "step", "persona_bits"]).assign(seed=0)
    >>> columns = [c for c in schema.TABLES["evidence"] if c not in curve]
    >>> curve = curve.assign(**dict.fromkeys(columns, 0.0))
    >>> prior_interaction(curve)[["step", "estimate", "n"]].round(3).values.tolist()
    [[4.0, -0.5, 3.0]]
    """
    if prior not in curve:
        raise SchemaError(unknown("column", prior, curve.columns))
    gains = []
    for at, run in runs(curve):
        later = run.loc[run["step"] > 0]
        if len(later) == len(run):
            raise SchemaError(
                "a gain needs the state before the lesson (step 0); this run has none."
            )
        before = float(run.loc[run["step"] == 0, "persona_bits"].iloc[0])
        for step, bits in zip(later["step"], later["persona_bits"], strict=True):
            gains.append({**at, "step": step, "gain": bits - before})
    table, rows = pd.DataFrame(gains), []
    by = [c for c in table.columns if c not in (prior, "gain")]
    # Step by step, so that saturation along the steps cannot pass for an interaction.
    for _, group in table.groupby(by, sort=False, dropna=False):
        x = group[prior].to_numpy(np.float64)
        if len(np.unique(x)) < 2:
            raise SchemaError(
                "an interaction needs at least two priors for every seed and step; got "
                f"{len(group)}."
            )
        slope = float(np.polyfit(x, group["gain"].to_numpy(np.float64), 1)[0])
        rows.append({**group[by].iloc[0].to_dict(), "estimate": slope, "n": len(group)})
    return pd.DataFrame(rows)
