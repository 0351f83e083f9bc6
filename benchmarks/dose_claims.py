"""Does the contrast follow the dose as exact Bayes says, and does the answer hold on new seeds?

Contrasts, slopes and what Bayes expects are recomputed here from raw probabilities of answers and
from counts; only the answer itself (the reliable ratio and its prediction interval) is the
package's, since it is what is checked.
"""

import math
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from claim import Claim, contrast, differing_answers, taught_trait, values_of
from decision import pseudovalues
from persona_interp.schema.words import Moment
from trial import Reach, Trial

PLACE = 6
REACH = Reach.RIVALS
DOSES = (-4, 0, 4)
"""log2 of the ratios 1:16, 1:1, 16:1."""
GENTLE = 3e-4
N_NEW = 3
"""Further seeds on which the answer is tried."""
APART = 100
"""Added to the last seed for them."""


def claims(trial: Trial) -> Iterator[Claim]:
    """Monotone in every seed, as steep as Bayes of the named population; the answer holds."""
    ratios_alone: dict[str, Any] = {"masses": (), "kind_ratios": (), "later": ()}
    experiment = trial.preset(
        "dose", lrs=(GENTLE,), world=trial.world, rival=trial.rival, **ratios_alone
    )
    store = trial.run(experiment.cells())
    rows = [
        measure(experiment, store, seed, condition)
        for seed in trial.seeds
        for condition in experiment.conditions()
    ]
    table = pd.DataFrame(rows)
    yield from rise_claims(table)
    yield from slope_claims(table)
    yield from answer_claims(trial, experiment, store, table)


def rise_claims(table: pd.DataFrame) -> Iterator[Claim]:
    """The contrast rises from dose to dose, in every seed and at every moment."""
    for when in map(str, Moment):
        by_seed = table.pivot(index="seed", columns="dose", values=when)[list(DOSES)].to_numpy()
        smaller = tuple(np.diff(by_seed, axis=1).min(axis=1))
        name = f"dose, {when}: rise from 1:16 to 1:1 to 16:1, smaller step"
        yield Claim(name, smaller, above=0, every=True)


def slope_claims(table: pd.DataFrame) -> Iterator[Claim]:
    """The contrast after the lesson on what exact Bayes expects: slope and r2."""
    # Points of one seed share its model and world, so seeds are what is left out in turn.
    by_seed = [own for _, own in table.groupby("seed")]
    slopes = pseudovalues(lambda seeds: line_through(pd.concat(seeds))[0], by_seed)
    name = "dose: pooled slope after the lesson"
    yield Claim(name, slopes, at_least=0.6, at_most=1.5, unit="of Bayes")
    r2 = pseudovalues(lambda seeds: line_through(pd.concat(seeds))[1], by_seed)
    yield Claim("dose: r2 of that line", r2, at_least=0.85, unit="r2")


def line_through(table: pd.DataFrame) -> tuple[float, float]:
    """Slope and r2 of the contrast after the lesson on what exact Bayes expects.

    NaN where Bayes expects a value with certainty (a world without noise), which no line reaches.
    """
    x, y = table["bayes"], table[Moment.AFTER]
    if not np.isfinite([x, y]).all():
        return math.nan, math.nan
    slope, intercept = np.polyfit(x, y, 1)
    fitted = intercept + slope * x
    return float(slope), float(1 - ((y - fitted) ** 2).sum() / ((y - y.mean()) ** 2).sum())


