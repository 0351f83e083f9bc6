"""Runs an experiment in a process of its own, to be killed: toy_run.py CONFIG OUT WORKERS."""

import sys
from pathlib import Path

from persona_interp.experiments import compute, from_dict
from persona_interp.experiments.wings import wing_of
from persona_interp.tables import read_json

if __name__ == "__main__":
    config, out, workers = sys.argv[1:]
    toy = from_dict(read_json(Path(config)))
    for name in {cell.task for cell in toy.cells()}:
        wing_of(toy).task(name)  # imported now, so that no kill is spent on imports
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    compute(toy, out, workers=int(workers), progress=False)
