"""What do the finished cells of an order run say, as tables?"""

from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from persona_interp import analysis
from persona_interp.analysis.order import FIRST_LAST, MIXED, SECOND_LAST
from persona_interp.experiments.order.config import PHASES, Order
from persona_interp.schema.words import Moment
from persona_interp.store import Cell, Store
from persona_interp.tables import read_table
from persona_interp.worlds import World

GROUP_COLUMNS = ["lr", "replay", "sft", "when"]


def summarize(experiment: Order, store: Store) -> dict[str, pd.DataFrame]:
    """Tables of what is finished.

    Args:
        experiment: The experiment.
        store: Its run; missing cells leave fewer rows.

    Returns:
        Tables by name, contrasts in bits: ``order`` (one row a seed, condition and moment),
        ``contrasts`` (the same over seeds), ``recency`` (first persona last minus second last),
        ``own`` (probability of a persona's values under its own name, of the one that came
        earlier and of the one that came later, over seeds), ``worst`` (average and worst case
        of the target's untaught traits).
    """
    rows = []
    for seed in experiment.seeds:
        world = experiment.worlds_of(seed)["both"]
        pair = {"first": world.target, "second": experiment.rival}
        for (when, condition), cell in experiment.seed_cells(seed).items():
            if store.has(cell):
                about = {"seed": seed, **condition._asdict(), "when": str(when), **pair}
                rows.append({**about, **_moment(store, cell, world, rival=experiment.rival)})
    if not rows:
        return {}
    return tables_of(pd.DataFrame(rows)) | _worst(experiment, store)


def tables_of(order: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Recency and forgetting that follow from the measured contrasts.

    Args:
        order: Table ``order`` of ``summarize``.

    Returns:
        All tables; what needs both orders is left out where a seed has one.
    """
    tables: dict[str, pd.DataFrame] = {
        "order": order,
        "contrasts": analysis.across_seeds(order, by=[*GROUP_COLUMNS, "order"]),
    }
    complete = order.loc[_in_both_orders(order)]
    if not complete.empty:
        tables["recency"] = analysis.recency(complete, by=GROUP_COLUMNS)
    ordered = order.loc[order["order"] != MIXED]
    if not ordered.empty:
        parts = [_own(ordered, phase, which) for phase, which in enumerate(("earlier", "later"))]
        tables["own"] = analysis.across_seeds(pd.concat(parts), by=[*GROUP_COLUMNS, "which"])
    return tables


def _in_both_orders(order: pd.DataFrame) -> npt.NDArray[np.bool_]:
    """Whether the seed of a row has finished both orders there."""
    names = order.groupby([*GROUP_COLUMNS, "seed"])["order"]
    both = names.transform(lambda own: {FIRST_LAST, SECOND_LAST} <= set(own))
    return both.to_numpy(dtype=bool)


def _moment(store: Store, cell: Cell, world: World, *, rival: str) -> dict[str, Any]:
    """Contrast of the nameless assistant, and what each persona says under its own name."""
    behavior = read_table(store.path(cell, "behavior.parquet"))
    last = behavior.loc[behavior["step"] == behavior["step"].max()]
    (nameless,) = analysis.contrast(last, world, second=rival).to_dict("records")
    row = {column: nameless[column] for column in ("estimate", "lo", "hi", "n")}
    for which, name in (("first", world.target), ("second", rival)):
        own = analysis.contrast(last, world, second=rival, context="named", speaker=name)
        row[f"own_{which}"] = float(own[f"p_{which}"].iloc[0])
    return row


def _worst(experiment: Order, store: Store) -> dict[str, pd.DataFrame]:
    """Average and worst case of the target's untaught traits, after each lesson."""
    worlds = {seed: experiment.worlds_of(seed)["both"] for seed in experiment.seeds}
    cells = {seed: experiment.seed_cells(seed) for seed in experiment.seeds}
    parts = []
    for condition in experiment.conditions():
        lessons = [cells[seed][Moment.AFTER, condition] for seed in experiment.seeds]
        paths = [store.path(cell, "behavior.parquet") for cell in lessons if store.has(cell)]
        if paths:
            behavior = pd.concat([read_table(path) for path in paths], ignore_index=True)
            behavior = behavior.assign(**condition._asdict())
            parts.append(analysis.worst_case(behavior, worlds))
    if not parts:
        return {}
    return {"worst": pd.concat(parts, ignore_index=True)}


def _own(ordered: pd.DataFrame, phase: int, which: str) -> pd.DataFrame:
    """What the persona of this phase says under its own name, in both orders."""
    # In one order the persona of the first phase is the target, in the other the rival.
    who = np.array([PHASES[name][phase] for name in ordered["order"]])
    own = np.where(who == "first", ordered["own_first"], ordered["own_second"])
    return ordered.assign(which=which, estimate=own)
