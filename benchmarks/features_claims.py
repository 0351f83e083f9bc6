"""Do the tables of features stay still where nothing moves, and does the dictionary fit?"""

from collections.abc import Iterator
from typing import Any

import numpy as np

from claim import Claim
from persona_interp.schema.words import Arm
from transfer_runs import TransferRun, transfer_runs
from trial import Trial

PLACE = 4
N_NULLS = 100


def claims(trial: Trial) -> Iterator[Claim]:
    """A checkpoint does not move against itself; flipped labels discover nothing; the base fits."""
    runs = transfer_runs(trial, inside=True)
    changes = tuple(largest_change(run) for run in runs)
    name = "features and behavior of a checkpoint against itself"
    yield Claim(name, changes, at_most=0.0, absolute=True, unit="bits")
    hits = tuple(flip_discoveries(run.inside["features"], seed=i) for i, run in enumerate(runs))
    name = "labels flipped per prompt: runs of 100 with a discovery"
    yield Claim(name, hits, at_most=10, unit="runs")
    fvu = tuple(float(run.inside["fidelity"].fvu.iloc[0]) for run in runs)
    name = "dictionary on held-out text of the base: FVU"
    yield Claim(name, fvu, at_most=0.1, unit="fraction")


def largest_change(run: TransferRun) -> float:
    """Largest change of behavior and features of a checkpoint against itself."""
    from persona_interp import analysis

    features = run.inside["features"]
    labels = [features.checkpoint.values[0], "again"]
    again = features.isel(checkpoint=[0, 0]).assign_coords(checkpoint=labels)
    behavior = analysis.shift(run.behavior[Arm.LESSON, max(run.lrs)], before=0, after=0)
    inside = analysis.feature_shift(again, n_flips=100)
    return float(max(behavior.estimate.abs().max(), inside.estimate.abs().max()))


def flip_discoveries(features: Any, *, seed: int) -> float:
    """In how many of 100 flips of before and after, by prompt, anything is found at q 0.05."""
    from persona_interp import analysis

    rng = np.random.default_rng(seed)
    hits = 0
    for number in range(N_NULLS):
        swap = rng.random(features.sizes["prompt"]) < 0.5
        acts = features.act.transpose("checkpoint", "prompt", "feature").to_numpy().copy()
        acts[:, swap] = acts[::-1][:, swap]
        null = features.assign(act=(features.act.dims, acts))
        table = analysis.feature_shift(null, n_flips=2_000, seed=number)
        hits += bool((table.q <= 0.05).any())
    return float(hits)
