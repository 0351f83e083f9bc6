"""What do the finished cells of a dose run say, as tables?"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd

from persona_interp import analysis
from persona_interp.experiments.dose.config import NAMED, Condition, Dose
from persona_interp.schema.words import Moment
from persona_interp.store import Cell, Store
from persona_interp.tables import read_table
from persona_interp.worlds import World, certain

PAIR = ("first", "second")
UNITS = ("documents", "statements", "fact_tokens")
WHOLE = ("ratio", "later")
"""Arms in which the ratio is the same in every kind of document, so that one dose says all."""
AT = ["arm", "when", "lr"]
NEW = 3
"""Seeds whose mean is predicted."""
GRID = 0.25
"""Distance of the doses at which curves are given (log2)."""

Tables = dict[str, pd.DataFrame]


def summarize(experiment: Dose, store: Store) -> dict[str, pd.DataFrame]:
    """Tables of what is finished.

    Args:
        experiment: The experiment.
        store: Its run; missing cells leave fewer rows.

    Returns:
        Tables by name, contrasts in bits, doses on a log2 scale: ``dose`` (one row a seed,
        condition and moment), ``slopes`` (against what exact Bayes expects), ``carriers`` (per
        bit of ratio, by the documents that have it), ``masses`` (per doubling of both),
        ``ed50`` and ``reliable`` (which dose is enough), ``curves`` (fitted probability with
        prediction intervals), ``counts``, ``worst`` (average and worst case of the target's
        untaught traits, arm "ratio").
    """
    measured, counted = [], []
    for seed in experiment.seeds:
        cells = experiment.seed_cells(seed)
        for condition in experiment.conditions():
            if not store.has(cells["documents", condition]):
                continue
            world = experiment.world_of(seed, condition)
            counts = read_table(store.path(cells["documents", condition], "counts.parquet"))
            about = {
                "seed": seed,
                **condition._asdict(),
                "first": world.target,
                "second": experiment.rival,
            }
            counted.append(counts.assign(**about))
            amounts = {
                f"{unit}_{which}": _amount(counts, about[which], unit)
                for unit in UNITS
                for which in PAIR
            }
            for row in _moments(
                store, _moment_cells(cells, condition), world, rival=experiment.rival, counts=counts
            ):
                measured.append({**about, **row, **amounts})
    if not measured:
        return {}
    dose, world = (
        pd.DataFrame(measured),
        experiment.world_of(experiment.seeds[0], experiment.conditions()[0]),
    )
    found = {
        "dose": dose,
        **tables_of(dose, limits=limits(world)),
        "counts": pd.concat(counted, ignore_index=True),
    }
    return found | _worst(experiment, store)


def limits(world: World) -> dict[str, Any]:
    """Between which probabilities does the noise keep what a persona says?

    Args:
        world: The world.

    Returns:
        ``floor`` and ``ceiling``: noise / values, and that plus 1 - noise; means over the untaught
        topics.

    >>> from persona_interp.worlds import john_and_sam
    >>> limits(john_and_sam())
    {'floor': 0.0125, 'ceiling': 0.9125}
    """
    untaught = [values for topic, values in world.topics.items() if topic != world.taught.topic]
    floor = world.noise * float(np.mean([1 / len(values) for values in untaught]))
    return {"floor": floor, "ceiling": 1 - world.noise + floor}


def _moment_cells(
    cells: dict[tuple[Any, ...], Cell], condition: Condition
) -> dict[tuple[Moment, float], Cell]:
    """Cells in which the contrast is read, by moment and learning rate of the lesson (0 before it)."""
    moments = {
        (Moment.BEFORE, 0.0): cells["documents", condition],
        (Moment.PROMPT, 0.0): cells[Moment.PROMPT, condition],
    }
    for key, cell in cells.items():
        if key[:2] == (Moment.AFTER, condition):
            moments[Moment.AFTER, key[2]] = cell
    return moments


def _moments(
    store: Store,
    cells: dict[tuple[Moment, float], Cell],
    world: World,
    *,
    rival: str,
    counts: pd.DataFrame,
) -> Iterator[dict[str, Any]]:
    """The contrast before, with a statement in the prompt, and after every lesson, beside what exact Bayes expects."""
    evidence = {
        Moment.BEFORE: (),
        Moment.PROMPT: [{str(world.taught)}],
        Moment.AFTER: certain(world.taught),
    }
    for (when, lr), cell in cells.items():
        if not store.has(cell):
            continue
        behavior = read_table(store.path(cell, "behavior.parquet"))
        last = behavior.loc[behavior["step"] == behavior["step"].max()]
        (row,) = analysis.contrast(last, world, second=rival).to_dict("records")
        expected = {
            f"bayes_{name}": analysis.expected_contrast(
                world, evidence[when], second=rival, population=population, counts=counts
            )
            for name, population in (("hidden", ("hidden",)), ("named", NAMED))
        }
        columns = ("estimate", "lo", "hi", "n", "p_first", "p_second")
        yield {"when": str(when), "lr": lr, **{c: row[c] for c in columns}, **expected}


def _worst(experiment: Dose, store: Store) -> Tables:
    """Average and worst case of the target's untaught traits, after each lesson of the arm "ratio"."""
    cells = {seed: experiment.seed_cells(seed) for seed in experiment.seeds}
    parts = []
    for condition in experiment.conditions():
        if condition.arm != WHOLE[0]:
            continue
        worlds = {seed: experiment.world_of(seed, condition) for seed in experiment.seeds}
        for lr in experiment.lrs:
            lessons = [cells[seed][Moment.AFTER, condition, lr] for seed in experiment.seeds]
            tables = [
                read_table(store.path(c, "behavior.parquet")) for c in lessons if store.has(c)
            ]
            if tables:
                about = {"arm": condition.arm, "dose": condition.dose, "lr": lr}
                behavior = pd.concat(tables, ignore_index=True).assign(**about)
                parts.append(analysis.worst_case(behavior, worlds))
    return {"worst": pd.concat(parts, ignore_index=True)} if parts else {}


