import numpy as np
import pandas as pd
import pytest

from persona_interp.errors import SchemaError
from persona_interp.plots import causes

OTHERS = ("without mary", "without sam")
RANDOM = [f"random {i}" for i in range(41)]


def test_bars_dots_and_band(edits: pd.DataFrame) -> None:
    (axes,) = causes(edits, others=OTHERS, random=RANDOM, title="Lesson").axes
    labels = [t.get_text() for t in axes.get_yticklabels()]
    assert labels == ["none", "without john", "undefined", "other personas"]
    band, *bars = axes.patches
    assert [bar.get_width() for bar in bars] == [0, 0.75, 0]
    assert band.get_x() == pytest.approx(-0.1995), "rank 1.05 of 41"
    assert band.get_width() == pytest.approx(0.399)
    interval, dots = axes.collections
    assert interval.get_segments()[1][:, 0] == pytest.approx([0.625, 0.875])
    assert np.asarray(dots.get_offsets()) == pytest.approx(np.array([[0.1, 3], [-0.05, 3]]))
    assert [t.get_text() for t in axes.texts] == ["undefined:\nno shift to share"]


def test_the_caption_says_how_large_the_whole_is(edits: pd.DataFrame) -> None:
    said = causes(edits, others=OTHERS, random=RANDOM).get_supxlabel().replace("\n", " ")
    assert (
        "n = 4. The shift is +6.00 bits, from −5.00 to +1.00." in said
        and "each of 2 others" in said
    )


def test_the_ends_of_a_group_and_the_patch_are_drawn(edits: pd.DataFrame) -> None:
    table = edits.head(2).assign(least=[-0.5, 0.75], most=[1.25, 0.75])
    (axes,) = causes(table, patch="without john").axes
    ends = [lines.get_segments() for lines in axes.collections if hasattr(lines, "get_segments")]
    assert [-0.5, 1.25] in [segments[0][:, 0].tolist() for segments in ends]
    verticals = {line.get_xdata()[0]: line.get_label() for line in axes.lines}
    assert verticals[0.75] == "whole residual patched"
    with pytest.raises(SchemaError, match="did you mean 'without john'"):
        causes(table, patch="without jon")


def test_controls_are_not_needed(edits: pd.DataFrame) -> None:
    figure = causes(edits.head(2), label="share of the shift added (fraction)")
    assert len(figure.axes[0].patches) == 2 and "others" not in figure.get_supxlabel().replace(
        "\n", " "
    )
    assert figure.axes[0].get_xlabel() == "share of the shift added (fraction)"


def test_wrong_names_are_refused(edits: pd.DataFrame) -> None:
    with pytest.raises(SchemaError, match="did you mean 'without mary'"):
        causes(edits, others=("without mry",))
    with pytest.raises(SchemaError, match="the same edit"):
        causes(pd.concat([edits, edits]))
    with pytest.raises(SchemaError, match="column 'share' is unknown"):
        causes(edits.drop(columns="share"))


def test_hooks_are_panels_and_controls_are_gray(edits: pd.DataFrame) -> None:
    bars = edits.head(2)
    deep = bars.iloc[::-1].assign(share=[0.5, 0.25])
    figure = causes(
        pd.concat([bars.assign(hook="a"), deep.assign(hook="b")]),
        by="hook",
        controls=["none"],
        title="Both",
    )
    first, second = figure.axes
    assert [t.get_text() for t in first.get_yticklabels()] == ["none", "without john"]
    assert [bar.get_width() for bar in second.patches] == [0.25, 0.5], "rows of the first panel"
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["a", "b"]
    assert first.patches[0].get_facecolor() != first.patches[1].get_facecolor()
    assert figure.get_suptitle() == "Both"


def test_panels_of_other_edits_are_refused(edits: pd.DataFrame) -> None:
    parts = pd.concat([edits.head(2).assign(hook="a"), edits.head(3).assign(hook="b")])
    with pytest.raises(SchemaError, match="other edits at another hook"):
        causes(parts, by="hook")
    with pytest.raises(SchemaError, match="column 'layer' is unknown"):
        causes(edits, by="layer")
