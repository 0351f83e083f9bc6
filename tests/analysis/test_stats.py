import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from scipy import stats

from persona_interp.analysis import across_seeds
from persona_interp.analysis.stats import (
    benjamini_hochberg,
    cluster_interval,
    cluster_sums,
    jackknife,
    t_interval,
    wilson,
)
from persona_interp.errors import SchemaError


def test_t_interval_is_scipys() -> None:
    x = np.random.default_rng(0).normal(2, 3, 7)
    found = t_interval(x)
    assert (found.lo, found.hi) == pytest.approx(stats.t.interval(0.95, 6, x.mean(), stats.sem(x)))
    assert found.n == 7


def test_one_value_has_no_interval_and_none_is_refused() -> None:
    found = t_interval([1.5])
    assert found.estimate == 1.5 and np.isnan(found.lo) and np.isnan(found.hi) and found.n == 1
    with pytest.raises(SchemaError, match="at least one value"):
        t_interval([])


def test_t_interval_over_three_seeds_covers_95_percent() -> None:
    rng = np.random.default_rng(0)
    hits = [lo <= 0 <= hi for _, lo, hi, _ in (t_interval(x) for x in rng.normal(size=(2000, 3)))]
    assert np.mean(hits) == pytest.approx(0.95, abs=0.015)


def test_cluster_interval_of_equal_clusters_is_the_t_interval_of_cluster_means() -> None:
    x, clusters = np.random.default_rng(0).normal(size=(12, 3)), np.repeat(list("abcd"), 3)
    found = cluster_interval(x, clusters)
    for j in range(3):
        of_means = t_interval(x[:, j].reshape(4, 3).mean(axis=1))
        assert (found.estimate[j], found.lo[j], found.hi[j], found.n) == pytest.approx(
            tuple(of_means)
        )


def test_cluster_interval_of_unequal_clusters_is_their_jackknife() -> None:
    x, groups = np.random.default_rng(1).normal(1, 1, 11), np.repeat([0, 1, 2, 3], [1, 2, 3, 5])
    left_out = np.array([x[groups != g].mean() for g in range(4)])
    half = stats.t.ppf(0.975, 3) * np.sqrt(3 / 4 * ((left_out - x.mean()) ** 2).sum())
    interval = cluster_interval(x, groups)
    assert (interval.lo, interval.hi) == pytest.approx((x.mean() - half, x.mean() + half))


def test_cluster_interval_covers_where_one_cluster_is_large() -> None:
    rng, groups = np.random.default_rng(8), np.repeat(np.arange(6), [30, 3, 3, 3, 3, 3])
    x = rng.normal(size=(6, 2000))[groups] + rng.normal(size=(45, 2000))
    interval = cluster_interval(x, groups)
    covered = (interval.lo <= 0) & (0 <= interval.hi)
    assert covered.mean() >= 0.88
    fit = sm.OLS(x[:, 0], np.ones(45)).fit(
        cov_type="cluster", cov_kwds={"groups": groups}, use_t=True
    )
    assert interval.hi[0] - interval.lo[0] > np.ptp(fit.conf_int()[0])


def test_one_cluster_has_no_interval_and_labels_must_fit() -> None:
    assert np.isnan(cluster_interval([1.0, 2.0], ["a", "a"]).lo)
    with pytest.raises(SchemaError, match="one cluster label a row"):
        cluster_interval([1.0, 2.0], ["a"])


def test_jackknife_of_a_mean_is_the_t_interval() -> None:
    x = np.random.default_rng(2).normal(size=6)
    found = jackknife(x.mean(), [np.delete(x, i).mean() for i in range(6)])
    assert tuple(found) == pytest.approx(tuple(t_interval(x)))
    assert np.isnan(jackknife(1.0, [2.0]).lo)


def test_benjamini_hochberg_by_hand_and_with_nan() -> None:
    q = benjamini_hochberg([0.01, np.nan, 0.02, 0.5])
    assert q == pytest.approx([0.03, np.nan, 0.03, 0.5], nan_ok=True)
    assert np.isnan(benjamini_hochberg([np.nan])).all()


def test_wilson_is_scipys_and_few_degrees_of_freedom_widen_it() -> None:
    lo, hi = wilson([0.1, 0.5], 40)
    for i, k in enumerate((4, 20)):
        theirs = stats.binomtest(k, 40).proportion_ci(0.95, method="wilson")
        assert (lo[i], hi[i]) == pytest.approx((theirs.low, theirs.high))
    few_lo, few_hi = wilson([0.1, 0.5], 40, df=3)
    assert (few_lo < lo).all() and (few_hi > hi).all()


def test_cluster_sums_by_hand_and_labels_must_fit() -> None:
    sums, sizes = cluster_sums(np.array([[1.0, 2], [3, 4], [5, 6]]), ["b", "a", "b"])
    assert sums.tolist() == [[3, 4], [6, 8]] and sizes.tolist() == [1, 2]
    with pytest.raises(SchemaError, match="one cluster label a row; got 3 rows"):
        cluster_sums(np.ones(3), ["a"])


def test_across_seeds_averages_within_a_seed_first() -> None:
    table = pd.DataFrame(
        {
            "arm": "lesson",
            "seed": [0, 0, 1],
            "estimate": [0.0, 2.0, 3.0],
            "bayes_certain": [1, 3, 4],
        }
    )
    (row,) = across_seeds(table, by="arm").to_dict("records")
    assert (row["estimate"], row["n_seeds"], row["bayes_certain"]) == (2.0, 2, 3.0)
    assert row["hi"] - 2 == pytest.approx(stats.t.ppf(0.975, 1) * row["sd"] / np.sqrt(2))


def test_one_seed_has_no_interval_and_nan_is_never_dropped() -> None:
    table = pd.DataFrame(
        {"arm": ["a", "b", "b"], "seed": [0, 0, 1], "estimate": [1.0, 1.0, np.nan]}
    )
    one, other = across_seeds(table, by=["arm"]).to_dict("records")
    assert one["estimate"] == 1 and np.isnan(one["lo"]) and np.isnan(one["sd"])
    assert np.isnan(other["estimate"]) and other["n_seeds"] == 2
    with pytest.raises(SchemaError, match="column 'amr' is unknown; did you mean 'arm'"):
        across_seeds(table, by="amr")
