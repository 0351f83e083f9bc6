import io

import numpy as np
import pandas as pd
import pytest

from persona_interp.analysis import trait_predictors
from persona_interp.analysis.trait_predictors import TRAIT_PREDICTORS
from persona_interp.errors import SchemaError
from persona_interp.plots import style, trait_transfer


def matrix(n: int = 4) -> pd.DataFrame:
    names = [f"trait number {i}" for i in range(n)]
    rows = [
        (a, b, (i - j) / 8 + (i == j)) for i, a in enumerate(names) for j, b in enumerate(names)
    ]
    table = pd.DataFrame(rows, columns=["taught", "trait", "estimate"])
    verdict = np.where(table["taught"] == table["trait"], "differs", "no difference shown")
    return table.assign(verdict=verdict, n=20, n_seeds=1, n_null=n)


def foretold(n: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    x = np.random.default_rng(0).standard_normal((3, n, n))
    pairs = matrix(n)
    for k, name in enumerate(TRAIT_PREDICTORS):
        pairs[name] = x[k].ravel()
    pairs = pairs.query("taught != trait")
    return pairs, trait_predictors(pairs, n_permutations=20)


def test_taught_traits_are_framed_and_what_is_sure_has_a_dot() -> None:
    axes = trait_transfer(matrix(), title="four").axes[0]
    texts = np.array([t.get_text() for t in axes.texts]).reshape(4, 4)
    assert set(np.diag(texts)) == {"+1.00 •"} and texts[0, 1] == "−.12"
    assert sum("•" in text for text in texts.ravel()) == 4
    assert [patch.get_xy() for patch in axes.patches] == [(i - 0.5, i - 0.5) for i in range(4)]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("measured", "taught")


def test_pairs_stand_beside_it_with_rank_correlations() -> None:
    pairs, predictors = foretold(5)
    figure = trait_transfer(matrix(5), pairs, predictors, aside=["vague"])
    assert len(figure.axes) == 5
    for axes, name in zip(figure.axes[1:4], TRAIT_PREDICTORS, strict=True):
        assert axes.lines[1].get_xdata().tolist() == pairs[name].tolist()
        assert axes.get_title(loc="left").startswith(
            "rank r "
        ) and "given others" in axes.get_title(loc="left")
    text = figure.get_supxlabel().replace("\n", " ")
    assert "20 ordered pairs of 5 traits" in text and "Set aside: vague." in text
    assert "nothing is said of another training run" in text


def test_cells_are_in_the_unit_of_the_bar_and_seeds_are_said() -> None:
    table = matrix(12).assign(n_seeds=3)
    figure = trait_transfer(table)
    assert figure.axes[0].texts[0].get_text() == "+1.00 •"
    assert figure.axes[1].get_xlabel() == "transfer (bits a token)"
    text = figure.get_supxlabel().replace("\n", " ")
    assert "3 seeds" in text and "100 x" not in text and "No trait was set aside" in text


@pytest.mark.parametrize("n", [4, 12])
def test_no_label_is_cut_and_the_picture_is_light(n: int) -> None:
    figure = trait_transfer(
        matrix(n), *foretold(n), aside=[f"trait number {i}" for i in range(5)], title="a title"
    )
    with style():
        figure.draw_without_rendering()
    drawn, (width, height) = figure.get_tightbbox(), figure.get_size_inches()
    assert (
        drawn.x0 > -0.01
        and drawn.y0 > -0.01
        and drawn.x1 < width + 0.01
        and drawn.y1 < height + 0.01
    )
    buffer = io.BytesIO()
    with style():
        figure.savefig(buffer, format="png")
    assert len(buffer.getvalue()) < 250 * 1024


def test_bad_input_is_named() -> None:
    with pytest.raises(SchemaError, match="column 'verdict' is unknown"):
        trait_transfer(matrix().drop(columns="verdict"))
    with pytest.raises(SchemaError, match="one taught and measured trait"):
        trait_transfer(pd.concat([matrix(), matrix()]))
    pairs, predictors = foretold(4)
    with pytest.raises(SchemaError, match="column 'cosine' is unknown"):
        trait_transfer(matrix(), pairs.drop(columns="cosine"), predictors)
