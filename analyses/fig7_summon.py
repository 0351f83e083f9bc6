"""Figure 7: a lesson summons the common one and the near one; a law of both says whom it will.

Six candidates share the taught trait and differ in how much is written about them and in how far
they are from where the model stands when the lesson begins. Shares after the lesson fall with
distance and rise with measure, much less with distance than exact Bayes would have it, which takes
the start's statements for evidence. Out of sample the law of both factors is better than measure
alone, distance alone and either exact Bayes; a mixture of both Bayes predictions, its weight
fitted, does as well.
"""

from functools import partial

import pandas as pd
from matplotlib.figure import Figure

from persona_interp import plots
from persona_interp.experiments import compute_preset, figure_script

NAME = "fig7_summon"
compute = partial(compute_preset, "summon")
"""Its tables: ``compute(out, size="quick", workers=None, **changes)``."""


def numbers(tables: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """Numbers in the figure: how far off each law is on starts that were left out.

    Args:
        tables: From ``compute``.

    Returns:
        One row a law, bits a lesson.
    """
    rivals = tables["rivals"]
    return rivals.loc[rivals["left_out"] == "start"]


def draw(tables: dict[str, pd.DataFrame]) -> Figure:
    """The claim as a figure.

    Args:
        tables: From ``compute``.

    Returns:
        Shares over distance, a color a measure; and the held-out divergence of every law.
    """
    return plots.summon(tables["summoned"], numbers(tables), title="Who is summoned")


def main() -> None:
    """Compute the figure and save it as PNG, PDF and CSV with its provenance."""
    figure_script(__doc__, NAME, compute=compute, numbers=numbers, draw=draw)


if __name__ == "__main__":
    main()
