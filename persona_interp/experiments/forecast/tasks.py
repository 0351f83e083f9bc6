"""What do the cells of `forecast` do beside learning? They say what a lesson would do."""

from pathlib import Path
from typing import Any

from persona_interp import models
from persona_interp.experiments.forecast.predict import PILOTS, UNTRAINED, predict
from persona_interp.experiments.tasks import documents_of, lesson_of
from persona_interp.models import Stage
from persona_interp.tables import read_table, write_table
from persona_interp.worlds import World

OTHER_ROWS = 7_000
"""Added to the seed: rows and order of what is forecast are not those that are taught."""


def foretell(config: dict[str, Any], needs: tuple[Path, ...], out: Path) -> None:
    """Write what every predictor says of a lesson.

    Needs the base, and what it says once each trait was stated, which tables read. Writes
    ``predictors.parquet``.
    """
    documents, _ = needs
    world, seed = World.from_dict(config["world"]), config["seed"] + OTHER_ROWS
    stage = Stage(**config["stage"])
    traits = config["teach"]["lesson"]
    table = predict(
        models.Trajectory.open(documents / "model").last,
        read_table(documents / "behavior.parquet"),
        lesson_of(world, traits, stage, seed=seed),
        world,
        [traits] if isinstance(traits, str) else traits,
        stage=stage,
        wanted=[*UNTRAINED, *(PILOTS[n] for n in config["pilots"])],
        seed=seed,
        replay=documents_of(world, config["replay"], seed=seed),
    )
    write_table(table, out / "predictors.parquet")
