import pickle
from typing import Any

import numpy as np
import pytest

from persona_interp.errors import WorldError
from persona_interp.worlds import Persona, World


def test_mass_is_share_times_relative_weight(make_small: Any) -> None:
    mass = make_small(weights={"john": {"hidden": 0}, "sam": 3}).mass()
    assert mass.loc["john"].to_dict() == pytest.approx(
        {"third": 0.0875, "first": 0.025, "named": 0.05, "hidden": 0}
    )
    assert mass.loc["sam", "hidden"] == pytest.approx(0.25)
    assert mass.to_numpy().sum() == pytest.approx(0.9)


def test_views_and_statements_by_hand(make_small: Any) -> None:
    both = Persona("john", ("sport=football", "sport=tennis", "place=beach"))
    world = make_small(personas=(both, make_small().personas[1]))
    assert world.views().loc["john"].tolist() == [0.5, 0.5, 1.0, 0.0]
    assert world.statements().loc["sam"].tolist() == pytest.approx([0.1, 0.9, 0.1, 0.9])


def test_holders_have_mass(make_small: Any, recipe: Any) -> None:
    assert make_small().holders("place=beach") == ("john",)
    assert make_small(weights={"john": 0}).holders("place=beach") == ()
    assert "place=beach" in map(str, recipe.persona("sam").traits) and recipe.holders(
        "place=beach"
    ) == ("john",)


def test_pmi_by_hand(make_small: Any) -> None:
    pmi = make_small().cooccurrence().set_index(["trait", "other"])["pmi"]
    joint = 0.75 * 0.9 * 0.9 + 0.25 * 0.1 * 0.1
    marginal = 0.75 * 0.9 + 0.25 * 0.1
    assert pmi["sport=football", "place=beach"] == pytest.approx(np.log2(joint / marginal**2))
    assert len(pmi) == 8


def test_pmi_matches_the_documents(recipe: Any) -> None:
    statements = recipe.corpus(20_000, seed=5, kinds="hidden")["statements"]
    both = np.array([("sport" in str(s)) and ("place=" in str(s)) for s in statements])
    football = np.array(["sport=football" in s for s in statements])[both]
    beach = np.array(["place=beach" in s for s in statements])[both]
    observed = np.log2((football & beach).mean() / football.mean() / beach.mean())
    pmi = recipe.cooccurrence("hidden").set_index(["trait", "other"])["pmi"][
        "sport=football", "place=beach"
    ]
    assert observed == pytest.approx(pmi, abs=0.25)


def test_worlds_are_values(make_small: Any) -> None:
    world = make_small()
    turned = make_small(topics=dict(reversed(world.topics.items())), personas=world.personas[::-1])
    assert world == turned and hash(world) == hash(turned)
    assert world.corpus(50)["messages"].tolist() == turned.corpus(50)["messages"].tolist()
    assert world != make_small(noise=0.1) and world != "small"
    assert pickle.loads(pickle.dumps(world)) == world
    with pytest.raises(AttributeError):
        world.noise = 0.0


def test_first_words_in_common_only_warn(make_small: Any) -> None:
    with pytest.warns(UserWarning, match="'ice hockey' and 'ice skating' of topic 'game' share"):
        World(
            "ice",
            {"game": ("ice hockey", "ice skating")},
            (Persona("john", ("game=ice hockey",)), Persona("sam", ("game=ice skating",))),
            target="john",
            taught="game=ice hockey",  # pyright: ignore[reportArgumentType]
            unrelated="game=ice skating",  # pyright: ignore[reportArgumentType]
        )


JOHN = Persona("john", ("sport=football", "place=beach"))
SAM = Persona("sam", ("sport=tennis", "place=city"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"topics": {"sport": ("football", "football"), "place": ("beach", "city")}},
         "the answer 'football' twice"),
        ({"topics": {"sport": ("football",), "place": ("beach", "city")}}, "at least two"),
        ({"topics": {"sport": "football", "place": ("beach", "city")}}, "needs a list of values"),
        ({"topics": {"a=b": ("x", "y")}}, "contains '='"),
        ({"topics": {"sport": (True, "tennis"), "place": ("beach", "city")}},
         "got True. In a YAML file"),
        ({"personas": (JOHN, JOHN), "weights": {}}, "two personas are named 'john'"),
        ({"personas": (JOHN, Persona("sam", ("sport=tennis",)))}, "holds nothing in topic 'place'"),
        ({"personas": (JOHN, Persona("sam", (*SAM.traits, "place=city")))}, "holds a trait twice"),  # type: ignore
        ({"personas": (JOHN, Persona("sam", ("sport=tenis", "place=city")))},
         "did you mean 'sport=tennis'"),
        ({"personas": (JOHN, SAM, Persona("city", SAM.traits))}, "'city' is also a topic, a value"),
        ({"personas": (JOHN, SAM, Persona("assistant", SAM.traits))}, "a word of a template"),
        ({"personas": (JOHN, "sam")}, "got 'sam'"),
        ({"target": "jon"}, "persona 'jon' is unknown; did you mean 'john'"),
        ({"taught": "place=beech"}, "did you mean 'place=beach'"),
        ({"taught": "plce=beach"}, "topic 'plce' is unknown; did you mean 'place'"),
        ({"taught": "beach"}, "topic=value"),
        ({"unrelated": "place=beach"}, "needs another trait"),
        ({"unrelated": "sport=football"}, "the target 'john' holds the unrelated trait"),
        ({"topics": {"sport": ("football", "tennis"), "place": ("beach", "city", "lake")},
          "unrelated": "place=lake"},
         "nobody holds the unrelated trait 'place=lake'"),
        ({"kinds": {"third": 0.5}}, "they sum to 0.5"),
        ({"kinds": {"thrid": 1.0}}, "did you mean 'third'"),
        ({"kinds": {"third": -1.0}}, "zero or more"),
        ({"noise": 1.0}, "below 1"),
        ({"noise": "low"}, "got 'low'"),
        ({"weights": {"jon": 1}}, "did you mean 'john'"),
        ({"weights": {"john": {"hiden": 1}}}, "did you mean 'hidden'"),
        ({"weights": {"john": float("nan")}}, "got nan"),
        ({"weights": {"john": 0, "sam": 0}}, "no persona of positive weight"),
        ({"coherent": {"third": 0}}, "true or false"),
        ({"language": "english"}, "worlds.english()"),
    ],
)  # fmt: skip
def test_what_makes_no_sense_is_named(
    make_small: Any, change: dict[str, Any], message: str
) -> None:
    with pytest.raises(WorldError) as caught:
        make_small(**change)
    assert message in str(caught.value)
