"""Are lessons forecast as well from checkpoints in the middle of the documents stage?

Bases of held-out seeds are kept half-way through their documents and at their end; the same
lessons are forecast from both (``pi.forecast``, names unknown), then taught to both and measured.

forecast_middle.py --seeds 100 101 ... --work FOLDER --out TABLE.csv

What WORK holds is not computed again.
"""

import argparse
from pathlib import Path

import pandas as pd
from tqdm import tqdm

import persona_interp as pi
from persona_interp import analysis, models, record
from persona_interp.analysis.beliefs import NAMELESS
from persona_interp.experiments.forecast.config import Forecast, base_world
from persona_interp.experiments.forecast.tasks import OTHER_ROWS
from persona_interp.experiments.tasks import lesson_of
from persona_interp.models import DOCUMENTS, LESSON, Checkpoint
from persona_interp.tables import read_table, write_table
from persona_interp.worlds import World

MIDDLE = DOCUMENTS.steps // 2


def bases(world: World, *, seed: int, work: Path) -> list[Checkpoint]:
    """The base in the middle of its documents and at their end."""
    start = models.resolve("tiny", words=world.words(), seed=seed, out=work / f"start_{seed}")
    run = models.train(
        start,
        world.corpus(Forecast().n_documents, seed=seed),
        stage=DOCUMENTS,
        snapshots=(MIDDLE,),
        seed=seed,
        out=work / f"documents_{seed}",
        name="documents",
    )
    return list(run)[1:]


def judge(base: Checkpoint, world: World, trait: str, *, seed: int, work: Path) -> pd.DataFrame:
    """Forecast of a lesson at its last step, and what it did to every untaught trait."""
    told = pi.forecast(
        base,
        lesson_of(world, trait, LESSON, seed=seed + OTHER_ROWS),
        world=world,
        taught=trait,
        names=False,
        at=(LESSON.steps,),
        seed=seed,
    )
    run = models.train(
        base,
        lesson_of(world, trait, LESSON, seed=seed),
        stage=LESSON,
        seed=seed,
        out=work / f"lesson_{seed}_{base.step}_{trait.replace('=', '_')}",
        name="lesson",
    )
    behavior = record.behavior(run, world.probes(contexts=NAMELESS))
    shifts = analysis.shift(behavior, before=0, after=LESSON.steps, split="test")
    cell = ["context", "persona", "trait"]
    actual = shifts[[*cell, "estimate"]].set_axis([*cell, "actual"], axis=1)
    table = told.merge(actual, on=cell)
    return table.assign(base=seed, lesson=trait, checkpoint=base.step)


def main() -> None:
    """Compute what is missing, score it by checkpoint, write the scores and print them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, nargs="+", default=list(range(100, 108)))
    parser.add_argument("--lessons", type=int, default=3)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    given.work.mkdir(parents=True, exist_ok=True)
    parts = []
    for seed in tqdm(given.seeds, desc="bases"):
        world = base_world(seed)
        lessons = Forecast(seeds=(seed,), n_lessons=given.lessons).lessons(seed)
        for base in bases(world, seed=seed, work=given.work):
            for lesson in lessons:
                (trait,) = lesson.traits
                file = given.work / f"{seed}_{base.step}_{trait.replace('=', '_')}.parquet"
                if not file.exists():
                    write_table(judge(base, world, trait, seed=seed, work=given.work), file)
                parts.append(read_table(file))
    rows = pd.concat(parts, ignore_index=True)
    actual = rows.drop(columns=["estimate"]).rename(columns={"actual": "estimate"})
    scores = []
    for step, own in rows.groupby("checkpoint"):
        real = actual.loc[actual["checkpoint"] == step]
        scores.append(analysis.forecast_scores(own, real).assign(checkpoint=step))
    table = pd.concat(scores, ignore_index=True)
    table.to_csv(given.out, index=False, float_format="%.4g")
    print(table.round(3).to_string(index=False))


if __name__ == "__main__":
    main()
