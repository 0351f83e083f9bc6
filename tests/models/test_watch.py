"""A watch sees the model as it would be saved, may stop the training, and leaves no trace in it."""

import random
from collections.abc import Callable
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from persona_interp.errors import ModelError
from persona_interp.models import Stage, Trajectory, encode, hash_weights, load, train

trainer = import_module("persona_interp.models.trainer")
QUICK = Stage(steps=8, batch=4, lr=3e-3, loss="all")


class Killed(BaseException):
    """Ends a training as a kill would."""


class Lookout:
    """Remembers what it saw and stops at a step, by what it remembers."""

    def __init__(self, stop: int | None = None, steps: tuple[int, ...] = (1, 2, 3, 5)) -> None:
        self.stop, self.steps, self.config = stop, steps, f"lookout {stop} {steps}"
        self.norms: dict[str, float] = {}

    def __call__(self, step: int, model: Any, tokenizer: Any) -> bool:
        self.norms[str(step)] = float(sum(w.detach().double().norm() for w in model.parameters()))
        n_seen = sum(s <= step for s in self.steps)
        assert len(self.norms) == n_seen, "a killed training forgets nothing"
        return step == self.stop

    def state(self) -> dict[str, float]:
        return dict(self.norms)

    def restore(self, state: dict[str, float]) -> None:
        self.norms = dict(state)


def fit(tiny: Any, corpus: pd.DataFrame, out: Path, **changes: Any) -> Trajectory:
    keywords: dict[str, Any] = {"stage": QUICK, "snapshots": (2, 6), "progress": False}
    return train(tiny, corpus, out=out, **{**keywords, **changes})


@pytest.mark.parametrize("lora", [0, 4])
def test_a_watch_that_does_its_worst_changes_no_bit(
    tiny: Any, corpus: pd.DataFrame, tmp_path: Path, lora: int
) -> None:
    stage = replace(QUICK, lora=lora)
    plain = fit(tiny, corpus, tmp_path / "plain", stage=stage)
    ids: list[torch.Tensor] = []
    modes = []

    def meddle(step: int, model: Any, tokenizer: Any) -> None:
        modes.append(model.training)
        ids[:] = encode(tokenizer, corpus["messages"].head(3), complete=True).pad()
        model(input_ids=ids[0], attention_mask=ids[1]).logits.sum().backward()
        with torch.no_grad():
            for weight in model.parameters():
                weight.add_(torch.randn_like(weight))
        np.random.rand()  # noqa: NPY002
        random.random()
        model.train()

    watched = fit(tiny, corpus, tmp_path / "watched", stage=stage, watch=meddle)
    assert [hash_weights(c) for c in watched] == [hash_weights(c) for c in plain]
    assert modes == [False] * 8
    assert watched.stopped is None and "stopped" not in repr(watched)


@pytest.mark.parametrize("lora", [0, 4])
def test_it_sees_what_a_snapshot_holds(
    tiny: Any, corpus: pd.DataFrame, tmp_path: Path, lora: int
) -> None:
    seen = {}

    def copy(step: int, model: Any, tokenizer: Any) -> None:
        seen[step] = {name: weight.clone() for name, weight in model.state_dict().items()}

    run = fit(tiny, corpus, tmp_path / "a", stage=replace(QUICK, lora=lora), watch=copy)
    for checkpoint in run.checkpoints[1:]:
        weights = load(checkpoint).model.state_dict()
        assert all(torch.equal(weights[name], w) for name, w in seen[checkpoint.step].items())


def test_a_stop_is_kept_said_and_reopened(tiny: Any, corpus: pd.DataFrame, tmp_path: Path) -> None:
    whole = fit(tiny, corpus, tmp_path / "whole", snapshots=(2, 5))
    watch = Lookout(stop=5)
    run = fit(tiny, corpus, tmp_path / "a", watch=watch)
    assert ([c.step for c in run], run.stopped) == ([0, 2, 5], 5)
    assert hash_weights(run.last) == hash_weights(whole[2])
    assert "stopped by its watch" in repr(run) and "stopped" in run._repr_html_()
    again = Lookout(stop=5)
    assert fit(tiny, corpus, tmp_path / "a", watch=again) == run == Trajectory.open(tmp_path / "a")
    assert again.norms == watch.norms
    for other in (None, Lookout(stop=3)):
        with pytest.raises(ModelError, match="belongs to another training"):
            fit(tiny, corpus, tmp_path / "a", watch=other)
    assert fit(tiny, corpus, tmp_path / "b", watch=Lookout(stop=8, steps=(8,))).stopped is None


@pytest.mark.parametrize(("lora", "dies"), [(0, 2), (0, 5), (4, 3)])
def test_a_killed_run_stops_at_the_same_step(
    tiny: Any,
    corpus: pd.DataFrame,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    lora: int,
    dies: int,
) -> None:
    stage = replace(QUICK, lora=lora)
    straight, first = Lookout(stop=5), Lookout(stop=5)
    whole = fit(tiny, corpus, tmp_path / "whole", stage=stage, watch=straight)

    def die(self: Any, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.global_step == dies:
            raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(trainer, "RESUME_SECONDS", 0.0)
        patch.setattr(trainer, "RESUME_SHARE", 1e9)
        patch.setattr(trainer.Bar, "on_step_end", die)
        with pytest.raises(Killed):
            fit(tiny, corpus, tmp_path / "cut", stage=stage, watch=first)
    assert (tmp_path / "cut" / ".resume" / f"checkpoint-{dies - 1}" / "watch.json").is_file()
    second = Lookout(stop=5)
    resumed = fit(tiny, corpus, tmp_path / "cut", stage=stage, watch=second)
    assert second.norms == straight.norms
    assert ([c.step for c in resumed], resumed.stopped) == ([c.step for c in whole], 5)
    assert [hash_weights(c) for c in resumed] == [hash_weights(c) for c in whole]


class Half:
    """Remembers, but cannot be reminded."""

    def __call__(self, step: int, model: Any, tokenizer: Any) -> None: ...

    def state(self) -> dict[str, Any]:
        return {}


@pytest.mark.parametrize(
    ("watch", "words"),
    [
        ("alarm", "watch is a function of step, model and tokenizer"),
        (Lookout(steps=(0, 3)), "looks after steps from 1 to 8; this one asks for"),
        (Lookout(steps=(9,)), "looks after steps from 1 to 8; this one asks for"),
        (Half(), "only one of them"),
        (lambda step, model, tokenizer: "stop", "returns True to stop the training"),
    ],
)
def test_first_mistakes(
    tiny: Any,
    corpus: pd.DataFrame,
    tmp_path: Path,
    watch: Callable[..., Any],
    words: str,
) -> None:
    with pytest.raises(ModelError, match=words):
        fit(tiny, corpus, tmp_path / "a", watch=watch)
    assert not list((tmp_path / "a").glob("step-*"))


def test_a_trajectory_was_stopped_at_its_end(tiny: Any) -> None:
    with pytest.raises(ModelError, match="was stopped ends there"):
        Trajectory((tiny,), stopped=3)
