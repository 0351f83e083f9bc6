"""Sign flips: by hand, against all flips, and their price."""

from itertools import product

import numpy as np
import pytest

from persona_interp.analysis.flips import MOST_FLIPS, enough_flips, sign_flip
from persona_interp.analysis.stats import benjamini_hochberg
from persona_interp.errors import SchemaError


def test_sign_flips_by_hand() -> None:
    # Cluster sums 3, 1, 2: |6| occurs in 2 of 8 sign patterns; the second column, 3, -1, 2, gives
    # |4| or more in 4.
    x = np.array([[1.0, 3.0], [2.0, 0.0], [1.0, -1.0], [2.0, 2.0]])
    table = sign_flip(x, list("aabc"))
    assert table.p.tolist() == [2 / 8, 4 / 8] and table.p_min == 2 / 8
    assert table.null_hi[0] == pytest.approx(np.quantile([6, 4, 2, 0, 0, -2, -4, -6], 0.975) / 4)


def test_random_flips_agree_with_all_flips() -> None:
    x = np.random.default_rng(3).normal(0.5, 1, (12, 4))
    exact, random = sign_flip(x, np.arange(12)), sign_flip(x, np.arange(12), n_flips=4000)
    assert exact.p_min == 2 / 2**12 and random.p_min == 1 / 4001
    assert random.p == pytest.approx(exact.p, abs=0.03) and random.p_max == pytest.approx(
        exact.p_max, abs=0.03
    )
    assert (exact.p_max >= exact.p).all()


def test_five_clusters_cannot_discover_anything() -> None:
    assert sign_flip(np.ones((5, 1)), np.arange(5)).p.tolist() == [2 / 32]


def test_blocks_of_features_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    x = np.random.default_rng(4).normal(size=(20, 7))
    whole = sign_flip(x, np.arange(20), n_flips=100)
    monkeypatch.setattr("persona_interp.analysis.flips.CELLS", 200)
    for one, other in zip(whole, sign_flip(x, np.arange(20), n_flips=100), strict=True):
        assert one == pytest.approx(other)


def test_flips_grow_with_the_number_of_features() -> None:
    x = np.random.default_rng(5).normal(size=(24, 1300))
    x[:, 7] += 2.5
    table = sign_flip(x, np.arange(24))
    assert table.p_min == pytest.approx(1 / 104_001)
    q = benjamini_hochberg(table.p)
    assert q[7] <= 0.05 and np.argmin(q) == 7
    assert benjamini_hochberg(sign_flip(x, np.arange(24), n_flips=10_000).p)[7] > 0.05
    assert enough_flips(10**6) == MOST_FLIPS, "twenty thousand features are the end of it"


def test_a_p_that_is_soon_known_stops_and_keeps_its_level() -> None:
    x = np.random.default_rng(6).normal(size=(15, 1000))
    all_flips = sign_flip(x, np.arange(15), n_flips=2**15)  # enumerated
    stopped = sign_flip(x, np.arange(15), n_flips=2**15 - 1)
    few = stopped.p > 0.011
    assert stopped.p[few] * 10_001 == pytest.approx(np.round(stopped.p[few] * 10_001))
    assert stopped.p == pytest.approx(all_flips.p, rel=0.4, abs=0.001)
    for level in (0.001, 0.01, 0.05):
        noise = 3 * np.sqrt(level * (1 - level) / 1000)
        assert abs((stopped.p <= level).mean() - level) <= noise
    assert (stopped.p_max >= stopped.p).all()


def test_many_patterns_are_enumerated_in_blocks() -> None:
    x = np.random.default_rng(7).normal(0.4, 1, (15, 1))
    signs = np.array(list(product([-1.0, 1.0], repeat=15)))
    by_hand = np.mean(np.abs(signs @ x) >= abs(x.sum()) - 1e-9)
    table = sign_flip(x, np.arange(15), n_flips=2**15)
    assert table.p[0] == by_hand and table.p_min == 2 / 2**15
    assert table.null_hi[0] == pytest.approx(np.quantile(signs @ x, 0.975) / 15, rel=0.05)


@pytest.mark.parametrize("wrong", [np.nan, np.inf])
def test_what_is_no_number_is_refused_and_no_discovery(wrong: float) -> None:
    """No flip is as large as NaN, so it would have the smallest p of all."""
    x = np.random.default_rng(8).normal(size=(12, 3))
    x[4, 1] = wrong
    with pytest.raises(SchemaError, match="finite"):
        sign_flip(x, np.arange(12))
