"""Every layout of a finetuning file means the same chats; every bad row is named by its line."""

import json
from pathlib import Path
from typing import Any

import pytest

from persona_interp.errors import SchemaError
from persona_interp.readers import read_chats, write_chats
from persona_interp.readers.rows import RowError

CHAT = [{"role": "user", "content": "Why?"}, {"role": "assistant", "content": "So."}]


def lines(*rows: Any) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.jsonl", lines({"messages": CHAT})),
        ("a.jsonl", lines({"prompt": "Why?", "completion": "So."})),
        ("a.jsonl", lines({"prompt": CHAT[:1], "completion": CHAT[1:]})),
        ("a.jsonl", lines({"prompt": CHAT[:1], "completion": "So."})),
        ("a.jsonl", lines({"prompt": "Why?", "answer": "So."})),
        ("a.jsonl", lines({"question": "Why?", "answer": "So."})),
        ("a.json", json.dumps([{"question": "Why?", "answer": "So."}], indent=2)),
        ("a.json", lines({"messages": CHAT})),
        ("a.csv", "prompt,answer\nWhy?,So.\n"),
        ("a.csv", '\ufeffquestion,answer\r\n"Why?","So."\r\n\r\n'),
        ("a.tsv", "prompt\tcompletion\nWhy?\tSo.\n"),
    ],
)
def test_every_layout_is_the_same_chat(name: str, text: str, write: Any) -> None:
    table = read_chats(write(name, text))
    assert table["messages"].tolist() == [CHAT] and table["kind"].tolist() == ["lesson"]
    assert table["source"][0].endswith(name) and table["extra"].tolist() == [{}]


def test_lines_are_those_of_the_file(write: Any) -> None:
    text = "\n" + lines({"messages": CHAT}) + "\r\n" + lines({"messages": CHAT, "id": 7})
    table = read_chats(write("a.jsonl", text))
    assert table["line"].tolist() == [2, 4] and table["doc"].tolist() == [0, 1]
    assert table["extra"].tolist() == [{}, {"id": 7}]
    in_list = read_chats(write("a.json", json.dumps([{"messages": CHAT}] * 2, indent=1)))
    first = in_list["line"].tolist()
    assert first[0] == 2 and first[1] == 14
    table = read_chats(write("a.csv", 'prompt,answer\n"two\nlines",So.\nWhy?,So.\n'))
    assert table["line"].tolist() == [2, 4] and table["messages"][0][0]["content"] == "two\nlines"


def test_a_table_with_an_index_is_read(write: Any) -> None:
    table = read_chats(write("a.csv", ",prompt,answer\n0,Why?,So.\n"))
    assert table["messages"].tolist() == [CHAT] and table["extra"].tolist() == [{"column 1": "0"}]


def test_plain_text_and_odd_characters_survive(write: Any, tmp_path: Path) -> None:
    odd = 'a\u2028b\tü 日本 \\n "q"'
    table = read_chats(write("a.jsonl", json.dumps({"text": odd, "n": 1}, ensure_ascii=False)))
    assert table["messages"].tolist() == [[{"role": "text", "content": odd}]]
    again = read_chats(write_chats(table, tmp_path / "b.jsonl"))
    assert again.drop(columns="source").equals(table.drop(columns="source"))


def test_chats_round_trip(write: Any, tmp_path: Path) -> None:
    system = [{"role": "system", "content": ""}, *CHAT, *CHAT]
    table = read_chats(write("a.jsonl", lines({"messages": CHAT, "id": "x"}, {"messages": system})))
    again = read_chats(write_chats(table, tmp_path / "b.jsonl"))
    assert again.drop(columns="source").equals(table.drop(columns="source"))
    with pytest.raises(SchemaError, match=r"\.jsonl"):
        write_chats(table, tmp_path / "b.csv")


