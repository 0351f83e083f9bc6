import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import roc_auc_score

from persona_interp.analysis import auroc
from persona_interp.errors import SchemaError


def test_it_is_scikit_learns_with_and_without_ties() -> None:
    rng = np.random.default_rng(0)
    values = np.stack(
        [rng.normal(size=60), rng.integers(0, 3, 60), np.maximum(rng.normal(size=60) - 1, 0)],
        axis=1,
    )
    positive = rng.random(60) < 0.3
    expected = [roc_auc_score(positive, column) for column in values.T]
    assert auroc(values, positive).estimate == pytest.approx(expected, abs=1e-12)
    assert float(auroc(values[:, 1], positive).estimate) == pytest.approx(expected[1], abs=1e-12)


def test_delongs_variance_by_its_definition() -> None:
    rng = np.random.default_rng(1)
    x = rng.integers(0, 6, 30).astype(float)
    positive = np.arange(30) < 8
    x[positive] += 1
    placed = (x[positive][:, None] > x[~positive]) + 0.5 * (x[positive][:, None] == x[~positive])
    se = np.sqrt(placed.mean(1).var(ddof=1) / 8 + placed.mean(0).var(ddof=1) / 22)
    area = auroc(x, positive)
    assert float(area.estimate) == pytest.approx(placed.mean())
    assert float(area.estimate - area.lo) == pytest.approx(stats.t.ppf(0.975, 7) * se)


def test_the_interval_covers() -> None:
    rng, positive = np.random.default_rng(2), np.arange(80) < 20
    x = rng.normal(size=(80, 1000)) + positive[:, None]
    truth = stats.norm.cdf(1 / np.sqrt(2))
    area = auroc(x, positive)
    assert 0.93 < ((area.lo <= truth) & (truth <= area.hi)).mean() < 0.98


def test_small_classes() -> None:
    alone = auroc([1.0, 2.0, 3.0], [False, False, True])
    assert alone.estimate == 1 and np.isnan(alone.lo) and np.isnan(alone.hi)
    apart = auroc([1.0, 2.0, 3.0, 4.0], [False, False, True, True])
    assert (apart.lo, apart.estimate, apart.hi) == (1, 1, 1)
    for marks in ([True, True], [False, False], [True]):
        with pytest.raises(SchemaError, match="documents of both classes"):
            auroc([1.0, 2.0], marks)
