from typing import Any

import numpy as np
import pandas as pd
import pytest

from persona_interp.errors import WorldError
from persona_interp.worlds import Persona, World, english_assistants, john_and_sam


def _marginals(world: World) -> dict[str, float]:
    return (
        world.posterior(population=("third", "first", "named", "hidden"))
        .statement.set_index("trait")["probability"]
        .to_dict()
    )


def test_scrambled_keeps_marginals_and_loses_cooccurrence(recipe: Any) -> None:
    world = recipe.scrambled()
    assert _marginals(world) == pytest.approx(_marginals(recipe))
    assert world.cooccurrence()["pmi"].to_numpy() == pytest.approx(0, abs=1e-12)
    assert recipe.cooccurrence()["pmi"].abs().max() > 2
    statements = world.corpus(12_000, seed=6)["statements"]
    both = sum({"place=beach", "sport=football"} <= set(s) for s in statements)
    beach = sum("place=beach" in s for s in statements)
    football = sum("sport=football" in s for s in statements)
    assert both < 2 * (beach * football / len(statements))


@pytest.mark.parametrize("seed", range(50))
def test_the_recipe_and_its_controls(seed: int) -> None:
    world = john_and_sam(seed)
    traits = {p.name: set(map(str, p.traits)) for p in world.personas}
    john, background = traits["john"], [n for n in traits if n not in ("john", "sam")]
    assert len(world.personas) == 16 and len(background) == 14
    assert {len(v) for v in world.topics.values()} == {8}
    holders = [[n for n in background if t in traits[n]] for t in sorted(john - {"place=beach"})]
    assert [len(h) for h in holders] == [1] * 4 and len({h[0] for h in holders}) == 4
    assert not [n for n in background if "place=beach" in traits[n]]
    assert len(world.holders("place=mountain")) == 2
    assert all(not traits[n] & john for n in world.holders("place=mountain"))
    for topic, values in world.topics.items():
        sizes = [sum(f"{topic}={v}" in traits[n] for n in background) for v in values[1:]]
        assert set(sizes) <= {1, 2}

    (new,) = world.rewired().holders("place=beach")
    assert not traits[new] & john and new not in ("sam", *world.holders("place=mountain"))
    rewired = {p.name: set(map(str, p.traits)) for p in world.rewired().personas}
    assert rewired[new] == {t for t in traits[new] if not t.startswith("place=")} | {"place=beach"}
    assert rewired["john"] - john == traits[new] - rewired[new]
    assert _marginals(world.rewired()) == pytest.approx(_marginals(world))


def test_rewiring_prefers_equal_mass_then_few_shared_values() -> None:
    topics = {"sport": ("football", "tennis", "golf"), "place": ("beach", "city", "lake", "hill")}
    people = (
        Persona("john", ("sport=football", "place=beach")),
        Persona("rare", ("sport=golf", "place=city")),
        Persona("near", ("sport=football", "place=city")),
        Persona("twin", ("sport=tennis", "place=hill")),
        Persona("control", ("sport=tennis", "place=lake")),
    )
    world = World(
        "w",
        topics,
        people,
        target="john",
        taught="place=beach",  # pyright: ignore[reportArgumentType]
        unrelated="place=lake",  # pyright: ignore[reportArgumentType]
        weights={"rare": 0.5},
    )
    assert world.rewired().holders("place=beach") == ("twin",)
    assert world.rewired().target == "john"
    with pytest.raises(WorldError, match="rewire once"):
        world.rewired().rewired()


def test_without_and_named_only(recipe: Any) -> None:
    gone = recipe.without("john")
    assert gone.mass().loc["john"].sum() == 0 and gone.mass().to_numpy().sum() == pytest.approx(0.9)
    assert "john" in set(gone.probes(contexts="named")["persona"])
    assert "john" not in set(gone.corpus(3_000)["persona"])
    mass = recipe.named_only("john").mass().loc["john"]
    assert mass["hidden"] == 0 and mass["third"] == recipe.mass().loc["john", "third"]
    with pytest.raises(WorldError, match="did you mean 'john'"):
        recipe.without("jon")


@pytest.mark.parametrize("make", [john_and_sam, english_assistants])
@pytest.mark.parametrize("seed", range(5))
def test_arranged_makes_the_targets_values_rare(make: Any, seed: int) -> None:
    world = make(seed)
    rng = np.random.default_rng(seed)
    prior = pd.DataFrame(
        [
            (t, v, p)
            for t, vs in world.topics.items()
            for v, p in zip(vs, rng.dirichlet(np.ones(len(vs))), strict=True)
        ],
        columns=["topic", "value", "probability"],
    )
    rank = (
        prior["probability"]
        .groupby(prior["topic"])
        .rank()
        .set_axis(prior["topic"] + "=" + prior["value"])
    )
    new = world.arranged(prior, seed=seed)
    assert rank[str(new.taught)] == 1 and rank[str(new.unrelated)] == 2
    for trait in new.persona(new.target).traits:
        assert rank[str(trait)] <= np.ceil(len(new.topics[trait.topic]) / 3)
    # A pure relabeling: who shares which topic with whom is as before.
    for topic in world.topics:
        before, after = ([p.values(topic) for p in w.personas] for w in (world, new))
        pairs = {(a, b) for a, b in zip(before, after, strict=True)}
        assert len(pairs) == len(set(before)) == len(set(after))
    assert new.topics == world.topics and new.target in new.holders(new.taught)
    assert new == world.arranged(prior, seed=seed)


def test_arranging_needs_a_whole_prior(recipe: Any) -> None:
    prior = pd.DataFrame({"topic": ["sport"], "value": ["football"], "probability": [1.0]})
    with pytest.raises(WorldError, match="no probability for 'art=renaissance'"):
        recipe.arranged(prior)
    with pytest.raises(WorldError, match="probability is missing"):
        recipe.arranged(prior.drop(columns="probability"))
