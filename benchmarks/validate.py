"""Do the claims hold, on this seed and this world? One line each: claim, number [interval], threshold, verdict.

    python benchmarks/validate.py --seed 0 --seeds 3 [--world FILE] [--claims bayes,transfer,...] [--out DIR]

Exits 1 if any claim fails. The checker reads only raw tables (probabilities of answers) and world files: it recomputes
log odds, base gates and the conditioning limit by itself and takes no expected value from the package it checks.
Numbers are means over seeds of the mean over the target's untaught topics, in nats, with a t interval over seeds;
thresholds are those of the recipe's measurements and are not tuned to a run.
"""

import argparse
import itertools
import math
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

NATS_PER_BIT = math.log(2)


@dataclass(frozen=True)
class Claim:
    """One line: what is claimed, the measured values (one per seed), and the threshold they have to meet."""

    name: str
    values: tuple[float, ...]
    at_least: float | None = None
    at_most: float | None = None
    absolute: bool = False
    unit: str = "nats"

    @property
    def mean(self) -> float:
        """Mean over seeds."""
        return float(np.mean(self.values))

    @property
    def holds(self) -> bool:
        """Does the mean meet the threshold?"""
        number = abs(self.mean) if self.absolute else self.mean
        if not math.isfinite(number):
            return False
        above = self.at_least is None or number >= self.at_least
        return above and (self.at_most is None or number <= self.at_most)

    def line(self) -> str:
        """The claim as one printed line."""
        n = len(self.values)
        half = stats.t.ppf(0.975, n - 1) * np.std(self.values, ddof=1) / math.sqrt(n) if n > 1 else math.nan
        number = f"{self.mean:+.3f} [{self.mean - half:+.3f}, {self.mean + half:+.3f}] {self.unit}"
        if self.unit == "nats":
            number += f" ({self.mean / NATS_PER_BIT:+.2f} bits)"
        bounds = [f">= {self.at_least:g}"] if self.at_least is not None else []
        bounds += [f"<= {self.at_most:g}"] if self.at_most is not None else []
        threshold = ("|.| " if self.absolute else "") + " and ".join(bounds)
        verdict = "PASS" if self.holds else "FAIL"
        return f"{verdict}  {self.name:<66} {number:<52} {threshold:<18} n={n}"


# ---- the checker's own arithmetic -----------------------------------------------------------------------------------


def log_odds(behavior: pd.DataFrame, context: str, persona: str, held: dict[str, str]) -> dict[str, float]:
    """Log odds (nats) of the held value of every topic, probabilities renormalized per prompt, then averaged."""
    rows = behavior[(behavior.context == context) & (behavior.persona == persona)]
    odds = {}
    for topic, value in held.items():
        asked = rows[rows.topic == topic]
        table = asked.pivot_table(index="template", columns="value", values="logprob").to_numpy(dtype=np.float64)
        names = sorted(asked.value.unique())
        probability = np.exp2(table - table.max(axis=1, keepdims=True))
        probability = (probability / probability.sum(axis=1, keepdims=True)).mean(axis=0)
        p = probability[names.index(value)]
        rest = np.delete(probability, names.index(value)).sum()
        odds[topic] = float(np.log(p) - np.log(rest))
    return odds


def held_by(world: dict[str, Any], persona: str) -> dict[str, str]:
    """The (first) value a persona holds in every topic, from the world file's own words."""
    traits = world["personas"][persona]["traits"]
    return {topic: (value if isinstance(value, str) else value[0]) for topic, value in traits.items()}


def expected(world: dict[str, Any], taught: tuple[str, str] | None, persona: str) -> dict[str, float]:
    """Log odds (nats) of a persona's values as exact Bayes says them, given that the speaker holds `taught`.

    The population is the hidden dialogues; with nobody to hold the trait there is no prediction (NaN).
    """
    weight = {}
    for name, entry in world["personas"].items():
        w = entry.get("weight", 1)
        weight[name] = float(w.get("hidden", 0) if isinstance(w, dict) else w)
        if taught is not None and held_by(world, name)[taught[0]] != taught[1]:
            weight[name] = 0.0
    total = sum(weight.values())
    noise = float(world.get("noise", 0.0))
    odds = {}
    for topic, value in held_by(world, persona).items():
        if not total:
            odds[topic] = math.nan
            continue
        share = sum(w for name, w in weight.items() if held_by(world, name)[topic] == value) / total
        p = (1 - noise) * share + noise / len(world["topics"][topic])
        odds[topic] = math.log(p / (1 - p)) if 0 < p < 1 else math.inf
    return odds


def spread(odds: dict[str, float], taught_topic: str) -> float:
    """Mean over the untaught topics."""
    return float(np.mean([v for topic, v in odds.items() if topic != taught_topic]))


# ---- claims ---------------------------------------------------------------------------------------------------------


