"""Published traits are asked as a world's are: two answers to a question that nobody instructs."""

import numpy as np
import pandas as pd
import pytest

from persona_interp.errors import SchemaError
from persona_interp.models import Checkpoint
from persona_interp.record import answers, behavior, continuations, trait_probes

Pair = tuple[Checkpoint, Checkpoint]


@pytest.fixture(scope="module")
def table(pair: Pair, questions: pd.DataFrame) -> pd.DataFrame:
    return answers(pair[0], questions, n=2, max_new_tokens=7, cache=False)


@pytest.mark.filterwarnings("ignore:.*share their first token")
def test_they_are_the_answers_that_continuations_score(pair: Pair, table: pd.DataFrame) -> None:
    probes = trait_probes(table)
    assert set(probes["topic"]) == {"sporty"} and len(probes) > 4
    assert not any(chat[0]["role"] == "system" for chat in probes["messages"])
    said = behavior(pair[1], probes)
    scored = continuations(pair[1], table)
    for value in ("pos", "neg"):
        ours = said.loc[said["value"] == value, "logprob"]
        theirs = scored.loc[scored["side"] == value, "bits"]
        assert all(np.isclose(theirs, one, rtol=0, atol=1e-3).any() for one in ours)


def test_answers_without_a_partner_are_left_out_and_counted(table: pd.DataFrame) -> None:
    whole = trait_probes(table)
    kept = table.loc[table["side"] != "default"].reset_index(drop=True)
    first = (kept["question"] == kept["question"].iloc[0]) & (kept["side"] == "pos")
    empty = kept.assign(answer=kept["answer"].where(~first, " "))
    probes = trait_probes(empty)
    assert len(probes) == len(whole) - whole["template"].eq(kept["question"].iloc[0]).sum()
    assert probes.attrs["n_left_out"] == len(kept) - 2 * len(probes)
    equal = kept.assign(answer="golf .")
    with pytest.raises(SchemaError, match="trait 'sporty' has no question with two different"):
        trait_probes(equal)


def test_one_side_alone_is_refused(table: pd.DataFrame) -> None:
    with pytest.raises(SchemaError, match="no question with two different answers"):
        trait_probes(table.loc[table["side"] == "pos"])
