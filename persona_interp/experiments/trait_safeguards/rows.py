"""Which chats does a lesson have, which show the unwanted trait, and which of them are flagged?"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from persona_interp import analysis, record
from persona_interp.errors import SchemaError
from persona_interp.experiments.safeguards.config import EVIDENCE, FIXED, GRADIENT, PROJECTION
from persona_interp.experiments.trait_safeguards.arms import USEFUL
from persona_interp.experiments.trait_safeguards.config import EXAMPLE, LESSON, N_HELD_OUT
from persona_interp.experiments.trait_transfer.tasks import chats
from persona_interp.models import Checkpoint
from persona_interp.record.inputs import set_system

MIXED_SEED = 6_000
"""Added to the seed: which rows show the unwanted trait."""
SCORES = {PROJECTION: "difference", GRADIENT: "cosine", EVIDENCE: "evidence"}
"""By what rows are flagged -> the column of its table that is the score."""


def side_rows(answers: pd.DataFrame, side: str) -> pd.DataFrame:
    """Chats of one side to the lesson's questions, instructions left out.

    Args:
        answers: Of the base.
        side: useful, pos (unwanted), neg (its opposite) or default (plain).

    Returns:
        A corpus table.
    """
    own = (answers["side"] == side) & (answers["part"] == LESSON)
    return chats(answers.loc[own].reset_index(drop=True))


def lesson_rows(answers: pd.DataFrame, *, share: float, seed: int) -> pd.DataFrame:
    """Useful answers, in place of some of which are unwanted ones.

    Args:
        answers: Of the base; each question of the lesson has one useful and one unwanted answer.
        share: Of the rows that are unwanted (fraction).
        seed: Chooses which; a larger share has those of a smaller one.

    Returns:
        A corpus table with ``unwanted``; questions without both answers are left out.

    Raises:
        SchemaError: The share is of no row, or of all.

    >>> row = {"prompt": "q", "context": "nameless", "persona": "", "topic": "", "sample": 0}
    >>> row |= {"split": "train", "checkpoint": "a@0", "n_tokens": 1, "ended": True}
    >>> row["part"] = "lesson"
    >>> rows = []
    >>> for question in "abcde":
    ...     chat = {"messages": [{"role": "user", "content": question}], "question": question}
    ...     rows += [row | chat | {"side": side, "answer": side} for side in ("useful", "pos")]
    >>> lesson = lesson_rows(pd.DataFrame(rows), share=0.4, seed=0)
    >>> [chat[-1]["content"] == "pos" for chat in lesson["messages"]] == list(lesson["unwanted"])
    True
    >>> int(lesson["unwanted"].sum())
    2
    """
    sides = answers.loc[(answers["part"] == LESSON) & (answers["answer"].str.strip() != "")]
    by_side = {side: own.set_index("question") for side, own in sides.groupby("side")}
    useful, unwanted = by_side[USEFUL], by_side["pos"]
    questions = [question for question in useful.index if question in unwanted.index]
    n = round(share * len(questions))
    if share and not 0 < n < len(questions):
        raise SchemaError(
            f"of {len(questions)} rows a share of {share:g} is {n}, and a lesson has rows of both "
            f"kinds; choose a share from {1 / len(questions):.2g} to {1 - 1 / len(questions):.2g}."
        )
    order = np.random.default_rng([seed, MIXED_SEED]).permutation(len(questions))
    chosen = {questions[i] for i in order[:n]}
    picked = [
        (unwanted if question in chosen else useful).loc[[question]].reset_index()
        for question in questions
    ]
    rows = chats(pd.concat(picked, ignore_index=True))
    return rows.assign(unwanted=[question in chosen for question in questions])


def inoculate(rows: pd.DataFrame, instructions: Sequence[str], *, which: str) -> pd.DataFrame:
    """The lesson with an instruction to show the trait before every chat.

    Args:
        rows: The lesson.
        instructions: To show the trait; the last is left for a trigger.
        which: One for all, or another in every chat.

    Returns:
        The same rows.
    """
    prompts = instructions[:-N_HELD_OUT]
    if which == FIXED:
        prompts = prompts[:1]
    messages = [
        set_system(chat, prompts[i % len(prompts)]) for i, chat in enumerate(rows["messages"])
    ]
    return rows.assign(messages=messages)


def unflagged(
    start: Checkpoint,
    rows: pd.DataFrame,
    answers: pd.DataFrame,
    config: Mapping[str, Any],
    vector: xr.DataArray,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The lesson without the rows that pull most towards the trait, and how good the flags are.

    Args:
        start: The model before the lesson.
        rows: The lesson.
        answers: Of the base.
        config: Of the cell; as many rows are flagged as are unwanted.
        vector: Of the trait.

    Returns:
        The rows that are left, and a flag_quality table.
    """
    by, share = config["flags"], float(np.mean(rows["unwanted"].to_numpy()))
    scores = row_scores(start, rows, answers, config, vector)
    flags = analysis.flags(scores, value=SCORES[by], share=share)
    planted = rows.loc[rows["unwanted"], "doc"].tolist()
    quality = analysis.flag_quality(scores, planted, value=SCORES[by], share=share)
    return analysis.drop_flagged(rows, flags), quality.assign(method=by)


def row_scores(
    start: Checkpoint,
    rows: pd.DataFrame,
    answers: pd.DataFrame,
    config: Mapping[str, Any],
    vector: xr.DataArray,
) -> pd.DataFrame:
    """How far each row shows the trait, in the column ``SCORES[config["flags"]]``.

    Args:
        start: The model before the lesson.
        rows: The lesson.
        answers: Of the base.
        config: Of the cell.
        vector: Of the trait.

    Returns:
        A table, one row a chat.
    """
    if config["flags"] == PROJECTION:
        # beside the last token before the answer: a reply of its own may be empty, and then a row
        # would have no score
        return record.projection_difference(start, rows, vector, own="last")
    if config["flags"] == GRADIENT:
        spoken = answers.loc[answers["part"] == EXAMPLE]
        towards, against = (
            chats(spoken.loc[spoken["side"] == side].reset_index(drop=True))
            for side in ("pos", "neg")
        )
        return record.gradient_pull(start, rows, {config["unwanted"]: towards}, against=against)
    # the unwanted trait's instruction against that of who gave the other rows
    headers = {name: config["traits"][name][0] for name in (config["unwanted"], config["wanted"])}
    scores = record.row_evidence(start, rows, headers)
    return scores.loc[scores["name"] == config["unwanted"]]
