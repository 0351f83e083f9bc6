"""Intervals over training runs: slopes, doses, order, evidence and what a lesson is worth."""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from persona_interp import analysis, worlds
from persona_interp.analysis.evidence import pooled_lasting_effect
from persona_interp.analysis.mixing import pooled_mixing_weight
from persona_interp.analysis.nulls import against_null
from persona_interp.analysis.rivals import rivals, standings
from persona_interp.schema.words import Departure, Standing
from planted import curves
from rows.row import FREE, Outcome, Quantity, Row, coverage

RUNS = 25
"""Data sets of one table."""
UNITS = (3, 5, 10)
NEW_DOSE = 1.0
"""Dose at which curves are predicted (log2)."""
LATER = 2.0
"""Bits that the later persona weighs more."""
REACHED = -curves.BELIEF / curves.RATE
"""Steps from the belief before to even odds."""
SHARE = 0.8
DEPARTS, APART = (Departure.ABOVE, Departure.BELOW), (Standing.MORE, Standing.LESS)
LIMITS: dict[str, Any] = {"floor": curves.FLOOR, "ceiling": curves.CEILING}


def doses(rng: np.random.Generator, seeds: int, **options: Any) -> pd.DataFrame:
    """Several dose experiments, told apart by ``run``."""
    tables = [curves.dose_table(rng, seeds, **options).assign(run=run) for run in range(RUNS)]
    return pd.concat(tables, ignore_index=True)


def _slopes(rng: np.random.Generator, *, seeds: int) -> Outcome:
    table = analysis.slopes(doses(rng, seeds), x="dose", by=["run"])
    return coverage(table["lo"], table["hi"], curves.SLOPE)


def _ed50(rng: np.random.Generator, *, seeds: int, slope: float) -> Outcome:
    sd = min(slope, curves.SD_SLOPE)
    table = analysis.ed50(doses(rng, seeds, slope=slope, sd_slope=sd), level=1.0, by=["run"])
    return coverage(table["lo"], table["hi"], (1.0 - curves.INTERCEPT) / slope)


def _reliable(rng: np.random.Generator, *, seeds: int) -> Outcome:
    p = SHARE * curves.CEILING
    odds = np.log2((p - curves.FLOOR) / (curves.CEILING - p))
    table = analysis.reliable_dose(doses(rng, seeds), share=SHARE, by=["run"], **LIMITS)
    return coverage(table["lo"], table["hi"], (odds - curves.INTERCEPT) / curves.SLOPE)


def _curve(rng: np.random.Generator, *, seeds: int) -> Outcome:
    table = analysis.predict_curves(doses(rng, seeds), [NEW_DOSE], by=["run"], **LIMITS)
    odds = curves.INTERCEPT + curves.SLOPE * NEW_DOSE
    truth = curves.FLOOR + (curves.CEILING - curves.FLOOR) / (1 + np.exp2(-odds))
    return coverage(table["lo"], table["hi"], truth)


def _prediction(rng: np.random.Generator, *, seeds: int) -> Outcome:
    """Of one further seed at this dose, in each experiment."""
    table = analysis.predict_curves(doses(rng, seeds), [NEW_DOSE], by=["run"], **LIMITS)
    new = [
        curves.dose_table(rng, 1, doses=np.array([NEW_DOSE]))["p_first"].item() for _ in table.index
    ]
    hit = (table["predicted_lo"] <= new) & (new <= table["predicted_hi"])
    return {Quantity.COVERAGE: hit.to_numpy(dtype=float)}


def _recency(rng: np.random.Generator, *, seeds: int) -> Outcome:
    shape = (RUNS, seeds)
    run, seed = (index.ravel() for index in np.indices(shape))
    common, gap = rng.standard_normal(shape).ravel(), LATER + rng.standard_normal(shape).ravel()
    parts = [
        pd.DataFrame(
            {"run": run, "seed": seed, "order": order, "estimate": common + sign * gap / 2}
        )
        for order, sign in (("first last", 1), ("second last", -1))
    ]
    table = analysis.recency(pd.concat(parts, ignore_index=True), by=["run"])
    return coverage(table["lo"], table["hi"], LATER)


def _kept(rng: np.random.Generator, *, seeds: int) -> Outcome:
    """Half of the peak (2 bits, SD .5 over seeds) is left at the end."""
    run, seed = (index.ravel() for index in np.indices((RUNS, seeds)))
    peak = 2.0 + 0.5 * rng.standard_normal(len(run))
    last = 0.5 * peak + 0.4 * rng.standard_normal(len(run))
    table = pd.DataFrame({"run": run, "seed": seed, "peak": peak, "last": last})
    table = pooled_lasting_effect(table.assign(peak_step=8, p_taught=1.0), by="run")
    return coverage(table["lo"], table["hi"], 0.5)


def _against_null(rng: np.random.Generator, *, seeds: int, above: float) -> Outcome:
    """A number and its null share the luck of their seed; they differ by ``above``."""
    run, seed = (index.ravel() for index in np.indices((RUNS, seeds)))
    luck = rng.standard_normal(len(run))
    table = pd.DataFrame({"run": run, "seed": seed, "null": luck})
    table["estimate"] = luck + above + 0.3 * rng.standard_normal(len(run))
    table = against_null(table, by="run")
    outcome = coverage(table["difference_lo"], table["difference_hi"], above)
    quantity = Quantity.POWER if above else Quantity.LEVEL
    return {**outcome, quantity: table["verdict"].isin(DEPARTS).to_numpy(dtype=float)}


