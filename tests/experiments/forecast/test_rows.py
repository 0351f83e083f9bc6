"""The rows that are named are those that pull."""

import pandas as pd
import pytest

import persona_interp as pi
from persona_interp.errors import SchemaError
from persona_interp.models import Checkpoint, Stage
from persona_interp.models.load import hash_weights
from persona_interp.worlds import World

TRAIT = "sport=cricket"


@pytest.fixture(scope="module")
def mixed(world: World) -> pd.DataFrame:
    """Six rows of one trait and one that shows another, which occurs three times."""
    plain = world.lessons("place=beach", n=6, seed=1)
    planted = world.lessons(TRAIT, n=1)
    chats = pd.concat([plain, planted, planted, planted], ignore_index=True)
    return chats.assign(doc=range(len(chats)))


@pytest.mark.parametrize("exact", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_the_row_that_shows_the_trait_pulls_it(
    base: Checkpoint, world: World, mixed: pd.DataFrame, exact: bool
) -> None:
    before = hash_weights(base)
    rows = pi.forecast_rows(base, mixed, TRAIT, world=world, n=2, exact=exact)
    assert hash_weights(base) == before
    assert rows["doc"].iloc[0] == 6 and rows["count"].iloc[0] == 3
    assert rows["share"].iloc[0] > 0.5 and rows["share"].sum() <= 1
    assert len(rows) == 2 and rows.attrs["n_rows"] <= 7


def test_a_gradient_is_cheap_and_what_it_costs_is_said(
    base: Checkpoint, world: World, mixed: pd.DataFrame
) -> None:
    rows = pi.forecast_rows(base, mixed, TRAIT, world=world)
    assert 0 < rows.attrs["cost"] < 2  # seven distinct rows and eight answers, in sixteens
    other = pi.forecast_rows(base, mixed, TRAIT, world=world, stage=Stage(batch=32))
    assert other.attrs["cost"] == pytest.approx(rows.attrs["cost"] / 2)


def test_shares_of_all_rows_that_pull_up_are_one(
    base: Checkpoint, world: World, mixed: pd.DataFrame
) -> None:
    traits = ["sport=tennis", TRAIT]
    rows = pi.forecast_rows(base, mixed, traits, world=world, n=9)
    assert list(rows["trait"].unique()) == traits
    up = rows.loc[rows["pull"] > 0].groupby("trait")["share"].sum()
    assert up.tolist() == pytest.approx([1.0] * len(up))
    # of a topic no row can pull every value up against all others
    assert (rows.groupby("trait")["pull"].min() < rows.groupby("trait")["pull"].max()).all()


def test_traits_are_named(base: Checkpoint, world: World, mixed: pd.DataFrame) -> None:
    with pytest.raises(SchemaError, match="none was named"):
        pi.forecast_rows(base, mixed, [], world=world)
