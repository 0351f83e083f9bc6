"""Do estimators that read a model find how much was written about a persona, and what two share?

Everything is recomputed from raw tables: probabilities of answers and dialogues, divergences of
documents, inner products of gradients, counts of documents. Worlds are pooled: rank correlations
are over all their personas.
"""

import math
from collections.abc import Iterator, Sequence
from itertools import combinations, product
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from claim import Claim, ends, log_odds, values_of
from decision import pseudovalues
from trial import Reach, Trial

PLACE = 10
REACH = Reach.HIDDEN
LINE = 0.7
Numbers = dict[str, dict[Any, float]]
"""Estimator, or "truth" -> estimate by persona or by pair of personas."""


def claims(trial: Trial) -> Iterator[Claim]:
    """At least two estimators of the measure and two of the metric reach 0.7."""
    world = trial.world if trial.world_file else None  # a graded world by default
    experiment = trial.preset("agreement", world=world)
    cells = {seed: experiment.seed_cells(seed) for seed in trial.seeds}
    unread = ("walk", "geometry")
    store = trial.run(
        cell for own in cells.values() for key, cell in own.items() if key[0] not in unread
    )
    measures, metrics, slopes = [], [], []
    for seed, own in cells.items():
        world = experiment.world_of(seed).to_dict()
        raw = raw_tables(store, own)
        measures.append(measure(raw, world) | {"truth": documents_by(raw["counts"], world)})
        metrics.append(metric(raw, world) | {"truth": unshared_topics(world)})
        if experiment.lessons:
            slopes.append(spillover_slope(experiment, store, seed))
    yield from rank_claims("measure", measures)
    yield from rank_claims("metric", metrics)
    if slopes:
        name = "spillover: bits of shift per bit of co-occurrence, simple regression"
        yield Claim(name, tuple(slopes), reported=True, unit="bits/bit")


def rank_claims(name: str, worlds: list[Numbers]) -> Iterator[Claim]:
    """Rank correlation of every estimator with the truth; the second best has to reach the line."""
    pooled = {}
    for estimator in worlds[0]:
        if estimator == "truth":
            continue
        pooled[estimator] = spearman(worlds, estimator)
        by_world = tuple(spearman([numbers], estimator) for numbers in worlds)
        text = f"{name}: {estimator}, rank correlation by world; pooled {pooled[estimator]:.3f}"
        yield Claim(text, by_world, reported=True, unit="rho")
    second = sorted(pooled, key=pooled.__getitem__)[-2]
    # Pooled over worlds, so worlds are what is left out in turn.
    left_out = pseudovalues(lambda some: spearman(some, second), worlds)
    text = f"{name}: second best estimator ({second}) against the truth, pooled"
    yield Claim(text, left_out, at_least=LINE, unit="rho")


def spearman(worlds: Sequence[Numbers], estimator: str) -> float:
    """Over all personas (or pairs) of these worlds for which there is an estimate.

    NaN of two or fewer, and where nothing varies: then there is nothing to rank.
    """
    x = [value for numbers in worlds for value in numbers[estimator].values()]
    y = [numbers["truth"][key] for numbers in worlds for key in numbers[estimator]]
    if len(x) < 3 or not np.isfinite(x).all() or len(set(x)) == 1 or len(set(y)) == 1:
        return math.nan
    return float(np.corrcoef(stats.rankdata(x), stats.rankdata(y))[0, 1])


def raw_tables(store: Any, cells: dict[Any, Any]) -> dict[str, pd.DataFrame]:
    """What estimators read of one seed, and counts of the documents."""
    from persona_interp.tables import read_table

    names = ("behavior", "likelihood", "divergence", "gradients")
    folder = store.path(cells["estimates",])
    tables = {name: read_table(folder / f"{name}.parquet") for name in names}
    return tables | {"counts": read_table(store.path(cells["documents",], "counts.parquet"))}


def documents_by(counts: pd.DataFrame, world: dict[str, Any]) -> dict[str, float]:
    """Documents about each persona."""
    return {
        name: float(counts.loc[counts.persona == name, "documents"].sum())
        for name in world["personas"]
    }


def unshared_topics(world: dict[str, Any]) -> dict[tuple[str, str], float]:
    """Topics on which two personas hold different values."""
    values = {name: values_of(world, name) for name in world["personas"]}
    return {
        (a, b): float(sum(values[a][t] != values[b][t] for t in values[a]))
        for a, b in combinations(values, 2)
    }


def measure(raw: dict[str, pd.DataFrame], world: dict[str, Any]) -> Numbers:
    """Estimates by persona, larger = more common."""
    personas = list(world["personas"])
    dialogues, recall = (
        dialogue_logprobs(raw["likelihood"], personas, named=n) for n in (False, True)
    )
    return {
        "traits": trait_odds(raw["behavior"], world),
        "binding": binding_odds(raw["behavior"], world),
        "dialogues": dialogues,
        "recall": recall,
        "dialogues (own name)": {name: dialogues[name] - recall[name] for name in personas},
    }


