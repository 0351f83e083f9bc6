"""Does a lesson count by optimizer step, does replay undo it, and is K what an earlier run said it is?

The belief (log odds of the target in the best mixture of personas), the effect and K are recomputed
here from raw probabilities of answers, from counts of documents and from what the world file says
of its personas.
"""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.optimize import minimize, minimize_scalar

from claim import NATS_PER_BIT, Claim, all_held, log_odds, spread

EARLY = 4
"""Bits a step are those of the first four steps."""
FLOOR = 1e-3
STORED = Path(__file__).parents[1] / "docs" / "results" / "evidence_k.csv"
"""K of the standard preset on the seeds named in it."""
NEEDED, HELD = 6, 4 / 6

Said = dict[str, np.ndarray]  # topic -> probability of its values, sorted by name


def evidence_claims(seeds: list[int], world_file: str | None, out: Path) -> Iterator[Claim]:
    """Bits a step rise with the rate and not with the batch; replay undoes the effect; K has an interval that holds."""
    from persona_interp import worlds
    from persona_interp.experiments import preset, run
    from persona_interp.store import Store

    source = worlds.load(world_file) if world_file else "john_and_sam"
    experiment = preset("standard", "evidence", world=source, seeds=tuple(seeds), priors=())
    store = Store(out)
    keyed = {seed: experiment.seed_cells(seed) for seed in seeds}
    lessons = [key for key in keyed[seeds[0]] if key[0] == "lesson"]
    run([keyed[seed][key] for seed in seeds for key in lessons], store)
    found = [
        measured(experiment, store, keyed[seed][key], key) for seed in seeds for key in lessons
    ]
    rows = [
        {**row, "seed": seed}
        for row, seed in zip(found, np.repeat(seeds, len(lessons)), strict=True)
    ]
    named = ["seed", "setting", "lr", "batch", "optimizer", "replay", "sparing"]
    table = (
        pd.DataFrame(rows).groupby(named, as_index=False).agg(lambda x: x.mean(skipna=False))
    )  # over orders
    yield from _rate_claims(table)
    yield from _replay_claims(table)
    yield from _weight_claims(table, seeds, recipe=world_file is None)


def _rate_claims(table: pd.DataFrame) -> Iterator[Claim]:
    plain = table.loc[(table["replay"] == 0) & (table["optimizer"] == "adamw")]
    by_rate = plain.loc[plain["batch"] == 16].pivot(index="seed", columns="lr", values="rate")
    for lr in by_rate:
        yield Claim(
            f"evidence: bits a step, AdamW {lr:g}, 16 a step",
            tuple(by_rate[lr]),
            reported=True,
            unit="bits",
        )
    for slow, fast in zip(by_rate.columns[:-1], by_rate.columns[1:], strict=True):
        name = f"evidence: bits a step, {fast:g} minus {slow:g}"
        yield Claim(name, tuple(by_rate[fast] - by_rate[slow]), at_least=1e-9, unit="bits")
    by_batch = plain.loc[plain["lr"] == 3e-4].pivot(index="seed", columns="batch", values="rate")
    ratio = by_batch[16] / by_batch[1].mean()  # its mean is the ratio of the means
    yield Claim(
        "evidence: bits a step, batch 16 over batch 1 (ratio of means)",
        tuple(ratio),
        at_least=0.5,
        at_most=2,
        unit="times",
    )


def _replay_claims(table: pd.DataFrame) -> Iterator[Claim]:
    half = table.loc[(table["replay"] == 0.5) & ~table["sparing"]]
    kept = half["last"] / half["peak"]
    yield Claim(
        "evidence: 50 % replay, effect at the end over its peak",
        tuple(kept),
        at_most=0.6,
        unit="of peak",
    )
    yield Claim(
        "evidence: 50 % replay, probability of the taught value",
        tuple(half["p_taught"]),
        at_least=0.85,
        unit="prob",
    )


def _weight_claims(table: pd.DataFrame, seeds: list[int], *, recipe: bool) -> Iterator[Claim]:
    logs = table.pivot(index="seed", columns="setting", values="log2_k")
    finite = [s for s in logs if np.isfinite(logs[s].to_numpy()).all()]
    for setting in logs:
        yield Claim(
            f"evidence: log2 K, {setting}", tuple(logs[setting]), reported=True, unit="log2"
        )
    if len(seeds) > 1:
        name = "evidence: settings whose K has an interval"
        yield Claim(name, (float(len(finite)),), at_least=NEEDED, unit="settings")
    if not recipe or not STORED.exists():
        return
    stored = pd.read_csv(STORED).set_index("setting")
    seen = {int(seed) for seed in str(stored["seeds"].iloc[0]).split()}
    stored = stored.loc[np.isfinite(stored["lo"])]
    held = [
        stored["lo"][s] <= 2 ** logs[s].mean() <= stored["hi"][s]
        for s in finite
        if s in stored.index
    ]
    name = f"evidence: new K in the interval of seeds {min(seen)} to {max(seen)}, share of {len(held)} settings"
    yield Claim(
        name, tuple(map(float, held)), at_least=HELD, reported=bool(seen & set(seeds)), unit="share"
    )


