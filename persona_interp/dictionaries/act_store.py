"""Which residuals were recorded already? A folder of them that outlives memory, kills and doubts.

``keep_activations`` records what documents leave at a hook, once: the same weights, tokens, hook,
roles and dtype are the same recording, found again by their hash. It is written shard by shard and
goes on where it was stopped. ``ActStore`` reads rows, slices and random batches from the disk
without loading a shard, and stands wherever residuals to train on are asked for.
"""

import fcntl
import hashlib
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from persona_interp.dictionaries.act_sampler import Sampler
from persona_interp.dictionaries.act_shards import (
    INDEX,
    Shape,
    Writer,
    check_shards,
    map_shards,
    read_index,
)
from persona_interp.dictionaries.harvest import CONTENT_ROLES, gather, sample_tokens
from persona_interp.errors import ModelError, unknown
from persona_interp.models import Checkpoint, Tokens, hash_tokens, hash_weights, open_hooked
from persona_interp.models.boot import hidden
from persona_interp.models.cache import keep, read_kept, short_hash
from persona_interp.models.device import Batch, resolve_device
from persona_interp.models.dtype import AUTO, DTYPES, FULL, resolve_dtype
from persona_interp.models.hook_map import map_file, read_map
from persona_interp.models.inputs import as_checkpoint
from persona_interp.models.load import load_tokenizer
from persona_interp.models.outliers import ordinary
from persona_interp.models.passes import group_rows, start_batch, suit_batch
from persona_interp.models.sites import canonical
from persona_interp.readers import read
from persona_interp.values import as_tuple, check_count

KEY = "recording.json"
SHARD_BYTES = 2**28
"""Bytes of a shard."""
PIECE = 2**13
"""Rows that are looked at together when all are."""


class Moments(NamedTuple):
    """What a training must know of all rows before the first step.

    Attributes:
        numbers: Rows that are no attention sinks, dims (row,).
        mean: Their mean, dims (d_model,), float32.
        variance: Their mean squared distance from it.
    """

    numbers: np.ndarray
    mean: Tensor
    variance: float


