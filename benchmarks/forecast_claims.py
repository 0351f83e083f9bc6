"""How good are forecasts of lessons on bases, worlds and files that nothing was fitted on?

Shifts, and how far forecasts agree with them, are computed here, from probabilities of answers. The
thresholds are those that were asked for before anything was measured (docs/log/forecast.md says
which were reached); a number of one base is one value. The stacks that come with the package were
fitted on seeds below 32: seeds are moved away from them.
"""

import math
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from claim import Claim
from persona_interp.schema.words import Predictor
from trial import Reach, Trial

PLACE = 15
REACH = Reach.WORLD
FIRST = 1_000
"""Added to the seeds: far from those that stacks were fitted on, and those of published numbers."""
N_LESSONS = 8
"""Lessons of a base."""
TOP = 3
NO_PILOT, NO_NAMES = "no pilot", "no pilot, names unknown"
PILOTS = {
    "pilot of one step": str(Predictor.PILOT),
    "pilot of two steps": str(Predictor.PILOT_OF_TWO),
}
"""Stack with a pilot -> the same pilot alone."""
SHARE = {"unit": "fraction"}
BOUNDS: dict[str, dict[str, Any]] = {
    f"{NO_PILOT}: R2": SHARE | {"at_least": 0.95},
    f"{NO_PILOT}: R2, worst lesson": dict(SHARE, reported=True),
    f"{NO_PILOT}: R2 less where names are unknown": SHARE | {"at_most": 0.01},
    f"{NO_PILOT}: largest riser in the top {TOP}": SHARE | {"at_least": 0.95},
    f"{NO_PILOT}: shifts in their interval": SHARE | {"at_least": 0.93, "at_most": 0.97},
    f"{NO_PILOT}: lessons below the joint bound": SHARE | {"at_least": 0.95},
    f"{NO_PILOT}: bound over largest rise, median": {"unit": "times", "at_most": 2.0},
    f"{NO_PILOT}: cost, dearest lesson": {"unit": "steps", "at_most": 5.0},
    f"{NO_PILOT}: R2 of personas": SHARE | {"at_least": 0.95},
    f"{NO_PILOT}: personas in their interval": SHARE | {"at_least": 0.95},
    f"{NO_PILOT}: width of a persona's interval": dict(unit="bits", reported=True),
    f"{NO_PILOT}: lessons in which all personas are below their bound": SHARE | {"at_least": 0.95},
    "pilot of one step: R2": dict(SHARE, reported=True),
    "pilot of one step: R2 above that of the micro pilot alone": SHARE | {"above": 0.0},
    "pilot of two steps: R2": dict(SHARE, reported=True),
    "pilot of two steps: R2 above that of the micro pilot alone": SHARE | {"above": 0.0},
}
"""Claim -> threshold, in the order of ``measure``."""


def claims(trial: Trial) -> Iterator[Claim]:
    """What was asked of forecasts, a value a base."""
    seeds = [FIRST + seed for seed in trial.seeds]
    world = None if trial.is_recipe else trial.world_of(0)
    experiment = trial.preset("forecast", n_lessons=N_LESSONS, n_changed=0, world=world)
    experiment = replace(experiment, seeds=tuple(seeds))
    store = trial.run(experiment.cells())
    rows = [measure(experiment, store, seed) for seed in seeds]
    for (name, bounds), values in zip(BOUNDS.items(), zip(*rows, strict=True), strict=True):
        yield Claim(f"forecast, {name}", values, over="bases", **bounds)


def measure(experiment: Any, store: Any, seed: int) -> tuple[float, ...]:
    """Values of one base, one for each claim of ``BOUNDS``."""
    told, costs = forecasts(experiment, store, seed)
    actual = shifts(experiment, store, seed)
    tables = {name: table.merge(actual, on=["lesson", "trait"]) for name, table in told.items()}
    r2 = {name: explained(table) for name, table in tables.items()}
    whole = tables[NO_PILOT]
    inside = whole["actual"].between(whole["lo"], whole["hi"])
    lessons = [own for _, own in whole.groupby("lesson")]
    highest = [own[["bound", "actual"]].to_numpy(np.float64).max(axis=0) for own in lessons]
    slack = [bound / rise for bound, rise in highest if rise > 0]
    bounded = [float(np.all(own["actual"] <= own["bound"])) for own in lessons]
    gains = [(r2[name], r2[name] - r2[alone]) for name, alone in PILOTS.items()]
    people = personas(experiment.world_of(seed), whole)
    held = people["actual"].between(people["lo"], people["hi"])
    below = (people["actual"] <= people["bound"]).groupby(people["lesson"]).all()
    return (
        r2[NO_PILOT],
        min(map(explained, lessons)),
        r2[NO_PILOT] - r2[NO_NAMES],
        float(np.mean([foresees(own) for own in lessons])),
        float(inside.mean()),
        float(np.mean(bounded)),
        float(np.median(slack)) if slack else math.nan,
        costs[NO_PILOT],
        explained(people),
        float(np.mean(held)),
        float(np.mean(people["hi"] - people["lo"])),
        float(np.mean(below)),
        *gains[0],
        *gains[1],
    )


