from itertools import combinations, permutations

import numpy as np
import pandas as pd
import pytest

from persona_interp import analysis
from persona_interp.analysis.metric import square
from persona_interp.errors import SchemaError
from persona_interp.worlds import World, graded, overlaps


def metric(rows: list[tuple[str, str, float]], estimator: str = "d") -> pd.DataFrame:
    table = pd.DataFrame(rows, columns=["name", "other", "estimate"])
    return table.assign(estimator=estimator, lo=np.nan, hi=np.nan, n=1)


def points(n: int, seed: int = 0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {f"p{i}": rng.standard_normal(3) for i in range(n)}


def test_distances_in_space_are_a_metric() -> None:
    at = points(8)
    rows = [(a, b, float(np.linalg.norm(at[a] - at[b]))) for a, b in combinations(at, 2)]
    row = analysis.metric.axioms(metric(rows)).iloc[0]
    assert (
        row.called == "metric"
        and row.violated == 0
        and row.largest == 0
        and row.n_triples == 8 * 7 * 6
    )


def test_squared_distances_violate_the_triangle() -> None:
    rows = [(a, b, float((i - j) ** 2)) for (i, a), (j, b) in combinations(enumerate("abcde"), 2)]
    row = analysis.metric.axioms(metric(rows)).iloc[0]
    assert row.called == "dissimilarity" and row.asymmetry == 0
    middle = sum(min(p, r) < q < max(p, r) for p, q, r in permutations(range(5), 3))
    assert row.violated == pytest.approx(middle / 60)
    assert row.largest == pytest.approx((16 - 4 - 4) / 5), (
        "from one end to the other, past the middle"
    )


def test_what_depends_on_the_order_is_a_divergence() -> None:
    rows = [(a, b, 1.0 + 0.5 * (a < b)) for a, b in permutations("abcd", 2)]
    row = analysis.metric.axioms(metric(rows)).iloc[0]
    assert row.called == "divergence" and row.asymmetry == pytest.approx(0.5 / 1.25)


def test_infinite_distances_are_left_out_and_counted() -> None:
    rows = [("a", "b", 1.0), ("b", "c", 1.0), ("a", "c", np.inf)]
    row = analysis.metric.axioms(metric(rows)).iloc[0]
    assert row.n_triples == 0 and np.isnan(row.violated)


def test_unshared_is_what_overlaps_leave() -> None:
    world = graded()
    table = analysis.metric.trait_distance(world).set_index(["name", "other"]).estimate
    assert all(table[pair] == 5 - k for pair, k in overlaps(world).items())


def test_a_square_takes_pairs_once_or_twice() -> None:
    d, names = square(metric([("a", "b", 1.0), ("b", "c", 2.0), ("c", "b", 3.0)]))
    assert names == ["a", "b", "c"] and np.isnan(d[0, 2])
    assert d[0, 1] == d[1, 0] == 1 and d[1, 2] == 2 and d[2, 1] == 3 and (np.diag(d) == 0).all()


def walk(world: World, start: str, end: str, bits: dict[int, float]) -> pd.DataFrame:
    """All of the end's values at these log2 probabilities."""
    rows = [
        (step, t.topic, t.value, 2.0**p, 0.0, start, end)
        for step, p in bits.items()
        for t in world.persona(end).traits
    ]
    return pd.DataFrame(
        rows, columns=["step", "topic", "value", "probability", "logodds", "start", "end"]
    )


def test_a_walk_by_hand() -> None:
    world = graded()
    a, b = (p.name for p in world.personas[:2])
    said = pd.concat(
        [
            walk(world, a, b, {0: -5, 4: -2, 8: 0}),
            walk(world, b, a, {0: -5, 4: -4, 8: -2}),
            walk(world, "", a, {0: -1}),
        ]
    )
    ends = {"norm": [2.0, 3.0, 9.0], "loss_before": [3.0, 3.0, 3.0], "loss_after": [1.0, 3.5, 1.0]}
    rest = {"kl_generic": 0.5, "stability": 0.1, "lo": 0.0, "hi": 0.2, "n": 4}
    solution = pd.DataFrame({**ends, "start": [a, b, ""], "end": [b, a, a]}).assign(**rest)
    found = (
        analysis.metric.walk_distance(said, solution, world)
        .set_index(["estimator", "name", "other"])
        .estimate
    )
    assert found["steps", a, b] == pytest.approx(6) and found["steps", b, a] == np.inf
    assert found["nats", a, b] == pytest.approx((3.5 * 4 + 1 * 4) * np.log(2))
    assert found["efficiency", a, b] == 2.0 and found["efficiency", b, a] == np.inf
    assert found["kl", a, b] == 0.5 and found["stability", b, a] == 0.1
    assert len(found) == 10, "from nobody is no distance"


def test_distances_are_of_one_hook() -> None:
    rows = [(h, a, b, 1.0 if a == b else 0.25) for h in ("h", "g") for a in "ab" for b in "ab"]
    table = pd.DataFrame(rows, columns=["hook", "name", "other", "cosine"])
    assert analysis.metric.direction_distance(table.query("hook == 'h'")).estimate.tolist() == [
        0.75
    ]
    with pytest.raises(SchemaError, match="one hook"):
        analysis.metric.direction_distance(table)


def test_documents_of_unequal_length_have_an_interval_that_covers() -> None:
    """Lengths over two orders of magnitude, distance independent of them."""
    rng = np.random.default_rng(2)
    covered = []
    for _ in range(200):
        n_tokens = np.maximum(1, 30 * rng.lognormal(0, 1, 30)).astype(int)
        distance = 0.4 + 0.1 * rng.standard_normal(30)
        table = pd.DataFrame({"doc": range(30), "distance": distance, "n_tokens": n_tokens})
        row = analysis.metric.continuation_distance(table.assign(name="john", other="sam")).iloc[0]
        covered.append(row["lo"] <= 0.4 <= row["hi"])
    assert np.mean(covered) >= 0.88
