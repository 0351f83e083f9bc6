"""How do all figures look? One style, set for a scope and never globally.

Sized for a 5.5 inch text column, TrueType fonts in PDFs (editable, accepted by journals), the Wong
palette (Nature Methods 2011), which color-blind readers can tell apart, no top and right spines.
"""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Tick
from matplotlib.figure import Figure

from persona_interp.plots.labels import FONT

WIDTH = 5.5  # inches, the text width of a NeurIPS page
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#F0E442", "#000000")
GRAY = "#7F7F7F"
BAND = "#D8D8D8"  # of a null, behind everything
INK = "#404040"  # of notes and remarks
MARKERS = "osD^vPX*"

ZERO: dict[str, Any] = {"color": "black", "linewidth": 0.6}
"""Line where nothing is."""
COLOR_BAR: dict[str, Any] = {"fraction": 0.05, "pad": 0.02, "use_gridspec": False}
"""Color bar beside a matrix; a constrained layout moves one that is not part of the grid."""

STYLE: dict[str, Any] = {
    "axes.axisbelow": True,
    "axes.prop_cycle": mpl.cycler(color=COLORS),  # pyright: ignore[reportAttributeAccessIssue]
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlelocation": "left",
    "axes.titlesize": 8,
    "axes.labelsize": 8,
    "figure.dpi": 120,
    "font.family": FONT,
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
    """Set this style for a scope.

    Returns:
        A context manager; matplotlib's settings are restored when it ends.

    >>> with style():
    ...     mpl.rcParams["pdf.fonttype"]
    42
    """
    return mpl.rc_context(STYLE)  # pyright: ignore[reportArgumentType]


def panels(n: int = 1) -> tuple[Figure, list[Axes]]:
    """Make a figure with panels side by side.

    Args:
        n: Panels side by side.

    Returns:
        The figure and its axes; ``layout.finish`` gives it its height. pyplot has forgotten the
        figure already: notebooks show it once, nothing piles up.
    """
    figure, axes = plt.subplots(1, n, figsize=(WIDTH, WIDTH), squeeze=False)
    plt.close(figure)
    return figure, list(np.ravel(axes))


def nth_color(i: int) -> str:
    """Color of the i-th series; after the last the first again.

    Args:
        i: Number of the series, from 0.

    Returns:
        A color.

    >>> nth_color(0), nth_color(8)
    ('#0072B2', '#0072B2')
    """
    return COLORS[i % len(COLORS)]


def nth_marker(i: int) -> str:
    """Marker of the i-th series; series of one color have different ones, up to 64.

    Args:
        i: Number of the series, from 0.

    Returns:
        A marker of matplotlib.

    >>> nth_marker(1), nth_marker(9)
    ('s', 'D')
    """
    return MARKERS[(i + i // len(COLORS)) % len(MARKERS)]


def label_rows(axes: Axes, labels: Sequence[str]) -> list[Tick]:
    """Label the rows of a chart that is read downwards, from 0 at the top.

    Args:
        axes: Gets the labels.
        labels: One a row, of any length.

    Returns:
        The ticks.
    """
    ticks = axes.set_yticks(range(len(labels)), labels)
    axes.set_ylim(len(labels) - 0.4, -0.6)
    return ticks
