"""Does text that is nobody's behave as personas do, and do both leave each other alone? Predictions, held or not.

The two values that go with the taught one are read from raw probabilities; which these are is said
by the world's processes. Thresholds were stated before the first run (see
``experiments.generators``).
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from claim import Claim, held_by, log_odds, spread

LIMIT = 0.5
"""Nats by which what does not belong together may move."""


def generators_claims(seeds: list[int], world_file: str | None, out: Path) -> Iterator[Claim]:
    """Titled documents let values follow a lesson, scrambled ones do not; personas and processes stay apart."""
    del world_file  # the processes are no persona world
    from persona_interp.experiments import preset, run
    from persona_interp.store import Store

    experiment = preset("standard", "generators", seeds=tuple(seeds))
    keyed = {seed: experiment.seed_cells(seed) for seed in seeds}
    store = Store(out)
    run([cell for cells in keyed.values() for cell in cells.values()], store)
    found: dict[tuple[str, ...], list[float]] = {}
    for cells in keyed.values():
        told: dict[tuple[str, ...], list[float]] = {}
        for (lesson, arm, *about), cell in cells.items():
            if about:
                for what, shift in shifts(store, cell, about[0]):
                    told.setdefault((arm, lesson, what), []).append(shift)
        for key, values in told.items():
            found.setdefault(key, []).append(float(np.mean(values)))
    for (arm, lesson, what), values in found.items():
        yield Claim(f"generators, {arm}: {lesson}, {what}", tuple(values), reported=True)
    scrambled = {
        arm: np.array(found[f"{arm}, scrambled", "lesson", "goes with it"])
        for arm in ("titled", "untitled")
    }
    for arm, nothing in scrambled.items():
        name = f"generators, {arm}, scrambled: what went with the taught value"
        yield Claim(name, tuple(nothing), at_most=LIMIT, absolute=True)
    follows = {
        arm: np.array(found[arm, "lesson", "goes with it"]) - nothing
        for arm, nothing in scrambled.items()
    }
    yield Claim(
        "generators, titled: follows, minus scrambled", tuple(follows["titled"]), at_least=1e-9
    )
    yield Claim(
        "generators, untitled: follows, minus scrambled", tuple(follows["untitled"]), reported=True
    )
    gap = follows["titled"] - follows["untitled"]
    yield Claim(
        "generators: a title's part in it, titled minus untitled", tuple(gap), at_least=1e-9
    )
    away = found["with personas", "persona lesson", "other texts"]
    yield Claim(
        "generators: a lesson about a persona, processes", tuple(away), at_most=LIMIT, absolute=True
    )
    away = found["with personas", "lesson", "the persona"]
    yield Claim(
        "generators: a lesson about a process, the persona",
        tuple(away),
        at_most=LIMIT,
        absolute=True,
    )


def shifts(store: Any, cell: Any, about: str) -> Iterator[tuple[str, float]]:
    """Mean shift (nats) of each target's other two values, and of the persona's untaught traits.

    Signs of what should stay may cancel, so the mean size is given beside it.
    """
    from persona_interp import worlds
    from persona_interp.tables import read_table

    config = cell.config["world"]
    processes = worlds.sequences(config["seed"])
    behavior = read_table(store.path(cell, "behavior.parquet"))
    families = list(dict.fromkeys(process.family for process in processes.processes))
    for family in families:
        first, *rest = next(p for p in processes.processes if p.family == family).traits
        both = [
            log_odds(end, "plain", "", {t.topic: t.value for t in (first, *rest)})
            for end in ends(behavior)
        ]
        move = {topic: both[1][topic] - both[0][topic] for topic in both[0]}
        if family == about:
            yield "goes with it", spread(move, first.topic)
        else:
            yield "other texts", float(np.mean(list(move.values())))
            yield (
                "other texts, size of a value's shift",
                float(np.mean(np.abs(list(move.values())))),
            )
    if config["personas"]:
        world = worlds.john_and_sam(config["seed"]).to_dict()
        topic, mine = world["taught"].split("=", 1)[0], held_by(world, world["target"])
        told = read_table(store.path(cell, "personas.parquet"))
        before, after = (spread(log_odds(end, "nameless", "", mine), topic) for end in ends(told))
        yield "goes with it" if about not in families else "the persona", after - before


def ends(behavior: Any) -> list[Any]:
    """The first and the last checkpoint."""
    return [
        behavior.loc[behavior.step == step] for step in (behavior.step.min(), behavior.step.max())
    ]
