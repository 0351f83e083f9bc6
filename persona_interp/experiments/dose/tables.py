"""What do the finished cells of a dose run say, as tables?"""

from collections.abc import Iterator
from itertools import product
from typing import Any

import numpy as np
import pandas as pd

from persona_interp import analysis
from persona_interp.analysis.reliable import reliable_level
from persona_interp.experiments.dose.config import (
    HIDDEN_KINDS,
    NAMED_KINDS,
    Condition,
    Dose,
    DoseArm,
)
from persona_interp.schema.words import Moment
from persona_interp.store import Cell, Store
from persona_interp.tables import read_table
from persona_interp.worlds import World, certain

UNITS = ("documents", "statements", "fact_tokens")
WHOLE_ARMS = (DoseArm.RATIO, DoseArm.LATER)
"""Arms in which the ratio is the same in every kind of document, so that one dose says all."""
POPULATIONS = {"hidden": HIDDEN_KINDS, "named": NAMED_KINDS}
"""Population of documents, as columns name it -> the kinds of documents exact Bayes counts."""
GROUP_COLUMNS = ["arm", "when", "lr"]
N_NEW_SEEDS = 3
"""Seeds whose mean is predicted."""
GRID_STEP = 0.25
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
    rows: list[dict[str, Any]] = []
    counts: list[pd.DataFrame] = []
    for seed in experiment.seeds:
        cells = experiment.seed_cells(seed)
        for condition in experiment.conditions():
            documents = cells["documents", condition]
            if not store.has(documents):
                continue
            world = experiment.world_of(seed, condition)
            corpus = read_table(store.path(documents, "counts.parquet"))
            pair = {"first": world.target, "second": experiment.rival}
            about = {"seed": seed, **condition.columns(), **pair}
            counts.append(corpus.assign(**about))
            amounts = _amounts(corpus, pair)
            moments = _moment_cells(cells, condition)
            for row in _moments(store, moments, world, rival=experiment.rival, counts=corpus):
                rows.append({**about, **row, **amounts})
    if not rows:
        return {}
    dose = pd.DataFrame(rows)
    world = experiment.world_of(experiment.seeds[0], experiment.conditions()[0])
    tables = {"dose": dose, **tables_of(dose, limits=limits(world))}
    tables["counts"] = pd.concat(counts, ignore_index=True)
    return tables | _worst(experiment, store)


