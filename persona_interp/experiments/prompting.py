"""What does a model say after something was stated in its prompt? Evidence without learning, beside that of lessons."""

from collections.abc import Iterable, Iterator
from itertools import combinations
from pathlib import Path
from typing import Any

import pandas as pd

from persona_interp import models, record
from persona_interp.store import Cell
from persona_interp.tables import write_table
from persona_interp.worlds import Trait, World


def prompted(
    world: World,
    stated: Iterable[Iterable[str | Trait]],
    *,
    after: Cell,
    contexts: Iterable[str] = ("nameless",),
    label: str = "",
) -> Cell:
    """Which cell asks the model of another cell after these statements?

    Args:
        world: Whose questions are asked.
        stated: Several lists of traits; those of a list are stated in earlier turns of one chat, in
            order.
        after: The cell whose last checkpoint is asked.
        contexts: nameless, named or both.
        label: Of the cell.

    Returns:
        The cell; see ``ask`` for what it writes.
    """
    config = {
        "world": world.to_dict(),
        "stated": [[str(trait) for trait in traits] for traits in stated],
    }
    config["contexts"] = list(contexts)
    return Cell(
        "persona_interp.experiments.prompted:ask", config, needs=(after,), label=label or "prompted"
    )


def ask(config: dict[str, Any], needs: tuple[Path, ...], out: Path) -> None:
    """What does the model say after these statements?

    Writes ``behavior.parquet``; the column ``stated`` has the labels joined by "+", "" where
    nothing was stated.
    """
    world, last = World.from_dict(config["world"]), models.Trajectory.open(needs[0] / "model").last
    tables = [
        record.behavior(last, world.probes(contexts=config["contexts"], stated=traits)).assign(
            stated="+".join(traits)
        )
        for traits in config["stated"]
    ]
    write_table(pd.concat(tables, ignore_index=True), out / "behavior.parquet")


def stated(world: World) -> Iterator[tuple[str, ...]]:
    """Which statements are put into the prompt?

    Args:
        world: The world.

    Yields:
        None; the taught trait once, twice, three times; it and one or two other traits of the
        target's, in all choices that leave a topic to ask about.

    >>> from persona_interp.worlds import john_and_sam
    >>> len(list(stated(john_and_sam())))
    14
    """
    taught = str(world.taught)
    yield from ((taught,) * n for n in range(4))
    others: dict[str, str] = {}
    for trait in world.persona(world.target).traits:
        if trait.topic != world.taught.topic:
            others.setdefault(trait.topic, str(trait))
    for n in (1, 2):
        yield from ((taught, *more) for more in combinations(others.values(), n) if n < len(others))