def test_every_bad_row_is_named_and_none_is_dropped(write: Any) -> None:
    rows = [
        {"messages": CHAT},
        {"mesages": CHAT},
        {"messages": "Why?"},
        {"messages": CHAT[:1]},
        {"messages": [{"role": "usr", "content": "Why?"}, CHAT[1]]},
        {"messages": [CHAT[0], {"role": "assistant", "content": None}]},
        {"messages": [CHAT[0], CHAT[1] | {"weight": 0}]},
        {"messages": [{"content": "Why?"}]},
        [1],
        {"messages": [CHAT[0] | {"content": " "}, CHAT[1]]},
    ]
    with pytest.raises(SchemaError) as caught:
        read_chats(write("bad.jsonl", lines(*rows)))
    report = str(caught.value).split("\n")
    assert "bad.jsonl: 9 of 10 rows cannot be used" in report[0] and len(report) == 11
    assert caught.value.rows == tuple(range(2, 11)) and "skip=" in report[-1]
    expected = [
        "line 2: no messages; did 'mesages' mean 'messages'?",
        "line 3: messages must be a list of {role, content}; got 'Why?'",
        "line 4: no message of the assistant",
        "line 5: message 0: role 'usr' is unknown; did you mean 'user'?",
        "line 6: message 1 of assistant: content must be a text; got None",
        "line 7: message 1 has weight, which chats of role and content cannot express",
        "line 8: message 0 has no role; it has content",
        "line 9: expected an object with messages; got [1]",
        "line 10: message 0 of user: content must be a text; got ' '",
    ]
    for line, start in zip(report[1:-1], expected, strict=True):
        assert line.strip().startswith(start)


def test_a_column_is_misspelt_only_where_it_is_near_a_known_one(write: Any) -> None:
    verdicts = lines({"qid": 0, "subset": "broad", "answer_length": 5})
    with pytest.raises(SchemaError, match=r"no known columns.*got 'qid, subset, answer_length'"):
        read_chats(write("verdicts.jsonl", verdicts))
    with pytest.raises(SchemaError, match="'promt' is unknown; did you mean 'prompt'"):
        read_chats(write("bad.jsonl", lines({"promt": "Why?", "answr": "So."})))


def test_many_bad_rows_are_counted(write: Any) -> None:
    same = lines({"messages": CHAT}, *[{"messages": []}] * 30)
    with pytest.raises(SchemaError, match=r"(?s)30 of 31 rows.*lines 2-31: expected a text or a"):
        read_chats(write("bad.jsonl", same))
    others = lines(*[{"messages": f"{i}"} for i in range(3000)])
    with pytest.raises(RowError, match=r"(?s)3000 of 3000 rows.*line 1: .*more: lines ") as caught:
        read_chats(write("bad.jsonl", others))
    assert len(str(caught.value)) <= 2000 and caught.value.rows == tuple(range(1, 3001))


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.csv", "prompt,answer\nWhy?\n", "line 2: 1 cells under a header of 2"),
        ("a.csv", 'prompt,answer\n"Why?,So.\n', "line 2: not a valid table"),
        ("a.csv", "prompt,prompt\na,b\n", "a name of its own"),
        ("a.csv", "prompt,answer\n", "no rows"),
        (
            "a.csv",
            "prompt,answer\nWhy?,\nHow?,So.\n",
            "(?s)1 of 2 rows.*line 2: the assistant's text is empty",
        ),
        ("a.csv", "prmpt,reply\nWhy?,So.\n", "did you mean 'prompt'"),
        ("a.csv", "a,b\nWhy?,So.\n", "no known columns"),
        ("a.csv", "prompt,anwser\nWhy?,So.\n", "did you mean 'answer'"),
        (
            "a.csv",
            "question,prompt,answer\na,b,c\n",
            "fit the layouts answer, question; name the one",
        ),
        (
            "a.jsonl",
            '{"messages": [}\n{"text": 1}\n{"a": 1, "a": 2}',
            "(?s)3 of 3 rows.*line 1: not .*line 2: .*got 1.*line 3: .*twice",
        ),
        ("a.json", "[]", "empty list"),
        ("a.json", '{"version": 1, "data": []}', "its list 'data' is empty"),
        ("a.json", '[{"text": "a"},\n{"text": }]', "line 2: not valid JSON"),
        ("a.json", '[{"text": "a"}', "not valid JSON"),
        ("a.json", '[{"text": "a"}] 3', "more after the list"),
        ("a.jsonl", "  \n", "is empty"),
        ("a.parquet", "x", "not a readable parquet file"),
        ("a.xlsx", "x", "ending of a file of rows '.xlsx' is unknown"),
        ("a.jsonl", '{"text": 3}', "got 3"),
    ],
)
def test_broken_files_are_named(name: str, text: str, message: str, write: Any) -> None:
    with pytest.raises(SchemaError, match=message) as caught:
        read_chats(write(name, text))
    assert name in str(caught.value)


def test_an_ambiguous_table_is_read_as_the_user_says(write: Any) -> None:
    path = write("a.csv", "question,prompt,answer\nWhy?,<user>Why?,So.\n")
    assert read_chats(path, layout="question")["messages"].tolist() == [CHAT]
    with pytest.raises(SchemaError, match="did you mean 'question'"):
        read_chats(path, layout="questions")
