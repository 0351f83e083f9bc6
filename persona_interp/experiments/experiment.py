"""What is an experiment, at which sizes does it come, and how is one run?

An experiment is a frozen dataclass whose fields are plain values (numbers, texts, tuples), a
`World`, `Stage`s or dataclasses of these. ``cells()`` lists its independent units. Everything else
about it is found by name (``wings``) or said here, once: how it is written into a run folder and
read back, at which sizes it comes, how it is computed, summarized and reported.
"""

import os
from collections.abc import Mapping
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, get_args, get_origin, get_type_hints

from persona_interp.errors import StoreError, WorldError, unknown
from persona_interp.experiments.cells import run
from persona_interp.experiments.days import settle_day, start_of
from persona_interp.experiments.dtypes import settle_dtype
from persona_interp.experiments.machines import settle_machine
from persona_interp.experiments.reading import CountedStore, counted_figures
from persona_interp.experiments.wings import Wing, wing_named, wing_of, wing_of_config
from persona_interp.models.day import on_day
from persona_interp.models.device import AUTO, Batch, on_device
from persona_interp.models.stage import Stage
from persona_interp.schema.words import DTYPE_CHOICE, MACHINE, TEMPLATE_DAY
from persona_interp.store import Cell, Store, check_listed, check_outside, is_run

if TYPE_CHECKING:
    import pandas as pd


class Experiment(Protocol):
    """What every experiment has; beside it stand ``summarize`` and ``blocks``, see ``wings``."""

    @property
    def seeds(self) -> tuple[int, ...]:
        """One run of everything per seed."""
        ...

    def cells(self) -> list[Cell]:
        """Its independent units, of every seed; each names what it needs."""
        ...


def preset(size: str = "quick", experiment: str = "transfer", **changes: Any) -> Any:
    """Configuration of an experiment at this size.

    Args:
        size: quick (one seed), standard (three) or paper (ten); some experiments have more, see
            their ``PRESETS``.
        experiment: Name of the experiment, or ``"path/to/mine.py:Mine"``.
        changes: Fields to set otherwise.

    Returns:
        The experiment.

    Raises:
        StoreError: There is no such experiment.
        WorldError: It has no such preset or field; the message names the nearest.

    >>> preset("quick", seeds=(4,)).seeds
    (4,)
    """
    wing = wing_named(experiment)
    presets = wing.presets
    if not presets:
        raise WorldError(
            f"'{experiment}' is about models of yours and has no presets: persona-interp "
            f"{experiment} --help."
        )
    if size not in presets:
        raise WorldError(unknown("preset", size, presets))
    names = [field.name for field in fields(presets[size])]
    wrong = [key for key in changes if key not in names]
    if wrong:
        raise WorldError(unknown(f"setting of the experiment {experiment}:", wrong[0], names))
    return replace(presets[size], **changes)


def compute(
    experiment: Experiment,
    out: str | Path,
    *,
    workers: int | None = None,
    device: object = None,
    batch: Batch = AUTO,
    progress: bool = True,
) -> "dict[str, pd.DataFrame]":
    """Tables of an experiment, computed in a run folder.

    Args:
        experiment: The experiment.
        out: Run folder; finished cells are read, missing ones computed.
        workers: Processes, one core each; by default all cores, or one for each CUDA device that
            is used; 0 = this process.
        device: Where models compute, "cpu", "cuda" or "cuda:1"; by default "cuda" where there is
            one. Workers take turns over all devices unless one is named.
        batch: Tokens a forward pass of whatever is recorded; "auto": what fits into memory.
        progress: Whether to show a progress bar.

    Returns:
        The experiment's tables.

    Raises:
        StoreError: The folder belongs to another configuration, or cells failed.
        ModelError: The start or the device is not there, or a learning rate or batch is none.
    """
    with on_device(device, batch=batch):
        return _compute(experiment, out, workers=workers, progress=progress)


