import math
import warnings

import numpy as np
import pandas as pd
import pytest
import torch

from persona_interp import schema
from persona_interp.errors import SchemaError
from persona_interp.models import Checkpoint, encode, load
from persona_interp.record import behavior

Pair = tuple[Checkpoint, Checkpoint]


def by_hand(checkpoint: Checkpoint, messages: list[dict[str, str]], answer: str) -> float:
    """The chain rule, token by token, each prefix in a forward pass of its own (bits)."""
    model, tokenizer = load(checkpoint)
    tokens = encode(tokenizer, [messages], answers=[answer])
    (ids,), ((start, stop),) = tokens.ids, tokens.spans
    total = 0.0
    with torch.inference_mode():
        for i in range(start, stop):
            total += float(
                model(torch.tensor([list(ids[:i])])).logits[0, -1].log_softmax(-1)[ids[i]]
            )
    return total / math.log(2)


def test_probability_is_the_chain_rule_over_the_whole_answer(
    pair: Pair, probes: pd.DataFrame
) -> None:
    table = behavior(pair, probes)
    schema.check(table, "behavior")
    expected = [
        by_hand(checkpoint, row.messages, answer)
        for checkpoint in pair
        for row in probes.itertuples()
        for answer in row.answers
    ]
    np.testing.assert_allclose(table["logprob"], expected, atol=1e-4)


def test_rows_come_as_checkpoints_by_probes_by_values(pair: Pair, probes: pd.DataFrame) -> None:
    table = behavior(pair, probes)
    assert list(table["checkpoint"]) == ["lesson@0"] * 7 + ["lesson@1"] * 7
    assert list(table["prompt"][:7]) == ["chat"] * 3 + ["longer"] * 2 + ["text"] * 2
    assert list(table["value"][:7]) == [
        "football",
        "tennis",
        "golf",
        "football",
        "tennis",
        "football",
        "tennis",
    ]


def test_answer_mass_sums_the_answers_of_a_prompt(pair: Pair, probes: pd.DataFrame) -> None:
    table = behavior(pair, probes)
    summed = (
        np.exp2(table["logprob"]).groupby([table["checkpoint"], table["prompt"]]).transform("sum")
    )
    np.testing.assert_allclose(table["answer_mass"], summed, rtol=1e-12)
    assert (table["answer_mass"] < 1).all()


def test_answers_cover_all_continuations_of_one_token(pair: Pair, probes: pd.DataFrame) -> None:
    """Over the whole vocabulary the probabilities of a one-token answer sum to 1."""
    _, tokenizer = load(pair[0])
    words = [w for w in tokenizer.get_vocab() if w.isalpha()]
    one = probes.iloc[:1].assign(values=[tuple(words)], answers=[tuple(f" {w}" for w in words)])
    mass = behavior(pair[0], one)["answer_mass"].iloc[0]
    assert 0.3 < mass <= 1 + 1e-6


def test_alone_in_small_batches_or_together_is_the_same(pair: Pair, probes: pd.DataFrame) -> None:
    together = behavior(pair[0], probes)["logprob"]
    alone = pd.concat([behavior(pair[0], probes.iloc[[i]]) for i in range(len(probes))])["logprob"]
    np.testing.assert_allclose(alone, together, rtol=1e-5)
    np.testing.assert_allclose(behavior(pair[0], probes, batch=2)["logprob"], together, rtol=1e-5)
    backwards = behavior(pair[0], probes.iloc[::-1]).sort_values(["prompt", "value"])["logprob"]
    np.testing.assert_allclose(
        backwards, behavior(pair[0], probes).sort_values(["prompt", "value"])["logprob"], rtol=1e-5
    )


def test_a_checkpoint_against_itself_is_exactly_equal(pair: Pair, probes: pd.DataFrame) -> None:
    pd.testing.assert_frame_equal(
        behavior(pair[0], probes), behavior([pair[0]], probes), check_exact=True
    )


def test_extra_columns_are_kept(pair: Pair, probes: pd.DataFrame) -> None:
    assert set(behavior(pair[0], probes.assign(world="full"))["world"]) == {"full"}


def test_bad_probes_are_refused(pair: Pair, probes: pd.DataFrame) -> None:
    with pytest.raises(SchemaError, match="no rows"):
        behavior(pair[0], probes.iloc[:0])
    with pytest.raises(SchemaError, match="an answer twice"):
        behavior(
            pair[0],
            probes.assign(answers=[(" golf .", " golf .", " art ."), *probes["answers"][1:]]),
        )
    with pytest.raises(SchemaError, match="2 values and 3 answers"):
        behavior(pair[0], probes.assign(values=[("golf", "art"), *probes["values"][1:]]))


def test_a_shared_first_token_only_warns(pair: Pair, probes: pd.DataFrame) -> None:
    shared = probes.iloc[:1].assign(
        values=[("golf", "art")], answers=[(" really golf .", " really art .")]
    )
    with pytest.warns(UserWarning, match="share their first token"):
        table = behavior(pair[0], shared)
    assert table["logprob"].nunique() == 2
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        behavior(pair[0], probes)
