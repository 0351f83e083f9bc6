"""Keep tables of a run in ``docs/results``, each row with the seeds, the commit and the command.

    python benchmarks/keep.py RUN NAME TABLE... --command "persona-interp run evidence ..."

writes ``docs/results/NAME_TABLE.csv`` for each table of the run's ``tables/``. The commit is that
of this checkout, so report the run again with it first (``persona-interp report RUN``).
"""

import argparse
from pathlib import Path

import pandas as pd

from persona_interp.report import provenance_of
from persona_interp.store import Store

RESULTS = Path(__file__).parent.parent / "docs" / "results"


def keep(run: Path, name: str, tables: list[str], *, command: str) -> list[Path]:
    """Files of ``docs/results`` that hold these tables.

    Args:
        run: Run folder, reported.
        name: What their names begin with.
        tables: Names in the run's ``tables/``, without ending.
        command: What computed the run.
    """
    store = Store.open(run)
    made = provenance_of(store, store.config())
    if made["cells_done"] < made["cells"]:
        print(f"{run}: {made['cells_done']} of {made['cells']} cells are done")
    where = {
        "run_seeds": " ".join(map(str, made["seeds"])),
        "commit": made["git"],
        "command": command,
    }
    paths = []
    for table in tables:
        rows = pd.read_csv(run / "tables" / f"{table}.csv").assign(**where)
        path = RESULTS / f"{name}_{table}.csv"
        rows.to_csv(path, index=False, float_format="%.6g")
        paths.append(path)
    return paths


def main() -> None:
    """Print the files that were written."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", type=Path)
    parser.add_argument("name")
    parser.add_argument("tables", nargs="+")
    parser.add_argument("--command", required=True)
    args = parser.parse_args()
    for path in keep(args.run, args.name, args.tables, command=args.command):
        print(path)


if __name__ == "__main__":
    main()
