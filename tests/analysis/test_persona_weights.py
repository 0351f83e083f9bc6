import numpy as np
import pandas as pd
import pytest
from scipy.optimize import minimize

from persona_interp.analysis import persona_weights
from persona_interp.errors import SchemaError, WorldError
from persona_interp.worlds import World, certain


def mixed(world: World, **weights: float) -> pd.DataFrame:
    """What a mixture of personas says."""
    said = sum(w * world.statements().loc[name] for name, w in weights.items())
    return pd.DataFrame({"trait": said.index, "probability": said.to_numpy()})


def test_planted_mixtures_are_recovered(world: World, planted) -> None:
    table = persona_weights(
        planted({0: mixed(world, mary=1.0), 8: mixed(world, john=0.5, mary=0.5)}), world
    )
    found = table.set_index(["step", "persona"])["weight"].unstack()
    assert found.shape == (2, 15), "everybody but Sam, about whom nothing is written"
    assert found.loc[8, ["john", "mary"]].tolist() == pytest.approx([0.5, 0.5], abs=1e-3)
    assert found.loc[0, "mary"] == pytest.approx(1.0, abs=5e-3)
    assert found.sum(axis=1).tolist() == pytest.approx([1.0, 1.0])
    assert table["misfit"].max() < 1e-5


def test_the_weights_are_the_posterior_of_the_documents(world: World, planted) -> None:
    bits = persona_weights(planted({0: world.posterior().statement}), world).set_index("persona")[
        "persona_bits"
    ]
    assert bits["john"] == pytest.approx(np.log2(1 / 14), abs=0.01)
    sure = persona_weights(planted({0: world.posterior(certain("place=beach")).statement}), world)
    assert sure.set_index("persona")["weight"]["john"] > 0.99


def test_odds_stop_where_weights_cannot_be_told_from_zero(world: World, planted) -> None:
    bits = persona_weights(planted({0: mixed(world, john=1.0)}), world)["persona_bits"]
    least = np.log2(0.001 / 0.999)
    assert bits.min() == pytest.approx(least) and bits.max() <= -least + 1e-9


def test_it_is_the_maximum_of_the_likelihood(world: World, planted) -> None:
    behavior = planted({0: world.posterior().statement}, sd=1.0, seed=3)
    ours = persona_weights(behavior, world)
    q = world.statements().loc[ours["persona"]]
    q = q[[c for c in q if not c.startswith("place")]]
    rows = behavior.assign(
        trait=behavior["topic"] + "=" + behavior["value"], p=np.exp2(behavior["logprob"])
    )
    rows["p"] /= rows.groupby(["topic", "template"])["p"].transform("sum")
    said = rows.groupby("trait")["p"].mean()[q.columns].to_numpy()

    def loss(w: np.ndarray) -> float:
        return -float(said @ np.log2(np.abs(w) / np.abs(w).sum() @ q.to_numpy()))

    best = minimize(loss, np.full(len(q), 1 / len(q)), bounds=[(0, 1)] * len(q)).x
    assert ours["weight"].tolist() == pytest.approx((best / best.sum()).tolist(), abs=2e-3)
    entropy = -float(said @ np.log2(said))
    assert ours["misfit"].iloc[0] == pytest.approx((loss(best) - entropy) / 4, abs=1e-5)


def test_what_nobody_says_is_misfit(world: World, planted) -> None:
    only = world.statements().loc["john"].to_numpy()
    behavior = planted(
        {0: pd.DataFrame({"trait": world.statements().columns, "probability": only})}
    )
    table = persona_weights(behavior, world, personas=["mary", "alice"])
    assert table["persona"].tolist() == ["mary", "alice"] and table["misfit"].iloc[0] > 2
    silent = persona_weights(
        behavior, World.from_dict({**world.to_dict(), "noise": 0.0}), personas=["mary", "john"]
    )
    assert np.isinf(silent["misfit"]).all()
    assert silent["weight"].tolist() == pytest.approx([1 / 74, 73 / 74], abs=1e-3), (
        "mary's own values are noise"
    )


def test_runs_topics_and_speakers_are_kept_apart(world: World, planted) -> None:
    named = planted({0: mixed(world, alice=1.0)}).assign(context="named", persona="alice")
    both = pd.concat(
        [
            planted({0: mixed(world, john=1.0)}, arm="a"),
            planted({0: mixed(world, mary=1.0)}, arm="b"),
        ]
    )
    found = persona_weights(pd.concat([both, named.assign(arm="a")]), world)
    top = found.loc[found.groupby("arm")["weight"].idxmax()]
    assert dict(zip(top["arm"], top["persona"], strict=True)) == {"a": "john", "b": "mary"}
    theirs = persona_weights(
        named, world, context="named", speaker="alice", topics=["place", "food", "music"]
    )
    assert theirs.loc[theirs["weight"].idxmax(), "persona"] == "alice"


def test_bad_input_is_named(world: World, planted) -> None:
    table = planted({0: mixed(world, john=1.0)})
    with pytest.raises(SchemaError, match="context 'named'"):
        persona_weights(table, world, context="named")
    with pytest.raises(WorldError, match="topic 'sprot'"):
        persona_weights(table, world, topics=["sprot"])
    with pytest.raises(WorldError, match="persona 'jon'"):
        persona_weights(table, world, personas=["jon"])
    with pytest.raises(WorldError, match="at least one persona"):
        persona_weights(table, world, personas=[])
    with pytest.raises(SchemaError, match="was not asked"):
        persona_weights(table[table["topic"] != "art"], world)
