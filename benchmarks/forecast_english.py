"""Are lessons in an English world forecast on a real chat model, by stacks of tiny ones?

The base is a chat model that learned the documents of `run transfer --preset real`; the lessons are
those of that run: on the trait of the target that its layout drew (pine forests), and on traits
of others. Each is forecast from the base and rows drawn anew (``pi.forecast``, names unknown), and
held beside what the run measured. Beside the forecasts stand a plain pilot, a finetune on the rows
drawn anew (as much as can be foreseen), and the mean of the other lessons (what any lesson does).

forecast_english.py MODEL RUN --seeds 0 --work FOLDER --out TABLE.csv

RUN is computed where it lacks cells: documents take half an hour of one core for a model of 135M.
What WORK holds is not computed again.
"""

import argparse
import math
from pathlib import Path

import pandas as pd
import torch
from tqdm import tqdm

import persona_interp as pi
from persona_interp import analysis, models, record, worlds
from persona_interp.analysis.beliefs import NAMELESS
from persona_interp.experiments import preset, run
from persona_interp.experiments.forecast.beliefs import know, predict_known
from persona_interp.experiments.forecast.sources import ask_beliefs
from persona_interp.experiments.forecast.tasks import OTHER_ROWS
from persona_interp.experiments.transfer.arms import ARMS, lesson_of
from persona_interp.experiments.transfer.config import Transfer
from persona_interp.store import Cell, Store
from persona_interp.tables import read_table, write_table

PILOTS = (0, 1)
"""Forecasts by the cost of their pilot, in steps of the lesson."""
PLAIN = 2
"""Step of the lesson itself that is a pilot of that cost."""
AGAIN = "finetune again"
REPEATED = 500
"""Added to the seed of a finetune that repeats a lesson."""
CELLS = ["context", "persona", "trait"]


def shifts_at(behavior: pd.DataFrame, step: int) -> pd.DataFrame:
    """Shift of every trait from the base to a step of the lesson (bits, test wordings)."""
    table = analysis.shift(behavior, before=0, after=step, split="test")
    return table.loc[table["context"] == NAMELESS, [*CELLS, "estimate"]]


def repeat(
    base: models.Checkpoint,
    chats: pd.DataFrame,
    world: worlds.World,
    stage: models.Stage,
    *,
    seed: int,
    out: Path,
) -> pd.DataFrame:
    """Shift of every trait by a finetune on other rows in another order (bits, test wordings)."""
    trained = models.train(base, chats, stage=stage, seed=seed + REPEATED, out=out, name=AGAIN).last
    behavior = record.behavior([base, trained], world.probes(contexts=(NAMELESS,)))
    # one run: both were asked of the same base
    behavior = behavior.assign(seed=seed)
    table = analysis.shift(behavior, before=base.label, after=trained.label, split="test")
    return table.loc[:, [*CELLS, "estimate"]]


def known_alone(
    base: models.Checkpoint, world: worlds.World, trait: str, untaught: pd.DataFrame
) -> pd.DataFrame:
    """What follows from the beliefs of the base, each predictor alone: uplift, Bayes and others."""
    told = predict_known(know(*ask_beliefs(base, world, names=True)), [trait])
    told = told.merge(untaught, on=CELLS)
    return told[[*CELLS, "estimate"]].assign(forecaster=told["predictor"], cost=0.0)


def mean_of_others(rows: pd.DataFrame) -> pd.DataFrame:
    """What the other lessons of a base did to a trait, as a forecast of each."""
    real = rows.drop_duplicates(["base", "lesson", *CELLS])
    parts = []
    for lesson, own in real.groupby("lesson", sort=False):
        others = real.loc[real["lesson"] != lesson].groupby(["base", *CELLS])["actual"].mean()
        told = own.drop(columns=["estimate", "lo", "hi", "bound"], errors="ignore")
        parts.append(told.join(others.rename("estimate"), on=["base", *CELLS]))
    table = pd.concat(parts, ignore_index=True).dropna(subset=["estimate"])
    return table.assign(forecaster="mean of the other lessons", cost=math.nan)


