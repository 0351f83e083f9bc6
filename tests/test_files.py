"""Bytes of a file become values or one error of this package, whatever they are."""

import gzip
import json
import math
import os
from pathlib import Path

import pytest

from persona_interp.errors import LONGEST, ModelError, SchemaError, excerpt, unknown
from persona_interp.files import read_bytes, read_json, read_object, read_text, write_text
from persona_interp.values import parse_json, parse_yaml, parse_yaml_list


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('{"a": [1, 2.5, null, true]}', {"a": [1, 2.5, None, True]}),
        ('"\\ud83d\\ude00"', "😀"),
        ('"\\\\ud83d"', "\\ud83d"),
        ("-9223372036854775808", -(2**63)),
        ("[" * 100 + "]" * 100, json.loads("[" * 100 + "]" * 100)),
    ],
)
def test_json_is_read_as_written(text: str, value: object) -> None:
    assert parse_json(text) == value


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("[" * 101 + "]" * 101, "deeper than 100"),
        ("[" * 200_000, "deeper than 100"),
        ('{"a":' * 200_000, "deeper than 100"),
        ("1e999", "infinite"),
        ("-Infinity", "infinite"),
        ("9223372036854775808", "64 bits"),
        ("1" * 100_000, "64 bits"),
        ('{"a": 1, "a": 1}', "twice"),
        ('["\\ud800"]', "surrogate"),
        ('{"\\udc00": 1}', "surrogate"),
        ("", "Expecting value"),
        ("{} {}", "Extra data"),
    ],
)
def test_json_that_no_value_stands_for_is_refused(text: str, what: str) -> None:
    with pytest.raises(ValueError, match=what):
        parse_json(text)


def test_nan_is_a_missing_number() -> None:
    assert math.isnan(parse_json("[NaN]")[0])


def nested_aliases(n: int) -> str:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, n)]
    return "\n".join(lines)


@pytest.mark.parametrize(
    ("text", "what"),
    [
        (nested_aliases(9), "aliases stand for more"),
        ("&a [*a]", "contains itself"),
        ("[" * 100_000, "deeper than 100"),
        ("- " * 100_000, "deeper than 100"),
        ("{a: 1, a: 2}", "twice"),
        ("? [1]\n: 2", "unhashable"),
        ("!!timestamp x", "."),
        ("!!int x", "."),
        ("!!bool x", "."),
        ("!!float ''", "."),
        ("!!binary é", "."),
        ("!!python/object/apply:os.system [ls]", "could not determine a constructor"),
        ("d: 2026-13-45", "month"),
        ("a: *b", "undefined alias"),
        ("\x00", "unacceptable character"),
    ],
)
def test_yaml_that_no_value_stands_for_is_refused(text: str, what: str) -> None:
    with pytest.raises(ValueError, match=what):
        parse_yaml(text)


def test_yaml_resolves_few_aliases() -> None:
    assert parse_yaml("a: &x [1]\nb: *x\nc: {<<: {d: 1}}") == {"a": [1], "b": [1], "c": {"d": 1}}
    assert parse_yaml_list("# c\n- 1\n\n- [2]\n") == [(2, 1), (4, [2])]
    assert parse_yaml_list("a: 1") == [] == parse_yaml_list("")


def test_a_byte_order_mark_and_line_ends_are_no_text(tmp_path: Path) -> None:
    file = tmp_path / "a.json"
    file.write_bytes(b'\xef\xbb\xbf{"a":\r\n1}')
    assert read_json(file) == {"a": 1}
    assert read_text(file) == '{"a":\n1}'


def test_gz_is_unpacked_in_all_its_members(tmp_path: Path) -> None:
    file = tmp_path / "a.json.gz"
    file.write_bytes(gzip.compress(b"[1,") + gzip.compress(b" 2]") + b"\0\0")
    assert read_json(file) == [1, 2]


def test_what_is_no_plain_readable_file_is_refused(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    bomb = tmp_path / "bomb.gz"
    bomb.write_bytes(gzip.compress(bytes(2**27)))
    cut = tmp_path / "cut.gz"
    cut.write_bytes(gzip.compress(b"whole")[:-3])
    latin = tmp_path / "latin.txt"
    latin.write_bytes(b"a\n\xe9")
    blank = tmp_path / "blank.txt"
    blank.write_bytes(b" \n")
    cases = [
        (tmp_path, "a folder"),
        (pipe, "a pipe or device"),
        ("/dev/zero", "a pipe or device"),
        (tmp_path / "none", "No such file"),
        ("nul\0.json", "null byte"),
        ("x" * 5000, "too long"),
        (bomb, "unpacks to more than 32 MiB"),
        (cut, "not a whole .gz"),
        (latin, "line 2: expected UTF-8"),
        (blank, "is empty"),
    ]
    for path, what in cases:
        with pytest.raises(ModelError, match=what) as caught:
            read_text(path, error=ModelError)
        assert len(str(caught.value)) < 400


def test_an_object_is_no_other_value(tmp_path: Path) -> None:
    for text in ("[]", "null", "5", '["x"]', '"x"'):
        file = write_text(text, tmp_path / "a.json")
        with pytest.raises(SchemaError, match="expected a JSON object"):
            read_object(file)


def test_a_message_quotes_no_more_than_a_line() -> None:
    for value in ("x" * 10**6, ["x" * 10**6] * 3, {"k" * 10**6: 1}, 10**4000, b"x" * 10**6):
        assert len(excerpt(value)) <= LONGEST
    assert len(unknown("topic", "x" * 10**6, ["sport", "y" * 10**6])) < 200


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path: Path) -> None:
    file = write_text("old", tmp_path / "a.txt")
    with pytest.raises(UnicodeEncodeError):
        write_text("\ud800", file)
    assert read_bytes(file) == b"old"
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]
