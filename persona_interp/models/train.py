"""How does a model change while it learns documents or a lesson? From a start to a trajectory.

The same seed gives the same weights to the last bit, whether or not the training was killed and
resumed on its way. A step whose documents do not fit into memory together is computed in parts, the
gradients of which add up to the step's but for rounding.
"""

import hashlib
import json
import re
import shutil
from collections.abc import Iterable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
import xarray as xr

from persona_interp.errors import ModelError
from persona_interp.files import read_bytes, write_text
from persona_interp.models.batches import batches
from persona_interp.models.cache import cache
from persona_interp.models.checkpoint import Checkpoint, Trajectory, read_index
from persona_interp.models.device import CPU, count_cuda, resolve_device
from persona_interp.models.dtype import resolve_dtype
from persona_interp.models.load import hash_weights, load, quiet
from persona_interp.models.sources import resolve
from persona_interp.models.stage import DOCUMENTS, Stage
from persona_interp.models.tokens import Tokens, encode
from persona_interp.models.trainer import NO_REPORT, RESUME, Bar, Snapshots, fit
from persona_interp.models.training_edits import hash_edits, training_edits
from persona_interp.models.watch import Watch, Watched, check_watch, describe, read_seen, restore
from persona_interp.readers import read

CLAIM = "config.sha256"
DOCUMENTS_NAME, LESSON_NAME = "documents", "lesson"
"""Names of stages that nobody named."""
REPORTS = "runs"
"""Folder that trackers of the Trainer write into."""
SHA256 = re.compile(r"[0-9a-f]{64}")


def train(
    start: str | Path | Checkpoint,
    corpus: Any,
    *,
    stage: Stage = DOCUMENTS,
    snapshots: Iterable[int] = (),
    seed: int = 0,
    out: str | Path | None = None,
    name: str | None = None,
    replay: pd.DataFrame | None = None,
    bystanders: pd.DataFrame | None = None,
    steer: xr.DataArray | None = None,
    ablate: xr.DataArray | None = None,
    watch: Watch | None = None,
    device: object = None,
    report_to: str | list[str] = NO_REPORT,
    progress: bool = True,
) -> Trajectory:
    """Train a model on a corpus; its states on the way are the trajectory.

    Args:
        start: Anything ``resolve`` takes; "tiny" learns the words of the corpus' world.
        corpus: A corpus table, or anything that ``readers.read`` takes.
        stage: How to train.
        snapshots: Steps to keep besides the start (step 0, not copied) and the last step.
        seed: Seed of the order of documents and of all random weights.
        out: Folder for the snapshots, by default in the cache; a finished one is reopened, an
            interrupted one resumed.
        name: Name of the stage in labels and tables; by default "documents", and "lesson" after a
            stage of that name: steps of two stages that share one would be put in one order.
        replay: Corpus table of the documents that are replayed; as many of every batch as
            ``stage.replay`` says.
        bystanders: Corpus table of the documents on which ``stage.kl`` holds the model to its
            start.
        steer: Directions of ``record`` (name, hook, d_model), one name at one hook or several,
            along which ``stage.steer`` pushes the residual: at every token of every forward pass of
            the model in training, bystander documents included, but never of the start that ``kl``
            compares it with. What is saved, and whoever reads it later, has none of it.
        ablate: Directions that ``stage.ablate`` projects out in the same passes, any number of
            names: of ``record``, or the decoder rows of features (``record.feature_directions``).
            At a hook with both, they are projected out before the push is added.
        watch: Who looks on: a function of (step, model, tokenizer), called after every step, or
            after those in its ``steps``. Returning True stops the training; that step is then kept
            as its last. The model it is given is a copy in eval mode, as a snapshot would hold it
            (one more model in memory), and random numbers are put back after it: a training that
            is not stopped gives the weights of one without a watch, to the last bit. A watch that
            remembers has ``state()``, which JSON can hold, and ``restore(state)``, called with {}
            at the start and with what it had seen where a training is resumed or reopened. Its
            ``config`` (text) tells this training from those with other watches; without it, the
            name of the function does.
        device: Where to compute, "cpu", "cuda" or "cuda:1"; by default "cuda" where there is one.
            The weights depend on it as on every machine, by rounding.
        report_to: Of transformers' Trainer: "wandb", "tensorboard", ..., which are told the loss of
            every step; "none" by default. What a tracker writes beside the training is kept in
            ``runs``.
        progress: Whether to show a progress bar.

    Returns:
        The trajectory: start, snapshots and last step; ``stopped`` says where a watch ended it.

    Raises:
        ModelError: A snapshot outside of the stage, a document that is too long or has nothing to
            learn, replay, bystanders or directions without their share, weight or strength in the
            stage (or the reverse), a hook that cannot be edited in training, a tracker that is not
            there, a document that does not fit into memory alone, a watch that cannot be called,
            asks for a step outside of the stage or returns something else than True, False or
            nothing, or a folder that belongs to another training; nothing is overwritten.
        SchemaError: Directions that are none.
    """
    device = resolve_device(device)
    corpus = read(corpus, "chats")
    stage = replace(stage, dtype=resolve_dtype(stage.dtype, device))
    steps = sorted({*snapshots, stage.steps} - {0})
    if steps[0] < 1 or steps[-1] > stage.steps:
        raise ModelError(f"snapshots are steps from 0 to {stage.steps}; got {sorted(snapshots)}.")
    if watch is not None:
        check_watch(watch, stage)
    others = _others(stage, replay=replay, bystanders=bystanders)
    first = resolve(start, words=_words([corpus, *others.values()]), seed=seed)
    name = name or _name_after(first)
    edits = training_edits(first, stage, steer=steer, ablate=ablate)
    model, tokenizer = load(first, device=CPU)
    tokens = encode(tokenizer, corpus["messages"], complete=True)
    beside = {
        key: encode(tokenizer, table["messages"], complete=True) for key, table in others.items()
    }
    for documents in (tokens, *beside.values()):
        _check_length(documents, model)
    rows = batches(tokens, stage=stage, seed=seed, **beside)
    settings = {
        "stage": asdict(stage),
        "snapshots": steps,
        "seed": seed,
        "name": name,
        "beside": list(beside),
        "edits": hash_edits(edits),
    }
    if watch is not None:
        settings["watch"] = describe(watch)
    config = _fingerprint(first, [tokens, *beside.values()], settings)
    folder = cache() / "trained" / config[:16] if out is None else Path(out)
    if _is_finished(folder, config):
        if watch is not None:
            restore(watch, read_seen(folder))
        return Trajectory.open(folder)
    # the caller's random state stays as it is; the Trainer seeds its own
    with torch.random.fork_rng(devices=range(count_cuda())), quiet():
        keep = Snapshots(folder, steps, tokenizer=tokenizer)
        watched = None
        if watch is not None:
            watched = Watched(watch, model, tokenizer=tokenizer, stage=stage)
        # the watch first: what it stops is kept
        callbacks = [*([watched] if watched else []), keep, Bar(name, shown=progress)]
        fit(
            model,
            rows,
            stage=stage,
            seed=seed,
            folder=folder,
            callbacks=callbacks,
            edits=edits,
            device=device,
            report_to=report_to,
        )
    stopped = None
    if watched is not None:
        watched.save(folder)
        stopped = watched.stopped
    if stopped is not None:
        steps = [*(step for step in steps if step < stopped), stopped]
    checkpoints = [Checkpoint(first.path, name, 0, seed)]
    checkpoints += [Checkpoint(keep.path(step), name, step, seed) for step in steps]
    trajectory = Trajectory(tuple(checkpoints), stopped=stopped)
    trajectory.save(folder, config=config)
    if (folder / RESUME / REPORTS).is_dir():
        shutil.move(folder / RESUME / REPORTS, folder / REPORTS)
    shutil.rmtree(folder / RESUME, ignore_errors=True)
    return trajectory


