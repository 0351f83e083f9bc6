"""Figure 5: who was written about last decides whom a lesson summons; by exact Bayes it should not.

A model reads about John, then about Sam, or the other way round; then the nameless assistant learns
that it likes the beach, as both do. An assistant-style finetune in between hides the preference and
the lesson brings it back. What each persona still says under its own name tells whether the earlier
one is forgotten or only given less weight.
"""

from functools import partial

import pandas as pd
from matplotlib.figure import Figure

from persona_interp.experiments import compute_preset, figure_script
from persona_interp.experiments.order import report as order

NAME = "fig5_order"
compute = partial(compute_preset, "order")
"""Its tables: ``compute(out, size="quick", workers=None, **changes)``."""


def numbers(tables: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """Numbers in the figure: phases at the highest learning rate.

    Args:
        tables: From ``compute``.

    Returns:
        Contrasts (bits) by order, and own values under own names (fraction) by rehearsal, over
        seeds.
    """
    return order.numbers(tables, lr=_highest(tables))


def draw(tables: dict[str, pd.DataFrame]) -> Figure:
    """The claim as a figure.

    Args:
        tables: From ``compute``.

    Returns:
        Contrasts by order, and what is left under own names.
    """
    pair = tables["order"].iloc[0]
    title = f"Contrast of {pair['first']} over {pair['second']}"
    return order.draw(tables, lr=_highest(tables), title=title)


def main() -> None:
    """Compute the figure and save it as PNG, PDF and CSV with its provenance."""
    figure_script(__doc__, NAME, compute=compute, numbers=numbers, draw=draw, out="runs/order")


def _highest(tables: dict[str, pd.DataFrame]) -> float:
    return float(max(tables["order"]["lr"]))


if __name__ == "__main__":
    main()
