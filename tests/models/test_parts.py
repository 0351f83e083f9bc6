"""A step that does not fit into memory is computed in parts, and teaches the same."""

from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from transformers import Trainer, TrainerCallback
from transformers.integrations import integration_utils

from persona_interp.errors import ModelError
from persona_interp.models import Checkpoint, Stage, hash_weights, load, train

trainer = import_module("persona_interp.models.trainer")
SGD = Stage(steps=3, batch=5, lr=0.05, loss="all", optimizer="sgd", clip=1e9)
MOST = 65
"""Tokens that fit into the planted memory, padding left out."""


class Memory:
    """Runs out in every pass with more tokens than fit, after other parts have left gradients."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, most: int = MOST) -> None:
        self.n_refused, self.n_passes, plain = 0, 0, Trainer.compute_loss

        def compute_loss(*args: Any, **options: Any) -> Any:
            inputs = args[2]
            self.n_passes += 1
            if int(inputs["attention_mask"].sum()) > most:
                self.n_refused += 1
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")
            return plain(*args, **options)

        monkeypatch.setattr(Trainer, "compute_loss", compute_loss)


def distance(one: Checkpoint, other: Checkpoint) -> float:
    """Largest difference of a weight."""
    weights = [load(checkpoint).model.state_dict() for checkpoint in (one, other)]
    return max(float((weights[0][name] - weights[1][name]).abs().max()) for name in weights[0])


@pytest.fixture(params=["counted", "mean"])
def told(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Whether a model is told of how many tokens its step is; old ones give a mean of the part."""
    if request.param == "mean":
        kind = import_module("transformers.models.llama").LlamaForCausalLM
        monkeypatch.setattr(kind, "accepts_loss_kwargs", False, raising=False)
    return request.param


@pytest.mark.parametrize("beside", [{}, {"replay": 0.4, "kl": 0.7}, {"lora": 4}])
def test_the_gradient_of_the_parts_is_that_of_the_step(
    tiny: Checkpoint,
    corpus: pd.DataFrame,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    beside: dict[str, Any],
    told: str,
) -> None:
    """By plain gradient descent, which moves a weight by its gradient: AdamW would enlarge what
    rounding makes of a gradient near 0. Weights of about .02 move by .01; 1e-6 of that is what
    float32 rounds in another order of the sum over five documents.
    """
    stage = replace(SGD, **beside)
    others = {"replay": corpus, "bystanders": corpus} if "kl" in beside else {}
    options: dict[str, Any] = {"stage": stage, "progress": False, **others}
    whole = train(tiny, corpus, out=tmp_path / "whole", **options)
    memory = Memory(monkeypatch)
    parts = train(tiny, corpus, out=tmp_path / "parts", **options)
    assert 0 < memory.n_refused < 6, "halved, and kept"
    assert distance(whole.first, whole.last) > 1e-3
    assert distance(whole.last, parts.last) < 1e-6


@pytest.mark.slow
def test_a_resumed_training_goes_on_in_the_same_parts(
    tiny: Checkpoint, corpus: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trainer, "RESUME_SECONDS", 0.0)
    monkeypatch.setattr(trainer, "RESUME_SHARE", 1e9)
    memory = Memory(monkeypatch)
    options: dict[str, Any] = {"stage": Stage(steps=6, batch=5, loss="all"), "progress": False}
    straight = train(tiny, corpus, out=tmp_path / "straight", **options)
    refused = memory.n_refused
    assert refused > 0

    class Killed(BaseException):
        pass

    def die(*_: Any, **rest: Any) -> None:
        if rest["state"].global_step == 4:
            raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(
            trainer.Bar, "on_step_end", lambda self, args, state, *_, **__: die(state=state)
        )
        with pytest.raises(Killed):
            train(tiny, corpus, out=tmp_path / "killed", **options)
    memory.n_refused = 0
    resumed = train(tiny, corpus, out=tmp_path / "killed", **options)
    assert memory.n_refused < refused, "the parts were remembered"
    assert hash_weights(resumed.last) == hash_weights(straight.last)


def test_one_document_that_does_not_fit_is_said(
    tiny: Checkpoint, corpus: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Memory(monkeypatch, most=3)
    with pytest.raises(ModelError, match=r"one document of at most \d+ tokens .*Stage\(lora=8\)"):
        train(tiny, corpus, stage=SGD, out=tmp_path / "out", progress=False)


def test_an_optimizer_that_does_not_fit_is_said(
    tiny: Checkpoint, corpus: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory.")

    monkeypatch.setattr(torch.optim.AdamW, "step", full)
    with pytest.raises(ModelError, match=r"gradients and the optimizer.* do not fit into cpu"):
        train(tiny, corpus, stage=Stage(steps=1), out=tmp_path / "out", progress=False)


def test_other_errors_pass(
    tiny: Checkpoint, corpus: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any, **__: Any) -> None:
        raise RuntimeError("shapes differ")

    monkeypatch.setattr(Trainer, "compute_loss", broken)
    with pytest.raises(RuntimeError, match="shapes differ"):
        train(tiny, corpus, stage=SGD, out=tmp_path / "out", progress=False)


class Tracker(TrainerCallback):
    """Writes the loss of every step where a tracker would."""

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
        folder = Path(args.output_dir) / "runs"
        folder.mkdir(exist_ok=True)
        if "loss" in logs:
            (folder / f"{state.global_step}.txt").write_text(str(logs["loss"]))


def test_a_tracker_is_told_every_step(
    tiny: Checkpoint, corpus: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(integration_utils.INTEGRATION_TO_CALLBACK, "toy", Tracker)
    quiet = train(tiny, corpus, stage=SGD, out=tmp_path / "quiet", progress=False)
    told = train(tiny, corpus, stage=SGD, out=tmp_path / "told", progress=False, report_to="toy")
    losses = [float(file.read_text()) for file in sorted((tmp_path / "told/runs").iterdir())]
    assert len(losses) == 3 and losses[-1] < losses[0]
    assert not (tmp_path / "quiet/runs").exists()
    assert hash_weights(told.last) == hash_weights(quiet.last)
    with pytest.raises(ModelError, match=r"cannot be reported to .*nobody"):
        train(tiny, corpus, stage=SGD, out=tmp_path / "x", progress=False, report_to="nobody")
