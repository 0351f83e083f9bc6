"""The checker's own Bayes equals the package's on worlds that are unlike the recipe."""

import pytest

import bayes_claims
from persona_interp.worlds import World

TOPICS = {
    "place": ["sea", "town", "hill"],
    "food": ["soup", "bread", "rice"],
    "pet": ["cat", "dog"],
}
PERSONAS = {
    "ana": {"traits": {"place": ["sea", "hill"], "food": ["soup", "bread"], "pet": "cat"}},
    "ben": {"traits": {"place": "town", "food": "bread", "pet": "dog"}, "weight": 3},
    "cleo": {"traits": {"place": "hill", "food": "rice", "pet": ["dog", "cat"]}},
    "dan": {"traits": {"place": "sea", "food": "rice", "pet": "dog"}, "weight": {"hidden": 0}},
}
BASE = {
    "name": "unlike",
    "topics": TOPICS,
    "personas": PERSONAS,
    "target": "ana",
    "taught": "place=sea",
    "unrelated": "place=town",
    "noise": 0.1,
}


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"noise": 0.0},
        {"kinds": {"third": 0.5, "first": 0.2, "named": 0.3}},
        {"coherent": {"hidden": False}},
        {"kinds": {"third": 0.5, "named": 0.5}, "coherent": {"third": False}},
    ],
)
def test_the_limit_is_the_same_by_both_arithmetics(
    changes: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World.from_dict({**BASE, **changes})
    assert bayes_claims.limit_gap(world) < 1e-12
    monkeypatch.setattr(bayes_claims, "N_DOCUMENTS", 3_000)
    assert bayes_claims.counting_error(world, seed=0) < 4
