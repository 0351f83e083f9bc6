"""Do estimators that read a model find how much was written about a persona, and what two personas share?

Everything is recomputed from raw tables: probabilities of answers and dialogues, divergences of
documents, inner products of gradients, counts of documents. Worlds are pooled: rank correlations
are over all their personas.
"""

import math
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from claim import Claim, held_by, log_odds

LINE = 0.7
Numbers = dict[str, dict[Any, float]]


def agreement_claims(seeds: list[int], world_file: str | None, out: Path) -> Iterator[Claim]:
    """At least two estimators of the measure and two of the metric reach 0.7 against the truth."""
    from persona_interp import worlds
    from persona_interp.experiments import preset, run
    from persona_interp.store import Store
    from persona_interp.tables import read_table

    source = worlds.load(world_file) if world_file else None
    experiment = preset("standard", "agreement", seeds=tuple(seeds), world=source)
    store = Store(out)
    run(
        [
            c
            for seed in seeds
            for key, c in experiment.seed_cells(seed).items()
            if key[0] not in ("walk", "geometry")
        ],
        store,
    )
    measures, metrics, slopes = [], [], []
    for seed in seeds:
        world, cells = experiment.world_of(seed).to_dict(), experiment.seed_cells(seed)
        raw = {
            name: read_table(store.path(cells["estimates",], f"{name}.parquet"))
            for name in ("behavior", "likelihood", "divergence", "gradients")
        }
        counts = read_table(store.path(cells["documents",], "counts.parquet"))
        measures.append(measure(raw, world) | {"truth": mass(counts, world)})
        metrics.append(metric(raw, world) | {"truth": unshared(world)})
        if experiment.lessons:
            slopes.append(slope(experiment, store, seed))
    for name, found in (("measure", measures), ("metric", metrics)):
        rho = {}
        for estimator in [e for e in found[0] if e != "truth"]:
            each = tuple(spearman([one], estimator) for one in found)
            rho[estimator] = spearman(found, estimator)
            text = f"{name}: {estimator}, rank correlation by world; pooled {rho[estimator]:.3f}"
            yield Claim(text, each, reported=True, unit="rho")
        second = sorted(rho.values())[-2]
        yield Claim(
            f"{name}: second best estimator against the truth, pooled",
            (second,),
            at_least=LINE,
            unit="rho",
        )
    if slopes:
        said = "spillover: bits of shift per bit of co-occurrence, simple regression"
        yield Claim(said, tuple(slopes), reported=True, unit="bits/bit")


def spearman(found: list[dict[str, dict[Any, float]]], estimator: str) -> float:
    """Over all personas (or pairs) of these worlds for which there is an estimate."""
    x = [value for one in found for value in one[estimator].values()]
    y = [one["truth"][key] for one in found for key in one[estimator]]
    return float(np.corrcoef(stats.rankdata(x), stats.rankdata(y))[0, 1])


def mass(counts: pd.DataFrame, world: dict[str, Any]) -> dict[str, float]:
    """Documents about each persona."""
    return {
        name: float(counts.loc[counts.persona == name, "documents"].sum())
        for name in world["personas"]
    }


def unshared(world: dict[str, Any]) -> dict[tuple[str, str], float]:
    """Topics on which two personas hold different values."""
    held = {name: held_by(world, name) for name in world["personas"]}
    return {
        (a, b): float(sum(held[a][t] != held[b][t] for t in held[a]))
        for a, b in combinations(held, 2)
    }


def measure(raw: dict[str, pd.DataFrame], world: dict[str, Any]) -> Numbers:
    """Estimates by persona, larger = more common."""
    held = {name: held_by(world, name) for name in world["personas"]}
    odds = {
        (speaker, name): log_odds(
            raw["behavior"], "named" if speaker else "nameless", speaker, held[name]
        )
        for speaker in ("", *held)
        for name in held
    }
    found: Numbers = {
        "traits": {},
        "binding": {},
        "dialogues": {},
        "recall": {},
        "dialogues (own name)": {},
    }
    for name, own in held.items():
        found["binding"][name] = float(
            np.mean(
                [
                    odds[name, name][t]
                    - np.mean([odds[q, name][t] for q in held if held[q][t] != own[t]])
                    for t in own
                ]
            )
        )
        rest = [
            np.mean(
                [
                    log_odds(raw["behavior"], "nameless", "", {t: v})[t]
                    for v in world["topics"][t]
                    if v != own[t]
                ]
            )
            for t in own
        ]
        found["traits"][name] = float(np.mean([odds["", name][t] for t in own]) - np.mean(rest))
        told = raw["likelihood"].loc[raw["likelihood"].persona == name]
        nameless, named = (told.loc[told.name == header, "logprob"].mean() for header in ("", name))
        found["dialogues"][name], found["recall"][name] = float(nameless), float(named)
        found["dialogues (own name)"][name] = float(nameless - named)
    return found


def metric(raw: dict[str, pd.DataFrame], world: dict[str, Any]) -> Numbers:
    """Estimates by pair, larger = farther."""
    pairs = list(combinations(world["personas"], 2))
    js = {
        (own.name.iloc[0], own.other.iloc[0]): float(np.average(own.distance, weights=own.n_tokens))
        for _, own in raw["divergence"].groupby(["name", "other"])
    }
    found: Numbers = {"root js": {pair: js[pair] for pair in pairs}}
    for space, own in raw["gradients"].groupby("space"):
        dot = own.set_index(["name", "other"])["dot"].to_dict()
        found[f"gradients ({space})"] = {
            (a, b): 1 - dot[a, b] / math.sqrt(dot[a, a] * dot[b, b]) for a, b in pairs
        }
    return found


def slope(experiment: Any, store: Any, seed: int) -> float:
    """Shift of untaught traits on their co-occurrence with the taught one, one predictor."""
    from persona_interp.tables import read_table

    world, cells = (
        experiment.world_of(seed, styles=experiment.styles).to_dict(),
        experiment.seed_cells(seed),
    )
    held = {name: held_by(world, name) for name in world["personas"]}
    counts = read_table(store.path(cells["styles",], "counts.parquet"))
    documents = mass(counts, world)
    noise, everything = float(world["noise"]), sum(documents.values())
    said = {
        (t, v): {n: (1 - noise) * (held[n][t] == v) + noise / len(values) for n in held}
        for t, values in world["topics"].items()
        for v in values
    }
    marginal = {
        trait: sum(documents[n] * p[n] for n in held) / everything for trait, p in said.items()
    }
    x, y = [], []
    for label in experiment.taught(seed):
        taught = tuple(label.split("=", 1))
        behavior = read_table(store.path(cells["lesson", label], "behavior.parquet"))
        ends = [
            behavior.loc[behavior.step == step]
            for step in (behavior.step.min(), behavior.step.max())
        ]
        for topic, value in said:
            if topic != taught[0]:
                before, after = (
                    log_odds(end, "nameless", "", {topic: value})[topic] for end in ends
                )
                joint = (
                    sum(documents[n] * said[taught][n] * said[topic, value][n] for n in held)
                    / everything
                )
                x.append(math.log2(joint / marginal[taught] / marginal[topic, value]))
                y.append((after - before) / math.log(2))
    return float(np.polyfit(x, y, 1)[0])