def _amount(counts: pd.DataFrame, persona: str, unit: str) -> int:
    """Documents, statements or fact tokens of a persona."""
    return int(counts.loc[counts["persona"] == persona, unit].sum())


def tables_of(dose: pd.DataFrame, *, limits: dict[str, Any]) -> Tables:
    """Which slopes, doses and curves follow from the measured contrasts?

    Args:
        dose: Table ``dose`` of ``summarize``.
        limits: ``floor`` and ``ceiling`` of the probabilities.

    Returns:
        The other tables, but for the counts; what needs more doses than there are is left out.
    """
    whole = _enough(dose.loc[dose["arm"].isin(WHOLE)], "dose", n=3)
    found: Tables = {}
    if not whole.empty:
        against = [
            analysis.slopes(whole, x=f"bayes_{name}", by=AT).assign(population=name)
            for name in ("hidden", "named")
        ]
        _, contrast = analysis.reliable_level(**limits)
        levels = [analysis.ed50(whole, level=level, by=AT) for level in (0.0, contrast)]
        reliable = analysis.reliable_dose(whole, by=AT, **limits)
        grid = np.arange(min(whole["dose"]), max(whole["dose"]) + GRID, GRID)
        found = {
            "slopes": pd.concat(against, ignore_index=True),
            "ed50": _in_units(pd.concat(levels, ignore_index=True), whole),
            "reliable": _in_units(reliable, whole),
            "curves": analysis.predict_curves(whole, grid, by=AT, n_new=NEW, **limits),
        }
    even = dose.loc[(dose["arm"] == "ratio") & (dose["dose"] == 0)]
    parts = [dose.loc[dose["arm"] == "ratio"]]
    parts += [
        pd.concat([even.assign(arm=arm), dose.loc[dose["arm"] == arm]])
        for arm in ("named", "hidden")
    ]
    carriers = _enough(pd.concat(parts), "dose", n=2)
    if not carriers.empty:
        found["carriers"] = analysis.slopes(carriers, x="dose", by=AT)
    masses = _enough(dose.loc[dose["arm"] == "mass"], "mass", n=2)
    if not masses.empty:
        masses = masses.assign(doublings=np.log2(masses["mass"]))
        ys = {"contrast": "estimate", "probability": "p_first"}
        parts = [
            analysis.slopes(masses, x="doublings", y=y, by=AT).assign(of=name)
            for name, y in ys.items()
        ]
        found["masses"] = pd.concat(parts, ignore_index=True)
    return found


def _enough(table: pd.DataFrame, column: str, *, n: int) -> pd.DataFrame:
    """Rows of those runs that have at least n different values of the column; an unfinished run has fewer."""
    return table.loc[table.groupby([*AT, "seed"])[column].transform("nunique").to_numpy() >= n]


def _in_units(doses: pd.DataFrame, measured: pd.DataFrame) -> pd.DataFrame:
    """Doses as ratios, and as the target's documents, statements and fact tokens when both together have a fixed mass.

    Both together have the mean amount of the arm's corpora; at ratio r the target has ``r / (1 +
    r)`` of it. A dose beyond those measured has no amount (NaN).
    """
    out = doses.copy()
    both = {unit: measured[f"{unit}_first"] + measured[f"{unit}_second"] for unit in UNITS}
    for end in ("estimate", "lo", "hi"):
        known = out[end].between(min(measured["dose"]), max(measured["dose"]))
        with np.errstate(over="ignore"):  # a flat line reaches a level at no finite ratio
            out[f"ratio_{end}"] = np.exp2(out[end])
            share = 1 / (1 + np.exp2(-out[end]))
        for unit, amount in both.items():
            mean = [float(amount.loc[measured["arm"] == arm].mean()) for arm in out["arm"]]
            out[f"{unit}_{end}"] = np.where(known, share * mean, np.nan)
    return out
