"""What is an experiment, at which sizes does it come, and how is one run?

An experiment is a frozen dataclass whose fields are plain values (numbers, texts, tuples), a
`World`, `Stage`s or dataclasses of these. ``cells()`` lists its independent units. Everything else
about it is found by name (``wings``) or said here, once: how it is written into a run folder and
read back, at which sizes it comes, how it is computed, summarized and reported.
"""

import os
from collections.abc import Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from persona_interp.errors import StoreError, WorldError, unknown
from persona_interp.experiments.configuration import from_dict, to_dict
from persona_interp.experiments.days import settle_day, start_of
from persona_interp.experiments.dtypes import settle_dtype
from persona_interp.experiments.machines import settle_machine
from persona_interp.experiments.places import check_place, compute_there
from persona_interp.experiments.reading import CountedStore, counted_figures
from persona_interp.experiments.wings import Wing, wing_named, wing_of, wing_of_config
from persona_interp.models.day import on_day
from persona_interp.models.device import AUTO, Batch, on_device
from persona_interp.models.stage import Stage
from persona_interp.schema.words import DTYPE_CHOICE, MACHINE, TEMPLATE_DAY, On
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
    on: str = On.LOCAL,
    slurm: Mapping[str, str] | None = None,
    wait: bool = True,
    workers: int | None = None,
    device: object = None,
    batch: Batch = AUTO,
    progress: bool = True,
) -> "dict[str, pd.DataFrame]":
    """Tables of an experiment, computed in a run folder.

    Args:
        experiment: The experiment.
        out: Run folder; finished cells are read, missing ones computed.
        on: "local": processes of this machine; "slurm": jobs on a cluster that sees the run folder
            under the same path (docs/elsewhere.md).
        slurm: Options of sbatch, such as ``{"partition": "gpu", "time": "04:00:00"}``.
        wait: Whether to wait for jobs; else the tables are of what is finished by now.
        workers: Processes, one core each; by default all cores, or one for each CUDA device that
            is used; 0 = this process. On Slurm: jobs at a time, by default as many as it lets run.
        device: Where models compute, "cpu", "cuda" or "cuda:1"; by default "cuda" where there is
            one. Workers take turns over all devices unless one is named.
        batch: Tokens a forward pass of whatever is recorded; "auto": what fits into memory.
        progress: Whether to show a progress bar.

    Returns:
        The experiment's tables.

    Raises:
        StoreError: The folder belongs to another configuration, or cells failed; or it is not known
            where to compute, or jobs cannot be sent there.
        ModelError: The start or the device is not there, or a learning rate or batch is none.
    """
    check_place(on, slurm=slurm, wait=wait)
    with on_device(device, batch=batch):
        settled = settle(experiment, out)
        with on_day(settled.day):
            compute_there(
                settled.cells,
                settled.store,
                wing=wing_of(settled.experiment),
                on=on,
                slurm=slurm,
                wait=wait,
                workers=workers,
                progress=progress,
            )
            return summarize(settled.experiment, settled.store)


def plan(experiment: Experiment, out: str | Path) -> Store:
    """Run folder of an experiment that says which cells it wants; none is computed.

    For schedulers other than Slurm: ``persona-interp worker --run OUT --cell ID`` computes a cell.

    Args:
        experiment: The experiment.
        out: Run folder, new or of this experiment.

    Returns:
        Its store; ``planned`` lists the cells, needs first.

    Raises:
        StoreError: The folder belongs to another configuration.
        ModelError: The start is not there.
    """
    settled = settle(experiment, out)
    settled.store.plan(settled.cells)
    return settled.store


class Settled(NamedTuple):
    """An experiment whose run folder is made, and everything that was open settled.

    Attributes:
        experiment: Its dtypes are chosen.
        store: The run, described.
        cells: Of the experiment.
        day: That chat templates print; "" where none does.
    """

    experiment: Any
    store: Store
    cells: list[Cell]
    day: str


def settle(experiment: Any, out: str | Path) -> Settled:
    """Settle by the defaults of this process what an experiment leaves open, and write it down.

    Args:
        experiment: The experiment.
        out: Run folder.

    Returns:
        The experiment, its run and its cells.

    Raises:
        StoreError: The folder belongs to another configuration.
        ModelError: The start is not there, or a learning rate is none.
    """
    # a start that is not there costs one line now, not one failed cell after another
    start = start_of(experiment)
    # so does a learning rate that nothing can be trained with
    for lr in getattr(experiment, "lrs", ()):
        Stage(lr=lr)
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
    return Settled(experiment, store, cells, today)


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
