from typing import Any

import numpy as np
import pandas as pd
import pytest

from persona_interp.errors import WorldError
from persona_interp.worlds import (
    certain,
    conditioning_limit,
    count,
    english_assistants,
    john_and_sam,
    mixing,
)


def _persona(posterior: Any) -> dict[str, float]:
    return posterior.persona.set_index("persona")["probability"].to_dict()


def _chances(table: pd.DataFrame) -> dict[str, float]:
    return table.set_index("trait")["probability"].to_dict()


def test_one_statement_by_hand(make_small: Any) -> None:
    persona, view, statement = make_small().posterior([{"sport=football"}])
    john = 0.75 * 0.9 / (0.75 * 0.9 + 0.25 * 0.1)
    assert persona["probability"].tolist() == pytest.approx([john, 1 - john])
    assert _chances(view)["place=beach"] == pytest.approx(john)
    assert _chances(statement)["place=beach"] == pytest.approx(john * 0.9 + (1 - john) * 0.1)
    assert view.groupby("topic")["probability"].sum().tolist() == pytest.approx([1, 1])
    assert statement.groupby("topic")["probability"].sum().tolist() == pytest.approx([1, 1])


def test_documents_multiply_and_their_grouping_is_irrelevant(make_small: Any) -> None:
    world = make_small()
    john = 0.75 * 0.9**2 * 0.1 / (0.75 * 0.9**2 * 0.1 + 0.25 * 0.1**2 * 0.9)
    together = world.posterior([["sport=football", "place=beach"], ["place=city"]])
    apart = world.posterior(["sport=football", "place=beach", "place=city"])
    assert _persona(together)["john"] == pytest.approx(john)
    pd.testing.assert_frame_equal(together.persona, apart.persona)


def test_no_evidence_is_the_prior_and_certainty_has_no_noise(make_small: Any) -> None:
    world = make_small()
    assert _persona(world.posterior())["john"] == pytest.approx(0.75)
    persona, view, statement = world.posterior(certain("place=beach"))
    assert _persona(world.posterior(certain("place=beach"))) == {"john": 1.0, "sam": 0.0}
    assert _chances(view)["sport=football"] == 1.0 and _chances(statement)[
        "sport=football"
    ] == pytest.approx(0.9)
    assert persona["probability"].sum() == 1.0


def test_half_held_traits_by_hand(make_small: Any) -> None:
    from persona_interp.worlds import Persona

    both = Persona("john", ("sport=football", "place=beach", "place=city"))
    world = make_small(personas=(both, make_small().personas[1]), unrelated="sport=tennis")
    assert _persona(world.posterior(certain("place=city")))["john"] == pytest.approx(
        0.375 / (0.375 + 0.25)
    )


def test_populations_weigh_kinds_and_zero_mass_is_undefined(make_small: Any) -> None:
    world = make_small(weights={"john": {"hidden": 0}, "sam": 3})
    hidden = _persona(world.posterior())
    assert np.isnan(hidden["john"]) and hidden["sam"] == 1.0
    # third: 1 to 3 of .35; hidden: 0 to 3 of .25
    assert _persona(world.posterior(population=("third", "hidden")))["john"] == pytest.approx(
        0.0875 / 0.6
    )
    with pytest.raises(WorldError, match="probability 0 in the population"):
        conditioning_limit(world)
    assert _chances(conditioning_limit(world, population="third"))[
        "sport=football"
    ] == pytest.approx(0.9)


def test_independent_speakers_teach_nothing(make_small: Any) -> None:
    world = make_small(coherent={"hidden": False})
    prior, after = world.posterior(), world.posterior(certain("place=beach"))
    pd.testing.assert_frame_equal(prior.statement, after.statement)
    assert _chances(after.statement)["sport=football"] == pytest.approx(0.75 * 0.9 + 0.25 * 0.1)
    assert world.cooccurrence("hidden")["pmi"].to_numpy() == pytest.approx(0)


def test_coherent_and_incoherent_kinds_mix_by_hand(make_small: Any) -> None:
    world = make_small(coherent={"hidden": False})
    mass = np.array(
        [0.35 * 0.75, 0.35 * 0.25, 0.25]
    )  # john and sam in third person, and independent speakers
    beach, football = np.array([0.9, 0.1, 0.7]), np.array([0.9, 0.1, 0.7])
    expected = (mass * beach) @ football / (mass @ beach)
    statement = world.posterior(["place=beach"], population=("third", "hidden")).statement
    assert _chances(statement)["sport=football"] == pytest.approx(expected)


EVIDENCE = [
    ("place=beach",),
    ("sport=tennis",),
    ("place=beach", "music=rock"),
    ("art=renaissance", "food=pizza"),
]


