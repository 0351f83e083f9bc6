"""Fit the stacks that forecast features, and judge them on bases that nothing was fitted on.

    python benchmarks/forecast_features.py fit --work FOLDER
    python benchmarks/forecast_features.py judge --work FOLDER --run RUN --seeds 500 508 --lessons 8

Tiny models of the four families of worlds and a few lessons of each are trained, or are those of a
RUN of ``forecast_stacks.py`` or ``alarms.py``, which train the same. Trains a small dictionary on
each base, says of every feature what each predictor says, and measures what the lesson did. What
WORK holds is not computed again. Seeds from 100 on are judged and never fitted.
"""

import argparse
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from tqdm import tqdm

from persona_interp import analysis, dictionaries, models
from persona_interp.analysis.beliefs import NAMELESS
from persona_interp.dictionaries import SparseDictionary
from persona_interp.experiments.forecast.config import Forecast, Lesson, base_world
from persona_interp.experiments.forecast.features import (
    feature_levels,
    feature_moves,
    predict_features,
)
from persona_interp.experiments.forecast.stacks import (
    FEATURE_STACKS,
    FOLDER,
    OF_FEATURES,
    file_of,
    open_stack,
)
from persona_interp.experiments.forecast.tasks import OTHER_ROWS
from persona_interp.experiments.tasks import lesson_of
from persona_interp.models import DOCUMENTS, LESSON, Checkpoint, Stage
from persona_interp.report.provenance import revision
from persona_interp.schema.words import ForecastScore
from persona_interp.store import Store
from persona_interp.tables import read_table, write_table
from persona_interp.worlds import World

COMMAND = "python benchmarks/forecast_features.py"
FRESH = 100
"""First seed that forecasts are judged on."""
HOOK = "blocks.1.hook_out"
SAE = {"d_sae": 192, "k": 8, "steps": 700, "engine": "sparse"}
N_SAE_DOCUMENTS = 4_000
SAE_SEED = 1_000
"""Added to the seed: a dictionary is trained on documents of its own."""
WORDS = [str(word) for words in FEATURE_STACKS.values() for word in words]
LESSONS = ["base", "lesson"]
NOTHING = "0"
"""Name of the forecast that no feature moves."""
MOVED = 0.1
"""Shift from which on a feature is said to have moved, on its scale."""
N_TAUGHT = 12
"""Lessons of a base in such a run."""
Tables = tuple[pd.DataFrame, pd.DataFrame]


def base_of(seed: int, *, run: Store | None, work: Path) -> Checkpoint:
    """Tiny model that learned the documents of a world."""
    if run is not None:
        cells = Forecast(seeds=(seed,)).seed_cells(seed)
        return models.Trajectory.open(run.path(cells["documents",], "model")).last
    world = base_world(seed)
    start = models.resolve("tiny", words=world.words(), seed=seed, out=work / f"start_{seed}")
    corpus = world.corpus(Forecast().n_documents, seed=seed)
    return train(start, corpus, DOCUMENTS, seed=seed, out=work / f"documents_{seed}").last


def taught(
    base: Checkpoint, lesson: Lesson, *, seed: int, run: Store | None, work: Path
) -> models.Trajectory:
    """The base, taught a lesson, step by step."""
    if run is not None:
        # of twelve lessons a base, as forecast_stacks.py and alarms.py teach them
        cells = Forecast(seeds=(seed,), n_lessons=N_TAUGHT).seed_cells(seed)
        return models.Trajectory.open(run.path(cells["lesson", lesson], "model"))
    (trait,) = lesson.traits
    chats = lesson_of(base_world(seed), trait, LESSON, seed=seed)
    out = work / f"lesson_{seed}_{trait.replace('=', '_')}"
    return train(base, chats, LESSON, seed=seed, out=out, snapshots=Forecast().snapshots)


def train(
    start: Checkpoint, corpus: pd.DataFrame, stage: Stage, *, seed: int, out: Path, **kept: Any
) -> models.Trajectory:
    """A stage, as the cells of the experiment train it."""
    name = out.name.partition("_")[0]
    return models.train(
        start, corpus, stage=stage, seed=seed, out=out, name=name, progress=False, **kept
    )


def dictionary_of(base: Checkpoint, world: World, *, seed: int, work: Path) -> SparseDictionary:
    """Dictionary of a base, trained on new documents of its world."""
    folder = work / f"dictionary_{seed}"
    if not (folder / "dictionary.json").exists():
        corpus = world.corpus(N_SAE_DOCUMENTS, seed=seed + SAE_SEED)
        dictionaries.fit(base, corpus, hook=HOOK, seed=seed, out=folder, **SAE)
    return dictionaries.open_dictionary(folder)


