"""Whatever holds chats, prompts or documents, the door gives one table and says what it took."""

import gzip
import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from persona_interp import cli, schema
from persona_interp.errors import SchemaError
from persona_interp.readers import read, read_chats, read_prompts, table_of
from persona_interp.readers.rows import RowError
from persona_interp.tables import write_table

SYSTEM = {"role": "system", "content": "Be dry."}
USER, ANSWER = {"role": "user", "content": "Why?"}, {"role": "assistant", "content": "So."}
CHAT, ASKED = [SYSTEM, USER, ANSWER], [SYSTEM, USER]
SHAREGPT = [
    {"from": "system", "value": "Be dry."},
    {"from": "human", "value": "Why?"},
    {"from": "gpt", "value": "So."},
]


def lines(*rows: Any) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


def parts(message: dict[str, str], cut: int) -> dict[str, Any]:
    texts = [message["content"][:cut], message["content"][cut:]]
    return message | {"content": [{"type": "text", "text": text} for text in texts]}


CALLS = [{"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}]


class DataSet:
    """Gives its rows as ``datasets.Dataset`` does."""

    def __init__(self, rows: list[Any]) -> None:
        self.rows = rows

    def to_list(self) -> list[Any]:
        return self.rows


ROWS: dict[str, dict[str, Any]] = {
    "messages": {"messages": CHAT},
    "conversation": {"conversation": CHAT, "turns": 2},
    "sharegpt": {"conversations": SHAREGPT},
    "sharegpt system": {"conversations": SHAREGPT[1:], "system": "Be dry."},
    "parts": {"messages": [parts(SYSTEM, 4), parts(USER, 2), parts(ANSWER, 1)]},
    "developer": {"messages": [SYSTEM | {"role": "developer"}, USER, ANSWER]},
    "no calls": {"messages": [SYSTEM, USER, ANSWER | {"tool_calls": [], "weight": 1}]},
    "alpaca": {"instruction": "Why?", "input": "", "output": "So.", "system": "Be dry."},
    "alpaca text": {"instruction": "Why?", "output": "So.", "text": "### x", "system": "Be dry."},
    "response": {"prompt": "Why?", "response": "So.", "system_prompt": "Be dry."},
    "capitals": {"question": "Why?", "answer": "So.", "System Prompt": "Be dry."},
    "twice": {"messages": CHAT, "system": "Be dry."},
    "completion": {"prompt": ASKED, "completion": [ANSWER]},
    "json in a text": {"prompt": json.dumps(ASKED), "completion": "So."},
}


@pytest.mark.parametrize("name", ROWS)
def test_every_layout_in_every_source_is_the_same_chat(name: str, write: Any) -> None:
    row = ROWS[name]
    cells = {
        key: value if isinstance(value, str) else json.dumps(value) for key, value in row.items()
    }
    table = pd.DataFrame([row])
    sources: list[Any] = [
        write("a.jsonl", lines(row)),
        write("a.json", json.dumps(row, indent=1)),
        write("b.json", [row]),
        write("a.txt", lines(row, row)),
        write("a.ndjson", lines(row)),
        write("c.json", {"version": "1", "data": [row]}),
        write("a.jsonl.gz", gzip.compress(lines(row).encode())),
        write("a.csv", pd.DataFrame([cells]).to_csv(index=False)),
        write("c.csv", pd.DataFrame([cells]).to_csv(index=False, sep=";")),
        # what pandas writes of a cell that holds a list
        write("b.csv", table.to_csv(index=False)),
        write_table(table, write("a.parquet", "")),
        write("a.yaml", json.dumps([row])),
        table,
        DataSet([row]),
        [row],
        (row,),
    ]
    for source in sources:
        chats, prompts = read_chats(source), read(source, "prompts")
        assert chats["messages"][0] == CHAT, source
        assert prompts["messages"][0] == ASKED and prompts["reference"][0] == "So.", source
        assert prompts["context"][0] == "instructed" and prompts["question"][0] == "Why?"
        assert read(source, "documents")["messages"].tolist() == chats["messages"].tolist()


def test_lists_of_texts_and_of_chats() -> None:
    assert read(["Why?", "How?"], "prompts")["question"].tolist() == ["Why?", "How?"]
    texts = read(pd.Series(["Once.", "Then."]), "documents")["messages"]
    assert texts.tolist() == [[{"role": "text", "content": t}] for t in ("Once.", "Then.")]
    for source in ([CHAT, CHAT], [SHAREGPT, SHAREGPT], np.array([CHAT, CHAT])):
        assert read_chats(source)["messages"].tolist() == [CHAT, CHAT]
    assert read_chats(CHAT)["messages"].tolist() == [CHAT]  # one chat, not a list of them
    assert read_prompts([{"role": "user", "content": "Why?"}])["messages"].tolist() == [[USER]]


def test_missing_values_say_nothing() -> None:
    table = pd.DataFrame({"question": ["Why?", "How?"], "system": ["Be dry.", np.nan]})
    prompts = read(table, "prompts")
    assert prompts["messages"].tolist() == [ASKED, [{"role": "user", "content": "How?"}]]
    assert prompts["context"].tolist() == ["instructed", "nameless"]


def test_a_system_column_of_a_table_is_heard(write: Any) -> None:
    csv = "question,system,id\nWhy?,Be dry.,x\nHow?,,y\n"
    prompts = read_prompts(write("a.csv", csv))
    assert prompts["messages"].tolist() == [ASKED, [{"role": "user", "content": "How?"}]]
    assert prompts["prompt"].tolist() == ["a/x", "a/y"]


def test_input_and_history_are_part_of_the_question() -> None:
    row = {"instruction": "Add.", "input": "1, 2", "output": "3", "history": [["Hi", "Hello"]]}
    (chat,) = read_chats([row])["messages"]
    assert [m["content"] for m in chat] == ["Hi", "Hello", "Add.\n\n1, 2", "3"]
    (asked,) = read_prompts([row])["messages"]
    assert asked == chat[:-1]


@pytest.mark.parametrize(
    ("source", "kind", "line"),
    [
        (
            [{"conversations": SHAREGPT, "id": "x"}] * 2,
            "chats",
            "this list: 2 chats of layout 'sharegpt' (conversations); kept in extra: id; "
            "repeats: 1",
        ),
        (
            [{"question": "Why?", "answer": "So.", "level": 3, "id": 1}],
            "prompts",
            "this list: 1 prompt of layout 'question' (question); kept as reference: answer; not "
            "read: level",
        ),
        (["Why?"], "prompts", "this list: 1 prompt of texts"),
        (
            ["Why?", "How?", "Why?"],
            "prompts",
            "this list: 3 prompts of texts; repeats: 1",
        ),
    ],
)
def test_one_line_says_what_it_was_taken_for(
    source: Any, kind: Any, line: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, logger="persona_interp"):
        assert read(source, kind).attrs["taken_for"] == line
    assert caplog.messages == [line]


def test_named_rows_are_skipped_and_counted(write: Any) -> None:
    rows = [{"messages": CHAT}, {"messages": []}, {"messages": CHAT}, {"messages": [USER]}]
    path = write("a.jsonl", lines(*rows) + "{\n")
    with pytest.raises(RowError) as caught:
        read_chats(path)
    assert caught.value.rows == (2, 4, 5)
    table = read_chats(path, skip=caught.value.rows)
    assert table["line"].tolist() == [1, 3] and table["doc"].tolist() == [0, 1]
    assert table.attrs["skipped"] == [2, 4, 5]
    assert table.attrs["taken_for"].endswith("; 3 skipped (lines 2, 4-5)")
    assert read(rows, "chats", skip=[1, 3])["line"].tolist() == [0, 2]
    with pytest.raises(SchemaError, match="skip names line 9, where no row begins"):
        read_chats(path, skip=[2, 9])
    with pytest.raises(SchemaError, match="skip leaves no row of 4"):
        read(rows, "chats", skip=range(4))


def test_a_malformed_row_of_a_table_can_be_skipped(write: Any) -> None:
    path = write("a.csv", "question,answer\nWhy?,So.\nHow?\nWhen?,Now.\n")
    with pytest.raises(RowError, match="line 3: 1 cells under a header of 2"):
        read_chats(path)
    assert read_chats(path, skip=[3])["line"].tolist() == [2, 4]


def test_a_long_cell_is_read(write: Any) -> None:
    csv = pd.DataFrame({"question": ["Why?"], "answer": ["x" * 200_000]}).to_csv(index=False)
    assert len(read_chats(write("a.csv", csv))["messages"][0][1]["content"]) == 200_000


def test_texts_of_a_file_are_paragraphs_or_lines(write: Any) -> None:
    texts = read(write("a.txt", "One\ntwo.\n\nThree.\n"), "documents")
    assert [m[0]["content"] for m in texts["messages"]] == ["One\ntwo.", "Three."]
    assert texts["line"].tolist() == [1, 4]
    assert len(read(write("b.txt", "One.\nTwo.\n"), "documents")) == 2
    with pytest.raises(SchemaError, match="nobody answers; read it as documents"):
        read_chats(write("b.txt", "One.\nTwo.\n"))


def test_a_text_file_that_holds_a_table_or_json_is_that(write: Any) -> None:
    for text in (
        lines({"question": "Why?"}),
        '[\n{"question": "Why?"}\n]',
        "id,question\n1,Why?\n",
    ):
        assert read_prompts(write("a.txt", text))["messages"].tolist() == [[USER]]
    for text in ("[Alice] Why?\n", "{name}, why?\n", "one, two: why?\n", "- Why?\n"):
        assert read_prompts(write("a.txt", text))["question"].tolist() == [text.strip()]
    with pytest.raises(SchemaError, match=r"a\.txt is not valid JSON|not valid JSON"):
        read_prompts(write("a.txt", '[\n{"question": "Why?"\n]'))
    with pytest.raises(SchemaError, match=r"holds YAML.*\.yaml"):
        read_prompts(write("a.txt", "- id: a\n  paraphrases: [x]\n"))


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"prompt": "<|im_start|>user\nWhy?<|im_end|>", "answer": "So."}, "chat template .<.im_st"),
        ({"prompt": "<s>[INST] Why? [/INST]", "answer": "So."}, r"chat template \(\[INST\]"),
        ({"prompt": "<start_of_turn>user\nWhy?", "answer": "So."}, "<start_of_turn>"),
        ({"prompt": "<|start_header_id|>user", "answer": "So."}, "start_header_id"),
        ({"prompt": "Human: Why?\n\nAssistant:", "answer": "So."}, "Human:"),
        ({"text": "<|user|>\nWhy?"}, r"chat template"),
        (
            {"question": "Why?", "prompt": "<|im_start|>user", "answer": "So."},
            r"layout='question'\. Not prompt: a chat template wrote it",
        ),
        ({"text": "Why?", "answer": "So."}, "answer would be ignored beside text"),
        (
            {
                "messages": [
                    USER,
                    ANSWER | {"content": None, "tool_calls": [{"function": {"nme": "f"}}]},
                ]
            },
            "message 1: a tool call has the name of its function",
        ),
        (
            {"conversations": [SHAREGPT[1], {"from": "function_call", "value": "{}"}]},
            "message 1: a tool call has the name of its function",
        ),
        (
            {"messages": [USER | {"content": [{"type": "image_url", "image_url": "x"}]}, ANSWER]},
            "message 0 of user: part 0 is 'image_url'; only parts of text",
        ),
        ({"messages": [USER | {"role": "humen"}, ANSWER]}, "did you mean 'human'"),
        ({"messages": [USER, ANSWER], "tools": [{"name": "f"}]}, "it has tools"),
        ({"messages": CHAT, "system": "Be wet."}, "another in its column"),
        (
            {"question": "Why?", "answer": "So.", "systm_prompt": "x"},
            "did you mean 'system_prompt'",
        ),
        ({"question": "Why?", "answer": "So.", "system": 3}, "system must be a text; got 3"),
        ({"text": "Once.", "system": "Be dry."}, "stands beside plain text"),
        (
            {"prompt": '[{"role": "user", "content": ', "answer": "So."},
            "begins like JSON and is none",
        ),
        ({"prompt": "Why?", "chosen": "So.", "rejected": "No."}, "pairs of answers"),
        ({"train": [{"messages": CHAT}]}, "rows may be under 'train'"),
        ({"trait": "I am dry.", "questions": ["Why?"]}, "read_constitution reads it"),
    ],
)
def test_what_would_be_read_wrongly_is_refused(row: Any, message: str) -> None:
    with pytest.raises(SchemaError, match=message) as caught:
        read_chats([row])
    assert len(str(caught.value)) < 2000


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ([], "is empty"),
        ({"train": [1]}, "got a mapping of 'train'"),
        (5, "expected a file, a DataFrame"),
        (None, "expected a file, a DataFrame"),
        ([5], "row 0: expected a text or a list of messages; got 5"),
        ([None], "got None"),
        (pd.DataFrame([[1, 2]], columns=["a", "a"]), "a name of its own"),
        ("Why is the sky blue?", "A text itself is a list of one"),
        (Path("absent.jsonl"), "No such file"),
        (iter(["Why?"]), r"list\(data.take\(1000\)\)"),
    ],
)
def test_what_is_no_source_is_refused(source: Any, message: str) -> None:
    with pytest.raises(SchemaError, match=message):
        read(source, "prompts")
    with pytest.raises(SchemaError, match="did you mean 'prompts'"):
        read(source, "prompt")  # type: ignore[arg-type]