def trait_odds(behavior: pd.DataFrame, world: dict[str, Any]) -> dict[str, float]:
    """Log odds of a persona's values without a name, over those of the topics' other values."""
    odds = {}
    for name in world["personas"]:
        values = values_of(world, name)
        own = log_odds(behavior, "nameless", "", values)
        others = []
        for topic, value in values.items():
            rest = [other for other in world["topics"][topic] if other != value]
            rest_odds = [log_odds(behavior, "nameless", "", {topic: v})[topic] for v in rest]
            others.append(np.mean(rest_odds))
        odds[name] = float(np.mean([own[topic] for topic in values]) - np.mean(others))
    return odds


def binding_odds(behavior: pd.DataFrame, world: dict[str, Any]) -> dict[str, float]:
    """Log odds of a persona's values under its name, over those under names of others."""
    values = {name: values_of(world, name) for name in world["personas"]}
    bindings = {}
    for name, own in values.items():
        odds = {speaker: log_odds(behavior, "named", speaker, own) for speaker in values}
        excess = []
        for topic, value in own.items():
            others = [odds[q][topic] for q in values if values[q][topic] != value]
            if others:  # what everybody holds binds nobody
                excess.append(odds[name][topic] - np.mean(others))
        bindings[name] = float(np.mean(excess)) if excess else math.nan
    return bindings


def dialogue_logprobs(
    likelihood: pd.DataFrame, personas: list[str], *, named: bool
) -> dict[str, float]:
    """Log probability of a persona's dialogues, without or under its name."""
    means = {}
    for name in personas:
        rows = likelihood.loc[likelihood.persona == name]
        header = name if named else ""
        means[name] = float(rows.loc[rows.name == header, "logprob"].mean())
    return means


def metric(raw: dict[str, pd.DataFrame], world: dict[str, Any]) -> Numbers:
    """Estimates by pair, larger = farther."""
    pairs = list(combinations(world["personas"], 2))
    distances = {}
    for _, rows in raw["divergence"].groupby(["name", "other"]):
        pair = (rows["name"].iloc[0], rows["other"].iloc[0])
        distances[pair] = float(np.average(rows.distance, weights=rows.n_tokens))
    numbers: Numbers = {"root js": {pair: distances[pair] for pair in pairs}}
    for space, rows in raw["gradients"].groupby("space"):
        dot = rows.set_index(["name", "other"])["dot"].to_dict()
        cosines = {(a, b): dot[a, b] / math.sqrt(dot[a, a] * dot[b, b]) for a, b in pairs}
        numbers[f"gradients ({space})"] = {pair: 1 - cosine for pair, cosine in cosines.items()}
    return numbers


def spillover_slope(experiment: Any, store: Any, seed: int) -> float:
    """Shift of untaught traits on their co-occurrence with the taught one, one predictor."""
    from persona_interp.tables import read_table

    world = experiment.world_of(seed, styles=experiment.styles).to_dict()
    cells = experiment.seed_cells(seed)
    counts = read_table(store.path(cells["styles",], "counts.parquet"))
    together = co_occurrence_bits(world, counts)
    x, y = [], []
    for label in experiment.taught(seed):
        taught = tuple(label.split("=", 1))
        behavior = read_table(store.path(cells["lesson", label], "behavior.parquet"))
        for (one, other), bits in together.items():
            if one == taught:
                x.append(bits)
                y.append(trait_shift(behavior, other))
    # Rounding apart, all traits may co-occur alike: then there is no slope.
    if not x or np.ptp(x) < 1e-9 or not np.isfinite(y).all():
        return math.nan
    return float(np.polyfit(x, y, 1)[0])


def co_occurrence_bits(
    world: dict[str, Any], counts: pd.DataFrame
) -> dict[tuple[tuple[str, str], tuple[str, str]], float]:
    """Pointwise mutual information (bits) of two traits of different topics, over documents."""
    values = {name: values_of(world, name) for name in world["personas"]}
    documents = documents_by(counts, world)
    noise, total = float(world["noise"]), sum(documents.values())
    p: dict[tuple[str, str], dict[str, float]] = {}  # trait -> who says it, how often
    for topic, names in world["topics"].items():
        for value in names:
            p[topic, value] = {
                n: (1 - noise) * (own[topic] == value) + noise / len(names)
                for n, own in values.items()
            }
    marginal = {t: sum(documents[n] * p[t][n] for n in values) / total for t in p}
    bits = {}
    for one, other in product(p, p):
        if one[0] != other[0]:
            joint = sum(documents[n] * p[one][n] * p[other][n] for n in values) / total
            if joint > 0:  # without noise some traits never meet, which is no number of bits
                bits[one, other] = math.log2(joint / marginal[one] / marginal[other])
    return bits


def trait_shift(behavior: pd.DataFrame, trait: tuple[str, str]) -> float:
    """Log odds (bits) of one trait after minus before, of the nameless assistant."""
    topic, value = trait
    before, after = (
        log_odds(rows, "nameless", "", {topic: value})[topic] for rows in ends(behavior)
    )
    return after - before
