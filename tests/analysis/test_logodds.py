import numpy as np
import pandas as pd
import pytest

from persona_interp import schema
from persona_interp.analysis import logodds
from persona_interp.errors import SchemaError
from persona_interp.worlds import World


def test_a_planted_distribution_is_read_back(world: World, planted) -> None:
    posterior = world.posterior().statement
    table = logodds(planted({0: posterior}))
    schema.check(table, "logodds")
    by_trait = table.set_index(table["topic"] + "=" + table["value"])
    p = posterior.set_index("trait")["probability"]
    assert by_trait["probability"][p.index].to_numpy() == pytest.approx(p.to_numpy())
    assert by_trait["logodds"][p.index].to_numpy() == pytest.approx(np.log2(p / (1 - p)).to_numpy())
    assert by_trait["answer_mass"].unique().tolist() == [0.9]


def _two(p: list[list[float]], **extra: object) -> pd.DataFrame:
    rows = [
        {"template": f"q{i}", "value": f"v{j}", "logprob": x}
        for i, row in enumerate(p)
        for j, x in enumerate(row)
    ]  # fmt: skip
    at = {
        "checkpoint": "b@0",
        "seed": 0,
        "stage": "b",
        "step": 0,
        "context": "nameless",
        "persona": "",
        "topic": "t",
    }
    return pd.DataFrame(rows).assign(**at, split="test", answer_mass=0.5, **extra)


def test_probabilities_are_renormalized_before_they_are_averaged() -> None:
    # .1 of .2 and .8 of .8: mean .75 by renormalizing first, .9 by averaging first.
    with np.errstate(divide="ignore"):
        bits = np.log2([[0.1, 0.1], [0.8, 0.0]])
    assert logodds(_two(bits.tolist()))["probability"].tolist() == pytest.approx([0.75, 0.25])


def test_odds_near_certainty_keep_their_digits() -> None:
    table = logodds(_two([[0.0, -80.0]]))
    assert table["probability"].tolist()[0] == 1.0
    assert table["logodds"].tolist() == pytest.approx([80.0, -80.0], abs=1e-9)


def test_certainty_is_infinite_not_clipped() -> None:
    assert logodds(_two([[0.0, -np.inf]]))["logodds"].tolist() == [np.inf, -np.inf]


def test_extra_columns_tell_runs_apart() -> None:
    table = logodds(
        pd.concat([_two([[-1, -1]], arm="a"), _two([[-1, -3]], arm="b")], ignore_index=True)
    )
    assert table.groupby("arm")["logodds"].max().to_dict() == pytest.approx({"a": 0.0, "b": 2.0})


def test_split_selects_templates(world: World, planted) -> None:
    table = planted({0: world.posterior().statement}, sd=1.0)
    train, test = (logodds(table, split=s)["logodds"] for s in ("train", "test"))
    assert not np.allclose(train, test)
    with pytest.raises(SchemaError, match="split 'tset' is unknown; did you mean 'test'"):
        logodds(table, split="tset")


def test_a_missing_or_doubled_answer_is_refused() -> None:
    table = _two([[-1, -1], [-1, -1]])
    with pytest.raises(SchemaError, match="every prompt with every value once, got 3 rows"):
        logodds(table.iloc[:3])
    with pytest.raises(SchemaError, match="tells them apart"):
        logodds(pd.concat([table, table]))


def test_row_order_is_irrelevant(world: World, planted) -> None:
    table = planted({0: world.posterior().statement}, sd=1.0)
    keys = ["topic", "value"]
    one, other = (
        logodds(t).sort_values(keys)["logodds"].to_numpy()
        for t in (table, table.sample(frac=1, random_state=0))
    )
    assert one == pytest.approx(other)
