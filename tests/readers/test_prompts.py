"""Whatever layout questions have, they become prompts that wait for an answer."""

import json
from typing import Any

import pytest

from persona_interp.errors import SchemaError
from persona_interp.readers import read_prompts

WHY = [{"role": "user", "content": "Why?"}]


def lines(*rows: Any) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.txt", "Why?\n\n  How? \r\n"),
        ("a.jsonl", lines({"question": "Why?"}, {"question": "How?"})),
        ("a.json", json.dumps(["Why?", "How?"])),
        ("a.jsonl", lines({"prompt": "Why?"}, {"prompt": [{"role": "user", "content": "How?"}]})),
        ("a.csv", "prompt\nWhy?\nHow?\n"),
        (
            "a.json",
            json.dumps({"instruction": [{"pos": "a", "neg": "b"}], "questions": ["Why?", "How?"]}),
        ),
        ("a.yaml", "- {id: a, paraphrases: ['Why?']}\n- {id: b, paraphrases: ['How?']}\n"),
    ],
)
def test_every_layout_asks_the_same(name: str, text: str, write: Any) -> None:
    table = read_prompts(write(name, text))
    assert table["messages"].tolist() == [WHY, [{"role": "user", "content": "How?"}]]
    assert table["question"].tolist() == ["Why?", "How?"] and table["split"].tolist() == [
        "train",
        "test",
    ]
    assert table["prompt"].is_unique and set(table["context"]) == {"nameless"}


def test_an_answer_is_cut_off_and_kept(write: Any) -> None:
    chat = [{"role": "system", "content": "Be dry."}, *WHY, {"role": "assistant", "content": "So."}]
    table = read_prompts(
        write("a.jsonl", lines({"messages": chat, "id": "x"}, {"messages": WHY, "id": "y"}))
    )
    assert table["messages"][0] == chat[:2] and table["reference"].tolist() == ["So.", ""]
    assert table["prompt"].tolist() == ["a/x", "a/y"] and table["context"].tolist() == [
        "instructed",
        "nameless",
    ]
    assert table["line"].tolist() == [1, 2]


def test_the_same_question_is_in_one_half(write: Any) -> None:
    table = read_prompts(write("a.txt", "a\nb\na\nc\nb\n"))
    assert (
        table["split"].tolist() == ["train", "test", "train", "train", "test"]
        and table["prompt"].is_unique
    )


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        (
            "a.jsonl",
            lines({"question": "a", "id": 1}, {"question": "b", "id": 1}),
            "line 2: the id '1' is that of line 1",
        ),
        ("a.jsonl", lines({"question": "a"}, {"qustion": "b"}), "line 2: no question"),
        (
            "a.jsonl",
            lines({"question": "a"}, {"question": ["b"]}),
            "line 2: question must be a text",
        ),
        (
            "a.jsonl",
            lines({"messages": [{"role": "assistant", "content": "So."}]}),
            "no question of the user",
        ),
        ("a.jsonl", lines({"question": "a", "prompt": "b"}), "fit the layouts prompt, question"),
        ("a.json", json.dumps({"topic": 1}), "no known columns"),
        ("a.json", json.dumps(["a", 3]), "line 1: expected a text or a list of messages; got 3"),
        (
            "a.json",
            '{\n "questions": [\n  "a"\n  "b"\n ]\n}',
            "not valid JSON: Expecting ',' delimiter: line 4",
        ),
        ("a.txt", " \n", "is empty"),
        ("a.md", "Why?", "ending of a file of rows '.md' is unknown"),
    ],
)
def test_bad_rows_are_named(name: str, text: str, message: str, write: Any) -> None:
    with pytest.raises(SchemaError, match=message) as caught:
        read_prompts(write(name, text))
    assert name in str(caught.value)


def test_one_object_a_line_is_no_single_object(write: Any) -> None:
    for text in (lines({"question": "Why?"}), '{\n "question": "Why?"\n}'):
        assert read_prompts(write("a.json", text))["messages"].tolist() == [WHY]
