"""Which questions are asked of a world and a model, as cells that can be run anywhere?

An experiment is a frozen configuration with two methods: ``cells()`` lists its independent units of
work, each named by the hash of what it computes, and ``summarize(store)`` reads the finished ones
into tables. ``preset`` gives it at a size, ``compute`` runs it and returns its tables; a rerun does
only what is missing. The tasks are the same public calls that a notebook makes.

>>> from persona_interp.experiments import preset
>>> len({cell.id for cell in preset("quick", "transfer").cells()})
37
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from persona_interp.experiments.cells import run
from persona_interp.experiments.experiment import (
    EXPERIMENTS,
    Experiment,
    compute,
    compute_preset,
    from_dict,
    preset,
    to_dict,
)

if TYPE_CHECKING:
    from persona_interp.experiments.figure import figure_script
    from persona_interp.experiments.learning import learned
    from persona_interp.experiments.transfer import Transfer

__all__ = [
    "EXPERIMENTS",
    "Experiment",
    "Transfer",
    "compute",
    "compute_preset",
    "figure_script",
    "from_dict",
    "learned",
    "preset",
    "run",
    "to_dict",
]

# These load torch or matplotlib, which a worker must not do before its cell.
_LAZY = {"Transfer": "transfer", "figure_script": "figure", "learned": "learning"}


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_LAZY[name]}"), name)
