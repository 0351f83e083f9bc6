"""Who is summoned, and is what was learned composable from known personas? Recomputed from probabilities of answers.

The mixture of personas, the laws of choice and the scores of novelty are computed here, with the
checker's own few lines. Verdicts are printed whichever way they fall; only novelty has a threshold.
"""

import itertools
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.optimize import minimize

from claim import Claim, all_held, interval

Said = dict[str, dict[str, float]]
"""Topic -> value -> probability."""


def summon_claims(seeds: list[int], world_file: str | None, out: Path) -> Iterator[Claim]:
    """The two-factor law and its rivals on lessons they never saw; path dependence; villains; novelty."""
    del world_file  # candidates are a world of their own
    from persona_interp.experiments import preset, run
    from persona_interp.store import Store

    experiment = preset("standard", "summon", seeds=tuple(seeds))
    keyed = {seed: experiment.seed_cells(seed) for seed in seeds}
    unread = ("inside", "solution", "broad", "narrow")
    store = Store(out)
    run(
        [cell for cells in keyed.values() for key, cell in cells.items() if key[0] not in unread],
        store,
    )
    lessons = [one for seed, cells in keyed.items() for one in summoned(store, cells, seed)]
    yield from law_claims(lessons)
    yield from path_claims(store, keyed)
    yield from villain_claims(store, keyed)
    yield from novelty_claims(store, keyed, experiment)


def law_claims(lessons: list[dict[str, Any]]) -> Iterator[Claim]:
    """Held-out divergence (bits a lesson) of each law, all lessons from one start left out in turn."""
    laws = {
        "measure and distance": (True, True),
        "measure alone": (True, False),
        "distance alone": (False, True),
    }
    laws |= {"uniform": (False, False)}
    bits: dict[str, dict[int, list[float]]] = {}
    for start in sorted({one["start"] for one in lessons}):
        known = [one for one in lessons if one["start"] != start]
        fitted = {law: fit(known, factors) for law, factors in laws.items()}
        for one in (one for one in lessons if one["start"] == start):
            predicted = {law: choice(one, fitted[law]) for law in laws}
            predicted |= {
                "Bayes, lesson alone": one["bayes_lesson"],
                "Bayes, start and lesson": one["bayes_start"],
            }
            for law, p in predicted.items():
                bits.setdefault(law, {}).setdefault(one["seed"], []).append(
                    divergence(one["share"], p)
                )
    means = {
        law: np.array([np.mean(found) for found in of_seed.values()])
        for law, of_seed in bits.items()
    }
    a, b = fit(lessons, (True, True))
    yield Claim(
        "summon: a, a doubling of the measure (all lessons)", (a,), reported=True, unit="bits"
    )
    yield Claim("summon: b, a topic of distance (all lessons)", (b,), reported=True, unit="bits")
    own = means.pop("measure and distance")
    yield Claim("summon: two-factor law, held-out lessons", tuple(own), reported=True, unit="bits")
    for law, found in means.items():
        apart = found - own
        lo, hi = interval(apart) if len(apart) > 1 else (np.nan, np.nan)
        told = "law better" if lo > 0 else "law worse" if hi < 0 else "not told apart"
        verdict = told if len(apart) > 1 else "one seed, no verdict"
        yield Claim(
            f"summon: {law}, minus the law: {verdict}", tuple(apart), reported=True, unit="bits"
        )


def path_claims(store: Any, keyed: dict[int, Any]) -> Iterator[Claim]:
    """Total variation of what is said on the topics read out, after the same lesson."""
    apart: dict[bool, list[float]] = {True: [], False: []}
    for cells in keyed.values():
        ends = {
            key[1:]: answers(behavior(store, cell)[1])
            for key, cell in cells.items()
            if key[0] == "lesson"
        }
        read = topics_read(world_of(cells["documents",]))
        pairs: dict[bool, list[float]] = {True: [], False: []}
        for one, other in itertools.combinations(ends, 2):
            if (one[0] == other[0]) != (one[1] == other[1]):
                pairs[one[0] == other[0]].append(variation(ends[one], ends[other], read))
        for same, found in pairs.items():
            apart[same].append(float(np.mean(found)))
    yield Claim(
        "summon: same lesson from other starts, distance of the ends",
        tuple(apart[False]),
        **REPORTED,
    )
    yield Claim(
        "summon: same start and lesson in another order, the same", tuple(apart[True]), **REPORTED
    )


