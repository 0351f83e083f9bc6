"""What does one cell of the experiment with other generators do?"""

from pathlib import Path
from typing import Any

import pandas as pd

from persona_interp import models, record
from persona_interp.errors import WorldError
from persona_interp.experiments.generators.config import taught_value, worlds_of
from persona_interp.models import Stage
from persona_interp.tables import write_table
from persona_interp.worlds.families import FAMILIES

BESIDE = 5_000
"""Added to the seed: documents of personas beside those of processes."""


def documents(config: dict[str, Any], needs: tuple[Path, ...], out: Path) -> None:
    """What do models trained on these documents say? Writes ``model/``, ``behavior.parquet`` and ``gates.parquet``.

    The gates are the targets' probes under their titles, and after their first value.
    """
    processes, personas = worlds_of(config["world"])
    corpus, seed = processes.corpus(config["n_documents"], seed=config["seed"]), config["seed"]
    if personas is not None:
        corpus = _mixed(corpus, personas.corpus(config["n_documents"], seed=seed + BESIDE))
    stage = Stage(**config["stage"])
    trained = models.train(
        "tiny", corpus, stage=stage, seed=seed, out=out / "model", name="documents"
    )
    write_table(record.behavior(trained.last, processes.probes()), out / "behavior.parquet")
    targets = [processes.target(family) for family in FAMILIES]
    asked = [
        processes.probes(stated=target.traits[0]).assign(shown=str(target.traits[0]))
        for target in targets
    ]
    if processes.titled:
        asked.append(
            processes.probes(titles=[target.title for target in targets]).assign(shown="title")
        )
    write_table(
        record.behavior(trained.last, pd.concat(asked, ignore_index=True)), out / "gates.parquet"
    )


def lesson(config: dict[str, Any], needs: tuple[Path, ...], out: Path) -> None:
    """How does one lesson move what is said? Writes ``model/``, ``behavior.parquet``, ``personas.parquet``.

    Processes are probed at every snapshot; the nameless assistant before and after, where there are
    personas.
    """
    processes, personas = worlds_of(config["world"])
    base, stage = models.Trajectory.open(needs[0] / "model").last, Stage(**config["stage"])
    n, seed = stage.steps * stage.batch, config["seed"]
    trait = taught_value(processes, config)
    if trait is not None:
        corpus = processes.lessons(trait, n=n, seed=seed)
    elif personas is not None:
        corpus = personas.lessons(n=n, seed=seed)
    else:
        raise WorldError("a persona lesson needs an arm with personas; this one has none.")
    tuned = models.train(
        base,
        corpus,
        stage=stage,
        snapshots=config["snapshots"],
        seed=seed,
        out=out / "model",
        name="lesson",
    )
    write_table(record.behavior(tuned, processes.probes()), out / "behavior.parquet")
    if personas is not None:
        ends = (tuned.first, tuned.last)
        write_table(
            record.behavior(ends, personas.probes(contexts="nameless")), out / "personas.parquet"
        )


def _mixed(one: pd.DataFrame, other: pd.DataFrame) -> pd.DataFrame:
    """Documents of both, with the words of both."""
    mixed = pd.concat([one, other], ignore_index=True)
    mixed["doc"] = mixed.index
    mixed.attrs.update({"words": sorted({*one.attrs["words"], *other.attrs["words"]})})
    return mixed
