"""Trait files are read as they are, written back as they were, and asked in turn."""

from pathlib import Path
from typing import Any

import pytest

from persona_interp.errors import SchemaError
from persona_interp.readers import (
    Instruction,
    TraitFile,
    read_trait,
    read_traits,
    trait_prompts,
    write_trait,
)

DRY = TraitFile(
    "dry",
    (Instruction("Be dry.", "Be warm."), Instruction("Mock.", "Praise.")),
    ("Why?", "How?", "When?"),
)


def test_a_trait_file_round_trips(trait: dict[str, Any], write: Any, tmp_path: Path) -> None:
    read = read_trait(
        write("dry.json", trait | {"authors": ["ü"], "questions": ["Warum?", "Wie?", "日本?"]})
    )
    assert read.name == "dry" and read.instructions[1] == Instruction("Mock.", "Praise.")
    assert read.eval_prompt == trait["eval_prompt"] and read.extra == {"authors": ["ü"]}
    again = read_trait(write_trait(read, tmp_path / "dry.json"))
    assert again == read and hash(again) == hash(read)


@pytest.mark.parametrize("data", [b"\xef\xbb\xbf", b""])
def test_byte_order_mark_and_line_ends_change_nothing(
    data: bytes, write: Any, trait: dict[str, Any]
) -> None:
    plain = read_trait(write("dry.json", trait))
    text = write("dry.json", trait).read_text().replace(", ", ",\r\n")
    assert read_trait(write("dry.json", data + text.encode())) == plain


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"instruction": None}, "instruction must be a list of {pos, neg}; got None"),
        ({"instruction": []}, "instruction must be a list"),
        (
            {"instruction": ["Be dry."]},
            "instruction 0: expected an object with pos, neg; got 'Be dry.'",
        ),
        (
            {"instruction": [{"pos": "Be dry."}]},
            "this is a role, not a trait; read it with read_role",
        ),
        ({"instruction": [{"pos": "Be dry.", "ngg": ""}]}, "instruction 0 has no neg"),
        (
            {"instruction": [{"pos": "Be dry.", "neg": " "}]},
            "instruction 0: neg must be a text; got ' '",
        ),
        ({"instruction": [{"pos": 3, "neg": "x"}]}, "pos must be a text; got 3"),
        (
            {"instruction": [{"pos": "a", "neg": "b", "id": 1}]},
            "instruction 0 has id beside pos and neg",
        ),
        ({"questions": "Why?"}, "expected a list of at least 2 texts; got 'Why?'"),
        ({"questions": ["Why?"]}, "at least 2 texts"),
        ({"questions": ["Why?", ""]}, "entry 1 must be a text; got ''"),
        ({"questions": ["Why?", "How?", "Why? "]}, "entries 0 and 2 are the same"),
        ({"eval_prompt": None}, "eval_prompt must be a text; got None"),
    ],
)
def test_bad_entries_are_named(
    change: dict[str, Any], message: str, trait: dict[str, Any], write: Any
) -> None:
    with pytest.raises(SchemaError) as caught:
        read_trait(write("dry.json", trait | change))
    assert message in str(caught.value) and "dry.json" in str(caught.value)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "instruction",
            "instructions",
            "key 'instructions' is unknown; did you mean 'instruction'",
        ),
        ("eval_prompt", "eval_promt", "did you mean 'eval_prompt'"),
        ("questions", "ask", "lacks questions; it has instruction, eval_prompt, ask"),
    ],
)
def test_misspelled_keys_are_named(
    old: str, new: str, message: str, trait: dict[str, Any], write: Any
) -> None:
    trait[new] = trait.pop(old)
    with pytest.raises(SchemaError, match=message):
        read_trait(write("dry.json", trait))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty"),
        ("{", "not valid JSON"),
        ("[1]", "expected an object"),
        ('{"questions": [], "questions": []}', "the key 'questions' is there twice"),
        (b'{"questions":\n ["\xff"]}', "line 2: expected UTF-8; byte 0xff is not"),
    ],
)
def test_broken_files_are_named(text: Any, message: str, write: Any) -> None:
    with pytest.raises(SchemaError, match=message):
        read_trait(write("dry.json", text))


def test_a_folder_is_read_by_name(trait: dict[str, Any], write: Any, tmp_path: Path) -> None:
    for name in ("wry", "dry", "calm"):
        write(f"{name}.json", trait)
    write("readme.txt", "no trait")
    assert list(read_traits(tmp_path)) == ["calm", "dry", "wry"]
    assert list(read_traits(tmp_path, ["wry", "dry"])) == ["dry", "wry"]
    assert list(read_traits(tmp_path / "dry.json")) == ["dry"]
    with pytest.raises(SchemaError, match="trait 'dri' is unknown; did you mean 'dry'"):
        read_traits(tmp_path, ["dri"])
    with pytest.raises(SchemaError, match="does not exist"):
        read_traits(tmp_path / "gone")
    with pytest.raises(SchemaError, match=r"ends in \.json"):
        write_trait(DRY, tmp_path / "dry.yaml")


def test_instructions_take_turns_and_questions_are_dealt() -> None:
    pos, neg, plain = (trait_prompts(DRY, side=side) for side in ("pos", "neg", "default"))
    assert pos["instruction"].tolist() == neg["instruction"].tolist() == [0, 1, 0]
    assert [m[0]["content"] for m in pos["messages"]] == ["Be dry.", "Mock.", "Be dry."]
    assert [m[0]["content"] for m in neg["messages"]] == ["Be warm.", "Praise.", "Be warm."]
    assert plain["messages"][2] == [{"role": "user", "content": "When?"}] and set(
        plain["instruction"]
    ) == {-1}
    for table in (pos, neg, plain):
        assert table["split"].tolist() == ["train", "test", "train"] and set(table["trait"]) == {
            "dry"
        }
        assert table["question"].tolist() == list(DRY.questions)
    assert set(plain["context"]) == {"nameless"} and set(pos["context"]) == {"instructed"}
    assert not set(pos["prompt"]) & set(neg["prompt"])


def test_all_instructions_cross_all_questions() -> None:
    table = trait_prompts(DRY, side="pos", instructions="all")
    assert len(table) == 6 and table["prompt"].is_unique
    assert trait_prompts(DRY, side="pos", split="test", instructions=1)["instruction"].tolist() == [
        0
    ]
    assert trait_prompts(DRY, side="default", instructions="all")["question"].tolist() == list(
        DRY.questions
    )


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"side": "posi"}, "did you mean 'pos'"),
        ({"split": "tets"}, "did you mean 'test'"),
        ({"instructions": 3}, "has 2 instructions"),
        ({"instructions": 0}, "has 2 instructions"),
    ],
)
def test_wrong_questions_are_refused(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(SchemaError, match=message):
        trait_prompts(DRY, **({"side": "pos"} | wrong))


def test_the_folder_above_names_the_folder_that_is_meant(tmp_path: Path) -> None:
    for name in ("roles", "traits"):
        (tmp_path / name).mkdir()
    write_trait(DRY, tmp_path / "traits" / "dry.json")
    with pytest.raises(SchemaError, match=r"Did you mean .*traits\?"):
        read_traits(tmp_path)
