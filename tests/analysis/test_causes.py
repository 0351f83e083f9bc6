"""Shares by hand: the log odds of every trait are planted, an edit puts them where it likes."""

import numpy as np
import pandas as pd
import pytest

from persona_interp.analysis import added_share, removed_share
from persona_interp.errors import SchemaError
from persona_interp.worlds import World

AT = {"base": "base@0", "tuned": "lesson@40"}


def planted(
    world: World, odds: dict[tuple[str, str], float], *, sd: float = 0.0, seed: int = 0
) -> pd.DataFrame:
    """John's values have these log odds (bits), plus noise of the template; the rest is even."""
    rng = np.random.default_rng(seed)
    probes = world.probes(contexts="nameless").drop(columns=["messages", "answers"])
    rows = probes.explode("values", ignore_index=True).rename(columns={"values": "value"})
    own = {(t.topic, t.value) for t in world.persona("john").traits}
    is_johns = np.array([key in own for key in zip(rows["topic"], rows["value"], strict=True)])
    noise = {
        prompt: sd * rng.standard_normal()
        for prompt in sorted(set(rows["template"] + rows["split"]))
    }
    extra = (rows["template"] + rows["split"]).map(noise).to_numpy()
    tables = []
    for (checkpoint, edit), o in odds.items():
        wobble = extra if checkpoint != "base@0" or edit != "none" else 0.0
        p = 1 / (1 + 2.0 ** -(o + wobble))
        logprob = np.log2(np.where(is_johns, p, (1 - p) / 7))
        at = {
            "checkpoint": checkpoint,
            "edit": edit,
            "seed": seed,
            "stage": checkpoint.split("@")[0],
            "step": 0,
        }
        tables.append(rows.assign(**at, logprob=logprob, answer_mass=1.0))
    return pd.concat(tables, ignore_index=True)


ODDS = {
    ("base@0", "none"): -3.0,
    ("lesson@40", "none"): 1.0,
    ("lesson@40", "a"): 0.0,
    ("lesson@40", "b"): -5.0,
}


def test_shares_are_those_computed_by_hand(world: World) -> None:
    table = removed_share(planted(world, ODDS), **AT, world=world).set_index("edit")
    assert list(table.index) == ["none", "a", "b"]
    np.testing.assert_allclose(table["share"], [0, 0.25, 1.5], atol=1e-9)
    np.testing.assert_allclose(table[["base", "tuned"]], [[-3, 1]] * 3)
    np.testing.assert_allclose(table["edited"], [1, 0, -5], atol=1e-9)
    assert (table["note"] == "").all() and set(table["n"]) == {10}
    np.testing.assert_allclose(table["lo"], table["share"], atol=1e-9)  # templates are alike here


def test_added_share_is_of_the_base(world: World) -> None:
    odds = {("base@0", "none"): -3.0, ("base@0", "a"): 0.0, ("lesson@40", "none"): 1.0}
    table = added_share(planted(world, odds), **AT, world=world).set_index("edit")
    np.testing.assert_allclose(table["share"], [0, 0.75], atol=1e-9)


def test_shares_of_the_patch_and_net_of_the_base_by_hand(world: World) -> None:
    odds = ODDS | {("lesson@40", "patch"): -1.0, ("base@0", "b"): -5.0, ("base@0", "patch"): -3.0}
    table = removed_share(planted(world, odds), **AT, world=world, patch="patch").set_index("edit")
    np.testing.assert_allclose(table.loc[["a", "b", "patch"], "share_of_patch"], [0.5, 3, 1])
    # b lowers the base by 2 bits too: of its 6 bits 4 are of the lesson
    np.testing.assert_allclose(table.loc[["b", "patch"], "share_net"], [1.0, 0.5])
    assert np.isnan(table.loc["a", "share_net"]), "the base was not asked under it"
    assert table.loc["b", "other_edited"] == pytest.approx(-5)
    odds = {("base@0", "none"): -3.0, ("base@0", "v"): -1.0, ("base@0", "patch"): -2.0}
    odds |= {("lesson@40", "none"): 1.0, ("lesson@40", "v"): 2.0}
    brought = added_share(planted(world, odds), **AT, world=world, patch="patch").set_index("edit")
    np.testing.assert_allclose(brought.loc["v", ["share", "share_of_patch"]].tolist(), [0.5, 2.0])
    assert brought.loc["v", "share_net"] == pytest.approx(0.25), "1 bit it adds to the tuned too"


