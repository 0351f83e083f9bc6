"""How does a model change while it learns documents or a lesson? From a start to a trajectory.

Training is transformers' ``Trainer``, and this file is its only adapter. The same seed gives the
same weights to the last bit, whether or not the training was killed and resumed on its way.
"""

import hashlib
import json
import shutil
import time
from collections.abc import Iterable
from copy import deepcopy
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from tqdm import tqdm
from transformers import PrinterCallback, Trainer, TrainerCallback, TrainingArguments, set_seed

from persona_interp import schema
from persona_interp.errors import ModelError
from persona_interp.models.adapters import check_lora, merged, with_lora
from persona_interp.models.batches import batches
from persona_interp.models.cache import cache
from persona_interp.models.checkpoint import Checkpoint, Trajectory, read_index
from persona_interp.models.load import hash_weights, load, quiet
from persona_interp.models.sources import resolve
from persona_interp.models.stage import DOCUMENTS, Stage
from persona_interp.models.tokens import Tokens, encode

COSINE_END = 0.05  # of the learning rate
RESUME = ".resume"
RESUME_SECONDS = 60.0  # least time between two resumable checkpoints
RESUME_SHARE = 0.05  # most of the time that may go into them


def train(
    start: str | Path | Checkpoint,
    corpus: pd.DataFrame,
    *,
    stage: Stage = DOCUMENTS,
    snapshots: Iterable[int] = (),
    seed: int = 0,
    out: str | Path | None = None,
    name: str = "documents",
    replay: pd.DataFrame | None = None,
    bystanders: pd.DataFrame | None = None,
    progress: bool = True,
) -> Trajectory:
    """How does this model change while it learns this corpus?

    Args:
        start: Anything ``resolve`` takes; "tiny" learns the words of the corpus' world.
        corpus: A corpus table.
        stage: How to train.
        snapshots: Steps to keep besides the start (step 0, not copied) and the last step.
        seed: Seed of the order of documents and of all random weights.
        out: Folder for the snapshots, by default in the cache; a finished one is reopened, an
            interrupted one resumed.
        name: Name of the stage in labels and tables.
        replay: Corpus table of the documents that are replayed; as many of every batch as
            ``stage.replay`` says.
        bystanders: Corpus table of the documents on which ``stage.kl`` holds the model to its
            start.
        progress: Whether to show a progress bar.

    Returns:
        The trajectory: start, snapshots and last step.

    Raises:
        ModelError: A snapshot outside of the stage, a document that is too long or has nothing to
            learn, replay or bystanders without their share or weight in the stage (or the reverse),
            or a folder that belongs to another training; nothing is overwritten.
    """
    schema.check(corpus, "corpus")
    steps = sorted({*snapshots, stage.steps} - {0})
    if steps[0] < 1 or steps[-1] > stage.steps:
        raise ModelError(f"snapshots are steps from 0 to {stage.steps}; got {sorted(snapshots)}.")
    others = {"replay": replay, "bystanders": bystanders}
    given = {
        key: schema.check(table, "corpus") for key, table in others.items() if table is not None
    }
    _check_given(stage, given)
    first = resolve(start, words=_words([corpus, *given.values()]), seed=seed)
    model, tokenizer = load(first)
    tokens = encode(tokenizer, corpus["messages"], complete=True)
    beside = {
        key: encode(tokenizer, table["messages"], complete=True) for key, table in given.items()
    }
    for read in (tokens, *beside.values()):
        _check_length(read, model)
    seen = batches(tokens, stage=stage, seed=seed, **beside)
    settings = {
        "stage": asdict(stage),
        "snapshots": steps,
        "seed": seed,
        "name": name,
        "beside": list(beside),
    }
    config = _fingerprint(first, [tokens, *beside.values()], settings)
    folder = cache() / "trained" / config[:16] if out is None else Path(out)
    if _is_finished(folder, config):
        return Trajectory.open(folder)
    with torch.random.fork_rng(devices=[]), quiet():
        keep = _Snapshots(folder, steps, tokenizer=tokenizer)
        _fit(
            model,
            seen,
            stage=stage,
            seed=seed,
            folder=folder,
            callbacks=[keep, _Bar(name, shown=progress)],
        )
    made = (Checkpoint(keep.path(step), name, step, seed) for step in steps)
    trajectory = Trajectory((Checkpoint(first.path, name, 0, seed), *made))
    trajectory.save(folder, config=config)
    shutil.rmtree(folder / RESUME, ignore_errors=True)
    return trajectory


