import numpy as np
import pandas as pd
import pytest

from persona_interp.analysis import contrast, expected_contrast
from persona_interp.errors import SchemaError, WorldError
from persona_interp.worlds import World, certain, count, john_and_sam

UNTAUGHT = ("sport", "art", "food", "music")


@pytest.fixture(scope="module")
def pair() -> World:
    return john_and_sam(john=3.0, sam=1.0)


def test_a_model_that_says_what_bayes_says_has_its_contrast(pair: World, planted) -> None:
    for evidence in ((), [{"place=beach"}], certain("place=beach")):
        statements = pair.posterior(evidence).statement
        (row,) = contrast(planted({0: statements}), pair, second="sam").to_dict("records")
        assert row["estimate"] == pytest.approx(expected_contrast(pair, evidence, second="sam"))
        own = statements.set_index("trait")["probability"]
        assert row["p_first"] == pytest.approx(
            own[[f"{t}={pair.topics[t][0]}" for t in UNTAUGHT]].mean()
        )
        assert row["p_second"] == pytest.approx(
            own[[f"{t}={pair.topics[t][1]}" for t in UNTAUGHT]].mean()
        )


def test_by_hand_when_only_the_two_like_the_beach(pair: World) -> None:
    # John three times as often as Sam: 3/4 and 1/4 of what noise leaves of a statement.
    p, q = 0.9 * 0.75 + 0.0125, 0.9 * 0.25 + 0.0125
    assert expected_contrast(pair, certain("place=beach"), second="sam") == pytest.approx(
        np.log2(p / q)
    )


def test_it_is_antisymmetric_and_zero_for_equals(pair: World, planted) -> None:
    table = planted({0: pair.posterior().statement}, sd=0.5)
    one = contrast(table, pair, first="john", second="sam").iloc[0]
    other = contrast(table, pair, first="sam", second="john").iloc[0]
    assert one["estimate"] == pytest.approx(-other["estimate"])
    assert (one["lo"], one["hi"]) == pytest.approx((-other["hi"], -other["lo"]))
    even = john_and_sam(john=2.0, sam=2.0)
    assert expected_contrast(even, certain("place=beach"), second="sam") == pytest.approx(0)


def test_every_checkpoint_and_run_has_a_row(pair: World, planted) -> None:
    statements = {
        0: pair.posterior().statement,
        40: pair.posterior(certain("place=beach")).statement,
    }
    table = pd.concat([planted(statements, seed=s, arm=f"arm {s}") for s in (0, 1)])
    contrasts = contrast(table, pair, second="sam")
    assert contrasts[["seed", "arm", "step", "n"]].values.tolist() == [
        [s, f"arm {s}", step, 4] for s in (0, 1) for step in (0, 40)
    ]
    assert (
        contrasts.query("step == 40")["estimate"].to_numpy()
        > contrasts.query("step == 0")["estimate"].to_numpy()
    ).all()


def test_realized_counts_and_populations_change_what_is_expected(pair: World) -> None:
    kinds = {"third": 1.0, "first": 1.0, "named": 1.0}
    world = john_and_sam()
    world = World(
        **{
            **vars(world),
            "weights": {"john": {**kinds, "hidden": 3.0}, "sam": {**kinds, "hidden": 1.0}},
        }
    )
    named = expected_contrast(
        world, certain("place=beach"), second="sam", population=("third", "first", "named")
    )
    hidden = expected_contrast(world, certain("place=beach"), second="sam", population="hidden")
    assert named == pytest.approx(0) and hidden > 1
    counted = expected_contrast(pair, second="sam", counts=count(pair.corpus(500)))
    assert counted != expected_contrast(pair, second="sam")


def test_bad_requests_are_named(pair: World, planted) -> None:
    table = planted({0: pair.posterior().statement})
    with pytest.raises(SchemaError, match="context 'named' is unknown"):
        contrast(table, pair, second="sam", context="named", speaker="john")
    with pytest.raises(SchemaError, match="topic 'food' is unknown"):
        contrast(table[table["topic"] != "food"], pair, second="sam")
    with pytest.raises(WorldError, match="did you mean 'sam'"):
        contrast(table, pair, second="sma")
    with pytest.raises(WorldError, match="hold the same untaught values"):
        contrast(table, pair, second="john")
