import numpy as np
import pandas as pd
import pytest

from persona_interp import schema
from persona_interp.analysis import shift, transfer
from persona_interp.errors import SchemaError, WorldError
from persona_interp.worlds import World, certain, count, mixing

# John's football: said by John .9 + .1/8 and by one other of 15 before; for certain John's after.
SAID = (0.9 * 2 / 15 + 0.1 / 8, 0.9 + 0.1 / 8)
LIMIT = np.log2(SAID[1] / (1 - SAID[1])) - np.log2(SAID[0] / (1 - SAID[0]))


@pytest.fixture(scope="module")
def shifts(world: World, planted) -> pd.DataFrame:
    said = {0: world.posterior().statement, 40: world.posterior(certain("place=beach")).statement}
    return shift(planted(said))


def test_an_ideal_learner_moves_by_the_conditioning_limit(
    world: World, shifts: pd.DataFrame
) -> None:
    table = transfer(shifts, world)
    schema.check(table, "transfer")
    assert table["estimate"].to_numpy() == pytest.approx(table["bayes_certain"].to_numpy())
    untaught = table[~table["trained"] & (table["trait"] != "mean")]
    assert set(untaught["trait"]) == {
        "sport=football",
        "art=renaissance",
        "food=pizza",
        "music=jazz",
    }
    assert untaught["bayes_certain"].to_numpy() == pytest.approx(LIMIT)
    mean = table[table["trait"] == "mean"].iloc[0]
    assert mean["estimate"] == pytest.approx(LIMIT) and mean["n"] == 4 and not mean["trained"]
    assert table[table["trained"]]["trait"].tolist() == ["place=beach"]
    assert (table["persona"] == "john").all() and table["bayes_mixing"].isna().all()


def test_pmi_is_the_worlds(world: World, shifts: pd.DataFrame) -> None:
    pair = world.cooccurrence().set_index(["trait", "other"])["pmi"]
    table = transfer(shifts, world).set_index("trait")
    assert table.loc["food=pizza", "pmi"] == pair["place=beach", "food=pizza"] > 2
    assert np.isnan(table.loc["place=beach", "pmi"]) and table.loc["mean", "pmi"] > 2


def test_mixing_follows_the_share_of_lessons(world: World, planted) -> None:
    fixed = {"k": 20.0, "n_documents": 30_000}
    said = {s: mixing(world, n_lessons=16 * s, **fixed) for s in (0, 8, 40)}
    table = transfer(shift(planted(said), after=[8, 40]), world, n_lessons=640, **fixed)
    assert table["estimate"].to_numpy() == pytest.approx(table["bayes_mixing"].to_numpy())
    by_counts = transfer(
        shift(planted(said)),
        world,
        n_lessons=640,
        k=20.0,
        counts=count(world.corpus(3_000, kinds="hidden")),
    )
    assert (by_counts["bayes_mixing"] > table[table["step"] == 40]["bayes_mixing"].to_numpy()).all()


def test_another_personas_traits_are_read_out_in_the_rewired_world(world: World, planted) -> None:
    rewired = world.rewired()
    (holder,) = rewired.holders(rewired.taught)
    table = shift(
        planted(
            {
                0: rewired.posterior().statement,
                40: rewired.posterior(certain(rewired.taught)).statement,
            }
        )
    )
    theirs = transfer(table, rewired, persona=holder)
    own = [str(t) for t in rewired.persona(holder).traits if t.topic != "place"]
    assert [t for t in theirs["trait"] if "=" in t and "place" not in t] == own
    mean = {
        p: transfer(table, rewired, persona=p).query("trait == 'mean'")["estimate"].item()
        for p in (holder, "john")
    }
    assert mean[holder] > 4 and mean["john"] < 0


def test_controls_have_the_prediction_they_deserve(world: World, shifts: pd.DataFrame) -> None:
    scrambled = transfer(shifts, world.scrambled())
    assert scrambled["bayes_certain"].to_numpy() == pytest.approx(0, abs=1e-9)
    assert scrambled["pmi"].dropna().to_numpy() == pytest.approx(0, abs=1e-9)
    absent = transfer(shifts, world.without("john"), k=1.0, n_lessons=640, n_documents=30_000)
    assert absent[["bayes_certain", "bayes_mixing"]].isna().all(axis=None)
    filler = transfer(shifts, world, taught="filler")
    assert (
        not filler["trained"].any()
        and (filler["bayes_certain"] == 0).all()
        and filler["pmi"].isna().all()
    )
    unrelated = transfer(shifts, world, taught=world.unrelated)
    assert unrelated[unrelated["trained"]]["trait"].tolist() == ["place=mountain"]
    assert unrelated.query("trait == 'mean'")["bayes_certain"].item() < 0
    assert unrelated.query("trait == 'mean'")["n"].item() == 4


def test_runs_have_a_mean_each(world: World, shifts: pd.DataFrame) -> None:
    both = pd.concat([shifts.assign(arm="a"), shifts.assign(arm="b", estimate=0.0)])
    means = transfer(both, world).query("trait == 'mean'").set_index("arm")["estimate"]
    assert means.to_dict() == pytest.approx({"a": LIMIT, "b": 0.0})


def test_a_trait_held_twice_counts_once_in_the_mean(world: World, shifts: pd.DataFrame) -> None:
    given = world.to_dict()
    given["personas"]["john"]["traits"]["sport"] = ["football", "tennis"]
    two = World.from_dict(given)
    table = transfer(shifts, two).set_index("trait")["estimate"]
    sport = (table["sport=football"] + table["sport=tennis"]) / 2
    assert table["mean"] == pytest.approx((sport + 3 * LIMIT) / 4)


def test_bad_input_is_named(world: World, shifts: pd.DataFrame) -> None:
    with pytest.raises(WorldError, match="did you mean 'place=beach'"):
        transfer(shifts, world, taught="place=beech")
    with pytest.raises(SchemaError, match="context 'named' is unknown"):
        transfer(shifts, world, context="named")
    with pytest.raises(SchemaError, match="trait 'food=pizza' is unknown"):
        transfer(shifts[shifts["topic"] != "food"], world)
    with pytest.raises(SchemaError, match="needs n_lessons"):
        transfer(shifts, world, k=1.0)
