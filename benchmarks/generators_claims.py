"""Does text that is nobody's behave as personas do, and do both leave each other alone?

The two values that go with the taught one are read from raw probabilities; which these are is said
by the world's processes. Thresholds were stated before the first run (see
``experiments.generators``).
"""

from collections.abc import Iterator
from typing import Any

import numpy as np

from claim import BITS_PER_NAT, Claim, ends, log_odds, taught_trait, untaught_mean, values_of
from persona_interp.schema.words import Arm
from trial import Reach, Trial

PLACE = 11
REACH = Reach.SEEDS
LIMIT = 0.5 * BITS_PER_NAT
"""Bits by which what does not belong together may move."""
TOGETHER, APART, SIZE = "goes with it", "other texts", "other texts, size of a value's shift"
PERSONA = "the persona"
Shifts = dict[tuple[str, str, str], list[float]]
"""Arm, lesson and what is read -> mean shift (bits), one a seed."""


def claims(trial: Trial) -> Iterator[Claim]:
    """Titled documents let values follow a lesson, scrambled ones do not; both stay apart."""
    experiment = trial.preset("generators")
    cells = {seed: experiment.seed_cells(seed) for seed in trial.seeds}
    store = trial.run(cell for own in cells.values() for cell in own.values())
    over_seeds: Shifts = {}
    for own in cells.values():
        for key, shift in seed_shifts(store, own).items():
            over_seeds.setdefault(key, []).append(shift)
    for (arm, lesson, what), values in over_seeds.items():
        yield Claim(f"generators, {arm}: {lesson}, {what}", tuple(values), reported=True)
    yield from follow_claims(over_seeds)
    yield from apart_claims(over_seeds)


def follow_claims(shifts: Shifts) -> Iterator[Claim]:
    """What goes with a taught value follows it, and not where the documents are scrambled."""
    excess = {}
    for arm in ("titled", "untitled"):
        scrambled = np.array(shifts[f"{arm}, scrambled", Arm.LESSON, TOGETHER])
        name = f"generators, {arm}, scrambled: what went with the taught value"
        yield Claim(name, tuple(scrambled), at_most=LIMIT, absolute=True)
        excess[arm] = np.array(shifts[arm, Arm.LESSON, TOGETHER]) - scrambled
    name = "generators, titled: follows, minus scrambled"
    yield Claim(name, tuple(excess["titled"]), above=0)
    name = "generators, untitled: follows, minus scrambled"
    yield Claim(name, tuple(excess["untitled"]), reported=True)
    name = "generators: a title's part in it, titled minus untitled"
    yield Claim(name, tuple(excess["titled"] - excess["untitled"]), above=0)


def apart_claims(shifts: Shifts) -> Iterator[Claim]:
    """A lesson about a persona leaves processes alone, and one about a process the persona."""
    for lesson, what, words in (
        ("persona lesson", APART, "a lesson about a persona, processes"),
        (Arm.LESSON, PERSONA, "a lesson about a process, the persona"),
    ):
        values = tuple(shifts["with personas", lesson, what])
        yield Claim(f"generators: {words}", values, at_most=LIMIT, absolute=True)


def seed_shifts(store: Any, cells: dict[Any, Any]) -> dict[tuple[str, str, str], float]:
    """Mean shifts (bits) of one seed, over families of processes."""
    shifts: Shifts = {}
    for (lesson, arm, *about), cell in cells.items():
        if not about:  # the documents
            continue
        for what, shift in lesson_shifts(store, cell, about[0]):
            shifts.setdefault((arm, lesson, what), []).append(shift)
    return {key: float(np.mean(values)) for key, values in shifts.items()}


def lesson_shifts(store: Any, cell: Any, about: str) -> Iterator[tuple[str, float]]:
    """Mean shift (bits) of each target's other two values, and of the persona's untaught traits.

    Signs of what should stay may cancel, so the mean size is given beside it.
    """
    from persona_interp import worlds
    from persona_interp.tables import read_table

    config = cell.config["world"]
    processes = worlds.sequences(config["seed"]).processes
    behavior = read_table(store.path(cell, "behavior.parquet"))
    families = list(dict.fromkeys(process.family for process in processes))
    for family in families:
        traits = next(process for process in processes if process.family == family).traits
        values = {trait.topic: trait.value for trait in traits}
        before, after = (log_odds(rows, "plain", "", values) for rows in ends(behavior))
        shifts = {topic: after[topic] - before[topic] for topic in before}
        if family == about:
            yield TOGETHER, untaught_mean(shifts, traits[0].topic)
        else:
            sizes = list(shifts.values())
            yield APART, float(np.mean(sizes))
            yield SIZE, float(np.mean(np.abs(sizes)))
    if config["personas"]:
        world = worlds.john_and_sam(config["seed"]).to_dict()
        topic, _ = taught_trait(world)
        values = values_of(world, world["target"])
        personas = read_table(store.path(cell, "personas.parquet"))
        before, after = (
            untaught_mean(log_odds(rows, "nameless", "", values), topic) for rows in ends(personas)
        )
        yield PERSONA if about in families else TOGETHER, after - before
