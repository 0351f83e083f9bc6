"""Roles need no questions, and say whose name they wait for."""

from pathlib import Path
from typing import Any

import pytest

from persona_interp.errors import SchemaError
from persona_interp.readers import RoleFile, read_role, read_roles, role_prompts, write_role

DEFAULT = {"instruction": [{"pos": ""}, {"pos": "You are {model_name}."}]}


def test_a_role_without_questions_round_trips(write: Any, tmp_path: Path) -> None:
    role = read_role(write("default.json", DEFAULT))
    assert role == RoleFile("default", ("", "You are {model_name}."))
    assert read_role(write_role(role, tmp_path / "default.json")) == role
    bard = RoleFile("bard", ("Sing.",), ("Why?",), "Does it sing?", {"by": "me"})
    assert read_roles(write_role(bard, tmp_path / "bard.json")) == {"bard": bard}


def test_the_model_is_named_where_it_is_asked(write: Any) -> None:
    role = read_role(write("default.json", DEFAULT))
    table = role_prompts(role, questions=["Why?", "How?"], model_name="Tiny {x}")
    assert [m[0]["content"] for m in table["messages"]] == ["Why?", "You are Tiny {x}."]
    assert table["instruction"].tolist() == [-1, 1] and table["context"].tolist() == [
        "nameless",
        "instructed",
    ]
    with pytest.raises(SchemaError, match="model_name="):
        role_prompts(role, questions=["Why?"])
    with pytest.raises(SchemaError, match="no questions of its own"):
        role_prompts(role, model_name="Tiny")


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"instruction": []}, "must be a list of {pos}"),
        (
            {"instruction": [{"pos": "a", "neg": "b"}]},
            "this is a trait, not a role; read it with read_trait",
        ),
        ({"instruction": [{"pos": "a", "id": 1}]}, "has id beside pos"),
        ({"instruction": [{"pos": None}]}, "pos must be a text; got None"),
        ({"instruction": [{"pos": "a"}], "questons": []}, "did you mean 'questions'"),
        ({"instruction": [{"pos": "a"}], "questions": [1]}, "entry 0 must be a text"),
    ],
)
def test_bad_entries_are_named(value: dict[str, Any], message: str, write: Any) -> None:
    with pytest.raises(SchemaError, match=message):
        read_role(write("bard.json", value))
