"""Which way would a lesson take a model? Its gradient at the base, and a little further on."""

import math
from collections.abc import Iterable
from typing import Any

from persona_interp.errors import SchemaError, excerpt
from persona_interp.models import Stage
from persona_interp.models.device import Batch
from persona_interp.record.lesson_gradients import ADAM, Weights, direction_of, lesson_gradient
from persona_interp.record.lesson_rows import LessonRows, check_plain, path_length
from persona_interp.record.moved_model import MovedModel

LOOK = 1 / 3
"""Where the gradient is taken once more, as a share of the strength by default."""
HALF_WAY = 0.5
"""Strength by default, as a share of the stage's path."""


def strengths_of(given: float | Iterable[float] | None, stage: Stage) -> tuple[list[float], float]:
    """Strengths that were given, and that of a usual step.

    Args:
        given: How far every weight is moved at most, one or several; None for none.
        stage: How the lesson would be taught.

    Returns:
        The strengths, and half of the stage's path: of one with adapters the largest that was
        given, since how far adapters move says nothing of the weights below them.

    Raises:
        SchemaError: No positive number, or a stage with adapters and no strength.

    >>> strengths_of(None, Stage(steps=4, lr=0.25)), strengths_of(2e-5, Stage(lora=8))
    (([], 0.5), ([2e-05], 2e-05))
    """
    strengths = list_numbers(given, "strength", least=0.0)
    if not stage.lora:
        return strengths, HALF_WAY * path_length(stage)
    if not strengths:
        check_plain(stage, fix="give strength=, some 3e-5 for a model of 135M parameters")
    return strengths, max(strengths)


def follow_lesson(
    model: Any,
    rows: LessonRows,
    *,
    direction: str,
    looks: int,
    half_way: float,
    stage: Stage,
    dtype: str,
    batch: Batch,
) -> MovedModel:
    """Model that can be moved along a lesson's direction; now it stands where it stood.

    Args:
        model: A Hugging Face model.
        rows: Of the lesson.
        direction: As of ``direction_of``.
        looks: Times that the gradient is taken: at the base, then a little way along what was seen
            so far. All directions count alike.
        half_way: Strength of a usual step, of which a look is taken at a third.
        stage: How the lesson would be taught.
        dtype: Of autocast.
        batch: Tokens a forward pass, padding included.

    Returns:
        The model.
    """
    seen: list[Weights] = []
    for _ in range(looks):
        with MovedModel(model, _mean(seen)).at(LOOK * half_way):
            gradient = lesson_gradient(
                model, rows, spread=direction == ADAM, dtype=dtype, batch=batch
            )
        seen.append(direction_of(gradient, direction, stage=stage))
    return MovedModel(model, _mean(seen))


def _mean(directions: list[Weights]) -> Weights:
    """Mean of directions; of none, none."""
    if not directions:
        return {}
    total = {name: part.clone() for name, part in directions[0].items()}
    for direction in directions[1:]:
        for name, part in direction.items():
            total[name] = total[name].add_(part) if name in total else part.clone()
    return {name: part.div_(len(directions)) for name, part in total.items()}


def list_numbers(given: Any, name: str, *, least: float) -> list[float]:
    """One number or several, each finite and above the least.

    Args:
        given: A number, several, or None for none.
        name: What a message calls it.
        least: What they are above.

    Returns:
        The numbers.

    Raises:
        SchemaError: One of them is none such.

    >>> list_numbers(2, "strength", least=0.0), list_numbers(None, "strength", least=0.0)
    ([2.0], [])
    """
    if given is None:
        return []
    numbers = [given] if isinstance(given, int | float) else list(given)
    for number in numbers:
        if not isinstance(number, int | float) or not least < number < math.inf:
            above = f" above {least:g}" if least > -math.inf else ", finite"
            raise SchemaError(f"{name} is a number{above}, or several; got {excerpt(number)}.")
    return [float(number) for number in numbers]
