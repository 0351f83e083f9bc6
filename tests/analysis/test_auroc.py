import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import roc_auc_score
from statsmodels.stats.proportion import proportion_confint

from persona_interp.analysis import auroc, auroc_differences
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
    # Half a document at either end of both classes.
    below, above = np.r_[placed.mean(1), 0, 1], np.r_[placed.mean(0), 0, 1]
    spread = [
        np.cov(placements, aweights=np.r_[np.ones(n), 0.5, 0.5], ddof=0) / n
        for placements, n in ((below, 8), (above, 22))
    ]
    middle = (8 * placed.mean() + 0.5) / 9
    n = middle * (1 - middle) / sum(spread)
    area = auroc(x, positive)
    expected = proportion_confint(placed.mean() * n, n, method="wilson")
    assert (area.lo, area.hi) == pytest.approx(expected)
    assert float(area.estimate) == pytest.approx(placed.mean())


def features(
    kind: str, rng: np.random.Generator, *, n: tuple[int, int]
) -> tuple[np.ndarray, float]:
    """Activations, dims (document, feature), the label's first; and the true AUROC."""
    name, *numbers = kind.split()
    first, second = (float(number) for number in numbers)
    n1, size = n[0], (sum(n), 1000)
    label = (np.arange(size[0]) < n1)[:, None]
    if name == "normal":
        ratio = np.where(label, second, 1.0)
        return rng.normal(size=size) * ratio + label * stats.norm.ppf(first) * np.hypot(
            1, second
        ), first
    if name == "ties":
        counts = rng.poisson(np.where(label, first, second), size).clip(max=3).astype(float)
        one, other = (
            np.r_[stats.poisson.pmf(range(3), m), stats.poisson.sf(2, m)] for m in (first, second)
        )
        return counts, float(one @ (other.cumsum() - other / 2))
    fires = rng.random(size) < np.where(label, first, second)
    return fires * rng.exponential(size=size), 0.5 + (first - second) / 2


KINDS = [
    *("normal 0.5 1", "normal 0.8 1", "normal 0.95 1", "normal 0.99 1", "normal 0.8 2"),
    *("sparse 0.95 0.01", "sparse 0.65 0.1", "sparse 0.1 0.1", "ties 2 0.5", "ties 0.5 0.5"),
]


@pytest.mark.parametrize("kind", KINDS)
def test_the_interval_covers(kind: str) -> None:
    rng = np.random.default_rng(2)
    for n in ((8, 150), (10, 150), (40, 150)):
        values, truth = features(kind, rng, n=n)
        area = auroc(values, np.arange(sum(n)) < n[0])
        assert ((area.lo <= truth) & (truth <= area.hi)).mean() >= 0.92
        assert (area.hi - area.lo).min() > 0.02 and area.lo.min() >= 0 and area.hi.max() <= 1


def test_with_many_documents_it_is_delongs() -> None:
    rng, positive = np.random.default_rng(3), np.arange(4000) < 1000
    x = rng.normal(size=4000) + positive
    placed = x[positive][:, None] > x[~positive]
    se = np.sqrt(placed.mean(1).var(ddof=1) / 1000 + placed.mean(0).var(ddof=1) / 3000)
    area = auroc(x, positive)
    assert area.estimate - area.lo == pytest.approx(1.96 * se, rel=0.06)
    assert area.hi - area.estimate == pytest.approx(1.96 * se, rel=0.06)


def pairs(
    areas: tuple[float, float], rng: np.random.Generator, *, n: tuple[int, int], shared: float
) -> np.ndarray:
    """Fifty pairs of correlated readouts of these true AUROCs, dims (document, 2 x pair)."""
    label = np.arange(sum(n)) < n[0]
    common = np.repeat(rng.normal(size=(sum(n), 50)), 2, axis=1)
    noise = np.sqrt(shared) * common + np.sqrt(1 - shared) * rng.normal(size=common.shape)
    return noise + label[:, None] * np.tile(np.sqrt(2) * stats.norm.ppf(areas), 50)


def of_pairs(square: np.ndarray) -> np.ndarray:
    """What stands between the first and the second readout of each pair."""
    return np.diagonal(square[::2, 1::2])


def test_a_better_readout_of_the_same_documents_is_shown() -> None:
    rng, n = np.random.default_rng(4), (60, 240)
    label = np.arange(300) < 60
    paired, unpaired = [], []
    for _ in range(4):
        x = pairs((0.88, 0.8), rng, n=n, shared=0.8)
        paired.append(of_pairs(auroc_differences(x, label).p) <= 0.05)
        area = auroc(x, label)
        unpaired.append(area.lo[::2] > area.hi[1::2])
    assert np.mean(paired) >= 0.85 and np.mean(unpaired) <= 0.2


@pytest.mark.parametrize("n", [(8, 150), (14, 60)])
def test_equal_readouts_differ_in_one_case_of_twenty(n: tuple[int, int]) -> None:
    rng, label = np.random.default_rng(5), np.arange(sum(n)) < n[0]
    for area, shared in ((0.5, 0.0), (0.8, 0.5), (0.95, 0.5)):
        p = []
        for _ in range(10):
            x = pairs((area, area), rng, n=n, shared=shared)
            p.append(of_pairs(auroc_differences(x, label).p))
        assert np.mean(np.array(p) <= 0.05) <= 0.075


