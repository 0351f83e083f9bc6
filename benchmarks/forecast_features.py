"""Fit the stacks that forecast features, and judge them on bases that nothing was fitted on.

    python benchmarks/forecast_features.py fit RUN --work FOLDER
    python benchmarks/forecast_features.py judge RUN --work FOLDER --out TABLE.csv

Tiny models of the four families of worlds and a few lessons of each are those of RUN, where they
lie already (``forecast_stacks.py`` and ``alarms.py`` teach the same), or trained into it. Trains a
small dictionary on each base, says of every feature what each predictor says, and measures what the
lesson did. What WORK holds is not computed again. Seeds from 100 on are judged and never fitted.
"""

import argparse
import time
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd
from tqdm import tqdm

from persona_interp import analysis, dictionaries, models
from persona_interp.analysis.beliefs import NAMELESS
from persona_interp.dictionaries import SparseDictionary
from persona_interp.experiments import run
from persona_interp.experiments.forecast.config import Forecast, base_world
from persona_interp.experiments.forecast.features import (
    STEPS,
    feature_levels,
    feature_moves,
    predict_features,
)
from persona_interp.experiments.forecast.predict import PILOTS
from persona_interp.experiments.forecast.stacks import (
    FEATURE_STACKS,
    FOLDER,
    OF_FEATURES,
    file_of,
    open_stack,
)
from persona_interp.experiments.forecast.tasks import OTHER_ROWS
from persona_interp.experiments.tasks import lesson_of
from persona_interp.models import LESSON, Checkpoint
from persona_interp.report.provenance import revision
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
WORDS = [str(word) for word in (*STEPS, *PILOTS.values())]
LESSONS = ["base", "lesson"]
Tables = tuple[pd.DataFrame, pd.DataFrame]


def dictionary_of(base: Checkpoint, world: World, *, seed: int, work: Path) -> SparseDictionary:
    """Dictionary of a base, trained on new documents of its world."""
    folder = work / f"dictionary_{seed}"
    if not (folder / "dictionary.json").exists():
        corpus = world.corpus(N_SAE_DOCUMENTS, seed=seed + SAE_SEED)
        dictionaries.fit(base, corpus, hook=HOOK, seed=seed, out=folder, **SAE)
    return dictionaries.open_dictionary(folder)


def read_base(seed: int, store: Store, *, lessons: int, work: Path) -> Tables:
    """Predictors and shifts (SDs) of all features of a base, by lesson."""
    experiment = Forecast(seeds=(seed,), n_lessons=lessons)
    cells, own = experiment.seed_cells(seed), experiment.lessons(seed)
    files = {one: f"{seed}_{one.traits[0].replace('=', '_')}.parquet" for one in own}
    missing = [one for one in own if not (work / f"shifts_{files[one]}").exists()]
    if missing:
        needed = [cells["documents",], *(cells["lesson", one] for one in missing)]
        if not all(map(store.has, needed)):
            run(needed, store, workers=0, progress=False)
        world = base_world(seed)
        base = models.Trajectory.open(store.path(cells["documents",], "model")).last
        sae = dictionary_of(base, world, seed=seed, work=work)
        prompts = world.probes(contexts=NAMELESS)
        levels = feature_levels(base, prompts, dictionary=sae)
        sd = levels.set_index(levels["feature"].astype(str))["sd"]
        about = {"base": seed, "world": world.name.partition("-")[0], "fvu": levels.attrs["fvu"]}
        about["n_silent"] = len(levels.attrs["silent"])
        for lesson in missing:
            (trait,) = lesson.traits
            told = predict_features(
                base,
                levels,
                lesson_of(world, trait, LESSON, seed=seed + OTHER_ROWS),
                prompts,
                dictionary=sae,
                stage=LESSON,
                wanted=WORDS,
                seed=seed + OTHER_ROWS,
            )
            taught = models.Trajectory.open(store.path(cells["lesson", lesson], "model"))
            moved = feature_moves(list(taught)[1:], levels, prompts, dictionary=sae)
            moved = moved.assign(sd=moved["trait"].map(sd))
            write_table(told.assign(lesson=trait, **about), work / f"told_{files[lesson]}")
            write_table(moved.assign(lesson=trait, **about), work / f"shifts_{files[lesson]}")
    told, moved = (
        pd.concat([read_table(work / f"{kind}_{file}") for file in files.values()])
        for kind in ("told", "shifts")
    )
    return told, moved


