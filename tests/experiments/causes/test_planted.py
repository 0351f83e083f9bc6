"""A finetune that adds a known vector: that vector is the cause, and nothing else is."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from persona_interp import experiments
from persona_interp.schema.words import Carries, Group, Way
from tests.experiments.causes.conftest import AXIS

pytestmark = pytest.mark.slow
Run = tuple[Path, dict[str, pd.DataFrame]]


def rows_of(tables: dict[str, pd.DataFrame], **values: str) -> pd.DataFrame:
    """Rows of behavior with these values."""
    table = tables["carriers"]
    table = table.loc[table["measure"] == "behavior"]
    for column, value in values.items():
        table = table.loc[table[column] == value]
    return table.set_index("candidate")


def test_the_planted_vector_is_all_of_the_effect(run: Run) -> None:
    for way in (Way.REMOVED, Way.ADDED):
        own = rows_of(run[1], how=way, group=Group.CANDIDATE)
        names = ["john: given", "moved: main axis", "parts: top feature"]
        shares = own.loc[names, ["share", "share_of_patch", "tuned_lo", "tuned_hi"]]
        np.testing.assert_allclose(shares.to_numpy(np.float64), 1, atol=1e-3)
        assert set(own.loc[names, "n_tuned"]) == {3}
    removed = rows_of(run[1], how=Way.REMOVED, group=Group.CANDIDATE)
    assert set(removed.loc[names, "verdict"]) == {Carries.CARRIES}


def test_nothing_else_is(run: Run) -> None:
    others = rows_of(run[1], how=Way.REMOVED, group=Group.OTHER)
    assert list(others.index) == ["mary: given"] and set(others["verdict"]) == {""}
    assert others["share_of_patch"].abs().max() < 0.5
    own = rows_of(run[1], how=Way.REMOVED, group=Group.CANDIDATE)
    assert (own["null_lo"] < 0).all() and (own["null_hi"] > 0).all()
    assert (own["null_hi"] < 1).all()


def test_the_feature_that_carries_is_ranked_first(run: Run) -> None:
    first = run[1]["ranking"].iloc[0]
    assert (first["feature"], first["rank"], first["n_tuned"]) == (AXIS + 32, 1, 3)
    assert first["before"] == 0 and first["after"] > 2


def test_candidates_are_chosen_on_other_questions(run: Run) -> None:
    store = run[0]
    measured = [pd.read_parquet(path) for path in store.rglob("measured.parquet")]
    asked = {template for table in measured for template in table["template"]}
    assert measured and {split for table in measured for split in table["split"]} == {"test"}
    items = pd.read_parquet(next(store.rglob("items.parquet")))
    assert not asked & set(items.loc[items["split"] == "train", "template"])


def test_a_push_the_other_way_does_not_bring_it(run: Run) -> None:
    pushed = rows_of(run[1], how=Way.PUSHED, group=Group.CANDIDATE)
    opposite = rows_of(run[1], how=Way.OPPOSITE, group=Group.CANDIDATE)
    assert (pushed["strength"] > 0).all() and (opposite["strength"] < 0).all()
    assert opposite["share"].max() < pushed["share"].max()


def test_what_is_said_is_judged_beside(run: Run) -> None:
    text = run[1]["carriers"].query("measure == 'text'")
    assert len(text) and text["share_of_patch"].isna().all()
    assert (text["nats"] > 0).all()


def test_the_report_says_what_carries(run: Run) -> None:
    page = experiments.report(run[0]).read_text()
    assert "Taken out of the tuned model" in page and Carries.CARRIES in page
