import itertools

import numpy as np
import pandas as pd
import pytest

from persona_interp.errors import SchemaError
from persona_interp.plots import cosines


def pairs(n: int, *, both: bool = False) -> pd.DataFrame:
    found = itertools.permutations(range(n), 2) if both else itertools.combinations(range(n), 2)
    return pd.DataFrame(
        [{"name": f"n{i}", "other": f"n{j}", "cosine": (i - 2 * j) / (2 * n)} for i, j in found]
    )


def test_unordered_pairs_fill_both_halves() -> None:
    values = np.ma.filled(cosines(pairs(3)).axes[0].images[0].get_array(), np.nan)
    assert values == pytest.approx(values.T, nan_ok=True) and np.isnan(np.diag(values)).all()
    assert values[0, 1] == pytest.approx(-2 / 6)


def test_ordered_pairs_stay_as_they_are() -> None:
    axes = cosines(pairs(3, both=True)).axes[0]
    values = np.ma.filled(axes.images[0].get_array(), np.nan)
    assert values[1, 0] == pytest.approx(-2 / 6) and values[0, 1] == pytest.approx(1 / 6), (
        "name right, other down"
    )
    assert axes.images[0].get_clim() == (-1, 1)


def test_the_more_names_the_shorter_the_numbers() -> None:
    few, some, many = (cosines(pairs(n)) for n in (8, 16, 17))
    texts = [{t.get_text() for t in figure.axes[0].texts} for figure in (few, some, many)]
    assert "−.12" in texts[0] and "−6" in texts[1] and texts[2] == {"−", "–"}
    assert "100 x cosine" in some.get_supxlabel().replace(
        "\n", " "
    ) and "Minus: the cosine" in many.get_supxlabel().replace("\n", " ")


def test_a_pair_twice_is_refused() -> None:
    with pytest.raises(SchemaError, match="the same pair"):
        cosines(pd.concat([pairs(3), pairs(3)]))
    with pytest.raises(SchemaError, match="column 'cosine' is unknown"):
        cosines(pairs(3).drop(columns="cosine"))
