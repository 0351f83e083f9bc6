"""Figure 11: a wanted lesson summons an unwanted persona; what safeguards cut, keep and leak.

Every safeguard against the same lesson without one: the share of the unwanted persona's rise that
is gone, the share of the lesson's own rise that is there, and as color what comes back under the
worst trigger. What would refute a safeguard: it keeps the persona, loses the lesson, or leaks.
"""

from functools import partial

import pandas as pd
from matplotlib.figure import Figure

from persona_interp.experiments import compute_preset, figure_script
from persona_interp.experiments.safeguards import report as safeguards

NAME = "fig11_safeguards"
compute = partial(compute_preset, "safeguards")
"""Its tables: ``compute(out, size="quick", workers=None, **changes)``."""


def numbers(tables: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """Numbers in the figure.

    Args:
        tables: From ``compute``.

    Returns:
        Every safeguard, over seeds.
    """
    return safeguards.numbers(tables)


def draw(tables: dict[str, pd.DataFrame]) -> Figure:
    """The claim as a figure.

    Args:
        tables: From ``compute``.

    Returns:
        A point a safeguard.
    """
    return safeguards.draw(tables)


def main() -> None:
    """Compute the figure and save it as PNG, PDF and CSV with its provenance."""
    figure_script(__doc__, NAME, compute=compute, numbers=numbers, draw=draw, out="runs/safeguards")


if __name__ == "__main__":
    main()
