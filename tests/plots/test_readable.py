"""Whatever the table, every figure can be read: long names, 1 to 40 of them, values missing.

On the renderer, of every figure of ``persona_interp.plots``: no two texts overlap, none leaves the
figure, and panels stand along at least half of its width and half of its height (what they cover
together; labels between them and color bars are no panels). What is not drawn is said in the note.
"""

import io
from collections.abc import Iterator

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Text

from persona_interp import plots
from tests.plots.tables import FIGURES, NAMES, Size

NO_FIGURE = {"Saved", "save", "style"}
SIZES = [Size(n, names, holes) for n in (1, 2, 12, 40) for names in NAMES for holes in (0, 1)]
FAST = {Size(12, "long", 1)}
MOST = 20 * 1024
"""Bytes of a picture, a square inch: 450 kB of one that is 5.5 by 4 inches."""


def cases() -> Iterator[object]:
    for size in SIZES:
        for name in FIGURES:
            marks = () if size in FAST else (pytest.mark.slow,)
            yield pytest.param(name, size, id=f"{name}-{size}", marks=marks)


def test_every_plot_function_is_in_the_grid() -> None:
    assert set(FIGURES) == set(plots.__all__) - NO_FIGURE


@pytest.mark.parametrize(("name", "size"), list(cases()))
def test_a_figure_can_be_read(name: str, size: Size, monkeypatch: pytest.MonkeyPatch) -> None:
    for figure in FIGURES[name](size):
        assert faults(figure, monkeypatch) == []
        if size.holes:
            note = figure.get_supxlabel().replace("\n", " ")
            assert "(NaN)" in note or "no value" in note or "undefined" in texts_of(figure), note
        # the solver's last digits change from call to call, and would change bytes
        places = np.array([axes.get_position(original=True).get_points() for axes in figure.axes])
        assert np.array_equal(places, places.round(6))
        buffer = io.BytesIO()
        with plots.style():
            figure.savefig(buffer, format="png")
        width, height = figure.get_size_inches()
        assert buffer.tell() < MOST * width * height


def test_what_cannot_be_read_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """The check itself: two names on each other, one beyond the edge, a panel that is too small."""
    figure = Figure(figsize=(4, 4))
    axes = figure.add_axes((0.5, 0.5, 0.3, 0.3))
    axes.set_axis_off()
    for text, x, angle in (("one name", 0.2, 0), ("other name", 0.3, 0), ("far away", 0.98, 0)):
        figure.text(x, 0.2, text, rotation=angle)
    # close, but beside each other: turned by 45 degrees their upright boxes overlap
    for x in (0.2, 0.27):
        figure.text(x, 0.7, f"turned {x}", rotation=45)
    assert faults(figure, monkeypatch) == [
        "panels keep 30 % of the width",
        "panels keep 30 % of the height",
        "'far away' leaves the figure",
        "'one name' and 'other name' overlap",
    ]


def texts_of(figure: Figure) -> str:
    return " ".join(text.get_text() for text in figure.findobj(Text) if isinstance(text, Text))


def faults(figure: Figure, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What keeps this figure from being read."""
    found = []
    panels = [ax.get_position() for ax in figure.axes if not is_bar(ax)]
    for side, ends in (("width", "x"), ("height", "y")):
        share = covered([(getattr(p, f"{ends}0"), getattr(p, f"{ends}1")) for p in panels])
        if share < 0.5:
            found.append(f"panels keep {100 * share:.0f} % of the {side}")
    texts = drawn(figure, monkeypatch)
    width, height = figure.bbox.size
    boxes = np.array([Text.get_window_extent(text).extents for text in texts])
    outside = (boxes[:, :2] < -1).any(1) | (boxes[:, 2:] > np.array([width, height]) + 1).any(1)
    for i in np.flatnonzero(outside):
        found.append(f"{texts[i].get_text()!r} leaves the figure")
    low, high = boxes[:, None, :2], boxes[:, None, 2:]
    near = (low < boxes[None, :, 2:]).all(2) & (boxes[None, :, :2] < high).all(2)
    corners = [turned(text) for text in texts]
    for i, j in np.argwhere(np.triu(near, 1)):
        if overlap(corners[i], corners[j]):
            found.append(f"{texts[i].get_text()!r} and {texts[j].get_text()!r} overlap")
    return found


def covered(intervals: list[tuple[float, float]]) -> float:
    """Share of 0 to 1 that lies in one of these intervals, to a thousandth."""
    points = (np.arange(10_000) + 0.5) / 10_000
    return float(
        np.any([(low < points) & (points < high) for low, high in intervals], axis=0).mean()
    )


def is_bar(axes: Axes) -> bool:
    return axes.get_label() == "<colorbar>"


def drawn(figure: Figure, monkeypatch: pytest.MonkeyPatch) -> list[Text]:
    """Every text that reaches the renderer; not the ticks beyond an axis, which exist too."""
    texts: list[Text] = []
    draw = Text.draw

    def record(self: Text, renderer: object) -> None:
        if self.get_visible() and self.get_text().strip():
            texts.append(self)
        draw(self, renderer)

    with monkeypatch.context() as patch, plots.style():
        patch.setattr(Text, "draw", record)
        figure.draw_without_rendering()
    return texts


def turned(text: Text) -> np.ndarray:
    """Corners of a text as it is turned, a pixel within; dims (corner, 2)."""
    box, angle = Text.get_window_extent(text), text.get_rotation()
    text.set_rotation(0)
    flat = Text.get_window_extent(text)
    text.set_rotation(angle)
    half = np.array([[1, 1], [1, -1], [-1, -1], [-1, 1]]) * (np.array(flat.size) / 2 - 1)
    turn = np.deg2rad(angle)
    rotation = np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
    center = [(box.x0 + box.x1) / 2, (box.y0 + box.y1) / 2]
    return half @ rotation + center


def overlap(one: np.ndarray, other: np.ndarray) -> bool:
    """Whether two rectangles overlap: no side of either separates them."""
    for corners in (one, other):
        for side in (corners[1] - corners[0], corners[2] - corners[1]):
            a, b = one @ side, other @ side
            if a.max() <= b.min() or b.max() <= a.min():
                return False
    return True
