"""Trains a few steps, and again where something went wrong; a process of its own, because it forks.

toy_training.py faults START CORPUS OUT STEP FAULT..., or toy_training.py train START CORPUS OUT.
"""

import errno
import json
import os
import sys
from collections.abc import Iterable
from importlib import import_module
from itertools import count
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from persona_interp.models import Checkpoint, Stage, train
from tests.faults import DIED, Strike, arm, code, die, fail, fill, fork, limit_files, tear

trainer = import_module("persona_interp.models.trainer")
QUICK: dict[str, Any] = {"stage": Stage(steps=4, batch=2), "snapshots": (2,)}
LONG: dict[str, Any] = {
    "stage": Stage(steps=150, lr=1e-3, lora=4, replay=0.5, kl=0.5),
    "snapshots": (50, 100),
}
FAULTS: dict[str, Strike] = {
    "full": fail(errno.ENOSPC),
    "broken": fail(errno.EIO),
    "dead": die,
    "full from there": fill(0),
    "full after 100 bytes": fill(100),
    "full after 20 kB": fill(20_000),
    "torn at once": tear(0),
    "torn after 100 bytes": tear(100),
    "torn after 20 kB": tear(20_000),
}


def faults(
    start: Checkpoint, corpus: pd.DataFrame, out: Path, step: int, names: Iterable[str]
) -> None:
    """These faults at every step-th call; beside each folder stands what happened."""

    def plain(folder: Path) -> None:
        train(start, corpus, out=folder, progress=False, **QUICK)

    def suffer(folder: Path, n: int, strike: Strike) -> None:
        calls_left = arm(n, strike)
        what = attempt(folder)
        limit_files()
        if calls_left() > 0:
            os._exit(0)
        folder.with_suffix(".fault").write_text(what)
        os._exit(DIED)

    def attempt(folder: Path) -> str:
        try:
            plain(folder)
        except Exception as error:
            return f"{type(error).__name__}: {error}"
        return "nothing"

    def again(folder: Path) -> None:
        folder.with_suffix(".again").write_text(attempt(folder))

    plain_folder = out / "straight"
    assert code(fork(lambda: plain(plain_folder))) == 0
    for name in names:
        strike, first = FAULTS[name], 1 + list(FAULTS).index(name) % step
        for n in count(first, step):
            folder = out / f"{name} {n:03d}"
            ended = code(fork(lambda f=folder, n=n, s=strike: suffer(f, n, s)))
            if ended == 0:
                break
            assert code(fork(lambda f=folder: again(f))) == 0


if __name__ == "__main__":
    torch.set_num_threads(1)  # before any fork: threads do not survive one
    trainer.RESUME_SECONDS, trainer.RESUME_SHARE = 0.0, 1e9
    kind, start, corpus, out, *rest = sys.argv[1:]
    documents = pd.DataFrame(json.loads(Path(corpus).read_text()))
    if kind == "faults":
        faults(Checkpoint(Path(start)), documents, Path(out), int(rest[0]), rest[1:])
    else:
        trainer.RESUME_SECONDS, trainer.RESUME_SHARE = 0.1, 0.5
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        train(
            Checkpoint(Path(start)),
            documents,
            replay=documents,
            bystanders=documents,
            out=out,
            progress=False,
            **LONG,
        )