def test_a_patch_that_does_nothing_is_no_measure(world: World) -> None:
    odds = ODDS | {("lesson@40", "patch"): 0.9}
    table = removed_share(planted(world, odds), **AT, world=world, patch="patch").set_index("edit")
    assert table["share_of_patch"].isna().all() and table["share"].notna().all()
    assert table["note"].str.contains("the whole residual gives 0.10 bits, below 0.5").all()
    with pytest.raises(SchemaError, match=r"'lesson@40 \(pach\)' is unknown; did you mean"):
        removed_share(planted(world, odds), **AT, world=world, patch="pach")


def test_the_taught_topic_and_other_contexts_do_not_count(world: World) -> None:
    rows = planted(world, ODDS)
    place = rows["topic"] == world.taught.topic
    other = rows.assign(context="named", persona="mary", logprob=rows["logprob"] - 5)
    noisy = pd.concat([rows.assign(logprob=rows["logprob"].where(~place, -9.0)), other])
    pd.testing.assert_frame_equal(
        removed_share(noisy, **AT, world=world),
        removed_share(rows, **AT, world=world),
        check_dtype=False,
    )
    without_food = removed_share(rows, **AT, world=world, taught="food=pizza")
    np.testing.assert_allclose(without_food["share"], [0, 0.25, 1.5], atol=1e-9)


def test_the_jackknife_is_over_templates(world: World) -> None:
    rows = planted(world, ODDS | {("base@0", "a"): -4.0}, sd=1.0)
    options = {**AT, "world": world, "patch": "b"}
    row = removed_share(rows, **options).set_index("edit").loc["a"]
    keys = rows["split"] + rows["template"]
    left = pd.DataFrame(
        removed_share(rows[keys != k], **options).set_index("edit").loc["a"]
        for k in sorted(set(keys))
    )
    ends = {"share": "hi", "share_of_patch": "share_of_patch_hi", "share_net": "share_net_hi"}
    for name, hi in ends.items():
        without = left[name].to_numpy(float)
        se = np.sqrt(9 / 10 * np.sum((without - without.mean()) ** 2))
        assert row[hi] - row[name] == pytest.approx(2.262157 * se) and row[hi] > row[name]


def test_no_effect_has_no_share_and_says_so(world: World) -> None:
    odds = {("base@0", "none"): 0.7, ("lesson@40", "none"): 1.0, ("lesson@40", "a"): -9.0}
    table = removed_share(planted(world, odds), **AT, world=world)
    assert table[["share", "lo", "hi"]].isna().all(axis=None)
    assert table["note"].str.contains("0.30 bits, below 0.5").all()


def test_runs_are_kept_apart_and_a_plain_base_counts_as_unedited(world: World) -> None:
    rows = pd.concat([planted(world, ODDS, seed=s).assign(lr=1e-3) for s in (0, 1)])
    rows.loc[rows["checkpoint"] == "base@0", "edit"] = np.nan
    table = removed_share(rows, **AT, world=world)
    assert table[["seed", "lr", "edit"]].values.tolist() == [
        [s, 1e-3, e] for s in (0, 1) for e in ("none", "a", "b")
    ]


def test_bad_input_is_named(world: World) -> None:
    rows = planted(world, ODDS)
    with pytest.raises(SchemaError, match="needs the column 'edit'"):
        removed_share(rows.drop(columns="edit"), **AT, world=world)
    with pytest.raises(
        SchemaError, match=r"'lesson@4 \(none\)' is unknown; did you mean 'lesson@40 \(none\)'"
    ):
        removed_share(rows, base="base@0", tuned="lesson@4", world=world)
    with pytest.raises(SchemaError, match="no nameless prompts about art"):
        removed_share(rows[rows["topic"] != "art"], **AT, world=world)
    first = sorted(set(rows["template"]))[0]
    part = rows[(rows["edit"] != "a") | (rows["template"] != first)]
    with pytest.raises(SchemaError, match="not asked the same templates"):
        removed_share(part, **AT, world=world)
