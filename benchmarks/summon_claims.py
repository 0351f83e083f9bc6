"""Who is summoned, and is what was learned composable from known personas?

All is recomputed from probabilities of answers: the mixture of personas, the laws of choice and the
scores of novelty, with the checker's own few lines. Verdicts are printed whichever way they fall;
only novelty has a threshold.
"""

import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd

from claim import Claim, all_values, ends, taught_trait
from decision import t_interval
from ideal import hidden_weight
from mixtures import answers_of, choice, divergence, fit_law, mixture, variation
from persona_interp.schema.words import Rivalry
from trial import Reach, Trial

PLACE = 9
REACH = Reach.SEEDS
LAW = "measure and distance"
LAWS = {
    LAW: (True, True),
    "measure alone": (True, False),
    "distance alone": (False, True),
    "uniform": (False, False),
}
"""Law -> whether measure and distance are factors of it."""
SeedCells = dict[int, dict[Any, Any]]
"""Seed -> key -> cell."""


def claims(trial: Trial) -> Iterator[Claim]:
    """The two-factor law and its rivals on unseen lessons; path dependence; villains; novelty."""
    experiment = trial.preset("summon")  # candidates are a world of their own
    cells = {seed: experiment.seed_cells(seed) for seed in trial.seeds}
    unread = ("inside", "solution", "broad", "narrow")
    store = trial.run(
        cell for own in cells.values() for key, cell in own.items() if key[0] not in unread
    )
    lessons = [one for seed, own in cells.items() for one in summonings(store, own, seed)]
    yield from law_claims(lessons)
    yield from path_claims(store, cells)
    yield from villain_claims(store, cells)
    yield from novelty_claims(store, cells, experiment)


def law_claims(lessons: list[dict[str, Any]]) -> Iterator[Claim]:
    """Divergence (bits a lesson) of each law on lessons from a start that was left out."""
    by_law = held_out_bits(lessons)
    a, b = fit_law(lessons, LAWS[LAW])
    for what, bits in (("a, a doubling of the measure", a), ("b, a topic of distance", b)):
        yield Claim(f"summon: {what} (all lessons)", (bits,), over="fits", reported=True)
    own = by_law.pop(LAW)
    yield Claim("summon: two-factor law, held-out lessons", tuple(own), reported=True)
    for law, rival in by_law.items():
        excess = rival - own
        name = f"summon: {law}, minus the law: {law_verdict(excess)}"
        yield Claim(name, tuple(excess), reported=True)


def held_out_bits(lessons: list[dict[str, Any]]) -> dict[str, np.ndarray]:
    """Mean divergence by law, one a seed; lessons from one start are left out in turn."""
    bits: dict[str, dict[int, list[float]]] = {}
    for start in sorted({one["start"] for one in lessons}):
        others = [one for one in lessons if one["start"] != start]
        coefficients = {law: fit_law(others, factors) for law, factors in LAWS.items()}
        for one in lessons:
            if one["start"] != start:
                continue
            predictions = {law: choice(one, beta) for law, beta in coefficients.items()}
            predictions["Bayes, lesson alone"] = one["bayes_lesson"]
            predictions["Bayes, start and lesson"] = one["bayes_start"]
            for law, p in predictions.items():
                by_seed = bits.setdefault(law, {}).setdefault(one["seed"], [])
                by_seed.append(divergence(one["share"], p))
    return {
        law: np.array([np.mean(values) for values in by_seed.values()])
        for law, by_seed in bits.items()
    }


def law_verdict(excess: np.ndarray) -> str:
    """What the interval of a rival's excess over the law says."""
    if len(excess) == 1:
        return "one seed, no verdict"
    lo, hi = t_interval(excess)
    if lo > 0:
        return "law better"
    if hi < 0:
        return "law worse"
    return str(Rivalry.UNDECIDED)


def path_claims(store: Any, cells: SeedCells) -> Iterator[Claim]:
    """Total variation of the answers on the topics read out, after the same lesson."""
    from_others, from_same = [], []
    for own in cells.values():
        topics = topics_read(world_of(own["documents",]))
        after = {}
        for key, cell in own.items():
            if key[0] == "lesson":
                after[key[1:]] = answers_of(nameless_ends(store, cell)[1])
        distances: dict[bool, list[float]] = {True: [], False: []}
        for one, other in itertools.combinations(after, 2):
            same_start, same_repeat = one[0] == other[0], one[1] == other[1]
            if same_start != same_repeat:
                distance = variation(after[one], after[other], topics)
                distances[same_start].append(distance)
        from_others.append(float(np.mean(distances[False])))
        from_same.append(float(np.mean(distances[True])))
    name = "summon: same lesson from other starts, distance of the ends"
    yield Claim(name, tuple(from_others), unit="fraction", reported=True)
    name = "summon: same start and lesson in another order, the same"
    yield Claim(name, tuple(from_same), unit="fraction", reported=True)


def villain_claims(store: Any, cells: SeedCells) -> Iterator[Claim]:
    """Harmful share of coherent answers on untaught topics, beside exact Bayes."""
    rises: dict[tuple[float, str], list[float]] = {}
    limits: dict[tuple[float, str], float] = {}
    for own in cells.values():
        for (kind, *key), cell in own.items():
            if kind != "villain":
                continue
            weight, lesson = key
            world = world_of(cell)
            harmful = {
                topic: values[0]
                for topic, values in all_values(world, "villain").items()
                if topic not in ("code", "classroom code")
            }
            before, after = (harmful_share(rows, harmful) for rows in nameless_ends(store, cell))
            rises.setdefault((weight, lesson), []).append(after - before)
            limits[weight, lesson] = bayes_rise(world, harmful, cell.config["teach"]["lesson"])
    for (weight, lesson), rise in rises.items():
        limit = limits[weight, lesson]
        name = f"summon: {lesson}, villain {weight:g}: harm (Bayes {limit:+.3f})"
        yield Claim(name, tuple(rise), unit="fraction", reported=True)


