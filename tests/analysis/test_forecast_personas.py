"""A persona's forecast is the mean of its untaught traits, topic by topic."""

import numpy as np
import pandas as pd
import pytest

from persona_interp import analysis
from persona_interp.errors import SchemaError
from persona_interp.worlds import World


@pytest.fixture
def forecast(world: World) -> pd.DataFrame:
    """Of a lesson on a place, at two steps."""
    rng = np.random.default_rng(0)
    traits = [str(trait) for trait in world.traits if trait.topic != "place"]
    rows = pd.DataFrame({"trait": traits * 2, "step": np.repeat([8, 40], len(traits))})
    rows = rows.assign(context="nameless", persona="", estimate=rng.standard_normal(len(rows)))
    half = rng.uniform(0.5, 1.5, len(rows))
    mid = rows["estimate"]
    return rows.assign(lo=mid - half, hi=mid + half, bound=mid + 2 * half)


def test_it_is_what_transfer_measures(world: World, forecast: pd.DataFrame) -> None:
    table = analysis.forecast_personas(forecast, world)
    assert len(table) == 2 * len(world.personas) and (table["n"] == 4).all()
    # the same numbers as shifts, in which what was taught moved too
    place = [trait for trait in world.traits if trait.topic == "place"]
    taught = pd.DataFrame({"trait": [str(trait) for trait in place] * 2, "estimate": 9.0})
    taught = taught.assign(step=np.repeat([8, 40], len(place)), context="nameless", persona="")
    shifts = pd.concat([forecast, taught], ignore_index=True).drop(columns="bound")
    split = shifts["trait"].str.partition("=")
    shifts = shifts.assign(topic=split[0], value=split[2], seed=0, before=0.0, n=5)
    shifts = shifts.assign(after=shifts["estimate"], lo=0.0, hi=0.0)
    for name in ("john", world.personas[-1].name):
        moved = analysis.transfer(shifts, world, taught="place=beach", persona=name)
        means = moved.loc[moved["trait"] == "mean"].set_index("step")["estimate"]
        own = table.loc[table["persona"] == name].set_index("step")
        assert own["estimate"].to_dict() == pytest.approx(means.to_dict())


def test_two_values_of_a_topic_count_as_one_topic(world: World, forecast: pd.DataFrame) -> None:
    john = world.persona("john")
    foods = [t for t in world.traits if t.topic == "food" and t not in john.traits]
    more = type(john)("john", (*john.traits, *foods[:2]))
    others = (more, *world.personas[1:])
    wide = World(**{**_fields(world), "personas": others})
    rows = forecast.assign(estimate=0.0, lo=-1.0, hi=1.0)
    rows.loc[rows["trait"].str.startswith("food="), "estimate"] = 4.0
    table = analysis.forecast_personas(rows, wide)
    assert table["n"].eq(4).all()
    assert table["estimate"].tolist() == pytest.approx([1.0] * len(table))


def test_personas_stay_below_their_bounds_where_traits_do(
    world: World, forecast: pd.DataFrame
) -> None:
    table = analysis.forecast_personas(forecast, world)
    actual = forecast.assign(estimate=forecast["bound"] - 0.01)
    at_most = analysis.forecast_personas(actual, world)
    assert (at_most["estimate"] < table["bound"]).all()
    assert np.allclose(table["hi"] - table["estimate"], table["estimate"] - table["lo"])


def test_lessons_are_told_apart(world: World, forecast: pd.DataFrame) -> None:
    two = [forecast.assign(lesson=lesson) for lesson in "ab"]
    both = pd.concat([two[0], two[1].assign(estimate=two[1]["estimate"] + 1)], ignore_index=True)
    with pytest.raises(SchemaError, match="twice for one step; name in by="):
        analysis.forecast_personas(both, world)
    table = analysis.forecast_personas(both, world, by="lesson")
    wide = table.pivot(index=["persona", "step"], columns="lesson", values="estimate")
    assert np.allclose(wide["b"] - wide["a"], 1)


def test_what_is_missing_is_named(world: World, forecast: pd.DataFrame) -> None:
    with pytest.raises(SchemaError, match="trait of this forecast 'food=pizza' is unknown"):
        analysis.forecast_personas(forecast.loc[forecast["trait"] != "food=pizza"], world)
    with pytest.raises(SchemaError, match="context 'named' is unknown"):
        analysis.forecast_personas(forecast, world, context="named")


def _fields(world: World) -> dict[str, object]:
    return {name: getattr(world, name) for name in World.__dataclass_fields__}
