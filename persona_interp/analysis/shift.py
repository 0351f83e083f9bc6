"""How far did each trait move between two checkpoints? After minus before, in bits."""

from collections.abc import Iterable

import numpy as np
import pandas as pd

from persona_interp import schema
from persona_interp.analysis.logodds import (
    ASKED,
    AT,
    Block,
    blocks,
    chosen_split,
    in_order,
    pooled,
    run_columns,
)
from persona_interp.analysis.stats import jackknife
from persona_interp.errors import SchemaError, unknown

Step = str | int


def shift(
    behavior: pd.DataFrame,
    *,
    before: Step | None = None,
    after: Step | Iterable[Step] | None = None,
    split: str | None = None,
) -> pd.DataFrame:
    """Shift of the log odds of each trait between two checkpoints (bits).

    Runs are told apart by ``seed`` and every extra column (arm, lr, world); each is compared with
    itself.

    Args:
        behavior: A behavior table with at least two checkpoints a run.
        before: A checkpoint's label (``"lesson@0"``) or step; the first of the run by default.
            First and last are by step where the run has one stage, in the order of the table where
            it has several.
        after: A label or step, or several; the last of the run by default.
        split: Only prompts of this template split.

    Returns:
        A shift table, one row a run, after-checkpoint, context, persona and trait: ``before``,
        ``after`` (log odds, bits), ``estimate`` (after minus before), ``lo``, ``hi`` (95 %,
        jackknife over prompt templates, t with n - 1 degrees of freedom), ``n`` templates.
        ``checkpoint`` and ``step`` are the after-checkpoint's.

    Raises:
        SchemaError: An unknown checkpoint, a run with only one, or prompts that before and after do
            not share.

    Note:
        The interval is about wording, at fixed weights. Whether another training run would show it
        too is a question for ``across_seeds``.

    >>> rows = pd.DataFrame({"step": [0, 0, 8, 8], "value": ["jazz", "folk"] * 2, "logprob": np.log2([.5, .5, .8, .2])})
    >>> rows = rows.assign(checkpoint="lesson@" + rows.step.astype(str), seed=0, stage="lesson", context="nameless",
    ...                    persona="", topic="music", template="a", split="test", answer_mass=1.0)
    >>> shift(rows)[["trait", "before", "after", "estimate", "n"]].round(3).values.tolist()
    [['music=jazz', 0.0, 2.0, 2.0, 1], ['music=folk', 0.0, -2.0, -2.0, 1]]
    """
    behavior = chosen_split(behavior, split)
    run = run_columns(behavior)
    pairs = compared(behavior, run, before=before, after=after)
    wanted = {(r, label) for r, first, lasts in pairs for label in (first, *lasts)}
    number = behavior.groupby(run, sort=False, dropna=False).ngroup()
    keep = [key in wanted for key in zip(number, behavior["checkpoint"], strict=True)]
    behavior, number = behavior.loc[keep], number[keep].to_numpy()
    found: dict[tuple[int, str], dict[tuple[str, ...], Block]] = {}
    labels, asked = (
        behavior["checkpoint"].to_numpy(),
        list(zip(*(behavior[c] for c in ASKED), strict=True)),
    )
    for block in blocks(behavior, [*run, "checkpoint", *ASKED]):
        found.setdefault((number[block.row], labels[block.row]), {})[asked[block.row]] = block
    rows, parts = [], []
    for r, first, lasts in pairs:
        for last in lasts:
            start, end = found[r, first], found[r, last]
            check_same(start, end, first=first, last=last)
            for key, block in end.items():
                rows += [block.row] * len(block.values)
                parts.append(_difference(start[key], block))
    table = (
        behavior[[*run, *(c for c in AT if c in behavior), *ASKED]]
        .iloc[rows]
        .reset_index(drop=True)
    )
    table = pd.concat([table, pd.concat(parts, ignore_index=True)], axis=1)
    table.insert(
        list(table.columns).index("value") + 1, "trait", table["topic"] + "=" + table["value"]
    )
    return schema.check(table, "shift")


def compared(
    behavior: pd.DataFrame,
    run: list[str],
    *,
    before: Step | None,
    after: Step | Iterable[Step] | None,
) -> list[tuple[int, str, list[str]]]:
    """Every run's number, the label of its checkpoint before and the labels after."""
    pairs = []
    for r, (_, rows) in enumerate(behavior.groupby(run, sort=False, dropna=False)):
        points = in_order(rows)
        if len(points) < 2 and (before is None or after is None):
            names = ", ".join(f"{c}={rows[c].iloc[0]}" for c in run)
            raise SchemaError(
                f"a shift needs two checkpoints; the run with {names} has only "
                f"{points['checkpoint'].iloc[0]}. "
                "Record the state before the lesson too, under the same seed and extra columns."
            )
        lasts = (
            [after] if after is None or isinstance(after, str | int | np.integer) else list(after)
        )
        pairs.append(
            (r, _label(points, before, default=0), [_label(points, a, default=-1) for a in lasts])
        )
    return pairs


def _label(points: pd.DataFrame, wanted: Step | None, *, default: int) -> str:
    if wanted is None:
        return points["checkpoint"].iloc[default]
    if isinstance(wanted, str):
        if wanted not in set(points["checkpoint"]):
            raise SchemaError(unknown("checkpoint", wanted, points["checkpoint"]))
        return wanted
    at = points.loc[points["step"] == wanted, "checkpoint"]
    if len(at) != 1:
        raise SchemaError(
            f"{len(at)} checkpoints are at step {wanted}; name one by its label: "
            f"{', '.join(points['checkpoint'])}."
        )
    return at.iloc[0]


def check_same(
    start: dict[tuple[str, ...], Block], end: dict[tuple[str, ...], Block], *, first: str, last: str
) -> None:
    """Exact join: the same questions, templates and values on both sides."""
    different = sorted(start.keys() ^ end.keys())
    different += [
        k
        for k in end
        if k in start and (start[k].prompts, start[k].values) != (end[k].prompts, end[k].values)
    ]
    if different:
        context, persona, topic = different[0]
        raise SchemaError(
            f"{first} and {last} were not asked the same: {len(different)} groups of prompts "
            "differ, for example "
            f"context={context}, persona={persona or 'nobody'}, topic={topic}. Record both with "
            "the same probes, or "
            "select the contexts they share."
        )


def _difference(start: Block, end: Block) -> pd.DataFrame:
    """Both log odds and their difference; dims (value)."""
    before, after = pooled(start.logprob)[1], pooled(end.logprob)[1]
    n = len(end.prompts)
    with np.errstate(invalid="ignore"):  # inf - inf: a move between two certainties is undefined
        left = [
            pooled(np.delete(end.logprob, i, 0))[1] - pooled(np.delete(start.logprob, i, 0))[1]
            for i in range(n)
        ]
        moved = jackknife(after - before, left if n > 1 else [])
    columns = {"value": end.values, "before": before, "after": after, "estimate": moved.estimate}
    return pd.DataFrame({**columns, "lo": moved.lo, "hi": moved.hi, "n": n})
