"""How are weights fitted to batches, even if killed on the way? ``Trainer``, set up for it."""

import contextlib
import json
import re
import shutil
import time
from collections.abc import Iterable, Iterator, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm
from transformers import PrinterCallback, TrainerCallback, TrainingArguments, set_seed

from persona_interp.errors import ModelError, excerpt
from persona_interp.files import read_object, write_text
from persona_interp.models.adapters import check_lora, merge_trained, with_lora
from persona_interp.models.cache import hash_file
from persona_interp.models.device import CUDA
from persona_interp.models.dtype import HALF
from persona_interp.models.load import move
from persona_interp.models.parts import TrainerInParts
from persona_interp.models.passes import Exhausted, attempt
from persona_interp.models.save import save_model, writing
from persona_interp.models.stage import Stage
from persona_interp.models.training_edits import TrainingEdit, edits_on

COSINE_END = 0.05  # of the learning rate
RESUME = ".resume"
STEP = re.compile(r"checkpoint-\d+")
HASHES = "files.json"
"""File of a resumable checkpoint that is written last: hashes of all others."""
PARTS = "parts.json"
"""File of a resumable checkpoint that says in how many parts a step is computed."""
NO_REPORT = "none"
RESUME_SECONDS = 60.0  # least time between two resumable checkpoints
RESUME_SHARE = 0.05  # most of the time that may go into them


def fit(
    model: Any,
    rows: list[dict[str, Any]],
    *,
    stage: Stage,
    seed: int,
    folder: Path,
    callbacks: list[TrainerCallback],
    device: str,
    edits: Sequence[TrainingEdit] = (),
    report_to: str | list[str] = NO_REPORT,
) -> None:
    """Train a model on batches, from its last resumable checkpoint where there is one.

    Args:
        model: A Hugging Face model on the CPU; changed in place, and moved.
        rows: What ``batches`` returned, one a step.
        stage: How to train.
        seed: Seed of all random weights.
        folder: Where resumable checkpoints go, in a hidden folder.
        callbacks: What else happens on the way.
        device: Where to compute.
        edits: Changes of the residual in every forward pass of the model, and in none of the start.
        report_to: Of the Trainer: a tracker that is told the loss of every step, or several.

    Raises:
        ModelError: Adapters were trained and change nothing, a single document does not fit into
            memory, an edit was not on in every pass, or there is no such tracker.
    """
    set_seed(seed)
    start = deepcopy(model).requires_grad_(requires_grad=False) if stage.kl else None
    if stage.lora:
        # drawn on the CPU, so that they are the same on every device
        model = with_lora(model, stage.lora)
    model = move(model, device)
    if start is not None:
        start = move(start, device)
    with _exact(device), writing(folder):
        trainer = _trainer(
            start,
            stage.kl,
            model=model,
            args=_arguments(stage, seed, folder / RESUME, device=device, report_to=report_to),
            optimizers=(_optimizer(model, stage), None),
            train_dataset=rows,
            data_collator=lambda one: one[0],
            callbacks=callbacks,
        )
        trainer.add_callback(_Resumable(trainer))
        trainer.remove_callback(PrinterCallback)
        last = _last_resumable(folder / RESUME)
        if last is not None:
            trainer.n_parts = read_object(Path(last) / PARTS, error=ModelError)["n_parts"]
        # around the training alone, since the adapters are checked without them
        with edits_on(model, edits):
            trained = attempt(trainer.train, last)
    if isinstance(trained, Exhausted):
        raise ModelError(
            f"memory ran out: weights, their gradients and the optimizer's numbers do not fit into "
            f"{device} ({trained.words}). Give Stage(lora=8), Stage(optimizer='sgd') or another "
            "device."
        )
    if stage.lora:
        check_lora(model, rows[0])


def _trainer(start: Any, weight: float, **settings: Any) -> TrainerInParts:
    """The Trainer, unless it does not know the tracker or the tracker is not installed."""
    try:
        return TrainerInParts(start, weight, **settings)
    except (ValueError, RuntimeError) as error:
        report_to = settings["args"].report_to
        if not report_to:
            raise
        raise ModelError(
            f"the training cannot be reported to {excerpt(report_to)}: {error} Use "
            f"report_to='{NO_REPORT}', or what TrainingArguments of transformers takes."
        ) from error


@contextlib.contextmanager
def _exact(device: str) -> Iterator[None]:
    """Let torch give the same bits twice, which a CPU with one seed does anyhow."""
    if not device.startswith(CUDA):
        yield
        return
    before = torch.are_deterministic_algorithms_enabled()
    # the block gives back whatever device the caller had; the Trainer makes its own the current one
    with torch.cuda.device(device):
        torch.use_deterministic_algorithms(mode=True)
        try:
            yield
        finally:
            torch.use_deterministic_algorithms(before)


