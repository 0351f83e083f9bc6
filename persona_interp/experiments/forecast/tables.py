"""What was forecast, what happened, and how good were the forecasts?"""

from collections.abc import Iterator, Mapping

import numpy as np
import pandas as pd

from persona_interp import analysis
from persona_interp.analysis import Stack
from persona_interp.analysis.beliefs import NAMELESS
from persona_interp.errors import StoreError
from persona_interp.experiments.forecast.beliefs import SPLIT, know, predict_known, predict_plain
from persona_interp.experiments.forecast.config import Cells, Forecast, Lesson
from persona_interp.experiments.forecast.stacks import STACKS, TOGETHER, open_stack
from persona_interp.schema.words import Predictor, Variant
from persona_interp.store import Store
from persona_interp.tables import read_table

Tables = dict[str, pd.DataFrame]
LESSON = ["base", "lesson"]
SHARED_GRADIENT = {
    Predictor.MATCHED: Predictor.VIRTUAL,
    Predictor.TWO_LOOKS_MATCHED: Predictor.TWO_LOOKS,
    Predictor.ADAM_MATCHED: Predictor.ADAM,
}
"""Predictors whose gradient is counted with another one: alone they cost as much."""


def summarize(experiment: Forecast, store: Store) -> Tables:
    """Tables of what is finished.

    Args:
        experiment: The experiment.
        store: Its run; missing cells leave fewer rows.

    Returns:
        Tables by name: ``predictors`` (what each says of every untaught trait, bits), ``shifts``
        (what happened), ``forecasts`` (of every stack, with intervals and bounds), ``scores`` (of
        all plain lessons, by stack and step), ``variants`` (at the end, by stack and variant),
        ``worlds`` (at the end, plain lessons, by stack and family of worlds), ``personas`` (the
        same of personas, by stack), ``costs`` (steps of the lesson, by stack).
    """
    tables = read_seeds(experiment, store)
    if tables:
        stacks = {name: open_stack(name) for name in STACKS}
        check_fresh(experiment, stacks)
        tables |= judge(tables, stacks, steps=experiment.lesson.steps)
        tables["personas"] = judge_personas(experiment, tables)
    return tables


def check_fresh(experiment: Forecast, stacks: Mapping[str, Stack]) -> None:
    """Refuse forecasts of what a stack was fitted on.

    Args:
        experiment: The experiment.
        stacks: By name.

    Raises:
        StoreError: One of its seeds is among a stack's bases.
    """
    fitted = {str(base) for stack in stacks.values() for base in stack.provenance["bases"]}
    known = sorted(int(base) for base in fitted & set(map(str, experiment.seeds)))
    if known:
        raise StoreError(
            f"seeds {', '.join(map(str, known))} are among those that the stacks were fitted on; "
            f"give seeds above {max(map(int, fitted))}, such as the preset's own."
        )


def read_seeds(experiment: Forecast, store: Store) -> Tables:
    """Predictors and shifts of every lesson that is finished.

    Args:
        experiment: The experiment.
        store: Its run.

    Returns:
        ``predictors`` and ``shifts``; nothing where no lesson is finished.
    """
    parts: dict[str, list[pd.DataFrame]] = {}
    for seed in experiment.seeds:
        for name, table in _seed(experiment, store, experiment.seed_cells(seed), seed=seed):
            parts.setdefault(name, []).append(table)
    return {name: pd.concat(many, ignore_index=True) for name, many in parts.items()}


def judge(tables: Tables, stacks: Mapping[str, Stack], *, steps: int) -> Tables:
    """Forecasts of stacks, and how good they were.

    Args:
        tables: With ``predictors`` and ``shifts``.
        stacks: By name.
        steps: Of a lesson.

    Returns:
        ``forecasts``, ``scores``, ``variants``, ``worlds``, ``costs``.
    """
    predictors, shifts = tables["predictors"], tables["shifts"]
    about = predictors.drop_duplicates(LESSON)[[*LESSON, "variant", "world"]]
    at = sorted({int(step) for step in shifts["step"]})
    parts, costs = [], []
    for name, stack in stacks.items():
        part = stack.predict(predictors, steps=steps, at=at, by=LESSON)
        parts.append(part.assign(forecaster=name))
        costs.append({"forecaster": name, "cost": _cost(predictors, stack)})
    forecasts = pd.concat(parts, ignore_index=True).merge(about, on=LESSON)
    is_plain = forecasts["variant"] == Variant.PLAIN
    is_last = forecasts["step"] == steps
    is_stack = forecasts["forecaster"].isin(list(TOGETHER))
    return {
        "forecasts": forecasts,
        "scores": analysis.forecast_scores(forecasts.loc[is_plain], shifts, by=["forecaster"]),
        "variants": analysis.forecast_scores(
            forecasts.loc[is_last], shifts, by=["forecaster", "variant"]
        ),
        "worlds": analysis.forecast_scores(
            forecasts.loc[is_plain & is_last & is_stack], shifts, by=["forecaster", "world"]
        ),
        "costs": pd.DataFrame(costs),
    }


