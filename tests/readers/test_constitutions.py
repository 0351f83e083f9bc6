"""A constitution is read as it is; its other side is the user's to say."""

import json
from pathlib import Path
from typing import Any

import pytest

from persona_interp.errors import SchemaError
from persona_interp.readers import Instruction, read_constitution, trait_prompts, write_constitution

ROWS: list[dict[str, Any]] = [
    {"trait": "I am dry.", "questions": ["Why?", "How?"], "additional_questions": ["When?"]},
    {"trait": "I mock.", "questions": ["Why?"], "clarification": "gently"},
]


def lines(rows: list[Any]) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


def test_a_constitution_round_trips(write: Any, tmp_path: Path) -> None:
    read = read_constitution(write("sarcasm.jsonl", lines(ROWS)))
    assert read.name == "sarcasm" and [p.trait for p in read.principles] == ["I am dry.", "I mock."]
    assert read.principles[1].extra == {"clarification": "gently"}
    assert read_constitution(write_constitution(read, tmp_path / "sarcasm.jsonl")) == read
    with pytest.raises(SchemaError, match=r"\.jsonl"):
        write_constitution(read, tmp_path / "sarcasm.json")


def test_it_becomes_a_trait_with_a_side_given(write: Any) -> None:
    read = read_constitution(write("sarcasm.jsonl", lines(ROWS)))
    trait = read.trait_file(neg="Be earnest.")
    assert trait.instructions == (
        Instruction("I am dry.", "Be earnest."),
        Instruction("I mock.", "Be earnest."),
    )
    assert trait.questions == ("Why?", "How?", "When?")
    assert len(trait_prompts(trait, side="neg")) == 3
    assert read.trait_file(neg=["a", "b"], form="You say: {trait}").instructions[1] == (
        "You say: I mock.",
        "b",
    )
    for wrong in ({"neg": ["a"]}, {"neg": ["a", " "]}, {"neg": "a", "form": "You"}):
        with pytest.raises(SchemaError):
            read.trait_file(**wrong)


def test_every_bad_line_is_named(write: Any) -> None:
    rows = [
        *ROWS,
        {"trait": "", "questions": ["a"]},
        {"trait": "x", "questions": []},
        {"trait": "x", "question": ["a"]},
    ]
    with pytest.raises(SchemaError) as caught:
        read_constitution(write("sarcasm.jsonl", lines(rows)))
    message = str(caught.value)
    assert (
        "3 of 5 rows" in message
        and "line 3: trait must be a text" in message
        and "line 4: questions: expected" in message
    )
    assert "line 5: a principle: key 'question' is unknown; did you mean 'questions'" in message
