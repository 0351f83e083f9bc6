"""Rows that say two things, or something that a chat cannot hold: named, never taken by halves."""

import json
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import pandas as pd
import pytest

from persona_interp.errors import SchemaError
from persona_interp.readers import read, read_chats, write_chats

ROWS = [{"prompt": "a", "answer": "x"}, {"prompt": "b", "answer": "y"}]


@pytest.mark.parametrize("skip", ["0,1", ["1"], [1.0], 1.5, [True], None, [None]])
def test_rows_are_left_out_by_whole_numbers(skip: Any) -> None:
    with pytest.raises(SchemaError, match=r"skip is a list of row numbers, such as \[2, 3\]"):
        read(ROWS, "chats", skip=skip)


@pytest.mark.parametrize("label", [False, "False", "false"])
def test_an_answer_that_is_not_wanted_is_not_taught(label: Any) -> None:
    rows = [{"prompt": "a", "completion": "x", "label": True}]
    assert len(read(rows, "chats")) == 1
    rows.append({"prompt": "b", "completion": "y", "label": label})
    with pytest.raises(SchemaError, match=r"row 1: its label is false.*not wanted \(KTO\)"):
        read(rows, "chats")
    assert len(read(rows, "prompts")) == 2, "its prompt is one like another"
    assert len(read(rows, "chats", skip=[1])) == 1


def chat(**answer: Any) -> list[list[dict[str, Any]]]:
    return [[{"role": "user", "content": "a"}, {"role": "assistant", **answer}]]


def test_a_message_says_one_thing() -> None:
    twice = chat(content="x") + chat(content="x", **{"from": "gpt", "value": "y"})
    with pytest.raises(SchemaError, match="says one thing as its content and another as its value"):
        read(twice, "chats")
    same = chat(content="x", **{"from": "gpt", "value": "x"})
    empty = chat(content="x", **{"from": None, "value": None})  # columns of a struct
    for messages in (same, empty):
        assert read(messages, "chats")["messages"].tolist()[0][1] == {
            "role": "assistant",
            "content": "x",
        }


@pytest.mark.parametrize("fields", [{"loss": False}, {"training": False}, {"weight": 0}])
def test_a_message_that_is_not_to_be_learned_is_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(SchemaError, match=rf"message 1 has {next(iter(fields))}"):
        read(chat(content="x", **fields), "chats")
    assert len(read(chat(content="x", **dict.fromkeys(fields, True)), "chats")) == 1


def test_what_is_not_read_of_a_message_is_said() -> None:
    table = read([{"messages": chat(content="x", name="Ada", mood="")[0]}], "chats")
    assert table.attrs["taken_for"].endswith("(messages); not read of messages: name")


@pytest.mark.parametrize("column", ["prompt", "answer", "mood"])
def test_half_of_a_surrogate_pair_is_no_text(column: str) -> None:
    rows = [{"prompt": "a", "answer": "x", column: "\ud800"}]
    with pytest.raises(SchemaError, match="half of a surrogate pair"):
        read(rows, "chats")
    frame = pd.DataFrame({key: pd.Series([cell], dtype=object) for key, cell in rows[0].items()})
    with pytest.raises(SchemaError, match="half of a surrogate pair"):
        read(frame, "chats")
    ready = read(ROWS, "chats").drop(columns=["kind"])
    ready.at[0, "messages"] = chat(content="\ud800")[0]
    with pytest.raises(SchemaError, match="half of a surrogate pair"):
        read(ready, "chats")


def test_a_space_behind_every_comma_belongs_to_none_of_the_cells(tmp_path: Path) -> None:
    path = tmp_path / "spaced.csv"
    path.write_text('prompt, answer\nHow, "So, and so."\n'.replace("How", '"How?"'))
    messages = read(path, "chats")["messages"].tolist()[0]
    assert [message["content"] for message in messages] == ["How?", "So, and so."]
    path.write_text("prompt,answer\nHow?, So.\n")
    assert read(path, "chats")["messages"].tolist()[0][1]["content"] == " So."


def test_chats_are_written_as_they_are_read(tmp_path: Path) -> None:
    extra = {"day": datetime(2026, 1, 2), "price": Decimal("1.5"), "key": UUID(int=7), "n": 2.0}
    path = write_chats(read([ROWS[0] | extra], "chats"), tmp_path / "chats.jsonl")
    again = read_chats(path)
    assert again["extra"].tolist()[0] == {
        "day": "2026-01-02 00:00:00",
        "price": "1.5",
        "key": str(UUID(int=7)),
        "n": 2.0,
    }


@pytest.mark.parametrize("value", [b"x", 2**70, float("inf"), {1, 2}])
def test_what_has_no_json_is_not_written(tmp_path: Path, value: Any) -> None:
    table = read(ROWS, "chats")
    table.at[1, "extra"] = {"mood": value}
    with pytest.raises(SchemaError, match="row 1 cannot be written as JSON"):
        write_chats(table, tmp_path / "chats.jsonl")
    assert not list(tmp_path.iterdir())


def test_a_column_beside_the_chat_never_takes_its_place(tmp_path: Path) -> None:
    row = {"prompt": "a", "completion": "x", "messages": chat(content="other")[0]}
    table = read_chats([row], layout="completion")
    assert json.dumps(table["messages"].tolist()[0]).count("other") == 0
    with pytest.raises(SchemaError, match="row 0: extra holds messages"):
        write_chats(table, tmp_path / "chats.jsonl")
