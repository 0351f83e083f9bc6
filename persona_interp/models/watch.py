"""Who looks on while a model is trained, and may stop it? A watch, which leaves no trace.

It is given a copy of the model, as a snapshot would hold it: adapters merged, no edit of the
training on. Whatever it does with the copy, with random numbers or with gradients, the training
goes on as if nobody had looked.
"""

import json
import random
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import TrainerCallback

from persona_interp.errors import ModelError, excerpt
from persona_interp.files import read_object, write_text
from persona_interp.models.adapters import merge_trained
from persona_interp.models.device import count_cuda
from persona_interp.models.load import move
from persona_interp.models.stage import Stage

WATCH = "watch.json"
"""File of what a watch has seen, in a resumable checkpoint and in a finished training."""
Watch = Callable[[int, Any, Any], bool | None]


class Watched(TrainerCallback):
    """Calls a watch after the steps it asks for, and ends the training where it says so.

    Attributes:
        stopped: Step at which the watch ended the training; None while it has not.
    """

    def __init__(self, watch: Watch, model: Any, *, tokenizer: Any, stage: Stage) -> None:
        """Take a watch for a training.

        Args:
            watch: See ``train``.
            model: The model before its training, on the CPU; copied.
            tokenizer: Its tokenizer.
            stage: How it will be trained.

        Raises:
            ModelError: It cannot be called, or asks for a step outside of the stage.
        """
        check_watch(watch, stage)
        self.watch, self.tokenizer = watch, tokenizer
        # a plain copy, made before adapters and edits: hooks of the training are none of its own
        self.copy = deepcopy(model).eval()
        self.steps = _steps(watch, stage)
        self.stopped: int | None = None

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Give the watch what it had seen when the training was killed, or nothing."""
        seen = {}
        if state.global_step:
            file = Path(args.output_dir) / f"checkpoint-{state.global_step}" / WATCH
            seen = read_object(file, error=ModelError)["seen"]
        restore(self.watch, seen)

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Let the watch look, and stop the training if it says so."""
        step = state.global_step
        if step not in self.steps:
            return
        stop = self._ask(step, kwargs["model"])
        # the training ends after its last step anyhow
        if stop and step < state.max_steps:
            control.should_training_stop, self.stopped = True, step

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Keep what the watch has seen with the resumable checkpoint."""
        self.save(Path(args.output_dir) / f"checkpoint-{state.global_step}")

    def save(self, folder: Path) -> None:
        """Write what the watch has seen.

        Args:
            folder: Of the file.
        """
        state = getattr(self.watch, "state", dict)
        seen = state()
        write_text(json.dumps({"seen": seen}) + "\n", folder / WATCH)

    def _ask(self, step: int, model: Any) -> bool:
        """What the watch says of the model as it is now."""
        copy = move(self.copy, model.device)
        copy.load_state_dict(merge_trained(model).state_dict())
        copy.eval().zero_grad(set_to_none=True)
        numbers, python = np.random.get_state(), random.getstate()  # noqa: NPY002  the global one
        with torch.random.fork_rng(devices=range(count_cuda())):
            try:
                stop = self.watch(step, copy, self.tokenizer)
            finally:
                np.random.set_state(numbers)  # noqa: NPY002
                random.setstate(python)
        if stop is not None and not isinstance(stop, bool | np.bool_):
            raise ModelError(
                f"a watch returns True to stop the training, else False or nothing; got "
                f"{excerpt(stop)}."
            )
        return bool(stop)


def check_watch(watch: Any, stage: Stage) -> None:
    """Refuse what cannot watch a training.

    Args:
        watch: Anything.
        stage: How the model is trained.

    Raises:
        ModelError: It cannot be called, has only one of ``state`` and ``restore``, or asks for a
            step outside of the stage.
    """
    if not callable(watch):
        raise ModelError(
            f"watch is a function of step, model and tokenizer, or an Alarm; got {excerpt(watch)}."
        )
    if hasattr(watch, "state") != hasattr(watch, "restore"):
        raise ModelError(
            "a watch that has seen something has both state() and restore(state), so that a killed "
            "training resumes to the same; this one has only one of them."
        )
    wrong = [step for step in _steps(watch, stage) if not 1 <= step <= stage.steps]
    if wrong:
        raise ModelError(
            f"a watch looks after steps from 1 to {stage.steps}; this one asks for "
            f"{excerpt(sorted(wrong))}."
        )


def describe(watch: Any) -> str:
    """Text that tells a training with this watch from others.

    Args:
        watch: The watch.

    Returns:
        Its ``config``, or else the name of the function.
    """
    kind = watch if hasattr(watch, "__qualname__") else type(watch)
    return str(getattr(watch, "config", f"{kind.__module__}.{kind.__qualname__}"))


def restore(watch: Any, seen: dict[str, Any]) -> None:
    """Give a watch what it had seen.

    Args:
        watch: The watch.
        seen: Its ``state()`` then; empty before the first step.
    """
    if hasattr(watch, "restore"):
        watch.restore(seen)


def read_seen(folder: Path) -> dict[str, Any]:
    """What a watch had seen when its training ended.

    Args:
        folder: Of the training.

    Returns:
        Its ``state()`` then.

    Raises:
        ModelError: The file is gone or cannot be read.
    """
    return read_object(folder / WATCH, error=ModelError)["seen"]


def _steps(watch: Any, stage: Stage) -> frozenset[int]:
    """Steps after which a watch looks: those it asks for, or all."""
    return frozenset(getattr(watch, "steps", range(1, stage.steps + 1)))
