"""Changes of features between two checkpoints, where nothing moved them on average."""

from functools import partial

import numpy as np

from persona_interp import analysis
from planted.inside import features
from rows.row import Outcome, Quantity, Row, coverage


def _feature_shift(rng: np.random.Generator, *, prompts: int) -> Outcome:
    """Before and after are exchangeable at every prompt; a third of the features is rare."""
    rate = np.where(np.arange(60) % 3, 0.5, 0.05)
    act = (rng.random((2, prompts, 60)) < rate) * rng.exponential(size=(2, prompts, 60))
    along = {"topic": ["t"] * prompts}
    table = analysis.feature_shift(features(act, along), n_flips=2_000)
    one = table.loc[table["feature"] == 1]
    outcome = dict(coverage(one["lo"], one["hi"], 0.0))
    return outcome | {Quantity.LEVEL: float((table["q"].to_numpy() <= 0.05).any())}


def _shared(rng: np.random.Generator, *, cluster: str) -> Outcome:
    """Topics and templates move features, with mean 0: prompts are not exchangeable."""
    topic, template = (index.ravel() for index in np.indices((5, 10)))
    effects = rng.standard_normal((5, 60))[topic] + rng.standard_normal((10, 60))[template]
    before = 5.0 + rng.standard_normal((50, 60))
    act = np.stack([before, before + effects + 0.5 * rng.standard_normal((50, 60))])
    along = {"topic": [f"t{i}" for i in topic], "template": [f"q{i}" for i in template]}
    data = features(np.maximum(act, 0), along)
    table = analysis.feature_shift(data, cluster=cluster, n_flips=2_000)
    one = table.loc[table["feature"] == 0]
    outcome = dict(coverage(one["lo"], one["hi"], 0.0))
    return outcome | {Quantity.LEVEL: float((table["q"].to_numpy() <= 0.05).any())}


def _over_checkpoints(rng: np.random.Generator, *, prompts: int) -> Outcome:
    """Five checkpoints that are exchangeable at every prompt; a third of the features is rare."""
    rate = np.where(np.arange(60) % 3, 0.5, 0.05)
    act = (rng.random((5, prompts, 60)) < rate) * rng.exponential(size=(5, prompts, 60))
    table = analysis.over_checkpoints(features(act, {"topic": ["t"] * prompts}), n_flips=2_000)
    one = table.loc[(table["name"] == "1") & (table["step"] == 4)]
    outcome = dict(coverage(one["lo"], one["hi"], 0.0))
    return outcome | {Quantity.LEVEL: float((table["q"].to_numpy() <= 0.05).any())}


ROWS = [
    *(
        Row(
            "checkpoints.over_checkpoints",
            f"{n} prompts, five checkpoints, exchangeable",
            partial(_over_checkpoints, prompts=n),
            500,
        )
        for n in (12, 50)
    ),
    *(
        Row(
            "features.feature_shift",
            f"{n} prompts, exchangeable",
            partial(_feature_shift, prompts=n),
            500,
        )
        for n in (12, 50)
    ),
    *(
        Row(
            "features.feature_shift",
            f"topics and templates move features, clusters: {cluster}",
            partial(_shared, cluster=cluster),
            300,
        )
        for cluster in ("prompt", "template")
    ),
]