def judge_personas(experiment: Forecast, tables: Tables) -> pd.DataFrame:
    """How good forecasts of personas were at the end of plain lessons.

    Args:
        experiment: Says which world each base is of.
        tables: With ``forecasts`` and ``shifts``.

    Returns:
        A forecast_scores table by stack of several predictors.
    """
    told, actual = tables["forecasts"], tables["shifts"]
    is_plain = (told["variant"] == Variant.PLAIN) & told["forecaster"].isin(list(TOGETHER))
    told = told.loc[is_plain & (told["step"] == experiment.lesson.steps)]
    # shifts are put together as forecasts are; they have no ends
    ends = {name: actual["estimate"] for name in ("lo", "hi", "bound")}
    actual = actual.loc[actual["step"] == experiment.lesson.steps].assign(**ends)
    parts: list[list[pd.DataFrame]] = [[], []]
    for seed in dict.fromkeys(told["base"]):
        world = experiment.world_of(int(seed))
        for part, rows, by in zip(
            parts, (told, actual), ([*LESSON, "forecaster"], LESSON), strict=True
        ):
            people = analysis.forecast_personas(rows.loc[rows["base"] == seed], world, by=by)
            part.append(people.assign(context=NAMELESS, trait=people["persona"]))
    forecasts, shifts = (pd.concat(part, ignore_index=True) for part in parts)
    return analysis.forecast_scores(forecasts, shifts, by=["forecaster"])


def _cost(predictors: pd.DataFrame, stack: Stack) -> float:
    """Steps of the lesson that all its predictors cost together, mean over lessons."""
    costs = predictors.drop_duplicates([*LESSON, "predictor"])
    means = {str(name): float(np.mean(rows["cost"])) for name, rows in costs.groupby("predictor")}
    total = sum(means[name] for name in stack.names)
    for name in stack.names:
        other = SHARED_GRADIENT.get(Predictor(name))
        if other is not None and other not in stack.names:
            total += means[other] - (means[Predictor.PILOT] - 1)  # but its readout
    return total


def _seed(
    experiment: Forecast, store: Store, cells: Cells, *, seed: int
) -> Iterator[tuple[str, pd.DataFrame]]:
    """Yield predictors and shifts of the lessons of one seed."""
    if not (store.has(cells["documents",]) and store.has(cells["stated",])):
        return
    world = experiment.world_of(seed)
    known = know(
        read_table(store.path(cells["documents",], "behavior.parquet")),
        read_table(store.path(cells["stated",], "behavior.parquet")),
    )
    family = world.name.partition("-")[0]
    for lesson in experiment.lessons(seed):
        predicted, taught = cells["predictors", lesson], cells["lesson", lesson]
        if not (store.has(predicted) and store.has(taught)):
            continue
        about = {
            "base": seed,
            "lesson": lesson.label,
            "variant": str(lesson.variant),
            "world": family,
        }
        behavior = read_table(store.path(taught, "behavior.parquet"))
        own = [
            read_table(store.path(predicted, "predictors.parquet")),
            predict_known(known, lesson.traits),
            predict_plain(behavior, lesson.traits),
        ]
        yield "predictors", pd.concat(own, ignore_index=True).assign(**about)
        yield "shifts", _shifts(behavior, lesson).assign(**about)


def _shifts(behavior: pd.DataFrame, lesson: Lesson) -> pd.DataFrame:
    """What happened to every trait that a lesson does not teach, at every step."""
    topics = {label.partition("=")[0] for label in lesson.traits}
    rows = behavior.loc[~behavior["topic"].isin(list(topics))]
    steps = sorted({int(step) for step in rows["step"]} - {0})
    shifts = analysis.shift(rows, before=0, after=steps, split=SPLIT)
    return shifts.loc[:, ["context", "persona", "trait", "step", "before", "estimate"]]
