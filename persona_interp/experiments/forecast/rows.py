"""Which rows of a lesson pull the traits that it does not teach?"""

import math
from collections.abc import Iterable
from typing import Any

import pandas as pd

from persona_interp import models, record, schema
from persona_interp.analysis.beliefs import NAMELESS
from persona_interp.errors import SchemaError
from persona_interp.experiments.forecast.beliefs import SPLIT
from persona_interp.models import LESSON, Checkpoint, Stage, encode
from persona_interp.models.device import AUTO, Batch
from persona_interp.models.load import load_tokenizer
from persona_interp.readers import read
from persona_interp.record.lesson_rows import LessonRows, lesson_rows
from persona_interp.schema.words import RowScore
from persona_interp.values import as_tuple, check_count
from persona_interp.worlds import World

WORDINGS = 1
"""Wordings of each question whose answers' gradients are taken; five say no more than one."""


def forecast_rows(
    base: Any,
    lesson: Any,
    traits: str | Iterable[str],
    *,
    world: World,
    n: int = 3,
    exact: bool = False,
    stage: Stage = LESSON,
    seed: int = 0,
    device: object = None,
    batch: Batch = AUTO,
) -> pd.DataFrame:
    """Rows of a lesson that pull a trait up most, before anybody teaches it.

    Equal chats of a lesson are one row. By gradient a row pulls where its gradient goes along that
    of the answers that show the trait, less those of the topic's other values
    (``record.gradient_pull``); retraining on halves of a lesson agrees with that at about .5, and
    at .2 on the one lesson tried whose rows occur unequally often. With ``exact`` each row is left
    out of a small training (``record.row_pull``), which agrees at about .7 on both and costs a
    dozen finetunes of 40 steps with 30 distinct rows, four times as much with twice as many
    (docs/log/forecast.md).

    Args:
        base: As of ``forecast``.
        lesson: As of ``forecast``.
        traits: Labels of untaught traits.
        world: As of ``forecast``.
        n: Rows of each trait.
        exact: Whether each row is left out in turn.
        stage: How the lesson would be taught.
        seed: Of the rows that are drawn where a lesson has more than 64 distinct ones.
        device: Where the model computes.
        batch: Tokens a forward pass, padding included.

    Returns:
        A forecast_rows table, the ``n`` rows of each trait with the largest pull: ``trait``,
        ``doc`` (the first document with this chat), ``count`` (how many documents have it),
        ``pull``, ``share`` of all rows' pull upwards. ``attrs``: ``cost`` in steps of the lesson,
        by tokens; ``score``, what pulls are; ``n_rows`` among which they were found.

    Raises:
        SchemaError: No trait, an unknown one, or as of ``forecast``.
        ModelError: As of ``models.resolve``.
    """
    check_count(n, "n")
    chats = read(lesson, "chats")
    labels = list(dict.fromkeys(str(world.trait(label)) for label in as_tuple(traits)))
    if not labels:
        raise SchemaError("rows pull traits, and none was named: give traits=['topic=value'].")
    checkpoint = models.resolve(base, words=world.words(), seed=seed)
    rows = lesson_rows(chats, load_tokenizer(checkpoint), stage=stage, seed=seed)
    reading: dict[str, Any] = {"device": device, "batch": batch}
    topics = {label.partition("=")[0] for label in labels}
    probes = world.probes(contexts=NAMELESS)
    probes = probes.loc[(probes["split"] == SPLIT) & probes["topic"].isin(list(topics))]
    if exact:
        asked = probes.reset_index(drop=True)
        pulls = record.row_pull(checkpoint, chats, asked, stage=stage, seed=seed, **reading)
        cost, score = pulls.attrs["cost"], RowScore.LEFT_OUT
    else:
        pulls, cost = _along(checkpoint, rows, _answers(probes), stage=stage, **reading)
        score = RowScore.GRADIENT
    table = _largest(pulls.loc[pulls["trait"].isin(labels)], rows, n=n)
    # in the order of the traits that were named
    table = pd.concat([table.loc[table["trait"] == label] for label in labels], ignore_index=True)
    table.attrs = {"cost": cost, "score": str(score), "n_rows": len(rows.docs)}
    return schema.check(table, "forecast_rows")


def _along(
    checkpoint: Checkpoint, rows: LessonRows, said: pd.DataFrame, *, stage: Stage, **reading: Any
) -> tuple[pd.DataFrame, float]:
    """Pull of every row on every value by gradient, and what it cost in steps of the lesson."""
    chats = pd.DataFrame({"doc": rows.docs, "messages": rows.messages})
    chats = chats.assign(kind="lesson", persona="", statements=[()] * len(chats))
    towards = {str(trait): answers for trait, answers in said.groupby("trait", sort=False)}
    table = record.gradient_pull(checkpoint, chats, towards, **reading)
    products = table.pivot_table(index="doc", columns="name", values="dot", sort=False)
    counts = pd.Series(rows.counts, index=rows.docs)
    parts = []
    for _, answers in said.groupby("topic", sort=False):
        own = products[list(answers["trait"].unique())]
        n = own.shape[1]
        # a value's product less the mean of the topic's other values; a row counts as it occurs
        contrast = (own.mul(n).sub(own.sum(axis=1), axis=0) / (n - 1)).mul(counts, axis=0)
        parts.append(contrast.reset_index().melt("doc", var_name="trait", value_name="pull"))
    pulls = pd.concat(parts, ignore_index=True)
    tokens = encode(load_tokenizer(checkpoint), list(said["messages"]), complete=True)
    return pulls, rows.steps(rows.n_tokens + sum(tokens.lengths), stage)


def _answers(probes: pd.DataFrame) -> pd.DataFrame:
    """Everything that the nameless assistant could answer in a few wordings, as chats."""
    few = probes.loc[probes.groupby("topic").cumcount() < WORDINGS]
    rows = []
    for probe in few.to_dict("records"):
        topic = probe["topic"]
        for value, answer in zip(probe["values"], probe["answers"], strict=True):
            *before, last = probe["messages"]
            turn = {**last, "content": last["content"] + answer}
            row = {"doc": len(rows), "kind": "lesson", "persona": "", "statements": ()}
            row |= {"topic": topic, "trait": f"{topic}={value}", "messages": [*before, turn]}
            rows.append(row)
    return pd.DataFrame(rows)


def _largest(pulls: pd.DataFrame, rows: LessonRows, *, n: int) -> pd.DataFrame:
    """The n rows that pull each trait most, with their share of all pull upwards."""
    upwards = pulls.loc[pulls["pull"] > 0].groupby("trait")["pull"].sum().to_dict()
    counts = dict(zip(rows.docs, rows.counts, strict=True))
    whole = [upwards.get(trait, math.nan) for trait in pulls["trait"]]
    pulls = pulls.assign(
        share=pulls["pull"] / whole, count=[counts[doc] for doc in pulls["doc"]]
    ).sort_values("pull", ascending=False, kind="stable")
    best = pulls.groupby("trait", sort=False).head(n)
    columns = ["trait", "doc", "count", "pull", "share"]
    return best.astype({"count": int}).loc[:, columns].reset_index(drop=True)
