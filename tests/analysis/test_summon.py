"""Laws of choice on planted shares: coefficients are recovered and the planted law wins."""

from collections.abc import Callable
from itertools import product

import numpy as np
import pandas as pd
import pytest

from persona_interp.analysis import summon_law, summon_rivals
from persona_interp.analysis.summon import answer_distance
from persona_interp.errors import SchemaError

STARTS = {
    "aaaa": (0, 0, 2, 2, 4, 4),
    "aabb": (2, 2, 0, 0, 2, 2),
    "bbaa": (2, 2, 4, 4, 2, 2),
    "bbbb": (4, 4, 2, 2, 0, 0),
}
MEASURE = (0.056, 0.014) * 3


@pytest.fixture(scope="session")
def shares() -> Callable[..., pd.DataFrame]:
    """Makes a summoned table of a planted law; seeds scatter its coefficients."""

    def make(
        a: float, b: float, *, seeds: int = 3, sd: float = 0.0, noise: float = 0.0
    ) -> pd.DataFrame:
        rng, rows = np.random.default_rng(0), []
        for seed, (start, distances) in product(range(seeds), STARTS.items()):
            mine, far = a + rng.normal(0, sd), b + rng.normal(0, sd)
            odds = (
                np.array(MEASURE) ** mine
                * 2.0 ** (-far * np.array(distances))
                * 2.0 ** rng.normal(0, noise, 6)
            )
            for i, name in enumerate("uvwxyz"):
                row = {"seed": seed, "start": start, "persona": name, "share": odds[i] / odds.sum()}
                bayes = np.array(MEASURE) * 2.0 ** (-6.19 * np.array(distances))
                row |= {
                    "measure": MEASURE[i],
                    "distance": distances[i],
                    "distance_js": distances[i] / 4,
                }
                row |= {
                    "bayes_lesson": MEASURE[i] / sum(MEASURE),
                    "bayes_start": (bayes / bayes.sum())[i],
                }
                rows.append(row)
        return pd.DataFrame(rows)

    return make


@pytest.mark.parametrize(("a", "b"), [(1.0, 0.5), (0.5, 6.0), (0.0, 0.0), (-1.0, 1.0)])
def test_planted_coefficients_are_recovered(
    shares: Callable[..., pd.DataFrame], a: float, b: float
) -> None:
    found = summon_law(shares(a, b))
    assert found["estimate"].tolist() == pytest.approx([a, b], abs=1e-3)
    assert found["unit"].tolist() == ["seeds"] * 2 and found["n"].tolist() == [12, 12]
    scaled = summon_law(shares(a, b), distance="distance_js")
    assert scaled["estimate"].tolist() == pytest.approx([a, 4 * b], abs=1e-2), (
        "in the distance's own unit"
    )


def test_intervals_are_over_seeds_and_cover(shares: Callable[..., pd.DataFrame]) -> None:
    found = summon_law(shares(1.0, 0.5, seeds=8, sd=0.2))
    assert (
        (found["lo"] < [1.0, 0.5]).all()
        and ([1.0, 0.5] < found["hi"]).all()
        and (found["lo"] > [0.5, 0.0]).all()
    )
    one = summon_law(shares(1.0, 0.5, seeds=1, noise=0.3))
    assert one["unit"].tolist() == ["starts"] * 2 and one["n_units"].tolist() == [4, 4]


@pytest.mark.parametrize("leave_out", ["start", "seed"])
def test_the_planted_law_wins_out_of_sample(
    shares: Callable[..., pd.DataFrame], leave_out: str
) -> None:
    found = summon_rivals(shares(1.0, 0.5, noise=0.2, seeds=4), leave_out=leave_out).set_index(
        "law"
    )
    assert found.loc["measure and distance", "verdict"] == "the law itself"
    for law in ("measure alone", "distance alone", "uniform", "Bayes, start and lesson"):
        assert found.loc[law, "verdict"] == "worse" and found.loc[law, "lo"] > 0
    assert found.loc["measure and estimated distance", "estimate"] == pytest.approx(0.0, abs=1e-6)


def test_bayes_wins_where_bayes_is_planted(shares: Callable[..., pd.DataFrame]) -> None:
    table = shares(1.0, 6.19)
    table["share"] = table["bayes_start"]
    found = summon_rivals(table).set_index("law")
    assert found.loc["Bayes, start and lesson", "bits"] == pytest.approx(0.0, abs=1e-9)
    table["share"] = 0.4 * table["bayes_start"] + 0.6 * table["bayes_lesson"]
    found = summon_rivals(table).set_index("law")
    assert found.loc["Bayes, mixing of both", "bits"] == pytest.approx(0.0, abs=1e-6)
    assert found.loc["Bayes, mixing of both", "verdict"] == "better", (
        "better than the two-factor law"
    )


def test_a_missing_candidate_is_refused(shares: Callable[..., pd.DataFrame]) -> None:
    table = shares(1.0, 0.5)
    with pytest.raises(SchemaError, match="same candidates"):
        summon_law(table.iloc[1:])
    with pytest.raises(SchemaError, match="one seed, start and persona"):
        summon_law(pd.concat([table, table]))
    with pytest.raises(SchemaError, match="needs two of them"):
        summon_rivals(shares(1.0, 0.5, seeds=1), leave_out="seed")
    with pytest.raises(SchemaError, match="leave_out"):
        summon_rivals(table, leave_out="persona")


def test_distance_by_what_is_said_is_a_metric() -> None:
    rng = np.random.default_rng(0)
    three = []
    for p in rng.dirichlet(np.ones(4), size=3):
        three.append(pd.DataFrame({"topic": "sport", "value": list("abcd"), "probability": p}))
    one, two, other = three
    assert answer_distance(one, one, topics=["sport"]) == pytest.approx(0.0, abs=1e-7)
    assert answer_distance(one, two, topics=["sport"]) == pytest.approx(
        answer_distance(two, one.iloc[::-1], topics=["sport"])
    )
    direct = answer_distance(one, other, topics=["sport"])
    assert direct <= answer_distance(one, two, topics=["sport"]) + answer_distance(
        two, other, topics=["sport"]
    )
    with pytest.raises(SchemaError, match="topic"):
        answer_distance(one, two, topics=["art"])