class Snapshots(TrainerCallback):
    """Keeps whole models, adapters merged, at the steps asked for and where a watch stops."""

    def __init__(self, folder: Path, steps: Iterable[int], *, tokenizer: Any) -> None:
        self.folder, self.steps, self.tokenizer = folder, frozenset(steps), tokenizer

    def path(self, step: int) -> Path:
        """Folder of the model at a step."""
        return self.folder / f"step-{step:06d}"

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Save the model if this step is kept, or the training was stopped at it."""
        if state.global_step in self.steps or control.should_training_stop:
            self._save(kwargs["model"], self.path(state.global_step))

    def _save(self, model: Any, path: Path) -> None:
        # a kill while saving leaves the hidden folder, never half a snapshot
        tmp = path.with_name(f".{path.name}.tmp")
        for old in (tmp, path):
            shutil.rmtree(old, ignore_errors=True)
        save_model(merge_trained(model), self.tokenizer, tmp)
        tmp.rename(path)


class Bar(TrainerCallback):
    """Shows how far the training is."""

    def __init__(self, name: str, *, shown: bool) -> None:
        self.name, self.shown = name, shown

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Open the bar at the step that the training is resumed from."""
        self.bar = tqdm(
            total=state.max_steps,
            initial=state.global_step,
            desc=self.name,
            delay=2,
            disable=not self.shown,
        )

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Move the bar by a step."""
        self.bar.update()

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Close the bar."""
        self.bar.close()


def _optimizer(model: Any, stage: Stage) -> torch.optim.Optimizer:
    """Optimizer that decays the weights the stage says; the Trainer's own cannot be told which."""
    # biases and norms, which are vectors, never decay, as the Trainer has it too
    constant: list[Tensor] = []
    decaying: list[Tensor] = []
    for name, weight in model.named_parameters():
        if not weight.requires_grad:
            continue
        if weight.ndim > 1 and (stage.decay == "all" or "mlp" in name):
            decaying.append(weight)
        else:
            constant.append(weight)
    groups: list[dict[str, Any]] = [
        {"params": constant, "weight_decay": 0.0},
        {"params": decaying},
    ]
    groups = [group for group in groups if group["params"]]
    if stage.optimizer == "sgd":
        return torch.optim.SGD(groups, lr=stage.lr, weight_decay=stage.weight_decay)
    return torch.optim.AdamW(
        groups, lr=stage.lr, betas=stage.betas, weight_decay=stage.weight_decay
    )


def _arguments(
    stage: Stage, seed: int, folder: Path, *, device: str, report_to: str | list[str]
) -> TrainingArguments:
    """Settings of the Trainer: one dataset row is one ready batch, so its own batch size is 1."""
    schedule, options = "constant_with_warmup", None
    if stage.schedule == "cosine":
        schedule, options = "cosine_with_min_lr", {"min_lr_rate": COSINE_END}
    on_cuda = device.startswith(CUDA)
    index = torch.cuda.current_device() if on_cuda else 0
    arguments = TrainingArguments(
        output_dir=str(folder),
        max_steps=stage.steps,
        per_device_train_batch_size=1,
        train_sampling_strategy="sequential",
        learning_rate=stage.lr,
        lr_scheduler_type=schedule,
        lr_scheduler_kwargs=options,
        warmup_steps=stage.warmup,
        max_grad_norm=stage.clip,
        bf16=stage.dtype == HALF,
        use_cpu=not on_cuda,
        seed=seed,
        save_strategy="no",
        logging_strategy="no" if report_to == NO_REPORT else "steps",
        logging_steps=1,
        logging_nan_inf_filter=False,
        report_to=report_to,
        disable_tqdm=True,
        dataloader_pin_memory=False,
        remove_unused_columns=False,
    )
    if on_cuda:
        # the Trainer takes the first device, and of several all at once; it has no setting for one
        torch.cuda.set_device(index)
        arguments.__dict__["_setup_devices"] = torch.device(CUDA, index)
        arguments._n_gpu = 1
    return arguments


class _Resumable(TrainerCallback):
    """Asks for a resumable checkpoint now and then, but never spends much of the time on it."""

    def __init__(self, trainer: TrainerInParts) -> None:
        self.trainer = trainer

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.last, self.cost = time.monotonic(), 0.0

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        now = time.monotonic()
        pause = max(RESUME_SECONDS, self.cost / RESUME_SHARE)
        # from a checkpoint of the step at which a watch stops, the training would go on
        over = control.should_training_stop or state.global_step == state.max_steps
        if now - self.last >= pause and not over:
            control.should_save, self.last = True, now

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        folder = Path(args.output_dir) / f"checkpoint-{state.global_step}"
        # a step in other parts is rounded otherwise
        write_text(json.dumps({"n_parts": self.trainer.n_parts}), folder / PARTS)
        hashes = {file.name: hash_file(file).hex() for file in sorted(folder.iterdir())}
        write_text(json.dumps(hashes, indent=1), folder / HASHES)
        # here and not by the Trainer, which removes the older one before the new one is whole
        for path in _checkpoints(folder.parent):
            if path != folder:
                shutil.rmtree(path, ignore_errors=True)
        now = time.monotonic()
        self.last, self.cost = now, now - self.last


def _last_resumable(folder: Path) -> str | None:
    """Last checkpoint that was written to its end, and is as it was written; others are removed."""
    whole = None
    for path in sorted(_checkpoints(folder), key=_step):
        if _is_whole(path):
            whole = str(path)
        else:
            shutil.rmtree(path, ignore_errors=True)
    return whole


def _checkpoints(folder: Path) -> list[Path]:
    return [path for path in folder.glob("checkpoint-*") if STEP.fullmatch(path.name)]


def _is_whole(path: Path) -> bool:
    """Whether all files of a checkpoint are those that were written."""
    try:
        hashes = read_object(path / HASHES, error=ModelError)
        return PARTS in hashes and all(
            hash_file(path / name).hex() == digest for name, digest in hashes.items()
        )
    except (ModelError, OSError):
        return False


def _step(path: Path) -> int:
    return int(path.name.partition("-")[2])
