"""How does a model change while it learns documents or a lesson? From a start to a trajectory.

Training is transformers' ``Trainer`` (with PEFT for LoRA), and this file is its only adapter. Documents are seen once
in a seeded order, cycled when there are more steps, and batched with others of about their length. The same seed gives
the same weights to the last bit, whether or not the training was killed and resumed on its way.
"""

import hashlib
import json
import shutil
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from tqdm import tqdm
from transformers import PrinterCallback, Trainer, TrainerCallback, TrainingArguments, set_seed

from persona_interp import schema
from persona_interp.errors import ModelError, unknown
from persona_interp.models.checkpoint import Checkpoint, Trajectory, read_index
from persona_interp.models.load import cache, hash_weights, load, quiet, resolve
from persona_interp.models.tokens import Tokens, encode

LOSSES = ("assistant", "all")
SCHEDULES = ("constant", "cosine")
DECAYS = ("all", "mlp")
DTYPES = ("float32", "bfloat16")
COSINE_END = 0.05  # of the learning rate
PADDING = 0.25  # share of padding above which more batches are sorted by length together
RESUME = ".resume"
RESUME_SECONDS = 60.0  # least time between two resumable checkpoints
RESUME_SHARE = 0.05  # most of the time that may go into them


@dataclass(frozen=True)
class Stage:
    """How is one stage trained? The defaults are those of a lesson.

    Args:
        steps: Optimizer steps.
        batch: Documents a step.
        lr: Peak learning rate of AdamW.
        loss: "assistant" = only the assistant's answers of chats (plain text counts whole), "all" = every token.
        schedule: "constant" or "cosine" (to 5 % of ``lr``), after the warm-up.
        warmup: Steps over which the learning rate rises from 0.
        weight_decay: Of AdamW.
        decay: Which weights decay: "all" matrices, or those of the "mlp" layers only. What a model knows of each
            persona sits in its MLPs; decay there makes personas share it.
        betas: Of AdamW.
        clip: Largest norm of the gradient.
        lora: Rank of adapters on all linear layers, merged in every snapshot; 0 = all weights are trained.
        dtype: "float32", or "bfloat16" for autocast over float32 weights.

    Raises:
        ModelError: A value outside of these.

    >>> Stage(steps=100, lr=1e-3).batch
    16
    """

    steps: int = 40
    batch: int = 16
    lr: float = 3e-4
    loss: str = "assistant"
    schedule: str = "constant"
    warmup: int = 0
    weight_decay: float = 0.0
    decay: str = "all"
    betas: tuple[float, float] = (0.9, 0.98)
    clip: float = 1.0
    lora: int = 0
    dtype: str = "float32"

    def __post_init__(self) -> None:
        object.__setattr__(self, "betas", tuple(self.betas))
        for name, valid in (("loss", LOSSES), ("schedule", SCHEDULES), ("decay", DECAYS), ("dtype", DTYPES)):
            if getattr(self, name) not in valid:
                raise ModelError(unknown(name, getattr(self, name), valid))
        if self.steps < 1 or self.batch < 1 or not self.lr > 0 or not 0 <= self.warmup <= self.steps or self.lora < 0:
            raise ModelError(f"a stage has steps, batch >= 1, lr > 0, 0 <= warmup <= steps and lora >= 0; got {self}.")


LESSON = Stage()
DOCUMENTS = Stage(
    steps=1000, batch=32, lr=4e-3, loss="all", schedule="cosine", warmup=50, weight_decay=1.0, decay="mlp"
)


