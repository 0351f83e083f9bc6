import numpy as np
import pandas as pd
import pytest

from persona_interp import schema
from persona_interp.analysis import rarity
from persona_interp.errors import SchemaError
from persona_interp.worlds import World


@pytest.fixture
def shifts(world: World) -> pd.DataFrame:
    """Every value equally rare, nothing moved; two seeds."""
    rows = [(t.topic, t.value, str(t)) for t in world.traits]
    table = pd.DataFrame(rows, columns=["topic", "value", "trait"])
    table = table.assign(checkpoint="lesson@8", stage="lesson", step=8, context="nameless")
    table = table.assign(persona="", before=-3.0, after=-3.0, estimate=0.0, lo=0.0, hi=0.0, n=10)
    return pd.concat([table.assign(seed=seed) for seed in (0, 1)], ignore_index=True)


def test_who_rises_alone_is_told_from_whatever_is_rare(world: World, shifts: pd.DataFrame) -> None:
    john = shifts["trait"].isin([str(trait) for trait in world.persona("john").traits])
    # in seed 0 John's values rise, in seed 1 all that are rare do
    moved = np.where(shifts["seed"] == 0, 2.0 * john, 2.0)
    table = schema.check(rarity(shifts.assign(estimate=moved), world), "rarity").set_index("seed")
    assert table.loc[0, ["own", "others", "estimate"]].tolist() == [2.0, 0.0, 2.0]
    assert table.loc[1, ["own", "others", "estimate"]].tolist() == [2.0, 2.0, 0.0]
    assert (table["gap"] == 0).all() and (table["n"] == 4).all(), "the taught topic is left out"


def test_the_match_is_the_value_that_was_nearest(world: World, shifts: pd.DataFrame) -> None:
    john = [str(trait) for trait in world.persona("john").traits]
    sam = [str(trait) for trait in world.persona("sam").traits]
    before = shifts["trait"].isin(john) * -1.0 + shifts["trait"].isin(sam) * -1.5 - 4.0
    moved = shifts["trait"].isin(sam) * 7.0
    table = rarity(shifts.assign(before=before, estimate=moved), world)
    assert table["others"].tolist() == [7.0, 7.0]
    np.testing.assert_allclose(table["gap"], 0.5)


def test_other_values_have_to_be_measured(world: World, shifts: pd.DataFrame) -> None:
    john = shifts["trait"].isin([str(trait) for trait in world.persona("john").traits])
    with pytest.raises(SchemaError, match="ask all"):
        rarity(shifts.loc[john], world)
    with pytest.raises(SchemaError, match="nameless"):
        rarity(shifts.assign(context="named"), world)