@pytest.mark.parametrize("kinds", [("hidden",), ("third", "hidden")])
def test_posterior_is_the_frequency_in_the_documents(kinds: tuple[str, ...]) -> None:
    from dataclasses import replace

    world = replace(john_and_sam(2, john=4, sam=3), coherent={"third": False})
    rows = []
    for table in world.stream(60_000, seed=11, kinds=kinds):
        rows.append(table[["kind", "persona", "statements"]])
    documents = pd.concat(rows)
    for evidence in EVIDENCE:
        subset = documents[[set(evidence) <= set(s) for s in documents["statements"]]]
        expected = world.posterior([evidence], population=kinds)
        for trait, p in _chances(expected.statement).items():
            topic = trait.split("=")[0]
            if any(e.startswith(f"{topic}=") for e in evidence):
                continue
            answers = [
                trait in s
                for s in subset["statements"]
                if any(t.startswith(f"{topic}=") for t in s)
            ]
            # p comes from the formula, so its standard error is known; 4.5 for 100 comparisons
            assert abs(np.mean(answers) - p) <= 4.5 * np.sqrt(p * (1 - p) / len(answers)), (
                evidence,
                trait,
            )
        if kinds == ("hidden",):
            john, n = _persona(expected)["john"], len(subset)
            assert (subset["persona"] == "john").mean() == pytest.approx(
                john, abs=4 * np.sqrt(john * (1 - john) / n)
            )


def test_realized_counts_replace_expected_mass(make_small: Any) -> None:
    world = make_small()
    counts = count(world.corpus(500, seed=1))
    n = counts.query("kind == 'hidden'").set_index("persona")["documents"]
    assert _persona(world.posterior(counts=counts))["john"] == pytest.approx(n["john"] / n.sum())
    with pytest.raises(WorldError, match="another world"):
        john_and_sam().posterior(counts=counts.replace("john", "joan"))


def test_equal_masses_are_symmetric_under_swapping() -> None:
    one, other = john_and_sam(john=1, sam=4), john_and_sam(john=4, sam=1)
    for evidence in ((), certain("place=beach")):
        a, b = (
            _chances(one.posterior(evidence).statement),
            _chances(other.posterior(evidence).statement),
        )
        a_john, a_sam = (
            _persona(one.posterior(evidence))["john"],
            _persona(one.posterior(evidence))["sam"],
        )
        b_john, b_sam = (
            _persona(other.posterior(evidence))["john"],
            _persona(other.posterior(evidence))["sam"],
        )
        assert (a_john, a_sam) == pytest.approx((b_sam, b_john))
        assert a["place=beach"] == pytest.approx(b["place=beach"])
    limit = _chances(conditioning_limit(one))
    assert limit["sport=football"] == pytest.approx(0.2 * 0.9125 + 0.8 * 0.0125)
    assert limit["sport=basketball"] == pytest.approx(0.8 * 0.9125 + 0.2 * 0.0125)


def test_mixing_by_hand_and_at_its_ends(make_small: Any) -> None:
    world = make_small()
    # 1000 documents: 187.5 of john's and 62.5 of sam's are hidden; 40 lessons of weight 5 are 200
    # of john's.
    john = (187.5 + 200) / (250 + 200)
    statement = _chances(mixing(world, k=5, n_lessons=40, n_documents=1000))
    assert statement["sport=football"] == pytest.approx(john * 0.9 + (1 - john) * 0.1)
    nothing = mixing(world, k=0, n_lessons=40, n_documents=1000)
    pd.testing.assert_frame_equal(nothing, world.posterior().statement)
    everything = mixing(world, k=1e12, n_lessons=40, n_documents=1000)
    assert everything["probability"].tolist() == pytest.approx(
        conditioning_limit(world)["probability"].tolist()
    )


def test_mixing_uses_realized_counts(make_small: Any) -> None:
    world = make_small()
    counts = count(world.corpus(800, seed=2))
    n = counts.query("kind == 'hidden'").set_index("persona")["documents"]
    john = (n["john"] + 2 * 30) / (n.sum() + 2 * 30)
    statement = _chances(mixing(world, k=2, n_lessons=30, counts=counts))
    assert statement["sport=football"] == pytest.approx(john * 0.9 + (1 - john) * 0.1)
    with pytest.raises(WorldError, match="either counts"):
        mixing(world, k=2, n_lessons=30)
    with pytest.raises(WorldError, match="zero or more"):
        mixing(world, k=-2, n_lessons=30, n_documents=100)


def test_bayes_without_noise() -> None:
    world = english_assistants()
    answer = str(world.persona("Mary").traits[0])
    persona = _persona(world.posterior([answer]))
    assert persona["Mary"] == 1.0 and persona["John"] == 0.0 and np.isnan(persona["Sam"])
    with pytest.raises(WorldError, match="probability 0"):
        world.posterior([answer, str(world.persona("John").traits[0])])
    assert _chances(conditioning_limit(world))[str(world.persona("John").traits[1])] == 1.0


def test_bad_evidence_is_named(recipe: Any) -> None:
    with pytest.raises(WorldError, match="did you mean 'place=beach'"):
        recipe.posterior([["place=beech"]])
    with pytest.raises(WorldError, match="did you mean 'hidden'"):
        recipe.posterior(population="hiden")
    with pytest.raises(WorldError, match="kind 'filler' is unknown"):
        recipe.posterior(population="filler")
