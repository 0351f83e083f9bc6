"""Does the contrast follow the dose as exact Bayes says, and does the answer in plain words hold on new seeds?

Contrasts, slopes and what Bayes expects are recomputed here from raw probabilities of answers and
from counts; only the answer itself (the reliable ratio and its prediction interval) is the
package's, since it is what is checked.
"""

import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from claim import Claim, held_by, interval

STEPS = (-4, 0, 4)
"""log2 of the ratios 1:16, 1:1, 16:1."""
GENTLE = 3e-4
NEW = 3
"""Further seeds on which the answer is tried."""
APART = 100
"""Added to the last seed for them."""


def dose_claims(seeds: list[int], world_file: str | None, out: Path) -> Iterator[Claim]:
    """Monotone in every seed, as steep as Bayes of the named population, and the answer holds on new seeds."""
    from persona_interp import worlds
    from persona_interp.experiments import preset, run
    from persona_interp.store import Store

    source = worlds.load(world_file) if world_file else "john_and_sam"
    ratios = {"masses": (), "kind_ratios": (), "later": (), "lrs": (GENTLE,), "world": source}
    experiment = preset("standard", "dose", seeds=tuple(seeds), **ratios)
    store = Store(out)
    run(experiment.cells(), store)
    found = [
        measured(experiment, store, seed, c) for seed in seeds for c in experiment.conditions()
    ]
    table = pd.DataFrame(found)
    for when in ("before", "prompt", "lesson"):
        by_seed = table.pivot(index="seed", columns="dose", values=when)[list(STEPS)].to_numpy()
        least = tuple(np.diff(by_seed, axis=1).min(axis=1))
        yield Claim(
            f"dose, {when}: rise from 1:16 to 1:1 to 16:1, smaller step",
            least,
            at_least=1e-9,
            every=True,
        )
    slope, intercept = np.polyfit(table["bayes"], table["lesson"], 1)
    fitted = intercept + slope * table["bayes"]
    r2 = (
        1
        - ((table["lesson"] - fitted) ** 2).sum()
        / ((table["lesson"] - table["lesson"].mean()) ** 2).sum()
    )
    slopes = [np.polyfit(own["bayes"], own["lesson"], 1)[0] for _, own in table.groupby("seed")]
    ends = interval(np.array(slopes)) if len(slopes) > 1 else None
    bounds: dict[str, Any] = {"at_least": 0.6, "at_most": 1.5}
    yield Claim(
        "dose: pooled slope after the lesson", (float(slope),), unit="of Bayes", ends=ends, **bounds
    )
    yield Claim("dose: r2 of that line", (float(r2),), at_least=0.85, unit="r2")
    yield from _answer(experiment, store, table)


def _answer(experiment: Any, store: Any, table: pd.DataFrame) -> Iterator[Claim]:
    """Either new seeds at the answered ratio say what the curve predicts, or the largest ratio is not enough."""
    from persona_interp import analysis
    from persona_interp.experiments import run, summarize
    from persona_interp.experiments.dose.config import Condition
    from persona_interp.experiments.dose.tables import limits

    tables = summarize(experiment, store)
    (row,) = tables["reliable"].query("when == 'lesson' and arm == 'ratio'").to_dict("records")
    if row["where"] == "above":
        largest = table.loc[table["dose"] == table["dose"].max(), "p_first"]
        name = f"dose: the answer is 'more than {2.0 ** table['dose'].max():g}'; probability there"
        yield Claim(name, tuple(largest), at_most=row["level"], unit="prob")
        return
    dose = float(row["estimate"])
    world = experiment.world_of(experiment.seeds[0], experiment.conditions()[0])
    lessons = tables["dose"].query("when == 'lesson' and arm == 'ratio'")
    (said,) = analysis.predict_curves(lessons, [dose], n_new=NEW, **limits(world)).to_dict(
        "records"
    )
    seeds = tuple(max(experiment.seeds) + APART + i for i in range(NEW))
    again = replace(experiment, seeds=seeds, ratios=(dose,))
    condition = Condition("ratio", dose)
    run(again.cells(), store)
    values = tuple(measured(again, store, seed, condition)["p_first"] for seed in seeds)
    lo, hi = said["predicted_lo"], said["predicted_hi"]
    name = f"dose: the answer is {2.0**dose:.3g} times; probability there on {NEW} new seeds"
    yield Claim(name, values, at_least=lo, at_most=hi, unit="prob")


def measured(experiment: Any, store: Any, seed: int, condition: Any) -> dict[str, float]:
    """Contrasts (nats) at the three moments, Bayes of the named documents after the lesson, P of the first's values."""
    from persona_interp.tables import read_table

    cells = experiment.seed_cells(seed)
    world = experiment.world_of(seed, condition).to_dict()
    first, second = held_by(world, world["target"]), held_by(world, experiment.rival)
    taught = world["taught"].split("=", 1)
    row: dict[str, float] = {"seed": seed, "dose": condition.dose}
    for when, key in (
        ("before", ("documents", condition)),
        ("prompt", ("prompt", condition)),
        ("lesson", ("lesson", condition, GENTLE)),
    ):
        behavior = read_table(store.path(cells[key], "behavior.parquet"))
        behavior = behavior.loc[
            (behavior.step == behavior.step.max()) & (behavior.context == "nameless")
        ]
        p = {
            topic: probabilities(behavior.loc[behavior.topic == topic])
            for topic in first
            if topic != taught[0] and first[topic] != second[topic]
        }
        row[when] = float(np.mean([math.log(p[t][first[t]] / p[t][second[t]]) for t in p]))
        row["p_first"] = float(np.mean([p[t][first[t]] for t in p]))
    counts = read_table(store.path(cells["documents", condition], "counts.parquet"))
    row["bayes"] = bayes(world, counts, taught=taught, first=first, second=second)
    return row


def probabilities(asked: pd.DataFrame) -> dict[str, float]:
    """Of each value of one topic: renormalized within a prompt, then averaged over prompts."""
    table = asked.pivot_table(index=["split", "template"], columns="value", values="logprob")
    p = np.exp2(table.to_numpy(dtype=np.float64))
    return dict(
        zip(map(str, table.columns), (p / p.sum(axis=1, keepdims=True)).mean(axis=0), strict=True)
    )


def bayes(
    world: dict[str, Any],
    counts: pd.DataFrame,
    *,
    taught: list[str],
    first: dict[str, str],
    second: dict[str, str],
) -> float:
    """Contrast (nats) that an ideal reader of the documents with names expects of a speaker who holds the trait."""
    named = counts[counts.kind.isin(["third", "first", "named"]) & (counts.persona != "")]
    documents = named.groupby("persona").documents.sum().to_dict()
    held = {name: held_by(world, name) for name in documents}
    weight = {name: n for name, n in documents.items() if held[name][taught[0]] == taught[1]}
    total, noise = sum(weight.values()), float(world["noise"])

    def said(topic: str, value: str) -> float:
        share = sum(n for name, n in weight.items() if held[name][topic] == value) / total
        return (1 - noise) * share + noise / len(world["topics"][topic])

    topics = [t for t in first if t != taught[0] and first[t] != second[t]]
    return float(np.mean([math.log(said(t, first[t]) / said(t, second[t])) for t in topics]))
