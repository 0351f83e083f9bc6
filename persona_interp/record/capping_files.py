"""How are caps read from capping files of assistant-axis, and written for it?

The layout (Lu et al. 2026): a pickled dict of ``vectors`` (name -> ``vector``, ``layer``) and
``experiments``, each with ``id`` and ``interventions`` (``vector``: a name, ``cap``: the bound).
Layer l is the output of block l.
"""

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from persona_interp.errors import ModelError, SchemaError, excerpt
from persona_interp.models.pt_files import describe, load_tensors, read_rows, write_tensors
from persona_interp.models.sites import block_of
from persona_interp.record.edit import EVERYWHERE, Edit
from persona_interp.record.vector_edits import cap
from persona_interp.values import as_tuple, check_mapping

MOST_CAPS = 10_000
"""Most caps of a file."""
MOST_NUMBERS = 2**24
"""Most numbers of their vectors."""


def read_capping(
    path: str | Path, *, where: Iterable[str] = EVERYWHERE
) -> dict[str, tuple[Edit, ...]]:
    """Caps of a capping file of assistant-axis.

    Args:
        path: A ``capping_config.pt``: a dict of ``vectors`` (name -> ``vector``, ``layer``) and
            ``experiments``, each with ``id`` and ``interventions`` (``vector``: a name, ``cap``:
            its threshold; layer l = output of block l).
        where: Roles of the tokens the caps are on at, as of ``record.cap``; every token by default.

    Returns:
        By id of the experiment, its edits of kind cap (``record.cap``): one a layer, meant to be on
        together.

    Raises:
        ModelError: The file cannot be read, needs code to be run, or is of another layout; it says
            what the file holds.
    """
    path = Path(path).expanduser()
    content = load_tensors(path)
    vectors = _get(path, content, "vectors", Mapping)
    caps: dict[str, tuple[Edit, ...]] = {}
    n_numbers = 0  # a vector may be named any number of times
    for experiment in _get(path, content, "experiments", Sequence):
        key = str(_get(path, experiment, "id", str))
        edits = []
        for step in _get(path, experiment, "interventions", Sequence):
            edits.append(_read_cap(path, key, vectors, step, where=as_tuple(where)))
            n_numbers += MOST_NUMBERS // MOST_CAPS + edits[-1].vectors.size
            if n_numbers > MOST_NUMBERS:
                raise ModelError(f"{path}: it holds more than {MOST_CAPS:,} caps, or as much.")
        if key in caps:
            raise ModelError(f"{path}: experiment {excerpt(key)} is there twice.")
        if not edits:
            raise ModelError(f"{path}: experiment {excerpt(key)} is empty.")
        caps[key] = tuple(edits)
    return caps


def write_capping(experiments: Mapping[str, Sequence[Edit]], path: str | Path) -> Path:
    """Write caps to a file that assistant-axis reads.

    Args:
        experiments: By id, edits of kind cap.
        path: A ``.pt`` file; an existing one is replaced.

    Returns:
        The path.

    Raises:
        SchemaError: An edit is no cap, or at the embedding.
        ModelError: An edit is not at the output of a block.
    """
    check_mapping(experiments, "experiments", of="caps")
    vectors: dict[str, dict[str, Any]] = {}
    layout = []
    for key, edits in experiments.items():
        steps = []
        for number, edit in enumerate(edits):
            block = block_of(edit.hook)
            if edit.kind != "cap" or edit.vectors is None or block < 0:
                raise SchemaError(
                    f"a capping file holds caps of blocks' outputs; '{edit.name}' is {edit.kind}."
                )
            name = f"layer_{block}/{key}/{number}"
            vectors[name] = {"vector": torch.tensor(edit.vectors[0]).float(), "layer": block}
            steps.append({"vector": name, "cap": edit.values[0]})
        layout.append({"id": key, "interventions": steps})
    path = Path(path).expanduser()
    return write_tensors({"vectors": vectors, "experiments": layout}, path)


def _read_cap(
    path: Path, key: str, vectors: Mapping[str, Any], step: Any, *, where: tuple[str, ...]
) -> Edit:
    """Cap of one intervention of an experiment."""
    if not isinstance(step, Mapping) or "cap" not in step:
        raise ModelError(
            f"{path}: experiment {excerpt(key)} has an intervention without cap: {describe(step)}."
        )
    name = str(_get(path, step, "vector", str))
    if unread := [str(k) for k in step if k not in ("vector", "cap") and step[k] is not None]:
        raise ModelError(
            f"{path}: experiment {excerpt(key)} says {excerpt(unread[0])} beside the cap of "
            f"{excerpt(name)}, which no cap knows; leave it out if it means nothing."
        )
    entry = _get(path, vectors, name, Mapping)
    tensor, layer = _get(path, entry, "vector", torch.Tensor), _get(path, entry, "layer", int)
    rows = read_rows(path, name, tensor[None] if tensor.ndim == 1 else tensor)
    named = re.match(r"layer_(\d{1,6})/", name)
    if named is not None and int(named[1]) != layer:
        raise ModelError(
            f"{path}: the vector {excerpt(name)} says that it is of layer {layer}; which is meant?"
        )
    at = _bound(step["cap"])
    if at is None or layer < 0 or len(rows) != 1 or not rows.any():
        raise ModelError(
            f"{path}: experiment {excerpt(key)} must cap one vector other than 0 of a layer from 0 "
            f"at a finite number; found layer {layer}, cap {excerpt(step['cap'])}."
        )
    hook = f"blocks.{layer}.hook_out"
    return cap(rows[0], hook=hook, at=at, where=where, name=f"{key} at {hook}")


def _bound(value: Any) -> float | None:
    """Number of a cap, which may be a tensor of one number; None where it is no finite one."""
    if isinstance(value, torch.Tensor) and value.numel() == 1 and value.is_floating_point():
        value = value.item()
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if is_number and math.isfinite(value) else None


def _get(path: Path, entry: Any, key: str, kind: type) -> Any:
    """Value of a key of the file, of this kind."""
    is_there = isinstance(entry, Mapping) and key in entry and isinstance(entry[key], kind)
    # True counts as an int in Python, but is no number of a layer
    if not is_there or entry[key] is True:
        raise ModelError(
            f"{path}: expected a capping file with {excerpt(key)[1:-1]} ({kind.__name__}); found "
            f"{describe(entry)}."
        )
    return entry[key]