def read_base(seed: int, *, lessons: int, run: Store | None, work: Path) -> Tables:
    """Predictors and shifts of all features of a base, by lesson."""
    own = Forecast(seeds=(seed,), n_lessons=lessons).lessons(seed)
    files = {one: f"{seed}_{one.traits[0].replace('=', '_')}.parquet" for one in own}
    missing = [one for one in own if not (work / f"shifts_{files[one]}").exists()]
    if missing:
        world = base_world(seed)
        base = base_of(seed, run=run, work=work)
        sae = dictionary_of(base, world, seed=seed, work=work)
        prompts = world.probes(contexts=NAMELESS)
        levels = feature_levels(base, prompts, dictionary=sae)
        about = {"base": seed, "world": world.name.partition("-")[0], "fvu": levels.attrs["fvu"]}
        for lesson in missing:
            (trait,) = lesson.traits
            chats = lesson_of(world, trait, LESSON, seed=seed + OTHER_ROWS)
            told = [
                predict_features(
                    base,
                    levels,
                    chats,
                    prompts,
                    dictionary=sae,
                    stage=LESSON,
                    wanted=[str(word) for word in words],
                    seed=seed + OTHER_ROWS,
                )
                for words in FEATURE_STACKS.values()
            ]
            steps = list(taught(base, lesson, seed=seed, run=run, work=work))[1:]
            moved = feature_moves(steps, levels, prompts, dictionary=sae)
            own = {**about, "lesson": trait}
            write_table(pd.concat(told).assign(**own), work / f"told_{files[lesson]}")
            write_table(moved.assign(**own), work / f"shifts_{files[lesson]}")
    told, moved = (
        pd.concat([read_table(work / f"{kind}_{file}") for file in files.values()])
        for kind in ("told", "shifts")
    )
    return told, moved


def read_bases(seeds: Iterable[int], **options: Any) -> Tables:
    """Predictors and shifts of several bases; says how long each took."""
    told, moved = [], []
    for seed in tqdm(list(seeds), desc="bases"):
        start = time.process_time()
        predictors, shifts = read_base(seed, **options)
        tqdm.write(f"base {seed}: {time.process_time() - start:.0f} CPU seconds")
        told.append(predictors)
        moved.append(shifts)
    return pd.concat(told, ignore_index=True), pd.concat(moved, ignore_index=True)


def fit(predictors: pd.DataFrame, shifts: pd.DataFrame, *, command: str) -> pd.DataFrame:
    """Fit and write every stack; what each explains of bases that are left out."""
    rows, commit = [], revision()  # before a file of the package changes
    for name, words in FEATURE_STACKS.items():
        stack = analysis.fit_stack(
            predictors,
            shifts,
            steps=LESSON.steps,
            names=[str(word) for word in words],
            provenance={
                "command": command,
                "commit": commit,
                "unit": "SD of a feature over the tokens of the base's prompts, plus the median SD",
                "dictionary": {"hook": HOOK, **SAE},
                "fvu": round(float(np.mean(shifts.drop_duplicates("base")["fvu"])), 4),
            },
        )
        stack.to_json(file_of(name, folder=FOLDER))
        last = stack.lines[-1]
        rows.append({"stack": name, "r2": last.r2, "width": last.width, "reach": last.reach})
    return pd.DataFrame(rows)


def forecasts(predictors: pd.DataFrame, *, steps: Iterable[int]) -> pd.DataFrame:
    """Forecasts of every stack; of predictors as they are, without a line; and of nothing."""
    parts = []
    for name in OF_FEATURES.values():
        told = open_stack(name).predict(predictors, steps=LESSON.steps, at=steps, by=LESSONS)
        parts.append(told.assign(forecaster=name))
    cell = [*LESSONS, "context", "persona", "trait", "estimate"]
    for word in WORDS:
        bare = predictors.loc[predictors["predictor"] == word, cell]
        parts.append(bare.assign(forecaster=f"{word}, as it is", step=LESSON.steps))
    nothing = parts[0][[*cell, "step"]].assign(estimate=0.0, forecaster=NOTHING)
    return pd.concat([*parts, nothing], ignore_index=True)


def complete(told: pd.DataFrame, shifts: pd.DataFrame) -> pd.DataFrame:
    """Forecasts of all features of a dictionary: of those that have none, that they stay."""
    cell = [*LESSONS, "context", "persona", "trait", "step"]
    every = shifts.loc[shifts["step"].isin(list(told["step"].unique())), cell]
    table = every.merge(told[[*cell, "estimate"]], on=cell, how="left")
    return table.fillna({"estimate": 0.0})


