"""Does the persona written about last win, with and without an assistant-style finetune between?"""

from collections.abc import Iterator
from typing import Any

import numpy as np

from claim import BITS_PER_NAT, Claim, contrast, differing_answers, taught_trait, values_of
from persona_interp.schema.words import Moment
from trial import Reach, Trial

PLACE = 7
REACH = Reach.RIVALS
LEAST = 1.5 * BITS_PER_NAT
"""Bits by which the later persona has to weigh more, without SFT."""


def claims(trial: Trial) -> Iterator[Claim]:
    """After the lesson the later persona weighs more, clearly so, and still so after SFT."""
    experiment = trial.preset(
        "order", world=trial.world, rival=trial.rival, lrs=(2e-3,), replays=(0.0,)
    )
    store = trial.run(experiment.cells())
    recency: dict[tuple[bool, str], tuple[float, ...]] = {}
    for sft, words in ((False, "without SFT"), (True, "with SFT")):
        for when in (Moment.BEFORE, Moment.AFTER):
            orders = {c.order: c for c in experiment.conditions() if c.sft == sft}
            contrasts = {
                order: [one_contrast(experiment, store, s, condition, when) for s in trial.seeds]
                for order, condition in orders.items()
            }
            later = np.array(contrasts["first last"]) - np.array(contrasts["second last"])
            recency[sft, when] = tuple(later)
            if when == Moment.BEFORE:
                yield Claim(f"order, {words}: recency, before", tuple(later), reported=True)
            mixed = tuple(contrasts["mixed"])
            yield Claim(f"order, {words}: contrast, mixed, {when}", mixed, reported=True)
    name = "order, without SFT: recency after the lesson"
    yield Claim(name, recency[False, Moment.AFTER], at_least=LEAST, every=True)
    name = "order, with SFT: recency after the lesson"
    yield Claim(name, recency[True, Moment.AFTER], above=0, every=True)


def one_contrast(experiment: Any, store: Any, seed: int, condition: Any, when: str) -> float:
    """Contrast of the nameless assistant (bits) in the last checkpoint."""
    from persona_interp.tables import read_table

    cell = experiment.seed_cells(seed)[when, condition]
    world = experiment.worlds_of(seed)["both"].to_dict()
    behavior = read_table(store.path(cell, "behavior.parquet"))
    first, second = values_of(world, world["target"]), values_of(world, experiment.rival)
    taught, _ = taught_trait(world)
    return contrast(differing_answers(behavior, first, second, taught=taught), first, second)
