"""How far did each trait move between two checkpoints? After minus before, in bits."""

from collections.abc import Iterable

import numpy as np
import pandas as pd

from persona_interp import schema
from persona_interp.analysis.logodds import (
    ASKED,
    AT,
    Bits,
    Block,
    blocks,
    chosen_split,
    in_order,
    prompt_odds,
    run_columns,
)
from persona_interp.analysis.stats import cluster_interval
from persona_interp.errors import SchemaError, unknown

Step = str | int
NUMBERS = ("before", "after", "estimate", "lo", "hi", "n")


def shift(
    behavior: pd.DataFrame,
    *,
    before: Step | None = None,
    after: Step | Iterable[Step] | None = None,
    split: str | None = None,
) -> pd.DataFrame:
    """Shift of the log odds of each trait between two checkpoints (bits).

    The log odds of a trait are taken at every template and then averaged, and so is their change.
    (``logodds`` averages probabilities and then takes the odds: of that, the template with the
    largest probability decides alone where templates differ by bits, and no interval over a few
    templates covers: jackknife .71 to .95 at SD 3 bits, this one .94 to .96 at SD 1 and 3, with 5
    and 10 templates; .82 to .87 where shifts of templates are lognormal.) Runs are told apart by
    ``seed`` and every extra column (arm, lr, world); each is compared with itself.

    Args:
        behavior: A behavior table with at least two checkpoints a run.
        before: A checkpoint's label (``"lesson@0"``) or step; the first of the run by default.
            First and last are by step where the run has one stage, in the order of the table where
            it has several.
        after: A label or step, or several; the last of the run by default.
        split: Only prompts of this template split.

    Returns:
        A shift table, one row a run, after-checkpoint, context, persona and trait: ``before``,
        ``after`` (mean over templates of the log odds, bits), ``estimate`` (after minus before),
        ``lo``, ``hi`` (95 %, t interval over templates), ``n`` templates. A template where the
        trait has probability 0 or 1 makes its mean infinite. ``checkpoint`` and ``step`` are the
        after-checkpoint's.

    Raises:
        SchemaError: An unknown checkpoint, a run with only one, or prompts that before and after do
            not share.

    Note:
        The interval is about wording, at fixed weights. Whether another training run would show it
        too is a question for ``across_seeds``.

    >>> rows = pd.DataFrame({"step": [0, 0, 8, 8], "value": ["jazz", "folk"] * 2})
    >>> rows = rows.assign(logprob=np.log2([0.5, 0.5, 0.8, 0.2]), answer_mass=1.0)
    >>> rows = rows.assign(checkpoint="lesson@" + rows["step"].astype(str), seed=0, stage="lesson")
    >>> where = {"context": "nameless", "persona": "", "topic": "music", "template": "a"}
    >>> table = shift(rows.assign(split="test", **where))
    >>> table[["trait", "before", "after", "estimate", "n"]].round(3).values.tolist()
    [['music=jazz', 0.0, 2.0, 2.0, 1], ['music=folk', 0.0, -2.0, -2.0, 1]]
    """
    behavior = chosen_split(behavior, split)
    run = run_columns(behavior)
    pairs = compared(behavior, run, before=before, after=after)
    points = {(r, label) for r, first, lasts in pairs for label in (first, *lasts)}
    number = behavior.groupby(run, sort=False, dropna=False).ngroup()
    mask = [point in points for point in zip(number, behavior["checkpoint"], strict=True)]
    behavior, number = behavior.loc[mask], number[mask].to_numpy()
    labels = behavior["checkpoint"].to_numpy()
    questions = list(zip(*(behavior[c].to_numpy() for c in ASKED), strict=True))
    by_point: dict[tuple[int, str], dict[tuple[str, ...], Block]] = {}
    for block in blocks(behavior, [*run, "checkpoint", *ASKED]):
        point = number[block.row], labels[block.row]
        by_point.setdefault(point, {})[questions[block.row]] = block
    rows, values, numbers = [], [], []
    for r, first, lasts in pairs:
        for last in lasts:
            start, end = by_point[r, first], by_point[r, last]
            check_same(start, end, first=first, last=last)
            for question, block in end.items():
                rows += [block.row] * len(block.values)
                values += block.values
                numbers.append(_difference(start[question], block))
    columns = [*run, *(c for c in AT if c in behavior), *ASKED]
    table = behavior[columns].iloc[rows].reset_index(drop=True)
    table = table.assign(value=values, trait=table["topic"] + "=" + np.array(values, dtype=object))
    for name, parts in zip(NUMBERS, zip(*numbers, strict=True), strict=True):
        table[name] = np.concatenate(parts)
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
                f"{points['checkpoint'].iloc[0]}. Record the state before the lesson too, under "
                "the same seed and extra columns."
            )
        if after is None or isinstance(after, str | int | np.integer):
            lasts = [after]
        else:
            lasts = list(after)
        first = _label(points, before, default=0)
        pairs.append((r, first, [_label(points, last, default=-1) for last in lasts]))
    return pairs


def _label(points: pd.DataFrame, point: Step | None, *, default: int) -> str:
    """Label of the checkpoint with this label or step; by default of that in this place."""
    if point is None:
        return points["checkpoint"].iloc[default]
    if isinstance(point, str):
        if point not in set(points["checkpoint"]):
            raise SchemaError(unknown("checkpoint", point, points["checkpoint"]))
        return point
    at = points.loc[points["step"] == point, "checkpoint"]
    if len(at) != 1:
        raise SchemaError(
            f"{len(at)} checkpoints are at step {point}; name one by its label: "
            f"{', '.join(points['checkpoint'])}."
        )
    return at.iloc[0]


def check_same(
    start: dict[tuple[str, ...], Block], end: dict[tuple[str, ...], Block], *, first: str, last: str
) -> None:
    """Raise unless both sides have the same questions, templates and values."""
    different = sorted(start.keys() ^ end.keys())
    for question, block in end.items():
        if question in start:
            before = start[question]
            if (before.prompts, before.values) != (block.prompts, block.values):
                different.append(question)
    if different:
        context, persona, topic = different[0]
        raise SchemaError(
            f"{first} and {last} were not asked the same: {len(different)} groups of prompts "
            f"differ, for example context={context}, persona={persona or 'nobody'}, topic={topic}. "
            "Record both with the same probes, or select the contexts they share."
        )


def _difference(start: Block, end: Block) -> tuple[Bits, ...]:
    """Columns ``before``, ``after``, ``estimate``, ``lo``, ``hi``, ``n``, one entry a value."""
    before, after = prompt_odds(start.logprob), prompt_odds(end.logprob)
    # A template is its own pair: what its wording does to both sides cancels.
    with np.errstate(invalid="ignore"):  # inf - inf: a move between two certainties is undefined
        mean, lo, hi, n = cluster_interval(after - before, np.arange(len(before)))
        return before.mean(axis=0), after.mean(axis=0), mean, lo, hi, np.full(len(mean), n)
