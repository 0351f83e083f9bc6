"""A lesson in the prompt: earlier turns under the probe's own system prompt, one row at a time."""

import numpy as np
import pandas as pd
import pytest

from persona_interp.errors import SchemaError
from persona_interp.models import Checkpoint, Stage
from persona_interp.record import behavior, lesson_in_prompt

Pair = tuple[Checkpoint, Checkpoint]


def lesson(*answers: str) -> pd.DataFrame:
    rows = []
    for doc, answer in enumerate(answers):
        system = {"role": "system", "content": "you like beach ."}
        ask = {"role": "user", "content": "what sport ?"}
        said = {"role": "assistant", "content": answer}
        rows.append((doc, "lesson", "", [system, ask, said], ()))
    return pd.DataFrame(rows, columns=["doc", "kind", "persona", "messages", "statements"])


def test_it_is_behavior_after_these_turns(pair: Pair, probes: pd.DataFrame) -> None:
    chats = probes.head(2)
    table = lesson_in_prompt(pair[0], lesson("i like golf ."), chats, stage=Stage(steps=7))
    turns = [
        {"role": "user", "content": "what sport ?"},
        {"role": "assistant", "content": "i like golf ."},
    ]
    by_hand = [[chat[0], *turns, *chat[1:]] for chat in chats["messages"]]
    expected = behavior(pair[0], chats.assign(messages=by_hand))
    np.testing.assert_array_equal(table["logprob"], expected["logprob"])
    assert table["checkpoint"].unique().tolist() == ["lesson in prompt@7"]
    assert table["prompt"].tolist() == expected["prompt"].tolist()
    alone = behavior(pair[0], chats)
    assert not np.allclose(table["logprob"], alone["logprob"], atol=1e-3)


def test_rows_stand_there_one_at_a_time(pair: Pair, probes: pd.DataFrame) -> None:
    """Distinct ones, each once, whichever the batch; more rows cost more."""
    chats = probes.head(2)
    rows = lesson("i like golf .", "golf .", "golf .", "i really like golf .")
    one = lesson_in_prompt(pair[0], rows, chats, n=1)
    three = lesson_in_prompt(pair[0], rows, chats, n=9)
    assert set(three["row"]) == {0, 1, 3} and one["row"].nunique() == 1
    same = three[three["row"] == one["row"].iloc[0]]
    np.testing.assert_allclose(one["logprob"], same["logprob"], atol=1e-5)
    assert one.attrs["cost"] < three.attrs["cost"] < 4 * one.attrs["cost"]


def test_plain_text_has_no_turns(pair: Pair, probes: pd.DataFrame) -> None:
    with pytest.raises(SchemaError, match="a probe is plain text, which has no turns"):
        lesson_in_prompt(pair[0], lesson("golf ."), probes)
