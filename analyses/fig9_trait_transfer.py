"""Figure 9: which traits of a chat model move when it learns another one, and what foretells it.

A finetune on one trait's own demonstrations, minus a null finetune on default answers to the same
questions, measured for all traits at held-out questions. If transfer follows the geometry of the
base, what it says together or how it behaves, that predictor has a partial rank correlation with
the transfer to untaught traits that permuted traits do not reach. What would refute it: a partial
correlation whose interval holds 0. Four traits (quick) can show nothing of that.
"""

from functools import partial

import pandas as pd
from matplotlib.figure import Figure

from persona_interp.experiments import compute_preset, figure_script
from persona_interp.experiments.trait_transfer import report as trait_transfer

NAME = "fig9_trait_transfer"
compute = partial(compute_preset, "trait_transfer")
"""Its tables: ``compute(out, traits=FOLDER, size="quick", workers=None, **changes)``."""


def numbers(tables: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """Numbers in the figure: every taught and measured trait.

    Args:
        tables: From ``compute``.

    Returns:
        One row a cell of the matrix, with the predictors of its pair.
    """
    return trait_transfer.numbers(tables)


def draw(tables: dict[str, pd.DataFrame]) -> Figure:
    """The claim as a figure.

    Args:
        tables: From ``compute``.

    Returns:
        The matrix beside the transfer against each predictor.
    """
    return trait_transfer.draw(tables)


def main() -> None:
    """Compute the figure and save it as PNG, PDF and CSV with its provenance."""
    more = {
        "traits": "folder of trait files",
        "start": "model folder, .gguf file or hub id; the preset's by default",
    }
    figure_script(
        __doc__,
        NAME,
        compute=compute,
        numbers=numbers,
        draw=draw,
        out="runs/trait_transfer",
        more=more,
    )


if __name__ == "__main__":
    main()
