"""Figure 11: a wanted lesson summons an unwanted persona; what safeguards cut, keep and leak.

Every safeguard against the same lesson without one: the share of the unwanted persona's rise that
is gone, the share of the lesson's own rise that is there, and as color what comes back under the
worst trigger. What would refute a safeguard: it keeps the persona, loses the lesson, or leaks.
With ``--traits`` the persona is a published trait, among useful answers of a chat model.
"""

from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from persona_interp.errors import WorldError
from persona_interp.experiments import compute_preset, figure_script
from persona_interp.experiments.safeguards import report as safeguards

NAME = "fig11_safeguards"


def compute(
    out: Path | str, *, traits: str | None = None, **settings: Any
) -> dict[str, pd.DataFrame]:
    """Tables of the figure, finished cells read from the folder.

    Args:
        out: Run folder.
        traits: Folder of trait files; without it a villain in a tiny world.
        settings: As of ``compute_preset``: ``size``, ``workers``, fields of the experiment.

    Returns:
        Tables by name.

    Raises:
        WorldError: A start without traits.
    """
    if traits is None:
        if "start" in settings:
            raise WorldError("--start is of --traits FOLDER; a tiny world makes its own model.")
        return compute_preset("safeguards", out, **settings)
    return compute_preset("trait_safeguards", out, traits=traits, **settings)


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
    more = {
        "traits": "folder of trait files: safeguards against a published trait",
        "start": "model folder, .gguf file or hub id, with --traits; the preset's by default",
    }
    figure_script(
        __doc__,
        NAME,
        compute=compute,
        numbers=numbers,
        draw=draw,
        out="runs/safeguards",
        more=more,
    )


if __name__ == "__main__":
    main()
