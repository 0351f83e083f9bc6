import numpy as np
import pandas as pd
import pytest

from persona_interp.analysis import paths
from persona_interp.errors import SchemaError
from persona_interp.worlds import World


def run(world: World, planted, said: dict[str, float], **at: object) -> pd.DataFrame:
    """A run that says a mixture of personas, before and after alike."""
    mix = sum(weight * world.statements().loc[name] for name, weight in said.items())
    table = world.posterior().statement.assign(probability=np.asarray(mix))
    return planted({0: table, 8: table}).assign(**at)


def test_distances_by_hand(world: World, planted) -> None:
    table = pd.concat(
        [
            run(world, planted, {"john": 1.0}, start="a", repeat=0),
            run(world, planted, {"john": 0.5, "sam": 0.5}, start="b", repeat=0),
            run(world, planted, {"john": 1.0}, start="a", repeat=1),
        ]
    )
    found = paths(table, topics=["sport", "place"]).set_index(["when", "between"])["estimate"]
    # John and Sam differ in sport alone: half of the 0.9 that noise leaves, mean over two topics.
    assert found["after", "starts"] == pytest.approx(0.9 / 2 / 2)
    assert found["before", "repeats"] == 0.0


def test_without_repeats_there_is_no_noise(world: World, planted) -> None:
    table = pd.concat([run(world, planted, {n: 1.0}, start=n, repeat=0) for n in ("john", "mary")])
    found = paths(table, topics=["sport"]).set_index(["when", "between"])
    assert (
        np.isnan(found.loc[("after", "repeats"), "estimate"])
        and found.loc[("after", "repeats"), "n"] == 0
    )


def test_what_is_missing_is_said(world: World, planted) -> None:
    table = run(world, planted, {"john": 1.0}, start="a", repeat=0)
    with pytest.raises(SchemaError, match="repeat is missing"):
        paths(table.drop(columns="repeat"), topics=["sport"])
    with pytest.raises(SchemaError, match="nothing is said"):
        paths(table, topics=["weather"])
