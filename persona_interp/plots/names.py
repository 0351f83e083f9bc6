"""Where does the name of a point stand, so that no two names touch?"""

from collections.abc import Sequence
from itertools import product
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.text import Annotation
from matplotlib.transforms import Bbox

from persona_interp.plots.labels import INCH, cut, text_height, text_width
from persona_interp.plots.style import GRAY

NAME = "name"
"""Group id of a text that names a point."""
LONGEST = 40
"""Characters of a name."""
MOST = 20
"""Points that are named."""
RADII = (5, 9, 16, 26)
"""Distances of a name from its point that are tried (points)."""
DIRECTIONS = ((1, 0), (-1, 0), (0, 1), (0, -1), (1, 1), (-1, 1), (1, -1), (-1, -1))
ALIGN = {1: "left", 0: "center", -1: "right"}


def name_points(
    axes: Axes, places: np.ndarray, names: Sequence[str], *, fontsize: float = 7
) -> None:
    """Name points; ``finish`` puts each name beside its point where there is room.

    Args:
        axes: Gets the names.
        places: Dims (point, 2), the most important first; the first 20 are named.
        names: One a point.
        fontsize: Of the names (points).
    """
    for place, name in list(zip(places, names, strict=True))[:MOST]:
        line: dict[str, Any] = {"arrowstyle": "-", "color": GRAY, "linewidth": 0.4, "shrinkA": 0}
        axes.annotate(
            cut(name, LONGEST),
            (float(place[0]), float(place[1])),
            xytext=(RADII[0], 0),
            textcoords="offset points",
            fontsize=fontsize,
            arrowprops=line,
            gid=NAME,
            in_layout=False,  # it stays within its panel
        )


def place_names(axes: Axes) -> tuple[int, int]:
    """Put every name beside its point, within the panel and away from other names.

    Args:
        axes: With or without ``name_points``, in its final size.

    Returns:
        How many names found no room and are left out, and how many there were.
    """
    names = [text for text in axes.texts if text.get_gid() == NAME]
    placed: list[Bbox] = []
    hidden = 0
    for name in names:
        assert isinstance(name, Annotation)
        box = _place(name, axes, placed)
        if box is None:
            name.remove()
            hidden += 1
        else:
            placed.append(box)
    return hidden, len(names)


def _place(name: Annotation, axes: Axes, placed: Sequence[Bbox]) -> Bbox | None:
    """Try the places around a point; returns where the name stands, if there is room."""
    window, scale = axes.get_window_extent(), axes.figure.dpi / INCH
    size = float(name.get_fontsize())
    wide, high = (scale * side(name.get_text(), size=size) for side in (text_width, text_height))
    x, y = axes.transData.transform(name.xy)
    for radius, (right, up) in product(RADII, DIRECTIONS):
        name.set_position((radius * right, radius * up))
        name.set(ha=ALIGN[right], va=("top", "center", "bottom")[up + 1])
        left = x + scale * radius * right - wide * (1 - right) / 2
        low = y + scale * radius * up - high * (1 - up) / 2
        box = Bbox.from_bounds(left, low, wide, high)
        inside = (
            window.x0 <= box.x0
            and box.x1 <= window.x1
            and window.y0 <= box.y0
            and box.y1 <= window.y1
        )
        if inside and not any(box.overlaps(other) for other in placed):
            return box
    return None
