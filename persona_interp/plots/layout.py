"""Where does everything stand? The one place that wraps, cuts, turns and grows.

A figure of this room draws its data and ends with ``finish``. Title and legend go above the panels,
the note below; labels of rows are wrapped, those of columns turned until none touches another; then
the figure grows until the panels are as high as was asked, and at least half of it.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.text import Text
from matplotlib.transforms import Bbox

from persona_interp.plots.cells import fit_cells
from persona_interp.plots.labels import INCH, LINE, PARTS, WORDS, fit, text_height, text_width, wrap
from persona_interp.plots.names import place_names
from persona_interp.plots.style import INK

SHARE = 0.5
"""Of the figure's width and height, which the panels keep at least."""
ROW_ROOM = (125, 95, 75, 60)
"""Width of the labels of rows (points): the first that leaves the panels their share."""
COLUMN_ROOM = 125
"""Length of a turned label of a column (points)."""
SMALLEST = 4.5
"""Font size (points) below which nothing is written."""
NTH = {2: "second", 3: "third"}
EDGE = 0.005
"""Of the figure's width, left free on both sides."""
DIGITS = 6
"""Of where a panel stands (fraction of the figure): less than a thousandth of a pixel."""
GAP = 0.05
"""Between title, legend, panels and note (inches)."""
NOTE_SIZE, TITLE_SIZE, LEGEND_SIZE = 6.5, 8, 7


class _Labels(NamedTuple):
    """Names along an axis that has no numbers."""

    axes: Axes
    places: list[float]
    names: list[str]
    size: float


class _Look(NamedTuple):
    """How names of columns are written."""

    names: list[str]
    angle: int
    size: float
    every: int = 1
    remark: str = ""


def finish(figure: Figure, note: str, *, height: float, title: str = "") -> Figure:
    """Put title, legend and note where they belong, and make all labels fit.

    Args:
        figure: With its data drawn; its legend by ``legend``.
        note: What the reader has to know beside the picture: n, seeds, nulls.
        height: Of the panels (inches); what stands around them comes on top.
        title: Above everything.

    Returns:
        The figure. Numbers and names for which there was no room are left out, which the note
        says.
    """
    rows, columns = _labels(figure, "y"), _labels(figure, "x")
    below, above = _write(figure, note, title)
    place = partial(_grow, figure, note=below, title=above)
    tall = height
    looks: list[_Look] = []
    for room in ROW_ROOM:
        tall = max([height, *(_fit_rows(labels, room) for labels in rows)])
        for attempt in range(3):  # turned labels take of the width that decides how they are turned
            broken = _wrap_titles(figure)
            before, looks = looks, [_look(labels) for labels in columns]
            if attempt and looks == before and not broken:
                break
            for labels, look in zip(columns, looks, strict=True):
                _turn(labels, look)
            place(tall)
        if panel_shares(figure)[0] >= SHARE + 0.02:
            break
    _settle(figure)
    remarks = [look.remark for look in looks]
    remarks += [fit_cells(axes) for axes in figure.axes]
    hidden, names = map(sum, zip(*(place_names(axes) for axes in figure.axes), strict=True))
    remarks += [f"{hidden} of {names} names have no room and are in the table."] if hidden else []
    if any(remarks):
        _write(figure, " ".join([note, *filter(None, dict.fromkeys(remarks))]), title)
        place(tall)
        _settle(figure)
    return figure


