"""In which forms are checkpoints and roles asked for? One, or several of them."""

from collections.abc import Iterable

from persona_interp.models.checkpoint import Checkpoint


def list_checkpoints(checkpoints: Checkpoint | Iterable[Checkpoint]) -> list[Checkpoint]:
    """List of one checkpoint or several.

    Args:
        checkpoints: A checkpoint, a trajectory or any iterable of checkpoints.

    Returns:
        The checkpoints, in order.
    """
    if isinstance(checkpoints, Checkpoint):
        return [checkpoints]
    return list(checkpoints)


def as_tuple(names: str | Iterable[str]) -> tuple[str, ...]:
    """Tuple of one name or several.

    Args:
        names: A text stands for itself, not for its letters.

    Returns:
        The names, in order.

    >>> as_tuple("text"), as_tuple(["text", "user"])
    (('text',), ('text', 'user'))
    """
    if isinstance(names, str):
        return (names,)
    return tuple(names)
