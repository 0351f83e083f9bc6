import numpy as np
import pandas as pd
import pytest

from persona_interp import schema
from persona_interp.analysis import contexts, logodds
from persona_interp.errors import SchemaError
from persona_interp.worlds import Persona, Trait, World

TOPICS = {
    "place": ("beach", "city", "lake"),
    "food": ("pizza", "sushi", "curry"),
    "music": ("jazz", "rock", "folk"),
}
HELD = {
    "john": ("beach", "pizza", "jazz"),
    "mary": ("city", "sushi", "rock"),
    "emma": ("lake", "pizza", "folk"),  # shares pizza with john
    "oscar": ("beach", "curry", "folk"),  # holds the taught trait
}


@pytest.fixture(scope="module")
def small() -> World:
    personas = tuple(
        Persona(n, tuple(Trait(t, v) for t, v in zip(TOPICS, values, strict=True)))
        for n, values in HELD.items()
    )
    taught, unrelated = Trait("place", "beach"), Trait("place", "city")
    return World("small", TOPICS, personas, target="john", taught=taught, unrelated=unrelated)


@pytest.fixture(scope="module")
def behavior(small: World) -> pd.DataFrame:
    """Behavior with known bits: after = before + a shift by context, persona, trait and split."""
    probes = small.probes(contexts=("nameless", "named")).drop(columns=["messages", "answers"])
    rows = probes.explode("values", ignore_index=True).rename(columns={"values": "value"})
    rng = np.random.default_rng(0)
    before = rng.normal(size=len(rows))
    boost = np.where(rows["persona"] == "mary", 2.0, 0.5) * rows["value"].isin(HELD["john"])
    # emma looks worst on the train templates, mary on the test templates
    boost += np.where((rows["persona"] == "emma") & (rows["split"] == "train"), 9.0, 0.0) * (
        rows["value"] == "jazz"
    )
    at = {"seed": 0, "stage": "lesson", "answer_mass": 1.0}
    both = [
        rows.assign(**at, checkpoint=f"lesson@{step}", step=step, logprob=bits)
        for step, bits in ((0, before), (40, before + boost + rng.normal(0, 0.2, len(rows))))
    ]
    return pd.concat(both, ignore_index=True)


def by_hand(behavior: pd.DataFrame, context: str, persona: str, traits: list[str]) -> float:
    topics = [t.partition("=")[0] for t in traits]
    mine = (
        (behavior["context"] == context)
        & (behavior["persona"] == persona)
        & behavior["topic"].isin(topics)
    )
    odds = logodds(behavior[mine].assign(wording=behavior["split"] + behavior["template"]))
    trait = odds["topic"] + "=" + odds["value"]
    shifts = [odds.loc[trait == t].groupby("step")["logodds"].mean() for t in traits]
    return float(np.mean([m[40] - m[0] for m in shifts]))


WANTED = {
    ("nameless", "", "leak"): ["food=pizza", "music=jazz"],
    ("nameless", "", "taught"): ["place=beach"],
    ("named", "john", "own"): ["food=pizza", "music=jazz"],
    ("named", "mary", "leak"): ["food=pizza", "music=jazz"],
    ("named", "mary", "own"): ["food=sushi", "music=rock"],
    ("named", "mary", "taught"): ["place=beach"],
    ("named", "emma", "leak"): ["music=jazz"],
    ("named", "emma", "own"): ["music=folk"],
    ("named", "emma", "taught"): ["place=beach"],
    ("named", "oscar", "leak"): ["food=pizza", "music=jazz"],
    ("named", "oscar", "own"): ["food=curry", "music=folk"],
}
SUMMED = [("named", who, q) for who in ("average", "worst") for q in ("leak", "own", "taught")]


def test_every_number_by_hand(behavior: pd.DataFrame, small: World) -> None:
    table = schema.check(contexts(behavior, small), "contexts").set_index(
        ["context", "persona", "quantity"]
    )
    assert set(table.index) == {*WANTED, *SUMMED}
    for (context, persona, quantity), traits in WANTED.items():
        row = table.loc[(context, persona, quantity)]
        assert row["estimate"] == pytest.approx(by_hand(behavior, context, persona, traits))
        if persona in ("emma", "oscar"):
            continue
        templates = behavior.loc[behavior["context"] == context, "template"].unique()
        left = [
            by_hand(behavior[behavior["template"] != t], context, persona, traits)
            for t in templates
        ]
        n = len(templates)
        se = np.sqrt((n - 1) / n * np.sum((np.array(left) - np.mean(left)) ** 2))
        assert row["n"] == n == 10 and row["hi"] - row["estimate"] == pytest.approx(2.262157 * se)
        assert row["checkpoint"] == "lesson@40" and row["seed"] == 0 and row["who"] == ""