def judge(predictors: pd.DataFrame, shifts: pd.DataFrame) -> Tables:
    """Scores of every forecast by step, of its own features and of all; and by lesson."""
    steps = sorted(int(step) for step in shifts["step"].unique())
    scores, lessons = [], []
    for name, own in forecasts(predictors, steps=steps).groupby("forecaster", sort=False):
        own = own.dropna(axis=1, how="all")
        every = complete(own, shifts)
        for of, told in (("forecast", own), ("all", every)):
            part = analysis.forecast_scores(told, shifts)
            if name == NOTHING:  # all are equal, so that every riser would be foreseen
                part = part.loc[part["score"] != ForecastScore.RISER]
            scores.append(part.assign(forecaster=name, features=of))
        lessons.append(by_lesson(own, every, shifts).assign(forecaster=name))
    return pd.concat(scores, ignore_index=True), pd.concat(lessons, ignore_index=True)


def by_lesson(own: pd.DataFrame, every: pd.DataFrame, shifts: pd.DataFrame) -> pd.DataFrame:
    """Of each lesson's end: how the features that moved were foretold.

    Columns: ``rank`` of the feature that rises most (activation) among all, ``rho`` (Spearman) of
    the forecasts of features that have one, ``inside`` (share of features that moved by more than
    ``MOVED`` whose shift is in its interval), ``missed`` (share of the squared shifts that is of
    features without a forecast), ``n`` forecast, ``moved``.
    """
    cell = [*LESSONS, "trait"]
    actual = shifts.loc[shifts["step"] == LESSON.steps, [*cell, "estimate", "scale"]]
    actual = actual.rename(columns={"estimate": "actual"})
    ends = [told.loc[told["step"] == LESSON.steps].merge(actual, on=cell) for told in (own, every)]
    rows = []
    for key, some in ends[0].groupby(LESSONS, sort=False):
        base, lesson = key
        full = ends[1].query("base == @base and lesson == @lesson")
        rise, told = full["actual"] * full["scale"], full["estimate"] * full["scale"]
        correlation = np.nan
        if some["estimate"].nunique() > 1:
            correlation = some["estimate"].corr(some["actual"], method="spearman")
        has_moved = some["actual"].abs() > MOVED
        rows.append(
            {
                "base": base,
                "lesson": lesson,
                # of equals the last: a forecast of one number for all knows nothing
                "rank": int((told >= told[rise.idxmax()]).sum()),
                "rho": correlation,
                "missed": 1 - (some["actual"] ** 2).sum() / (full["actual"] ** 2).sum(),
                "n": len(some),
                "moved": int(has_moved.sum()),
            }
        )
        if "lo" in some:
            is_inside = (some["lo"] <= some["actual"]) & (some["actual"] <= some["hi"])
            rows[-1]["inside"] = is_inside[has_moved].mean()
    return pd.DataFrame(rows)


def main() -> None:
    """Compute what is missing; fit and write the stacks, or judge them and write the scores."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=("fit", "judge"))
    parser.add_argument("--run", type=Path)
    parser.add_argument("--seeds", type=int, nargs=2, metavar=("FIRST", "STOP"))
    parser.add_argument("--lessons", type=int)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    is_fit = given.what == "fit"
    first, stop = given.seeds or ((0, 20) if is_fit else (FRESH, FRESH + 8))
    if stop > FRESH if is_fit else first < FRESH:
        parser.error(f"seeds below {FRESH} are fitted, those from {FRESH} on are judged.")
    lessons = given.lessons or (2 if is_fit else 6)
    given.work.mkdir(parents=True, exist_ok=True)
    predictors, shifts = read_bases(
        range(first, stop),
        lessons=lessons,
        run=Store.open(given.run) if given.run else None,
        work=given.work,
    )
    n = len(shifts[LESSONS].drop_duplicates())
    bases = shifts.drop_duplicates("base")
    print(f"{len(bases)} bases, {n} lessons, {len(shifts) // shifts['step'].nunique()} shifts; fvu")
    print(bases[["base", "world", "fvu"]].round(3).to_string(index=False))
    if is_fit:
        command = f"{COMMAND} fit --seeds {first} {stop} --lessons {lessons}"
        print(fit(predictors, shifts, command=command).round(3).to_string(index=False))
        return
    scores, of_lessons = judge(predictors, shifts)
    print(scores.loc[scores["step"] == LESSON.steps].round(3).to_string(index=False))
    of_lessons["first"] = of_lessons["rank"] == 1
    numbers = ["rank", "first", "rho", "inside", "missed", "n", "moved"]
    means = of_lessons.pivot_table(index="forecaster", values=numbers, sort=False)
    print("means over lessons\n" + means.round(3).to_string())
    costs = predictors.pivot_table(index="predictor", values="cost", aggfunc=["mean", "max"])
    print(costs.round(2).to_string())
    if given.out:
        scores.to_csv(given.out, index=False, float_format="%.4g")


if __name__ == "__main__":
    main()