def measured(experiment: Any, store: Any, cell: Any, key: tuple[Any, ...]) -> dict[str, Any]:
    """One lesson: bits a step, effect at its peak and end, probability of the taught value, log2 K."""
    from persona_interp.experiments.evidence.config import setting
    from persona_interp.tables import read_table

    stage, sparing, _ = key[2:]
    behavior = read_table(store.path(cell, "behavior.parquet"))
    counts = read_table(store.path(cell.needs[0], "counts.parquet"))
    world = cell.config["world"]
    topic, value = world["taught"].split("=", 1)
    speakers = documents_by(world, counts)
    at = {
        int(s): rows for s, rows in behavior.loc[behavior["context"] == "nameless"].groupby("step")
    }
    heard = {
        s: {t: p for t, p in probabilities(rows).items() if t != topic} for s, rows in at.items()
    }
    belief = [persona_bits(world, heard[s], speakers) for s in (0, EARLY)]
    mine = {t: v[0] for t, v in all_held(world, world["target"]).items()}
    odds = [
        spread(log_odds(rows, "nameless", "", mine), topic) / NATS_PER_BIT
        for _, rows in sorted(at.items())
    ]
    effect = np.array(odds[1:]) - odds[0]
    last = probabilities(at[max(at)])[topic][sorted(world["topics"][topic]).index(value)]
    lessons = stage.steps * stage.batch * (1 - stage.replay)
    return {
        "setting": setting(stage, sparing=sparing), "lr": stage.lr, "batch": stage.batch,
        "optimizer": stage.optimizer, "replay": stage.replay, "sparing": sparing,
        "rate": (belief[1] - belief[0]) / EARLY, "peak": effect.max(), "last": effect[-1], "p_taught": float(last),
        "log2_k": log2_k(world, heard[max(at)], speakers, (topic, value), lessons),
    }  # fmt: skip


def probabilities(rows: pd.DataFrame) -> Said:
    """Probability of each value of each topic: renormalized in every prompt, then averaged."""
    found = {}
    for topic, asked in rows.groupby("topic"):
        table = np.exp2(
            asked.pivot(index="template", columns="value", values="logprob")
            .sort_index(axis=1)
            .to_numpy()
        )
        found[str(topic)] = (table / table.sum(axis=1, keepdims=True)).mean(axis=0)
    return found


def documents_by(world: dict[str, Any], counts: pd.DataFrame) -> dict[str, float]:
    """Documents of every persona in the hidden dialogues; where there are none, in all kinds."""
    hidden = counts.loc[counts["kind"] == "hidden"]
    spoken: dict[str, float] = dict.fromkeys(world["personas"], 0.0)
    read = hidden if len(hidden) else counts
    for name, n in zip(read["persona"], read["documents"], strict=True):
        if name in spoken:
            spoken[name] += float(n)
    return {name: n for name, n in spoken.items() if n > 0}


def says(world: dict[str, Any], persona: str, topic: str) -> np.ndarray:
    """What a persona says about a topic, noise included; values sorted by name."""
    values, held = sorted(world["topics"][topic]), all_held(world, persona)[topic]
    noise = float(world.get("noise", 0.0))
    return np.array([(1 - noise) * (v in held) / len(held) + noise / len(values) for v in values])


def persona_bits(world: dict[str, Any], heard: Said, speakers: dict[str, float]) -> float:
    """Log2 odds of the target in the mixture of personas of the greatest likelihood, by sequential quadratic steps."""
    names = list(speakers)
    p = np.concatenate(list(heard.values()))
    q = np.array([np.concatenate([says(world, name, topic) for topic in heard]) for name in names])
    start = np.full(len(names), 1 / len(names))
    best = minimize(
        lambda w: -float(p @ np.log(np.maximum(w @ q, 1e-300))),
        start,
        jac=lambda w: -q @ (p / np.maximum(w @ q, 1e-300)),
        bounds=[(0, 1)] * len(names),
        constraints={"type": "eq", "fun": lambda w: w.sum() - 1, "jac": np.ones_like},
        method="SLSQP",
        options={"ftol": 1e-12, "maxiter": 1000},
    ).x
    weight = float(np.clip(best[names.index(world["target"])] / best.sum(), FLOOR, 1 - FLOOR))
    return math.log2(weight / (1 - weight))


def log2_k(
    world: dict[str, Any],
    heard: Said,
    speakers: dict[str, float],
    taught: tuple[str, str],
    lessons: float,
) -> float:
    """Log2 K: K n / (M + K n) is the way gone from Bayes of the documents to its limit; NaN at the ends."""
    total = sum(speakers.values())
    holds = {
        name: n * (taught[1] in all_held(world, name)[taught[0]]) for name, n in speakers.items()
    }
    if not 0 < sum(holds.values()) < total:
        return math.nan
    ends = [
        np.concatenate(
            [
                sum(m * says(world, name, t) for name, m in who.items()) / sum(who.values())
                for t in heard
            ]
        )
        for who in (speakers, holds)
    ]
    p = np.concatenate(list(heard.values()))

    def loss(bits: float) -> float:
        w = 1 / (1 + total / (lessons * 2**bits))
        return -float(p @ np.log((1 - w) * ends[0] + w * ends[1]))

    bits = float(
        minimize_scalar(loss, bounds=(-16, 16), method="bounded", options={"xatol": 1e-6}).x
    )  # pyright: ignore[reportAttributeAccessIssue]
    return bits if abs(bits) < 15.99 else math.nan
