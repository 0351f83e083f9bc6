"""A claim is decided by its interval: planted values for every verdict and every kind of number."""

import numpy as np
import pytest
from scipy import stats

from claim import Claim
from decision import Region, needed, pseudovalues, t_interval, t_interval_at, wilson
from persona_interp.schema.words import Ruling

NAN = float("nan")
SIMULATIONS = 2_000


@pytest.mark.parametrize(
    ("values", "ruling"),
    [
        ((2.0, 2.1, 1.9), Ruling.HOLDS),
        ((0.2, 0.1, 0.3), Ruling.FAILS),
        ((1.5, -1.5, 3.0), Ruling.UNDECIDED),  # the mean meets it, the interval does not
        ((1.2, -1.5, 0.9), Ruling.UNDECIDED),
        ((2.0,), Ruling.UNDECIDED),
        ((NAN, 2.0, 2.1), Ruling.UNDECIDED),
        ((2.0, 2.0, 2.0), Ruling.HOLDS),  # nothing to make an interval of: each of three meets it
        ((2.0, 2.0), Ruling.UNDECIDED),
        ((0.0, 0.0, 0.0), Ruling.FAILS),
        ((), Ruling.UNDECIDED),
    ],
)
def test_the_whole_interval_decides(values: tuple[float, ...], ruling: Ruling) -> None:
    assert Claim("planted", values, at_least=1.0).ruling == ruling
    mirrored = tuple(-value for value in values)
    assert Claim("planted", mirrored, at_most=-1.0).ruling == ruling


def test_the_issue_s_own_line_is_undecided_and_says_what_it_takes() -> None:
    claim = Claim("follows, minus scrambled", (0.0, 1.0, 2.0), above=0)
    lo, hi = claim.interval
    assert lo < 0 < claim.mean < hi
    line = claim.line()
    assert line.startswith(Ruling.UNDECIDED)
    assert "> 0" in line and f"3 seeds, takes {claim.takes}" in line


def test_a_number_within_two_bounds_fails_beyond_either() -> None:
    bounds = {"at_most": 0.5, "absolute": True}
    assert Claim("still", (0.1, -0.1, 0.0), **bounds).ruling == Ruling.HOLDS
    assert Claim("still", (0.4, -0.6, 0.2), **bounds).ruling == Ruling.UNDECIDED
    for sign in (1, -1):
        moved = tuple(sign * value for value in (1.0, 1.1, 0.9))
        assert Claim("still", moved, **bounds).ruling == Ruling.FAILS


def test_strictly_above_is_not_reached_by_zero() -> None:
    zero = (0.0, 0.0, 0.0)
    assert Claim("rise", zero, at_least=0).ruling == Ruling.HOLDS
    assert Claim("rise", zero, above=0).ruling == Ruling.FAILS


def test_exact_needs_no_interval_and_forgives_nothing() -> None:
    assert Claim("itself", (0.0,), at_most=0.0, exact=True).ruling == Ruling.HOLDS
    assert Claim("itself", (0.0, 1e-12), at_most=0.0, exact=True).ruling == Ruling.FAILS
    assert Claim("itself", (NAN,), at_most=0.0, exact=True).ruling == Ruling.FAILS


def test_every_needs_all_values_and_enough_of_them() -> None:
    assert Claim("each", (1.0, 3.0, 2.0), above=0, every=True).ruling == Ruling.HOLDS
    assert Claim("each", (1.0, 3.0), above=0, every=True).ruling == Ruling.UNDECIDED
    assert Claim("each", (1.0,), above=0, every=True, least=1).ruling == Ruling.HOLDS
    assert Claim("each", (9.0, 9.0, -0.1), above=0, every=True).ruling == Ruling.FAILS
    assert Claim("each", (9.0, NAN), above=0, every=True).ruling == Ruling.FAILS


