"""How likely does a model say each value, once template wording is averaged out?

The order matters: within a prompt the topic's answers are renormalized to sum to 1, *then*
probabilities are averaged over templates, *then* odds are taken. Everything is computed in
log space, so that a value at P = 1 - 1e-12 keeps its odds; a probability of exactly 0 or 1
gives -inf or inf, never a clipped number.

This is what is *said* on average, and belongs beside ``World.posterior``. What *moved* is another
question: ``shift`` takes the odds first, at every template, and then the mean over templates,
because of a mean of probabilities that the one template with the largest decides no interval
covers. Both agree where templates are alike.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from persona_interp import schema
from persona_interp.errors import SchemaError, unknown

AT = ("checkpoint", "stage", "step")
"""Columns that name a checkpoint."""
ASKED = ("context", "persona", "topic")
"""Columns that name what a prompt asks."""
PER_PROMPT = ("prompt", "template", "split", "value", "logprob", "answer_mass")
"""Columns that differ from prompt to prompt."""

Bits = npt.NDArray[np.float64]


class Block(NamedTuple):
    """Answers to the prompts of one topic.

    Attributes:
        row: Position of its first row in the behavior table.
        prompts: Names of the prompts, sorted.
        values: Values of the topic.
        logprob: Bits, dims (prompt, value).
        answer_mass: Fraction, dims (prompt).
    """

    row: int
    prompts: tuple[str, ...]
    values: tuple[str, ...]
    logprob: Bits
    answer_mass: npt.NDArray[np.float64]


def run_columns(table: pd.DataFrame) -> list[str]:
    """Columns that tell runs apart: seed, and whatever the user added (arm, lr, world).

    Args:
        table: A behavior table or one made from it.

    Returns:
        Column names, in table order.

    >>> run_columns(pd.DataFrame(columns=["checkpoint", "seed", "step", "topic", "arm", "logprob"]))
    ['seed', 'arm']
    """
    return [c for c in table.columns if c not in (*AT, *ASKED, *PER_PROMPT)]


def in_order(rows: pd.DataFrame, *, run: str = "") -> pd.DataFrame:
    """Checkpoints of runs in the order of training.

    Args:
        rows: Rows with ``checkpoint``, ``stage``, ``step``.
        run: Column that numbers the runs; all rows are of one by default.

    Returns:
        One row a run and checkpoint: by run, and in it by step where there is one stage, in the
        order of the table where there are several.

    >>> rows = pd.DataFrame({"checkpoint": ["a@8", "a@0"], "stage": "a", "step": [8, 0]})
    >>> in_order(rows)["checkpoint"].tolist()
    ['a@0', 'a@8']
    >>> in_order(rows.assign(n=[1, 0]), run="n")["checkpoint"].tolist()
    ['a@0', 'a@8']
    """
    # A step counts within its stage, so steps of several stages have no common order.
    if run:
        points = rows[[run, *AT]].loc[~rows.duplicated([run, "checkpoint"])]
        n_stages = points.groupby(run)["stage"].transform("nunique")
        return points.iloc[np.lexsort((points["step"].where(n_stages == 1, 0), points[run]))]
    points = rows[list(AT)].loc[~rows["checkpoint"].duplicated()]
    if len(set(points["stage"])) > 1:
        return points
    return points.sort_values(by="step", kind="stable")


def chosen_split(behavior: pd.DataFrame, split: str | None) -> pd.DataFrame:
    """Rows of this template split.

    Args:
        behavior: A behavior table.
        split: ``"train"``, ``"test"`` or None for both.

    Returns:
        The rows, all columns.

    Raises:
        SchemaError: No such table, or no such split in it.
    """
    schema.check(behavior, "behavior")
    if split is None:
        return behavior
    splits = behavior["split"].unique()
    if split not in splits:
        raise SchemaError(unknown("split", split, sorted(splits)))
    return behavior.loc[behavior["split"] == split]


def questions(behavior: pd.DataFrame) -> pd.Series:
    """Names of the questions: split and template, which may be numbers.

    Args:
        behavior: A behavior table.

    Returns:
        A text a row, alike in every topic.

    >>> questions(pd.DataFrame({"split": ["test"], "template": [3]})).tolist()
    ['test: 3']
    """
    # as lists: walking through a column of texts takes ten times as long
    names = zip(behavior["split"].tolist(), behavior["template"].tolist(), strict=True)
    return pd.Series([f"{split}: {template}" for split, template in names], index=behavior.index)


def blocks(behavior: pd.DataFrame, by: list[str]) -> list[Block]:
    """Answers to each group of prompts, as arrays.

    Args:
        behavior: A behavior table.
        by: Columns that tell the groups apart; they include ``topic``.

    Returns:
        One block a group, in order of appearance. Prompts are sorted; values are in order of
        appearance.

    Raises:
        SchemaError: A prompt lacks a value of its topic, or has one twice.
    """
    if "prompt" in behavior:
        name = behavior["prompt"]
    else:
        name = questions(behavior)
    prompt, prompts = pd.factorize(name, sort=True, use_na_sentinel=False)
    value, values = pd.factorize(behavior["value"], use_na_sentinel=False)
    group = behavior.groupby(by, sort=False, dropna=False, observed=True).ngroup().to_numpy()
    # One sort instead of a groupby with a pivot in each group: there are many groups. Sorted, the
    # rows of a group are its cells, prompt by prompt.
    order = np.lexsort((value, prompt, group))
    prompt, value, group = prompt[order], value[order], group[order]
    logprob = behavior["logprob"].to_numpy(np.float64)[order]
    mass = behavior["answer_mass"].to_numpy(np.float64)[order]
    is_new_group = np.diff(group, prepend=-1) != 0
    is_new_prompt = is_new_group | (np.diff(prompt, prepend=-1) != 0)
    is_twice = ~is_new_prompt & (np.diff(value, prepend=-1) == 0)
    starts = np.flatnonzero(is_new_group)
    first_rows = np.minimum.reduceat(order, starts)
    sizes = np.bincount(group)
    n_prompts = np.bincount(group, is_new_prompt).astype(int)
    n_values = np.bincount(np.unique(group * len(values) + value) // len(values))
    gaps = np.bincount(group, is_twice | np.isnan(logprob))
    wrong = (sizes != n_prompts * n_values) | (gaps > 0)
    if wrong.any():
        g = int(np.argmax(wrong))
        where = ", ".join(f"{c}={behavior[c].iloc[first_rows[g]]}" for c in by)
        raise SchemaError(
            f"expected every prompt with every value once, got {sizes[g]} rows for {n_prompts[g]} "
            f"prompts x {n_values[g]} values at {where}; give rows of different runs a column that "
            "tells them apart (arm, lr, seed)."
        )
    prompt_names, value_names = np.asarray(prompts, object), np.asarray(values, object)
    parts = []
    for row, start, size, width in zip(first_rows, starts, sizes, n_values, strict=True):
        cells = slice(start, start + size)
        per_prompt = slice(start, start + size, width)
        block = Block(
            int(row),
            tuple(prompt_names[prompt[per_prompt]]),
            tuple(value_names[value[start : start + width]]),
            logprob[cells].reshape(-1, width),
            mass[per_prompt],
        )
        parts.append(block)
    return parts


def prompt_odds(logprob: Bits) -> Bits:
    """Log2 odds of each value at every prompt.

    Args:
        logprob: Bits; dims (..., prompt, value).

    Returns:
        Bits; the same dims. Their mean over prompts is what ``shift`` compares.

    >>> prompt_odds(np.log2([[0.4, 0.4], [0.6, 0.2]])).round(3).tolist()
    [[0.0, 0.0], [1.585, -1.585]]
    """
    return _odds(_within(logprob))


def pooled(logprob: Bits) -> tuple[Bits, Bits]:
    """Log2 probability and log2 odds of each value, over the wording of prompts.

    Args:
        logprob: Bits; dims (..., prompt, value).

    Returns:
        log2 of the mean over prompts of the probability among the values, and its log2
        odds; dims (..., value).

    >>> pooled(np.log2([[0.4, 0.4], [0.6, 0.2]]))[1].round(3).tolist()
    [0.737, -0.737]
    """
    within = _within(logprob)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = np.logaddexp2.reduce(within, axis=-2) - np.log2(within.shape[-2])
    return mean, _odds(mean)


def _pooled(matrices: Sequence[Bits]) -> list[tuple[Bits, Bits]]:
    """What ``pooled`` gives of each matrix; those of one shape are computed together."""
    of_shape: dict[tuple[int, ...], list[int]] = {}
    for i, matrix in enumerate(matrices):
        of_shape.setdefault(matrix.shape, []).append(i)
    results: dict[int, tuple[Bits, Bits]] = {}
    for members in of_shape.values():
        both = pooled(np.stack([matrices[i] for i in members]))
        results |= zip(members, zip(*both, strict=True), strict=True)
    return [results[i] for i in range(len(matrices))]


def _within(logprob: Bits) -> Bits:
    """Log2 probability among the values of a prompt."""
    # First within the prompt: a wording that is often answered by something else altogether
    # would weigh less than the others.
    with np.errstate(invalid="ignore", divide="ignore"):
        return logprob - np.logaddexp2.reduce(logprob, axis=-1, keepdims=True)


def _odds(logprob: Bits) -> Bits:
    """Log2 odds of each value, dims (..., value), of log2 probabilities that sum to 1."""
    # Against the sum of the other values: 1 - P would lose all digits at P near 1.
    others = np.where(np.eye(logprob.shape[-1], dtype=bool), -np.inf, logprob[..., None, :])
    with np.errstate(invalid="ignore", divide="ignore"):
        return logprob - np.logaddexp2.reduce(others, axis=-1)


def logodds(behavior: pd.DataFrame, *, split: str | None = None) -> pd.DataFrame:
    """Probability and log odds of every value, averaged over templates.

    Args:
        behavior: A behavior table.
        split: Only prompts of this template split.

    Returns:
        A logodds table, one row a checkpoint, context, persona, topic and value:
        ``probability`` (fraction, mean over templates of the probability among the topic's
        answers), ``logodds`` (log2 odds of that, bits; positive = more likely than the rest
        together), ``answer_mass`` (fraction). Extra columns stay.

    Raises:
        SchemaError: The table is no behavior table, or a prompt lacks a value.

    >>> rows = pd.DataFrame({"value": ["jazz", "folk"] * 2, "template": list("aabb")})
    >>> rows = rows.assign(logprob=np.log2([0.4, 0.4, 0.6, 0.2]), answer_mass=0.8, split="test")
    >>> rows = rows.assign(checkpoint="base@0", seed=0, stage="base", step=0)
    >>> rows = rows.assign(context="nameless", persona="", topic="music")
    >>> logodds(rows)[["value", "probability", "logodds"]].round(3).values.tolist()
    [['jazz', 0.625, 0.737], ['folk', 0.375, -0.737]]
    """
    behavior = chosen_split(behavior, split)
    by = [*(c for c in AT if c in behavior), *run_columns(behavior), *ASKED]
    rows, values, numbers = [], [], []
    parts = blocks(behavior, by)
    for block, (mean, odds) in zip(parts, _pooled([b.logprob for b in parts]), strict=True):
        rows += [block.row] * len(odds)
        values += block.values
        mass = np.full(len(odds), block.answer_mass.mean())
        numbers.append(np.stack([np.exp2(mean), odds, mass]))
    table = behavior[by].iloc[rows].reset_index(drop=True)
    probability, odds, mass = np.concatenate(numbers, axis=1)
    table = table.assign(value=values, probability=probability, logodds=odds, answer_mass=mass)
    return schema.check(table, "logodds")