def legend(figure: Figure, handles: Sequence[Any], labels: Sequence[str]) -> None:
    """Put a legend above the panels, in as many columns as there is room for.

    Args:
        figure: Gets the legend; none where there is nothing to tell apart.
        handles: One a label, the first of equal labels counts.
        labels: Their names.
    """
    by_name = dict(zip(reversed(labels), reversed(handles), strict=True))
    names = [name for name in dict.fromkeys(labels) if name and not name.startswith("_")]
    if not names:
        return
    whole = INCH * figure.get_figwidth()
    beside = 4 * LEGEND_SIZE  # the handle and its gaps
    short = fit(names, room=0.9 * whole - beside, size=LEGEND_SIZE, lines=1)
    column = max(text_width(name, size=LEGEND_SIZE) for name in short) + beside
    figure.legend(
        [by_name[name] for name in names],
        short,
        loc="upper left",
        bbox_to_anchor=(0, 1),
        ncols=max(1, min(len(names), int(0.98 * whole // column))),
        fontsize=LEGEND_SIZE,
        columnspacing=1.2,
        handlelength=1.8,
        borderaxespad=0.2,
    )


def _labels(figure: Figure, which: str) -> list[_Labels]:
    """Axes whose ticks have names."""
    named = []
    for axes in figure.axes:
        axis = axes.xaxis if which == "x" else axes.yaxis
        # what set_xticks(places, names) leaves
        if isinstance(getattr(axis.get_major_formatter(), "func", None), partial):
            ticks = axis.get_ticklabels()
            places = [float(place) for place in axis.get_ticklocs()]
            names = [text.get_text() for text in ticks]
            named.append(_Labels(axes, places, names, float(ticks[0].get_fontsize())))
    return [labels for labels in named if any(labels.names)]


def _fit_rows(labels: _Labels, room: float) -> float:
    """Wrap the names of rows; returns the height that their panel needs (inches)."""
    short = fit(labels.names, room=room, size=labels.size)
    limits = labels.axes.get_ylim()
    labels.axes.set_yticks(labels.places, short)
    labels.axes.set_ylim(limits)
    tallest = max(text_height(name, size=labels.size) for name in short)
    low, high = labels.axes.get_ylim()
    rows = abs(high - low) / _smallest_gap(labels.places)
    return rows * tallest / INCH


def _smallest_gap(places: Sequence[float]) -> float:
    """Distance of the nearest two ticks; 1 of a single one."""
    gaps = np.diff(np.sort(places))
    return float(gaps.min()) if len(gaps) else 1.0


def _look(labels: _Labels) -> _Look:
    """How the names of columns fit: as they are, wrapped, turned, shrunk or thinned out."""
    axes, names, size = labels.axes, labels.names, labels.size
    inches = axes.get_window_extent().width / axes.figure.dpi
    x = axes.transData.transform([(place, 0.0) for place in labels.places])[:, 0]
    room = INCH * (_smallest_gap(x.tolist()) / axes.figure.dpi if len(x) > 1 else inches)
    parts = {part.rstrip() for name in names for part in PARTS.findall(name)}
    longest = max(text_width(part, size=size) for part in parts)
    # as they are, or in lines that are as wide as a column if no part of a name is torn
    for short in (names, fit(names, room=0.92 * room, size=size, lines=3)):
        lines = [line for name in short for line in name.split("\n")]
        widest = max(text_width(line, size=size) for line in lines)
        is_high = max(name.count("\n") for name in short) >= 3
        if widest <= 0.95 * room and not is_high and (short is names or longest <= 0.92 * room):
            return _Look(short, 0, size)
    # turned, a name stands on one line
    names = [name.replace("\n", " ") for name in names]
    short = fit(names, room=COLUMN_ROOM, size=size, lines=1)
    if 0.7 * room >= LINE * size:
        return _Look(short, 45, size)
    size = max(SMALLEST, min(size, room / LINE))
    every = max(1, int(np.ceil(LINE * size / room)))
    remark = f"Every {NTH.get(every, f'{every}th')} column is named." if every > 1 else ""
    short = fit(names, room=COLUMN_ROOM, size=size, lines=1)
    return _Look(short, 90, size, every, remark)


def _turn(labels: _Labels, look: _Look) -> None:
    """Write the names of columns as they fit."""
    align = "right" if look.angle == 45 else "center"
    labels.axes.set_xticks(
        labels.places[:: look.every],
        look.names[:: look.every],
        rotation=look.angle,
        ha=align,
        rotation_mode="anchor" if look.angle == 45 else "default",
        fontsize=look.size,
    )


def _write(figure: Figure, note: str, title: str) -> tuple[Text, Text]:
    """Note and title; both break at the figure's edge."""
    room = 0.97 * INCH * figure.get_figwidth()
    note = wrap(note, room=room, size=NOTE_SIZE, parts=WORDS)
    title = wrap(title, room=room, size=TITLE_SIZE, parts=WORDS)
    look: dict[str, Any] = {"x": 0.01, "ha": "left"}
    # a text that is given a height is left alone by the layout; ``_grow`` moves it
    below = figure.supxlabel(note, y=0, va="bottom", fontsize=NOTE_SIZE, color=INK, **look)
    above = figure.suptitle(title, y=1, va="top", fontsize=TITLE_SIZE, **look)
    return below, above


def _wrap_titles(figure: Figure) -> bool:
    """Break the titles of panels and axes where their panel ends; returns whether any did."""
    changed = False
    for axes in figure.axes:
        window = axes.get_window_extent()
        wide, tall = (INCH * side / figure.dpi for side in (window.width, window.height))
        titles = [c for c in axes.get_children() if isinstance(c, Text) and c not in axes.texts]
        for text, room in (
            *((title, wide) for title in titles),
            (axes.xaxis.label, wide),
            (axes.yaxis.label, tall),
        ):
            (short,) = fit([text.get_text()], room=room, size=float(text.get_fontsize()), lines=4)
            changed |= short != text.get_text()
            text.set_text(short)
    return changed


def panel_shares(figure: Figure) -> tuple[float, float]:
    """Share of a figure's width and height along which there is a panel, color bars aside.

    Args:
        figure: Laid out.

    Returns:
        Width and height, as fractions: what stands between panels is not counted.
    """
    boxes = [axes.get_position() for axes in figure.axes if axes.get_label() != "<colorbar>"]
    across, along = ([(box.x0, box.x1) for box in boxes], [(box.y0, box.y1) for box in boxes])
    return _union(across), _union(along)


def _settle(figure: Figure) -> None:
    """Round where panels stand: the solver's last digits change from call to call, pixels too."""
    for axes in figure.axes:
        place = axes.get_position(original=True)
        axes.set_position(Bbox(np.round(place.get_points(), DIGITS)))
        axes.set_in_layout(True)  # what is given a place is otherwise left alone by the solver


def _union(intervals: list[tuple[float, float]]) -> float:
    """Length of what these intervals cover together."""
    length, reached = 0.0, 0.0
    for low, high in sorted(intervals):
        length += max(0.0, high - max(low, reached))
        reached = max(reached, high)
    return length


def _decorations(figure: Figure) -> float:
    """Height of what panels have above and below them, as the layout counts it (inches)."""
    around = []
    for axes in figure.axes:
        panel = axes.get_window_extent()
        around.append((panel, axes.get_tightbbox(for_layout_only=True) or panel))
    panels, whole = (Bbox.union(boxes) for boxes in zip(*around, strict=True))
    highest = max(box.height - panel.height for panel, box in around)
    rows = max(grid.nrows for axes in figure.axes if (grid := axes.get_gridspec()) is not None)
    pads = 2 * rows * mpl.rcParams["figure.constrained_layout.h_pad"]
    return (whole.height - panels.height + (rows - 1) * highest) / figure.dpi + pads


def _grow(figure: Figure, tall: float, *, note: Text, title: Text) -> None:
    """Make the figure as high as its panels ask for; all else is placed around them."""
    # the figure itself has no engine: one, even "none", draws it twice whenever it is saved
    engine = ConstrainedLayoutEngine()
    foot = GAP + note.get_window_extent().height / figure.dpi
    above = 0.0
    if title.get_text():
        above = GAP + title.get_window_extent().height / figure.dpi
    legends = sum(legend.get_window_extent().height for legend in figure.legends)
    head = above + legends / figure.dpi
    around = head + foot + _decorations(figure)
    high = max(tall + around, around / (1 - SHARE) + GAP)
    for _ in range(5):
        figure.set_figheight(high)
        note.set_y(GAP / high)
        title.set_y(1 - GAP / high)
        for legend in figure.legends:
            legend.set_bbox_to_anchor((0, 1 - above / high))
        engine.set(rect=(EDGE, foot / high, 1 - 2 * EDGE, 1 - (head + foot) / high))
        engine.execute(figure)
        around = high * (1 - panel_shares(figure)[1])
        wanted = max(tall + around, around / (1 - SHARE) + GAP)
        if abs(wanted - high) < 0.02:
            return
        high = round(wanted, DIGITS)
