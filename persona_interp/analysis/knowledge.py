"""How much is known of a persona, and how much is spoken as it?

The operating-system picture of a model (pretraining gives knowledge, the assistant persona runs
what is known) is two numbers: whether text about the persona still says what it likes, and whether
the nameless assistant says so of itself.
"""

import pandas as pd

from persona_interp import schema
from persona_interp.analysis.leak import (
    PLAIN,
    Worlds,
    mean_row,
    persona_moves,
    run_groups,
    world_of,
)
from persona_interp.analysis.logodds import run_columns
from persona_interp.analysis.shift import Step
from persona_interp.errors import SchemaError
from persona_interp.schema.words import NO_TRIGGER
from persona_interp.worlds import Trait

QUANTITIES = {"knowledge": "third", "knowledge, asked": "asked", "agency": PLAIN}
"""Quantity -> the context it is asked in."""
MAY_LACK = "knowledge, asked"
"""What probes without triggers do not ask."""


def knowledge(
    behavior: pd.DataFrame,
    world: Worlds,
    *,
    persona: str | None = None,
    taught: str | Trait | None = None,
    before: Step | None = None,
    after: Step | None = None,
) -> pd.DataFrame:
    """What is known of a persona, apart from whether the nameless assistant speaks as it (bits).

    If pretraining gives knowledge and the assistant persona decides who speaks, a safeguard can
    take the second away and leave the first: "what does John like?" is answered as before.

    Args:
        behavior: A behavior table of ``World.triggers``, or of ``World.probes`` with the contexts
            nameless and third, with at least two checkpoints a run.
        world: As of ``leak``.
        persona: As of ``leak``.
        taught: As of ``leak``.
        before: As of ``leak``.
        after: As of ``leak``.

    Returns:
        A knowledge table, a row a group of runs and ``quantity``: "knowledge" (text about the
        persona, context third), "knowledge, asked" (a chat about it, where the table has the
        context asked) and "agency" (the nameless assistant, no trigger): ``estimate`` (bits, after
        minus before, over all templates) with ``lo``, ``hi`` (95 %, t over seeds; of one seed over
        templates), ``before``, ``after``, ``unit``, ``n``.

    Raises:
        SchemaError: One of both contexts is missing, no checkpoint to compare with, or none of the
            persona's untaught traits was asked for.
        WorldError: There is no such persona or trait.

    >>> from persona_interp.worlds import john_and_sam
    >>> world = john_and_sam()
    >>> rows = world.probes(contexts=("nameless", "third"), personas=["john"])
    >>> rows = rows.drop(columns=["messages", "answers"]).explode("values")
    >>> rows = rows.rename(columns={"values": "value"})
    >>> rows = rows.assign(seed=0, stage="lesson", answer_mass=1.0, logprob=-3.0)
    >>> before = rows.assign(step=0, checkpoint="lesson@0")
    >>> after = rows.assign(step=8, checkpoint="lesson@8")
    >>> johns = {trait.value for trait in world.persona("john").traits}
    >>> after["logprob"] += rows["value"].isin(johns) & (rows["context"] == "nameless")
    >>> knowledge(pd.concat([before, after]), world)[["quantity", "estimate"]].values.tolist()
    [['knowledge', 0.0], ['agency', 1.0]]
    """
    schema.check(behavior, "behavior")
    rows = behavior
    if "trigger" in rows:
        rows = rows.loc[rows["trigger"] == NO_TRIGGER].drop(columns="trigger")
    run = run_columns(rows)
    parts = {}
    for quantity, context in QUANTITIES.items():
        part = rows.loc[rows["context"] == context]
        if quantity == MAY_LACK and part.empty:
            continue
        if context != PLAIN:
            part = part.loc[_is_about(part, world, persona)]
        if part.empty:
            raise SchemaError(
                f"{quantity} is asked in the context '{context}', and this table has none of "
                "the persona; record World.triggers(), or probes of nameless and third."
            )
        parts[quantity] = persona_moves(
            part.assign(trigger=quantity),
            world,
            persona=persona,
            taught=taught,
            before=before,
            after=after,
        )
    table = []
    for head, runs in run_groups(pd.concat(parts.values(), ignore_index=True), run):
        for quantity in parts:
            row = mean_row(runs.loc[runs["trigger"] == quantity])
            table.append({**head, "quantity": quantity, **row})
    return schema.check(pd.DataFrame(table), "knowledge")


def _is_about(rows: pd.DataFrame, world: Worlds, persona: str | None) -> list[bool]:
    """Whether a row tells of the persona, by row."""
    names = {}
    for seed in rows["seed"].unique().tolist():
        names[seed] = world_of(world, seed).target if persona is None else persona
    return [names[s] == who for s, who in zip(rows["seed"], rows["persona"], strict=True)]
