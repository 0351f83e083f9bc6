"""What does a model say before and after it learned something?

This is the cell that experiments on behavior are made of. A chain of these cells is a life:
documents, then others, then a lesson. Each cell starts from the last checkpoint of the cell before
it (or from an untrained tiny model), learns documents or lessons of a world, and is asked that
world's questions. Cells with equal configuration are one cell, whichever experiment asks for it.
``tasks.learn`` computes them.
"""

from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

from persona_interp.models.stage import Stage
from persona_interp.store import Cell
from persona_interp.worlds import World


def learning_cell(
    world: World,
    teach: dict[str, Any],
    stage: Stage,
    *,
    seed: int,
    after: Cell | None = None,
    snapshots: Iterable[int] = (),
    contexts: Iterable[str] = ("nameless",),
    ends: Iterable[str] = (),
    personas: Iterable[str] | None = None,
    replay: dict[str, Any] | None = None,
    bystanders: dict[str, Any] | None = None,
    name: str = "lesson",
    label: str = "",
) -> Cell:
    """Cell that learns documents or a lesson.

    Args:
        world: Whose documents, lessons and questions; along a chain all worlds have the same words.
        teach: ``{"documents": n}``, optionally with ``"kinds"``; or ``{"lesson": trait}``, also
            several traits (interleaved) or ``"filler"``.
        stage: How it is learned.
        seed: Of documents, order and, without ``after``, weights.
        after: The cell whose last checkpoint is the start; None = an untrained tiny model.
        snapshots: Steps kept beside the first and the last.
        contexts: Probed at every snapshot.
        ends: Contexts probed before and after only.
        personas: Whom named and third contexts name; everybody by default.
        replay: With ``stage.replay``: ``{"documents": n}``, optionally ``"kinds"`` and ``"world"``.
        bystanders: With ``stage.kl``: the same keys, documents on which the model is held to its
            start.
        name: Of the stage in labels and tables.
        label: Of the cell.

    Returns:
        The cell; see ``tasks.learn`` for what it writes.
    """
    if personas is not None:
        personas = list(personas)
    config = {
        "world": world.to_dict(),
        "teach": teach,
        "stage": asdict(stage),
        "seed": seed,
        "snapshots": list(snapshots),
        "contexts": list(contexts),
        "ends": list(ends),
        "personas": personas,
        "replay": replay,
        "bystanders": bystanders,
        "name": name,
    }
    needs: tuple[Cell, ...] = ()
    if after is not None:
        needs = (after,)
    return Cell("learn", config, needs=needs, label=label or f"{name} s{seed}")
