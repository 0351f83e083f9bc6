"""How well could anybody know whose documents these are? Exact Bayes on what they state."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from persona_interp.worlds import World
from persona_interp.worlds.bayes import speakers

CEILING = "exact Bayes"
"""Method whose row is what an ideal reader of the statements reaches."""


def probabilities(
    world: World, stated: Sequence[Sequence[str]], names: Sequence[str]
) -> npt.NDArray[np.float64]:
    """Probability, for an ideal reader, that a document is this persona's or a holder's.

    The reader knows the world and its population, and of a document nothing but its statements
    (``World.posterior``), so this is for documents by speakers without a name. No reading of such
    documents tells whose they are better than this one does, but for chance.

    Args:
        world: The world that wrote the documents.
        stated: Labels of the statements, one sequence a document.
        names: Personas, or labels of traits: those of its holders together.

    Returns:
        Probabilities, dims (document, name).

    Raises:
        WorldError: An unknown name, or statements that nobody makes.

    >>> from persona_interp.worlds import john_and_sam
    >>> world, documents = john_and_sam(), [["sport=football"], ["sport=football", "food=pizza"]]
    >>> probabilities(world, documents, ["john"]).round(2).tolist()
    [[0.46], [0.97]]
    """
    personas = [persona.name for persona in world.personas]
    holders = np.zeros((len(personas), len(names)))
    for column, name in enumerate(names):
        whose = world.holders(name) if "=" in name else (world.persona(name).name,)
        holders[:, column] = np.isin(personas, whose)
    # many documents say the same, and no order of statements changes what follows from them
    keys = [tuple(sorted(labels)) for labels in stated]
    different = list(dict.fromkeys(keys))
    row_of = {key: row for row, key in enumerate(different)}
    beliefs = np.nan_to_num(speakers(world, different))  # whom the population never shows is nobody
    return beliefs[[row_of[key] for key in keys]] @ holders
