"""What do the finished cells of an order run say, as tables?"""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pandas as pd

from persona_interp import analysis
from persona_interp.analysis.order import FIRST_LAST, MIXED, SECOND_LAST
from persona_interp.experiments.order import AFTER, PHASES
from persona_interp.store import Store
from persona_interp.tables import read_table

if TYPE_CHECKING:
    from persona_interp.experiments.order import Condition, Order

AT = ["lr", "replay", "sft", "when"]


def summarize(experiment: "Order", store: Store) -> dict[str, pd.DataFrame]:
    """What was found? See ``Order.summarize``."""
    of = [(seed, condition) for seed in experiment.seeds for condition in experiment.conditions()]
    rows = [
        row for seed, condition in of for row in _moments(experiment, store, condition, seed=seed)
    ]
    return tables_of(pd.DataFrame(rows)) | _worst(experiment, store) if rows else {}


def tables_of(order: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Which recency and which forgetting follow from the measured contrasts?

    Args:
        order: Table ``order`` of ``Order.summarize``.

    Returns:
        All tables; what needs both orders is left out where a seed has one.
    """
    found: dict[str, pd.DataFrame] = {
        "order": order,
        "contrasts": analysis.across_seeds(order, by=[*AT, "order"]),
    }
    orders = order.groupby([*AT, "seed"])["order"].transform(
        lambda names: ",".join(sorted({*names} - {MIXED}))
    )
    both = order.loc[orders == ",".join(sorted((FIRST_LAST, SECOND_LAST)))]
    if not both.empty:
        found["recency"] = analysis.recency(both, by=AT)
    ordered = order.loc[order["order"] != MIXED]
    if not ordered.empty:
        parts = [_own(ordered, phase, which) for phase, which in enumerate(("earlier", "later"))]
        found["own"] = analysis.across_seeds(pd.concat(parts), by=[*AT, "which"])
    return found


def _moments(
    experiment: "Order", store: Store, condition: "Condition", *, seed: int
) -> Iterator[dict[str, Any]]:
    """The contrast of the nameless assistant, and what each persona says under its own name, before and after."""
    world, rival = experiment.worlds_of(seed)["both"], experiment.rival
    for when, cell in experiment.of(seed, condition).items():
        if not store.has(cell):
            continue
        behavior = read_table(store.path(cell, "behavior.parquet"))
        last = behavior.loc[behavior["step"] == behavior["step"].max()]
        (nameless,) = analysis.contrast(last, world, second=rival).to_dict("records")
        row = {c: nameless[c] for c in ("estimate", "lo", "hi", "n")}
        for which, name in (("first", world.target), ("second", rival)):
            named = analysis.contrast(last, world, second=rival, context="named", speaker=name)
            row[f"own_{which}"] = float(named[f"p_{which}"].iloc[0])
        yield {
            "seed": seed,
            **condition._asdict(),
            "when": when,
            "first": world.target,
            "second": rival,
            **row,
        }


def _worst(experiment: "Order", store: Store) -> dict[str, pd.DataFrame]:
    """Average and worst case of the target's untaught traits, after each lesson."""
    of_seed, found = {seed: experiment.worlds_of(seed)["both"] for seed in experiment.seeds}, []
    for condition in experiment.conditions():
        cells = [experiment.of(seed, condition)[AFTER] for seed in experiment.seeds]
        said = [
            read_table(store.path(cell, "behavior.parquet")) for cell in cells if store.has(cell)
        ]
        if said:
            table = pd.concat(said, ignore_index=True).assign(**condition._asdict())
            found.append(analysis.worst_case(table, of_seed))
    return {"worst": pd.concat(found, ignore_index=True)} if found else {}


def _own(ordered: pd.DataFrame, phase: int, which: str) -> pd.DataFrame:
    """What the persona of this phase says under its own name, in both orders."""
    columns = [f"own_{PHASES[name][phase]}" for name in ordered["order"]]
    own = [row[column] for (_, row), column in zip(ordered.iterrows(), columns, strict=True)]
    return ordered.assign(which=which, estimate=own)
