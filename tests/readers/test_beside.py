"""What stands beside a chat in columns of its own is part of it, or refused, or named."""

from typing import Any

import pandas as pd
import pytest

from persona_interp.errors import SchemaError
from persona_interp.readers import read, read_chats

USER, ANSWER = {"role": "user", "content": "Why?"}, {"role": "assistant", "content": "So."}
SYSTEM = {"role": "system", "content": "Be dry."}
NEXT = {"role": "user", "content": "And?"}


@pytest.mark.parametrize(
    ("row", "contents"),
    [
        ({"messages": [USER, ANSWER, NEXT], "response": "No."}, "Why?|So.|And?|No."),
        ({"messages": [USER], "completion": [ANSWER]}, "Why?|So."),
        ({"messages": [USER, ANSWER], "output": "So."}, "Why?|So."),
        ({"messages": {"role": ["user", "assistant"], "content": ["Why?", "So."]}}, "Why?|So."),
        ({"question": "Why?", "answer": "So.", "context": "Rain."}, "Why?\n\nRain.|So."),
        ({"prompt": "Why?", "response": "So.", "context": "Rain."}, "Why?\n\nRain.|So."),
        ({"question": "Why?", "answer": "So.", "History": [["Hi", "Yo"]]}, "Hi|Yo|Why?|So."),
        ({"question": "And?", "answer": "No.", "history": [USER, ANSWER]}, "Why?|So.|And?|No."),
        ({"question": "Why?", "answer": "So.", "instructions": "Be dry."}, "Be dry.|Why?|So."),
        ({"question": "Why?", "answer": "So.", "system": SYSTEM}, "Be dry.|Why?|So."),
        ({"question": "Why?", "answer": "So.", "weight": 1.0, "train": True}, "Why?|So."),
    ],
)
def test_it_is_part_of_the_chat(row: dict[str, Any], contents: str) -> None:
    for source in ([row], pd.DataFrame([row])):
        (chat,) = read_chats(source)["messages"]
        assert "|".join(message["content"] for message in chat) == contents
        (asked,) = read(source, "prompts")["messages"]
        assert asked == chat[:-1]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"messages": [USER, ANSWER], "response": "No."}, "response is another .'No.'"),
        ({"messages": [USER], "response": "a", "answer": "b"}, "response and answer stand beside"),
        ({"messages": [USER], "response": 3}, "response beside its messages must be a text"),
        ({"question": "Why?", "answer": "So.", "weight": 0}, "its weight is 0"),
        ({"question": "Why?", "answer": "So.", "Train": "false"}, "its Train is 'false'"),
        ({"question": "Why?", "answer": "So.", "Tools": ["f"]}, "it has Tools"),
        ({"question": "Why?", "answer": "So.", "history": [1]}, "or messages; got"),
        (
            {"text": "Why?", "role": "prompter", "parent_id": None, "message_id": "x"},
            "message of a thread",
        ),
        ({"text": "\n\nHuman: Why?\n\nAssistant: So."}, "a chat written out"),
        (
            {"messages": {"role": ["user", "assistant"], "content": ["Why?"]}},
            "of several lengths",
        ),
    ],
)
def test_it_is_refused(row: dict[str, Any], message: str) -> None:
    for source in ([row], pd.DataFrame([row])):
        with pytest.raises(SchemaError, match=message):
            read_chats(source)


def test_messages_named_as_the_layout_are_meant_alone() -> None:
    row = {"messages": [USER, ANSWER], "response": "No."}
    table = read_chats([row], layout="messages")
    assert table["messages"][0] == [USER, ANSWER] and table["extra"][0] == {"response": "No."}


def test_a_chat_written_out_is_a_document() -> None:
    text = "\n\nHuman: Why?\n\nAssistant: So."
    assert read([{"text": text}], "documents")["messages"][0][0]["content"] == text


@pytest.mark.parametrize(
    ("row", "reference", "line"),
    [
        ({"question": "Why?", "answer": "So."}, "So.", "kept as reference: answer"),
        ({"question": "Why?", "answer": ["So.", "No."]}, "", "not read: answer"),
        (
            {"question": "Why?", "answer": "So.", "response": "No."},
            "",
            "not read: answer, response",
        ),
        ({"messages": [USER, ANSWER], "answer": "No."}, "So.", "not read: answer"),
        ({"messages": [USER], "answer": "So."}, "So.", "kept as reference: answer"),
    ],
)
def test_the_line_says_what_was_kept(row: dict[str, Any], reference: str, line: str) -> None:
    table = read([row], "prompts")
    assert table["reference"].tolist() == [reference]
    assert table.attrs["taken_for"].endswith(f"; {line}")


def test_a_printed_list_of_answers_is_no_answer(write: Any) -> None:
    csv = "question,answer\nWhy?,\"['So.', 'No.']\"\nHow?,\"['Thus.']\"\n"
    with pytest.raises(SchemaError, match="lines 2-3: its answer is a list of answers"):
        read_chats(write("a.csv", csv))
    assert read(write("a.csv", csv), "prompts")["reference"].tolist() == ["", ""]
    # who is asked for a list answers with one
    one = read_chats(write("b.csv", csv + "When?,Now.\n"))
    assert one["messages"][0][1]["content"] == "['So.', 'No.']"
    assert read_chats([{"prompt": "Name two.", "response": "['a', 'b']"}]) is not None


@pytest.mark.parametrize(
    ("row", "layout"),
    [
        ({"query": "Why?", "response": "So."}, "query"),
        ({"user": "Why?", "assistant": "So."}, "user"),
        ({"prompt": "Why?", "generation": "So."}, "generation"),
        ({"Question": "Why?", "ANSWER": "So.", "Id": "x"}, "question"),
    ],
)
def test_other_names_of_columns_are_read(row: dict[str, Any], layout: str) -> None:
    for source in ([row], pd.DataFrame([row])):
        chats = read_chats(source)
        assert chats["messages"].tolist() == [[USER, ANSWER]]
        assert f"layout '{layout}'" in chats.attrs["taken_for"]
        prompts = read(source, "prompts")
        assert prompts["messages"].tolist() == [[USER]] and prompts["reference"].tolist() == ["So."]
    assert ("Id" not in row) or prompts["prompt"].tolist() == ["rows/x"]


def test_users_alone_are_names() -> None:
    with pytest.raises(SchemaError, match="plain text"):
        read([{"user": "u1", "text": "Why?"}], "prompts")


def test_names_that_may_be_others_are_those_of_a_chat_only_alone() -> None:
    row = {"user": "u1", "prompt": "Why?", "response": "So.", "generation": 3, "Prompt": "x"}
    assert read_chats([row])["messages"].tolist() == [[USER, ANSWER]]
    assert read([row], "prompts")["reference"].tolist() == ["So."]
