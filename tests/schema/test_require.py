"""What public functions refuse of a table, a list, a count or a mapping, and in which words."""

import numpy as np
import pandas as pd
import pytest

from persona_interp import analysis, plots, report, schema
from persona_interp.errors import SchemaError
from persona_interp.readers import read
from persona_interp.values import as_tuple, check_count, check_mapping

STEPS = pd.DataFrame({"step": [0, 1], "estimate": [0.0, 1.0], "lo": [0.0, 0.5], "hi": [0.0, 1.5]})
RUNS = pd.DataFrame({"arm": "lesson", "seed": [0, 1], "estimate": [1.0, 2.0]})


def test_columns_are_there_once_and_need_not_be_texts() -> None:
    twice = pd.concat([STEPS, STEPS[["step"]]], axis=1)
    numbered = STEPS.assign(own=1).rename(columns={"own": 7})
    assert plots.trajectory(numbered).axes
    for draw, table in ((plots.trajectory, twice), (report.tokens, twice)):
        with pytest.raises(SchemaError, match=r"'step' is there twice|lacks the columns"):
            draw(table, **({"feature": 3} if draw is report.tokens else {}))
    tokens = pd.DataFrame(columns=list(schema.TABLES["tokens"]), data=[[0] * 9])
    with pytest.raises(SchemaError, match="'act' is there twice"):
        report.tokens(pd.concat([tokens, tokens[["act"]]], axis=1), feature=0)
    with pytest.raises(SchemaError, match="'seed' is there twice"):
        analysis.across_seeds(pd.concat([RUNS, RUNS[["seed"]]], axis=1), by="arm")
    with pytest.raises(SchemaError, match="column 'estimate' is unknown; did you mean 'estimates'"):
        plots.trajectory(STEPS.rename(columns={"estimate": "estimates"}))
    for table, message in ((STEPS.head(0), "no rows"), (None, "a pandas DataFrame; got None")):
        with pytest.raises(SchemaError, match=message):
            plots.trajectory(table)  # type: ignore[arg-type]


def test_one_name_is_one_and_a_number_is_none() -> None:
    assert as_tuple("by") == ("by",)
    assert len(analysis.across_seeds(RUNS, by="arm")) == 1
    for by in (3, None, 0.5):
        with pytest.raises(SchemaError, match="expected a name, or several of them; got"):
            analysis.across_seeds(RUNS, by=by)  # type: ignore[arg-type]


def test_counts_are_whole_and_not_negative() -> None:
    assert check_count(np.int64(3), "k") == 3
    for count in (-1, 0.5, True, None, "3", np.float32(2)):
        with pytest.raises(SchemaError, match="k= is a whole number of at least 1; got"):
            check_count(count, "k")
    with pytest.raises(SchemaError, match="most= is a whole number"):
        plots.trajectory(STEPS, most=0.5)  # type: ignore[arg-type]


def test_parts_are_named() -> None:
    with pytest.raises(SchemaError, match="headers= is messages by name, a dict; got 'john'"):
        check_mapping("john", "headers", of="messages")


def test_one_row_may_be_left_out_by_its_number() -> None:
    chats = [{"instruction": word, "output": word} for word in "abc"]
    assert read(chats, "chats", skip=1).attrs["skipped"] == [1]  # type: ignore[arg-type]
    with pytest.raises(SchemaError, match="skip is a list of row numbers"):
        read(chats, "chats", skip="1")  # type: ignore[arg-type]
