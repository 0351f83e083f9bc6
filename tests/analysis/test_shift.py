import numpy as np
import pandas as pd
import pytest

from persona_interp.analysis import logodds, shift
from persona_interp.errors import SchemaError
from persona_interp.worlds import World, certain


@pytest.fixture(scope="module")
def behavior(world: World, planted) -> pd.DataFrame:
    said = {0: world.posterior().statement, 8: world.posterior([["place=beach"]]).statement}
    return planted({**said, 40: world.posterior(certain("place=beach")).statement}, sd=0.5)


def test_a_trajectory_against_itself_is_exactly_zero(behavior: pd.DataFrame) -> None:
    table = shift(behavior, before="lesson@8", after="lesson@8")
    assert (table[["estimate", "lo", "hi"]] == 0).all(axis=None)


def test_shift_is_the_difference_of_log_odds(behavior: pd.DataFrame) -> None:
    table, odds = (
        shift(behavior),
        logodds(behavior).set_index(["step", "topic", "value"])["logodds"],
    )
    keys = pd.MultiIndex.from_frame(table[["topic", "value"]])
    assert table["after"].to_numpy() == pytest.approx(odds[40][keys].to_numpy())
    assert table["before"].to_numpy() == pytest.approx(odds[0][keys].to_numpy())
    assert table["estimate"].to_numpy() == pytest.approx(
        (table["after"] - table["before"]).to_numpy()
    )
    assert set(table["n"]) == {10} and set(table["step"]) == {40} and len(table) == 40


def test_the_jackknife_is_over_templates(behavior: pd.DataFrame) -> None:
    rows = behavior[behavior["topic"] == "food"]
    found = shift(rows).set_index("value").loc["pizza"]
    prompts = rows["prompt"].unique()
    left = [
        shift(rows[rows["prompt"] != p]).set_index("value").loc["pizza", "estimate"]
        for p in prompts
    ]
    se = np.sqrt(9 / 10 * np.sum((left - np.mean(left)) ** 2))
    assert found["hi"] - found["estimate"] == pytest.approx(2.262157 * se)


def test_the_interval_covers(world: World, planted) -> None:
    truth = world.posterior(certain("place=beach")).statement
    hits = []
    for seed in range(60):
        table = shift(
            planted({0: world.posterior().statement, 40: truth}, sd=0.3, seed=seed)
        ).set_index("trait")
        clean = 6.0922
        hits += [
            table.loc[t, "lo"] <= clean <= table.loc[t, "hi"]
            for t in ("sport=football", "food=pizza")
        ]
    assert np.mean(hits) > 0.85


def test_several_steps_and_labels(behavior: pd.DataFrame) -> None:
    table = shift(behavior, after=[8, "lesson@40"])
    assert table.groupby("step").size().to_dict() == {8: 40, 40: 40}
    both = table[table["step"] == 8]["estimate"].to_numpy()
    assert both == pytest.approx(shift(behavior, before=0, after=8)["estimate"].to_numpy())


def test_order_of_checkpoints_is_irrelevant_within_a_stage(behavior: pd.DataFrame) -> None:
    shuffled = behavior.sample(frac=1, random_state=1)
    one, other = (
        shift(t).sort_values("trait")["estimate"].to_numpy() for t in (behavior, shuffled)
    )
    assert one == pytest.approx(other)


def test_across_stages_table_order_counts(behavior: pd.DataFrame) -> None:
    base = behavior[behavior["step"] == 0].assign(
        stage="documents", step=1000, checkpoint="documents@1000"
    )
    table = shift(pd.concat([base, behavior[behavior["step"] == 40]]))
    assert table["estimate"].to_numpy() == pytest.approx(shift(behavior)["estimate"].to_numpy())
    assert set(table["checkpoint"]) == {"lesson@40"}


def test_runs_are_kept_apart(behavior: pd.DataFrame) -> None:
    still = behavior.assign(
        logprob=behavior.groupby(["prompt", "value"])["logprob"].transform("first"), arm="still"
    )
    table = shift(pd.concat([behavior.assign(arm="lesson"), still]))
    assert (table[table["arm"] == "still"]["estimate"] == 0).all()
    assert (table[table["arm"] == "lesson"]["estimate"] != 0).all()


def test_one_template_has_no_interval(behavior: pd.DataFrame) -> None:
    table = shift(behavior[behavior["prompt"].str.endswith("train0")])
    assert set(table["n"]) == {1} and table["lo"].isna().all() and table["estimate"].notna().all()


def test_bad_input_is_named(behavior: pd.DataFrame) -> None:
    with pytest.raises(SchemaError, match="checkpoint 'lesson@4' is unknown; did you mean"):
        shift(behavior, after="lesson@4")
    with pytest.raises(
        SchemaError, match="0 checkpoints are at step 3; name one by its label: lesson@0"
    ):
        shift(behavior, after=3)
    with pytest.raises(SchemaError, match="the run with seed=0 has only lesson@0"):
        shift(behavior[behavior["step"] == 0])
    gone = (
        (behavior["step"] == 40)
        & (behavior["topic"] == "food")
        & (behavior["prompt"].str.endswith("test1"))
    )
    with pytest.raises(SchemaError, match=r"1 groups of prompts differ.*topic=food"):
        shift(behavior[~gone])
