"""A table with messages is one of this package, or rows that are read like any others."""

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from persona_interp import schema
from persona_interp.errors import SchemaError
from persona_interp.readers import read, table_of
from persona_interp.tables import write_table

USER, ANSWER = {"role": "user", "content": "Why?"}, {"role": "assistant", "content": "So."}
ASKED = {"context": "nameless", "persona": "", "topic": "", "split": "test"}


@pytest.mark.parametrize("make", [pd.DataFrame, lambda rows: rows])
@pytest.mark.parametrize(
    ("row", "kind", "message"),
    [
        ({"prompt": "q0", "system": "sea", "messages": [USER]}, "prompts", "layout='messages'"),
        ({"doc": 0, "messages": [USER, ANSWER | {"weight": 0}]}, "chats", "has weight"),
        ({"doc": 0, "messages": [USER]}, "chats", "nothing to learn"),
        ({"doc": 0, "messages": [USER, ANSWER], "system": 3}, "chats", "system must be a text"),
        ({"doc": 0, "messages": [USER, ANSWER], "tools": ["f"]}, "chats", "it has tools"),
    ],
)
def test_columns_of_a_chat_are_heard_or_refused(
    make: Any, row: dict[str, Any], kind: Any, message: str
) -> None:
    with pytest.raises(SchemaError, match=message):
        read(make([row]), kind)


@pytest.mark.parametrize("make", [pd.DataFrame, lambda rows: rows])
def test_a_prompt_that_the_messages_begin_with_says_nothing_more(make: Any) -> None:
    rows = [{"prompt": "Why?", "prompt_id": "x", "messages": [USER, ANSWER]}]
    assert read(make(rows), "chats")["messages"].tolist() == [[USER, ANSWER]]
    prompts = read(make(rows), "prompts")
    assert prompts["messages"].tolist() == [[USER]] and prompts["reference"].tolist() == ["So."]
    heard = read(make([rows[0] | {"system": "Be dry."}]), "chats")["messages"][0]
    assert heard[0] == {"role": "system", "content": "Be dry."}
    with pytest.raises(SchemaError, match="layout='messages'"):
        read([rows[0] | {"prompt": "How?"}], "prompts")


@pytest.mark.parametrize(
    "message",
    [
        ANSWER | {"tool_calls": [{"function": {"name": 3}}]},
        ANSWER | {"weight": 0},
        {"role": "humen", "content": "x"},
        USER | {"content": [{"type": "image_url", "image_url": "x"}]},
    ],
)
def test_messages_of_every_table_follow_the_same_rules(message: Any) -> None:
    for extra in ({}, ASKED):
        table = pd.DataFrame([{"prompt": "a", "messages": [USER, message], **extra}])
        for kind in ("prompts", "documents"):
            with pytest.raises(SchemaError, match=r"row 0: prompt 'a': message 1"):
                read(table, kind)  # type: ignore[arg-type]
    asked = pd.DataFrame({"prompt": ["a"], "messages": [[USER | {"role": "Human"}]]})
    assert read(asked, "prompts")["messages"].tolist() == [[USER]]


def test_prompts_have_names_of_their_own_and_no_answer() -> None:
    with pytest.raises(SchemaError, match="row 1: prompt 'a': the name is that of row 0"):
        read(pd.DataFrame({"prompt": ["a", "a"], "messages": [[USER], [USER]]}), "prompts")
    answered = pd.DataFrame({"prompt": ["a"], "messages": [[USER, ANSWER]]})
    prompts = read(answered, "prompts")
    assert prompts["messages"].tolist() == [[USER]] and prompts["reference"].tolist() == ["So."]
    # conversations of this package keep their answers
    assert table_of(answered, "prompts")["messages"].tolist() == [[USER, ANSWER]]
    whole = answered.assign(**ASKED)
    assert read(whole, "prompts") is whole and schema.check(whole, "prompts") is whole


def test_conversations_come_back_from_a_file(tmp_path: Path) -> None:
    rows = pd.DataFrame([{"prompt": "a#0", "messages": [USER, ANSWER], "answer": "So.", **ASKED}])
    path = write_table(rows, tmp_path / "a.parquet")
    assert read(path, "documents")["messages"].tolist() == [[USER, ANSWER]]
