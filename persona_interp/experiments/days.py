"""On which day does a run happen, where its models' chat templates print today?

Settled when the run begins and kept in ``run.json``, so that a run that is resumed after midnight
asks the same questions.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from persona_interp.models.checkpoint import Checkpoint
from persona_interp.models.day import asks_day, day
from persona_interp.schema.words import TEMPLATE_DAY


def settle_day(start: Checkpoint | None, *, before: Mapping[str, Any] | None) -> str:
    """Day of a run.

    Args:
        start: The model that the run reads text with; None for one that has no template of others.
        before: Configuration of a run that was begun before, whose day stays; None for a new one.

    Returns:
        The day ("2026-11-29"); "" where no template asks for it.
    """
    if before is not None and TEMPLATE_DAY in before:
        return str(before[TEMPLATE_DAY])
    if start is None:
        return ""
    from persona_interp.models.load import load_tokenizer  # loads torch

    return day().date().isoformat() if asks_day(load_tokenizer(start)) else ""


def start_of(experiment: Any) -> Checkpoint | None:
    """Model that an experiment begins with, looked up.

    Args:
        experiment: The experiment.

    Returns:
        Its ``start``, or its ``base`` that was looked up before; None for the tiny model and where
        an experiment has neither.

    Raises:
        ModelError: The start is not there.
    """
    start, base = getattr(experiment, "start", "tiny"), getattr(experiment, "base", None)
    if isinstance(start, str) and start != "tiny":
        from persona_interp.models import resolve

        return resolve(start)
    if isinstance(path := getattr(base, "path", None), str):
        return Checkpoint(Path(path), trusted=getattr(base, "trusted", False))
    return None
