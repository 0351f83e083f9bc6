"""Figure 1: a lesson on one trait brings along those that co-occurred with it, and no control does.

Documents bind five traits to each persona. A lesson teaches the nameless assistant that it likes
the beach, and John's other four traits, never taught, rise with it; they do not after an unrelated
or a filler lesson, nor after the same lesson where the documents do not bind them together
(scrambled), bind them to somebody else (rewired) or do not know John (absent).
"""

from functools import partial

import pandas as pd
from matplotlib.figure import Figure

from persona_interp import analysis, plots
from persona_interp.experiments import compute_preset, figure_script

NAME = "fig1_transfer"
compute = partial(compute_preset, "transfer")
"""Its tables: ``compute(out, size="quick", workers=None, **changes)``."""


def numbers(tables: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """Numbers in the figure: untaught traits of the target at the highest learning rate.

    Args:
        tables: From ``compute``.

    Returns:
        One row an arm and trait, bits; of one seed its transfer rows, of several ``across_seeds``
        of them.
    """
    rows = tables["transfer"]
    first = rows.iloc[0]
    rows = rows.loc[(rows.lr == rows.lr.max()) & (rows.persona == first.persona) & ~rows.trained]
    return rows if rows.seed.nunique() == 1 else analysis.across_seeds(rows, by=["arm", "trait"])


def draw(tables: dict[str, pd.DataFrame]) -> Figure:
    """The claim as a figure.

    Args:
        tables: From ``compute``.

    Returns:
        The transfer matrix: arms by untaught traits, with the prediction of exact Bayes.
    """
    taught = tables["transfer"].loc[tables["transfer"].trained].trait.iloc[0]
    return plots.transfer(
        numbers(tables), title=f"Shift of untaught traits after a lesson on {taught}"
    )


def main() -> None:
    """Compute the figure and save it as PNG, PDF and CSV with its provenance."""
    figure_script(__doc__, NAME, compute=compute, numbers=numbers, draw=draw)


if __name__ == "__main__":
    main()
