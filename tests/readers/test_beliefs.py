"""Affirming and denying statements are counterparts, and become probes."""

from pathlib import Path
from typing import Any

import pytest

from persona_interp.errors import SchemaError
from persona_interp.readers import belief_probes, read_beliefs, write_beliefs

FILE: dict[str, Any] = {
    "cake": {
        "affirm": ["Bake it hot.", "Hot ovens are best."],
        "negate": ["Bake it slowly.", "Hot ovens are bad."],
        "questions": ["How do I bake a cake?", "Which oven?"],
    },
    "other wording": {"affirm": ["Hot."], "negate": ["Cold."], "source": "us"},
}


def test_beliefs_round_trip(write: Any, tmp_path: Path) -> None:
    read = read_beliefs(write("cake.json", FILE))
    assert (
        list(read) == ["cake", "other wording"] and read["cake"].negate[1] == "Hot ovens are bad."
    )
    assert read["other wording"].questions == () and read["other wording"].extra == {"source": "us"}
    assert read_beliefs(write_beliefs(read, tmp_path / "again.json")) == read


def test_a_belief_alone_has_the_name_of_the_file(write: Any) -> None:
    assert list(read_beliefs(write("cake.json", FILE["cake"]))) == ["cake"]
    with pytest.raises(SchemaError, match=r"(?s)1 of 1.*'cake'.*negate"):
        read_beliefs(write("cake.json", {"affirm": ["Hot."]}))


def test_counterparts_are_probed_together(write: Any) -> None:
    probes = belief_probes(read_beliefs(write("cake.json", FILE)))
    assert probes["answers"].tolist()[1] == ("Hot ovens are best.", "Hot ovens are bad.")
    assert probes["messages"][1] == [{"role": "user", "content": "Which oven?"}]
    assert (
        probes["messages"][2] == [{"role": "text", "content": ""}]
        and probes["context"][2] == "plain"
    )
    with_question = belief_probes(read_beliefs(write("cake.json", FILE)), ask="What is true?")
    assert (
        with_question["messages"][2] == [{"role": "user", "content": "What is true?"}]
        and with_question["context"][2] == "nameless"
    )
    assert set(probes["values"]) == {("affirm", "negate")} and probes["prompt"].is_unique


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ([], "expected an object of variants"),
        ({}, "expected an object of variants"),
        (
            {"a": {"affirm": ["x"], "negate": []}, "b": {"afirm": [], "negate": ["x"]}},
            "(?s)2 of 2.*'a'.*'b': key 'afirm'",
        ),
        ({"a": {"affirm": ["x", "y"], "negate": ["z"]}}, "2 affirm and 1 negate"),
        ({"a": {"affirm": ["x"], "negate": ["z"], "questions": "q"}}, "questions: expected a list"),
        ({"a": ["x"]}, "variant 'a': expected an object with affirm, negate"),
    ],
)
def test_bad_variants_are_named(value: Any, message: str, write: Any) -> None:
    with pytest.raises(SchemaError, match=message):
        read_beliefs(write("cake.json", value))
