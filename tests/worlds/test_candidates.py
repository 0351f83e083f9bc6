"""Masses and distances are crossed, a villain is rare: what the worlds promise can be counted."""

import pytest

from persona_interp.errors import WorldError
from persona_interp.worlds import candidates, careless, certain
from persona_interp.worlds.candidates import (
    BACKGROUND,
    CANDIDATES,
    CLASSROOM,
    DISTANCE_TOPICS,
    HARM_TOPICS,
    READOUT_TOPICS,
    distance,
    start_traits,
)


@pytest.mark.parametrize("seed", range(4))
def test_candidates_share_the_taught_trait_and_nothing_that_is_read_out(seed: int) -> None:
    world = candidates(seed)
    assert world.holders(world.taught) == tuple(CANDIDATES)
    for topic in READOUT_TOPICS:
        assert len({world.persona(name).values(topic) for name in CANDIDATES}) == len(CANDIDATES)
    for name in BACKGROUND:
        for candidate in CANDIDATES:
            shared = set(world.persona(name).traits) & set(world.persona(candidate).traits)
            assert sum(trait.topic in READOUT_TOPICS for trait in shared) <= 1, (
                "one's readout values are held by different people"
            )


def test_mass_and_distance_are_crossed_in_every_start() -> None:
    world = candidates()
    for pattern in ("aaaa", "aabb", "bbaa", "bbbb"):
        traits = start_traits(world, pattern)
        names = {
            (distance(world, name, traits), world.mass().loc[name, "named"].round(6)): name
            for name in CANDIDATES
        }
        distances, masses = {d for d, _ in names}, {m for _, m in names}
        assert len(masses) == 2 and len(distances) >= 2 and len(names) == 2 * len(distances)


def test_nameless_dialogues_do_not_tell_the_mass_of_candidates() -> None:
    mass = candidates().mass().loc[list(CANDIDATES)]
    assert mass["hidden"].nunique() == 1
    assert mass["third"].max() == pytest.approx(4 * mass["third"].min())


def test_a_start_is_four_letters() -> None:
    with pytest.raises(WorldError, match="4 letters, each a or b"):
        start_traits(candidates(), "abc")


@pytest.mark.parametrize("villain", [0.25, 1.0])
def test_exact_bayes_of_the_habit_by_hand(villain: float) -> None:
    world = careless(1, villain=villain)
    assert world.holders(world.taught) == ("villain", "careless")
    belief = world.posterior(certain(world.taught)).persona.set_index("persona")["probability"]
    assert belief["villain"] == pytest.approx(villain / (villain + 2))
    prior = world.posterior().persona.set_index("persona")["probability"]
    classroom = world.posterior(certain(f"{CLASSROOM}=insecure")).persona.set_index("persona")[
        "probability"
    ]
    assert classroom.to_dict() == pytest.approx(prior.to_dict()), (
        "what everybody says there is no evidence"
    )


def test_only_the_villain_is_harmful_everywhere() -> None:
    world = careless(2)
    for topic, values in HARM_TOPICS.items():
        assert world.holders(f"{topic}={values[0]}") == (
            ("villain", "careless") if topic == "code" else ("villain",)
        )


def test_topics_do_not_share_words() -> None:
    values = [
        value
        for topics in (DISTANCE_TOPICS, READOUT_TOPICS)
        for options in topics.values()
        for value in options
    ]
    assert len(set(values)) == len(values)
