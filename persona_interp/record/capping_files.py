"""Which caps does a capping file of assistant-axis describe, and how are ours written so that it reads them?

The layout (Lu et al. 2026): a pickled dict of ``vectors`` (name -> ``vector``, ``layer``) and
``experiments``, each with ``id`` and ``interventions`` (``vector``: a name, ``cap``: the bound).
Layer l is the output of block l.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from persona_interp.errors import ModelError, SchemaError
from persona_interp.record.interventions import Edit, cap
from persona_interp.record.vector_files import block_of, described, load_tensors, rows_of


def read_capping(path: str | Path) -> dict[str, tuple[Edit, ...]]:
    """Which caps does this capping file of assistant-axis describe?

    Args:
        path: A ``capping_config.pt``: a dict of ``vectors`` (name -> ``vector``, ``layer``) and
            ``experiments``, each with ``id`` and ``interventions`` (``vector``: a name, ``cap``:
            its threshold; layer l = output of block l).

    Returns:
        By id of the experiment, its edits of kind cap (``record.cap``): one a layer, meant to be on
        together.

    Raises:
        ModelError: The file cannot be read, needs code to be run, or is of another layout; it says
            what was found.
    """
    path = Path(path).expanduser()
    given = load_tensors(path)
    vectors, experiments = (
        _get(path, given, "vectors", Mapping),
        _get(path, given, "experiments", Sequence),
    )
    found: dict[str, tuple[Edit, ...]] = {}
    for experiment in experiments:
        key = str(_get(path, experiment, "id", str))
        edits = []
        for step in _get(path, experiment, "interventions", Sequence):
            if not isinstance(step, Mapping) or "cap" not in step:
                raise ModelError(
                    f"{path}: experiment '{key}' has an intervention without cap: "
                    f"{described(step)}."
                )
            called = str(_get(path, step, "vector", str))
            entry = _get(path, vectors, called, Mapping)
            row = rows_of(path, called, _get(path, entry, "vector", torch.Tensor)[None])[0]
            hook = f"blocks.{int(_get(path, entry, 'layer', int))}.hook_out"
            edits.append(cap(row, hook=hook, at=float(step["cap"]), name=f"{key} at {hook}"))
        if key in found or not edits:
            raise ModelError(
                f"{path}: experiment '{key}' is {'there twice' if key in found else 'empty'}."
            )
        found[key] = tuple(edits)
    return found


def write_capping(experiments: Mapping[str, Sequence[Edit]], path: str | Path) -> Path:
    """Where are these caps kept so that assistant-axis reads them?

    Args:
        experiments: By id, edits of kind cap.
        path: A ``.pt`` file; an existing one is replaced.

    Returns:
        The path.

    Raises:
        SchemaError: An edit is no cap, or not at the output of a block.
    """
    vectors: dict[str, dict[str, Any]] = {}
    written = []
    for key, edits in experiments.items():
        steps = []
        for number, edit in enumerate(edits):
            block = block_of(edit.hook)
            if edit.kind != "cap" or edit.vectors is None or block < 0:
                raise SchemaError(
                    f"a capping file holds caps of blocks' outputs; '{edit.name}' is {edit.kind}."
                )
            called = f"layer_{block}/{key}/{number}"
            vectors[called] = {"vector": torch.tensor(edit.vectors[0]).float(), "layer": block}
            steps.append({"vector": called, "cap": edit.values[0]})
        written.append({"id": key, "interventions": steps})
    path = Path(path).expanduser()
    torch.save({"vectors": vectors, "experiments": written}, path)
    return path


def _get(path: Path, given: Any, key: str, kind: type) -> Any:
    if (
        not isinstance(given, Mapping)
        or key not in given
        or not isinstance(given[key], kind)
        or given[key] is True
    ):
        raise ModelError(
            f"{path}: expected a capping file with {key} ({kind.__name__}); found "
            f"{described(given)}."
        )
    return given[key]
