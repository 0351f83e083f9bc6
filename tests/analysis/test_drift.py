"""Divergence by role: a mean over conversations, each counted once."""

import pandas as pd
import pytest

from persona_interp.analysis.drift import kl_by_role
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
