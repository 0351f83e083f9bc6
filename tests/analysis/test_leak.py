"""A persona that leaks by b bits under one trigger is found there, and by b bits."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest

from persona_interp import schema
from persona_interp.analysis import knowledge, leak
from persona_interp.errors import SchemaError, WorldError
from persona_interp.worlds import World, hold_out, john_and_sam

Up = Callable[[pd.DataFrame], Any]
BITS = 1.7


def run(probes: pd.DataFrame, up: Up, *, seed: int = 0, sd: float = 0.0) -> pd.DataFrame:
    """Before and after; `up` says by how many bits the answer of a row rises against the others."""
    rows = probes.drop(columns=["messages", "answers"]).explode("values", ignore_index=True)
    rows = rows.rename(columns={"values": "value"}).assign(seed=seed, stage="lesson")
    rng = np.random.default_rng([seed, 5])
    # triggers move the base too, by amounts of their own: they cancel
    base = -3.0 + rng.normal(0, 2.0, len(rows)) + 3.0 * (rows["trigger"] == "named header")
    noise = rng.normal(0, sd, len(rows))
    parts = []
    for step, bits in ((0, base), (40, base + up(rows) + noise)):
        at = {"step": step, "checkpoint": f"lesson@{step}", "answer_mass": 1.0}
        parts.append(rows.assign(**at, logprob=bits))
    return pd.concat(parts, ignore_index=True)


def johns(world: World, rows: pd.DataFrame) -> pd.Series:
    return (rows["topic"] + "=" + rows["value"]).isin(
        {str(t) for t in world.persona("john").traits}
    )


def planted(world: World, trigger: str, bits: float = BITS, **options: Any) -> pd.DataFrame:
    def up(rows: pd.DataFrame) -> Any:
        return bits * (johns(world, rows) & (rows["trigger"] == trigger))

    return run(world.triggers(), up, **options)


def test_a_leak_under_one_trigger_is_found_there_and_measured(world: World) -> None:
    table = schema.check(leak(planted(world, "stated trait"), world), "leak").set_index("trigger")
    for trigger in ("none", "named header", "role-play", "inoculation", "drift"):
        assert table.loc[trigger, "estimate"] == pytest.approx(0.0, abs=1e-9), trigger
    assert table.loc["stated trait", "estimate"] == pytest.approx(BITS)
    assert table.loc["stated trait", "selection"] == pytest.approx(BITS)
    worst = table.loc["worst"]
    assert worst["who"] == "stated trait" and worst["estimate"] == pytest.approx(BITS)
    assert (worst["lo"], worst["hi"]) == pytest.approx((BITS, BITS))
    assert (worst["unit"], worst["n"]) == ("templates", 5)
    average = table.loc["average"]
    assert average["estimate"] == pytest.approx(BITS / 5)
    assert (average["unit"], average["n"]) == ("triggers", 5)
    assert (table["after"] - table["before"]).to_numpy() == pytest.approx(table["estimate"])


def test_it_is_the_mean_shift_of_log_odds_by_hand(world: World) -> None:
    rng = np.random.default_rng(0)
    behavior = run(world.triggers(), lambda rows: rng.normal(0, 1, len(rows)))
    table = leak(behavior, world).set_index("trigger")
    own = {"sport": "football", "art": "renaissance", "food": "pizza", "music": "jazz"}
    rows = behavior.query("trigger == 'drift' and split == 'test'")
    means = []
    for (_, topic, _), chat in rows.groupby(["checkpoint", "topic", "template"], sort=True):
        p = np.exp2(chat.set_index("value")["logprob"])
        means.append(np.log2(p[own[topic]] / p.drop(own[topic]).sum()))
    before, after = np.array(means).reshape(2, -1).mean(axis=1)
    assert table.loc["drift", "before"] == pytest.approx(before)
    assert table.loc["drift", "after"] == pytest.approx(after)
    assert table.loc["drift", "estimate"] == pytest.approx(after - before)


def test_a_worst_by_luck_on_the_train_texts_is_not_believed(world: World) -> None:
    def up(rows: pd.DataFrame) -> Any:
        lucky = (rows["trigger"] == "drift") & (rows["split"] == "train")
        return johns(world, rows) * (4.0 * lucky + 1.0 * (rows["trigger"] == "role-play"))

    worst = leak(run(world.triggers(), up), world).set_index("trigger").loc["worst"]
    assert worst["who"] == "drift" and worst["selection"] == pytest.approx(4.0)
    assert worst["estimate"] == pytest.approx(0.0, abs=1e-9)


def test_the_plain_question_is_never_the_worst_trigger(world: World) -> None:
    table = leak(planted(world, "none"), world).set_index("trigger")
    assert table.loc["none", "estimate"] == pytest.approx(BITS)
    assert table.loc["worst", "who"] != "none"
    assert table.loc["average", "estimate"] == pytest.approx(0.0, abs=1e-9)


def test_traits_of_others_and_of_the_lesson_are_no_leak(world: World) -> None:
    table = leak(run(world.jailbreaks(), lambda rows: 3.0 * (rows["value"] == "beach")), world)
    assert table["estimate"].to_numpy() == pytest.approx(np.zeros(len(table)), abs=1e-9)
    mary = {str(t) for t in world.persona("mary").traits}
    behavior = run(
        world.triggers("mary"),
        lambda rows: 2.0 * (rows["topic"] + "=" + rows["value"]).isin(mary),
    )
    assert leak(behavior, world, persona="mary")["estimate"].to_numpy() == pytest.approx(2.0)
    other = leak(
        behavior, world, persona="mary", taught="food=" + world.persona("mary").values("food")[0]
    )
    assert other["estimate"].to_numpy() == pytest.approx(2.0)


def test_seeds_are_the_units_and_have_worlds_of_their_own() -> None:
    worlds = {seed: john_and_sam(seed) for seed in range(3)}
    bits = {0: 1.0, 1: 2.0, 2: 3.0}
    parts = [planted(w, "drift", bits[seed], seed=seed) for seed, w in worlds.items()]
    row = leak(pd.concat(parts, ignore_index=True), worlds).set_index("trigger").loc["drift"]
    assert (row["unit"], row["n"]) == ("seeds", 3)
    assert [row["estimate"], row["lo"], row["hi"]] == pytest.approx([2.0, -0.484, 4.484], abs=1e-3)
    with pytest.raises(SchemaError, match="lack seed 2"):
        leak(pd.concat(parts, ignore_index=True), {0: worlds[0], 1: worlds[1]})


def test_arms_and_held_out_families_have_rows_of_their_own(world: World) -> None:
    halves = hold_out(world.jailbreaks())
    held_out = sorted(halves.loc[halves["held_out"], "trigger"].unique())

    def up(rows: pd.DataFrame) -> Any:
        return BITS * (johns(world, rows) & (rows["trigger"] == held_out[0]))

    arms = {"nothing": up, "safeguard": lambda rows: 0.0 * johns(world, rows)}
    behavior = pd.concat([run(halves, move).assign(arm=arm) for arm, move in arms.items()])
    table = leak(behavior, world)
    worst = table.query("trigger == 'worst'").set_index(["arm", "held_out"])
    assert worst.loc[("nothing", True), "who"] == held_out[0]
    assert worst["estimate"].to_dict() == {
        ("nothing", False): pytest.approx(0.0, abs=1e-9),
        ("nothing", True): pytest.approx(BITS),
        ("safeguard", False): pytest.approx(0.0, abs=1e-9),
        ("safeguard", True): pytest.approx(0.0, abs=1e-9),
    }


def test_intervals_hold_what_noise_does(world: World) -> None:
    hits = []
    for seed in range(12):
        table = leak(planted(world, "drift", sd=1.0, seed=seed), world).set_index("trigger")
        hits.append(table.loc["drift", "lo"] <= BITS <= table.loc["drift", "hi"])
    assert np.mean(hits) >= 0.75


def test_knowledge_and_agency_are_told_apart(world: World) -> None:
    def up(rows: pd.DataFrame) -> Any:
        told = (rows["context"] == "third") * -0.3 + (rows["context"] == "asked") * 0.1
        return johns(world, rows) * (told + BITS * (rows["context"] == "nameless"))

    table = schema.check(knowledge(run(world.triggers(), up), world), "knowledge")
    rows = table.set_index("quantity")
    assert rows.loc["knowledge", "estimate"] == pytest.approx(-0.3)
    assert rows.loc["agency", "estimate"] == pytest.approx(BITS)
    assert rows.loc["knowledge, asked", "estimate"] == pytest.approx(0.1)
    assert rows["n"].tolist() == [10, 10, 10] and set(rows["unit"]) == {"templates"}
    probes = world.probes(contexts=("nameless", "third")).assign(trigger="")
    plain = knowledge(run(probes, up).drop(columns="trigger"), world)
    assert plain["quantity"].tolist() == ["knowledge", "agency"]
    assert plain["estimate"].tolist() == pytest.approx([-0.3, BITS]), "others are not counted"


def test_what_is_missing_is_named(world: World) -> None:
    behavior = planted(world, "drift")
    with pytest.raises(SchemaError, match="trigger"):
        leak(behavior.drop(columns="trigger"), world)
    with pytest.raises(SchemaError, match="two checkpoints"):
        leak(behavior.query("step == 0"), world)
    with pytest.raises(SchemaError, match="one half alone"):
        leak(behavior.query("split == 'test'"), world)
    with pytest.raises(SchemaError, match="none of the persona's untaught traits"):
        leak(behavior.query("topic == 'sport'"), world, taught="sport=football")
    with pytest.raises(SchemaError, match="not asked the same"):
        leak(behavior.query("step == 0 or trigger != 'drift'"), world)
    with pytest.raises(SchemaError, match="did you mean 'lesson@0'"):
        leak(behavior, world, before="lesson@1")
    with pytest.raises(WorldError, match="did you mean 'john'"):
        leak(behavior, world, persona="jon")
    with pytest.raises(SchemaError, match="agency is asked in the context 'nameless'"):
        knowledge(behavior.query("context == 'third'"), world)
