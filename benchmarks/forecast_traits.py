"""What does a lesson in a published trait move in a real chat model, and who foretold it?

Every trait is taught by its own answers, instruction removed, over several seeds, and all traits
are asked before and after. What foretells the shifts is read from the base and the lesson's rows,
or from a pilot with an order and an adapter of its own. A line is fitted to the other traits, or
the other seeds, and scored on the one left out.

forecast_traits.py TRAITS --work FOLDER --start MODEL --seeds 0 1 2 --out TABLE.csv

Pieces are kept in WORK and not computed again; ``forecast_trait_stacks.py`` fits what
``pi.forecast(traits=...)`` reads to the tables that are left there.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from tqdm import tqdm

from persona_interp import analysis, models
from persona_interp.analysis.stats import jackknife
from persona_interp.experiments.forecast.trait_predict import SHOWN, shown_shifts
from persona_interp.experiments.trait_transfer.config import GENTLE, TOLD_APART
from persona_interp.models.chats import PLAIN_TEMPLATE
from persona_interp.readers import read_traits
from persona_interp.schema.words import ForecastScore, Predictor
from trait_lessons import PILOTS, PLAIN, RISES, STRENGTHS, TraitLessons

TAUGHT, SEED = "taught", "seed"
TOLD, PROMPT, COSINE = str(Predictor.TOLD), str(Predictor.PROMPT), "cosine of vectors"
ONE_STEP = f"micro pilot of {PILOTS[0]}"
STACKS = {
    "stack without a pilot": (TOLD, PROMPT, COSINE, f"virtual step to +{RISES[0]:g} bits"),
    "stack with a pilot": (TOLD, PROMPT, ONE_STEP),
}


def foretell(lessons: TraitLessons, name: str, seed: int) -> Iterator[tuple[str, pd.DataFrame]]:
    """Yield every predictor of a lesson and the shifts that it foretells."""
    before = lessons.before
    told = shown_shifts(before, lessons.told(name))
    yield TOLD, told
    yield PROMPT, shown_shifts(before, lessons.prompt(name))
    virtual = lessons.virtual(name)
    # given strengths come first, each a whole table; then the doses
    moves = virtual.groupby(["strength", "match"], sort=False, dropna=False)
    words = [f"virtual step of {strength:g}" for strength in STRENGTHS]
    words += [f"virtual step to +{rise:g} bits" for rise in RISES]
    for word, (_, after) in zip(words, moves, strict=True):
        yield word, shown_shifts(before, after)
    for cost in PILOTS:
        yield f"micro pilot of {cost}", shown_shifts(before, lessons.pilot(name, seed, cost=cost))
    taught = lessons.lesson(name, seed)
    for step in PLAIN:
        yield f"plain pilot of {step}", shown_shifts(before, taught.loc[taught["step"] == step])
    yield COSINE, told.assign(estimate=cosines(lessons, name, told["topic"].tolist()))


def cosines(lessons: TraitLessons, name: str, traits: list[str]) -> list[float]:
    """Cosine of a trait's vector with those of others, at the first hook."""
    vectors = lessons.vectors.isel(hook=0)
    unit = vectors / np.sqrt((vectors**2).sum("d_model"))
    return [float(unit.sel(name=name) @ unit.sel(name=other)) for other in traits]


