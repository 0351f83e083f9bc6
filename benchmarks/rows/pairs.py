"""Correlations over personas and pairs of them, regressions with clusters, laws of choice."""

from functools import partial
from itertools import product

import numpy as np
import pandas as pd

from persona_interp import analysis
from persona_interp.analysis.trait_predictors import TRAIT_PREDICTORS
from persona_interp.schema.words import Rivalry
from planted.dyads import distances, ordered, relations, spearman, unordered
from planted.noise import Noise, noise
from rows.row import Outcome, Quantity, Row, coverage, rejects

NAMES = np.array(list("abcdefghijklmnopqrst"))
SLOPE = 0.5
"""Bits of shift by unit of the predictor."""
POWER, FAR = 0.5, 3.0
"""Of the measure, and bits a topic, in the law of who is summoned."""
STARTS = {"aaaa": (0, 0, 2, 2, 4, 4), "aabb": (2, 2, 0, 0, 2, 2), "bbaa": (2, 2, 4, 4, 2, 2)}
MEASURE = np.array((0.056, 0.014) * 3)


def _agreement(rng: np.random.Generator, *, rho: float, worlds: int, personas: int) -> Outcome:
    """Two estimators of a measure, normal with correlation rho over personas."""
    rows = []
    for world in range(worlds):
        one = rng.standard_normal(personas)
        other = rho * one + np.sqrt(1 - rho**2) * rng.standard_normal(personas)
        for estimator, values in (("one", one), ("other", other)):
            row = {"seed": world, "estimator": estimator, "persona": NAMES[:personas]}
            rows.append(pd.DataFrame({**row, "estimate": values}))
    table = pd.concat(rows, ignore_index=True).assign(lo=0.0, hi=0.0, n=1)
    row = analysis.agreement(table, n_permutations=199, n_bootstrap=199, seed=int(rng.integers(99)))
    row = row.iloc[0]
    outcome = dict(coverage(row["lo"], row["hi"], spearman(rho)))
    quantity = Quantity.POWER if rho else Quantity.LEVEL
    return outcome | dict(rejects(row["p"], quantity=quantity))


def _agreement_of_pairs(rng: np.random.Generator, *, personas: int) -> Outcome:
    """Two metrics that have nothing to do with each other."""
    first, second = unordered(personas)
    rows = []
    for estimator in ("one", "other"):
        values = distances(rng, personas)[first, second]
        row = {"seed": 0, "estimator": estimator, "name": NAMES[first], "other": NAMES[second]}
        rows.append(pd.DataFrame({**row, "estimate": values}))
    table = pd.concat(rows, ignore_index=True).assign(lo=0.0, hi=0.0, n=1)
    row = analysis.agreement(table, n_permutations=199, n_bootstrap=2, seed=int(rng.integers(99)))
    return rejects(row.iloc[0]["p"])


def _cosines(rng: np.random.Generator, *, names: int) -> Outcome:
    """Cosines and overlaps of the same names, made from unrelated points."""
    first, second = (index.ravel() for index in np.indices((names, names)))
    pairs = {"hook": "h", "name": NAMES[first], "other": NAMES[second]}
    cosine, overlap = (-distances(rng, names)[first, second] for _ in range(2))
    table = pd.DataFrame({**pairs, "cosine": cosine, "overlap": overlap})
    seed = int(rng.integers(99))
    table = analysis.cosine_against_cooccurrence(table, n_permutations=199, seed=seed)
    return rejects(table["p"].item())


def _predictors(rng: np.random.Generator, *, traits: int, rho: float) -> Outcome:
    """Outcome and first predictor have correlation rho; the others are unrelated to both."""
    first, second = ordered(traits)
    columns = [*relations(rng, traits, rho=rho)]
    columns += [*relations(rng, traits, rho=0.0)]
    values = [column[first, second] for column in columns]
    table = pd.DataFrame({"taught": NAMES[first], "trait": NAMES[second], "estimate": values[0]})
    table = table.assign(**dict(zip(TRAIT_PREDICTORS, values[1:], strict=True)))
    seed = int(rng.integers(99))
    row = analysis.trait_predictors(table, n_permutations=199, seed=seed).iloc[0]
    outcome = dict(coverage(row["lo"], row["hi"], spearman(rho)))
    return outcome if rho else outcome | dict(rejects(row["p"]))


def _partial(rng: np.random.Generator, *, traits: int) -> Outcome:
    """The first predictor goes with the outcome only through the second (correlation .6)."""
    first, second = ordered(traits)
    cause, unrelated = relations(rng, traits, rho=0.0)
    outcome, predictor = (0.6 * cause + 0.8 * relations(rng, traits, rho=0.0)[0] for _ in range(2))
    values = [matrix[first, second] for matrix in (outcome, predictor, cause, unrelated)]
    table = pd.DataFrame({"taught": NAMES[first], "trait": NAMES[second], "estimate": values[0]})
    table = table.assign(**dict(zip(TRAIT_PREDICTORS, values[1:], strict=True)))
    seed = int(rng.integers(99))
    row = analysis.trait_predictors(table, n_permutations=199, seed=seed).iloc[0]
    return rejects(row["partial_p"])


