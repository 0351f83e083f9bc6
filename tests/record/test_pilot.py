"""A micro pilot: what it trains, what it costs, and that nothing of it is left."""

import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from persona_interp import models
from persona_interp.errors import ModelError
from persona_interp.models import Checkpoint, Stage
from persona_interp.models.load import hash_weights
from persona_interp.record import behavior, pilot
from persona_interp.record.lesson_rows import path_length
from persona_interp.record.pilot import micro_stage

Pair = tuple[Checkpoint, Checkpoint]
STAGE = Stage(steps=10, batch=16, lr=1e-3)


def lesson() -> pd.DataFrame:
    answers = ("i like golf .", "golf .", "i really like golf .")
    rows = []
    for doc in range(24):
        ask = {"role": "user", "content": "what sport ?"}
        answer = {"role": "assistant", "content": answers[doc % 3]}
        rows.append((doc, "lesson", "", [ask, answer], ()))
    return pd.DataFrame(rows, columns=["doc", "kind", "persona", "messages", "statements"])


@pytest.mark.parametrize("n", [1, 2, 4])
@pytest.mark.parametrize("batch", [1, 4, 16, 20])
def test_it_sees_as_many_documents_as_its_cost_says(n: int, batch: int) -> None:
    stage = Stage(steps=40, batch=batch, schedule="cosine", warmup=4)
    small = micro_stage(stage, n=n)
    documents = small.steps * small.batch
    assert n * batch - small.batch < documents <= n * batch
    assert path_length(small) == pytest.approx(2 / 3 * path_length(stage))
    assert small.loss == stage.loss and small.betas == stage.betas


def test_it_is_a_training_of_its_stage(pair: Pair, probes: pd.DataFrame, tmp_path: Path) -> None:
    before, temporary = hash_weights(pair[0]), set(Path(tempfile.gettempdir()).glob("pilot-*"))
    table = pilot(pair[0], lesson(), probes, stage=STAGE, seed=3)
    run = models.train(
        pair[0], lesson(), stage=micro_stage(STAGE), seed=3, out=tmp_path, progress=False
    )
    np.testing.assert_array_equal(table["logprob"], behavior(run.last, probes)["logprob"])
    assert table["checkpoint"].unique().tolist() == ["pilot@10"]
    assert hash_weights(pair[0]) == before
    assert set(Path(tempfile.gettempdir()).glob("pilot-*")) <= temporary


def test_its_cost_is_counted_in_steps_of_the_stage(pair: Pair, probes: pd.DataFrame) -> None:
    table = pilot(pair[0], lesson(), probes, stage=STAGE, n=2)
    assert table.attrs["costs"]["training"] == 2.0
    tokenizer = models.load(pair[0]).tokenizer
    tokens = models.encode(tokenizer, lesson()["messages"], complete=True)
    of_a_step = STAGE.batch * np.mean(tokens.lengths)
    asked = models.encode(tokenizer, probes["messages"])
    # prompts without their last token once, which each answer repeats, then all answers
    n_read = sum(asked.lengths) - len(probes) + (3 * 3) + (2 * 3) + (2 * 3) + 2
    assert table.attrs["costs"]["readout"] == pytest.approx(n_read / 3 / of_a_step, rel=0.2)
    assert table.attrs["cost"] == pytest.approx(2.0 + table.attrs["costs"]["readout"])


def test_first_mistakes_are_named(pair: Pair, probes: pd.DataFrame) -> None:
    with pytest.raises(ModelError, match="share is a number above 0"):
        pilot(pair[0], lesson(), probes, share=0.0)
    with pytest.raises(ModelError, match="without replay documents"):
        pilot(pair[0], lesson(), probes, stage=Stage(replay=0.5))
