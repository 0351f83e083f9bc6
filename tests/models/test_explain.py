"""The table says what ``encode`` says, and its pieces put together are the text."""

import ast
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from persona_interp.errors import SchemaError
from persona_interp.models import (
    PLAIN_TEMPLATE,
    ROLES,
    Checkpoint,
    encode,
    explain_tokens,
    load,
    resolve,
    show_tokens,
)
from persona_interp.models.explain import COLUMNS, INITIALS, pieces
from persona_interp.worlds import english_assistants, john_and_sam


def prompts(*contents: str) -> pd.DataFrame:
    rows = [
        (f"p{i}", "plain", "", "", "test", [{"role": "text", "content": c}])
        for i, c in enumerate(contents)
    ]
    return pd.DataFrame(
        rows, columns=["prompt", "context", "persona", "topic", "split", "messages"]
    )


@pytest.fixture(scope="module")
def chatty(stories: Checkpoint, tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    return resolve(
        str(stories.path), chat_template=PLAIN_TEMPLATE, out=tmp_path_factory.mktemp("chatty")
    )


def _unescaped(piece: str) -> str:
    return ast.literal_eval('"' + piece.replace('"', '\\"') + '"')


def test_every_message_of_a_world_can_be_read_off_the_table(tmp_path: Path) -> None:
    world = john_and_sam()
    start = resolve("tiny", words=world.words(), out=tmp_path)
    for table in (world.probes().groupby("context").head(3), world.corpus(30)):
        shown = explain_tokens(start, table)
        names = table["prompt" if "prompt" in table else "doc"]
        assert list(dict.fromkeys(shown["prompt"])) == list(names)
        for name, messages in zip(names, table["messages"], strict=True):
            rows = shown[shown["prompt"] == name]
            for turn, message in enumerate(messages):
                own = rows[rows["turn"] == turn]
                assert "".join(own["piece"]).strip() == message["content"]
                assert list(own["place"]) == list(range(len(own)))
                assert set(own["role"]) <= {message["role"]}


def test_a_real_tokenizer_loses_no_character(chatty: Checkpoint) -> None:
    world = english_assistants()
    for table in (
        world.probes(personas=["Mary"]).groupby("context").head(3),
        world.cuts(world.corpus(10)),
    ):
        shown = explain_tokens(chatty, table)
        for name, messages in zip(table["prompt"], table["messages"], strict=True):
            rows = shown[shown["prompt"] == name]
            for turn, message in enumerate(messages):
                assert "".join(rows[rows["turn"] == turn]["piece"]).strip() == message["content"]
        text = _unescaped("".join(shown[shown["prompt"] == table["prompt"].iloc[0]]["piece"]))
        assert "\n" in text or table["context"].iloc[0] in ("plain", "third")


def test_the_table_is_what_encode_returns(tiny: Checkpoint, corpus: pd.DataFrame) -> None:
    for complete in (False, True):
        tokens = encode(load(tiny).tokenizer, list(corpus["messages"]), complete=complete)
        shown = explain_tokens(tiny, corpus, complete=complete)
        for column, expected in (
            ("id", tokens.ids),
            ("role", tokens.roles),
            ("learn", tokens.learn),
        ):
            assert shown[column].tolist() == [value for row in expected for value in row]
        assert shown["pos"].tolist() == [i for row in tokens.ids for i in range(len(row))]


def test_what_cannot_be_seen_is_spelled_out(stories: Checkpoint) -> None:
    shown = explain_tokens(stories, prompts("a ball\n\u202ered \u200b日"))
    assert all(piece.isprintable() and piece for piece in shown["piece"])
    assert r"\n" in set(shown["piece"]) and "<0xE6>" in set(shown["piece"])
    assert shown["piece"].iloc[0] == "<s>"


def test_pieces_escape_an_invisible_token() -> None:
    from persona_interp.models.tiny import tiny_tokenizer

    tokenizer: Any = tiny_tokenizer(["like", "\u202e", "\u200b"])
    found = pieces(tokenizer, range(len(tokenizer)))
    assert {" like", r" \u202e", r" \u200b", "<bos>"} <= set(found.values())


def test_the_text_has_one_line_a_token(tiny: Checkpoint, corpus: pd.DataFrame) -> None:
    shown = explain_tokens(tiny, corpus.head(3))
    lines = show_tokens(shown).splitlines()
    assert len(lines) == 1 + 3 + len(shown)
    first = corpus["messages"].iloc[0]
    assert lines[1] == "0" and lines[2].split() == ["0", "*", "2", "|<bos>|"]
    assert [line.split()[1] for line in lines[2:9]] == list("**SSSSS")
    assert first[0]["content"].split()[0] in lines[4]


def test_a_table_without_names_is_refused(tiny: Checkpoint, corpus: pd.DataFrame) -> None:
    with pytest.raises(SchemaError, match="no known columns"):
        explain_tokens(tiny, corpus.drop(columns="messages"))


def test_every_role_has_an_initial() -> None:
    assert set(INITIALS) == set(ROLES) and len(set(INITIALS.values())) == len(ROLES)
    row = ("p", 0, 2, " golf", "tool", 1, 0, False)
    assert "F 1/0" in show_tokens(pd.DataFrame([row], columns=list(COLUMNS)))
