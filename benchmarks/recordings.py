"""Does a training's memory grow with its tokens? Of residuals on the disk, and in memory.

    python benchmarks/recordings.py [--rows 50000,200000] [--width 256] [--checkpoints 4]
        [--steps 40] [--where disk,memory]

Recordings of random residuals are written; a crosscoder and a finetune are trained on them in fresh
processes, once from the recordings and once from the same rows in memory. Printed is the most
memory of each process beyond what it had before the training, without pages of mapped files, which
the system takes back when it needs them, and CPU seconds.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

os.environ["OMP_NUM_THREADS"] = "1"

import numpy as np
import torch

from persona_interp.dictionaries import ActStore, crosscoder, finetune, fit
from persona_interp.dictionaries.act_shards import Shape, Writer, read_index
from persona_interp.dictionaries.act_store import KEY
from persona_interp.models.cache import keep

HOOK = "blocks.0.hook_out"
STATUS = Path("/proc/self/status")
SHARD_ROWS = 20_000
TRAIN: dict[str, Any] = {"d_sae": 128, "k": 8, "batch": 1024}


def write(folder: Path, n: int, width: int, seed: int) -> ActStore:
    """A recording of random rows."""
    folder.mkdir(parents=True)
    shape = Shape(folder.name, width, "float32", n, SHARD_ROWS)
    facts = {"checkpoints": [f"step{seed}"], "weights": [str(seed)], "token_ids": ["random"]}
    facts |= {"mask": "", "hook": HOOK, "n_tokens": n, "n_documents": n, "where": ["text"]}
    keep({"hook": HOOK, "shape": shape._asdict(), "provenance": facts}, folder / KEY)
    docs = np.arange(n, dtype=np.int32)
    writer = Writer(folder, shape, docs, np.zeros(n, np.int32))
    generator = torch.Generator().manual_seed(seed)
    for at in range(0, n, SHARD_ROWS):
        rows = torch.randn(min(SHARD_ROWS, n - at), width, generator=generator)
        writer.append(rows, at)
    writer.close()
    read_index(folder, shape)
    return ActStore(folder)


def memory() -> int:
    """Bytes of this process that are no pages of files."""
    lines = STATUS.read_text().splitlines()
    (line,) = (line for line in lines if line.startswith("RssAnon:"))
    return int(line.split()[1]) * 1024


def train(folders: list[Path], what: str, where: str, steps: int) -> None:
    """Train in this process, and print the most memory and the CPU seconds of it."""
    torch.set_num_threads(1)
    stores = [ActStore(folder) for folder in folders]
    # what is loaded and allocated once counts for nothing
    few = fit(residuals=torch.randn(1, 2048, stores[0].shape[1]), steps=2, hook=HOOK, **TRAIN)
    peak, done = [before := memory()], threading.Event()

    def watch() -> None:
        while not done.wait(0.005):
            peak[0] = max(peak[0], memory())

    watcher = threading.Thread(target=watch)
    watcher.start()
    began = time.process_time()
    rows = stores if where == "disk" else torch.stack([store[:] for store in stores])
    if what == "crosscoder":
        crosscoder(residuals=rows, steps=steps, rounds=0, hook=HOOK, **TRAIN)
    else:
        finetune(few, rows, k=8, steps=steps, batch=1024)
    seconds = time.process_time() - began
    done.set()
    watcher.join()
    print(peak[0] - before, seconds)


def main() -> None:
    """Write recordings, train on them in processes of their own, print a line each."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rows", default="50000,200000")
    parser.add_argument("--width", type=int, default=256)
    parser.add_argument("--checkpoints", type=int, default=4)
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--where", default="disk,memory")
    parser.add_argument("--train", nargs="+", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.train:
        what, where, *folders = args.train
        train([Path(folder) for folder in folders], what, where, args.steps)
        return
    for n in map(int, args.rows.split(",")):
        with tempfile.TemporaryDirectory() as out:
            folders = [str(Path(out) / str(i)) for i in range(args.checkpoints)]
            for i, folder in enumerate(folders):
                write(Path(folder), n, args.width, i)
            for what in ("crosscoder", "finetune"):
                for where in args.where.split(","):
                    command = [sys.executable, __file__, "--steps", str(args.steps), "--train"]
                    command += [what, where, *folders]
                    done = subprocess.run(command, check=True, capture_output=True, text=True)
                    most, seconds = map(float, done.stdout.split())
                    print(
                        f"{what:<10} {n:>9,} tokens from {where:<6}: {most / 2**20:8.1f} MiB, "
                        f"{most / n:6.0f} bytes a token; {seconds:.1f} CPU seconds",
                        flush=True,
                    )


if __name__ == "__main__":
    main()
