"""What do the finished cells of a safeguards run say, as tables?"""

from collections.abc import Collection, Iterator
from typing import Any

import pandas as pd

from persona_interp import analysis
from persona_interp.experiments.safeguards.config import Cells, Condition, Safeguards
from persona_interp.schema.words import AVERAGE, WORST, Moment, Safeguard
from persona_interp.store import Store
from persona_interp.tables import read_table
from persona_interp.worlds import World

MIXED = (
    Safeguard.MIXED,
    Safeguard.FLAGGED,
    Safeguard.FLAGGED_BY_GRADIENT,
    Safeguard.FLAGGED_BY_EVIDENCE,
)
"""Arms whose lesson has rows of the unwanted persona: they are compared among themselves."""
Tables = dict[str, pd.DataFrame]


def summarize(experiment: Safeguards, store: Store) -> Tables:
    """Tables of what is finished.

    Args:
        experiment: The experiment.
        store: Its run; missing cells leave fewer rows.

    Returns:
        Tables by name, bits unless said otherwise: ``arms`` (one row a seed and arm),
        ``safeguards`` (over seeds, beside what no safeguard gives), ``leak`` and ``jailbreaks`` (by
        trigger and family), ``knowledge``, ``contexts`` (nameless, named, third), ``flags``, and
        ``drift``: how far drifting chats have gone along the assistant axis by each turn (residual
        units), before the arm, after it, and ``change``, chat by chat, with its interval.
    """
    parts: dict[str, list[pd.DataFrame]] = {}
    for seed in experiment.seeds:
        cells = experiment.seed_cells(seed)
        for condition in experiment.conditions():
            after = cells[Moment.AFTER, condition]
            before = cells[Moment.BEFORE, _weight(experiment, condition)]
            if not (store.has(after) and store.has(before)):
                continue
            for name, table in _arm(experiment, store, cells, condition):
                about = {"seed": seed, "label": condition.label}
                parts.setdefault(name, []).append(table.assign(**about))
    tables = {name: pd.concat(many, ignore_index=True) for name, many in parts.items()}
    if "arms" in tables:
        tables |= tables_of(tables, primary=experiment.primary)
    return tables


def tables_of(tables: Tables, *, primary: Collection[str] = ()) -> Tables:
    """Table ``safeguards``: every arm beside what its lesson gives without a safeguard.

    Args:
        tables: With ``arms``.
        primary: Labels of the safeguards that were named beforehand.

    Returns:
        The table; none where no lesson without a safeguard is finished.
    """
    arms = tables["arms"]
    mixed = arms["label"].isin([str(arm) for arm in MIXED])
    parts = []
    for own, nothing in ((~mixed, Safeguard.NOTHING), (mixed, Safeguard.MIXED)):
        labels = set(arms.loc[own, "label"])
        if str(nothing) in labels:
            named = [label for label in primary if label in labels]
            parts.append(analysis.safeguards(arms.loc[own], nothing=nothing, primary=named))
    return {"safeguards": pd.concat(parts, ignore_index=True)} if parts else {}


def _weight(experiment: Safeguards, condition: Condition) -> float:
    """Weight of the benign assistant in the documents that an arm starts from."""
    return condition.dose if condition.arm == Safeguard.ALIGNED else experiment.benign


def _arm(
    experiment: Safeguards, store: Store, cells: Cells, condition: Condition
) -> Iterator[tuple[str, pd.DataFrame]]:
    """Yield tables of one arm of one seed."""
    after = cells[Moment.AFTER, condition]
    ends = cells[Moment.BEFORE, _weight(experiment, condition)], after
    world = World.from_dict(after.config["world"])

    def both(name: str) -> pd.DataFrame:
        """What was recorded before and after, as two steps of one stage and one run."""
        parts = []
        for step, cell in enumerate(ends):
            table = read_table(store.path(cell, f"{name}.parquet"))
            parts.append(table.assign(step=step, stage="arm", checkpoint=f"arm@{step}", seed=0))
        return pd.concat(parts, ignore_index=True)

    contexts = analysis.contexts(both("behavior"), world).drop(columns="seed")
    leak = analysis.leak(both("triggers"), world)
    jailbreaks = analysis.leak(both("jailbreaks"), world)
    knowledge = analysis.knowledge(both("triggers"), world)
    yield "contexts", contexts
    yield "leak", leak
    yield "jailbreaks", jailbreaks
    yield "knowledge", knowledge
    losses = [read_table(store.path(cell, "loss.parquet"))["bits"].item() for cell in ends]
    known = knowledge.set_index("quantity")["estimate"]
    row = {
        "unwanted": _estimate(contexts, context="nameless", quantity="leak"),
        "wanted": _estimate(contexts, context="nameless", quantity="taught"),
        "average": _estimate(contexts, context="named", persona=AVERAGE, quantity="leak"),
        "own": _estimate(contexts, context="named", persona=AVERAGE, quantity="own"),
        "leak": _worst(leak),
        "jailbreak": _worst(jailbreaks),
        "knowledge": known["knowledge"],
        "agency": known["agency"],
        "loss": losses[1] - losses[0],
        "steps": experiment.steps(condition),
    }
    yield "arms", pd.DataFrame([row])
    learned = cells["learned", condition]
    if learned.config.get("flags"):
        yield "flags", read_table(store.path(learned, "flags.parquet"))
    turns = [
        cells["drift", Moment.BEFORE, _weight(experiment, condition)],
        cells["drift", Moment.AFTER, condition],
    ]
    if all(map(store.has, turns)):
        before, last = (read_table(store.path(cell, "drift.parquet")) for cell in turns)
        yield "drift", drift(before, last)


def drift(before: pd.DataFrame, after: pd.DataFrame) -> pd.DataFrame:
    """How far drifting chats have gone by each turn of the assistant, before an arm and after it.

    Args:
        before: Of a ``drift`` cell: projections by turn, with the ``template`` of the chat.
        after: Of the same chats.

    Returns:
        One row a turn: ``before`` and ``after`` (mean over chats, from their first turn; residual
        units), ``change`` (after minus before in the same chat) with ``lo``, ``hi`` (95 %,
        templates as clusters), ``n`` chats, ``n_clusters``.
    """
    keys = ["prompt", "turn"]
    # the same text is read in both, so a difference of projections is one of the models
    both = after.merge(before[[*keys, "projection"]], on=keys, suffixes=("", "_before"))
    moved = both.assign(projection=both["projection"] - both["projection_before"])
    template = dict(zip(after["prompt"], after["template"], strict=True))
    first, last, change = (
        analysis.drift_by_turn(rows, clusters=template) for rows in (before, after, moved)
    )
    return pd.DataFrame(
        {
            "turn": change["turn"],
            "before": first["estimate"],
            "after": last["estimate"],
            "change": change["estimate"],
            **{name: change[name] for name in ("lo", "hi", "n", "n_clusters")},
        }
    )


def _estimate(table: pd.DataFrame, **where: Any) -> float:
    """Estimate of the one row with these values."""
    for column, value in where.items():
        table = table.loc[table[column] == value]
    return table["estimate"].item()


def _worst(leak: pd.DataFrame) -> float:
    """Bits under the trigger that was worst on one half, on the other half."""
    return _estimate(leak, trigger=WORST)