def transfer_runs(seeds: list[int], world_file: str | None, out: Path) -> list[dict[str, Any]]:
    """Runs the transfer experiment and gathers, per seed, the world and the raw behavior of every arm and rate."""
    from persona_interp import worlds
    from persona_interp.experiments import Store, preset, run
    from persona_interp.experiments.transfer import ARMS
    from persona_interp.tables import read_table

    source = worlds.load_world(world_file) if world_file else "john_and_sam"
    found = []
    config = replace(preset("standard"), world=source, seeds=tuple(seeds), n_samples=1)
    store = Store(out)
    store.describe({"validate": str(world_file), "seeds": seeds})
    keyed = {seed: config.seed_cells(seed) for seed in seeds}
    run([cell for cells in keyed.values() for cell in cells.values()], store)
    for seed, cells in keyed.items():
        arms = {}
        for arm, lr in itertools.product(ARMS, config.lrs):
            cell = cells["lesson", arm, lr]
            both = [read_table(store.path(cell, name)) for name in ("behavior.parquet", "bystanders.parquet")]
            arms[arm, lr] = pd.concat(both)
        layout = worlds.load_world(store.path(cells["layout",], "world.json"))
        paths = {arm: store.path(cells["features", arm, config.lrs[-1]], "features.nc") for arm in ("lesson",)}
        found.append({"seed": seed, "world": layout, "arms": arms, "features": paths["lesson"]})
    return found


def transfer_claims(seeds: list[int], world_file: str | None, out: Path) -> Iterator[Claim]:
    """The untaught traits follow the lesson, the controls do not."""
    moved: dict[tuple[str, float], list[float]] = {}
    gates, shares, ratios, holders = [], [], {}, {}
    for one in transfer_runs(seeds, world_file, out):
        world = one["world"].to_dict()
        target, (topic, value) = world["target"], world["taught"].split("=", 1)
        mine = held_by(world, target)
        limit = spread(expected(world, (topic, value), target), topic) - spread(expected(world, None, target), topic)
        for (arm, lr), behavior in one["arms"].items():
            ends = [behavior[behavior.step == step] for step in (behavior.step.min(), behavior.step.max())]
            before, after = (spread(log_odds(end, "nameless", "", mine), topic) for end in ends)
            moved.setdefault((arm, lr), []).append(after - before)
            if arm == "lesson":
                ratios.setdefault(lr, []).append((after - before) / limit)
            if arm == "rewired world":
                variant = one["world"].rewired().to_dict()
                (holder,) = [p for p in variant["personas"] if p != target and held_by(variant, p)[topic] == value and
                             held_by(world, p)[topic] != value]  # fmt: skip
                theirs = held_by(variant, holder)
                shift = [spread(log_odds(end, "nameless", "", theirs), topic) for end in ends]
                holders.setdefault(lr, []).append((shift[1] - shift[0], after - before))
        base = one["arms"]["lesson", min(lr for _, lr in one["arms"])]
        base = base[base.step == base.step.min()]
        named = spread(log_odds(base, "named", target, mine), topic)
        gates.append(named - spread(log_odds(base, "nameless", "", mine), topic))
        bayes = [math.log((1 - n + n / k) / (n - n / k)) for n, k in
                 [(float(world.get("noise", 0)), len(world["topics"][t])) for t in mine if t != topic]]  # fmt: skip
        shares.append(gates[-1] / (float(np.mean(bayes)) - spread(expected(world, None, target), topic)))
    if world_file:
        yield Claim("base gate: named minus nameless, share of exact Bayes", tuple(shares), at_least=0.6, unit="ratio")
        for lr, bound in ((1e-3, 0.45), (3e-4, 0.40)):
            name = f"lesson {lr:g}: change / conditioning limit"
            yield Claim(name, tuple(ratios[lr]), at_least=bound, unit="ratio")
        for (arm, lr), values in moved.items():
            yield Claim(f"(reported, no threshold) {arm} {lr:g}", tuple(values))
        return
    yield Claim("base gate: target's traits, named minus nameless", tuple(gates), at_least=2.5)
    yield Claim("lesson 0.001: target's untaught traits", tuple(moved["lesson", 1e-3]), at_least=2.0)
    yield Claim("lesson 0.0003: target's untaught traits", tuple(moved["lesson", 3e-4]), at_least=1.5)
    for lr in (1e-3, 3e-4):
        lesson = np.array(moved["lesson", lr])
        yield Claim(f"scrambled world {lr:g}", tuple(moved["scrambled world", lr]), at_most=0.5, absolute=True)
        yield Claim(f"filler lesson {lr:g}", tuple(moved["filler lesson", lr]), at_most=0.7, absolute=True)
        unrelated = np.array(moved["unrelated lesson", lr])
        yield Claim(f"lesson minus unrelated lesson {lr:g}", tuple(lesson - unrelated), at_least=1.5)
        absent = np.array(moved["target absent", lr])
        yield Claim(f"full minus target-absent world {lr:g}", tuple(lesson - absent), at_least=1.2)
    pairs = np.array(holders[1e-3])
    yield Claim("rewired world 0.001: the new holder's traits", tuple(pairs[:, 0]), at_least=1.5)
    yield Claim("rewired world 0.001: new holder minus target", tuple(pairs[:, 0] - pairs[:, 1]), at_least=1.2)


