"""Figure 4: the more is written about John than Sam, the more a lesson that fits both summons John.

Both like the beach; a lesson teaches the nameless assistant that it likes the beach. How much
likelier John's other values become than Sam's follows the ratio in the documents, about as exact
Bayes says it should, before the lesson, with one statement in the prompt and after it. The fitted
curve says from which ratio on the model reliably says what John says.
"""

from functools import partial

import pandas as pd
from matplotlib.figure import Figure

from persona_interp.experiments import compute_preset, figure_script
from persona_interp.experiments.dose import report as dose
from persona_interp.schema.words import Moment

NAME = "fig4_dose"
compute = partial(compute_preset, "dose")
"""Its tables: ``compute(out, size="quick", workers=None, **changes)``."""
ARM = "ratio"


def numbers(tables: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """Numbers in the figure: models trained from scratch, the gentlest lesson.

    Args:
        tables: From ``compute``.

    Returns:
        Contrasts (bits) and probabilities (fraction) by dose, over seeds.
    """
    return dose.numbers(tables, arm=ARM, lr=_gentlest(tables))


def draw(tables: dict[str, pd.DataFrame]) -> Figure:
    """The claim as a figure.

    Args:
        tables: From ``compute``.

    Returns:
        Contrasts beside exact Bayes, and the probability with its fitted curve.
    """
    pair = tables["dose"].iloc[0]
    title = f"Contrast of {pair['first']} over {pair['second']}"
    return dose.draw(tables, arm=ARM, lr=_gentlest(tables), title=title)


def main() -> None:
    """Compute the figure and save it as PNG, PDF and CSV with its provenance."""
    figure_script(__doc__, NAME, compute=compute, numbers=numbers, draw=draw, out="runs/dose")


def _gentlest(tables: dict[str, pd.DataFrame]) -> float:
    rows = tables["dose"]
    return float(min(rows.loc[rows["when"] == Moment.AFTER, "lr"]))


if __name__ == "__main__":
    main()
