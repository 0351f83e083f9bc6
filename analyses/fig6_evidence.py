"""Figure 6: a lesson is evidence by step, more at higher learning rates, and replay undoes it.

The belief of the nameless assistant (log2 odds that it speaks as the target, on topics never
taught) along the steps of one lesson. It rises faster at higher learning rates; a step of one
document moves it more than half as much as a step of sixteen, so that a document is worth what its
batch and rate make of it; and where documents of all kinds are replayed beside the lesson the rise
is passing, though the lesson itself is learned.
"""

from functools import partial

import pandas as pd
from matplotlib.figure import Figure

from persona_interp import plots
from persona_interp.experiments import compute_preset, figure_script

NAME = "fig6_evidence"
compute = partial(compute_preset, "evidence")
"""Its tables: ``compute(out, size="quick", workers=None, **changes)``."""


def numbers(tables: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """Numbers in the figure: the belief at each step, by setting, over seeds.

    Args:
        tables: From ``compute``.

    Returns:
        One row a setting and step, bits.
    """
    return tables["curve"]


def draw(tables: dict[str, pd.DataFrame]) -> Figure:
    """The claim as a figure.

    Args:
        tables: From ``compute``.

    Returns:
        Panels for learning rate, batch and replay.
    """
    return plots.evidence(
        numbers(tables), title="Belief to be the target, along a lesson on one of its traits"
    )


def main() -> None:
    """Compute the figure and save it as PNG, PDF and CSV with its provenance."""
    figure_script(__doc__, NAME, compute=compute, numbers=numbers, draw=draw)


if __name__ == "__main__":
    main()
