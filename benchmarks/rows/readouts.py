"""How well readouts tell documents: areas, their differences, scores and comparisons."""

from functools import partial

import numpy as np
import pandas as pd
from scipy.stats import norm

from persona_interp import analysis
from persona_interp.analysis.auroc import auroc_differences
from persona_interp.analysis.traits import judge_fitness
from planted.inside import readouts
from rows.row import Bounds, Outcome, Quantity, Row, coverage, false_share, rejects

AT_ONCE = 50
"""Features that are read on the same labels, independent of each other."""
PERSONAS = np.array(["john", "mary", "emma", "oscar"])


def _auroc(rng: np.random.Generator, *, positive: int, negative: int, area: float) -> Outcome:
    """Normal numbers, apart so that this is the area."""
    label = np.arange(positive + negative) < positive
    apart = np.sqrt(2) * norm.ppf(area)
    x = rng.standard_normal((len(label), AT_ONCE)) + apart * label[:, None]
    interval = analysis.auroc(x, label)
    return coverage(interval.lo, interval.hi, area)


def _sparse(rng: np.random.Generator, *, fires: float, elsewhere: float) -> Outcome:
    """A feature that is 1 or 0: half of the pairs in which both are alike count."""
    label = np.arange(160) < 10
    rate = np.where(label, fires, elsewhere)[:, None]
    x = (rng.random((len(label), AT_ONCE)) < rate).astype(float)
    interval = analysis.auroc(x, label)
    truth = fires * (1 - elsewhere) + (fires * elsewhere + (1 - fires) * (1 - elsewhere)) / 2
    return coverage(interval.lo, interval.hi, truth)


def _difference(
    rng: np.random.Generator, *, positive: int, negative: int, areas: tuple[float, float]
) -> Outcome:
    """Two readouts of the same documents, correlated by .8."""
    label = np.arange(positive + negative) < positive
    apart = np.sqrt(2) * norm.ppf(np.array(areas))
    common = rng.standard_normal((len(label), 1))
    x = np.sqrt(0.8) * common + np.sqrt(0.2) * rng.standard_normal((len(label), 2))
    table = auroc_differences(x + apart * label[:, None], label)
    outcome = dict(coverage(table.lo[1, 0], table.hi[1, 0], areas[1] - areas[0]))
    differ = areas[0] != areas[1]
    return outcome | dict(
        rejects(table.p[1, 0], quantity=Quantity.POWER if differ else Quantity.LEVEL)
    )


def documents(who: np.ndarray) -> dict[str, np.ndarray]:
    """Documents of these personas: half to choose on, and half of each state another topic."""
    number = np.arange(len(who))
    return {
        "persona": who,
        "doc": number,
        "split": np.where(number % 4 < 2, "train", "test"),
        "stated": np.where(number % 2, "art=cubism", "food=rice"),
    }


def _baselines(rng: np.random.Generator, *, areas: tuple[float, float]) -> Outcome:
    """Is the second of two readouts (correlation .8) said to beat the first? 1,200 documents."""
    who = PERSONAS[rng.integers(0, 4, 1_200)]
    apart = np.sqrt(2) * norm.ppf(np.array(areas))[:, None]
    x = np.sqrt(0.8) * rng.standard_normal(1_200) + np.sqrt(0.2) * rng.standard_normal((2, 1_200))
    hidden = readouts((x + apart * (who == "john"))[:, None], documents(who))
    still = readouts(rng.standard_normal((2, 2, 12)), {})
    control = readouts(rng.standard_normal((2, 2, 12)), {})
    table = analysis.baselines(hidden, still, control=control, persona="john")
    beats = "r0" not in table.set_index("method").loc["r1", "no_better_than"]
    quantity = Quantity.LEVEL if areas[0] == areas[1] else Quantity.POWER
    return {quantity: float(beats)}


