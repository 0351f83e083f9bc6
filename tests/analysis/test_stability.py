import numpy as np
import pytest

from persona_interp.analysis import stability
from persona_interp.errors import SchemaError


def test_pairs_are_the_best_of_all_together() -> None:
    """Nearest neighbors would give 0 and 1 the same pair."""
    rng = np.random.default_rng(0)
    first = np.linalg.qr(rng.standard_normal((8, 8)))[0]
    second = first[[3, 2, 1, 0, 4]].copy()
    second[4] = (first[4] + first[5]) / np.sqrt(2)
    table = stability(first, second)
    assert table["pair"].tolist()[:4] == [3, 2, 1, 0]
    assert table["found_again"].tolist()[:4] == [True] * 4
    assert not table["found_again"][4:].any() and set(table["pair"][4:]) == {4, -1}
    assert table["inside"].tolist()[:4] == pytest.approx([1] * 4)
    assert table["inside"][4] == pytest.approx(0.5)
    assert table.attrs["share_found_again"] == pytest.approx(0.5)


def test_a_space_cut_differently_is_found_as_a_space() -> None:
    first = np.eye(4)[:2]
    second = np.array([[1, 1, 0, 0], [1, -1, 0, 0.0]])
    table = stability(first, second)
    assert not table["found_again"].any()
    assert table["inside"].tolist() == pytest.approx([1, 1])


def test_decoders_of_checkpoints_are_compared_together() -> None:
    first = np.random.default_rng(1).standard_normal((3, 5, 4))
    table = stability(first, first[:, ::-1])
    assert table["pair"].tolist() == [4, 3, 2, 1, 0] and table["found_again"].all()
    with pytest.raises(SchemaError, match="12 and 8 numbers a feature"):
        stability(first, first[:2])
    with pytest.raises(SchemaError, match="got shape"):
        stability(first[0, 0], first)