def _check_given(stage: Stage, given: dict[str, pd.DataFrame]) -> None:
    """Documents beside the corpus, and what the stage does with them, come together or not at all."""
    for key, field in (("replay", "replay"), ("bystanders", "kl")):
        if (key in given) != (getattr(stage, field) > 0):
            there = f"with documents to {key}" if key in given else f"without {key} documents"
            raise ModelError(
                f"Stage({field}={getattr(stage, field):g}) {there}: give train {key}=corpus "
                "together with a stage of "
                f"{field} above 0, or neither."
            )


def _words(corpora: Iterable[pd.DataFrame]) -> list[str]:
    """All words of the worlds that wrote the corpora, or of the corpora themselves."""
    words: set[str] = set()
    for corpus in corpora:
        said = (w for chat in corpus["messages"] for m in chat for w in m["content"].split())
        words.update(corpus.attrs.get("words") or said)
    return sorted(words)


def _check_length(tokens: Tokens, model: Any) -> None:
    longest = max(map(len, tokens.ids))
    limit = getattr(model.config, "max_position_embeddings", longest)
    if longest > limit:
        raise ModelError(
            f"the longest document has {longest} tokens, the model takes {limit}; write shorter "
            "ones."
        )


def _fingerprint(first: Checkpoint, read: Iterable[Tokens], settings: dict[str, Any]) -> str:
    """sha256 of everything the weights depend on."""
    digest = hashlib.sha256(
        json.dumps({**settings, "start": hash_weights(first)}, sort_keys=True).encode()
    )
    for tokens in read:
        digest.update(np.array([len(tokens)], dtype=np.int64).tobytes())
        for ids, learn in zip(tokens.ids, tokens.learn, strict=True):
            digest.update(np.array([len(ids), *ids, *learn], dtype=np.int64).tobytes())
    return digest.hexdigest()


def _is_finished(folder: Path, config: str) -> bool:
    """Is this training done here? Claims the folder if nobody has."""
    claim = folder / "config.sha256"
    index = read_index(folder)
    found = index["config"] if index else claim.read_text().strip() if claim.is_file() else None
    if found is None and folder.is_dir() and any(folder.iterdir()):
        raise ModelError(
            f"{folder} holds something else, and nothing was overwritten; choose an empty or new "
            "out."
        )
    if found not in (None, config):
        raise ModelError(
            f"{folder} belongs to another training (other start, corpus, stage, snapshots, seed or "
            "name), and nothing "
            "was overwritten; choose another out, or remove that folder."
        )
    if found is None:
        folder.mkdir(parents=True, exist_ok=True)
        claim.write_text(config + "\n", encoding="utf-8")
    return index is not None


def _fit(
    model: Any,
    seen: list[dict[str, Any]],
    *,
    stage: Stage,
    seed: int,
    folder: Path,
    callbacks: list[TrainerCallback],
) -> None:
    set_seed(seed)
    start = deepcopy(model).requires_grad_(requires_grad=False) if stage.kl else None
    if stage.lora:
        model = with_lora(model, stage.lora)
    trainer = _Held(
        start,
        stage.kl,
        model=model,
        args=_arguments(stage, seed=seed, folder=folder / RESUME),
        optimizers=(_optimizer(model, stage), None),
        train_dataset=seen,  # type: ignore[arg-type]  (any sequence will do)
        data_collator=lambda one: one[0],
        callbacks=[*callbacks, _Resumable()],
    )
    trainer.remove_callback(PrinterCallback)
    trainer.train(resume_from_checkpoint=_resumable(folder / RESUME))
    if stage.lora:
        check_lora(model, seen[0])


class _Held(Trainer):
    """Holds a model to its start on bystander documents; without a start it is the Trainer itself."""

    def __init__(self, start: Any, weight: float, **settings: Any) -> None:
        super().__init__(**settings)
        self.start, self.weight = start if start is None else start.to(self.args.device), weight

    def compute_loss(self, model: Any, inputs: dict[str, Any], *rest: Any, **options: Any) -> Any:
        """Adds weight * KL(start || model), the mean over the bystanders' tokens, each given those before it (nats)."""
        bystanders = inputs.pop("bystanders", None)
        loss = super().compute_loss(model, inputs, *rest, **options)
        if self.start is None:
            return loss
        with torch.no_grad():
            before = self.start(**bystanders).logits[:, :-1].float().log_softmax(-1)
        after = model(**bystanders).logits[:, :-1].float().log_softmax(-1)
        divergence = (before.exp() * (before - after)).sum(-1)
        return loss + self.weight * divergence[bystanders["attention_mask"][:, 1:] == 1].mean()