def read_bases(seeds: Iterable[int], store: Store, *, lessons: int, work: Path) -> Tables:
    """Predictors and shifts of several bases; says how long each took."""
    told, moved = [], []
    for seed in tqdm(list(seeds), desc="bases"):
        start = time.process_time()
        predictors, shifts = read_base(seed, store, lessons=lessons, work=work)
        tqdm.write(f"base {seed}: {time.process_time() - start:.0f} CPU seconds")
        told.append(predictors)
        moved.append(shifts)
    return pd.concat(told, ignore_index=True), pd.concat(moved, ignore_index=True)


def fit(predictors: pd.DataFrame, shifts: pd.DataFrame, *, command: str) -> pd.DataFrame:
    """Fit and write every stack; what each explains of bases that are left out."""
    rows = []
    for name, words in FEATURE_STACKS.items():
        stack = analysis.fit_stack(
            predictors,
            shifts,
            steps=LESSON.steps,
            names=[str(word) for word in words],
            provenance={
                "command": command,
                "commit": revision(),
                "unit": "SD of a feature over the tokens of the base's prompts",
                "dictionary": {"hook": HOOK, **SAE},
                "fvu": round(float(shifts.drop_duplicates("base")["fvu"].mean()), 4),
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
    nothing = parts[0][[*cell, "step"]].assign(estimate=0.0, forecaster="0")
    return pd.concat([*parts, nothing], ignore_index=True)


def riser_ranks(told: pd.DataFrame, shifts: pd.DataFrame) -> pd.DataFrame:
    """Rank of the feature that rises most in fact (activation) among the forecast ones."""
    cell = [*LESSONS, "trait", "step"]
    actual = shifts.loc[shifts["step"] == LESSON.steps, [*cell, "estimate", "sd"]]
    both = told.merge(actual.rename(columns={"estimate": "actual"}), on=cell)
    rows = []
    for (name, base, lesson), own in both.groupby(["forecaster", *LESSONS], sort=False):
        rise, expected = own["actual"] * own["sd"], own["estimate"] * own["sd"]
        rank = 1 + int((expected > expected[rise.idxmax()]).sum())
        spearman = expected.corr(rise, method="spearman") if expected.nunique() > 1 else np.nan
        rows.append((name, base, lesson, rank, len(own), spearman))
    columns = ["forecaster", *LESSONS, "rank", "n", "spearman"]
    return pd.DataFrame(rows, columns=columns)


def judge(predictors: pd.DataFrame, shifts: pd.DataFrame) -> Tables:
    """Scores of every forecast by step, and ranks of the largest riser by lesson."""
    steps = sorted(int(step) for step in shifts["step"].unique())
    told = forecasts(predictors, steps=steps)
    scores = [
        analysis.forecast_scores(own.dropna(axis=1, how="all"), shifts).assign(forecaster=name)
        for name, own in told.groupby("forecaster", sort=False)
    ]
    return pd.concat(scores, ignore_index=True), riser_ranks(told, shifts)


def main() -> None:
    """Compute what is missing; fit and write the stacks, or judge them and write the scores."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=("fit", "judge"))
    parser.add_argument("run", type=Path)
    parser.add_argument("--seeds", type=int, nargs=2, metavar=("FIRST", "STOP"))
    parser.add_argument("--lessons", type=int)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    is_fit = given.what == "fit"
    first, stop = given.seeds or ((0, 24) if is_fit else (FRESH, FRESH + 8))
    if is_fit == (stop > FRESH):
        parser.error(f"seeds below {FRESH} are fitted, those from {FRESH} on are judged.")
    lessons = given.lessons or (3 if is_fit else 6)
    given.work.mkdir(parents=True, exist_ok=True)
    predictors, shifts = read_bases(
        range(first, stop), Store(given.run), lessons=lessons, work=given.work
    )
    n = len(shifts[LESSONS].drop_duplicates())
    bases = shifts.drop_duplicates("base")
    print(f"{len(bases)} bases, {n} lessons, {len(shifts) // shifts['step'].nunique()} shifts; fvu")
    print(bases[["base", "world", "fvu", "n_silent"]].round(3).to_string(index=False))
    if is_fit:
        command = f"{COMMAND} fit RUN --seeds {first} {stop} --lessons {lessons}"
        print(fit(predictors, shifts, command=command).round(3).to_string(index=False))
        return
    scores, ranks = judge(predictors, shifts)
    last = scores.loc[scores["step"] == LESSON.steps]
    print(last.round(3).to_string(index=False))
    print(ranks.groupby("forecaster")[["rank", "n", "spearman"]].describe().round(2).to_string())
    if given.out:
        scores.to_csv(given.out, index=False, float_format="%.4g")


if __name__ == "__main__":
    main()
