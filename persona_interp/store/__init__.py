"""Where do results live, and which of them can be trusted?

A store is one run folder::

    run.json         configuration of the run; another configuration is refused
    plan.json        cells that the run wants, so that a figure can say n of N
    manifest.jsonl   append-only, each line with its checksum; a cell exists if and only if it is
                     listed here and its folder is there; other files of the run are vouched for
    cells/ID/        finished files, never written again, and the cell's own copy of its line
    work/ID/         unfinished files; a killed cell finds them again. Hidden names (".x") are
                     dropped at commit
    failed/ID.txt    traceback of the last failure
    quarantine/      what failed its checksums
    jobs/            logs of jobs on a cluster, and which cells each of them was sent for
    log.jsonl        time, host, duration: beside the results, so that equal runs are equal bytes

Commit order is the whole safety argument: files are fsynced in ``work``, the folder is renamed into
``cells``, and only then one manifest line says that it counts. A folder in ``cells`` without a line
was killed between the two, or its line was lost: ``recover`` lists it again where its own copy of
the line vouches for every file, and else sets it aside. Reading never changes a run folder, and
every file of a cell is hashed before it is read (``Store.path``). ``docs/promises.md`` lists what
is promised, each with its test.
"""

from persona_interp.arguments import doors
from persona_interp.store.cell import Cell, lineage
from persona_interp.store.layout import check_outside, is_run
from persona_interp.store.store import Store
from persona_interp.store.vouched import check, check_listed

__all__ = ["Cell", "Store", "check", "check_listed", "check_outside", "is_run", "lineage"]

globals().update(doors(__name__, globals(), __all__))
