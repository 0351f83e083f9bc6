"""Calls of tools are read as text, in the layouts that people have."""

from typing import Any

import pytest

from persona_interp.readers import read

CALL = {"name": "weather", "arguments": {"city": "Ulm"}}
TEXT = '<tool_call>\n{"name": "weather", "arguments": {"city": "Ulm"}}\n</tool_call>'
USER = {"role": "user", "content": "Weather in Ulm?"}
RESULT = {"role": "tool", "content": "sun", "tool_call_id": "1", "name": "weather"}
ANSWER = {"role": "assistant", "content": "Sun."}
OPENAI = {"id": "1", "type": "function"}
CALLING: dict[str, list[dict[str, Any]]] = {
    "arguments as text": [
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [
                OPENAI | {"function": {"name": "weather", "arguments": '{"city": "Ulm"}'}}
            ],
        }
    ],
    "arguments": [{"role": "assistant", "content": "", "tool_calls": [{"function": CALL}]}],
    "bare": [{"role": "assistant", "tool_calls": [CALL]}],
    "older": [{"role": "assistant", "content": None, "function_call": CALL}],
    "sharegpt": [
        {"from": "function_call", "value": '{"name": "weather", "arguments": {"city": "Ulm"}}'}
    ],
}


@pytest.mark.parametrize("name", CALLING)
def test_a_call_is_what_the_assistant_says(name: str) -> None:
    chat = [USER, *CALLING[name], RESULT, ANSWER]
    if name == "sharegpt":
        chat = [
            {"from": "human", "value": USER["content"]},
            *CALLING[name],
            {"from": "observation", "value": "sun"},
            {"from": "gpt", "value": "Sun."},
        ]
        table = read([{"conversations": chat}], "chats")
    else:
        table = read([{"messages": chat}], "chats")
    assert table["messages"][0] == [
        USER,
        {"role": "assistant", "content": TEXT},
        {"role": "tool", "content": "sun"},
        ANSWER,
    ]
    assert table.attrs["taken_for"].endswith(
        "; 1 with tool calls, as text between <tool_call> and </tool_call>"
    )


def test_words_come_before_calls_and_calls_in_order() -> None:
    calls = [{"function": CALL}, {"function": {"name": "date"}}]
    said = {"role": "assistant", "content": "Let me look.", "tool_calls": calls}
    (messages,) = read([{"messages": [USER, said]}], "chats")["messages"]
    second = '<tool_call>\n{"name": "date", "arguments": {}}\n</tool_call>'
    assert messages[1]["content"] == f"Let me look.\n{TEXT}\n{second}"


def test_a_call_that_is_no_json_stays_as_it_is() -> None:
    chat = [{"from": "human", "value": "?"}, {"from": "function_call", "value": "weather(Ulm)"}]
    (messages,) = read([{"conversations": chat}], "chats")["messages"]
    assert messages[1]["content"] == "<tool_call>\nweather(Ulm)\n</tool_call>"


def test_nothing_is_said_of_calls_where_there_are_none() -> None:
    assert "tool" not in read([{"messages": [USER, ANSWER]}], "chats").attrs["taken_for"]
