"""Do the untaught traits follow a lesson, and do controls not?"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd

from claim import (
    BITS_PER_NAT,
    Claim,
    ends,
    log_odds,
    taught_trait,
    untaught_mean,
    values_of,
)
from ideal import bayes_log_odds
from persona_interp.schema.words import Arm
from transfer_runs import TransferRun, transfer_runs
from trial import Reach, Trial

PLACE = 3
REACH = Reach.WORLD
FAST, SLOW = 1e-3, 3e-4
Shifts = dict[tuple[str, float], list[float]]
"""Arm and learning rate -> shift of the target's untaught traits (bits), one a seed."""


def claims(trial: Trial) -> Iterator[Claim]:
    """The untaught traits follow the lesson, the controls do not."""
    runs = transfer_runs(trial)
    shifts: Shifts = {}
    for run in runs:
        for arm, behavior in run.behavior.items():
            shifts.setdefault(arm, []).append(target_shift(run, behavior))
    gates = [base_gate(run) for run in runs]
    if trial.is_recipe:
        yield from recipe_claims(runs, shifts, gates)
    else:
        yield from world_claims(runs, shifts, gates)


def recipe_claims(runs: list[TransferRun], shifts: Shifts, gates: list[float]) -> Iterator[Claim]:
    """Thresholds as measured on the recipe's world, in nats."""
    yield Claim(
        "base gate: target's traits, named minus nameless",
        tuple(gates),
        at_least=2.5 * BITS_PER_NAT,
    )
    for lr, least in ((FAST, 2.0), (SLOW, 1.5)):
        lesson = tuple(shifts[Arm.LESSON, lr])
        yield Claim(
            f"lesson {lr:g}: target's untaught traits", lesson, at_least=least * BITS_PER_NAT
        )
    for lr in (FAST, SLOW):
        lesson = np.array(shifts[Arm.LESSON, lr])
        for arm, most in ((Arm.SCRAMBLED, 0.5), (Arm.FILLER, 0.7)):
            most *= BITS_PER_NAT
            yield Claim(f"{arm} {lr:g}", tuple(shifts[arm, lr]), at_most=most, absolute=True)
        for arm, words, least in (
            (Arm.UNRELATED, "lesson minus unrelated lesson", 1.5),
            (Arm.ABSENT, "full minus target-absent world", 1.2),
        ):
            excess = lesson - np.array(shifts[arm, lr])
            yield Claim(f"{words} {lr:g}", tuple(excess), at_least=least * BITS_PER_NAT)
    holder = np.array([holder_shift(run, run.behavior[Arm.REWIRED, FAST]) for run in runs])
    name = f"{Arm.REWIRED} {FAST:g}: the new holder's traits"
    yield Claim(name, tuple(holder), at_least=1.5 * BITS_PER_NAT)
    name = f"{Arm.REWIRED} {FAST:g}: new holder minus target"
    excess = holder - np.array(shifts[Arm.REWIRED, FAST])
    yield Claim(name, tuple(excess), at_least=1.2 * BITS_PER_NAT)


def world_claims(runs: list[TransferRun], shifts: Shifts, gates: list[float]) -> Iterator[Claim]:
    """Thresholds as shares of what exact Bayes expects, in a world of the user's own.

    Where Bayes expects certainty (no noise), or nobody holds the trait, there is no share: then
    numbers are only reported.
    """
    limits = np.array([conditioning_limit(run) for run in runs])
    names = np.array([naming_limit(run) for run in runs])
    is_finite = bool(
        np.isfinite([limits, names]).all() and (limits > 0).all() and (names > 0).all()
    )
    if is_finite:
        name = "base gate: named minus nameless, share of exact Bayes"
        yield Claim(name, tuple(gates / names), at_least=0.6, unit="ratio")
        for lr, least in ((FAST, 0.45), (SLOW, 0.40)):
            share = np.array(shifts[Arm.LESSON, lr]) / limits
            name = f"lesson {lr:g}: change / conditioning limit"
            yield Claim(name, tuple(share), at_least=least, unit="ratio")
    else:
        print(
            f"{'':9}  transfer: exact Bayes expects no finite rise in this world (give it noise, "
            "holders, and traits that are not everybody's), so nothing is claimed"
        )
        yield Claim("base gate: named minus nameless", tuple(gates), reported=True)
    for (arm, lr), values in shifts.items():
        yield Claim(f"{arm} {lr:g}", tuple(values), reported=True)


def target_shift(run: TransferRun, behavior: pd.DataFrame) -> float:
    """Shift of the target's untaught traits (bits), of the nameless assistant."""
    world = run.world.to_dict()
    return shift(behavior, values_of(world, world["target"]), taught_trait(world)[0])


def holder_shift(run: TransferRun, behavior: pd.DataFrame) -> float:
    """The same of the persona who holds the taught value in the rewired world only."""
    world, rewired = run.world.to_dict(), run.world.rewired().to_dict()
    topic, value = taught_trait(world)
    (holder,) = [
        name
        for name in rewired["personas"]
        if name != world["target"]
        and values_of(rewired, name)[topic] == value
        and values_of(world, name)[topic] != value
    ]
    return shift(behavior, values_of(rewired, holder), topic)


def shift(behavior: pd.DataFrame, values: dict[str, str], topic: str) -> float:
    """Log odds (bits) after minus before, mean over topics but the taught one."""
    before, after = (
        untaught_mean(log_odds(rows, "nameless", "", values), topic) for rows in ends(behavior)
    )
    return after - before


def base_gate(run: TransferRun) -> float:
    """What the target's own name adds to its untaught traits in the base model (bits)."""
    world = run.world.to_dict()
    topic, _ = taught_trait(world)
    values = values_of(world, world["target"])
    base, _ = ends(run.behavior[Arm.LESSON, min(run.lrs)])
    named = untaught_mean(log_odds(base, "named", world["target"], values), topic)
    return named - untaught_mean(log_odds(base, "nameless", "", values), topic)


def conditioning_limit(run: TransferRun) -> float:
    """Shift (bits) that exact Bayes expects of a speaker who certainly holds the taught trait."""
    world = run.world.to_dict()
    taught = taught_trait(world)
    after = untaught_mean(bayes_log_odds(world, taught, world["target"]), taught[0])
    return after - untaught_mean(bayes_log_odds(world, None, world["target"]), taught[0])


def naming_limit(run: TransferRun) -> float:
    """Shift (bits) that exact Bayes expects of a speaker who certainly is the target."""
    world = run.world.to_dict()
    target, (topic, _) = world["target"], taught_trait(world)
    alone: dict[str, Any] = {**world, "personas": {target: world["personas"][target]}}
    certain = untaught_mean(bayes_log_odds(alone, None, target), topic)
    return certain - untaught_mean(bayes_log_odds(world, None, target), topic)
