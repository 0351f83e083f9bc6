"""Fit the stacks that `persona_interp` forecasts with, on bases of their own.

    python benchmarks/forecast_stacks.py RUN --seeds 0 32

Trains tiny models of 32 worlds, says of 12 lessons each what every predictor says, teaches them,
and fits every stack of ``experiments/forecast/stacks.py`` to the plain lessons (about a core-hour,
resumable). Seeds from 100 on are for forecasts and are refused here.
"""

import argparse
from pathlib import Path

import pandas as pd

from persona_interp import analysis
from persona_interp.experiments import run
from persona_interp.experiments.forecast.config import Forecast
from persona_interp.experiments.forecast.stacks import FOLDER, STACKS, file_of
from persona_interp.experiments.forecast.tables import LESSON, read_seeds
from persona_interp.report.provenance import revision
from persona_interp.schema.words import Variant
from persona_interp.store import Store

COMMAND = "python benchmarks/forecast_stacks.py"
FRESH = 100
"""First seed that forecasts are judged on."""
N_LESSONS = 12


def main() -> int:
    """Fit and write every stack; print what each explains of bases that are left out."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("--seeds", type=int, nargs=2, default=(0, 32), metavar=("FIRST", "STOP"))
    parser.add_argument("--out", type=Path, default=FOLDER)
    args = parser.parse_args()
    first, stop = args.seeds
    seeds = tuple(range(first, stop))
    if max(seeds) >= FRESH:
        parser.error(f"seeds from {FRESH} on are forecast with what is fitted here; give others.")
    experiment = Forecast(seeds=seeds, n_lessons=N_LESSONS)
    store = Store(args.run)
    run(experiment.cells(), store)
    tables = read_seeds(experiment, store)
    is_plain = tables["predictors"]["variant"] == Variant.PLAIN
    rows = []
    for name, words in STACKS.items():
        stack = analysis.fit_stack(
            tables["predictors"].loc[is_plain],
            tables["shifts"],
            steps=experiment.lesson.steps,
            names=[str(word) for word in words],
            provenance={"command": f"{COMMAND} RUN --seeds {first} {stop}", "commit": revision()},
        )
        stack.to_json(file_of(name, folder=args.out))
        last = stack.lines[-1]
        rows.append({"stack": name, "r2": last.r2, "width": last.width, "reach": last.reach})
    n = len(tables["predictors"][LESSON].drop_duplicates())
    print(f"{len(seeds)} bases, {n} lessons")
    print(pd.DataFrame(rows).round(3).to_string(index=False))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