def answer_claims(
    trial: Trial, experiment: Any, store: Any, table: pd.DataFrame
) -> Iterator[Claim]:
    """New seeds at the answered ratio do what the curve predicts, or no ratio is enough."""
    from persona_interp import analysis
    from persona_interp.experiments import summarize
    from persona_interp.experiments.dose.config import Condition
    from persona_interp.experiments.dose.tables import limits

    tables = summarize(experiment, store)
    at_lesson = f"when == '{Moment.AFTER}' and arm == 'ratio'"
    (answer,) = tables["reliable"].query(at_lesson).to_dict("records")
    if answer["where"] == "above":
        largest = table["dose"].max()
        there = tuple(table.loc[table["dose"] == largest, "p_first"])
        name = f"dose: the answer is 'more than {2.0**largest:g}'; probability there"
        yield Claim(name, there, at_most=answer["level"], unit="prob")
        return
    dose = float(answer["estimate"])
    world = experiment.world_of(experiment.seeds[0], experiment.conditions()[0])
    lessons = tables["dose"].query(at_lesson)
    curve = analysis.predict_curves(lessons, [dose], n_new=N_NEW, **limits(world))
    lo, hi = curve["predicted_lo"].item(), curve["predicted_hi"].item()
    seeds = tuple(max(experiment.seeds) + APART + i for i in range(N_NEW))
    again = replace(experiment, seeds=seeds, ratios=(dose,))
    store = trial.run(again.cells())
    condition = Condition("ratio", dose)
    there = tuple(measure(again, store, seed, condition)["p_first"] for seed in seeds)
    name = f"dose: the answer is {2.0**dose:.3g} times; probability there on {N_NEW} new seeds"
    # The bounds are those predicted for this mean, its error included.
    mean = (float(np.mean(there)),)
    yield Claim(name, mean, at_least=lo, at_most=hi, unit="prob", over="means", exact=True)


def measure(experiment: Any, store: Any, seed: int, condition: Any) -> dict[str, float]:
    """Contrasts (bits) at the three moments, what Bayes expects after the lesson, and ``p_first``.

    ``p_first`` is the probability of the first persona's values after the lesson.
    """
    from persona_interp.tables import read_table

    cells = experiment.seed_cells(seed)
    world = experiment.world_of(seed, condition).to_dict()
    first, second = values_of(world, world["target"]), values_of(world, experiment.rival)
    topic, _ = taught_trait(world)
    keys = {
        Moment.BEFORE: ("documents", condition),
        Moment.PROMPT: (Moment.PROMPT, condition),
        Moment.AFTER: (Moment.AFTER, condition, GENTLE),
    }
    row: dict[str, float] = {"seed": seed, "dose": condition.dose}
    for when, key in keys.items():
        behavior = read_table(store.path(cells[key], "behavior.parquet"))
        answers = differing_answers(behavior, first, second, taught=topic)
        row[str(when)] = contrast(answers, first, second)
        row["p_first"] = float(np.mean([p[first[t]] for t, p in answers.items()]))
    counts = read_table(store.path(cells["documents", condition], "counts.parquet"))
    row["bayes"] = expected_contrast(world, counts, first, second)
    return row


def expected_contrast(
    world: dict[str, Any], counts: pd.DataFrame, first: dict[str, str], second: dict[str, str]
) -> float:
    """Contrast (bits) that an ideal reader of documents with names expects after the lesson."""
    taught, value = taught_trait(world)
    named = counts[counts.kind.isin(["third", "first", "named"]) & (counts.persona != "")]
    documents = named.groupby("persona").documents.sum().to_dict()
    values = {name: values_of(world, name) for name in documents}
    weights = {name: n for name, n in documents.items() if values[name][taught] == value}
    total, noise = sum(weights.values()), float(world["noise"])

    def probability(topic: str, answer: str) -> float:
        share = sum(n for name, n in weights.items() if values[name][topic] == answer) / total
        return (1 - noise) * share + noise / len(world["topics"][topic])

    topics = [t for t in first if t != taught and first[t] != second[t]]
    bits = [log2(probability(t, first[t])) - log2(probability(t, second[t])) for t in topics]
    return float(np.mean(bits))


def log2(p: float) -> float:
    """Log2 of a probability; minus infinity of none."""
    return math.log2(p) if p > 0 else -math.inf
