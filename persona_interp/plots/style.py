"""How do all figures look? One style, set for a scope and never globally.

Sized for a 5.5 inch text column, TrueType fonts in PDFs (editable, accepted by journals), the Wong
palette (Nature Methods 2011), which color-blind readers can tell apart, no top and right spines.
"""

from contextlib import AbstractContextManager
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

WIDTH = 5.5  # inches, the text width of a NeurIPS page
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#F0E442", "#000000")
GRAY = "#7F7F7F"
MARKERS = "osD^vPX*"
WRAP = 28  # characters of a label beside an axis

STYLE: dict[str, Any] = {
    "axes.axisbelow": True,
    "axes.prop_cycle": mpl.cycler(color=COLORS),  # pyright: ignore[reportAttributeAccessIssue]
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlelocation": "left",
    "axes.titlesize": 8,
    "axes.labelsize": 8,
    "figure.dpi": 120,
    "font.family": "DejaVu Sans",  # comes with matplotlib: the same figure on every machine
    "font.size": 8,
    "legend.fontsize": 7,
    "legend.frameon": False,
    "lines.linewidth": 1.4,
    "pdf.fonttype": 42,
    "ps.fonttype": 42,
    "savefig.dpi": 200,
    "text.parse_math": False,  # a dollar in a name is a dollar
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
}


def style() -> AbstractContextManager[None]:
    """In which scope is this style set?

    Returns:
        A context manager; matplotlib's settings are restored when it ends.

    >>> with style():
    ...     mpl.rcParams["pdf.fonttype"]
    42
    """
    return mpl.rc_context(STYLE)  # pyright: ignore[reportArgumentType]


def panels(n: int = 1, *, height: float, width: float = WIDTH) -> tuple[Figure, list[Axes]]:
    """Where is drawn?

    Args:
        n: Panels side by side.
        height: Of the figure (inches).
        width: Of the figure (inches).

    Returns:
        The figure and its axes. pyplot has forgotten the figure already: notebooks show it once,
        nothing piles up.
    """
    figure, axes = plt.subplots(1, n, figsize=(width, height), layout="constrained", squeeze=False)
    plt.close(figure)
    return figure, list(np.ravel(axes))


def caption(figure: Figure, text: str) -> None:
    """What has the reader to know beside the picture: n, seeds, nulls.

    Args:
        figure: Gets the text below its axes, wrapped.
        text: The caption.
    """
    figure.supxlabel(text, fontsize=6.5, color="#404040", x=0.01, ha="left", wrap=True)
