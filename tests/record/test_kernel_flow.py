"""Kernel flow: Adam in the space of rows, by hand, and in the weights."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from persona_interp import models
from persona_interp.errors import SchemaError
from persona_interp.models import Checkpoint, Stage, encode, load
from persona_interp.record import behavior, kernel_flow
from persona_interp.record.flow import Kernel, flow
from persona_interp.record.kernel_flow import _Pulls
from persona_interp.record.lesson_rows import learning_rates, lesson_rows

Pair = tuple[Checkpoint, Checkpoint]
STAGE = Stage(steps=4, batch=2, lr=1e-3)


def chats(*answers: str) -> pd.DataFrame:
    rows = []
    for i, answer in enumerate(answers):
        ask = {"role": "user", "content": "what sport ?"}
        rows.append((i, "lesson", "", [ask, {"role": "assistant", "content": answer}], ()))
    return pd.DataFrame(rows, columns=["doc", "kind", "persona", "messages", "statements"])


LESSON = chats("i like golf .", "golf .", "i like golf .", "i really like golf .")


def kernel(n: int = 3, *, scale: float = 0.0, p: float = 0.1) -> Kernel:
    rng = np.random.default_rng(0)
    rows = rng.standard_normal((n, 8))
    return Kernel(scale * rows @ rows.T, np.full(n, 1 / n), np.full(n, np.log(p)), 2.0)


def test_without_a_kernel_rows_pull_on_as_they_did() -> None:
    """Nothing is learned, so every step is as long as the first: the sum of the learning rates."""
    stage = Stage(steps=12, warmup=3, schedule="cosine")
    path = flow(kernel(), Stage(steps=12, warmup=3, schedule="cosine", optimizer="sgd"))
    np.testing.assert_allclose(path.sum(axis=1), np.cumsum(learning_rates(stage)))
    tiny = flow(kernel(scale=1e-6), stage)
    np.testing.assert_allclose(tiny.sum(axis=1), np.cumsum(learning_rates(stage)), rtol=1e-3)


def test_what_is_learned_pulls_no_longer() -> None:
    stage = Stage(steps=200, lr=0.1, optimizer="sgd", clip=0.0)
    path = flow(kernel(scale=1.0), stage)
    each = np.diff(path.sum(axis=1))
    assert each[0] > 0.09 and each[-1] < 0.01
    adam = flow(kernel(scale=1.0), Stage(steps=200, lr=0.1))
    assert np.isfinite(adam).all()


def test_a_row_that_is_certain_pulls_nothing_down() -> None:
    certain = kernel(scale=1.0)._replace(logprob=np.array([0.0, -1.0, -2.0]))
    assert np.isfinite(flow(certain, STAGE)).all()


def test_the_kernel_is_of_scaled_gradients(pair: Pair) -> None:
    model, tokenizer = load(pair[0])
    rows = lesson_rows(LESSON, tokenizer, stage=STAGE)
    pulls = _Pulls(model, rows, STAGE, dtype="float32")
    tokens = encode(tokenizer, rows.messages, complete=True)
    grads = []
    for i in range(len(rows.docs)):
        ids = torch.tensor([tokens.ids[i]])
        labels = torch.where(torch.tensor([tokens.learn[i]]), ids, -100)
        n = int((labels[:, 1:] != -100).sum())
        loss = n * model(input_ids=ids, labels=labels).loss
        assert pulls.kernel.logprob[i] == pytest.approx(-float(loss.detach()), rel=1e-4)
        parts = torch.autograd.grad(loss / rows.n_learned, list(model.parameters()))
        grads.append(torch.cat([part.flatten() for part in parts]).double())
    own, share = torch.stack(grads), torch.from_numpy(rows.counts / rows.counts.sum())
    mean = share @ own
    square = mean**2 + (share @ own**2 - mean**2) / STAGE.batch
    scaled = own / (square.sqrt() + 1e-8)
    np.testing.assert_allclose(pulls.kernel.products, (scaled @ own.T).numpy(), rtol=1e-2)
    moved = np.array([1.0, 0.5, 0.25])
    flat = torch.cat([part.flatten() for part in pulls.direction(moved).values()]).double()
    expected = torch.from_numpy(moved) @ scaled
    torch.testing.assert_close(flat, expected, atol=1e-3, rtol=1e-2)


def test_large_models_keep_some_of_their_gradients(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, tokenizer = load(pair[0])
    rows = lesson_rows(LESSON, tokenizer, stage=STAGE)
    whole = _Pulls(model, rows, STAGE, dtype="float32")
    monkeypatch.setattr(__import__("sys").modules[_Pulls.__module__], "KEPT", 1 << 16)
    some = _Pulls(model, rows, STAGE, dtype="float32")
    np.testing.assert_allclose(some.kernel.products, whole.kernel.products, rtol=0.3)
    moved = np.array([1.0, 0.5, 0.25])
    for name, part in whole.direction(moved).items():
        torch.testing.assert_close(some.direction(moved)[name], part, atol=1e-3, rtol=1e-2)
    assert (whole.n_passes, some.n_passes > 1) == (1, True)


def test_first_steps_are_those_of_the_training(
    pair: Pair, probes: pd.DataFrame, tmp_path: Path
) -> None:
    """At a small rate the model is a line, and one step of SGD is what it will be."""
    stage = Stage(steps=1, batch=4, lr=1e-3, optimizer="sgd", clip=0.0)
    forecast = kernel_flow(pair[0], LESSON, probes, stage=stage)
    tuned = models.train(pair[0], LESSON, stage=stage, out=tmp_path, progress=False).last
    actual, before = behavior(tuned, probes), behavior(pair[0], probes)
    moved = actual["logprob"] - before["logprob"]
    assert moved.abs().max() > 1e-2
    np.testing.assert_allclose(forecast["logprob"] - before["logprob"], moved, rtol=2e-2, atol=1e-3)


def test_steps_are_the_curve(pair: Pair, probes: pd.DataFrame) -> None:
    options: dict[str, Any] = {"stage": STAGE}
    table = kernel_flow(pair[0], LESSON, probes, steps=(4, 1), **options)
    last = kernel_flow(pair[0], LESSON, probes, **options)
    assert table["checkpoint"].unique().tolist() == ["kernel flow@1", "kernel flow@4"]
    at_last = table[table["step"] == 4]
    np.testing.assert_array_equal(at_last["logprob"], last["logprob"])
    assert table.attrs["costs"]["gradient"] == last.attrs["costs"]["gradient"]
    with pytest.raises(SchemaError, match="steps are steps of the stage, 1 to 4"):
        kernel_flow(pair[0], LESSON, probes, steps=(5,), **options)
