"""A range of chance holds one more draw as often as it says."""

import numpy as np
import pytest

from persona_interp.analysis import chance_range


@pytest.mark.parametrize(("n", "share"), [(4, 3 / 5), (20, 19 / 21), (39, 0.95), (199, 0.95)])
def test_a_draw_left_out_is_held_as_often_as_is_said(n: int, share: float) -> None:
    draws = np.random.default_rng(n).standard_cauchy(n + 1)
    held = []
    for left_out in range(n + 1):
        lo, hi = chance_range(np.delete(draws, left_out))
        held.append(lo <= draws[left_out] <= hi)
    assert np.mean(held) == pytest.approx(share)


def test_each_column_has_its_own_range_and_no_draws_have_none() -> None:
    lo, hi = chance_range([[0.0, 5.0], [1.0, 4.0]])
    assert lo.tolist() == [0, 4] and hi.tolist() == [1, 5]
    assert np.isnan(chance_range(np.zeros((0, 2)))).all()
