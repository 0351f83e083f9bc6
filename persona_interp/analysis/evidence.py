"""How many bits is a lesson worth? By optimizer step, document, statement and token, and what of it lasts.

The log2 odds of the target in the best mixture of known personas (``persona_weights``) are the
belief; a lesson moves it. All functions read one table, the belief along the steps of a lesson
(``evidence_curve``), and tell runs apart by ``seed`` and every extra column; ``across_seeds`` of
what they return gives the interval over training runs.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd

from persona_interp import schema
from persona_interp.analysis.logodds import AT, in_order, logodds, run_columns
from persona_interp.analysis.persona_weights import persona_weights
from persona_interp.errors import SchemaError, unknown
from persona_interp.worlds import Trait, World

UNITS = {
    "step": "step",
    "document": "documents",
    "statement": "statements",
    "fact token": "fact_tokens",
}
"""What bits are counted by -> the column of the curve that counts it."""


def evidence_curve(
    behavior: pd.DataFrame,
    world: World,
    *,
    per_step: Mapping[str, float],
    taught: str | Trait | None = None,
    split: str | None = None,
) -> pd.DataFrame:
    """What does the nameless assistant believe itself to be, at each step of a lesson?

    Args:
        behavior: A behavior table of a lesson, with the state before it; only nameless prompts are
            read.
        world: The world of the documents; its target is who the lesson should summon.
        per_step: ``documents``, ``statements`` and ``fact_tokens`` of the lesson in one optimizer
            step.
        taught: The trait of the lesson; the world's taught trait by default.
        split: Only prompts of this template split.

    Returns:
        An evidence table, one row a run and checkpoint: ``persona_bits`` (log2 odds of the target
        in the best mixture of known personas on untaught topics), ``weight``, ``misfit``,
        ``effect`` (bits: mean log odds of the target's untaught traits, minus before), ``p_taught``
        (probability of the taught value), and the cumulated ``documents``, ``statements`` and
        ``fact_tokens`` of the lesson.

    Raises:
        SchemaError: The table lacks nameless prompts, or ``per_step`` an amount.
        WorldError: The world has no such trait.

    >>> from persona_interp.worlds import john_and_sam
    >>> world = john_and_sam()
    >>> rows = world.probes(contexts="nameless").explode("values").rename(columns={"values": "value"})
    >>> rows = rows.drop(columns=["messages", "answers"]).assign(seed=0, stage="lesson", answer_mass=1.0)
    >>> def says(step, john):
    ...     said = john * world.statements().loc["john"] + (1 - john) * world.statements().loc["mary"]
    ...     p = said[rows["topic"] + "=" + rows["value"]].to_numpy()
    ...     return rows.assign(checkpoint=f"lesson@{step}", step=step, logprob=np.log2(p))
    >>> amounts = {"documents": 16, "statements": 16, "fact_tokens": 60}
    >>> curve = evidence_curve(pd.concat([says(0, 0.2), says(4, 0.8)]), world, per_step=amounts)
    >>> curve[["step", "persona_bits", "documents"]].round(2).values.tolist()
    [[0.0, -2.0, 0.0], [4.0, 2.0, 64.0]]
    """
    if missing := [c for c in UNITS.values() if c != "step" and c not in per_step]:
        raise SchemaError(
            f"per_step says how much of the lesson one step holds; {missing[0]} is missing."
        )
    lesson = world.trait(world.taught if taught is None else taught)
    lessons = {lesson.topic, world.taught.topic}
    asked = [t for t in world.topics if t not in lessons]
    weights = persona_weights(behavior, world, topics=asked, split=split)
    curve = (
        weights.loc[weights["persona"] == world.target]
        .drop(columns="persona")
        .reset_index(drop=True)
    )
    said = logodds(behavior.loc[behavior["context"] == "nameless"], split=split)
    at = [*run_columns(behavior), *(c for c in AT if c in behavior)]
    trait = said["topic"] + "=" + said["value"]
    own = [str(t) for t in world.persona(world.target).traits if t.topic in asked]
    mine = (
        said.loc[trait.isin(own)]
        .groupby([*at, "topic"], sort=False, dropna=False)["logodds"]
        .mean()
        .reset_index()
    )
    held = mine.groupby(at, sort=False, dropna=False)["logodds"].mean().rename("held")
    learned = said.loc[trait == str(lesson)].set_index(at)["probability"].rename("p_taught")
    curve = curve.join(held, on=at).join(learned, on=at)
    parts = []
    for _, run in curve.groupby(run_columns(behavior), sort=False, dropna=False):
        run = run.set_index("checkpoint").loc[in_order(run)["checkpoint"]].reset_index()
        amounts = {name: run["step"] * per_step[name] for name in UNITS.values() if name != "step"}
        parts.append(run.assign(effect=run["held"] - run["held"].iloc[0], **amounts))
    table = pd.concat(parts, ignore_index=True)
    return schema.check(
        table[[*at, *(c for c in schema.TABLES["evidence"] if c not in at)]], "evidence"
    )


def bits_per_unit(curve: pd.DataFrame, *, until: int = 4) -> pd.DataFrame:
    """How many bits does one step, document, statement or token of a lesson add, while little is said yet?

    Args:
        curve: An evidence table.
        until: Step up to which the rise is averaged.

    Returns:
        One row a run and ``unit`` ("step", "document", "statement", "fact token", "first step"):
        ``estimate``, bits; the belief at ``until`` minus that before, over the amount in between.

    Raises:
        SchemaError: A run lacks the state before, or the step asked for (the first step: NaN where
            it was not kept).

    >>> curve = pd.DataFrame({"step": [0, 1, 4], "persona_bits": [-5.0, -4.0, -3.0]})
    >>> curve = curve.assign(checkpoint=["a", "b", "c"], seed=0, weight=0.1, misfit=0.0, effect=0.0, p_taught=1.0)
    >>> curve = curve.assign(documents=curve.step * 16, statements=curve.step * 16, fact_tokens=curve.step * 64)
    >>> dict(bits_per_unit(curve)[["unit", "estimate"]].values.tolist())["document"]
    0.03125
    """
    rows = []
    for at, run in runs(curve):
        before, after = _at(run, 0), _at(run, until)
        gained = after["persona_bits"] - before["persona_bits"]
        found = {unit: gained / (after[column] - before[column]) for unit, column in UNITS.items()}
        first = run.loc[run["step"] == 1, "persona_bits"]
        found["first step"] = first.iloc[0] - before["persona_bits"] if len(first) else np.nan
        rows += [{**at, "unit": unit, "estimate": bits} for unit, bits in found.items()]
    return pd.DataFrame(rows)


def lasting_effect(curve: pd.DataFrame) -> pd.DataFrame:
    """How much of what a lesson brought along is still there at its end?

    Args:
        curve: An evidence table.

    Returns:
        One row a run: ``peak`` (largest change of the target's untaught traits, bits),
        ``peak_step``, ``last`` (the change at the last step), ``kept`` (last over peak; NaN where
        nothing rose), ``p_taught`` at the last step.

    Raises:
        SchemaError: A run has no step after the start.

    >>> curve = pd.DataFrame({"step": [0, 8, 64], "effect": [0.0, 2.0, 1.0], "p_taught": [0.1, 0.9, 1.0]})
    >>> curve = curve.assign(checkpoint=["a", "b", "c"], seed=0, weight=0.1, misfit=0.0, persona_bits=0.0)
    >>> curve = curve.assign(documents=0.0, statements=0.0, fact_tokens=0.0)
    >>> lasting_effect(curve).values.tolist()
    [[0.0, 2.0, 8.0, 1.0, 0.5, 1.0]]
    """
    rows = []
    for at, run in runs(curve):
        later = run.loc[run["step"] > 0]
        if later.empty:
            raise SchemaError(
                "a lasting effect needs a step after the start; this run has only the state before."
            )
        top, last = later.loc[later["effect"].idxmax()], later.iloc[-1]
        kept = last["effect"] / top["effect"] if top["effect"] > 0 else np.nan
        found = {
            "peak": top["effect"],
            "peak_step": int(top["step"]),
            "last": last["effect"],
            "kept": kept,
        }
        rows.append({**at, **found, "p_taught": last["p_taught"]})
    return pd.DataFrame(rows)


def runs(curve: pd.DataFrame) -> Iterator[tuple[dict[str, Any], pd.DataFrame]]:
    """Which runs are in an evidence table?

    Args:
        curve: An evidence table.

    Yields:
        The columns that tell the run from others, with their values, and its rows by step.

    Raises:
        SchemaError: It is no evidence table, or two rows of a run are at one step.
    """
    schema.check(curve, "evidence")
    run = [c for c in curve.columns if c not in (*AT, *schema.TABLES["evidence"]) or c == "seed"]
    for _, rows in curve.groupby(run, sort=False, dropna=False):
        if rows["step"].duplicated().any():
            raise SchemaError(
                "two rows of one run are at step "
                f"{rows['step'].loc[rows['step'].duplicated()].iloc[0]}; give rows of "
                "different runs a column that tells them apart (setting, lr, seed)."
            )
        yield rows[run].iloc[0].to_dict(), rows.sort_values(by="step")


def _at(run: pd.DataFrame, step: int) -> dict[str, Any]:
    found = run.loc[run["step"] == step]
    if found.empty:
        raise SchemaError(unknown("step", str(step), map(str, run["step"])))
    return found.iloc[0].to_dict()