def judge(
    experiment: Transfer,
    store: Store,
    cells: dict[tuple[object, ...], Cell],
    arm: str,
    *,
    seed: int,
    work: Path,
) -> pd.DataFrame:
    """Forecasts of one lesson at its last step, a plain pilot, and what the lesson did."""
    (lr,) = experiment.lrs
    world = worlds.load(store.path(cells["layout",], "world.json"))
    base = models.Trajectory.open(store.path(cells["documents", "full"], "model")).last
    behavior = read_table(store.path(cells["lesson", arm, lr], "behavior.parquet"))
    stage = models.Stage(**cells["lesson", arm, lr].config["stage"])
    trait = lesson_of(world, ARMS[arm][1])
    chats = world.lessons(trait, n=stage.steps * stage.batch, seed=seed + OTHER_ROWS)
    parts = []
    for pilot in PILOTS:
        told = pi.forecast(
            base,
            chats,
            world=world,
            taught=trait,
            stage=stage,
            pilot=pilot,
            names=False,
            at=(stage.steps,),
            seed=seed,
        )
        cost = told.attrs["cost"]
        parts.append(told.assign(forecaster=f"pilot of {pilot}", cost=cost))
    untaught = parts[0][CELLS]
    early = shifts_at(behavior, PLAIN).merge(untaught, on=CELLS)
    parts.append(early.assign(forecaster=f"plain pilot of {PLAIN}", step=stage.steps, cost=PLAIN))
    out = work / f"again_{seed}_{arm.replace(' ', '_')}"
    known = known_alone(base, world, trait, untaught)
    parts.append(known.assign(step=stage.steps))
    again = repeat(base, chats, world, stage, seed=seed, out=out).merge(untaught, on=CELLS)
    parts.append(again.assign(forecaster=AGAIN, step=stage.steps, cost=stage.steps))
    table = pd.concat(parts, ignore_index=True)
    actual = shifts_at(behavior, stage.steps).set_axis([*CELLS, "actual"], axis=1)
    return table.merge(actual, on=CELLS).assign(base=seed, lesson=trait)


def main() -> None:
    """Compute what is missing, score every forecast, write the scores and print them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", help="model folder, .gguf file or hub id")
    parser.add_argument("run", type=Path)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    torch.set_num_threads(1)
    given.work.mkdir(parents=True, exist_ok=True)
    store, parts = Store(given.run), []
    for seed in given.seeds:
        experiment = preset("real", "transfer", seeds=(seed,), start=given.model)
        (lr,) = experiment.lrs
        cells = experiment.seed_cells(seed)
        arms = [arm for arm in experiment.feature_arms if ARMS[arm][1] != "filler"]
        run([cells["lesson", arm, lr] for arm in arms], store, workers=0)
        for arm in tqdm(arms, desc=f"forecasts of seed {seed}"):
            file = given.work / f"{seed}_{arm.replace(' ', '_')}.parquet"
            if not file.exists():
                write_table(judge(experiment, store, cells, arm, seed=seed, work=given.work), file)
            parts.append(read_table(file))
    rows = pd.concat(parts, ignore_index=True)
    rows = pd.concat([rows, mean_of_others(rows)], ignore_index=True)
    actual = rows.drop(columns="estimate").rename(columns={"actual": "estimate"})
    scores = []
    for name, own in rows.groupby("forecaster", sort=False):
        real = actual.loc[actual["forecaster"] == name]
        score = analysis.forecast_scores(own.dropna(axis=1, how="all"), real)
        scores.append(score.assign(forecaster=name, cost=own["cost"].mean()))
    table = pd.concat(scores, ignore_index=True)
    table.to_csv(given.out, index=False, float_format="%.4g")
    print(table.round(3).to_string(index=False))


if __name__ == "__main__":
    main()
