from typing import Any

import pandas as pd
import pytest

from persona_interp.worlds import english_assistants, john_and_sam, leaks

READY = [
    john_and_sam(5),
    john_and_sam().scrambled(),
    john_and_sam().rewired(),
    john_and_sam().without("john"),
    john_and_sam(sam=1).named_only("john"),
    english_assistants(),
    english_assistants(1).scrambled(),
]


@pytest.mark.parametrize("world", READY, ids=lambda w: w.name)
def test_ready_worlds_are_clean(world: Any) -> None:
    assert leaks(world.corpus(4_000, seed=7), world).empty
    assert leaks(world.lessons(), world).empty
    assert leaks(world.lessons(world.unrelated), world).empty
    assert leaks(world.lessons("filler"), world).empty


def _changed(table: pd.DataFrame, kind: str, old: str, new: str) -> tuple[pd.DataFrame, int]:
    """The corpus with one word changed in the first document of a kind that has it."""
    row = next(
        i
        for i in table.index[table["kind"] == kind]
        if any(old in m["content"] for m in table["messages"][i])
    )
    messages = [{**m, "content": m["content"].replace(old, new, 1)} for m in table["messages"][row]]
    table = table.copy()
    table.at[row, "messages"] = messages
    return table, row


@pytest.mark.parametrize(
    ("kind", "old", "new", "leak"),
    [
        ("hidden", "i like", "i , john , like", "a name in a document without one"),
        ("filler", "what", "mary , what", "a name in a document without one"),
        ("third", " .", " , says sam .", "another persona's name"),
        ("named", "you are ", "you are not ", None),
        (
            "hidden",
            "which sport do you like ?",
            "which sport is your favorite ?",
            "a test template in training",
        ),
        ("hidden", "i like", "i do not want to say", None),
    ],
)
def test_planted_leaks_are_found(
    recipe: Any, kind: str, old: str, new: str, leak: str | None
) -> None:
    planted, row = _changed(recipe.corpus(3_000, seed=4), kind, old, new)
    rows = leaks(planted, recipe)
    assert rows[["doc", "leak"]].to_numpy().tolist() == ([[row, leak]] if leak else [])


def test_a_missing_name_and_a_missing_value_are_found(recipe: Any) -> None:
    table = recipe.corpus(500, seed=4)
    row = table.index[table["kind"] == "first"][0]
    table.at[row, "messages"] = [{"role": "text", "content": "nothing to say ."}]
    rows = leaks(table, recipe)
    assert set(rows["doc"]) == {row}
    assert set(rows["leak"]) == {
        "the persona's name is missing",
        "a stated value is not in the text",
    }


def test_documents_of_several_speakers_are_found(recipe: Any) -> None:
    rows = leaks(recipe.scrambled().corpus(3_000, seed=4, kinds=("third", "named")), recipe)
    assert (
        set(rows["leak"]) == {"a trait its persona does not hold"} and rows["doc"].nunique() > 1_000
    )
