"""Figure 8: how common personas are, and how far apart, can be read from a model of documents.

Sixteen personas of known mass, whose pairs share from none to four of five topics. At least two
estimators of the measure (rank correlation with the documents written about each) and at least two
of the metric (with the topics that two do not share) reach 0.7; the others do not, and the report
says why. What would refute it: fewer than two that do, on new worlds.
"""

from functools import partial

import pandas as pd
from matplotlib.figure import Figure

from persona_interp.experiments import compute_preset, figure_script
from persona_interp.experiments.agreement import report as agreement

NAME = "fig8_metric_measure"
compute = partial(compute_preset, "agreement")
"""Its tables: ``compute(out, size="quick", workers=None, **changes)``."""


def numbers(tables: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """Numbers in the figure: every estimator against the truth.

    Args:
        tables: From ``compute``.

    Returns:
        One row an estimator of the measure or the metric.
    """
    return agreement.numbers(tables)


def draw(tables: dict[str, pd.DataFrame]) -> Figure:
    """The claim as a figure.

    Args:
        tables: From ``compute``.

    Returns:
        Rank correlations with the truth, intervals over personas, the permutation null behind.
    """
    return agreement.draw(tables)


def main() -> None:
    """Compute the figure and save it as PNG, PDF and CSV with its provenance."""
    figure_script(__doc__, NAME, compute=compute, numbers=numbers, draw=draw)


if __name__ == "__main__":
    main()
