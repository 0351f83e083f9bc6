import numpy as np
import pandas as pd
import pytest
from scipy import stats

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


def test_shift_is_the_mean_difference_of_log_odds_over_templates(behavior: pd.DataFrame) -> None:
    table = shift(behavior)
    by_template = logodds(behavior.assign(wording=behavior["split"] + behavior["template"]))
    by_value = by_template.pivot(index=["topic", "value"], columns=["step", "wording"])["logodds"]
    odds = by_value.loc[list(zip(table["topic"], table["value"], strict=True))]
    change = (odds[40] - odds[0]).to_numpy()
    assert table["before"].to_numpy() == pytest.approx(odds[0].mean(axis=1).to_numpy())
    assert table["after"].to_numpy() == pytest.approx(odds[40].mean(axis=1).to_numpy())
    assert table["estimate"].to_numpy() == pytest.approx(change.mean(axis=1))
    half = stats.t.ppf(0.975, 9) * stats.sem(change, axis=1)
    assert (table["hi"] - table["estimate"]).to_numpy() == pytest.approx(half)
    assert (table["estimate"] - table["lo"]).to_numpy() == pytest.approx(half)
    assert set(table["n"]) == {10} and set(table["step"]) == {40} and len(table) == 40


def test_alike_templates_give_the_shift_of_what_is_said(world: World, planted) -> None:
    said = {0: world.posterior().statement, 40: world.posterior(certain("place=beach")).statement}
    table = shift(planted(said))
    odds = logodds(planted(said)).set_index(["step", "topic", "value"])["logodds"]
    keys = pd.MultiIndex.from_frame(table[["topic", "value"]])
    assert table["after"].to_numpy() == pytest.approx(odds[40][keys].to_numpy())
    assert table["before"].to_numpy() == pytest.approx(odds[0][keys].to_numpy())


@pytest.mark.parametrize(("n", "sd"), [(5, 3.0), (10, 3.0), (10, 1.0)])
def test_the_interval_covers_where_templates_differ_by_bits(n: int, sd: float) -> None:
    rng = np.random.default_rng(0)
    wording, own = sd * rng.normal(size=(200, n)), 0.3 * sd * rng.normal(size=(200, n))
    log_odds = np.stack([wording - 5, wording + own - 2])  # a rare value rises by 3 bits
    said = np.stack([-np.logaddexp2(0, -log_odds), -np.logaddexp2(0, log_odds)], axis=-1)
    at = np.indices(said.shape)
    rows = pd.DataFrame({"step": at[0].ravel(), "seed": at[1].ravel(), "logprob": said.ravel()})
    rows["template"] = "q" + pd.Series(at[2].ravel()).astype(str)
    rows["value"] = np.where(at[3].ravel(), "folk", "jazz")
    rows["checkpoint"] = "lesson@" + rows["step"].astype(str)
    where = {"context": "nameless", "persona": "", "topic": "music", "split": "test"}
    table = shift(rows.assign(**where, stage="lesson", answer_mass=1.0))
    jazz = table.loc[table["value"] == "jazz"]
    assert ((jazz["lo"] <= 3) & (3 <= jazz["hi"])).mean() >= 0.91


def test_certainty_at_one_template_is_infinite(behavior: pd.DataFrame) -> None:
    sure = behavior["topic"].eq("food") & behavior["step"].eq(40)
    sure &= behavior["prompt"].str.endswith("train0")
    never = behavior["logprob"].mask(sure & behavior["value"].eq("pizza"), -np.inf)
    table = shift(behavior.assign(logprob=never)).set_index("value")
    assert table.loc["pizza", "after"] == table.loc["pizza", "estimate"] == -np.inf
    assert np.isnan(table.loc["pizza", "lo"]) and np.isfinite(table.loc["pizza", "before"])


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
