"""By which power does a cost grow with documents, checkpoints, features and cells?

    python benchmarks/exponents.py [--rounds 2] [--only NAME]

Each work is done at four sizes, each twice the one before, in turn and several times over. The
exponent is the slope of log CPU seconds over log size by least squares, with a 95 % t interval; 1
is a cost in proportion. What is paid at any size makes it smaller. The smallest runs once before,
uncounted.
"""

import argparse
import os
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

os.environ["OMP_NUM_THREADS"] = "1"

import numpy as np
import torch
from scipy import stats

import crosscoders
import sae
import sweeps
from harvest import STORIES, WHERE, texts
from line import Line
from pairs import Ratios, seconds
from persona_interp import models, record
from persona_interp.analysis.flips import sign_flip
from persona_interp.analysis.stats import cluster_interval
from persona_interp.dictionaries.harvest import read_marked
from persona_interp.dictionaries.saelens import import_saelens
from persona_interp.models.load import quiet

MEASURE = "exponent with 95 % interval"
AT_MOST = 1.05
SIZES = 4


def exponent(sizes: list[int], costs: list[list[float]]) -> Ratios:
    """Slope of log cost over log size between the ends of its interval.

    Args:
        sizes: Of the work.
        costs: Of each size, several.

    >>> [round(x, 6) for x in exponent([1, 2, 4], [[1.0, 1.0], [4.0, 4.0], [16.0, 16.0]])]
    [2.0, 2.0, 2.0]
    """
    x = np.log(np.repeat(sizes, [len(own) for own in costs]))
    fit: Any = stats.linregress(x, np.log(np.concatenate(costs)))
    half = float(stats.t.ppf(0.975, len(x) - 2) * fit.stderr)
    return Ratios(float(fit.slope) - half, float(fit.slope), float(fit.slope) + half)


def documents(n: int) -> Callable[[], Any]:
    """A harvest of so many prompts."""
    model = models.open_hooked(str(STORIES))
    messages = [[{"role": "text", "content": text}] for text in texts(n)]
    tokens = models.encode(model.tokenizer, messages)
    return partial(read_marked, model, tokens, hook="blocks.2.hook_out", where=WHERE)


def checkpoints(n: int, folder: Path) -> Callable[[], Any]:
    """Mean activations at so many checkpoints, each loaded from the disk."""
    places = [models.Checkpoint(folder / f"checkpoint-{i}") for i in range(n)]
    for i, place in enumerate(places):
        path = place.path
        if not path.exists():
            model, tokenizer = models.load(str(STORIES))
            with torch.no_grad():
                model.lm_head.weight[0] += i  # else they would be one checkpoint, read once
            with quiet():
                model.save_pretrained(path)
            tokenizer.save_pretrained(path)
    prompts = texts(20)
    hook = "blocks.2.hook_out"
    return lambda: record.activations(places, prompts, hook=hook, position="mean")


def coder_checkpoints(n: int, steps: int = 4) -> Callable[[], None]:
    """Training steps of a crosscoder of so many checkpoints."""
    shape = crosscoders.Shape(checkpoints=n, d_model=128, d_sae=1024, batch=512, n=4000)
    acts = crosscoders.residuals(shape)
    return crosscoders.steps_of(acts, engine="sparse", steps=steps, shape=shape)


def features(n: int, steps: int = 4) -> Callable[[], None]:
    """Training steps of an SAE of so many features."""
    shape = sae.Shape(d_in=256, d_sae=n, batch=512, n=4000)
    return sae.engine("sparse", "batchtopk", sae.residuals(shape), steps, shape)


def tested_features(n: int) -> Callable[[], Any]:
    """Intervals and sign flips of so many features."""
    x = np.random.default_rng(0).standard_normal((240, n))
    clusters = np.arange(240) % 60

    def work() -> None:
        cluster_interval(x, clusters)
        sign_flip(x, clusters, n_flips=10_000)

    return work


def cells(n: int, folder: Path) -> Callable[[], None]:
    """A run of so many cells that do nothing; it stays, or its removal would be counted."""
    return lambda: sweeps.sweep(Path(tempfile.mkdtemp(dir=folder)), n=n)


def lines(*, pairs: int, only: str = "", small: int = 1) -> Iterator[Line]:
    """The exponents.

    Args:
        pairs: Rounds over all sizes.
        only: Works whose name has this in it.
        small: What all sizes are divided by.
    """
    torch.set_num_threads(1)
    import_saelens()
    with tempfile.TemporaryDirectory() as folder:
        works: dict[str, tuple[int, Callable[[int], Callable[[], Any]]]] = {
            "ours, harvest, in documents": (200, documents),
            "ours, activations(), in checkpoints": (2, partial(checkpoints, folder=Path(folder))),
            "ours, crosscoder step, in checkpoints": (2, coder_checkpoints),
            "ours, SAE step, in features": (1024, features),
            "ours, intervals and sign flips, in features": (1024, tested_features),
            "ours, a run, in cells": (100, partial(cells, folder=Path(folder))),
        }
        for name, (first, make) in works.items():
            if only not in name:
                continue
            sizes = [max(2, first // small) * 2**i for i in range(SIZES)]
            with torch.inference_mode("harvest" in name):
                runs = [make(size) for size in sizes]
                seconds(runs[0])  # what is paid once for all
                rounds = [[seconds(run) for run in runs] for _ in range(pairs)]
            ratios = exponent(sizes, [list(own) for own in zip(*rounds, strict=True)])
            remark = "sizes " + ", ".join(f"{size:,}" for size in sizes)
            yield Line("growth", name, MEASURE, ratios, at_most=AT_MOST, remark=remark)


def main() -> None:
    """Print the lines."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--only", default="", help="works whose name has this in it")
    args = parser.parse_args()
    for line in lines(pairs=args.rounds, only=args.only):
        print(line, flush=True)


if __name__ == "__main__":
    main()