def test_a_share_has_a_wilson_interval() -> None:
    def share(hits: int, n: int) -> Claim:
        values = (1.0,) * hits + (0.0,) * (n - hits)
        return Claim("coverage", values, at_least=0.92, at_most=0.98, share=True)

    assert share(475, 500).ruling == Ruling.HOLDS
    assert share(430, 500).ruling == Ruling.FAILS
    assert share(466, 500).ruling == Ruling.UNDECIDED
    assert share(500, 500).ruling == Ruling.FAILS  # covers more than 98 %
    assert share(3, 3).ruling == Ruling.UNDECIDED
    assert wilson(0.3, 50) == pytest.approx(
        tuple(stats.binomtest(15, 50).proportion_ci(method="wilson"))
    )


def test_a_reported_number_is_no_claim() -> None:
    claim = Claim("number", (1.0, 2.0), reported=True)
    assert claim.ruling == Ruling.REPORTED
    assert claim.line().startswith(Ruling.REPORTED) and "takes" not in claim.line()
    assert "[-1.000, +3.000]" in Claim("ratio", (0.5,), ends=(-1.0, 3.0), reported=True).line()


def test_it_takes_the_smallest_number_that_decides() -> None:
    for mean, sd in ((1.0, 1.0), (0.3, 1.0), (-0.5, 1.0), (3.0, 1.0)):
        region = Region(lo=0.0)
        n = needed(region, lambda n, m=mean, s=sd: t_interval_at(m, s, n), start=2)
        assert n is not None and n >= 2
        assert region.rule(t_interval_at(mean, sd, n)) != Ruling.UNDECIDED
        if n > 2:
            assert region.rule(t_interval_at(mean, sd, n - 1)) == Ruling.UNDECIDED
    assert needed(Region(lo=0.0), lambda n: t_interval_at(0.0, 1.0, n), start=2) is None


def test_a_claim_says_what_it_takes_of_its_own_spread() -> None:
    claim = Claim("small", (0.3, 1.0, 2.0, 0.3, 1.2), above=0)
    assert claim.takes == len(claim.values)  # decided by just these five
    wider = Claim("small", (-2.0, 4.0, 1.0), above=0)
    assert wider.takes is not None and wider.takes > 3
    wrong = Claim("small", (2.0, -4.0, -1.0), above=0).line()
    assert "on the wrong side" in wrong
    assert "no interval" in Claim("one", (1.0,), above=0).line()
    assert "no number in 1" in Claim("gap", (1.0, NAN), above=0).line()


def test_one_seed_on_the_wrong_side_says_so() -> None:
    assert "on the wrong side" in Claim("one", (-1.0,), above=0).line()
    assert "on the wrong side" not in Claim("one", (1.0,), above=0).line()


def test_pseudovalues_are_the_values_of_a_mean_and_the_jackknife_of_a_ratio() -> None:
    rng = np.random.default_rng(0)
    values = rng.normal(size=6).tolist()
    assert pseudovalues(np.mean, values) == pytest.approx(tuple(values))
    pairs = [(float(a), float(b)) for a, b in rng.normal(5, 1, (8, 2))]

    def ratio(some: object) -> float:
        a, b = np.array(some).mean(0)
        return float(a / b)

    rest = np.array([ratio(pairs[:i] + pairs[i + 1 :]) for i in range(8)])
    se = np.sqrt(7 / 8 * ((rest - rest.mean()) ** 2).sum())
    parts = np.array(pseudovalues(ratio, pairs))
    assert parts.std(ddof=1) / np.sqrt(8) == pytest.approx(se)
    assert pseudovalues(ratio, pairs[:1]) == (ratio(pairs[:1]),)


def test_level_and_power_of_the_verdict_over_three_seeds() -> None:
    """At the bound each wrong verdict comes in 2.5 % of cases; far from it the right one comes."""
    rng = np.random.default_rng(1)
    seeds = rng.normal(0.0, 1.0, (SIMULATIONS, 3))
    intervals = [t_interval(own) for own in seeds]
    for at, word in ((0.0, Ruling.HOLDS), (0.0, Ruling.FAILS)):
        share = np.mean([Region(lo=at).rule(ends) == word for ends in intervals])
        assert share == pytest.approx(0.025, abs=0.01)
    held = np.mean([Region(lo=-10.0).rule(ends) == Ruling.HOLDS for ends in intervals])
    assert held > 0.9