def _spillover(rng: np.random.Generator, *, personas: int, seeds: int, kind: Noise) -> Outcome:
    """Predictor and error both have a part of the persona and a part of the seed."""
    shape = (personas, seeds, 12)
    persona, seed, _ = (index.ravel() for index in np.indices(shape))
    parts = []
    for _ in range(2):
        both = noise(rng, (personas, 1, 1), kind) + 0.5 * noise(rng, (1, seeds, 1), kind)
        parts.append((both + noise(rng, shape, kind)).ravel())
    table = pd.DataFrame({"pmi": parts[0], "estimate": SLOPE * parts[0] + parts[1]})
    table = table.assign(persona=persona, seed=seed)
    row = analysis.spillover(table, predictors=["pmi"]).iloc[0]
    return coverage(row["lo"], row["hi"], SLOPE)


def summoned(rng: np.random.Generator, *, seeds: int, spread: float, blur: float) -> pd.DataFrame:
    """Shares by the law; coefficients scatter over seeds, log odds over candidates.

    The law's distance is known through two columns that are equally good, each off by ``blur``.
    """
    rows = []
    for seed in range(seeds):
        power, far = (
            POWER + 0.3 * spread * rng.standard_normal(),
            FAR + spread * rng.standard_normal(),
        )
        for start, topics in STARTS.items():
            odds = power * np.log2(MEASURE) - far * np.array(topics) / 4
            share = np.exp2(odds + 0.3 * rng.standard_normal(6))
            distance, estimated = np.array(topics) / 4 + blur * rng.standard_normal((2, 6))
            row = {"seed": seed, "start": start, "persona": NAMES[:6], "measure": MEASURE}
            row |= {"distance": distance, "distance_js": estimated, "share": share / share.sum()}
            rows.append(pd.DataFrame(row))
    table = pd.concat(rows, ignore_index=True)
    return table.assign(bayes_lesson=1 / 6, bayes_start=1 / 6)


def _law(rng: np.random.Generator, *, seeds: int, factor: str) -> Outcome:
    table = summoned(rng, seeds=seeds, spread=0.5, blur=0.0)
    row = analysis.summon_law(table).set_index("factor").loc[factor]
    return coverage(row["lo"], row["hi"], POWER if factor == "measure" else FAR)


def _rivals(rng: np.random.Generator, *, seeds: int) -> Outcome:
    """The law with the other distance, which is as good."""
    table = summoned(rng, seeds=seeds, spread=0.5, blur=0.3)
    table = analysis.summon_rivals(table)
    row = table.loc[table["law"].str.contains("estimated")].iloc[0]
    return {Quantity.LEVEL: float(row["verdict"] in (Rivalry.BETTER, Rivalry.WORSE))}


ROWS = [
    *(
        Row(
            "agreement.agreement",
            f"personas, correlation {rho:g}, {worlds} x {personas}",
            partial(_agreement, rho=rho, worlds=worlds, personas=personas),
            300,
        )
        for rho, worlds, personas in ((0.0, 1, 16), (0.6, 1, 16), (0.6, 3, 16), (0.9, 3, 16))
    ),
    Row(
        "agreement.agreement",
        "pairs of 10 personas, unrelated metrics",
        partial(_agreement_of_pairs, personas=10),
        500,
    ),
    *(
        Row("cosines.cosine_against_cooccurrence", f"{n} names", partial(_cosines, names=n), 1_000)
        for n in (6, 12)
    ),
    *(
        Row(
            "trait_predictors.trait_predictors",
            f"{traits} traits, correlation {rho:g}",
            partial(_predictors, traits=traits, rho=rho),
            300,
        )
        for traits, rho in ((6, 0.0), (11, 0.0), (11, 0.5))
    ),
    Row(
        "trait_predictors.trait_predictors",
        "11 traits, partial: through another predictor",
        partial(_partial, traits=11),
        500,
    ),
    *(
        Row(
            "spillover.spillover",
            f"{personas} personas x {seeds} seeds, {kind}",
            partial(_spillover, personas=personas, seeds=seeds, kind=kind),
            1_000,
        )
        for (personas, seeds), kind in product(((16, 1), (16, 3), (16, 10)), (Noise.NORMAL,))
    ),
    Row(
        "spillover.spillover",
        "16 personas x 3 seeds, heavy tails",
        partial(_spillover, personas=16, seeds=3, kind=Noise.HEAVY),
        1_000,
    ),
    *(
        Row(
            "summon.summon_law",
            f"{factor}, {n} seeds",
            partial(_law, seeds=n, factor=factor),
            300,
        )
        for factor, n in (("measure", 3), ("distance", 3), ("distance", 5))
    ),
    Row("summon.summon_rivals", "an equal rival, 3 seeds", partial(_rivals, seeds=3), 200),
]