def _optimizer(model: Any, stage: Stage) -> torch.optim.Optimizer:
    """The Trainer's own cannot be told which weights decay. Biases and norms never do."""
    groups: tuple[list[Tensor], list[Tensor]] = [], []
    for name, weight in model.named_parameters():
        if weight.requires_grad:
            groups[weight.ndim > 1 and (stage.decay == "all" or "mlp" in name)].append(weight)
    settings = [{"params": groups[False], "weight_decay": 0.0}, {"params": groups[True]}]
    groups_given = [group for group in settings if group["params"]]
    if stage.optimizer == "sgd":
        return torch.optim.SGD(groups_given, lr=stage.lr, weight_decay=stage.weight_decay)
    return torch.optim.AdamW(
        groups_given, lr=stage.lr, betas=stage.betas, weight_decay=stage.weight_decay
    )


def _arguments(stage: Stage, *, seed: int, folder: Path) -> TrainingArguments:
    """One dataset row is one ready batch, so the Trainer's own batch size is 1."""
    cosine = stage.schedule == "cosine"
    return TrainingArguments(
        output_dir=str(folder),
        max_steps=stage.steps,
        per_device_train_batch_size=1,
        train_sampling_strategy="sequential",
        learning_rate=stage.lr,
        lr_scheduler_type="cosine_with_min_lr" if cosine else "constant_with_warmup",
        lr_scheduler_kwargs={"min_lr_rate": COSINE_END} if cosine else None,
        warmup_steps=stage.warmup,
        max_grad_norm=stage.clip,
        bf16=stage.dtype == "bfloat16",
        use_cpu=not torch.cuda.is_available(),
        seed=seed,
        save_strategy="no",
        save_total_limit=1,
        logging_strategy="no",
        logging_nan_inf_filter=False,
        report_to="none",
        disable_tqdm=True,
        dataloader_pin_memory=False,
        remove_unused_columns=False,
    )


class _Snapshots(TrainerCallback):
    """Keeps whole models, adapters merged, at the steps asked for."""

    def __init__(self, folder: Path, steps: Iterable[int], *, tokenizer: Any) -> None:
        self.folder, self.steps, self.tokenizer = folder, frozenset(steps), tokenizer

    def path(self, step: int) -> Path:
        return self.folder / f"step-{step:06d}"

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.global_step in self.steps:
            self._save(kwargs["model"], self.path(state.global_step))

    def _save(self, model: Any, path: Path) -> None:
        tmp = path.with_name(f".{path.name}.tmp")
        for old in (tmp, path):
            shutil.rmtree(old, ignore_errors=True)
        merged(model).save_pretrained(tmp)
        self.tokenizer.save_pretrained(tmp)
        tmp.rename(path)


class _Resumable(TrainerCallback):
    """Asks for a resumable checkpoint now and then, but never spends much of the time on it."""

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.saved, self.cost = time.monotonic(), 0.0

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        now = time.monotonic()
        if (
            now - self.saved >= max(RESUME_SECONDS, self.cost / RESUME_SHARE)
            and state.global_step < state.max_steps
        ):
            control.should_save, self.saved = True, now

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        now = time.monotonic()
        self.saved, self.cost = now, now - self.saved


def _resumable(folder: Path) -> str | None:
    """The last checkpoint that was written to its end; the Trainer writes its state last."""
    for path in sorted(
        folder.glob("checkpoint-*"), key=lambda p: int(p.name.partition("-")[2]), reverse=True
    ):
        try:
            json.loads((path / "trainer_state.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            continue
        return str(path)
    return None


class _Bar(TrainerCallback):
    """Shows how far the training is."""

    def __init__(self, name: str, *, shown: bool) -> None:
        self.name, self.shown = name, shown

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.bar = tqdm(
            total=state.max_steps,
            initial=state.global_step,
            desc=self.name,
            delay=2,
            disable=not self.shown,
        )

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.bar.update()

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.bar.close()
