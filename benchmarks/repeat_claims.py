"""Does a run repeat to the last digit?"""

import tempfile
from collections.abc import Iterator
from dataclasses import replace

from claim import Claim
from trial import Reach, Trial, progress

PLACE = 1
REACH = Reach.WORLD
HOOK = "blocks.1.hook_out"


def claims(trial: Trial) -> Iterator[Claim]:
    """The same seed gives the same weights; a prompt alone gives what it gives in a batch."""
    import torch

    torch.set_num_threads(1)
    different, errors = [], []
    for seed in progress(trial.seeds, "repeat"):
        with tempfile.TemporaryDirectory() as folder:
            unequal, error = repeat(trial, seed, folder)
        different.append(unequal)
        errors.append(error)
    name = "same seed trained twice: runs with different weights"
    yield Claim(name, tuple(different), at_most=0, unit="runs", exact=True)
    name = "residual of a prompt alone against batched, relative"
    yield Claim(name, tuple(errors), at_most=1e-5, unit="of norm", exact=True)


def repeat(trial: Trial, seed: int, folder: str) -> tuple[float, float]:
    """Whether two trainings differ (0 or 1), and the largest relative error of a batch."""
    from persona_interp import models

    stage = replace(models.DOCUMENTS, steps=60, warmup=10)
    corpus = trial.world_of(seed).corpus(60 * stage.batch, seed=seed)
    first, second = (
        models.train("tiny", corpus, stage=stage, seed=seed, out=f"{folder}/{i}", progress=False)
        for i in "ab"
    )
    unequal = models.hash_weights(first.last) != models.hash_weights(second.last)
    bridge = models.boot(first.last)
    tokens = models.encode(bridge.tokenizer, corpus.messages[:64])
    alone, batch = (dict(models.residuals(bridge, tokens, hook=HOOK, batch=n)) for n in (1, 64))
    errors = [float((alone[row] - batch[row]).norm() / alone[row].norm()) for row in alone]
    return float(unequal), max(errors)
