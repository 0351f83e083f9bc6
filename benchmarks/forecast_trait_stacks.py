"""Fit the stacks with which `persona_interp` forecasts lessons in published traits.

    python benchmarks/forecast_trait_stacks.py WORK --start MODEL

WORK is that of ``forecast_traits.py``: predictors and shifts of lessons in six traits. Log odds of
whole answers have no level that means anything, so the lines have no terms of levels. With each
stack is kept what it was worth where a lesson's trait was left out of the fit, and where the trait
that it shifts was left out too, which is what a trait of a user's is.
"""

import argparse
from collections.abc import Sequence
from dataclasses import asdict, replace
from itertools import permutations
from pathlib import Path

import pandas as pd

from forecast_traits import ONE_STEP, SEED, TAUGHT, forecast, others
from persona_interp import analysis, models
from persona_interp.analysis import Stack
from persona_interp.experiments.forecast.stacks import FOLDER, TRAIT_STACKS, file_of
from persona_interp.experiments.forecast.trait_predict import SHOWN
from persona_interp.experiments.trait_transfer.config import GENTLE
from persona_interp.models.chats import PLAIN_TEMPLATE
from persona_interp.report.provenance import revision
from persona_interp.schema.words import ForecastScore, Predictor

KEPT = (ForecastScore.R_SQUARED, ForecastScore.COVERED, ForecastScore.BOUNDED)
"""Scores that a stack keeps with it."""
COMMAND = "python benchmarks/forecast_trait_stacks.py WORK --start MODEL"
LINE = {"steps": GENTLE.steps, "base": TAUGHT, "lesson": SEED, "levels": False}


def main() -> None:
    """Fit and write both stacks; print what each is worth on traits that are left out."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("work", type=Path)
    parser.add_argument("--start", default="HuggingFaceTB/SmolLM2-135M-Instruct")
    parser.add_argument("--out", type=Path, default=FOLDER)
    given = parser.parse_args()
    base = models.resolve(given.start, chat_template=PLAIN_TEMPLATE, fold_system=True)
    predictors, actual = (
        pd.read_csv(given.work / file).assign(persona="")
        for file in ("predictors.csv", "shifts.csv")
    )
    predictors = predictors.replace({"predictor": {ONE_STEP: str(Predictor.PILOT)}})
    about = {"model": base.label, "weights": models.hash_weights(base)}
    about |= {"stage": asdict(GENTLE), "command": COMMAND, "commit": revision()}
    for word, names in TRAIT_STACKS.items():
        stack = fit(predictors, actual, tuple(map(str, names)), about=about)
        stack.to_json(file_of(word, folder=given.out))
        told = {key: stack.provenance[key] for key in ("left_out", "both_left_out")}
        print(word, stack.lines[-1], told, stack.provenance["mean_of_others"], sep="\n")


def fit(
    predictors: pd.DataFrame, actual: pd.DataFrame, names: tuple[str, ...], *, about: dict
) -> Stack:
    """Stack of all lessons, with what it is worth on traits that it was not fitted to."""
    n = len(set(predictors[TAUGHT]))
    # n traits promise n of n + 1, and those that are left once one is left out n - 1 of n
    one = forecast(predictors, actual, names, left_out=TAUGHT, levels=False, guarantee=(n - 1) / n)
    two = without_both(predictors, actual, names)
    known = {
        "left_out": scores(one, actual),
        "both_left_out": scores(two, actual),
        "mean_of_others": scores(others(actual), actual)[str(ForecastScore.R_SQUARED)],
    }
    stack = analysis.fit_stack(
        predictors, actual, names=names, guarantee=n / (n + 1), provenance=known | about, **LINE
    )
    # what predictors cost these lessons was not kept; of a lesson that is forecast it is counted
    kept = {name: value for name, value in stack.provenance.items() if name != "cost"}
    return replace(stack, provenance=kept)


def without_both(
    predictors: pd.DataFrame, actual: pd.DataFrame, names: Sequence[str]
) -> pd.DataFrame:
    """Forecasts of each trait in each lesson by a line that knows nothing of either."""
    taught = list(dict.fromkeys(predictors[TAUGHT]))
    n = len(taught) - 2
    parts = []
    for pair in permutations(taught, 2):
        labels = [name + SHOWN for name in pair]
        told, real = (
            table.loc[~table[TAUGHT].isin(pair) & ~table["trait"].isin(labels)]
            for table in (predictors, actual)
        )
        stack = analysis.fit_stack(told, real, names=names, guarantee=n / (n + 1), **LINE)
        own = (predictors[TAUGHT] == pair[0]) & (predictors["trait"] == labels[1])
        parts.append(stack.predict(predictors.loc[own], steps=GENTLE.steps, by=(TAUGHT, SEED)))
    return pd.concat(parts, ignore_index=True)


def scores(told: pd.DataFrame, actual: pd.DataFrame) -> dict[str, list[float]]:
    """Scores that are kept, each with its interval over the traits that were taught."""
    table = analysis.forecast_scores(told, actual, base=TAUGHT, lesson=SEED)
    table = table.loc[table["score"].isin(list(KEPT))]
    numbers = table[["estimate", "lo", "hi"]].round(4).to_numpy().tolist()
    return dict(zip(table["score"], numbers, strict=True))


if __name__ == "__main__":
    main()