def train(
    start: str | Path | Checkpoint,
    corpus: pd.DataFrame,
    *,
    stage: Stage = DOCUMENTS,
    snapshots: Iterable[int] = (),
    seed: int = 0,
    out: str | Path | None = None,
    name: str = "documents",
    progress: bool = True,
) -> Trajectory:
    """How does this model change while it learns this corpus?

    Args:
        start: Anything ``resolve`` takes; "tiny" learns the words of the corpus' world.
        corpus: A corpus table.
        stage: How to train.
        snapshots: Steps to keep besides the start (step 0, not copied) and the last step.
        seed: Seed of the order of documents and of all random weights.
        out: Folder for the snapshots, by default in the cache; a finished one is reopened, an interrupted one resumed.
        name: Name of the stage in labels and tables.
        progress: Whether to show a progress bar.

    Returns:
        The trajectory: start, snapshots and last step.

    Raises:
        ModelError: A snapshot outside of the stage, a document that is too long or has nothing to learn, or a
            folder that belongs to another training; nothing is overwritten.
    """
    schema.check(corpus, "corpus")
    steps = sorted({*snapshots, stage.steps} - {0})
    if steps[0] < 1 or steps[-1] > stage.steps:
        raise ModelError(f"snapshots are steps from 0 to {stage.steps}; got {sorted(snapshots)}.")
    first = resolve(start, words=_words(corpus), seed=seed)
    model, tokenizer = load(first)
    tokens = encode(tokenizer, corpus["messages"], complete=True)
    _check_length(tokens, model)
    batches = _batches(tokens, stage=stage, seed=seed)
    config = _fingerprint(first, tokens, {"stage": asdict(stage), "snapshots": steps, "seed": seed, "name": name})
    folder = cache() / "trained" / config[:16] if out is None else Path(out)
    if _is_finished(folder, config):
        return Trajectory.open(folder)
    with torch.random.fork_rng(devices=[]), quiet():
        keep = _Snapshots(folder, steps, tokenizer=tokenizer)
        _fit(model, batches, stage=stage, seed=seed, folder=folder, callbacks=[keep, _Bar(name, shown=progress)])
    made = (Checkpoint(keep.path(step), name, step, seed) for step in steps)
    trajectory = Trajectory((Checkpoint(first.path, name, 0, seed), *made))
    trajectory.save(folder, config=config)
    shutil.rmtree(folder / RESUME, ignore_errors=True)
    return trajectory


def _words(corpus: pd.DataFrame) -> list[str]:
    """All words of the world that wrote the corpus, or of the corpus itself."""
    known = corpus.attrs.get("words")
    return known or sorted({w for chat in corpus["messages"] for m in chat for w in m["content"].split()})


def _check_length(tokens: Tokens, model: Any) -> None:
    longest = max(map(len, tokens.ids))
    limit = getattr(model.config, "max_position_embeddings", longest)
    if longest > limit:
        raise ModelError(f"the longest document has {longest} tokens, the model takes {limit}; write shorter ones.")


def _batches(tokens: Tokens, *, stage: Stage, seed: int) -> list[dict[str, Tensor]]:
    """The batch of every step: neighbors in the seeded order, grouped by length, the batches shuffled again."""
    learn = [np.array(row) if stage.loss == "assistant" else np.ones(len(row), bool) for row in tokens.learn]
    empty = [i for i, row in enumerate(learn) if not row[1:].any()]
    if empty:
        raise ModelError(f"document {empty[0]} has no token to learn with loss='{stage.loss}'; give it an answer.")
    rng, n = np.random.default_rng(seed), stage.steps * stage.batch
    order = np.resize(rng.permutation(len(tokens)), n)
    batches = _grouped(order, np.array([len(row) for row in tokens.ids]), batch=stage.batch)
    return [_batch(tokens, learn, rows) for rows in rng.permutation(batches)]


def _grouped(order: np.ndarray, lengths: np.ndarray, *, batch: int) -> np.ndarray:
    """Rows of documents, one a batch: as few neighbors sorted by length as keep the padding low.

    Sorting makes a batch of one kind of document or, in a lesson, of one wording, so that steps pull in turns; not
    sorting at all makes half of the documents' cells padding.
    """
    pool, rows = 1, order.reshape(-1, batch)
    while pool < 2 * len(rows):
        parts = [order[at : at + pool * batch] for at in range(0, len(order), pool * batch)]
        rows = np.concatenate([part[np.argsort(lengths[part], kind="stable")] for part in parts]).reshape(-1, batch)
        cells = lengths[rows].max(axis=1).sum() * batch
        if 1 - lengths[rows].sum() / cells <= PADDING:
            break
        pool *= 2
    return rows


def _batch(tokens: Tokens, learn: Sequence[np.ndarray], rows: np.ndarray) -> dict[str, Tensor]:
    ids, mask = tokens.pad(rows=rows)
    labels = torch.full_like(ids, -100)
    for at, row in enumerate(rows):
        marked = torch.from_numpy(learn[row])
        labels[at, : len(marked)] = torch.where(marked, ids[at, : len(marked)], -100)
    return {"input_ids": ids, "attention_mask": mask, "labels": labels}


def _fingerprint(first: Checkpoint, tokens: Tokens, settings: dict[str, Any]) -> str:
    """sha256 of everything the weights depend on."""
    digest = hashlib.sha256(json.dumps({**settings, "start": hash_weights(first)}, sort_keys=True).encode())
    for ids, learn in zip(tokens.ids, tokens.learn, strict=True):
        digest.update(np.array([len(ids), *ids, *learn], dtype=np.int64).tobytes())
    return digest.hexdigest()