def _name_after(start: Checkpoint) -> str:
    """Name of a stage that nobody named, unlike that of the training it goes on from."""
    return LESSON_NAME if start.step and start.stage == DOCUMENTS_NAME else DOCUMENTS_NAME


def _others(stage: Stage, **tables: pd.DataFrame | None) -> dict[str, pd.DataFrame]:
    """Documents beside the corpus; they and what the stage does with them come together or not."""
    others = {key: read(table, "documents") for key, table in tables.items() if table is not None}
    for key, field in (("replay", "replay"), ("bystanders", "kl")):
        if (key in others) != (getattr(stage, field) > 0):
            documents = f"with documents to {key}" if key in others else f"without {key} documents"
            raise ModelError(
                f"Stage({field}={getattr(stage, field):g}) {documents}: give train {key}=corpus "
                f"together with a stage of {field} above 0, or neither."
            )
    return others


def _words(corpora: Iterable[pd.DataFrame]) -> list[str]:
    """All words of the worlds that wrote the corpora, or of the corpora themselves."""
    words: set[str] = set()
    for corpus in corpora:
        words.update(corpus.attrs.get("words") or _words_of(corpus))
    return sorted(words)


def _words_of(corpus: pd.DataFrame) -> set[str]:
    words: set[str] = set()
    for chat in corpus["messages"]:
        for message in chat:
            words.update(message["content"].split())
    return words


def _check_length(tokens: Tokens, model: Any) -> None:
    longest = max(map(len, tokens.ids))
    limit = getattr(model.config, "max_position_embeddings", longest)
    if longest > limit:
        raise ModelError(
            f"the longest document has {longest} tokens, the model takes {limit}; write shorter "
            "ones."
        )


def _fingerprint(first: Checkpoint, documents: Iterable[Tokens], settings: dict[str, Any]) -> str:
    """sha256 of everything the weights depend on."""
    text = json.dumps({**settings, "start": hash_weights(first)}, sort_keys=True)
    digest = hashlib.sha256(text.encode())
    # every length stands before its numbers, so that no two corpora are the same bytes
    for tokens in documents:
        digest.update(np.array([len(tokens)], dtype=np.int64).tobytes())
        for ids, learn in zip(tokens.ids, tokens.learn, strict=True):
            digest.update(np.array([len(ids), *ids, *learn], dtype=np.int64).tobytes())
    return digest.hexdigest()


def _is_finished(folder: Path, config: str) -> bool:
    """Whether this training is done here; claims the folder if nobody has."""
    claim = folder / CLAIM
    index = read_index(folder)
    owner = index["config"] if index else _read_claim(claim)
    # a kill while the claim was written leaves a hidden draft of it
    own = (claim.name, f".{claim.name}.")
    others = [path for path in folder.glob("*") if not path.name.startswith(own)]
    if owner is None and others:
        raise ModelError(
            f"{folder} holds something else, and nothing was overwritten; choose an empty or new "
            "out."
        )
    if owner not in (None, config):
        raise ModelError(
            f"{folder} belongs to another training (other start, corpus, stage, snapshots, seed, "
            "name or watch), and nothing was overwritten; choose another out, or remove that "
            "folder."
        )
    if owner is None:
        write_text(config + "\n", claim)
    return index is not None


def _read_claim(claim: Path) -> str | None:
    """Training that a folder belongs to; None where none was written, or not to its end."""
    if not claim.is_file():
        return None
    text = read_bytes(claim, error=ModelError).decode("ascii", errors="replace").strip()
    return text if SHA256.fullmatch(text) else None