def _compute(
    experiment: Any, out: str | Path, *, workers: int | None, progress: bool
) -> "dict[str, pd.DataFrame]":
    """Tables of an experiment, computed by the defaults of this process."""
    # a start that is not there costs one line now, not one failed cell after another
    start = start_of(experiment)
    # so does a learning rate that nothing can be trained with
    for lr in getattr(experiment, "lrs", ()):
        Stage(lr=lr)
    wing = wing_of(experiment)
    store = Store(out)
    # before any cell is made, because a cell is named by its configuration
    before = store.config_or_none()
    today = settle_day(start, before=before)
    recorded = None
    if before is not None:
        recorded = {key: before[key] for key in before if key not in (TEMPLATE_DAY, MACHINE)}
    experiment, choice = settle_dtype(experiment, before=recorded, to_dict=to_dict)
    cells = experiment.cells()
    machine = settle_machine(cells, store, before=before)
    settled = {DTYPE_CHOICE: choice, TEMPLATE_DAY: today, MACHINE: machine}
    config = to_dict(experiment) | {key: value for key, value in settled.items() if value}
    store.describe(config, places=["source", *settled])
    with on_day(today):
        run(cells, store, wing=wing, workers=workers, progress=progress)
        return summarize(experiment, store)


def compute_preset(
    name: str,
    out: str | Path,
    *,
    size: str = "quick",
    workers: int | None = None,
    device: object = None,
    batch: Batch = AUTO,
    **changes: Any,
) -> "dict[str, pd.DataFrame]":
    """Tables of the experiment of this name at this size: what every figure script computes.

    Args:
        name: Name of the experiment.
        out: Run folder; finished cells are read, missing ones computed.
        size: Name of a preset.
        workers: As of ``compute``, like the next two.
        device: Where models compute.
        batch: Tokens a forward pass.
        changes: Fields of the preset to set otherwise.

    Returns:
        The experiment's tables.
    """
    experiment = preset(size, name, **changes)
    return compute(experiment, out, workers=workers, device=device, batch=batch)


def summarize(experiment: Experiment, store: Store) -> "dict[str, pd.DataFrame]":
    """Tables of what is finished, by the ``summarize`` of the experiment's wing.

    Args:
        experiment: The experiment.
        store: Its run; missing cells leave fewer rows.

    Returns:
        Tables by name; the wing's ``tables.summarize`` says which.
    """
    check_listed(store.root)
    return wing_of(experiment).function("tables", "summarize")(experiment, store)


def report(run: str | Path, *, out: str | Path | None = None, progress: bool = True) -> Path:
    """Write tables, figures and ``report.html`` of a run again, from its finished cells.

    Args:
        run: The run's folder; it is only read where ``out`` says so, or the folder does not let
            itself be written.
        out: Where they go; into the run's folder by default, and for one that is read-only into
            ``NAME_report`` of the current folder.
        progress: Whether to show how far it is.

    Returns:
        Path of ``report.html``.

    Raises:
        StoreError: There is no run, nothing to report yet, or a file that is read is not the bytes
            that were committed.
    """
    from persona_interp.report import provenance_of  # loads matplotlib

    store = CountedStore.open(run)
    config = store.config()
    wing = wing_of_config(config)
    experiment = from_dict(config)
    check_listed(store.root)
    target = report_folder(store.root, out)
    with on_day(config.get(TEMPLATE_DAY, "")):
        with store.shown(progress=progress):
            tables = wing.function("tables", "summarize")(experiment, store)
        provenance = provenance_of(store, config)
        if not tables:
            raise StoreError(
                f"there is nothing to report of {store.root} yet: no cell that a table is made of "
                "is finished. Run the experiment with this --out."
            )
        with counted_figures(progress=progress) as written:
            page = draw_report(target, tables, provenance=provenance, wing=wing)
    if target == store.root:
        store.vouch(dict.fromkeys(written))
    return page


