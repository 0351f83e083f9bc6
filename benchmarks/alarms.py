"""Would an alarm have rung in time? Forecasts of finished lessons of the forecast experiment.

An alarm reads the shift at a twentieth and a tenth of a lesson's steps; snapshots of a finished run
hold just that. Beside it stands the micro pilot of one step's cost, with a line of its own.

alarms.py RUN SEED... --pilots FILE
"""

import argparse
from pathlib import Path

import numpy as np
import pandas as pd
from tqdm import tqdm

from persona_interp import analysis, models, record
from persona_interp.experiments.forecast.config import Forecast, base_world
from persona_interp.experiments.forecast.line import Line
from persona_interp.experiments.learning import learning_cell
from persona_interp.experiments.tasks import lesson_of
from persona_interp.schema.words import Variant
from persona_interp.store import Cell, Store
from persona_interp.tables import read_table

NULL_SEED = 10_000
"""Times one, two, three, added to the seed: of a null lesson on filler."""
N_NULLS = 3
RUN = ["base", "lesson"]


def null_cells(experiment: Forecast, seed: int, base: Cell) -> list[Cell]:
    """Lessons on filler of a base: what a finetune moves that teaches nothing."""
    return [
        learning_cell(
            base_world(seed),
            {"lesson": "filler"},
            experiment.lesson,
            seed=seed + NULL_SEED * (k + 1),
            after=base,
            snapshots=experiment.snapshots,
            label=f"filler {k}",
        )
        for k in range(N_NULLS)
    ]


def nameless_shift(store: Store, cell: Cell, taught: set[str], after: list[int]) -> pd.DataFrame:
    """Shift of the untaught traits of a finished lesson."""
    table = read_table(store.path(cell, "behavior.parquet"))
    table = table.loc[(table["context"] == "nameless") & ~table["topic"].isin(list(taught))]
    return analysis.shift(table, before=0, after=after, split="test")


def lessons(store: Store, seed: int, *, pilots: bool) -> pd.DataFrame:
    """Forecasts of a base's plain lessons, what came, and the bound of its null finetunes."""
    experiment = Forecast(seeds=(seed,), n_lessons=12)
    cells = experiment.seed_cells(seed)
    base = models.Trajectory.open(store.path(cells["documents",], "model")).last
    end = experiment.lesson.steps
    nulls = [
        nameless_shift(store, cell, set(), [end])
        for cell in null_cells(experiment, seed, cells["documents",])
    ]
    bound = max(float(np.abs(table["estimate"].to_numpy()).max()) for table in nulls)
    line = Line.open()
    steps = [round(share * end) for share in line.shares]
    tables = []
    for lesson in tqdm(experiment.lessons(seed), desc=f"lessons {seed}", delay=2, leave=False):
        if lesson.variant != Variant.PLAIN:
            continue
        taught = {trait.partition("=")[0] for trait in lesson.traits}
        shifts = nameless_shift(store, cells["lesson", lesson], taught, [*steps, end])
        wide = shifts.pivot(index="trait", columns="step", values="estimate")
        one = pd.DataFrame({"actual": wide[end], "alarm": line.predict(wide.loc[:, steps])})
        if pilots:
            one["pilot"] = _pilot(base, seed, lesson.traits[0], taught, experiment)
        tables.append(one.reset_index().assign(base=seed, lesson=lesson.label, bound=bound))
    return pd.concat(tables, ignore_index=True)


def _pilot(
    base: models.Checkpoint, seed: int, trait: str, taught: set[str], experiment: Forecast
) -> pd.Series:
    """Shift of the untaught traits after a micro pilot of one step's cost."""
    world = base_world(seed)
    chats = lesson_of(world, trait, experiment.lesson, seed=seed + 77)
    probes = world.probes(contexts="nameless").query("split == 'test'")
    probes = probes.loc[~probes["topic"].isin(list(taught))]
    after = record.pilot(base, chats, probes, stage=experiment.lesson, n=1)
    before = record.behavior(base, probes)
    same = {"seed": 0, "stage": "pilot"}
    both = [
        before.assign(checkpoint="a", step=0, **same),
        after.assign(checkpoint="b", step=1, **same),
    ]
    shifts = analysis.shift(pd.concat(both, ignore_index=True))
    return pd.Series(shifts["estimate"].to_numpy(), index=pd.Index(shifts["trait"]))


def main() -> None:
    """Print the scores of alarm and pilot, and keep the forecasts."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("seeds", type=int, nargs="+")
    parser.add_argument("--pilot-shifts", type=Path, help="other bases' pilots, for their line")
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    store = Store(given.run)
    parts = []
    for seed in given.seeds:
        file = given.out / f"alarms_{seed}.parquet"
        if not file.exists():
            file.parent.mkdir(parents=True, exist_ok=True)
            lessons(store, seed, pilots=True).to_parquet(file)
        parts.append(pd.read_parquet(file))
    table = pd.concat(parts, ignore_index=True)
    fitted = pd.read_parquet(given.pilot_shifts)
    slope, intercept = np.polyfit(fitted["estimate"], fitted["actual"], 1)
    table["pilot"] = intercept + slope * table["pilot"]
    long = table.melt(
        id_vars=[*RUN, "trait", "actual", "bound"],
        value_vars=["alarm", "pilot"],
        var_name="predictor",
        value_name="estimate",
    )
    print(analysis.alarm_scores(long).round(3).to_string())
    print(table.groupby("base")["bound"].first().round(2).to_dict())


if __name__ == "__main__":
    main()
