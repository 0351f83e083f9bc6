"""In which precision does a run compute, where its experiment says "auto"?

Settled once, before anything is hashed: cells and ``run.json`` hold what was chosen, never "auto",
so that a run goes on with it on any other machine.
"""

from collections.abc import Mapping
from dataclasses import fields, is_dataclass, replace
from typing import Any

from persona_interp.models.dtype import AUTO, DTYPES, choose_dtype
from persona_interp.schema.words import DTYPE_CHOICE

FIELD = "dtype"
"""What every dataclass with a dtype calls it: ``Stage``, and settings of an experiment."""


def holds_auto(experiment: Any) -> bool:
    """Whether any part of an experiment leaves its dtype open.

    Args:
        experiment: A dataclass, or a part of one.

    Returns:
        True if there is a field ``dtype`` that is "auto".

    >>> from persona_interp.models import Stage
    >>> holds_auto(Stage(dtype="auto")), holds_auto(Stage())
    (True, False)
    """
    if isinstance(experiment, list | tuple):
        return any(holds_auto(part) for part in experiment)
    if not is_dataclass(experiment):
        return False
    if getattr(experiment, FIELD, None) == AUTO:
        return True
    return any(holds_auto(getattr(experiment, field.name)) for field in fields(experiment))


def with_dtype(experiment: Any, dtype: str, *, instead_of: str | None = None) -> Any:
    """The same experiment, computed in this precision.

    Args:
        experiment: A dataclass, or a part of one.
        dtype: Of every part that has one.
        instead_of: Only of parts that have this dtype; of all by default.

    Returns:
        An equal experiment but for its dtypes.

    >>> from persona_interp.models import Stage
    >>> with_dtype(Stage(dtype="auto"), "float32", instead_of="auto").dtype
    'float32'
    """
    if isinstance(experiment, list | tuple) and not hasattr(experiment, "_fields"):
        parts = [with_dtype(part, dtype, instead_of=instead_of) for part in experiment]
        return type(experiment)(parts)
    if not is_dataclass(experiment) or isinstance(experiment, type):
        return experiment
    changes = {}
    for field in fields(experiment):
        value = getattr(experiment, field.name)
        if field.name != FIELD:
            changes[field.name] = with_dtype(value, dtype, instead_of=instead_of)
        elif instead_of in (None, value):
            changes[field.name] = dtype
    changed = {name: value for name, value in changes.items() if value != getattr(experiment, name)}
    return replace(experiment, **changed) if changed else experiment


def settle_dtype(
    experiment: Any, *, before: Mapping[str, Any] | None, to_dict: Any
) -> tuple[Any, str]:
    """The experiment without "auto", and why it is computed in that precision.

    Args:
        experiment: The experiment.
        before: Configuration of a run that was begun before, whose choice stays; None for a new
            one.
        to_dict: Gives the configuration of an experiment.

    Returns:
        The experiment, and words for its provenance; "" where nothing was ever left open.
    """
    config = dict(before or {})
    reason = str(config.pop(DTYPE_CHOICE, ""))
    if not holds_auto(experiment):
        return experiment, reason
    for dtype in DTYPES:
        candidate = with_dtype(experiment, dtype, instead_of=AUTO)
        if to_dict(candidate) == config:
            return candidate, reason
    choice = choose_dtype()
    return with_dtype(experiment, choice.dtype, instead_of=AUTO), str(choice)