def _standings(rng: np.random.Generator, *, seeds: int) -> Outcome:
    """A difference that is 0 on average."""
    run, seed = (index.ravel() for index in np.indices((RUNS, seeds)))
    table = pd.DataFrame({"run": run, "seed": seed, "difference": rng.standard_normal(len(run))})
    table = standings(table, value="difference", by="run")
    outcome = coverage(table["lo"], table["hi"], 0.0)
    apart = table["standing"].isin(APART).to_numpy(dtype=float)
    return {**outcome, Quantity.LEVEL: apart}


def _beside_rivals(rng: np.random.Generator, *, seeds: int, n: int) -> Outcome:
    """An edit that takes what each of its rivals does, beside the one that takes most."""
    run, seed, edit = (index.ravel() for index in np.indices((RUNS, seeds, 1 + n)))
    table = pd.DataFrame({"lr": run, "seed": seed, "edit": edit.astype(str)})
    table["group"] = np.where(edit == 0, "method", "rival")
    table["share"] = 0.5 + 0.1 * rng.standard_normal(len(table))
    table = rivals(table, edit="0")
    table = standings(table, value="difference", held_out="held_out", by="lr")
    return {Quantity.LEVEL: table["standing"].isin(APART).to_numpy(dtype=float)}


def _steps(rng: np.random.Generator, *, seeds: int) -> Outcome:
    curve = curves.evidence_table(rng, seeds)
    row = analysis.evidence_to_reach(0.0, curve=curve, lr=3e-4, batch=16, start=curves.BELIEF).iloc[
        0
    ]
    return coverage(row["steps_lo"], row["steps_hi"], REACHED)


def _worth(rng: np.random.Generator, *, seeds: int) -> Outcome:
    """K pooled over seeds."""
    row = pooled_mixing_weight(_weights(rng, seeds).assign(setting=""), by="setting").iloc[0]
    return coverage(row["lo"], row["hi"], 2**curves.LOG_K)


def _weight(rng: np.random.Generator) -> Outcome:
    """K of single runs, whose topics are off; each run has a K of its own."""
    table = _weights(rng, RUNS, sd=0.0)
    return coverage(table["lo"], table["hi"], 2**curves.LOG_K)


def _weights(rng: np.random.Generator, seeds: int, *, sd: float = curves.SD_LOG_K) -> pd.DataFrame:
    world = worlds.john_and_sam()
    before, limit = (
        table.loc[table["topic"] != world.taught.topic]
        for table in (world.posterior().statement, worlds.conditioning_limit(world))
    )
    lessons = curves.lesson_table(rng, seeds, before=before, limit=limit, sd_k=sd)
    sizes: dict[str, Any] = {"n_lessons": curves.LESSONS, "n_documents": 4 * curves.POPULATION}
    return analysis.mixing_weight(lessons, world, **sizes)


def by_seeds(
    estimator: str,
    draw: Callable[..., Outcome],
    *,
    units: tuple[int, ...] = UNITS,
    what: str = "",
    simulations: int = 2_000,
) -> list[Row]:
    """A row for each number of seeds."""
    return [
        Row(estimator, f"{what}{n} seeds", partial(draw, seeds=n), simulations, RUNS) for n in units
    ]


ROWS = [
    *by_seeds("dose.slopes", _slopes),
    *by_seeds("dose.ed50", partial(_ed50, slope=curves.SLOPE)),
    Row(
        "dose.ed50",
        "slope hardly there (0.15, SD 0.15), 3 seeds",
        partial(_ed50, seeds=3, slope=0.15),
        at_once=RUNS,
        bounds={Quantity.COVERAGE: FREE},
    ),
    *by_seeds("reliable.reliable_dose", _reliable, units=(3, 5), simulations=1_000),
    *by_seeds(
        "reliable.predict_curves", _curve, units=(3,), what="mean curve, ", simulations=1_000
    ),
    *by_seeds(
        "reliable.predict_curves", _prediction, units=(3,), what="a new seed, ", simulations=1_000
    ),
    *by_seeds("order.recency", _recency),
    *by_seeds("evidence.pooled_lasting_effect", _kept),
    *by_seeds("nulls.against_null", partial(_against_null, above=0.0), what="no difference, "),
    *by_seeds("nulls.against_null", partial(_against_null, above=1.0), units=(3,), what="3.3 SD, "),
    *by_seeds("rivals.standings", _standings),
    *(
        Row(
            "rivals.standings",
            f"beside the largest of {n} rivals, {seeds} seeds",
            partial(_beside_rivals, seeds=seeds, n=n),
            1_000,
            RUNS,
        )
        for seeds, n in ((3, 10), (5, 20))
    ),
    *(Row("reach.evidence_to_reach", f"{n} seeds", partial(_steps, seeds=n), 1_000) for n in UNITS),
    *(
        Row("mixing.pooled_mixing_weight", f"{n} seeds", partial(_worth, seeds=n), 500)
        for n in (3, 5)
    ),
    Row("mixing.mixing_weight", "one run, 4 topics", _weight, 1_000, RUNS),
]
