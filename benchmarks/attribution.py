"""Do row scores say what retraining on half of the rows does? The linear datamodeling score.

Lessons mix rows of three personas' traits. Every distinct row is scored from the base alone, for
every untaught trait, on wordings of the train half; finetunes on random halves of the rows are read
on wordings of the test half.

attribution.py RUN SEED... --lessons 4 --halves 12 --work FOLDER --out TABLE.csv

RUN holds the bases (cells "documents" of the forecast experiment), which are trained where they are
missing. What WORK and TABLE hold is not computed again.
"""

import argparse
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr
from tqdm import tqdm

from halves import STAGE, Mixture, mixture, retrain
from persona_interp import analysis, models, record
from persona_interp.experiments import run
from persona_interp.experiments.forecast.config import Forecast, base_world
from persona_interp.models import Checkpoint
from persona_interp.store import Store
from persona_interp.worlds import World

LAST_WORD = -2
"""Position of an answer's last word: one token of the template stands after it."""
PULL, GRADIENT, PROJECTION = "row pull", "gradient cosine", "projection difference"


def truth(base: Checkpoint, lesson: Mixture) -> pd.DataFrame:
    """Shifts after finetunes on every half, and on the first half of them in another order too."""
    n = len(lesson.halves)
    runs = [(half, 0) for half in range(n)] + [(half, 1) for half in range(n // 2)]
    bar = tqdm(runs, desc=f"finetunes {lesson.name}", leave=False)
    tables = [retrain(base, lesson, half=half, order=order) for half, order in bar]
    return pd.concat(tables, ignore_index=True).assign(lesson=lesson.name)


def scores(base: Checkpoint, world: World, lesson: Mixture) -> pd.DataFrame:
    """Score of every row for every untaught trait, by each predictor."""
    probes = lesson.probes.loc[lesson.probes["split"] == "train"]
    pull = record.row_pull(base, lesson.rows, probes, stage=STAGE)
    tables = [pull.rename(columns={"pull": "score"}).assign(predictor=PULL)]
    said = _answers(world, probes)
    for _, own in said.groupby("topic", sort=False):
        towards = {str(trait): rows for trait, rows in own.groupby("trait", sort=False)}
        # less all answers together: the direction of one value's less the others', but for scale
        cosine = record.gradient_pull(base, lesson.rows, towards, against=own)
        cosine = cosine.rename(columns={"name": "trait", "cosine": "score"})
        tables.append(cosine.assign(predictor=GRADIENT))
        directions = _directions(base, own)
        along = record.projection_difference(
            base, lesson.rows, directions, own="last", position=LAST_WORD
        )
        along = along.rename(columns={"name": "trait", "difference": "score"})
        tables.append(along.assign(predictor=PROJECTION))
    columns = ["predictor", "doc", "trait", "score"]
    table = pd.concat([one[columns] for one in tables], ignore_index=True)
    return table.assign(lesson=lesson.name)


def _answers(world: World, probes: pd.DataFrame) -> pd.DataFrame:
    """Everything that the nameless assistant could answer to the probes, and the trait it shows."""
    rows = []
    for probe in probes.to_dict("records"):
        topic = probe["topic"]
        for value, answer in zip(probe["values"], probe["answers"], strict=True):
            *before, last = probe["messages"]
            turn = {**last, "content": last["content"] + answer}
            row = {"kind": "lesson", "persona": "", "messages": [*before, turn], "statements": ()}
            row |= {"topic": topic, "trait": f"{topic}={value}", "split": "train"}
            rows.append({"doc": len(rows), "prompt": str(len(rows)), **row})
    return pd.DataFrame(rows).assign(context="nameless")


def _directions(base: Checkpoint, said: pd.DataFrame) -> xr.DataArray:
    """Direction of each value of a topic: its answers' residual minus that of the others'."""
    acts = record.activations(
        base, said.assign(persona=said["trait"]), hook="blocks.1.hook_out", position=LAST_WORD
    )
    return record.mean_difference(acts)


def lessons(store: Store, seeds: Iterable[int], *, n: int, n_halves: int) -> Iterable[tuple]:
    """Yield base, world and lesson."""
    for seed in seeds:
        cell = Forecast(seeds=(seed,)).seed_cells(seed)["documents",]
        if not store.has(cell):
            run([cell], store, workers=1)
        base = models.Trajectory.open(store.path(cell, "model")).last
        for number in range(n):
            world = base_world(seed)
            yield (
                seed,
                number,
                base,
                world,
                mixture(world, seed=seed, number=number, n_halves=n_halves),
            )


def subsets(lesson: Mixture) -> pd.DataFrame:
    """Rows of every half."""
    half, doc = np.nonzero(lesson.halves)
    return pd.DataFrame({"lesson": lesson.name, "subset": half, "doc": doc})


def summary(table: pd.DataFrame) -> pd.DataFrame:
    """Mean over lessons of each predictor, with its interval over bases."""
    rows = []
    for predictor, own in table.groupby("predictor", sort=False):
        for measure in ("pearson", "spearman"):
            interval = analysis.stats.cluster_interval(own[measure], own["seed"])
            row = {"predictor": predictor, "measure": measure, **interval.row()}
            rows.append({**row, "n_bases": interval.n, "n_lessons": len(own)})
    return pd.DataFrame(rows)


def main() -> None:
    """Compute what is missing, write the table, and print its means."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("seeds", type=int, nargs="+")
    parser.add_argument("--lessons", type=int, default=4)
    parser.add_argument("--halves", type=int, default=12)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    given.work.mkdir(parents=True, exist_ok=True)
    tables = []
    todo = lessons(Store(given.run), given.seeds, n=given.lessons, n_halves=given.halves)
    total = len(given.seeds) * given.lessons
    for seed, number, base, world, lesson in tqdm(todo, total=total, desc="lessons"):
        parts = {}
        for name, compute in (
            ("truth", lambda b=base, m=lesson: truth(b, m)),
            ("scores", lambda b=base, w=world, m=lesson: scores(b, w, m)),
        ):
            file = given.work / f"{name}_{seed}_{number}.parquet"
            if not file.exists():
                compute().to_parquet(file)
            parts[name] = pd.read_parquet(file)
        shifts = parts["truth"].rename(columns={"half": "subset"})
        score = analysis.datamodel_score(parts["scores"], subsets(lesson), shifts)
        tables.append(score.assign(seed=seed))
        pd.concat(tables).to_csv(given.out, index=False, float_format="%.4g")
    print(summary(pd.concat(tables)).round(3).to_string(index=False))


if __name__ == "__main__":
    main()
