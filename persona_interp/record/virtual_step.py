"""What would one long step along the lesson's gradient do? No weight is moved for good."""

import math
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import pandas as pd

from persona_interp.errors import SchemaError, unknown
from persona_interp.models import LESSON, Checkpoint, Stage
from persona_interp.models.device import Batch
from persona_interp.models.dtype import AUTO, FULL, resolve_dtype
from persona_interp.record.doses import TAUGHT, matching_strength, taught_odds
from persona_interp.record.lesson_direction import follow_lesson, list_numbers, strengths_of
from persona_interp.record.lesson_gradients import DIRECTIONS, SIGN
from persona_interp.record.lesson_rows import (
    FORWARD,
    MOST_ROWS,
    lesson_rows,
)
from persona_interp.record.moved_model import MovedModel, check_sound
from persona_interp.record.questionnaire import Questionnaire
from persona_interp.record.subjects import Subject, open_subject
from persona_interp.schema.words import Predictor
from persona_interp.values import check_count


def virtual_step(
    checkpoint: Checkpoint,
    lesson: Any,
    probes: pd.DataFrame,
    *,
    direction: str = SIGN,
    looks: int = 1,
    strength: float | Iterable[float] | None = None,
    match: float | Iterable[float] = (),
    taught: pd.DataFrame | None = None,
    stage: Stage = LESSON,
    n: int = MOST_ROWS,
    seed: int = 0,
    device: object = None,
    dtype: str = FULL,
    batch: Batch = AUTO,
) -> pd.DataFrame:
    """Behavior after one long step against the lesson's gradient at the base.

    The weights are moved in memory, asked, and put back bit for bit. All strengths share one
    gradient.

    Args:
        checkpoint: The base.
        lesson: A corpus table, or anything that ``readers.read`` takes. The gradient is that of its
            distinct rows, each as often as it occurs.
        probes: A probes table, as ``behavior`` takes it.
        direction: "sign": the gradient over a third of its median size, within -1 and 1. "adam":
            over the root of the mean square of a batch's gradient, as Adam's first steps together
            scale it. "gradient": as it is but for ``stage.clip``, for a stage of plain SGD.
        looks: Times that the gradient is taken: 1 = at the base alone; 2 = once more a little way
            along it, and the directions of all count alike.
        strength: How far every weight is moved at most, or several; by default half the sum of the
            stage's learning rates, and none where ``match`` is given. A stage with adapters has no
            default: there the largest given one takes its place in the search of ``match`` too.
        match: Log odds of the taught values (bits), one or several: the step is as long as it must
            be for these.
        taught: Probes that say when it is, as of ``probes``, with a column ``taught`` that names
            the taught one of each probe's values. A few are enough.
        stage: The finetune that is forecast: batch, loss, clip, path and unit of the cost.
        n: Most rows of the lesson; of one with more distinct ones so many are drawn by lot.
        seed: Of that lot.
        device: Where the model computes, "cpu", "cuda" or "cuda:1"; by default "cuda" where there
            is one.
        dtype: In which the gradient is computed over float32 weights (autocast): "float32",
            "bfloat16", or "auto" for whichever is faster here. Behavior is read in float32.
        batch: Tokens a forward pass, padding included.

    Returns:
        A behavior table of one checkpoint, "virtual step@40" for a stage of 40 steps, with the
        columns ``strength`` and ``match`` (bits; NaN where the strength was given), given strengths
        first. ``attrs`` has ``cost``, in steps of the stage by tokens (a forward pass alone counts
        a third), and ``costs``, its parts: ``gradient``, ``readout`` of all strengths together,
        ``search``.

    Raises:
        SchemaError: An unknown direction, a strength that is no positive number, ``match`` without
            ``taught``, a stage with adapters without ``strength``, or as of ``behavior``.
        ModelError: A strength at which the model computes no numbers, or as of ``models.load``.

    Note:
        In tiny worlds the sign's default step explains .90 of the shifts of untaught traits on
        other bases, Adam's .91, and at 4 bits of the taught trait .90 (docs/log/forecast.md).

    >>> from tempfile import TemporaryDirectory
    >>> from persona_interp import models, worlds
    >>> world = worlds.john_and_sam()
    >>> with TemporaryDirectory() as folder:
    ...     base = models.resolve("tiny", words=world.words(), out=folder)
    ...     asked = world.probes(contexts=("nameless",)).head(2)
    ...     table = virtual_step(base, world.lessons(n=32), asked, strength=(3e-3, 6e-3))
    >>> table["strength"].unique().tolist(), table.attrs["costs"]["search"]
    ([0.003, 0.006], 0.0)
    """
    if direction not in DIRECTIONS:
        raise SchemaError(unknown("direction", direction, DIRECTIONS))
    check_count(looks, "looks")
    check_count(n, "n")
    check_count(seed, "seed", least=0)
    doses = list_numbers(match, "match", least=-math.inf)
    strengths, half_way = strengths_of(strength, stage)
    if strength is None and not doses:
        strengths = [half_way]
    if doses and (taught is None or TAUGHT not in taught):
        raise SchemaError(
            f"match= needs taught=, probes with a column '{TAUGHT}' that names the value which the "
            "lesson teaches: world.probes(...).query('topic == ...').assign(taught=...)."
        )
    questions = Questionnaire(probes)
    subject = open_subject(checkpoint, {}, device=device, dtype=FULL)
    questions.read_by(subject)
    rows = lesson_rows(lesson, subject.tokenizer, stage=stage, n=n, seed=seed)
    moved = follow_lesson(
        subject.model,
        rows,
        direction=direction,
        looks=looks,
        half_way=half_way,
        stage=stage,
        dtype=resolve_dtype(dtype, device),
        batch=batch,
    )
    n_searched = 0
    moves = [(one, math.nan) for one in strengths]
    if doses:
        search = _Search(subject, moved, taught, checkpoint=checkpoint, batch=batch)
        moves += [(matching_strength(search.dose, one, first=half_way), one) for one in doses]
        n_searched = search.n_tokens
    place = replace(checkpoint, stage=str(Predictor.VIRTUAL), step=stage.steps, name="")
    tables = []
    for length, dose in moves:
        with moved.at(length):
            table = questions.table(subject, checkpoint=place, batch=batch)
        check_sound(table, moved=f"at strength {length:g} along the {direction} direction")
        tables.append(table.assign(strength=length, match=dose))
    table = pd.concat(tables, ignore_index=True)
    costs = {
        "gradient": rows.steps(looks * rows.n_tokens, stage),
        "readout": rows.steps(len(moves) * questions.n_tokens * FORWARD, stage),
        "search": rows.steps(n_searched * FORWARD, stage),
    }
    table.attrs.update(cost=sum(costs.values()), costs=costs)
    return table


class _Search:
    """Doses of the taught values at strengths, each computed once."""

    def __init__(
        self, subject: Subject, moved: MovedModel, taught: Any, *, checkpoint: Any, batch: Batch
    ) -> None:
        self._subject, self._moved, self._checkpoint = subject, moved, checkpoint
        self._batch, self._doses = batch, {}
        self._questions = Questionnaire(taught)
        self._questions.read_by(subject)

    def dose(self, strength: float) -> float:
        """Log odds of the taught values at a strength."""
        if strength not in self._doses:
            with self._moved.at(strength):
                table = self._questions.table(
                    self._subject, checkpoint=self._checkpoint, batch=self._batch
                )
            self._doses[strength] = taught_odds(table)
        return self._doses[strength]

    @property
    def n_tokens(self) -> int:
        """Tokens read so far."""
        return len(self._doses) * self._questions.n_tokens
