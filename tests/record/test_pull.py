from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from persona_interp import analysis
from persona_interp.errors import SchemaError
from persona_interp.models import Checkpoint
from persona_interp.record import (
    activations,
    answers,
    conversations,
    mean_difference,
    projection_difference,
    projections,
    random_directions,
)

Pair = tuple[Checkpoint, Checkpoint]
HOOK = "blocks.0.hook_out"


def corpus(rows: list[list[dict[str, str]]]) -> pd.DataFrame:
    table = pd.DataFrame(
        {"doc": range(len(rows)), "kind": "lesson", "persona": "", "messages": rows}
    )
    return table.assign(
        statements=[()] * len(rows), source="chats.jsonl", line=range(1, len(rows) + 1)
    )


def chat(answer: str) -> list[dict[str, str]]:
    return [
        {"role": "user", "content": "what sport do you like ?"},
        {"role": "assistant", "content": answer},
    ]


def directions(checkpoint: Checkpoint) -> object:
    """From golf answers to art answers."""
    rows = pd.DataFrame(
        {"prompt": ["golf", "art"], "context": "nameless", "topic": "", "split": "test"}
    )
    rows = rows.assign(
        persona=["golf", "art"], messages=[chat("golf golf golf ."), chat("art art art .")]
    )
    acts = activations(checkpoint, rows, hook=HOOK, position="answer")
    return mean_difference(acts).sel(name=["art"])


def test_rows_that_pull_come_first(pair: Pair) -> None:
    rows = corpus([chat("golf golf ."), chat("art art ."), chat("football .")])
    v = directions(pair[0])
    table = projection_difference(pair[0], rows, v, max_new_tokens=5, cache=False)  # type: ignore[arg-type]
    assert table["doc"].iloc[0] == 1 and table["line"].iloc[0] == 2 and table["doc"].iloc[-1] == 0
    # The same question gets the same reply; equal rows of one batch may be rounded differently.
    assert table["own"].tolist() == pytest.approx([table["own"].iloc[0]] * 3, rel=1e-4)
    of_rows = projections(pair[0], rows, v, position="answer")  # type: ignore[arg-type]
    np.testing.assert_allclose(table.sort_values("doc")["given"], of_rows["projection"])
    question = pd.DataFrame(
        {"prompt": ["q"], "context": "nameless", "persona": "", "topic": "", "split": "train"}
    )
    question["messages"] = [rows["messages"][0][:-1]]
    reply = conversations(answers(pair[0], question, max_new_tokens=5, cache=False))
    own = projections(pair[0], reply, v)  # type: ignore[arg-type]
    assert table["own"].iloc[0] == pytest.approx(own["projection"].item(), rel=1e-4)


def test_the_models_own_replies_pull_nowhere(pair: Pair, questions: pd.DataFrame) -> None:
    prompts = questions.query("side == 'default'")
    replies = conversations(answers(pair[0], prompts, max_new_tokens=6, cache=False))
    rows = corpus(list(replies["messages"]))
    table = projection_difference(pair[0], rows, directions(pair[0]), max_new_tokens=6, cache=False)  # type: ignore[arg-type]
    np.testing.assert_allclose(table["difference"], 0, atol=1e-4)


def test_the_cheap_variant_reads_the_last_token(pair: Pair, tmp_path: Path) -> None:
    rows, v = corpus([chat("golf ."), chat("art .")]), directions(pair[0])
    table = projection_difference(pair[0], rows, v, own="last")  # type: ignore[arg-type]
    assert list(table["doc"]) == [1, 0]
    last = projections(
        pair[0],
        rows.assign(messages=[m[:-1] for m in rows["messages"]]),
        v,  # type: ignore[arg-type]
        position="last",
    )
    # One question, so one last token; equal rows of one batch may be rounded differently.
    assert table["own"].tolist() == pytest.approx([last["projection"].iloc[0]] * 2, rel=1e-4)


def test_random_directions_are_the_null_of_a_data_set(pair: Pair) -> None:
    v = directions(pair[0])
    controls = random_directions(v, n=20, seed=0)  # type: ignore[arg-type]
    rows = corpus([chat("art ."), chat("art art ."), chat("art art art .")])
    both = pd.concat(
        [
            projection_difference(pair[0], rows, d, max_new_tokens=4, cache=False)  # type: ignore[arg-type]
            for d in (v, controls)
        ]
    )
    (row,) = analysis.projection_pull(both, random=[f"random {i}" for i in range(20)]).itertuples()
    assert row.name == "art" and row.n == 3 and row.n_random == 20 and row.null_lo < 0 < row.null_hi


def test_chats_without_an_answer_are_named(pair: Pair) -> None:
    v = directions(pair[0])
    with pytest.raises(SchemaError, match="document 1 does not end with an assistant's answer"):
        projection_difference(pair[0], corpus([chat("art ."), chat("art .")[:1]]), v)  # type: ignore[arg-type]
    with pytest.raises(SchemaError, match="own 'replies' is unknown; did you mean 'reply'"):
        projection_difference(pair[0], corpus([chat("art .")]), v, own="replies")  # type: ignore[arg-type]


def test_answers_are_read_at_one_token_where_that_is_asked(pair: Pair) -> None:
    rows, v = corpus([chat("golf ."), chat("art .")]), directions(pair[0])
    table = projection_difference(pair[0], rows, v, own="last", position=-2)  # type: ignore[arg-type]
    there = projections(pair[0], rows, v, position=-2)  # type: ignore[arg-type]
    np.testing.assert_allclose(table.sort_values("doc")["given"], there["projection"], rtol=1e-4)
    mean = projection_difference(pair[0], rows, v, own="last")  # type: ignore[arg-type]
    assert not np.allclose(table.sort_values("doc")["given"], mean.sort_values("doc")["given"])
