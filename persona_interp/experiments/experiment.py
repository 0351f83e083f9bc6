"""What is an experiment, which are there, and how is one run?

An experiment is a frozen dataclass whose fields are plain values (numbers, texts, tuples), a
`World`, `Stage`s or dataclasses of these. ``cells()`` lists its independent units,
``summarize(store)`` reads the finished ones into tables. Everything else about it is said here,
once: how it is written into a run folder and read back, at which sizes it comes, and how it is
computed.
"""

from collections.abc import Mapping
from dataclasses import fields, is_dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, get_args, get_origin, get_type_hints

from persona_interp.errors import StoreError, WorldError, unknown
from persona_interp.experiments.cells import run
from persona_interp.store import Cell, Store

if TYPE_CHECKING:
    import pandas as pd

EXPERIMENTS = {
    "transfer": "Transfer",
    "dose": "Dose",
    "order": "Order",
    "evidence": "Evidence",
    "summon": "Summon",
    "agreement": "Agreement",
    "generators": "Generators",
    "compare": "Compare",
    "trait_transfer": "TraitTransfer",
}
"""Name of an experiment, its module and its report -> its class. Modules load torch, so they are imported late."""


class Experiment(Protocol):
    """What has every experiment?"""

    @property
    def seeds(self) -> tuple[int, ...]:
        """One run of everything per seed."""
        ...

    def cells(self) -> list[Cell]:
        """Its independent units; each names what it needs."""
        ...

    def summarize(self, store: Store) -> "dict[str, pd.DataFrame]":
        """Tables by name; finished cells are read, missing ones leave fewer rows."""
        ...


def experiment_class(name: str) -> Any:
    """Which class has the experiment of this name?

    Args:
        name: One of ``EXPERIMENTS``.

    Returns:
        The frozen dataclass.

    Raises:
        StoreError: There is no such experiment; the message names the nearest.

    >>> experiment_class("transfer").__name__
    'Transfer'
    """
    if name not in EXPERIMENTS:
        raise StoreError(unknown("experiment", name, EXPERIMENTS))
    return getattr(import_module(f"persona_interp.experiments.{name}"), EXPERIMENTS[name])


def preset(size: str = "quick", experiment: str = "transfer", **changes: Any) -> Any:
    """Which configuration of an experiment has this size?

    Args:
        size: quick (one seed), standard (three) or paper (ten); some experiments have more, see
            their ``PRESETS``.
        experiment: Name of the experiment.
        changes: Fields to set otherwise.

    Returns:
        The experiment.

    Raises:
        StoreError: There is no such experiment.
        WorldError: It has no such preset or field; the message names the nearest.

    >>> preset("quick", seeds=(4,)).seeds
    (4,)
    """
    made = experiment_class(experiment)
    presets = import_module(made.__module__).PRESETS
    if not presets:
        raise WorldError(
            f"'{experiment}' is about models of yours and has no presets: persona-interp "
            f"{experiment} --help."
        )
    if size not in presets:
        raise WorldError(unknown("preset", size, presets))
    names = [f.name for f in fields(made)]
    if wrong := [key for key in changes if key not in names]:
        raise WorldError(unknown(f"setting of the experiment {experiment}:", wrong[0], names))
    return replace(presets[size], **changes)


def compute(
    experiment: Experiment, out: str | Path, *, workers: int | None = None, progress: bool = True
) -> "dict[str, pd.DataFrame]":
    """What does this experiment find?

    Args:
        experiment: The experiment.
        out: Run folder; finished cells are read, missing ones computed.
        workers: Processes, one core each; all cores by default, 0 = this process.
        progress: Whether to show a progress bar.

    Returns:
        The experiment's tables.

    Raises:
        StoreError: The folder belongs to another configuration, or cells failed.
        ModelError: The start is not there.
    """
    start = getattr(experiment, "start", "tiny")
    if (
        start != "tiny"
    ):  # a start that is not there costs one line now, not one failed cell after another
        from persona_interp.models import resolve

        resolve(start)
    store = Store(out)
    store.describe(to_dict(experiment))
    run(experiment.cells(), store, workers=workers, progress=progress)
    return experiment.summarize(store)


def compute_preset(
    name: str, out: str | Path, *, size: str = "quick", workers: int | None = None, **changes: Any
) -> "dict[str, pd.DataFrame]":
    """What does the experiment of this name find at this size? What every figure script computes.

    Args:
        name: Name of the experiment.
        out: Run folder; finished cells are read, missing ones computed.
        size: Name of a preset.
        workers: Processes; all cores by default, 0 = this one.
        changes: Fields of the preset to set otherwise.

    Returns:
        The experiment's tables.
    """
    return compute(preset(size, name, **changes), out, workers=workers)


def to_dict(experiment: Experiment) -> dict[str, Any]:
    """Which plain values say the same as this experiment?

    Args:
        experiment: The experiment.

    Returns:
        JSON-able, with its name as ``experiment``; ``from_dict`` reverses it.

    >>> to_dict(preset("quick"))["experiment"]
    'transfer'
    """
    return {"experiment": type(experiment).__module__.rpartition(".")[2], **_plain(experiment)}


def from_dict(config: Mapping[str, Any]) -> Any:
    """Which experiment do these plain values describe?

    Args:
        config: From ``to_dict``, possibly through JSON.

    Returns:
        The experiment.

    Raises:
        StoreError: There is no such experiment.

    >>> from_dict(to_dict(preset("quick"))) == preset("quick")
    True
    """
    made = experiment_class(str(config["experiment"]))
    return _made({key: value for key, value in config.items() if key != "experiment"}, made)


def _plain(value: Any) -> Any:
    if hasattr(value, "to_dict"):
        return value.to_dict()
    if is_dataclass(value):
        return {f.name: _plain(getattr(value, f.name)) for f in fields(value)}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return {key: _plain(item) for key, item in value.items()} if isinstance(value, dict) else value


def _made(value: Any, hint: Any) -> Any:
    """The value that a field of this type holds, from its plain form: lists are tuples, some mappings are objects."""
    kinds = [hint, *get_args(hint)]
    if isinstance(value, Mapping):
        made: Any = next((kind for kind in kinds if is_dataclass(kind)), None)
        if made is None:
            return value
        if hasattr(made, "from_dict"):
            return made.from_dict(value)
        hints = get_type_hints(made)
        return made(**{key: _made(item, hints[key]) for key, item in value.items()})
    if isinstance(value, list | tuple):
        if hasattr(hint, "_fields"):  # a NamedTuple
            return hint(*value)
        items = get_args(
            next((kind for kind in kinds if get_origin(kind) is tuple), tuple[Any, ...])
        )
        each = [items[0]] * len(value) if items[-1] is Ellipsis else items
        return tuple(_made(item, kind) for item, kind in zip(value, each, strict=True))
    return value
