"""Do the tables of features stay still where nothing moves, and does the dictionary fit?"""

from collections.abc import Iterator
from typing import Any

import numpy as np

from claim import Claim
from persona_interp.schema.words import Arm
from transfer_runs import TransferRun, transfer_runs
from trial import Reach, Trial, progress

PLACE = 4
REACH = Reach.SPEAKER
N_NULLS = 100


def claims(trial: Trial) -> Iterator[Claim]:
    """A checkpoint does not move against itself; flipped labels discover nothing; the base fits."""
    runs = transfer_runs(trial, inside=True)
    changes = tuple(largest_change(run) for run in runs)
    name = "features and behavior of a checkpoint against itself"
    yield Claim(name, changes, at_most=0.0, absolute=True, exact=True)
    hits: list[bool] = []
    for i, run in enumerate(runs):
        hits += flip_discoveries(run.inside["features"], seed=i)
    name = "labels flipped per prompt: share of flips with a discovery"
    yield Claim(name, tuple(hits), at_most=0.1, unit="share", over="flips", share=True)
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


def flip_discoveries(features: Any, *, seed: int) -> list[bool]:
    """Whether anything is found at q 0.05, in each of 100 flips of before and after by prompt."""
    from persona_interp import analysis

    rng = np.random.default_rng(seed)
    hits = []
    for number in progress(range(N_NULLS), "flipped labels"):
        swap = rng.random(features.sizes["prompt"]) < 0.5
        acts = features.act.transpose("checkpoint", "prompt", "feature").to_numpy().copy()
        acts[:, swap] = acts[::-1][:, swap]
        null = features.assign(act=(features.act.dims, acts))
        table = analysis.feature_shift(null, n_flips=2_000, seed=number)
        hits.append(bool((table.q <= 0.05).any()))
    return hits
