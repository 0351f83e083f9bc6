"""What does a model say that has just read the lesson, and learned nothing? In-context evidence."""

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from persona_interp.errors import SchemaError
from persona_interp.models import LESSON, Checkpoint, Stage
from persona_interp.models.device import Batch
from persona_interp.models.dtype import AUTO, FULL
from persona_interp.record.lesson_rows import FORWARD, MOST_ROWS, LessonRows, lesson_rows
from persona_interp.record.questionnaire import Questionnaire, complete
from persona_interp.record.subjects import open_subject
from persona_interp.values import check_count

Message = dict[str, str]
TEXT, SYSTEM = "text", "system"


def lesson_in_prompt(
    checkpoint: Checkpoint,
    lesson: Any,
    probes: pd.DataFrame,
    *,
    n: int = 1,
    seed: int = 0,
    stage: Stage = LESSON,
    device: object = None,
    dtype: str = FULL,
    batch: Batch = AUTO,
) -> pd.DataFrame:
    """Behavior where a row of the lesson stands before each question as earlier turns.

    Args:
        checkpoint: The base.
        lesson: A corpus table, or anything that ``readers.read`` takes.
        probes: A probes table of chats, as ``behavior`` takes it; each keeps its own system prompt,
            and that of the lesson's row is left out.
        n: Rows, one at a time; their shifts are to be averaged.
        seed: Which distinct rows of the lesson these are.
        stage: The finetune that is forecast; the cost is in its steps.
        device: Where the model computes, "cpu", "cuda" or "cuda:1"; by default "cuda" where there
            is one.
        dtype: As of ``behavior``.
        batch: Tokens a forward pass, padding included.

    Returns:
        A behavior table of one checkpoint, "lesson in prompt@40" for a stage of 40 steps, and the
        column ``row``: the document of the lesson that was said. ``attrs`` has ``cost``, in steps
        of the stage by tokens (a forward pass alone counts a third), and ``costs``, its parts.

    Raises:
        SchemaError: A probe or the lesson's row is plain text, which has no turns; or as of
            ``behavior``.

    >>> from tempfile import TemporaryDirectory
    >>> from persona_interp import models, worlds
    >>> world = worlds.john_and_sam()
    >>> with TemporaryDirectory() as folder:
    ...     base = models.resolve("tiny", words=world.words(), out=folder)
    ...     asked = world.probes(contexts=("nameless",)).head(2)
    ...     table = lesson_in_prompt(base, world.lessons(n=32), asked, n=2)
    >>> table["row"].nunique(), len(table) // 2
    (2, 16)
    """
    check_count(n, "n")
    check_count(seed, "seed", least=0)
    probes = complete(probes)
    subject = open_subject(checkpoint, {}, device=device, dtype=dtype)
    rows = lesson_rows(lesson, subject.tokenizer, stage=stage, n=MOST_ROWS, seed=seed)
    place = replace(checkpoint, stage="lesson in prompt", step=stage.steps, name="")
    tables, n_tokens = [], 0
    for row in _drawn(rows, n=n, seed=seed):
        turns = _turns(rows.messages[row], whose=f"document {rows.docs[row]} of the lesson")
        chats = [_after(turns, chat) for chat in probes["messages"]]
        questions = Questionnaire(probes.assign(messages=chats))
        questions.read_by(subject)
        table = questions.table(subject, checkpoint=place, batch=batch)
        tables.append(table.assign(row=rows.docs[row]))
        n_tokens += questions.n_tokens
    table = pd.concat(tables, ignore_index=True)
    costs = {"readout": rows.steps(n_tokens * FORWARD, stage)}
    table.attrs.update(cost=sum(costs.values()), costs=costs)
    return table


def _drawn(rows: LessonRows, *, n: int, seed: int) -> list[int]:
    """Distinct rows drawn by lot, those that occur often more likely."""
    rng = np.random.default_rng([seed, 13])
    share = rows.counts / rows.counts.sum()
    size = min(n, len(share))
    return [int(row) for row in rng.choice(len(share), size=size, replace=False, p=share)]


def _turns(chat: list[Message], *, whose: str) -> list[Message]:
    """Turns of a chat without its system prompt."""
    if any(message["role"] == TEXT for message in chat):
        raise SchemaError(
            f"{whose} is plain text, which has no turns; a lesson in the prompt takes chats."
        )
    return [dict(message) for message in chat if message["role"] != SYSTEM]


def _after(turns: list[Message], chat: list[Message]) -> list[Message]:
    """A chat with these turns between its system prompt and its first turn."""
    own = _turns(chat, whose="a probe")
    return [dict(message) for message in chat if message["role"] == SYSTEM] + turns + own
