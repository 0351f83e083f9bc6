"""Runs an experiment in a process of its own, to be killed: toy_run.py CONFIG OUT WORKERS."""

import sys
from pathlib import Path

from persona_interp.experiments import from_dict, run
from persona_interp.experiments.wings import wing_of
from persona_interp.store import Store
from persona_interp.tables import read_json

if __name__ == "__main__":
    file, out, workers = sys.argv[1:]
    config = read_json(Path(file))
    toy = from_dict(config)
    wing, cells = wing_of(toy), toy.cells()
    for name in {cell.task for cell in cells}:
        wing.task(name)  # imported now, so that no kill is spent on imports
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    store = Store(out)
    store.describe(config)
    run(cells, store, wing=wing, workers=int(workers), progress=False)