def _is_finished(folder: Path, config: str) -> bool:
    """Is this training done here? Claims the folder if nobody has."""
    claim = folder / "config.sha256"
    index = read_index(folder)
    found = index["config"] if index else claim.read_text().strip() if claim.is_file() else None
    if found is None and folder.is_dir() and any(folder.iterdir()):
        raise ModelError(f"{folder} holds something else, and nothing was overwritten; choose an empty or new out.")
    if found not in (None, config):
        raise ModelError(
            f"{folder} belongs to another training (other start, corpus, stage, snapshots, seed or name), and nothing "
            "was overwritten; choose another out, or remove that folder."
        )
    if found is None:
        folder.mkdir(parents=True, exist_ok=True)
        claim.write_text(config + "\n", encoding="utf-8")
    return index is not None


def _fit(
    model: Any,
    batches: list[dict[str, Tensor]],
    *,
    stage: Stage,
    seed: int,
    folder: Path,
    callbacks: list[TrainerCallback],
) -> None:
    set_seed(seed)
    if stage.lora:
        model = _with_lora(model, stage.lora)
    trainer = Trainer(
        model=model,
        args=_arguments(stage, seed=seed, folder=folder / RESUME),
        optimizers=(_optimizer(model, stage), None),
        train_dataset=batches,  # type: ignore[arg-type]  (any sequence will do)
        data_collator=lambda one: one[0],
        callbacks=[*callbacks, _Resumable()],
    )
    trainer.remove_callback(PrinterCallback)
    trainer.train(resume_from_checkpoint=_resumable(folder / RESUME))
    if stage.lora:
        _check_lora(model, batches[0])


def _optimizer(model: Any, stage: Stage) -> torch.optim.AdamW:
    """AdamW; the Trainer's own cannot be told which weights decay. Biases and norms never do."""
    groups: tuple[list[Tensor], list[Tensor]] = [], []
    for name, weight in model.named_parameters():
        if weight.requires_grad:
            groups[weight.ndim > 1 and (stage.decay == "all" or "mlp" in name)].append(weight)
    settings = [{"params": groups[False], "weight_decay": 0.0}, {"params": groups[True]}]
    return torch.optim.AdamW(
        [group for group in settings if group["params"]],
        lr=stage.lr,
        betas=stage.betas,
        weight_decay=stage.weight_decay,
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


def _with_lora(model: Any, rank: int) -> Any:
    from peft import LoraConfig, get_peft_model  # a slow import that full training does without

    config = LoraConfig(r=rank, lora_alpha=2 * rank, target_modules="all-linear", task_type="CAUSAL_LM")
    return get_peft_model(model, config)


@torch.no_grad()
def _check_lora(model: Any, batch: dict[str, Tensor]) -> None:
    """An adapter that was not trained, or not used, must not pass for a finetune."""
    ids = {key: batch[key].to(model.device) for key in ("input_ids", "attention_mask")}
    model.eval()
    tuned = model(**ids).logits
    with model.disable_adapter():
        plain = model(**ids).logits
    if torch.equal(tuned, plain):
        raise ModelError("the adapters did not change the model's output; raise lr or steps, or train with lora=0.")


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
        _merged(model).save_pretrained(tmp)
        self.tokenizer.save_pretrained(tmp)
        tmp.rename(path)


def _merged(model: Any) -> Any:
    """The plain model; adapters are merged into a copy, so that training goes on unchanged."""
    if not hasattr(model, "merge_and_unload"):
        return model
    from copy import deepcopy

    return deepcopy(model).merge_and_unload()


class _Resumable(TrainerCallback):
    """Asks for a resumable checkpoint now and then, but never spends much of the time on it."""

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.saved, self.cost = time.monotonic(), 0.0

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        now = time.monotonic()
        if now - self.saved >= max(RESUME_SECONDS, self.cost / RESUME_SHARE) and state.global_step < state.max_steps:
            control.should_save, self.saved = True, now

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        now = time.monotonic()
        self.saved, self.cost = now, now - self.saved


def _resumable(folder: Path) -> str | None:
    """The last checkpoint that was written to its end; the Trainer writes its state last."""
    for path in sorted(folder.glob("checkpoint-*"), key=lambda p: int(p.name.partition("-")[2]), reverse=True):
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
            total=state.max_steps, initial=state.global_step, desc=self.name, delay=2, disable=not self.shown
        )

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.bar.update()

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.bar.close()
