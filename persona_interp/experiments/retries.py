"""Which cells of a run are tried again, from its folder alone?"""

from collections.abc import Mapping
from pathlib import Path

from persona_interp.experiments.places import check_place, compute_there
from persona_interp.experiments.wings import wing_of_config
from persona_interp.models.day import on_day
from persona_interp.models.device import AUTO, Batch, on_device
from persona_interp.schema.words import TEMPLATE_DAY, CellState, On
from persona_interp.store import Cell, Store


def retry(
    run: str | Path,
    *,
    on: str = On.LOCAL,
    slurm: Mapping[str, str] | None = None,
    wait: bool = True,
    workers: int | None = None,
    device: object = None,
    batch: Batch = AUTO,
    progress: bool = True,
) -> list[Cell]:
    """Compute the failed cells of a run again, and those that were not tried because of them.

    Args:
        run: The run folder.
        on: As of ``compute``, like all others.
        slurm: Options of sbatch.
        wait: Whether to wait for jobs.
        workers: Processes; on Slurm jobs at a time.
        device: Where models compute.
        batch: Tokens a forward pass.
        progress: Whether to show a progress bar.

    Returns:
        The cells that were tried; empty where none had failed.

    Raises:
        StoreError: There is no run, its experiment is not here, or cells failed again.
    """
    check_place(on, slurm=slurm, wait=wait)
    store = Store.open(run)
    config, cells = store.config(), failed_cells(store)
    if not cells:
        return []
    with on_device(device, batch=batch), on_day(config.get(TEMPLATE_DAY, "")):
        compute_there(
            cells,
            store,
            wing=wing_of_config(config),
            on=on,
            slurm=slurm,
            wait=wait,
            workers=workers,
            progress=progress,
        )
    return cells


def failed_cells(store: Store) -> list[Cell]:
    """Cells that failed, and those that need them.

    Args:
        store: The run.

    Returns:
        The cells, needs first.
    """
    table = store.status()
    failed = set(table.loc[table.state == CellState.FAILED, "cell"])
    cells: list[Cell] = []
    for cell in store.planned():
        if cell.id in failed or failed & {need.id for need in cell.needs}:
            failed.add(cell.id)
            cells.append(cell)
    return cells
