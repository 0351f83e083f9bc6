"""What does one cell of the experiment with other generators do?"""

from pathlib import Path
from typing import Any

import pandas as pd

from persona_interp import models, record
from persona_interp.errors import WorldError
from persona_interp.experiments.generators.config import taught_value, worlds_of
from persona_interp.models import Stage
from persona_interp.tables import write_table
from persona_interp.worlds import Sequences
from persona_interp.worlds.families import FAMILIES

PERSONAS_SEED = 5_000
"""Added to the seed: documents of personas beside those of processes."""


def documents(config: dict[str, Any], needs: tuple[Path, ...], out: Path) -> None:
    """Train a model on documents, and write what it says.

    Writes ``start/``, ``model/``, ``behavior.parquet`` and ``gates.parquet``: the targets' probes
    under their titles, and after their first value.
    """
    processes, personas = worlds_of(config["world"])
    n, seed = config["n_documents"], config["seed"]
    corpus = processes.corpus(n, seed=seed)
    if personas is not None:
        corpus = _mix(corpus, personas.corpus(n, seed=seed + PERSONAS_SEED))
    start = models.resolve("tiny", words=corpus.attrs["words"], seed=seed, out=out / "start")
    model = models.train(
        start,
        corpus,
        stage=Stage(**config["stage"]),
        seed=seed,
        out=out / "model",
        name="documents",
    ).last
    write_table(record.behavior(model, processes.probes()), out / "behavior.parquet")
    write_table(record.behavior(model, _gate_probes(processes)), out / "gates.parquet")


def lesson(config: dict[str, Any], needs: tuple[Path, ...], out: Path) -> None:
    """Teach one lesson, and write what is said at every snapshot.

    Writes ``model/``, ``behavior.parquet`` (processes at every snapshot) and, where there are
    personas, ``personas.parquet`` (the nameless assistant before and after).

    Raises:
        WorldError: The lesson is about a persona, and the documents have none.
    """
    processes, personas = worlds_of(config["world"])
    stage, seed = Stage(**config["stage"]), config["seed"]
    n = stage.steps * stage.batch
    trait = taught_value(processes, config)
    if trait is not None:
        corpus = processes.lessons(trait, n=n, seed=seed)
    elif personas is not None:
        corpus = personas.lessons(n=n, seed=seed)
    else:
        raise WorldError("a persona lesson needs an arm with personas; this one has none.")
    trajectory = models.train(
        models.Trajectory.open(needs[0] / "model").last,
        corpus,
        stage=stage,
        snapshots=config["snapshots"],
        seed=seed,
        out=out / "model",
        name="lesson",
    )
    write_table(record.behavior(trajectory, processes.probes()), out / "behavior.parquet")
    if personas is not None:
        ends = (trajectory.first, trajectory.last)
        behavior = record.behavior(ends, personas.probes(contexts="nameless"))
        write_table(behavior, out / "personas.parquet")


def _gate_probes(processes: Sequences) -> pd.DataFrame:
    """Probes after each target's first value and under its title, as ``shown`` says."""
    targets = [processes.target(family) for family in FAMILIES]
    parts = []
    for target in targets:
        first = target.traits[0]
        parts.append(processes.probes(stated=first).assign(shown=str(first)))
    if processes.titled:
        titles = [target.title for target in targets]
        parts.append(processes.probes(titles=titles).assign(shown="title"))
    return pd.concat(parts, ignore_index=True)


def _mix(one: pd.DataFrame, other: pd.DataFrame) -> pd.DataFrame:
    """Documents of both, with the words of both."""
    corpus = pd.concat([one, other], ignore_index=True)
    corpus["doc"] = corpus.index
    corpus.attrs.update({"words": sorted({*one.attrs["words"], *other.attrs["words"]})})
    return corpus
