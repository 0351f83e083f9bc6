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


def test_numbers_are_as_large_as_their_cells_and_left_out_where_they_have_no_room() -> None:
    few, some, many = (cosines(pairs(n)) for n in (4, 20, 30))
    texts = [{t.get_text() for t in figure.axes[0].texts} for figure in (few, some, many)]
    assert "−.25" in texts[0] and "−.12" in texts[1] and texts[2] == set()
    sizes = [figure.axes[0].texts[0].get_fontsize() for figure in (few, some)]
    assert sizes[0] == 7 > sizes[1] >= 3.5
    note = many.get_supxlabel().replace("\n", " ")
    assert "Too many cells for their numbers" in note and "Too many" not in some.get_supxlabel()


def test_a_pair_twice_is_refused() -> None:
    with pytest.raises(SchemaError, match="the same pair"):
        cosines(pd.concat([pairs(3), pairs(3)]))
    with pytest.raises(SchemaError, match="column 'cosine' is unknown"):
        cosines(pairs(3).drop(columns="cosine"))
