"""Figure 10 draws what its tables hold; computing is tested with the experiment."""

from collections.abc import Callable
from types import ModuleType

import pytest

from tests.experiments.dictionaries.planted import tables


def test_it_draws_a_row_for_each_group_and_verb(load: Callable[[str], ModuleType]) -> None:
    script, made = load("fig10_dictionaries"), tables()
    table, figure = script.numbers(made), script.draw(made)
    assert len(table) == 2 * 3 and not table["name"].duplicated().any()
    (axes,) = figure.axes
    names = [text.get_text().replace("\n", " ") for text in axes.get_yticklabels()]
    assert names == table["name"].tolist()
    means = axes.collections[2].get_offsets()[:, 0]
    assert means.tolist() == pytest.approx(table["estimate"].tolist())
    assert "95 % t interval over 3 seeds" in figure.get_supxlabel()
