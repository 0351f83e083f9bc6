"""Where do results live, and which of them can be trusted?

A store is one run folder::

    run.json         configuration of the run; another configuration is refused
    plan.json        cells that the run wants, so that a figure can say n of N
    manifest.jsonl   append-only; a cell exists if and only if it is listed here and its folder
                     is there
    cells/ID/        finished files, never written again
    work/ID/         unfinished files; a killed cell finds them again. Hidden names (".x") are
                     dropped at commit
    failed/ID.txt    traceback of the last failure
    quarantine/      folders that failed their checksums
    log.jsonl        time, host, duration: beside the results, so that equal runs are equal bytes

Commit order is the whole safety argument: files are fsynced in ``work``, the folder is renamed into
``cells``, and only then one manifest line says that it counts. A folder in ``cells`` without a line
was killed between the two; it is moved back to ``work``, because only the task knows whether its
files are complete and no checksum vouches for them.
"""

from persona_interp.store.cell import Cell, lineage
from persona_interp.store.store import Store

__all__ = ["Cell", "Store", "lineage"]
