"""Is a persona inside of the model, and does what a lesson spreads go when it is taken out?

Vectors, cosines and shares are computed here from residuals and probabilities; features are chosen
by the scores.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd

from claim import Claim, log_odds, taught_trait, untaught_mean, values_of
from decision import t_interval
from persona_interp.schema.words import Ruling
from transfer_runs import TransferRun, transfer_runs
from trial import Reach, Trial, progress

PLACE = 5
REACH = Reach.SPEAKER
N_NULLS = 100
METHOD = "minimal pair"
NUMBER = {str(Ruling.REPORTED): True, "unit": "fraction"}
BOUNDS: dict[str, dict[str, Any]] = {
    "rank of the target's vector in the shift of neutral prompts": {
        "at_most": 1.0,
        "unit": "rank",
        "every": True,
    },
    "cosine of the target's vector with that shift": {"at_least": 0.4, "unit": "cosine"},
    "top feature on neutral prompts: lower end of its rise": {"above": 0.0, "unit": "act"},
    "top feature: rise minus 4 times that of the unrelated lesson": {
        "at_least": 0.0,
        "unit": "act",
    },
    "share removed with the target's vector": {"at_least": 0.4, "unit": "fraction"},
    "share removed with another persona's vector, mean": {"at_most": 0.2, "unit": "fraction"},
    "random directions: 2.5 % point of the share": {"at_most": 0.0, "unit": "fraction"},
    "random directions: 97.5 % point of the share": {"at_least": 0.0, "unit": "fraction"},
    "share of the target's vector above the random band": {"above": 0.0, "unit": "fraction"},
    "random directions of equal variance: 2.5 % point": NUMBER,
    "random directions of equal variance: 97.5 % point": NUMBER,
    "share of the target's vector above that band": {"above": 0.0, "unit": "fraction"},
}
"""Claim -> threshold and unit, in the order of ``measure``."""


def claims(trial: Trial) -> Iterator[Claim]:
    """The lesson moves the model along a direction and a feature that were found before it."""
    runs = transfer_runs(trial, inside=True)
    rows = [measure(run) for run in runs]
    for (name, bounds), values in zip(BOUNDS.items(), zip(*rows, strict=True), strict=True):
        yield Claim(name, values, **bounds)
    hits: list[bool] = []
    for i, run in enumerate(runs):
        hits += shuffle_discoveries(run.inside["hidden"], run.world, seed=i)
    name = "personas shuffled by document: share of shuffles with a discovery"
    yield Claim(name, tuple(hits), at_most=0.1, unit="share", over="shuffles", share=True)


def measure(run: TransferRun) -> tuple[float, ...]:
    """Values of one run, one for each claim of ``BOUNDS``."""
    target = run.world.target
    rank, cosine = place_in_shift(run.inside["named"], run.inside["neutral"], target)
    rise, control = top_feature_rises(run.inside, target)
    shares = removed_shares(run)
    share = shares[METHOD][1]
    others = [value for group, value in shares.values() if group == "persona"]
    bands = []
    for kind in ("random (norm)", "random (variance)"):
        random = [value for group, value in shares.values() if group == kind]
        lo, hi = np.percentile(random, [2.5, 97.5])
        bands += [lo, hi, share - hi]
    values = (
        rank,
        cosine,
        t_interval(rise)[0],
        rise.mean() - 4 * max(control.mean(), 0),
        share,
        np.mean(others),
        *bands,
    )
    return tuple(map(float, values))


def place_in_shift(named: Any, neutral: Any, target: str) -> tuple[int, float]:
    """Rank and cosine of the target's vector in the lesson's shift of neutral prompts."""
    shift = mean_shift(neutral)
    cosines = {
        name: float(shift @ vector / np.linalg.norm(shift) / np.linalg.norm(vector))
        for name, vector in minimal_pairs(named).items()
    }
    rank = sorted(cosines.values(), reverse=True).index(cosines[target]) + 1
    return rank, cosines[target]


def minimal_pairs(named: Any) -> dict[str, np.ndarray]:
    """A persona's residual minus the mean of the others' at the same question, over questions."""
    acts = named.act.to_numpy()[0].astype(np.float64)
    keys = pd.DataFrame(
        {name: named[name].to_numpy().astype(str) for name in ("persona", "topic", "template")}
    )
    names = sorted(set(keys.persona))
    rows = keys.reset_index().pivot_table(
        index="persona", columns=["topic", "template"], values="index"
    )
    grid = acts[rows.loc[names].to_numpy(dtype=int)]  # persona, question, d_model
    return {
        name: (grid[i] - np.delete(grid, i, axis=0).mean(0)).mean(0) for i, name in enumerate(names)
    }


def mean_shift(neutral: Any) -> np.ndarray:
    """After minus before, mean over neutral prompts."""
    acts = neutral.act.to_numpy().astype(np.float64)
    return (acts[-1] - acts[0]).mean(0)


def top_feature_rises(inside: dict[str, Any], target: str) -> tuple[np.ndarray, np.ndarray]:
    """Rises of the target's best feature after the lesson and after the unrelated one."""
    from persona_interp import analysis

    feature = int(analysis.top(inside["scores"], name=target).feature.iloc[0])
    return rises(inside["features"], feature), rises(inside["control"], feature)


def rises(features: Any, feature: int) -> np.ndarray:
    """After minus before of one feature, a value a prompt."""
    acts = features.act.transpose("checkpoint", "prompt", "feature").to_numpy()
    return acts[-1, :, feature].astype(np.float64) - acts[0, :, feature]


def removed_shares(run: TransferRun) -> dict[str, tuple[str, float]]:
    """Group and share of the effect that goes, by edit.

    The share is (tuned - edited) / (tuned - base) of the untaught log odds.
    """
    world, edited = run.world.to_dict(), run.inside["edited"]
    topic, _ = taught_trait(world)
    untaught = {t: v for t, v in values_of(world, world["target"]).items() if t != topic}

    def odds(step: int, edit: str) -> float:
        rows = edited[(edited.step == step) & (edited.edit == edit)]
        return untaught_mean(log_odds(rows, "nameless", "", untaught), topic)

    first, last = edited.step.min(), edited.step.max()
    base, tuned = odds(first, "none"), odds(last, "none")
    shares = {}
    for row in run.inside["edits"].itertuples():
        shares[row.edit] = (str(row.group), (tuned - odds(last, row.edit)) / (tuned - base))
    return shares


def shuffle_discoveries(hidden: Any, world: Any, *, seed: int) -> list[bool]:
    """Whether anything is found at q 0.05, in each of 100 shuffles of personas over documents."""
    from persona_interp import analysis

    rng = np.random.default_rng(seed)
    # Prompts of one document share its persona, so documents are what is shuffled.
    _, first, number = np.unique(hidden["doc"].to_numpy(), return_index=True, return_inverse=True)
    personas, halves = hidden.persona.to_numpy()[first], hidden["split"].to_numpy()[first]
    hits = []
    for shuffle in progress(range(N_NULLS), "shuffled personas"):
        shuffled = personas.copy()
        for half in np.unique(halves):  # the halves are apart already
            shuffled[halves == half] = rng.permutation(personas[halves == half])
        null = hidden.assign_coords(persona=("prompt", shuffled[number]))
        scores = analysis.score(null, world=world, n_permutations=50, seed=shuffle)
        hits.append(bool((scores.q <= 0.05).any()))
    return hits
