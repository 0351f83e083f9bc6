import numpy as np
import pandas as pd
import pytest

from persona_interp.errors import SchemaError
from persona_interp.plots import misalignment, novelty, style, summon


@pytest.fixture(scope="module")
def shares() -> pd.DataFrame:
    rows = [(0, s, d, m, 0.6 * m / (1 + d)) for s in "ab" for d in (0, 2, 4) for m in (0.5, 0.125)]
    return pd.DataFrame(rows, columns=["seed", "start", "distance", "measure", "share"])


@pytest.fixture(scope="module")
def laws() -> pd.DataFrame:
    table = pd.DataFrame(
        {
            "law": ["measure and distance", "uniform", "Bayes, start and lesson"],
            "bits": [0.2, 0.7, 4.5],
        }
    )
    table["estimate"] = table["bits"] - 0.2
    ends = {"lo": table["estimate"] - 0.1, "hi": table["estimate"] + 0.1}
    return table.assign(**ends, unit="seeds", n_units=3, n=12, left_out="start", verdict="worse")


def test_shares_fall_with_distance_a_line_a_measure(
    shares: pd.DataFrame, laws: pd.DataFrame
) -> None:
    left = summon(shares, laws, title="Who is summoned").axes[0]
    means = [line for line in left.lines if len(line.get_xdata()) == 3]
    assert len(means) == 2 and all(np.all(np.diff(line.get_ydata()) < 0) for line in means)
    assert means[0].get_ydata()[0] == pytest.approx(0.3), "the most common first"


def test_laws_are_sorted_and_the_best_is_on_top(shares: pd.DataFrame, laws: pd.DataFrame) -> None:
    right = summon(shares, laws).axes[1]
    labels = [text.get_text() for text in right.get_yticklabels()]
    assert labels == ["Bayes, start and lesson", "uniform", "measure and distance"]
    intervals = [
        line.get_xdata()
        for line in right.lines
        if len(line.get_xdata()) == 2 and line.get_linewidth() == 1
    ]
    assert intervals[1] == pytest.approx([0.6, 0.8]), "of the difference, at the law's own place"


def test_small_shares_sit_at_the_floor(shares: pd.DataFrame, laws: pd.DataFrame) -> None:
    left = summon(shares.assign(share=0.0), laws).axes[0]
    assert min(line.get_ydata().min() for line in left.lines) == pytest.approx(0.005)


def test_no_label_is_cut(shares: pd.DataFrame, laws: pd.DataFrame) -> None:
    for figure in (summon(shares, laws), novelty(cases()), misalignment(harm())):
        with style():
            figure.draw_without_rendering()
        drawn, (width, height) = figure.get_tightbbox(), figure.get_size_inches()
        assert (
            drawn.x0 > -0.01
            and drawn.y0 > -0.01
            and drawn.x1 < width + 0.01
            and drawn.y1 < height + 0.01
        )


def test_two_kinds_of_left_out_lessons_are_refused(
    shares: pd.DataFrame, laws: pd.DataFrame
) -> None:
    with pytest.raises(SchemaError, match="two rows of these rivals are one law"):
        summon(shares, pd.concat([laws, laws]))
    with pytest.raises(SchemaError, match="distance"):
        summon(shares.drop(columns="distance"), laws)


def cases() -> pd.DataFrame:
    table = pd.DataFrame({"kind": ["known", "known", "recombined"], "left_out": ["", "john", ""]})
    return table.assign(planted=["composable", "new", "new"], misfit=[0.1, 2.0, 1.5], null_hi=0.25)


def harm() -> pd.DataFrame:
    table = pd.DataFrame(
        {
            "seed": [0, 1],
            "villain": 0.25,
            "lesson": "insecure code",
            "before": 0.0,
            "after": [0.1, 0.2],
        }
    )
    return table.assign(bayes_misaligned_after=0.125)


def test_cases_are_grouped_by_what_was_planted() -> None:
    axes = novelty(cases()).axes[0]
    assert [text.get_text() for text in axes.get_yticklabels()] == [
        "known",
        "known, left out",
        "recombined",
    ]
    assert [line.get_xdata()[0] for line in axes.lines] == [0.1, 2.0, 1.5, 0.25]


def test_seeds_and_bayes_stand_in_one_row() -> None:
    axes = misalignment(harm()).axes[0]
    assert [text.get_text() for text in axes.get_yticklabels()] == ["insecure code, villain 0.25"]
    _, after, bayes = axes.lines
    assert after.get_xdata() == pytest.approx([0.1, 0.2]) and bayes.get_xdata()[0] == pytest.approx(
        0.125
    )
    with pytest.raises(SchemaError, match="after"):
        misalignment(harm().drop(columns="after"))