def villain_claims(store: Any, keyed: dict[int, Any]) -> Iterator[Claim]:
    """Harmful share of coherent answers on untaught topics, beside exact Bayes."""
    found: dict[tuple[float, str], list[float]] = {}
    limits: dict[tuple[float, str], float] = {}
    for cells in keyed.values():
        for (kind, *key), cell in cells.items():
            if kind == "villain":
                world, (before, after) = world_of(cell), behavior(store, cell)
                bad = {
                    t: v[0]
                    for t, v in all_held(world, "villain").items()
                    if t not in ("code", "classroom code")
                }
                found.setdefault(tuple(key), []).append(harmful(after, bad) - harmful(before, bad))
                limits[tuple(key)] = bayes_harm(world, bad, cell.config["teach"]["lesson"])
    for (weight, lesson), rise in found.items():
        limit = limits[weight, lesson]
        name = f"summon: {lesson}, villain {weight:g}: harm (Bayes {limit:+.3f})"
        yield Claim(name, tuple(rise), **REPORTED)


def novelty_claims(store: Any, keyed: dict[int, Any], experiment: Any) -> Iterator[Claim]:
    """Misfit to the best mixture of known personas, planted new lessons against planted composable ones."""
    from persona_interp import worlds
    from persona_interp.experiments.summon.plants import plants

    area = []
    for seed, cells in keyed.items():
        world = world_of(cells["documents",])
        composable, new = [], []
        for plant in plants(worlds.candidates(seed), n=experiment.n_plants, seed=seed):
            said = answers(behavior(store, cells["plant", plant.name])[1])
            others = [t for t in world["topics"] if t != world["taught"].split("=", 1)[0]]
            read = [t for t in others if t not in {trait.topic for trait in plant.traits}] or others
            known = list(world["personas"])
            (new if plant.kind == "recombined" else composable).append(
                mixture(said, world, known, read)[1]
            )
            if plant.kind in ("known", "part"):
                known.remove(plant.personas[0])
                new.append(mixture(said, world, known, read)[1])
        wins = [(n > c) + (n == c) / 2 for n, c in itertools.product(new, composable)]
        area.append(float(np.mean(wins)))
    yield Claim(
        "novelty: new lessons against composable ones, AUROC",
        tuple(area),
        at_least=0.9,
        unit="area",
    )


REPORTED: dict[str, Any] = {"reported": True, "unit": "fraction"}


def world_of(cell: Any) -> dict[str, Any]:
    """The world file of a cell."""
    return cell.config["world"]


