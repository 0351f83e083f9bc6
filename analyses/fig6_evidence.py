"""Figure 6: a lesson is evidence by optimizer step, more at higher learning rates, and replayed documents undo it.

The belief of the nameless assistant (log2 odds that it speaks as the target, on topics never taught) along the steps of
one lesson. It rises faster at higher learning rates; a step of one document moves it more than half as much as a step
of sixteen, so that a document is worth what its batch and rate make of it; and where documents of all kinds are
replayed beside the lesson the rise is passing, though the lesson itself is learned.
"""

from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from persona_interp import experiments, plots

NAME = "fig6_evidence"


def compute(out: Path, *, size: str = "quick", workers: int | None = None, **changes: Any) -> dict[str, pd.DataFrame]:
    """Which tables does this figure show?

    Args:
        out: Run folder; finished cells are read, missing ones computed.
        size: Name of a preset.
        workers: Processes; all cores by default, 0 = this one.
        changes: Fields of the preset to set otherwise.

    Returns:
        What ``Evidence.summarize`` returns.
    """
    return experiments.compute(experiments.preset(size, "evidence", **changes), out, workers=workers)


def shown(tables: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """Which numbers are in the figure: the belief at each step, by setting, over seeds?

    Args:
        tables: From ``compute``.

    Returns:
        One row a setting and step, bits.
    """
    return tables["curve"]


def draw(tables: dict[str, pd.DataFrame]) -> Figure:
    """What does the claim look like?

    Args:
        tables: From ``compute``.

    Returns:
        Panels for learning rate, batch and replay.
    """
    return plots.evidence(shown(tables), title="Belief to be the target, along a lesson on one of its traits")


def main() -> None:
    """Computes the figure and saves it as PNG, PDF and CSV with its provenance."""
    experiments.figure_script(__doc__, NAME, compute=compute, shown=shown, draw=draw)


if __name__ == "__main__":
    main()