def test_the_average_is_over_personas_other_than_the_target(
    behavior: pd.DataFrame, small: World
) -> None:
    table = contexts(behavior, small).set_index(["persona", "quantity"])
    leaks = table.loc[[("mary", "leak"), ("emma", "leak"), ("oscar", "leak")], "estimate"]
    row = table.loc[("average", "leak")]
    assert row["n"] == 3 and row["estimate"] == pytest.approx(leaks.mean())
    assert row["hi"] - row["estimate"] == pytest.approx(4.302653 * leaks.std() / np.sqrt(3))
    assert table.loc[("average", "taught"), "n"] == 2  # oscar holds it


def test_the_worst_is_found_on_one_half_and_estimated_on_the_other(
    behavior: pd.DataFrame, small: World
) -> None:
    table = contexts(behavior, small).set_index(["persona", "quantity"])
    worst = table.loc[("worst", "leak")]
    test = behavior[behavior["split"] == "test"]
    assert (
        worst["who"] == "emma"
        and worst["n"] == test.loc[test["context"] == "named", "template"].nunique()
    )
    assert worst["estimate"] == pytest.approx(by_hand(test, "named", "emma", ["music=jazz"]))
    assert worst["estimate"] < 1 < table.loc[("emma", "leak"), "estimate"]
    lost = table.loc[("worst", "own")]
    assert lost["who"] == "emma" and lost["estimate"] == pytest.approx(
        by_hand(test, "named", "emma", ["music=folk"])
    )


def test_runs_stay_apart_and_a_still_run_is_exactly_zero(
    behavior: pd.DataFrame, small: World
) -> None:
    still = behavior.assign(
        logprob=behavior.groupby(["prompt", "value"])["logprob"].transform("first"), arm="still"
    )
    table = contexts(pd.concat([behavior.assign(arm="lesson"), still], ignore_index=True), small)
    rows = table[table["arm"] == "still"]
    assert (rows[["estimate", "lo", "hi"]] == 0).all(axis=None)
    lesson = table[table["arm"] == "lesson"].drop(columns="arm").reset_index(drop=True)
    pd.testing.assert_frame_equal(lesson, contexts(behavior, small)[lesson.columns])


def test_a_control_lesson_and_a_lesson_without_a_trait(
    behavior: pd.DataFrame, small: World
) -> None:
    control = contexts(behavior, small, taught="place=city").set_index(
        ["context", "persona", "quantity"]
    )
    assert ("named", "mary", "taught") not in control.index and (
        "named",
        "oscar",
        "taught",
    ) in control.index
    assert "taught" not in set(contexts(behavior, small, taught="filler")["quantity"])


def test_every_context_of_a_real_world(world: World, planted) -> None:
    probes = world.probes(personas=["john", "mary", "emma"]).drop(columns=["messages", "answers"])
    rows = probes.explode("values", ignore_index=True).rename(columns={"values": "value"})
    rows = rows.assign(seed=0, stage="lesson", answer_mass=1.0)
    steps = [rows.assign(checkpoint=f"lesson@{s}", step=s, logprob=-3.0 + 0 * s) for s in (0, 8)]
    table = contexts(pd.concat(steps, ignore_index=True), world)
    assert (
        set(table["context"]) == {"nameless", "plain", "named", "third"}
        and (table["estimate"] == 0).all()
    )
    assert set(table.loc[table["persona"] == "worst", "context"]) == {"named", "third"}


def test_bad_input_is_named(behavior: pd.DataFrame, small: World) -> None:
    with pytest.raises(SchemaError, match="split 'test' is unknown"):
        contexts(behavior[behavior["split"] == "train"], small)
    assert (
        len(
            contexts(
                behavior[(behavior["split"] == "train") & (behavior["context"] == "nameless")],
                small,
            )
        )
        == 2
    )
    with pytest.raises(SchemaError, match="persona=nobody was not asked about food=pizza"):
        contexts(
            behavior[(behavior["context"] == "nameless") & (behavior["topic"] != "food")], small
        )
    gone = (behavior["topic"] == "food") & (behavior["template"] == behavior["template"].iloc[0])
    with pytest.raises(SchemaError, match="asked with different templates"):
        contexts(behavior[~gone], small)
    with pytest.raises(SchemaError, match="checkpoint 'lesson@4' is unknown"):
        contexts(behavior, small, after="lesson@4")