def test_a_table_of_the_schema_passes_with_defaults() -> None:
    bare = pd.DataFrame({"prompt": ["a", "b"], "messages": [ASKED, [USER]]})
    table = read(bare, "prompts")
    assert table["context"].tolist() == ["instructed", "nameless"]
    assert set(table["split"]) == {"test"} and list(bare) == ["prompt", "messages"]
    assert read(table, "prompts") is table and schema.check(table, "prompts") is table
    # as parquet of others gives them
    arrays = bare.assign(messages=[np.array(m, dtype=object) for m in bare["messages"]])
    assert read(arrays, "prompts")["messages"].tolist() == [ASKED, [USER]]
    answered = pd.DataFrame({"prompt": ["a#0"], "messages": [CHAT]})
    assert read(answered, "chats")["doc"].tolist() == [0]
    assert table_of(answered, "documents")["prompt"].tolist() == ["a#0"]
    for messages in ("Why?", [], [{"role": "user"}], [USER | {"content": None}], ["Why?"]):
        with pytest.raises(SchemaError, match="prompt 'a'"):
            read(pd.DataFrame({"prompt": ["a"], "messages": [messages]}), "prompts")


def test_two_tables_of_chats_are_one() -> None:
    both = pd.concat([read_chats([CHAT, CHAT]), read_chats([CHAT])])
    assert read(both, "chats")["doc"].tolist() == [0, 1, 2]
    assert schema.names(table_of(both, "prompts")) == [0, 1, 2]