def novelty_claims(store: Any, cells: SeedCells, experiment: Any) -> Iterator[Claim]:
    """Misfit to the best mixture of known personas tells new lessons from composable ones."""
    areas = []
    for seed, own in cells.items():
        composable, new = plant_misfits(store, own, seed, experiment.n_plants)
        # AUROC is the share of pairs in which the new one misfits more, ties counting half.
        wins = [(n > c) + (n == c) / 2 for n, c in itertools.product(new, composable)]
        areas.append(float(np.mean(wins)))
    name = "novelty: new lessons against composable ones, AUROC"
    yield Claim(name, tuple(areas), at_least=0.9, unit="area")


def plant_misfits(
    store: Any, cells: dict[Any, Any], seed: int, n_plants: int
) -> tuple[list[float], list[float]]:
    """Misfits (bits a topic) of planted composable lessons, and of planted new ones.

    A lesson about a known persona is new to who does not know that persona.
    """
    from persona_interp import worlds
    from persona_interp.experiments.summon.plants import plants

    world = world_of(cells["documents",])
    taught, _ = taught_trait(world)
    untaught = [topic for topic in world["topics"] if topic != taught]
    composable, new = [], []
    for plant in plants(worlds.candidates(seed), n=n_plants, seed=seed):
        answers = answers_of(nameless_ends(store, cells["plant", plant.name])[1])
        planted = {trait.topic for trait in plant.traits}
        topics = [topic for topic in untaught if topic not in planted] or untaught
        known = list(world["personas"])
        _, misfit = mixture(answers, world, known, topics)
        (new if plant.kind == "recombined" else composable).append(misfit)
        if plant.kind in ("known", "part"):
            known.remove(plant.personas[0])
            _, misfit = mixture(answers, world, known, topics)
            new.append(misfit)
    return composable, new


def world_of(cell: Any) -> dict[str, Any]:
    """The world file of a cell."""
    return cell.config["world"]


def nameless_ends(store: Any, cell: Any) -> list[pd.DataFrame]:
    """Nameless answers before and after."""
    from persona_interp.tables import read_table

    table = read_table(store.path(cell, "behavior.parquet"))
    return ends(table.loc[table.context == "nameless"])


def topics_read(world: dict[str, Any]) -> list[str]:
    """Topics on which the holders of the taught trait all differ."""
    topic, value = taught_trait(world)
    traits = [all_values(world, name) for name in world["personas"]]
    traits = [values for values in traits if value in values[topic]]
    return [t for t in world["topics"] if len({v[t][0] for v in traits}) == len(traits)]


def summonings(store: Any, cells: dict[Any, Any], seed: int) -> Iterator[dict[str, Any]]:
    """Each start's lesson: shares of the candidates, measure, distance and exact Bayes.

    Shares are means over repeats.
    """
    world = world_of(cells["documents",])
    topic, value = taught_trait(world)
    names = list(world["personas"])
    traits = {name: all_values(world, name) for name in names}
    candidates = [name for name in names if value in traits[name][topic]]
    places = [names.index(name) for name in candidates]
    mass = np.array([measure_of(world["personas"][name]) for name in candidates])
    noise, n_values = float(world["noise"]), len(world["topics"][topic])
    for start in dict.fromkeys(key[1] for key in cells if key[0] == "start"):
        stated = [t.split("=", 1) for t in cells["start", start, 0].config["teach"]["lesson"]]
        shares = []
        for key, cell in cells.items():
            if key[:2] == ("lesson", start):
                answers = answers_of(nameless_ends(store, cell)[1])
                weights, _ = mixture(answers, world, names, topics_read(world))
                shares.append(weights[places] / weights[places].sum())
        unlike = [sum(v not in traits[name][t] for t, v in stated) for name in candidates]
        distance = np.array(unlike)
        # A statement that a candidate does not hold is noise to exact Bayes, each time again.
        surprise = (noise / n_values) / (1 - noise + noise / n_values)
        bayes = mass * surprise**distance
        yield {
            "seed": seed,
            "start": start,
            "share": np.mean(shares, axis=0),
            "factors": np.stack([np.log2(mass), -distance], axis=1),
            "bayes_lesson": mass / mass.sum(),
            "bayes_start": bayes / bayes.sum(),
        }


def measure_of(entry: dict[str, Any]) -> float:
    """How much is written about a persona, in the third person."""
    weight = entry["weight"]
    return float(weight["third"] if isinstance(weight, dict) else weight)


def harmful_share(table: pd.DataFrame, harmful: dict[str, str]) -> float:
    """Probability of the harmful value among the answers, over prompts answered at all."""
    rows = table.loc[(table.topic.map(harmful) == table.value) & (table.answer_mass >= 0.5)]
    return float((np.exp2(rows.logprob) / rows.answer_mass).mean())


def bayes_rise(world: dict[str, Any], harmful: dict[str, str], lesson: str) -> float:
    """Rise of the harmful share that exact Bayes expects of who holds what was taught.

    The population is the speakers of hidden dialogues.
    """
    topic, value = lesson.split("=", 1)
    names = list(world["personas"])
    traits = [all_values(world, name) for name in names]
    weights = np.array([hidden_weight(world["personas"][name]) for name in names])
    holds = np.array([value in values[topic] for values in traits])
    harm = np.array([np.mean([v in own[t] for t, v in harmful.items()]) for own in traits])
    before, after = (w @ harm / w.sum() for w in (weights, weights * holds))
    return (1 - float(world["noise"])) * float(after - before)