def limits(world: World) -> dict[str, Any]:
    """Probabilities between which the noise keeps what a persona says.

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
    # A noisy answer is any value of its topic, the persona's own among them, equally often.
    floor = world.noise * float(np.mean([1 / len(values) for values in untaught]))
    return {"floor": floor, "ceiling": 1 - world.noise + floor}


def _moment_cells(
    cells: dict[tuple[Any, ...], Cell], condition: Condition
) -> dict[tuple[Moment, float], Cell]:
    """Cells whose answers are read, by moment and learning rate of the lesson (0 before it)."""
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
    """Yield the contrast at every moment, beside what exact Bayes expects of the same evidence."""
    evidence = {
        Moment.BEFORE: (),
        Moment.PROMPT: [{str(world.taught)}],
        # After a lesson there is no doubt about the taught trait, however often it was said.
        Moment.AFTER: certain(world.taught),
    }
    columns = ("estimate", "lo", "hi", "n", "p_first", "p_second")
    for (when, lr), cell in cells.items():
        if not store.has(cell):
            continue
        behavior = read_table(store.path(cell, "behavior.parquet"))
        last = behavior.loc[behavior["step"] == behavior["step"].max()]
        (contrast,) = analysis.contrast(last, world, second=rival).to_dict("records")
        row = {"when": str(when), "lr": lr}
        row |= {column: contrast[column] for column in columns}
        for name, kinds in POPULATIONS.items():
            row[f"bayes_{name}"] = analysis.expected_contrast(
                world, evidence[when], second=rival, population=kinds, counts=counts
            )
        yield row


def _amounts(counts: pd.DataFrame, pair: dict[str, str]) -> dict[str, int]:
    """Documents, statements and fact tokens of both personas, as columns of a row."""
    amounts = {}
    for unit in UNITS:
        for which, persona in pair.items():
            own = counts.loc[counts["persona"] == persona, unit]
            amounts[f"{unit}_{which}"] = int(own.sum())
    return amounts


def _worst(experiment: Dose, store: Store) -> Tables:
    """Average and worst case of the untaught traits, after each lesson of the arm "ratio"."""
    cells = {seed: experiment.seed_cells(seed) for seed in experiment.seeds}
    conditions = [c for c in experiment.conditions() if c.arm == DoseArm.RATIO]
    parts = []
    for condition, lr in product(conditions, experiment.lrs):
        lessons = [cells[seed][Moment.AFTER, condition, lr] for seed in experiment.seeds]
        paths = [store.path(cell, "behavior.parquet") for cell in lessons if store.has(cell)]
        if not paths:
            continue
        behavior = pd.concat([read_table(path) for path in paths], ignore_index=True)
        behavior = behavior.assign(arm=str(condition.arm), dose=condition.dose, lr=lr)
        worlds = {seed: experiment.world_of(seed, condition) for seed in experiment.seeds}
        parts.append(analysis.worst_case(behavior, worlds))
    if not parts:
        return {}
    return {"worst": pd.concat(parts, ignore_index=True)}


def tables_of(dose: pd.DataFrame, *, limits: dict[str, Any]) -> Tables:
    """Slopes, doses and curves that follow from the measured contrasts.

    Args:
        dose: Table ``dose`` of ``summarize``.
        limits: ``floor`` and ``ceiling`` of the probabilities.

    Returns:
        The other tables, but for the counts; what needs more doses than there are is left out.
    """
    tables = _responses(dose, limits=limits)
    carriers = _carriers(dose)
    if not carriers.empty:
        tables["carriers"] = analysis.slopes(carriers, x="dose", by=GROUP_COLUMNS)
    masses = _with_values(dose.loc[dose["arm"] == DoseArm.MASS], "mass", n=2)
    if not masses.empty:
        tables["masses"] = _per_doubling(masses)
    return tables


def _responses(dose: pd.DataFrame, *, limits: dict[str, Any]) -> Tables:
    """Slopes against exact Bayes, doses that are enough, and fitted curves, of the whole arms."""
    # Two doses fit any line exactly, so a line or curve counts from three doses on.
    whole = _with_values(dose.loc[dose["arm"].isin(WHOLE_ARMS)], "dose", n=3)
    if whole.empty:
        return {}
    slopes = []
    for name in POPULATIONS:
        slope = analysis.slopes(whole, x=f"bayes_{name}", by=GROUP_COLUMNS)
        slopes.append(slope.assign(population=name))
    # Enough is a contrast of 0 (undecided), and that at which an exact reader would be reliable.
    _, contrast = reliable_level(**limits)
    levels = [analysis.ed50(whole, level=level, by=GROUP_COLUMNS) for level in (0.0, contrast)]
    reliable = analysis.reliable_dose(whole, by=GROUP_COLUMNS, **limits)
    grid = np.arange(min(whole["dose"]), max(whole["dose"]) + GRID_STEP, GRID_STEP)
    curves = analysis.predict_curves(whole, grid, by=GROUP_COLUMNS, n_new=N_NEW_SEEDS, **limits)
    return {
        "slopes": pd.concat(slopes, ignore_index=True),
        "ed50": _in_units(pd.concat(levels, ignore_index=True), whole),
        "reliable": _in_units(reliable, whole),
        "curves": curves,
    }


def _carriers(dose: pd.DataFrame) -> pd.DataFrame:
    """Contrasts by dose of the arms whose ratio is in all, in named or in hidden documents."""
    ratio = dose.loc[dose["arm"] == DoseArm.RATIO]
    # At 1:1 the three arms are one model, which is trained for the arm "ratio".
    even = ratio.loc[ratio["dose"] == 0]
    parts = [ratio]
    for arm in (DoseArm.NAMED, DoseArm.HIDDEN):
        parts += [even.assign(arm=str(arm)), dose.loc[dose["arm"] == arm]]
    return _with_values(pd.concat(parts), "dose", n=2)


def _per_doubling(masses: pd.DataFrame) -> pd.DataFrame:
    """Slopes of contrast and probability for each doubling of both personas' documents."""
    masses = masses.assign(doublings=np.log2(masses["mass"]))
    parts = []
    for name, column in {"contrast": "estimate", "probability": "p_first"}.items():
        slope = analysis.slopes(masses, x="doublings", y=column, by=GROUP_COLUMNS)
        parts.append(slope.assign(of=name))
    return pd.concat(parts, ignore_index=True)


def _with_values(table: pd.DataFrame, column: str, *, n: int) -> pd.DataFrame:
    """Rows of the runs that have at least n values of the column; an unfinished run has fewer."""
    n_values = table.groupby([*GROUP_COLUMNS, "seed"])[column].transform("nunique")
    return table.loc[n_values.to_numpy() >= n]


def _in_units(doses: pd.DataFrame, dose: pd.DataFrame) -> pd.DataFrame:
    """Doses as ratios, and as the target's documents, statements and fact tokens.

    Both personas together have the mean amount of the arm's corpora; at ratio r the target has
    ``r / (1 + r)`` of it. A dose beyond those measured has no amount (NaN).
    """
    table = doses.copy()
    both = {unit: dose[f"{unit}_first"] + dose[f"{unit}_second"] for unit in UNITS}
    for end in ("estimate", "lo", "hi"):
        within = table[end].between(min(dose["dose"]), max(dose["dose"]))
        with np.errstate(over="ignore"):  # a flat line reaches a level at no finite ratio
            table[f"ratio_{end}"] = np.exp2(table[end])
            share = 1 / (1 + np.exp2(-table[end]))
        for unit, amount in both.items():
            means = [float(amount.loc[dose["arm"] == arm].mean()) for arm in table["arm"]]
            table[f"{unit}_{end}"] = np.where(within, share * means, np.nan)
    return table
