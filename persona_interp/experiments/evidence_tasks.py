"""What does a trained model say once statements stand in the prompt?"""

from collections.abc import Iterator
from itertools import combinations
from pathlib import Path
from typing import Any

import pandas as pd

from persona_interp import models, record
from persona_interp.tables import write_table
from persona_interp.worlds import World


def prompted(config: dict[str, Any], needs: tuple[Path, ...], out: Path) -> None:
    """What does the nameless assistant say after it stated these traits itself? Writes ``behavior.parquet``.

    The state asked is the last checkpoint of the need; the column ``stated`` names the statements, "" is none.
    """
    world, last = World.from_dict(config["world"]), models.Trajectory.open(needs[0] / "model").last
    tables = [
        record.behavior(last, world.probes(contexts="nameless", stated=tuple(traits))).assign(stated="+".join(traits))
        for traits in config["stated"]
    ]
    write_table(pd.concat(tables, ignore_index=True), out / "behavior.parquet")


def stated(world: World) -> Iterator[tuple[str, ...]]:
    """Which statements are put into the prompt?

    Args:
        world: The world.

    Yields:
        None; the taught trait once, twice, three times; it and one or two other traits of the target's, in all choices
        that leave a topic to ask about.

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
