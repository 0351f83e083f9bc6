"""What must hold inside of the models: features, directions, and what goes when they are taken out."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd

from claim import Claim, held_by, interval, log_odds, spread


def feature_claims(runs: list[dict[str, Any]]) -> Iterator[Claim]:
    """A trajectory does not move against itself; flipped labels discover nothing; the dictionary fits the base."""
    from persona_interp import analysis

    still, false, fvu = [], [], []
    for i, one in enumerate(runs):
        features, labels = one["features"], list(one["features"].checkpoint.values)
        again = features.isel(checkpoint=[0, 0]).assign_coords(checkpoint=[labels[0], "again"])
        behavior = one["arms"]["lesson", max(lr for _, lr in one["arms"])]
        itself = analysis.shift(behavior, before=0, after=0)
        moved = analysis.feature_shift(again, n_flips=100)
        still.append(float(max(itself.estimate.abs().max(), moved.estimate.abs().max())))
        rng = np.random.default_rng(i)
        hits = 0
        for flip in range(100):
            swap = rng.random(features.sizes["prompt"]) < 0.5
            both = features.act.transpose("checkpoint", "prompt", "feature").to_numpy().copy()
            both[:, swap] = both[::-1][:, swap]
            null = analysis.feature_shift(
                features.assign(act=(features.act.dims, both)), n_flips=2_000, seed=flip
            )
            hits += bool((null.q <= 0.05).any())
        false.append(float(hits))
        fvu.append(float(one["fidelity"].fvu.iloc[0]))
    yield Claim(
        "features and behavior of a checkpoint against itself",
        tuple(still),
        at_most=0.0,
        absolute=True,
        unit="bits",
    )
    yield Claim(
        "labels flipped per prompt: runs of 100 with a discovery",
        tuple(false),
        at_most=10,
        unit="runs",
    )
    yield Claim(
        "dictionary on held-out text of the base: FVU", tuple(fvu), at_most=0.1, unit="fraction"
    )


def persona_claims(runs: list[dict[str, Any]]) -> Iterator[Claim]:
    """The lesson moves the model towards the target, along a direction and a feature found before, and for that reason.

    Vectors, cosines and shares are computed here from residuals and probabilities; features are
    chosen by the scores.
    """
    from persona_interp import analysis

    found: dict[str, list[float]] = {}
    for i, one in enumerate(runs):
        target = one["world"].target
        vectors, moved = minimal_pairs(one["named"]), mean_shift(one["neutral"])
        cosine = {
            name: float(moved @ v / np.linalg.norm(moved) / np.linalg.norm(v))
            for name, v in vectors.items()
        }
        rank = sorted(cosine.values(), reverse=True).index(cosine[target]) + 1
        top = int(analysis.top(one["scores"], name=target).feature.iloc[0])
        rise, control = (rises(one[name], top) for name in ("features", "control"))
        share = shares(one)
        lo, hi = np.percentile(
            [s for group, s in share.values() if group == "random (norm)"], [2.5, 97.5]
        )
        others = [s for group, s in share.values() if group == "persona"]
        values = {
            "rank": rank, "cosine": cosine[target], "lower": interval(rise)[0],
            "excess": rise.mean() - 4 * max(control.mean(), 0), "share": share["minimal pair"][1],
            "others": float(np.mean(others)), "lo": lo, "hi": hi, "above": share["minimal pair"][1] - hi,
            "shuffled": shuffled_discoveries(one["hidden"], one["world"], seed=i),
        }  # fmt: skip
        for name, value in values.items():
            found.setdefault(name, []).append(float(value))
    lines = {
        "rank": (
            "rank of the target's vector in the shift of neutral prompts",
            {"at_most": 1.0, "unit": "rank"},
        ),
        "cosine": (
            "cosine of the target's vector with that shift",
            {"at_least": 0.4, "unit": "cosine"},
        ),
        "lower": (
            "top feature on neutral prompts: lower end of its rise",
            {"at_least": 1e-6, "unit": "act"},
        ),
        "excess": (
            "top feature: rise minus 4 times that of the unrelated lesson",
            {"at_least": 0.0, "unit": "act"},
        ),
        "share": ("share removed with the target's vector", {"at_least": 0.4, "unit": "fraction"}),
        "others": (
            "share removed with another persona's vector, mean",
            {"at_most": 0.2, "unit": "fraction"},
        ),
        "lo": ("random directions: 2.5 % point of the share", {"at_most": 0.0, "unit": "fraction"}),
        "hi": (
            "random directions: 97.5 % point of the share",
            {"at_least": 0.0, "unit": "fraction"},
        ),
        "above": (
            "share of the target's vector above the random band",
            {"at_least": 1e-6, "unit": "fraction"},
        ),
        "shuffled": (
            "personas shuffled by document: runs of 100 with a discovery",
            {"at_most": 10, "unit": "runs"},
        ),
    }
    for name, (said, bounds) in lines.items():
        yield Claim(said, tuple(found[name]), **bounds)


def minimal_pairs(named: Any) -> dict[str, np.ndarray]:
    """A persona's residual minus the mean of the others', at the same question, averaged over questions."""
    acts = named.act.to_numpy()[0].astype(np.float64)
    keys = pd.DataFrame(
        {c: named[c].to_numpy().astype(str) for c in ("persona", "topic", "template")}
    )
    names = sorted(set(keys.persona))
    grid = (
        keys.reset_index()
        .pivot_table(index="persona", columns=["topic", "template"], values="index")
        .loc[names]
    )
    at = acts[grid.to_numpy(dtype=int)]  # persona, question, d_model
    return {
        name: (at[i] - np.delete(at, i, axis=0).mean(0)).mean(0) for i, name in enumerate(names)
    }


def mean_shift(neutral: Any) -> np.ndarray:
    """After minus before, mean over neutral prompts."""
    acts = neutral.act.to_numpy().astype(np.float64)
    return (acts[-1] - acts[0]).mean(0)


def rises(features: Any, feature: int) -> np.ndarray:
    """After minus before of one feature, a value a prompt."""
    act = features.act.transpose("checkpoint", "prompt", "feature").to_numpy()
    return act[-1, :, feature].astype(np.float64) - act[0, :, feature]


def shares(one: dict[str, Any]) -> dict[str, tuple[str, float]]:
    """Group and share of the effect removed, by edit: (tuned - edited) / (tuned - base) of the untaught log odds."""
    world, edited = one["world"].to_dict(), one["edited"]
    topic = world["taught"].split("=", 1)[0]
    mine = {t: v for t, v in held_by(world, world["target"]).items() if t != topic}

    def odds(step: int, edit: str) -> float:
        rows = edited[(edited.step == step) & (edited.edit == edit)]
        return spread(log_odds(rows, "nameless", "", mine), topic)

    first, last = edited.step.min(), edited.step.max()
    base, tuned = odds(first, "none"), odds(last, "none")
    edits = one["edits"].itertuples()
    return {e.edit: (str(e.group), (tuned - odds(last, e.edit)) / (tuned - base)) for e in edits}


def shuffled_discoveries(hidden: Any, world: Any, *, seed: int) -> int:
    """In how many of 100 shuffles of the personas over documents is anything found at q 0.05?"""
    from persona_interp import analysis

    rng = np.random.default_rng(seed)
    _, first, number = np.unique(hidden["doc"].to_numpy(), return_index=True, return_inverse=True)
    who, half = hidden.persona.to_numpy()[first], hidden["split"].to_numpy()[first]
    hits = 0
    for shuffle in range(100):
        swapped = who.copy()
        for part in np.unique(half):  # the halves are apart already
            swapped[half == part] = rng.permutation(who[half == part])
        labelled = hidden.assign_coords(persona=("prompt", swapped[number]))
        hits += bool(
            (analysis.score(labelled, world=world, n_permutations=50, seed=shuffle).q <= 0.05).any()
        )
    return hits
