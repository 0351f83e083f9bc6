"""Where are cells computed: by processes of this machine, or by jobs of a cluster?"""

from collections.abc import Iterable, Mapping

from persona_interp.errors import StoreError, unknown
from persona_interp.experiments.cells import run
from persona_interp.experiments.wings import Wing
from persona_interp.schema.words import On
from persona_interp.store import Cell, Store


def check_place(on: str, *, slurm: Mapping[str, str] | None, wait: bool) -> None:
    """Refuse a place that does not exist, and settings that it does not have.

    Args:
        on: A value of ``On``.
        slurm: Options of sbatch.
        wait: Whether to wait for jobs.

    Raises:
        StoreError: It is none, or here and with settings of Slurm.
    """
    if on not in list(On):
        raise StoreError(unknown("place to compute (--on)", str(on), On))
    if on == On.LOCAL and (slurm or not wait):
        raise StoreError("options of Slurm, and not to wait for jobs, go with --on slurm only.")


def compute_there(
    cells: Iterable[Cell],
    store: Store,
    *,
    wing: Wing,
    on: str = On.LOCAL,
    slurm: Mapping[str, str] | None = None,
    wait: bool = True,
    workers: int | None = None,
    progress: bool = True,
) -> None:
    """Compute the cells of a run, and what they need.

    Args:
        cells: The cells.
        store: The run.
        wing: Whose tasks they are.
        on: "local" or "slurm".
        slurm: Options of sbatch.
        wait: Whether to wait for jobs.
        workers: Processes; on Slurm jobs at a time.
        progress: Whether to show a progress bar.

    Raises:
        StoreError: Cells failed, or cannot be computed there.
    """
    check_place(on, slurm=slurm, wait=wait)
    if on == On.LOCAL:
        run(cells, store, wing=wing, workers=workers, progress=progress)
        return
    from persona_interp.experiments.elsewhere import run_on_slurm

    run_on_slurm(cells, store, options=slurm or {}, most=workers, wait=wait, progress=progress)