def test_all_pairs_at_once_are_each_pair_alone() -> None:
    rng, label = np.random.default_rng(6), np.arange(50) < 12
    x = rng.normal(size=(50, 4)) + label[:, None] * np.arange(4)
    table = auroc_differences(x, label)
    alone = auroc_differences(x[:, [3, 1]], label)
    for whole, part in zip(table[:4], alone[:4], strict=True):
        assert whole[3, 1] == pytest.approx(part[0, 1])
    np.testing.assert_allclose(table.estimate, -table.estimate.T)
    np.testing.assert_allclose(table.lo, -table.hi.T)
    assert np.diag(table.p).tolist() == [1] * 4
    assert table.estimate[3, 1] == pytest.approx(
        auroc(x[:, 3], label)[0] - auroc(x[:, 1], label)[0]
    )


def test_delongs_paired_variance_by_its_definition() -> None:
    rng, label = np.random.default_rng(7), np.arange(400) < 150
    x = rng.integers(0, 9, (400, 2)) + label[:, None] * [1, 2]
    placed = [(a[label][:, None] > a[~label]) + 0.5 * (a[label][:, None] == a[~label]) for a in x.T]
    difference = placed[0] - placed[1]
    se = np.sqrt(difference.mean(1).var(ddof=1) / 150 + difference.mean(0).var(ddof=1) / 250)
    table = auroc_differences(x, label)
    assert table.estimate[0, 1] == pytest.approx(difference.mean())
    assert table.hi[0, 1] - table.estimate[0, 1] == pytest.approx(1.97 * se, rel=0.03)


def test_two_perfect_readouts_are_not_certainly_equal() -> None:
    label = np.arange(30) < 10
    table = auroc_differences(np.stack([label, 2.0 * label], axis=1), label)
    assert table.estimate[0, 1] == 0 and table.p[0, 1] == 1
    assert table.lo[0, 1] < -0.02 < 0.02 < table.hi[0, 1]


@pytest.mark.parametrize("area", [0.8, 0.99])
def test_clusters_cover_and_have_a_width(area: float) -> None:
    rng, questions = np.random.default_rng(8), np.repeat(np.arange(8), 6)
    label = np.tile([True, False], 24)
    covered, jackknifed = [], []
    for _ in range(60):
        own = rng.normal(size=16)[2 * questions + label]  # of each question and side
        x = np.sqrt(0.5) * (own + rng.normal(size=48)) + label * np.sqrt(2) * stats.norm.ppf(area)
        interval = auroc(x, label, clusters=questions)
        assert interval.n == 8 and interval.hi - interval.lo > 0.05
        covered.append(interval.lo <= area <= interval.hi)
        plain = auroc(x, label)
        jackknifed.append(interval.hi - interval.lo > plain.hi - plain.lo)
    assert np.mean(covered) >= 0.9
    assert area == 0.99 or np.mean(jackknifed) > 0.5, "answers to one question say less"


def test_clusters_of_many_features_are_those_of_each() -> None:
    rng, label = np.random.default_rng(9), np.tile([True, False], 12)
    x, questions = rng.normal(size=(24, 3)), np.repeat(np.arange(6), 4)
    together = auroc(x, label, clusters=questions)
    alone = auroc(x[:, 2], label, clusters=questions)
    assert (together.lo[2], together.hi[2]) == pytest.approx((alone.lo, alone.hi))
    assert np.isnan(auroc(x, label, clusters=np.zeros(24)).lo).all(), "one cluster"


def test_small_classes() -> None:
    alone = auroc([1.0, 2.0, 3.0], [False, False, True])
    assert alone.estimate == 1 and np.isnan(alone.lo) and np.isnan(alone.hi)
    apart = auroc([1.0, 2.0, 3.0, 4.0], [False, False, True, True])
    assert apart.estimate == apart.hi == 1 and 0.1 < apart.lo < 0.5, "four documents say little"
    constant = auroc([1.0] * 4, [False, False, True, True])
    assert constant.lo < 0.3 and constant.estimate == 0.5 and constant.hi > 0.7
    for marks in ([True, True], [False, False], [True]):
        with pytest.raises(SchemaError, match="documents of both classes"):
            auroc([1.0, 2.0], marks)
    single = auroc_differences([[1.0, 1], [2, 1], [3, 1]], [False, False, True])
    assert single.estimate[0, 1] == 0.5 and np.isnan(single.p).all()
    with pytest.raises(SchemaError, match="document, readout"):
        auroc_differences([1.0, 2.0], [True, False])


@pytest.mark.parametrize(
    ("values", "positive"),
    [
        ([0.1, np.nan, 0.3, 0.4], [True, True, False, False]),
        ([0.1, 0.2, 0.3, 0.4], [1.0, np.nan, 0.0, 0.0]),
    ],
)
def test_a_missing_value_or_label_is_refused(values: list[float], positive: list[float]) -> None:
    with pytest.raises(SchemaError, match="some are NaN"):
        auroc(values, positive)
