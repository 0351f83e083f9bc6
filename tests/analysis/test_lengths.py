"""Length of a mean without the noise of its sample: by hand, and on average."""

import numpy as np
import pytest

from persona_interp.analysis.lengths import squared_length


def test_products_of_rows_of_different_clusters_by_hand() -> None:
    rows = np.array([[1.0, 0], [2, 1], [0, 3]])
    # pairs: <0,1> = 2, <0,2> = 0, <1,2> = 3
    square = squared_length(rows, ["a", "b", "c"])
    assert square.whole == pytest.approx(5 / 3)
    np.testing.assert_allclose(square.left_out, [3, 0, 2])
    assert squared_length(rows, ["a", "a", "b"]).whole == pytest.approx(3 / 2)


def test_what_is_left_out_is_what_the_rest_alone_gives() -> None:
    rng = np.random.default_rng(0)
    rows, clusters = rng.standard_normal((12, 5)), rng.integers(0, 4, 12)
    alone = [squared_length(rows[clusters != c], clusters[clusters != c]).whole for c in range(4)]
    np.testing.assert_allclose(squared_length(rows, clusters).left_out, alone)


def test_two_clusters_leave_no_pair() -> None:
    assert np.isnan(squared_length(np.eye(2), ["a", "b"]).left_out).all()


def test_noise_adds_nothing_on_average_even_where_clusters_share_it() -> None:
    rng = np.random.default_rng(1)
    clusters = np.repeat(np.arange(6), [1, 1, 2, 2, 5, 9])
    squares = []
    for _ in range(2_000):
        shared, own = rng.standard_normal((6, 8)), rng.standard_normal((20, 8))
        squares.append(squared_length(0.5 + shared[clusters] + own, clusters).whole)
    error = np.std(squares) / np.sqrt(len(squares))
    assert np.mean(squares) == pytest.approx(8 * 0.25, abs=4 * error)
