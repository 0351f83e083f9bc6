"""Where does a run compute, and how much at once? No part of what it computes, and yet noted.

Device and batch move no number by more than rounding, so that no cell is named by them and a run
may go on elsewhere; ``run.json`` and the report say where it was computed.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from persona_interp.models.device import describe_device, resolve_batch
from persona_interp.schema.words import MACHINE
from persona_interp.store import Cell, Store, lineage


def settle_machine(cells: Iterable[Cell], store: Store, *, before: Mapping[str, Any] | None) -> str:
    """Words for where a run is computed, by the defaults of this process.

    Args:
        cells: Its cells.
        store: The run.
        before: Configuration of a run that was begun before; None for a new one.

    Returns:
        "cpu, batch auto"; after what was noted before, where that was elsewhere, and that alone
        where nothing is left to compute.
    """
    noted = str((before or {}).get(MACHINE, ""))
    done = set(store.manifest())
    if all(cell.id in done for cell in lineage(cells)):
        return noted
    machines = [words for words in noted.split("; ") if words]
    here = f"{describe_device()}, batch {resolve_batch()}"
    return "; ".join(dict.fromkeys([*machines, here]))
