"""In which forms are checkpoints asked for? One, or several of them."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from persona_interp.errors import ModelError, excerpt
from persona_interp.models.checkpoint import Checkpoint


def as_checkpoint(start: Any) -> Checkpoint:
    """Checkpoint that is meant, where a checkpoint is expected.

    Args:
        start: A checkpoint, or whatever else ``models.resolve`` takes.

    Returns:
        The checkpoint itself, or what its name means.

    Raises:
        ModelError: As of ``models.resolve``.
    """
    if isinstance(start, Checkpoint):
        return start
    from persona_interp.models.sources import resolve  # it loads checkpoints itself

    return resolve(start)


def list_checkpoints(checkpoints: Any) -> list[Checkpoint]:
    """List of one checkpoint or several.

    Args:
        checkpoints: A checkpoint, a trajectory, whatever else ``models.sources`` takes (a folder, a
            hub id), or any iterable of these.

    Returns:
        The checkpoints, in order.

    Raises:
        ModelError: As of ``models.sources``, or it is neither.

    >>> list_checkpoints([Checkpoint(Path("a"), "lesson", 8)])[0].label
    'lesson@8'
    """
    if isinstance(checkpoints, Checkpoint):
        return [checkpoints]
    if isinstance(checkpoints, str | Path):
        from persona_interp.models.sources import sources

        return list(sources(checkpoints))
    if hasattr(checkpoints, "state_dict") or not isinstance(checkpoints, Iterable):
        return [as_checkpoint(checkpoints)]
    several: list[Checkpoint] = []
    for one in checkpoints:
        if one is None:
            raise ModelError(
                f"expected a checkpoint, a folder or a hub id; got {excerpt(one)} among them."
            )
        several += list_checkpoints(one)
    return several
