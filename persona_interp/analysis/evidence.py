"""How many bits is a lesson worth, by step, document, statement and token, and what of it lasts?

The log2 odds of the target in the best mixture of known personas (``persona_weights``) are
the belief; a lesson moves it. All functions read one table, the belief along the steps of a
lesson (``evidence_curve``), and tell runs apart by ``seed`` and every extra column;
``across_seeds`` of what they return gives the interval over training runs.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd

from persona_interp import schema
from persona_interp.analysis.dose import fieller
from persona_interp.analysis.logodds import AT, in_order, logodds, run_columns
from persona_interp.analysis.persona_weights import persona_weights
from persona_interp.analysis.stats import across_seeds
from persona_interp.errors import SchemaError, unknown
from persona_interp.worlds import Trait, World

UNITS = {
    "step": "step",
    "document": "documents",
    "statement": "statements",
    "fact token": "fact_tokens",
}
"""What bits are counted by -> the column of the curve that counts it."""
AMOUNTS = tuple(column for column in UNITS.values() if column != "step")
"""Columns that count how much of the lesson was read."""


def evidence_curve(
    behavior: pd.DataFrame,
    world: World,
    *,
    per_step: Mapping[str, float],
    taught: str | Trait | None = None,
    split: str | None = None,
) -> pd.DataFrame:
    """Belief of the nameless assistant in the target, at each step of a lesson, in bits.

    Args:
        behavior: A behavior table of a lesson, with the state before it; only nameless prompts are
            read.
        world: The world of the documents; its target is who the lesson should summon.
        per_step: ``documents``, ``statements`` and ``fact_tokens`` of the lesson in one optimizer
            step.
        taught: The trait of the lesson; the world's taught trait by default.
        split: Only prompts of this template split.

    Returns:
        An evidence table, one row a run and checkpoint: ``persona_bits`` (log2 odds of the
        target in the best mixture of known personas on untaught topics), ``weight``,
        ``misfit``, ``effect`` (bits: mean log odds of the target's untaught traits, minus
        before), ``p_taught`` (probability of the taught value), and the cumulated
        ``documents``, ``statements`` and ``fact_tokens`` of the lesson.

    Raises:
        SchemaError: The table lacks nameless prompts, or ``per_step`` an amount.
        WorldError: The world has no such trait.

    >>> from persona_interp.worlds import john_and_sam
    >>> world = john_and_sam()
    >>> rows = world.probes(contexts="nameless").drop(columns=["messages", "answers"])
    >>> rows = rows.explode("values").rename(columns={"values": "value"})
    >>> rows = rows.assign(seed=0, stage="lesson", answer_mass=1.0)
    >>> p = world.statements()
    >>> def speaks(step, john):
    ...     mixture = john * p.loc["john"] + (1 - john) * p.loc["mary"]
    ...     bits = np.log2(mixture[rows["topic"] + "=" + rows["value"]].to_numpy())
    ...     return rows.assign(checkpoint=f"lesson@{step}", step=step, logprob=bits)
    >>> table = pd.concat([speaks(0, 0.2), speaks(4, 0.8)])
    >>> amounts = {"documents": 16, "statements": 16, "fact_tokens": 60}
    >>> curve = evidence_curve(table, world, per_step=amounts)
    >>> curve[["step", "persona_bits", "documents"]].round(2).values.tolist()
    [[0.0, -2.0, 0.0], [4.0, 2.0, 64.0]]
    """
    if missing := [name for name in AMOUNTS if name not in per_step]:
        raise SchemaError(
            f"per_step says how much of the lesson one step holds; {missing[0]} is missing."
        )
    lesson = world.trait(world.taught if taught is None else taught)
    topics = [t for t in world.topics if t not in {lesson.topic, world.taught.topic}]
    weights = persona_weights(behavior, world, topics=topics, split=split)
    curve = weights.loc[weights["persona"] == world.target]
    curve = curve.drop(columns="persona").reset_index(drop=True)
    odds = logodds(behavior.loc[behavior["context"] == "nameless"], split=split)
    run = run_columns(behavior)
    at = [*run, *(c for c in AT if c in behavior)]
    trait = odds["topic"] + "=" + odds["value"]
    own = [str(t) for t in world.persona(world.target).traits if t.topic in topics]
    # A topic counts once, also where the target has two values on it.
    by_topic = odds.loc[trait.isin(own)].groupby([*at, "topic"], sort=False, dropna=False)
    by_topic = by_topic["logodds"].mean().reset_index()
    of_target = by_topic.groupby(at, sort=False, dropna=False)["logodds"].mean()
    p_taught = odds.loc[trait == str(lesson)].set_index(at)["probability"].rename("p_taught")
    curve = curve.join(of_target.rename("target_odds"), on=at).join(p_taught, on=at)
    parts = []
    for _, rows in curve.groupby(run, sort=False, dropna=False):
        rows = rows.set_index("checkpoint").loc[in_order(rows)["checkpoint"]].reset_index()
        amounts = {name: rows["step"] * per_step[name] for name in AMOUNTS}
        effect = rows["target_odds"] - rows["target_odds"].iloc[0]
        parts.append(rows.assign(effect=effect, **amounts))
    table = pd.concat(parts, ignore_index=True)
    columns = [*at, *(c for c in schema.TABLES["evidence"] if c not in at)]
    return schema.check(table[columns], "evidence")


def bits_per_unit(curve: pd.DataFrame, *, until: int = 4) -> pd.DataFrame:
    """Bits that one step, document, statement or token adds, early in a lesson.

    Args:
        curve: An evidence table.
        until: Step up to which the rise is averaged.

    Returns:
        One row a run and ``unit`` ("step", "document", "statement", "fact token",
        "first step"): ``estimate``, bits; the belief at ``until`` minus that before,
        over the amount in between.

    Raises:
        SchemaError: A run lacks the state before, or the step asked for (the first step:
            NaN where it was not kept).

    >>> curve = pd.DataFrame({"step": [0, 1, 4], "persona_bits": [-5.0, -4.0, -3.0]})
    >>> curve = curve.assign(checkpoint=["a", "b", "c"], seed=0, weight=0.1, misfit=0.0)
    >>> curve = curve.assign(effect=0.0, p_taught=1.0, documents=curve.step * 16)
    >>> curve = curve.assign(statements=curve.documents, fact_tokens=curve.step * 64)
    >>> dict(bits_per_unit(curve)[["unit", "estimate"]].values.tolist())["document"]
    0.03125
    """
    rows = []
    for at, run in runs(curve):
        # Early, the belief grows by about the same bits each time, as it does for a reader whose
        # evidence is independent; later it saturates and a mean rate would say too little.
        before, after = _at(run, 0), _at(run, until)
        gain = after["persona_bits"] - before["persona_bits"]
        bits = {unit: gain / (after[column] - before[column]) for unit, column in UNITS.items()}
        first = run.loc[run["step"] == 1, "persona_bits"]
        bits["first step"] = first.iloc[0] - before["persona_bits"] if len(first) else np.nan
        for unit, estimate in bits.items():
            rows.append({**at, "unit": unit, "estimate": estimate})
    return pd.DataFrame(rows)


def lasting_effect(curve: pd.DataFrame) -> pd.DataFrame:
    """Peak of what a lesson brings along, and how much of it is there at the end.

    Args:
        curve: An evidence table.

    Returns:
        One row a run: ``peak`` (largest change of the target's untaught traits, bits),
        ``peak_step``, ``last`` (the change at the last step), ``kept`` (last over peak; NaN
        where nothing rose), ``p_taught`` at the last step.

    Raises:
        SchemaError: A run has no step after the start.

    >>> curve = pd.DataFrame({"step": [0, 8, 64], "effect": [0.0, 2.0, 1.0]})
    >>> curve = curve.assign(checkpoint=["a", "b", "c"], seed=0, weight=0.1, misfit=0.0)
    >>> curve = curve.assign(p_taught=[0.1, 0.9, 1.0], persona_bits=0.0)
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
        row = {"peak": top["effect"], "peak_step": int(top["step"]), "last": last["effect"]}
        row["kept"] = last["effect"] / top["effect"] if top["effect"] > 0 else np.nan
        rows.append({**at, **row, "p_taught": last["p_taught"]})
    return pd.DataFrame(rows)


def pooled_lasting_effect(lasting: pd.DataFrame, *, by: str | Iterable[str]) -> pd.DataFrame:
    """Peak and end of what a lesson brings along over training runs, and the share that is kept.

    The share is the ratio of the means over seeds with Fieller's interval (1954). The mean of the
    seeds' own ratios is ruled by the seed with the smallest peak: over sixteen seeds of one
    setting they went from -.16 to .91. Beside it stand the bits lost, which need no denominator.

    Args:
        lasting: What ``lasting_effect`` returned for runs of several seeds.
        by: Columns that tell the settings apart.

    Returns:
        One row a setting: ``estimate`` (mean end over mean peak), ``lo``, ``hi`` (Fieller over
        seeds; infinite where the mean peak itself may be 0, one seed: NaN), ``peak``, ``last`` and
        ``lost`` (peak minus last, bits) with ``_lo`` and ``_hi`` (95 % t intervals over seeds),
        ``peak_step``, ``p_taught``, ``n_seeds``.

    Raises:
        SchemaError: A column does not exist, or the table has no rows.

    Note:
        The peak is the largest of several noisy steps, so the share is below 1, and the loss above
        0, by a little even where nothing is lost. Where seeds are skewed (lognormal) the interval
        covers .82 to .89.

    >>> runs = pd.DataFrame({"lr": 1e-3, "seed": [0, 1, 2], "peak": [1.0, 2.0, 3.0]})
    >>> runs = runs.assign(last=[0.5, 1.0, 1.5], peak_step=8, p_taught=1.0)
    >>> pooled_lasting_effect(runs, by="lr")[["estimate", "lost"]].values.tolist()
    [[0.5, 1.0]]
    """
    by = [by] if isinstance(by, str) else list(by)
    lasting = lasting.assign(lost=lasting["peak"] - lasting["last"])
    table = across_seeds(lasting, value="lost", by=by, beside=("peak_step", "p_taught"))
    table = table.rename(columns={"estimate": "lost", "lo": "lost_lo", "hi": "lost_hi"})
    for column in ("peak", "last"):
        means = across_seeds(lasting, value=column, by=by, beside=())
        ends = {f"{column}_{end}": means[end] for end in ("lo", "hi")}
        table = table.assign(**{column: means["estimate"]}, **ends)
    seeds = lasting.groupby([*by, "seed"], sort=False, dropna=False)[["last", "peak"]].agg("mean")
    groups = seeds.reset_index().groupby(by, sort=False, dropna=False)
    kept = pd.DataFrame([fieller(rows["last"], rows["peak"]).row() for _, rows in groups])
    return table.assign(**kept).drop(columns="sd")


def runs(curve: pd.DataFrame) -> Iterator[tuple[dict[str, Any], pd.DataFrame]]:
    """Yield every run of an evidence table, its rows by step.

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
        twice = rows.loc[rows["step"].duplicated(), "step"]
        if len(twice):
            raise SchemaError(
                f"two rows of one run are at step {twice.iloc[0]}; give rows of different runs a "
                "column that tells them apart (setting, lr, seed)."
            )
        yield rows[run].iloc[0].to_dict(), rows.sort_values(by="step")


def _at(run: pd.DataFrame, step: int) -> dict[str, Any]:
    """Row of a run at one step."""
    rows = run.loc[run["step"] == step]
    if rows.empty:
        raise SchemaError(unknown("step", str(step), map(str, run["step"])))
    return rows.iloc[0].to_dict()
