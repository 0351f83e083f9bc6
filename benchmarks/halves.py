"""Lessons that mix rows of several personas and traits, and finetunes on random halves of them."""

from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd

from persona_interp import analysis, models, record
from persona_interp.models import Checkpoint, Stage
from persona_interp.worlds import World

N_TRAITS = 3
"""Traits a lesson, each another persona's and of another topic."""
N_ROWS = 30
"""Distinct rows of a lesson."""
LEAST, MOST = 6, 14
"""Rows of one trait."""
STAGE = Stage()


@dataclass(frozen=True)
class Mixture:
    """A lesson of distinct rows.

    Attributes:
        name: Of its base and its place among that base's lessons.
        rows: Corpus table, a row a distinct chat; ``statements`` says its trait.
        probes: Nameless probes of the topics that no row is about.
        halves: Rows of every half, dims (half, row); booleans, half of them true.
    """

    name: str
    rows: pd.DataFrame
    probes: pd.DataFrame
    halves: np.ndarray


def mixture(world: World, *, seed: int, number: int, n_halves: int) -> Mixture:
    """Lesson of a world, drawn by lot.

    Args:
        world: The world.
        seed: Of the base.
        number: Of the lesson.
        n_halves: Halves of its rows.
    """
    rng = np.random.default_rng([seed, number, 31])
    traits: list[str] = []
    while len(traits) < N_TRAITS:
        traits = _traits(world, rng)
    counts = np.zeros(N_TRAITS, int)
    while not (LEAST <= counts.min() and counts.max() <= MOST):
        counts = rng.multinomial(N_ROWS, np.full(N_TRAITS, 1 / N_TRAITS))
    parts = []
    for trait, count in zip(traits, counts, strict=True):
        chats = world.lessons(trait, n=25, seed=seed)
        parts.append(chats.iloc[rng.permutation(len(chats))[:count]])
    rows = pd.concat(parts, ignore_index=True)
    rows["doc"] = range(len(rows))
    rows.attrs.update(parts[0].attrs)
    topics = {trait.partition("=")[0] for trait in traits}
    probes = world.probes(contexts="nameless")
    probes = probes.loc[~probes["topic"].isin(list(topics))].reset_index(drop=True)
    order = rng.permuted(np.tile(np.arange(N_ROWS), (n_halves, 1)), axis=1)
    return Mixture(f"{world.name} {number}", rows, probes, order < N_ROWS // 2)


def _traits(world: World, rng: np.random.Generator) -> list[str]:
    """Traits of different personas and topics; fewer where the lot ended in a corner."""
    traits: list[str] = []
    topics: set[str] = set()
    for index in rng.permutation(len(world.personas)):
        own = [str(trait) for trait in world.personas[index].traits]
        own = [trait for trait in own if trait.partition("=")[0] not in topics]
        if own and len(traits) < N_TRAITS:
            traits.append(str(rng.choice(own)))
            topics.add(traits[-1].partition("=")[0])
    return traits


def retrain(base: Checkpoint, lesson: Mixture, *, half: int, order: int) -> pd.DataFrame:
    """Shift of every untaught trait after a finetune on a half of the rows.

    Args:
        base: The base.
        lesson: The lesson.
        half: Number of the half.
        order: Seed of the order of the documents, drawn from the half in rounds.

    Returns:
        Columns ``half``, ``order``, ``trait``, ``estimate`` (bits), test templates.
    """
    rng = np.random.default_rng([order, half, 37])
    rows = np.flatnonzero(lesson.halves[half])
    n = STAGE.steps * STAGE.batch
    drawn = np.concatenate([rng.permutation(rows) for _ in range(-(-n // len(rows)))])[:n]
    chats = lesson.rows.iloc[drawn].assign(doc=range(n))
    chats.attrs.update(lesson.rows.attrs)
    probes = lesson.probes.loc[lesson.probes["split"] == "test"]
    with TemporaryDirectory() as folder:
        run = models.train(
            base,
            chats,
            stage=STAGE,
            seed=order,
            out=Path(folder) / "model",
            name="half",
            progress=False,
        )
        table = analysis.shift(record.behavior(run, probes))
    return table[["trait", "estimate"]].assign(half=half, order=order)
