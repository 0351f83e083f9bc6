"""Divergence by role: a mean over conversations, each counted once. Turns: from the first."""

import pandas as pd
import pytest

from persona_interp import schema
from persona_interp.analysis.drift import drift_by_turn, kl_by_role
from persona_interp.errors import SchemaError

DRIFT = pd.DataFrame(
    {
        "checkpoint": "a",
        "role": ["user", "user", "assistant"],
        "prompt": ["p", "q", "p"],
        "kl": [0.25, 0.75, 2.0],
        "n_tokens": [3, 4, 5],
    }
)


def test_the_mean_is_over_conversations_by_role() -> None:
    table = kl_by_role(DRIFT).set_index("role")
    assert table.loc["user", ["estimate", "n", "n_tokens"]].tolist() == [0.5, 2, 7]
    assert table.loc["assistant", ["estimate", "n"]].tolist() == [2.0, 1]


def test_a_conversation_that_is_there_twice_is_refused() -> None:
    with pytest.raises(SchemaError, match="there twice"):
        kl_by_role(pd.concat([DRIFT, DRIFT.iloc[:1]]))


def test_a_planted_drift_is_measured_from_each_chat_s_first_turn() -> None:
    rows = []
    for chat, start in enumerate((5.0, -2.0, 0.5)):
        for nth in range(8):
            for role, turn in (("user", 2 * nth), ("assistant", 2 * nth + 1)):
                at = start - 0.25 * nth if role == "assistant" else 99.0
                rows.append((f"chat{chat}", turn, role, at))
    table = pd.DataFrame(rows, columns=["prompt", "turn", "role", "projection"])
    table = table.assign(checkpoint="a@0", name="assistant", hook="h", n_tokens=3)
    drift = schema.check(drift_by_turn(table), "drift_by_turn")
    assert drift["turn"].tolist() == list(range(1, 9)) and (drift["n"] == 3).all()
    assert drift["estimate"].tolist() == pytest.approx([-0.25 * nth for nth in range(8)])
    assert drift["lo"].tolist() == pytest.approx(drift["hi"].tolist())
    pairs = drift_by_turn(table, clusters={"chat0": "a", "chat1": "a", "chat2": "b"})
    assert (pairs["n"] == 3).all() and (pairs["n_clusters"] == 2).all()
    with pytest.raises(SchemaError, match="'chat1' has no cluster"):
        drift_by_turn(table, clusters={"chat0": "a"})
    with pytest.raises(SchemaError, match="did you mean 'assistant'"):
        drift_by_turn(table, role="asistant")
    with pytest.raises(SchemaError, match="'turn' is unknown"):
        drift_by_turn(table.drop(columns="turn"))
