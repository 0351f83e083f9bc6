"""Does the persona that was written about last win, with and without an assistant-style finetune in between?"""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from claim import Claim, held_by
from dose_claims import probabilities


def order_claims(seeds: list[int], world_file: str | None, out: Path) -> Iterator[Claim]:
    """After the lesson the later persona weighs more: by 1.5 nats in every seed, and still so after SFT."""
    from persona_interp import worlds
    from persona_interp.experiments import preset, run
    from persona_interp.store import Store

    source = worlds.load(world_file) if world_file else "john_and_sam"
    experiment = preset(
        "standard", "order", seeds=tuple(seeds), world=source, lrs=(2e-3,), replays=(0.0,)
    )
    store = Store(out)
    run(experiment.cells(), store)
    found: dict[tuple[bool, str], list[float]] = {}
    for sft in (False, True):
        for when in ("before", "lesson"):
            for seed in seeds:
                by_order = {
                    c.order: contrast(experiment, store, seed, c, when)
                    for c in experiment.conditions()
                    if c.sft == sft
                }
                found.setdefault((sft, when), []).append(
                    by_order["first last"] - by_order["second last"]
                )
                found.setdefault((sft, f"mixed, {when}"), []).append(by_order["mixed"])
    for (sft, when), values in found.items():
        said = "with SFT" if sft else "without SFT"
        what = "contrast" if when.startswith("mixed") else "recency"
        if when != "lesson":
            yield Claim(f"order, {said}: {what}, {when}", tuple(values), reported=True)
    for sft, least in ((False, 1.5), (True, 1e-9)):
        said = "with SFT" if sft else "without SFT"
        name = f"order, {said}: recency after the lesson"
        yield Claim(name, tuple(found[sft, "lesson"]), at_least=least, every=True)


def contrast(experiment: Any, store: Any, seed: int, condition: Any, when: str) -> float:
    """Contrast of the nameless assistant (nats) in the last checkpoint."""
    from persona_interp.tables import read_table

    cell = experiment.seed_cells(seed)[when, condition]
    world = experiment.worlds_of(seed)["both"].to_dict()
    first, second = held_by(world, world["target"]), held_by(world, experiment.rival)
    taught = world["taught"].split("=", 1)[0]
    behavior = read_table(store.path(cell, "behavior.parquet"))
    behavior = behavior.loc[
        (behavior.step == behavior.step.max()) & (behavior.context == "nameless")
    ]
    p = {
        t: probabilities(behavior.loc[behavior.topic == t])
        for t in first
        if t != taught and first[t] != second[t]
    }
    return float(np.mean([math.log(p[t][first[t]] / p[t][second[t]]) for t in p]))
