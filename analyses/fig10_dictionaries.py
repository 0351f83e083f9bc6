"""Figure 10: a lesson wakes features that were there; it hardly creates or moves any.

A crosscoder of the model before a lesson and at its steps says of every feature what became of it.
Drawn is, seed by seed, which share of two groups of features the lesson creates, moves and wakes:
those that know the persona best, and those that rise most at prompts that name nobody; beside them
features that fire as often. What would refute it: features that are born at a step of the lesson,
which the same reading finds where the documents made the model.
"""

from functools import partial

import pandas as pd
from matplotlib.figure import Figure

from persona_interp.experiments import compute_preset, figure_script
from persona_interp.experiments.dictionaries import report as dictionaries

NAME = "fig10_dictionaries"
compute = partial(compute_preset, "dictionaries")
"""Its tables: ``compute(out, size="quick", workers=None, **changes)``."""


def numbers(tables: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """Numbers in the figure.

    Args:
        tables: From ``compute``.

    Returns:
        Shares by group and verb, over seeds, beside those of features that fire as often.
    """
    return dictionaries.numbers(tables)


def draw(tables: dict[str, pd.DataFrame]) -> Figure:
    """The claim as a figure.

    Args:
        tables: From ``compute``.

    Returns:
        A row a group and verb.
    """
    return dictionaries.draw(tables)


def main() -> None:
    """Compute the figure and save it as PNG, PDF and CSV with its provenance."""
    figure_script(
        __doc__, NAME, compute=compute, numbers=numbers, draw=draw, out="runs/dictionaries"
    )


if __name__ == "__main__":
    main()
