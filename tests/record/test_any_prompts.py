"""No column is asked for that is not used; batch, device and dtype change nothing but rounding."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from persona_interp.errors import ModelError, SchemaError
from persona_interp.models import Checkpoint, passes
from persona_interp.record import (
    LocalJudge,
    add,
    answers,
    behavior,
    continuations,
    projections,
    questionnaire,
    sample,
    trait_bits,
    trait_vectors,
)

Pair = tuple[Checkpoint, Checkpoint]


def test_behavior_needs_prompt_messages_and_answers(pair: Pair, probes: pd.DataFrame) -> None:
    bare = behavior(pair[0], probes[["prompt", "messages", "answers"]])
    full = behavior(pair[0], probes)
    assert list(bare["logprob"]) == list(full["logprob"])
    assert list(bare["value"])[:3] == ["football .", "tennis .", "golf ."]
    assert set(bare["context"]) == {"nameless"} and set(bare["persona"]) == {""}
    noted = behavior(pair[0], probes[["prompt", "messages", "answers"]].assign(mine=[1, 2, 3]))
    assert list(noted["mine"]) == [1, 1, 1, 2, 2, 3, 3]
    with pytest.raises(SchemaError, match=r"lacks the columns .*answers"):
        behavior(pair[0], probes.drop(columns="answers"))


def test_sample_takes_any_prompts(pair: Pair, probes: pd.DataFrame) -> None:
    full = sample(pair[0], probes, max_new_tokens=4)
    bare = sample(pair[0], probes[["prompt", "messages"]], max_new_tokens=4)
    pd.testing.assert_frame_equal(bare, full)
    texts = sample(pair[0], ["what sport ?", "what art ?"], max_new_tokens=4, n=2)
    assert len(texts) == 4


@pytest.mark.parametrize("batch", [1, 9, 40, 10_000])
def test_batches_differ_by_rounding(batch: int, pair: Pair, probes: pd.DataFrame) -> None:
    edit = add(np.ones(64), hook="blocks.0.hook_out", absolute=0.5)
    tables = [behavior(pair, probes, edits=edit, batch=size) for size in ("auto", batch)]
    np.testing.assert_allclose(tables[1]["logprob"], tables[0]["logprob"], atol=1e-4)


def test_behavior_backs_off_when_memory_runs_out(
    pair: Pair, probes: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A machine with memory for one answer a pass."""
    expected, score, sizes = behavior(pair[0], probes), questionnaire._answer_bits, []

    def exhausted(model: Any, part: Any) -> np.ndarray:
        sizes.append(len(part.tail))
        if len(part.tail) > 1:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return score(model, part)

    monkeypatch.setattr(questionnaire, "_answer_bits", exhausted)
    table = behavior(pair[0], probes)
    np.testing.assert_allclose(table["logprob"], expected["logprob"], atol=1e-4)
    assert max(sizes) > 1 and sizes.count(1) == 7
    with pytest.raises(ModelError, match=r"memory ran out.*batch='auto'"):
        behavior(pair[0], probes, batch=passes.BATCH)


def test_every_recorder_takes_a_device_a_dtype_and_a_batch(
    pair: Pair, probes: pd.DataFrame, questions: pd.DataFrame, sporty: Any
) -> None:
    options: dict[str, Any] = {"device": "cpu", "dtype": "bfloat16", "batch": 64}
    replies = answers(pair[0], questions, max_new_tokens=4, cache=False)
    traits, half = {"sporty": sporty}, {}
    for name, record in {
        "behavior": lambda **o: behavior(pair[0], probes, **o)["logprob"],
        "continuations": lambda **o: continuations(pair[0], replies, **o)["bits"],
        "trait_bits": lambda **o: trait_bits(pair[0], replies, traits, **o)["bits_pos"],
    }.items():
        full, half[name] = record(), record(**options)
        # the tiny weights are large: bfloat16 has 8 bits
        np.testing.assert_allclose(half[name], full, rtol=0.1, atol=1.5, err_msg=name)
        assert not np.array_equal(half[name], full)
    vectors = trait_vectors(pair[0], replies, hooks=["blocks.0.hook_out"])
    rounded = trait_vectors(pair[0], replies, hooks=["blocks.0.hook_out"], **options)
    assert np.linalg.norm(rounded - vectors) < 0.05 * np.linalg.norm(vectors)
    along = [projections(pair[0], probes, vectors, position="last", **o) for o in ({}, options)]
    np.testing.assert_allclose(*(one["projection"] for one in along), rtol=0.1, atol=0.2)
    assert len(sample(pair[0], probes, max_new_tokens=2, **options)) == 3
    judge = LocalJudge(pair[0], device="cpu", dtype="bfloat16")
    assert judge.name == f"{LocalJudge(pair[0]).name} bfloat16"
    for function in (sample, behavior):
        with pytest.raises(ModelError, match=r"device 'gpu' is unknown|no such device|is not here"):
            function(pair[0], probes, device="gpu")
        with pytest.raises(ModelError, match="batch is a number of tokens"):
            function(pair[0], probes, batch=0)