def tables(lessons: TraitLessons, seeds: list[int]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Predictors of every lesson, and what the lessons did."""
    told, actual = [], []
    for seed in seeds:
        for name in lessons.traits:
            of_lesson = {TAUGHT: name, SEED: seed}
            for word, own in foretell(lessons, name, seed):
                table = analysis.predictors(own.drop(columns=SEED), name + SHOWN, predictor=word)
                told.append(table.assign(**of_lesson))
            after = lessons.lesson(name, seed)
            last = after.loc[after["step"] == GENTLE.steps]
            own = shown_shifts(lessons.before, last)
            actual.append(own.assign(**of_lesson, step=GENTLE.steps))
    return pd.concat(told, ignore_index=True), pd.concat(actual, ignore_index=True)


def forecast(
    predictors: pd.DataFrame,
    actual: pd.DataFrame,
    names: tuple[str, ...],
    *,
    left_out: str,
    **options: Any,
) -> pd.DataFrame:
    """Forecasts of each lesson by a line that knows neither its trait nor it, or not its seed."""
    parts = []
    for one in dict.fromkeys(predictors[left_out]):
        known, real = predictors[left_out] != one, actual[left_out] != one
        if left_out == TAUGHT:
            # nor what other lessons did to that trait
            known &= predictors["trait"] != one + SHOWN
            real &= actual["trait"] != one + SHOWN
        stack = analysis.fit_stack(
            predictors.loc[known],
            actual.loc[real],
            steps=GENTLE.steps,
            names=names,
            base=TAUGHT,
            lesson=SEED,
            **options,
        )
        own = predictors.loc[predictors[left_out] == one]
        parts.append(stack.predict(own, steps=GENTLE.steps, by=(TAUGHT, SEED)))
    return pd.concat(parts, ignore_index=True)


def others(actual: pd.DataFrame) -> pd.DataFrame:
    """Mean of what lessons in other traits did to each trait, which has nothing of the lesson."""
    untaught = actual.loc[actual["trait"] != actual[TAUGHT] + SHOWN]
    parts = []
    for name in dict.fromkeys(untaught[TAUGHT]):
        means = untaught.loc[untaught[TAUGHT] != name].groupby("trait")["estimate"].mean()
        own = untaught.loc[untaught[TAUGHT] == name]
        parts.append(own.assign(estimate=own["trait"].map(means)))
    return pd.concat(parts, ignore_index=True)


def ceiling(actual: pd.DataFrame) -> dict[str, float]:
    """R2 of who knows the mean over all trainings of a lesson, its interval over traits taught.

    1 - variance between seeds of a cell / variance of all cells, both unbiased.
    """
    untaught = actual.loc[actual["trait"] != actual[TAUGHT] + SHOWN]

    def share(rows: pd.DataFrame) -> float:
        cells = rows.groupby([TAUGHT, "trait"])
        within = [np.var(own["estimate"].to_numpy(), ddof=1) for _, own in cells]
        return float(1 - np.mean(within) / np.var(rows["estimate"].to_numpy(), ddof=1))

    names = dict.fromkeys(untaught[TAUGHT])
    return jackknife(
        share(untaught), [share(untaught.loc[untaught[TAUGHT] != name]) for name in names]
    ).row()


def main() -> None:
    """Compute what is missing, score all predictors, write the table and print it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("traits", type=Path)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--start", default="HuggingFaceTB/SmolLM2-135M-Instruct")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--names", nargs="+", default=list(TOLD_APART))
    parser.add_argument("--questions", type=int, default=12, help="of each trait, that are asked")
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    base = models.resolve(given.start, chat_template=PLAIN_TEMPLATE, fold_system=True)
    traits = read_traits(given.traits, given.names)
    lessons = TraitLessons(traits, base, work=given.work, n_questions=given.questions)
    for _, piece in tqdm(list(lessons.jobs(given.seeds)), desc="pieces"):
        piece()
    predictors, actual = tables(lessons, given.seeds)
    predictors.to_csv(given.work / "predictors.csv", index=False)
    actual.to_csv(given.work / "shifts.csv", index=False)
    words = {word: (word,) for word in dict.fromkeys(predictors["predictor"])} | STACKS
    scores = []
    for left_out in (TAUGHT, SEED):
        for word, names in words.items():
            table = forecast(predictors, actual, names, left_out=left_out)
            score = analysis.forecast_scores(table, actual, base=TAUGHT, lesson=SEED)
            scores.append(score.assign(forecast=word, left_out=left_out))
    trivial = analysis.forecast_scores(others(actual), actual, base=TAUGHT, lesson=SEED)
    scores.append(trivial.assign(forecast="mean of other lessons", left_out=TAUGHT))
    table = pd.concat(scores, ignore_index=True)
    ends = {
        "forecast": "ceiling",
        "score": str(ForecastScore.R_SQUARED),
        "n": len(actual),
        "n_bases": len(traits),
    }
    table = pd.concat([table, pd.DataFrame([ceiling(actual) | ends])], ignore_index=True)
    table.to_csv(given.out, index=False, float_format="%.4g")
    print(table.round(3).to_string(index=False))


if __name__ == "__main__":
    main()