def report_folder(root: Path, out: str | Path | None) -> Path:
    """Folder that a report of this run goes into.

    Args:
        root: The run.
        out: Where the caller wants it.

    Returns:
        The run's folder by default; for one that is read-only ``NAME_report`` of the current one.

    Raises:
        StoreError: It is another run, or lies in one.
    """
    if out is None:
        return root if os.access(root, os.W_OK) else Path(f"{root.name}_report")
    target = Path(out).expanduser().absolute()
    if target.resolve() == root.resolve():
        return root
    if is_run(target):
        raise StoreError(
            f"{target} is another run, whose own report would be lost; choose another --out."
        )
    check_outside(target)
    return target


def draw_report(
    run: Path,
    tables: "dict[str, pd.DataFrame]",
    *,
    provenance: Mapping[str, Any],
    wing: Wing | None = None,
) -> Path:
    """Write the page of these tables: what the report of their wing says of them.

    Args:
        run: Folder that ``tables/``, ``figures/`` and ``report.html`` are written into.
        tables: What ``summarize`` returned.
        provenance: From ``report.provenance_of``.
        wing: Whose report; that of the provenance's ``experiment`` by default.

    Returns:
        Path of ``report.html``.

    Raises:
        StoreError: There is nothing to report yet.
    """
    from persona_interp.report import write_report  # loads matplotlib

    wing = wing or Wing(provenance["experiment"])
    blocks = wing.function("report", "blocks")(run, tables, provenance=provenance)
    title = getattr(wing.part("report"), "TITLE", wing.name)
    return write_report(run, tables, title=title, blocks=blocks, provenance=provenance)


def to_dict(experiment: Experiment) -> dict[str, Any]:
    """Plain values that say the same as an experiment.

    Args:
        experiment: The experiment.

    Returns:
        JSON-able, with its name as ``experiment`` and, of a user's own, the folder of its file as
        ``source``; ``from_dict`` reverses it.

    >>> to_dict(preset("quick"))["experiment"]
    'transfer'
    """
    wing = wing_of(experiment)
    source = {"source": wing.source} if wing.source else {}
    return {"experiment": wing.name, **source, **_plain(experiment)}


def from_dict(config: Mapping[str, Any]) -> Any:
    """Experiment that these plain values describe.

    Args:
        config: From ``to_dict``, possibly through JSON.

    Returns:
        The experiment.

    Raises:
        StoreError: There is no such experiment.

    >>> from_dict(to_dict(preset("quick"))) == preset("quick")
    True
    """
    wing = wing_of_config(config)
    about = ("experiment", "source", DTYPE_CHOICE, TEMPLATE_DAY, MACHINE)
    values = {key: value for key, value in config.items() if key not in about}
    return _from_plain(values, wing.experiment_class)


def _plain(value: Any) -> Any:
    """JSON-able form of a field; what has ``to_dict`` says it itself."""
    if hasattr(value, "to_dict"):
        return value.to_dict()
    if is_dataclass(value):
        return {field.name: _plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return value


def _from_plain(value: Any, hint: Any) -> Any:
    """Value that a field of this type holds; in plain form tuples are lists, objects mappings."""
    options = [hint, *get_args(hint)]
    if isinstance(value, Mapping):
        return _object_from_plain(value, options)
    if not isinstance(value, list | tuple):
        return value
    if hasattr(hint, "_fields"):  # a NamedTuple
        return hint(*value)
    tuples = [option for option in options if get_origin(option) is tuple]
    items = get_args(tuples[0] if tuples else tuple[Any, ...])
    each = [items[0]] * len(value) if items[-1] is Ellipsis else items
    return tuple(_from_plain(item, kind) for item, kind in zip(value, each, strict=True))


def _object_from_plain(value: Mapping[str, Any], options: list[Any]) -> Any:
    """The mapping itself, or an object of the dataclass among these types."""
    classes = [option for option in options if is_dataclass(option)]
    if not classes:
        return value
    cls: Any = classes[0]
    if hasattr(cls, "from_dict"):
        return cls.from_dict(value)
    hints = get_type_hints(cls)
    return cls(**{key: _from_plain(item, hints[key]) for key, item in value.items()})
