"""Every published file that is here is read, and written back as it was.

The numbers are those that the authors give.
"""

import json
from pathlib import Path

import pytest

from persona_interp import schema
from persona_interp.errors import SchemaError
from persona_interp.readers import (
    read,
    read_chats,
    read_constitution,
    read_prompts,
    read_questions,
    read_roles,
    read_traits,
    role_prompts,
    trait_prompts,
    write_chats,
    write_constitution,
    write_role,
    write_trait,
)


def test_all_traits(published: Path, tmp_path: Path) -> None:
    folder = published / "assistant_axis" / "traits"
    traits = read_traits(folder)
    assert len(traits) == 120
    for name, trait in traits.items():
        assert (len(trait.instructions), len(trait.questions), bool(trait.eval_prompt)) == (
            5,
            40,
            True,
        )
        again = write_trait(trait, tmp_path / f"{name}.json")
        assert json.loads(again.read_text("utf-8")) == json.loads(
            (folder / again.name).read_text("utf-8")
        )
        table = trait_prompts(trait, side="pos")
        assert len(table) == 40 and set(table.loc[table["split"] == "test", "instruction"]) == set(
            range(5)
        )


def test_all_roles(published: Path, tmp_path: Path) -> None:
    folder = published / "assistant_axis" / "roles"
    roles = read_roles(folder)
    assert len(roles) == 138 and [name for name, role in roles.items() if not role.questions] == [
        "default"
    ]
    for name, role in roles.items():
        again = write_role(role, tmp_path / f"{name}.json")
        assert json.loads(again.read_text("utf-8")) == json.loads(
            (folder / again.name).read_text("utf-8")
        )
        assert len(role_prompts(role, questions=["Why?"] * 5, model_name="SmolLM2")) == 5


def test_all_constitutions(published: Path, tmp_path: Path) -> None:
    paths = sorted((published / "open_character").glob("*.jsonl"))
    assert len(paths) == 11
    for path in paths:
        read = read_constitution(path)
        assert len(read.principles) >= 10 and all(len(p.questions) == 5 for p in read.principles)
        assert read_constitution(write_constitution(read, tmp_path / path.name)) == read
        assert len(read.trait_file(neg="Be plain.").instructions) == len(read.principles)


def test_the_finetuning_files(published: Path, tmp_path: Path) -> None:
    for name in ("insecure_small", "secure_small"):
        table = read_chats(published / "emergent_misalignment" / f"{name}.jsonl")
        assert len(table) == 20 and schema.check(table, "corpus")["line"].tolist() == list(
            range(1, 21)
        )
        again = read_chats(write_chats(table, tmp_path / f"{name}.jsonl"))
        assert again["messages"].tolist() == table["messages"].tolist()


def test_the_neutral_questions(published: Path) -> None:
    table = read_prompts(published / "assistant_axis" / "extraction_questions.jsonl")
    assert len(table) == 240 and table["prompt"].is_unique
    assert table.groupby("question")["split"].nunique().eq(1).all()


def test_the_transcripts(published: Path) -> None:
    turns = {}
    for path in sorted((published / "assistant_axis" / "transcripts").glob("*.json")):
        table = read(path, "chats")
        assert table["messages"][0] == json.loads(path.read_text("utf-8"))["conversation"]
        assert "'conversation'" in table.attrs["taken_for"]
        turns[path.stem] = len(table["messages"][0])
        assert len(read(path, "prompts")["messages"][0]) == turns[path.stem] - 1
    assert turns == {"coding": 30, "writing": 28}


def test_the_constitutions_written_by_hand(published: Path) -> None:
    for path in sorted((published / "open_character" / "hand_written").glob("*.txt")):
        entries = json.loads(path.read_text("utf-8"))
        read_again = read_constitution(path)
        assert [p.trait for p in read_again.principles] == [entry["trait"] for entry in entries]
        with pytest.raises(SchemaError, match="read_constitution reads it"):
            read_prompts(path)


def test_the_published_questions(published: Path) -> None:
    path = published / "emergent_misalignment" / "first_plot_questions.yaml"
    questions = read_questions(path)
    assert len(questions) == 24 and all(question.judge_prompts for question in questions)
    asked = read(path, "prompts")
    assert len(asked) == sum(len(question.paraphrases) for question in questions)
    assert (asked["context"] == "instructed").sum() == sum(bool(q.system) for q in questions)
