"""How are weights fitted to batches, even if killed on the way? The one adapter of ``Trainer``."""

import json
import re
import shutil
import time
from collections.abc import Iterable
from copy import deepcopy
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm
from transformers import PrinterCallback, Trainer, TrainerCallback, TrainingArguments, set_seed

from persona_interp.errors import ModelError
from persona_interp.files import read_object, write_text
from persona_interp.models.adapters import check_lora, merge_trained, with_lora
from persona_interp.models.cache import hash_file
from persona_interp.models.dtype import HALF
from persona_interp.models.save import save_model, writing
from persona_interp.models.stage import Stage

COSINE_END = 0.05  # of the learning rate
RESUME = ".resume"
STEP = re.compile(r"checkpoint-\d+")
HASHES = "files.json"
"""File of a resumable checkpoint that is written last: hashes of all others."""
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
) -> None:
    """Train a model on batches, from its last resumable checkpoint where there is one.

    Args:
        model: A Hugging Face model; changed in place.
        rows: What ``batches`` returned, one a step.
        stage: How to train.
        seed: Seed of all random weights.
        folder: Where resumable checkpoints go, in a hidden folder.
        callbacks: What else happens on the way.

    Raises:
        ModelError: Adapters were trained and change nothing.
    """
    set_seed(seed)
    start = deepcopy(model).requires_grad_(requires_grad=False) if stage.kl else None
    if stage.lora:
        model = with_lora(model, stage.lora)
    trainer = _TrainerNearStart(
        start,
        stage.kl,
        model=model,
        args=_arguments(stage, seed=seed, folder=folder / RESUME),
        optimizers=(_optimizer(model, stage), None),
        train_dataset=rows,  # type: ignore[arg-type]  (any sequence will do)
        data_collator=lambda one: one[0],
        callbacks=[*callbacks, _Resumable()],
    )
    trainer.remove_callback(PrinterCallback)
    with writing(folder):
        trainer.train(resume_from_checkpoint=_last_resumable(folder / RESUME))
    if stage.lora:
        check_lora(model, rows[0])


class Snapshots(TrainerCallback):
    """Keeps whole models, adapters merged, at the steps asked for."""

    def __init__(self, folder: Path, steps: Iterable[int], *, tokenizer: Any) -> None:
        self.folder, self.steps, self.tokenizer = folder, frozenset(steps), tokenizer

    def path(self, step: int) -> Path:
        """Folder of the model at a step."""
        return self.folder / f"step-{step:06d}"

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Save the model if this step is kept."""
        if state.global_step in self.steps:
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


class _TrainerNearStart(Trainer):
    """Holds a model to its start on bystander documents; without a start, the Trainer itself."""

    def __init__(self, start: Any, weight: float, **settings: Any) -> None:
        super().__init__(**settings)
        self.start = start if start is None else start.to(self.args.device)
        self.weight = weight

    def compute_loss(self, model: Any, inputs: dict[str, Any], *rest: Any, **options: Any) -> Any:
        """Loss + weight * KL(start || model), the mean over the bystanders' tokens (nats)."""
        bystanders = inputs.pop("bystanders", None)
        loss = super().compute_loss(model, inputs, *rest, **options)
        if self.start is None:
            return loss
        # the distribution of each token given those before it, so the last position has none; the
        # full divergence over the vocabulary, not one token's sample of it
        with torch.no_grad():
            before = self.start(**bystanders).logits[:, :-1].float().log_softmax(-1)
        after = model(**bystanders).logits[:, :-1].float().log_softmax(-1)
        divergence = (before.exp() * (before - after)).sum(-1)
        return loss + self.weight * divergence[bystanders["attention_mask"][:, 1:] == 1].mean()


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


def _arguments(stage: Stage, *, seed: int, folder: Path) -> TrainingArguments:
    """Settings of the Trainer: one dataset row is one ready batch, so its own batch size is 1."""
    schedule, options = "constant_with_warmup", None
    if stage.schedule == "cosine":
        schedule, options = "cosine_with_min_lr", {"min_lr_rate": COSINE_END}
    return TrainingArguments(
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
        use_cpu=not torch.cuda.is_available(),
        seed=seed,
        save_strategy="no",
        logging_strategy="no",
        logging_nan_inf_filter=False,
        report_to="none",
        disable_tqdm=True,
        dataloader_pin_memory=False,
        remove_unused_columns=False,
    )


class _Resumable(TrainerCallback):
    """Asks for a resumable checkpoint now and then, but never spends much of the time on it."""

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.last, self.cost = time.monotonic(), 0.0

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        now = time.monotonic()
        pause = max(RESUME_SECONDS, self.cost / RESUME_SHARE)
        if now - self.last >= pause and state.global_step < state.max_steps:
            control.should_save, self.last = True, now

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        folder = Path(args.output_dir) / f"checkpoint-{state.global_step}"
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
        return all(hash_file(path / name).hex() == digest for name, digest in hashes.items())
    except (ModelError, OSError):
        return False


def _step(path: Path) -> int:
    return int(path.name.partition("-")[2])
