"""What does a model say after something was stated in its prompt? Evidence without learning, beside that of lessons."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from persona_interp import models, record
from persona_interp.store import Cell
from persona_interp.tables import write_table
from persona_interp.worlds import Trait, World


def prompted(
    world: World,
    stated: Iterable[str | Trait],
    *,
    after: Cell,
    contexts: Iterable[str] = ("nameless",),
    label: str = "",
) -> Cell:
    """Which cell asks the model of another cell after these statements?

    Args:
        world: Whose questions are asked.
        stated: Traits that earlier turns of the chat state, in order.
        after: The cell whose last checkpoint is asked.
        contexts: nameless, named or both.
        label: Of the cell.

    Returns:
        The cell; see ``ask`` for what it writes.
    """
    config = {"world": world.to_dict(), "stated": [str(trait) for trait in stated], "contexts": list(contexts)}
    return Cell("persona_interp.experiments.prompted:ask", config, needs=(after,), label=label or "prompted")


def ask(config: dict[str, Any], needs: tuple[Path, ...], out: Path) -> None:
    """What does the model say after these statements? Writes ``behavior.parquet``, with the column ``stated``."""
    world = World.from_dict(config["world"])
    probes = world.probes(contexts=config["contexts"], stated=config["stated"])
    last = models.Trajectory.open(needs[0] / "model").last
    write_table(record.behavior(last, probes), out / "behavior.parquet")
