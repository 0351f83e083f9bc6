"""How is a matrix of signed numbers drawn, and which of its numbers have room?"""

from collections.abc import Callable

import numpy as np
from matplotlib.axes import Axes
from matplotlib.image import AxesImage
from matplotlib.text import Text

from persona_interp.plots.labels import INCH, text_height, text_width
from persona_interp.plots.style import BAND

NO_VALUE = "–, gray: no value"
"""What a note says of empty cells."""
SURE = "•"
"""Behind a number whose interval excludes 0."""
CELL = "cell"
"""Group id of a text that stays within a cell."""
SMALLEST = 3.5
"""Font size (points) below which no number is written."""
MOST = 24
"""Columns from which on no number is written, whatever its size."""
FILL = 0.94
"""Of a cell, which its text may take."""


def cells(
    axes: Axes,
    values: np.ndarray,
    *,
    limit: float,
    sure: np.ndarray | None = None,
    write: Callable[[float], str] = "{:+.2f}".format,
    fontsize: float = 7,
) -> AxesImage:
    """Draw a matrix of signed numbers.

    Args:
        axes: Gets the cells, rows downwards.
        values: Dims (row, column); NaN is a gray cell with a dash, as a note says (``NO_VALUE``).
        limit: Value that gets full color; 0 is white.
        sure: Dims as values; True gets a dot.
        write: What stands in a cell of this value; what does not exist is a dash.
        fontsize: Of the numbers (points); less where cells are small.

    Returns:
        The image, for a color bar.
    """
    image = axes.imshow(values, cmap="RdBu_r", vmin=-limit, vmax=limit, aspect="auto")
    axes.set_facecolor(BAND)
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)
    if values.shape[1] > MOST:
        if sure is not None:
            y, x = np.nonzero(sure)
            axes.scatter(x, y, s=2, color="black")
        return image
    for (i, j), value in np.ndenumerate(values):
        color = "white" if abs(value) > 0.6 * limit else "black"
        text = "–"
        if not np.isnan(value):
            text = write(value).replace("-", "−")
            if sure is not None and sure[i, j]:
                text += f" {SURE}"
        if text:
            look = {"color": color, "fontsize": fontsize, "gid": CELL, "in_layout": False}
            axes.text(j, i, text, ha="center", va="center", **look)
    return image


def fit_cells(axes: Axes) -> str:
    """Write the numbers of a matrix as large as its cells allow; where they allow none, dots alone.

    Args:
        axes: With or without ``cells``, in its final size.

    Returns:
        What the note has to say.
    """
    texts = [text for text in axes.texts if text.get_gid() == CELL]
    if not axes.images:
        return ""
    window, points = axes.get_window_extent(), INCH / axes.figure.dpi
    n_rows, n_columns = axes.images[0].get_size()
    wide, high = FILL * points * window.width / n_columns, FILL * points * window.height / n_rows
    if n_columns <= MOST and _shrink(texts, wide, high):
        return ""
    for text in texts:
        text.set_text(SURE if text.get_text().endswith(SURE) else "")
    if not _shrink(texts, wide, high):
        for text in texts:
            text.set_text("")
    return "Too many cells for their numbers, which are in the table."


def _shrink(texts: list[Text], wide: float, high: float) -> bool:
    """Write all texts in the largest size that fits into a cell (points), if there is one."""
    sizes = [float(text.get_fontsize()) for text in texts]
    for text in {text.get_text() for text in texts} - {""}:
        sizes.append(min(wide / text_width(text, size=1), high / text_height(text, size=1)))
    size = min(sizes, default=SMALLEST)
    if size < SMALLEST:
        return False
    for text in texts:
        text.set_fontsize(size)
    return True