class ActStore:
    """Residuals of one checkpoint at one hook, on the disk.

    Attributes:
        folder: Where they are.
        hook: Canonical name of the hook.
        provenance: Checkpoint, hashes, roles, numbers of tokens and documents.
        shape: (rows, d_model).

    Args:
        folder: Folder of a complete recording, as ``keep_activations`` names it.

    Raises:
        ModelError: It is none, incomplete, or a file is not as it was written; the file is named.
            An index that was cut or changed is made again from the records of the shards.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        key = _read_key(self.folder)
        layout = Shape(**key["shape"])
        index = read_index(self.folder, layout)
        n = sum(index["rows"].tolist())
        if n < layout.n:
            raise ModelError(
                f"{self.folder} holds {n} of {layout.n} rows; call keep_activations again with the "
                "same arguments, and it goes on from there."
            )
        check_shards(self.folder, layout, index)
        self.hook, self.provenance = key["hook"], key["provenance"]
        self.dtype: str = layout.dtype
        self.shape = (layout.n, layout.d_model)
        self._layout, self._acts = layout, list(map_shards(self.folder, layout, "acts"))

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: slice | int | Iterable[int] | Tensor) -> Tensor:
        """Rows by number, read from the disk alone; negative ones count from the end.

        Args:
            rows: A number, a slice, or numbers.

        Returns:
            Dims (row, d_model), of a number (d_model,); in the dtype that they are stored in.
        """
        if isinstance(rows, int | np.integer):
            return self[[int(rows)]][0]
        numbers = np.arange(len(self))[rows] if isinstance(rows, slice) else np.asarray(rows)
        numbers = np.where(numbers < 0, numbers + len(self), numbers).astype(np.int64)
        if len(numbers) and not 0 <= numbers.min() <= numbers.max() < len(self):
            raise IndexError(f"rows are 0 to {len(self) - 1}; got {numbers.max()}.")
        kind = np.float32 if self.dtype == FULL else np.int16
        out = np.empty((len(numbers), self.shape[1]), dtype=kind)
        shards, places = np.divmod(numbers, self._layout.shard_rows)
        for shard in np.unique(shards):
            own = shards == shard
            out[own] = self._acts[shard][places[own]]
        acts = torch.from_numpy(out)
        return acts if self.dtype == FULL else acts.view(torch.bfloat16)

    def places(self) -> tuple[np.ndarray, np.ndarray]:
        """Document and position of every row, dims (row,)."""
        docs, pos = (list(map_shards(self.folder, self._layout, name)) for name in ("doc", "pos"))
        return np.concatenate(docs), np.concatenate(pos)

    def sampler(self, *, batch: int, seed: int = 0) -> Sampler:
        """Endless random batches of all rows, every row once an epoch.

        Args:
            batch: Rows of a batch.
            seed: Seed of the order.

        Returns:
            An iterator whose ``state`` another takes up exactly (``restore``).
        """
        return Sampler(self.__getitem__, len(self), batch=batch, seed=seed)

    def pieces(self) -> Iterator[Tensor]:
        """Yield all rows in their order, some thousands at a time, float32."""
        for start in range(0, len(self), PIECE):
            yield self[start : start + PIECE].float()

    @cached_property
    def no_sink(self) -> Tensor:
        """Which rows are no attention sinks, dims (row,): one pass, once."""
        return ordinary(torch.cat([piece.norm(dim=-1) for piece in self.pieces()]))

    @cached_property
    def moments(self) -> Moments:
        """Rows that are no attention sinks, their mean and variance: three passes, once."""
        keeps = self.no_sink
        total, n = torch.zeros(self.shape[1], dtype=torch.float64), int(keeps.sum())
        square = 0.0
        for piece, own in zip(self.pieces(), keeps.split(PIECE), strict=True):
            total += piece[own].double().sum(0)
        mean = total / n
        for piece, own in zip(self.pieces(), keeps.split(PIECE), strict=True):
            square += float((piece[own].double() - mean).pow(2).sum())
        return Moments(torch.nonzero(keeps)[:, 0].numpy(), mean.float(), square / n)


def keep_activations(
    checkpoint: Checkpoint | str | Path,
    corpus: Any,
    *,
    hook: str,
    out: str | Path,
    n_tokens: int = 150_000,
    seed: int = 0,
    where: Iterable[str] = CONTENT_ROLES,
    stored: str = FULL,
    budget: float | None = None,
    device: object = None,
    dtype: str = FULL,
    batch: Batch = AUTO,
) -> ActStore:
    """Residuals that documents leave at a hook, recorded on the disk once.

    Args:
        checkpoint: Where the weights are, or a name that ``resolve`` takes.
        corpus: A corpus table, or anything that ``readers.read`` takes.
        hook: Hook name.
        out: Folder of recordings; this one gets a folder of its own in it, named by what it holds.
        n_tokens: About how many tokens; documents are drawn as for ``fit``, and read whole.
        seed: Seed of the draw of documents.
        where: Roles of the tokens; all but special tokens by default.
        stored: "float32", or "bfloat16" for half the bytes and three digits.
        budget: Most bytes that all recordings in ``out`` may take; by default what the disk has.
        device: Where the model computes; by default "cuda" where there is one.
        dtype: What it computes in: "float32", "bfloat16" or "auto".
        batch: Tokens a forward pass; "auto": what fits into memory.

    Returns:
        The recording. Attention sinks are in it; a training leaves them out. What is complete is
        not read again, and no model is loaded; what was stopped goes on with the next row.

    Raises:
        ModelError: It would take more bytes than the budget or the disk has (before anything is
            written), another process records the same, the hook does not exist, or a recorded file
            is not as it was written.
        SchemaError: No document has a token of these roles, or a role is unknown.
    """
    check_count(n_tokens, "n_tokens")
    if stored not in DTYPES:
        raise ModelError(unknown("dtype", stored, DTYPES))
    checkpoint, where = as_checkpoint(checkpoint), as_tuple(where)
    device = resolve_device(device)
    dtype = resolve_dtype(dtype, device)
    tokens = sample_tokens(
        load_tokenizer(checkpoint),
        read(corpus, "documents"),
        n_tokens=n_tokens,
        seed=seed,
        where=where,
    )
    names = read_map(map_file(checkpoint, device=device, dtype=dtype))
    model = None
    if names is None or hook not in names.names:
        model = open_hooked(checkpoint, device=device, dtype=dtype)
        name = canonical(model, hook)
    else:
        name = names.names[hook]
    marks = tokens.marks(where)
    masks = hashlib.sha256(b"".join(np.packbits(mark).tobytes() for mark in marks)).hexdigest()
    facts = {
        "weights": hash_weights(checkpoint),
        "token_ids": hash_tokens(tokens),
        "mask": masks,
        "hook": name,
        "dtype": dtype,
        "stored": stored,
    }
    folder = Path(out).expanduser() / short_hash(facts)
    if read_kept(folder / KEY) is not None and _is_complete(folder):
        return ActStore(folder)
    model = model or open_hooked(checkpoint, device=device, dtype=dtype)
    provenance = {
        **facts,
        "checkpoints": [checkpoint.label],
        "weights": [facts["weights"]],
        "token_ids": [facts["token_ids"]],
        "n_tokens": sum(int(mark.sum()) for mark in marks),
        "n_documents": len(tokens),
        "where": list(where),
    }
    with _alone(folder):
        shape = _shape(model, tokens, name, provenance["n_tokens"], stored, folder.name)
        if read_kept(folder / KEY) is None:
            _check_room(folder.parent, shape, budget)
            key = {"hook": name, "shape": shape._asdict(), "provenance": provenance}
            keep(key, folder / KEY)
        shape = Shape(**_read_key(folder)["shape"])
        _record(model, tokens, marks, folder, shape, hook=name, batch=batch)
        read_index(folder, shape)
    return ActStore(folder)


def _record(
    model: Any,
    tokens: Tokens,
    marks: list[np.ndarray],
    folder: Path,
    shape: Shape,
    *,
    hook: str,
    batch: Batch,
) -> None:
    """Run what is not there yet; passes are those of a recording that was never stopped."""
    place = model.original_model.device
    budget = suit_batch(model.original_model) if batch == AUTO else start_batch(batch, place)
    groups = group_rows(tokens.lengths, budget)
    order = [row for rows in groups for row in rows]
    docs = np.concatenate([np.full(int(marks[row].sum()), row, np.int32) for row in order])
    pos = np.concatenate([np.flatnonzero(marks[row]).astype(np.int32) for row in order])
    writer = Writer(folder, shape, docs, pos)
    at = 0
    try:
        for rows in tqdm(groups, desc="keep activations", delay=2):
            n = sum(int(marks[row].sum()) for row in rows)
            if at <= writer.next < at + n:
                read = hidden(model, tokens.take(rows), hooks=[hook], batch=batch)
                some = ((row, next(iter(acts.values()))) for row, acts in read)
                acts = gather(some, [marks[row] for row in rows], in_order=True)
                writer.append(acts, at)
            at += n
    finally:
        writer.close()


def _shape(model: Any, tokens: Tokens, hook: str, n: int, stored: str, address: str) -> Shape:
    """Shape of a recording; how wide the hook is says the shortest row."""
    shortest = min(range(len(tokens)), key=lambda row: len(tokens.ids[row]))
    (_, acts), *_ = hidden(model, tokens.take([shortest]), hooks=[hook])
    width = next(iter(acts.values())).shape[1]
    row_bytes = width * (4 if stored == FULL else 2)
    return Shape(address, width, stored, n, max(1, SHARD_BYTES // row_bytes))


def _check_room(root: Path, shape: Shape, budget: float | None) -> None:
    """Refuse a recording that the budget or the disk has no room for."""
    need = shape.n * (shape.row_bytes + 8) + shape.n_shards * 4096
    root.mkdir(parents=True, exist_ok=True)
    used = sum(file.stat().st_size for file in root.rglob("*") if file.is_file())
    room, whose = shutil.disk_usage(root).free, "the disk has"
    if budget is not None and budget - used < room:
        room, whose = int(budget) - used, f"a budget of {budget / 2**20:,.1f} MiB leaves"
    if need > room:
        raise ModelError(
            f"{shape.n:,} rows of {shape.d_model} numbers take {need / 2**20:,.1f} MiB, and "
            f"{whose} {max(room, 0) / 2**20:,.1f} MiB (the recordings in {root} take "
            f"{used / 2**20:,.1f} MiB). Remove one, raise budget=, take fewer tokens (n_tokens=), "
            "or store halves (stored='bfloat16')."
        )


def _is_complete(folder: Path) -> bool:
    shape = Shape(**_read_key(folder)["shape"])
    return sum(read_index(folder, shape)["rows"].tolist()) == shape.n


def _read_key(folder: Path) -> dict[str, Any]:
    """What a folder holds, as it was written."""
    key = read_kept(folder / KEY)
    if key is None:
        raise ModelError(
            f"{folder / KEY} is {'damaged' if (folder / KEY).exists() else 'not there'}, so that "
            f"nothing says what {folder} holds; name the folder of a recording, or call "
            f"keep_activations again, which writes it anew (shards and {INDEX} stay)."
        )
    return key


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Keep other processes from recording the same; a killed one holds nothing."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as cause:
            raise ModelError(
                f"another process records {folder} now; wait until it is done, and what it "
                "recorded is found."
            ) from cause
        yield