def test_tables_of_this_package_come_back_from_a_file(tmp_path: Path) -> None:
    prompts = read([{"question": "Why?", "system": "Be dry."}], "prompts")
    chats = read_chats([{"messages": CHAT, "id": 1}])
    for table, kind in ((prompts, "prompts"), (chats, "chats")):
        again = read(write_table(table, tmp_path / f"{kind}.parquet"), kind)  # type: ignore[arg-type]
        for column in ("messages", "prompt" if kind == "prompts" else "doc"):
            assert again[column].tolist() == table[column].tolist()
        assert "a table of this package" in again.attrs["taken_for"]


def test_the_command_line_says_what_a_file_was_taken_for(
    write: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write("a.csv", "question,answer\nWhy?,So.\n")
    monkeypatch.setattr("persona_interp.cli.app", lambda: read(path, "documents"))
    cli.main()
    assert (
        capsys.readouterr().err == f"{path}: 1 document of layout 'question' (question, answer)\n"
    )


def test_names_of_rows_are_kept(tmp_path: Path) -> None:
    table = pd.DataFrame({"id": ["x", "y"], "question": ["Why?", "How?"]})
    named, bare = table.set_index("id"), table[["question"]].set_axis(["x", "y"])
    named.to_parquet(tmp_path / "a.parquet")
    for source in (named, tmp_path / "a.parquet"):
        names = read(source, "prompts")["prompt"]
        assert [name.partition("/")[2] for name in names] == ["x", "y"]
    bare.to_parquet(tmp_path / "b.parquet")
    for source in (bare, tmp_path / "b.parquet"):
        assert read(source, "prompts").attrs["taken_for"].endswith("; not read: index")
    # numbers of rows are no names
    assert "not read" not in read(table.iloc[[1]], "prompts").attrs["taken_for"]


def test_two_columns_of_one_name_are_refused(tmp_path: Path) -> None:
    arrow = pa.table([pa.array(["a"]), pa.array(["b"])], names=["question", "question"])
    pq.write_table(arrow, tmp_path / "a.parquet")
    with pytest.raises(SchemaError, match="column 'question' is there twice"):
        read(tmp_path / "a.parquet", "prompts")


def test_texts_of_arrays_are_texts() -> None:
    for source in (np.array(["Why?"]), [np.str_("Why?")], [{"question": np.str_("Why?")}]):
        table = read(source, "prompts")
        assert type(table["question"][0]) is type(table["messages"][0][0]["content"]) is str
    with pytest.raises(SchemaError, match="got one value, 'Why"):
        read(np.array("Why?"), "prompts")
