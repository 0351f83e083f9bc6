"""Figure 12: what a lesson will move can be said before it is taught, and what that costs.

A point a predictor: how much of the shifts of untaught traits it explains in bases and worlds that
nothing was fitted on, against its cost in steps of the lesson. What would refute a forecast: a
plain or micro pilot of the same cost explains more.
"""

from functools import partial

import pandas as pd
from matplotlib.figure import Figure

from persona_interp.experiments import compute_preset, figure_script
from persona_interp.experiments.forecast import report as forecast

NAME = "fig12_forecast"
compute = partial(compute_preset, "forecast")
"""Its tables: ``compute(out, size="quick", workers=None, **changes)``."""


def numbers(tables: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """Numbers in the figure.

    Args:
        tables: From ``compute``.

    Returns:
        R2 and cost of every predictor and stack.
    """
    return forecast.numbers(tables)


def draw(tables: dict[str, pd.DataFrame]) -> Figure:
    """The claim as a figure.

    Args:
        tables: From ``compute``.

    Returns:
        A point a predictor and stack.
    """
    return forecast.draw(tables)


def main() -> None:
    """Compute the figure and save it as PNG, PDF and CSV with its provenance."""
    figure_script(__doc__, NAME, compute=compute, numbers=numbers, draw=draw, out="runs/forecast")


if __name__ == "__main__":
    main()