def _fitness(rng: np.random.Generator, *, answers: int, area: float) -> Outcome:
    """Independent answers to every trait, as many under its instruction as under its opposite."""
    trait, side, prompt = (i.ravel() for i in np.indices((AT_ONCE, 2, answers)))
    scores = np.sqrt(2) * norm.ppf(area) * side + rng.standard_normal(len(side))
    names = np.array([f"t{i}" for i in range(AT_ONCE)])[trait]
    table = pd.DataFrame(
        {"own_trait": names, "trait": names, "side": np.array(["neg", "pos"])[side]}
    )
    table = table.assign(prompt=prompt, sample=0, n_tokens=1, bits_pos=scores, bits_neg=0.0)
    table = judge_fitness(table)
    return coverage(table["lo"], table["hi"], area)


def _scores(rng: np.random.Generator, *, planted: int, fires: float) -> Outcome:
    """Forty features on 160 documents of four personas; the first ones know john."""
    who = PERSONAS[rng.integers(0, 4, 160)]
    label = who == "john"
    x = (rng.random((40, 160)) < fires) * rng.exponential(size=(40, 160))
    x[:planted] += 1.5 * label
    scores = analysis.score(readouts(x[:, None], documents(who)), n_permutations=100)
    found = scores.loc[scores["name"] == "john"].set_index("feature")
    knows = np.array([f"r{i}" for i in range(planted)], dtype=object)
    if not planted:
        return {Quantity.LEVEL: float((scores["q"].to_numpy() <= 0.05).any())}
    discovered = (found["q"] <= 0.05).to_numpy()
    return false_share(discovered, found.index.isin(knows))


ROWS = [
    *(
        Row(
            "auroc.auroc",
            f"{area:g}, {positive} against {negative} documents",
            partial(_auroc, positive=positive, negative=negative, area=area),
            10_000,
            AT_ONCE,
        )
        for area, positive, negative in (
            (0.5, 8, 150),
            (0.5, 40, 150),
            (0.8, 8, 150),
            (0.8, 40, 150),
            (0.95, 10, 150),
            (0.95, 40, 150),
            (0.99, 10, 150),
            (0.99, 40, 150),
        )
    ),
    *(
        Row(
            "auroc.auroc",
            f"fires in {fires:g} of 10, in {elsewhere:g} of 150 documents",
            partial(_sparse, fires=fires, elsewhere=elsewhere),
            10_000,
            AT_ONCE,
        )
        for fires, elsewhere in ((0.95, 0.01), (0.1, 0.1), (0.5, 0.05))
    ),
    *(
        Row(
            "auroc.auroc_differences",
            f"{areas[0]:g} and {areas[1]:g}, {positive} against {negative} documents",
            partial(_difference, positive=positive, negative=negative, areas=areas),
            4_000,
        )
        for areas, positive, negative in (
            ((0.8, 0.8), 10, 150),
            ((0.8, 0.8), 40, 150),
            ((0.95, 0.95), 10, 150),
        )
    ),
    Row(
        "auroc.auroc_differences",
        "0.8 and 0.88, 60 against 240 documents",
        partial(_difference, positive=60, negative=240, areas=(0.8, 0.88)),
        4_000,
        bounds={Quantity.POWER: Bounds(0.8, np.nan)},
    ),
    *(
        Row(
            "traits.judge_fitness",
            f"{area:g}, 12 answers on a side",
            partial(_fitness, answers=12, area=area),
            at_once=AT_ONCE,
        )
        for area in (0.5, 0.8, 0.95)
    ),
    Row(
        "score.score",
        "40 features, nobody known, dense",
        partial(_scores, planted=0, fires=1.0),
        500,
    ),
    Row(
        "score.score",
        "40 features, nobody known, sparse",
        partial(_scores, planted=0, fires=0.1),
        500,
    ),
    Row("score.score", "8 of 40 features know john", partial(_scores, planted=8, fires=0.5), 500),
    Row(
        "baselines.baselines",
        "0.8 and 0.8, 75 against 225 test documents",
        partial(_baselines, areas=(0.8, 0.8)),
        300,
        bounds={Quantity.LEVEL: Bounds(np.nan, 0.05)},
    ),
    Row(
        "baselines.baselines",
        "0.8 and 0.88, 75 against 225 test documents",
        partial(_baselines, areas=(0.8, 0.88)),
        300,
        bounds={Quantity.POWER: Bounds(0.8, np.nan)},
    ),
]