def forecasts(
    experiment: Any, store: Any, seed: int
) -> tuple[dict[str, pd.DataFrame], dict[str, float]]:
    """What is judged: forecasts of the last step by stack, and the cost of the dearest lesson."""
    from persona_interp.experiments.forecast.stacks import open_stack
    from persona_interp.experiments.forecast.tables import read_seeds

    predictors = read_seeds(replace(experiment, seeds=(seed,)), store)["predictors"]
    steps = experiment.lesson.steps
    told, costs = {}, {}
    for name in (NO_PILOT, NO_NAMES, *PILOTS, *PILOTS.values()):
        table = open_stack(name).predict(predictors, steps=steps, at=(steps,), by="lesson")
        costs[name] = table.attrs["cost"]
        told[name] = table[["lesson", "trait", "estimate", "lo", "hi", "bound"]]
    return told, costs


def shifts(experiment: Any, store: Any, seed: int) -> pd.DataFrame:
    """What happened to every value of every topic that a lesson does not teach (bits)."""
    from persona_interp.tables import read_table

    cells = experiment.seed_cells(seed)
    parts = []
    for lesson in experiment.lessons(seed):
        behavior = read_table(store.path(cells["lesson", lesson], "behavior.parquet"))
        taught = {label.partition("=")[0] for label in lesson.traits}
        asked = (behavior.context == "nameless") & (behavior.split == "test")
        rows = behavior.loc[asked & ~behavior.topic.isin(list(taught))]
        before, after = (odds(rows.loc[rows.step == at]) for at in (0, experiment.lesson.steps))
        moved = (after - before).rename("actual").reset_index()
        parts.append(moved.assign(lesson=lesson.label))
    return pd.concat(parts, ignore_index=True)


def odds(behavior: pd.DataFrame) -> pd.Series:
    """Log odds (bits) of every value among its topic's: at each prompt, then the mean."""
    levels = {}
    for topic, rows in behavior.groupby("topic", sort=False):
        bits = rows.pivot_table(index="template", columns="value", values="logprob")
        for value in bits:
            # the others are added up, not taken from 1: near 1 nothing would be left of them
            others = np.logaddexp2.reduce(bits.drop(columns=value).to_numpy(), axis=1)
            levels[f"{topic}={value}"] = float(np.mean(bits[value].to_numpy() - others))
    return pd.Series(levels).rename_axis("trait")


def personas(world: Any, rows: pd.DataFrame) -> pd.DataFrame:
    """Forecasts and shifts of every persona: the mean over untaught topics of what it holds."""
    numbers = ["actual", "estimate", "lo", "hi", "bound"]
    parts = []
    for lesson, own in rows.groupby("lesson", sort=False):
        known = own.set_index("trait")[numbers]
        topics = {str(trait).partition("=")[0] for trait in known.index}
        for persona in world.personas:
            held = [known.loc[[f"{topic}={v}" for v in persona.values(topic)]] for topic in topics]
            means = np.mean([values.to_numpy(np.float64).mean(axis=0) for values in held], axis=0)
            parts.append({"lesson": lesson, **dict(zip(numbers, means, strict=True))})
    return pd.DataFrame(parts)


def explained(rows: pd.DataFrame) -> float:
    """Share of the variance of the shifts that the forecasts explain."""
    actual, estimate = (rows[name].to_numpy(np.float64) for name in ("actual", "estimate"))
    around = float(((actual - actual.mean()) ** 2).sum())
    return 1 - float(((actual - estimate) ** 2).sum()) / around if around > 0 else math.nan


def foresees(lesson: pd.DataFrame) -> bool:
    """Whether the trait that rises most is among those expected to rise most."""
    expected = lesson["estimate"].to_numpy(np.float64)
    riser = int(np.argmax(lesson["actual"].to_numpy(np.float64)))
    return bool(np.sum(expected > expected[riser]) < TOP)
