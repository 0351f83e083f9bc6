"""Which questions are asked of a world and a model, as cells that can be run anywhere?

An experiment is a folder here (a wing), always with the same files: ``config`` is a frozen
dataclass whose ``cells()`` lists independent units of work, each named by the hash of what it
computes; ``tasks`` compute them; ``tables`` reads finished ones into tables, and ``report`` puts
these into words and figures. ``preset`` gives an experiment at a size, ``compute`` runs it and
returns its tables; a rerun does only what is missing. The tasks are the same public calls that a
notebook makes.

>>> from persona_interp.experiments import preset
>>> len({cell.id for cell in preset("quick", "transfer").cells()})
40
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from persona_interp.experiments.browser import browse
    from persona_interp.experiments.cells import run
    from persona_interp.experiments.configuration import from_dict, to_dict
    from persona_interp.experiments.estimates import Estimate, estimate
    from persona_interp.experiments.experiment import (
        Experiment,
        compute,
        compute_preset,
        plan,
        preset,
        report,
        summarize,
    )
    from persona_interp.experiments.figure import figure_script
    from persona_interp.experiments.learning import learning_cell
    from persona_interp.experiments.prompting import prompt_cell
    from persona_interp.experiments.retries import retry
    from persona_interp.experiments.wings import wing_names
    from persona_interp.experiments.worker import compute_planned

__all__ = [
    "Estimate",
    "Experiment",
    "browse",
    "compute",
    "compute_planned",
    "compute_preset",
    "estimate",
    "figure_script",
    "from_dict",
    "learning_cell",
    "plan",
    "preset",
    "prompt_cell",
    "report",
    "retry",
    "run",
    "summarize",
    "to_dict",
    "wing_names",
]

TASKS = {"learn": "tasks:learn", "prompt": "tasks:prompt"}
"""Tasks that all experiments share: name, and the function that computes it."""

_HOMES = {
    "browser": ("browse",),
    "cells": ("run",),
    "configuration": ("from_dict", "to_dict"),
    "estimates": ("Estimate", "estimate"),
    "experiment": (
        "Experiment",
        "compute",
        "compute_preset",
        "plan",
        "preset",
        "report",
        "summarize",
    ),
    "figure": ("figure_script",),
    "learning": ("learning_cell",),
    "prompting": ("prompt_cell",),
    "retries": ("retry",),
    "wings": ("wing_names",),
    "worker": ("compute_planned",),
}
"""File here -> names that it gives to this package, loaded when they are first used."""


def __getattr__(name: str) -> Any:
    """Name from the file that it lives in (PEP 562)."""
    for home, names in _HOMES.items():
        if name in names:
            return getattr(import_module(f"{__name__}.{home}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    """Everything that can be asked for, so that tab completion lists it."""
    return sorted({*globals(), *__all__})