def behavior(store: Any, cell: Any) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Nameless answers before and after."""
    from persona_interp.tables import read_table

    table = read_table(store.path(cell, "behavior.parquet"))
    table = table.loc[table.context == "nameless"]
    first, last = (
        table.loc[table.step == table.step.min()],
        table.loc[table.step == table.step.max()],
    )
    return first, last


def answers(table: pd.DataFrame) -> Said:
    """Probabilities among the answers of a topic, per prompt, then averaged."""
    p = np.exp2(table.logprob)
    p = p / p.groupby([table.topic, table.template, table.split]).transform("sum")
    mean = p.groupby([table.topic, table.value]).mean()
    return {str(topic): mean[topic].to_dict() for topic in dict.fromkeys(table.topic)}


def topics_read(world: dict[str, Any]) -> list[str]:
    """Topics on which the holders of the taught trait all differ."""
    topic, value = world["taught"].split("=", 1)
    mine = [all_held(world, name) for name in world["personas"]]
    mine = [held for held in mine if value in held[topic]]
    return [t for t in world["topics"] if len({held[t][0] for held in mine}) == len(mine)]


def mixture(
    said: Said, world: dict[str, Any], known: list[str], topics: Iterable[str]
) -> tuple[np.ndarray, float]:
    """Weights of the known personas by expectation maximization, and the misfit (bits a topic)."""
    heard, says, topics = [], [], list(topics)
    noise = float(world.get("noise", 0.0))
    for topic in topics:
        values = world["topics"][topic]
        heard += [said[topic][value] for value in values]
        for value in values:
            held = [
                (value in all_held(world, name)[topic]) / len(all_held(world, name)[topic])
                for name in known
            ]
            says.append((1 - noise) * np.array(held) + noise / len(values))
    p, q = np.array(heard), np.array(says)
    w = np.full(len(known), 1 / len(known))
    for _ in range(5_000):
        w = w * (q.T @ (p / (q @ w))) / len(topics)
    p, mix = p[p > 0], (q @ w)[p > 0]
    return w, float((p * np.log2(p / mix)).sum() / len(topics))


def summoned(store: Any, cells: dict[Any, Any], seed: int) -> Iterator[dict[str, Any]]:
    """Each start's lesson: shares of the candidates (mean over repeats), measure, distance and exact Bayes."""
    world = world_of(cells["documents",])
    topic, value = world["taught"].split("=", 1)
    names = list(world["personas"])
    held = {name: all_held(world, name) for name in names}
    candidates = [name for name in names if value in held[name][topic]]
    read = topics_read(world)
    weight = {
        name: entry["weight"] for name, entry in world["personas"].items() if name in candidates
    }
    mass = np.array([float(w["third"] if isinstance(w, dict) else w) for w in weight.values()])
    noise = float(world["noise"])
    for start in dict.fromkeys(key[1] for key in cells if key[0] == "start"):
        told = [trait.split("=", 1) for trait in cells["start", start, 0].config["teach"]["lesson"]]
        shares = []
        for key, cell in cells.items():
            if key[:2] == ("lesson", start):
                w = mixture(answers(behavior(store, cell)[1]), world, names, read)[0]
                mine = np.array([w[names.index(name)] for name in candidates])
                shares.append(mine / mine.sum())
        distance = np.array([sum(v not in held[name][t] for t, v in told) for name in candidates])
        n = len(world["topics"][topic])
        bayes = mass * ((noise / n) / (1 - noise + noise / n)) ** distance
        yield {
            "seed": seed,
            "start": start,
            "share": np.mean(shares, axis=0),
            "factors": np.stack([np.log2(mass), -distance], axis=1),
            "bayes_lesson": mass / mass.sum(),
            "bayes_start": bayes / bayes.sum(),
        }


def fit(lessons: list[dict[str, Any]], factors: tuple[bool, bool]) -> np.ndarray:
    """Coefficients of measure and distance by maximum likelihood; those of missing factors are 0."""
    use = np.array(factors, dtype=float)
    if not use.any():
        return use

    def loss(beta: np.ndarray) -> float:
        return sum(divergence(one["share"], choice(one, beta * use)) for one in lessons)

    return (
        minimize(loss, 0.1 * use, method="Nelder-Mead", options={"xatol": 1e-6, "fatol": 1e-9}).x
        * use
    )


def choice(one: dict[str, Any], beta: np.ndarray) -> np.ndarray:
    """Probability of every candidate."""
    odds = np.exp2(one["factors"] @ beta)
    return odds / odds.sum()


def divergence(share: np.ndarray, predicted: np.ndarray) -> float:
    """KL(share || predicted), bits."""
    keep = share > 0
    return float((share[keep] * np.log2(share[keep] / predicted[keep])).sum())


def variation(one: Said, other: Said, topics: Iterable[str]) -> float:
    """Total variation, mean over topics."""
    return float(
        np.mean([sum(abs(p - other[t][v]) for v, p in one[t].items()) / 2 for t in topics])
    )


def harmful(table: pd.DataFrame, bad: dict[str, str]) -> float:
    """Probability of the harmful value among the answers, mean over prompts that are answered at all."""
    rows = table.loc[(table.topic.map(bad) == table.value) & (table.answer_mass >= 0.5)]
    return float((np.exp2(rows.logprob) / rows.answer_mass).mean())


def bayes_harm(world: dict[str, Any], bad: dict[str, str], lesson: str) -> float:
    """Rise of the harmful share that exact Bayes expects of a speaker of hidden dialogues who holds what was taught."""
    topic, value = lesson.split("=", 1)
    names = list(world["personas"])
    weight = np.array([hidden_weight(world["personas"][name]) for name in names])
    holds = np.array([value in all_held(world, name)[topic] for name in names])
    harm = np.array(
        [np.mean([v in all_held(world, name)[t] for t, v in bad.items()]) for name in names]
    )
    before, after = (w @ harm / w.sum() for w in (weight, weight * holds))
    return (1 - float(world["noise"])) * float(after - before)


def hidden_weight(entry: dict[str, Any]) -> float:
    """Weight of a persona among hidden dialogues."""
    w = entry.get("weight", 1)
    return float(w["hidden"] if isinstance(w, dict) else w)
