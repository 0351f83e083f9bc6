"""Does a lesson create, move or wake features, and does it spread without those that it wakes?

Statuses are the package's, since they are what is checked on planted data (``recovery.py``); rises,
log odds and shares are computed here from activations and probabilities of answers.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd

from claim import Claim, log_odds, taught_trait, untaught_mean, values_of
from persona_interp.schema.words import Status
from trial import Reach, Trial

PLACE = 7
REACH = Reach.SPEAKER
BOUNDS: dict[str, dict[str, Any]] = {
    # at least .1 was claimed, a sign that births would be seen, and refuted on six fresh seeds
    "dictionaries: features born from untrained model to documents": dict(reported=True),
    "dictionaries: features born over the lesson": {"at_most": 0.02},
    "dictionaries: moved by the lesson minus by the unrelated one": dict(reported=True),
    "dictionaries: one checkpoint, several times: features with a claim": {
        "at_most": 0.0,
        "exact": True,
    },
    "dictionaries: features that rise most: length before the lesson": {"at_least": 0.5},
    "dictionaries: features that rise most: share of them born": {"at_most": 0.2},
    "dictionaries: lesson's spread that goes without them": {"at_least": 0.4},
    "dictionaries: the same minus the mean of sets as active": {"above": 0.0},
    "dictionaries: lesson's spread that goes without the persona's features": dict(reported=True),
}
"""Claim -> threshold, in the order of ``measure``; all are fractions."""
CLAIMED = (
    *(Status.AMPLIFIED, Status.SHRUNK, Status.ROTATED),
    *(Status.BORN, Status.DIED, Status.SPLIT),
)


def claims(trial: Trial) -> Iterator[Claim]:
    """No feature is born; those that rise were there, and the lesson does not spread without."""
    # the documents are then the cells that the claims of transfer run
    experiment = trial.preset("dictionaries", world=trial.world, bystanders=("named",))
    store = trial.run(experiment.cells())
    rows = [measure(experiment, store, seed) for seed in trial.seeds]
    for (name, bounds), values in zip(BOUNDS.items(), zip(*rows, strict=True), strict=True):
        yield Claim(name, values, unit="fraction", **bounds)


def measure(experiment: Any, store: Any, seed: int) -> tuple[float, ...]:
    """Values of one seed, one for each claim of ``BOUNDS``."""
    from persona_interp import worlds
    from persona_interp.experiments.dictionaries.config import Life
    from persona_interp.tables import read_table

    cells = experiment.seed_cells(seed)
    tables = {
        life: read_table(store.path(cells["crosscoder", life], "statuses.parquet")) for life in Life
    }
    moved = [
        share(tables[life], Status.ROTATED, Status.SPLIT) for life in (Life.LESSON, Life.UNRELATED)
    ]
    spread = store.path(cells["spread",])
    edits = read_table(spread / "edits.parquet")
    risen = [int(j) for j in edits.loc[edits["group"] == "risen", "features"].iloc[0]]
    statuses = tables[Life.LESSON].set_index("feature").loc[risen]
    world = worlds.load(store.path(cells["layout",], "world.json")).to_dict()
    gone = removed(read_table(spread / "behavior.parquet"), edits, world)
    return (
        share(tables[Life.DOCUMENTS], Status.BORN),
        share(tables[Life.LESSON], Status.BORN),
        moved[0] - moved[1],
        share(tables[Life.COPIES], *CLAIMED),
        float(np.mean([norms[0] for norms in statuses["norms"]])),
        float((statuses["status"] == Status.BORN).mean()),
        gone["risen"],
        gone["risen"] - gone["matched risen"],
        gone["persona"],
    )


def share(statuses: pd.DataFrame, *words: str) -> float:
    """Share of the active features that have one of these statuses."""
    active = statuses.loc[statuses["status"] != Status.DEAD, "status"]
    return float(active.isin(words).mean())


def removed(behavior: pd.DataFrame, edits: pd.DataFrame, world: dict[str, Any]) -> dict[str, float]:
    """Share of the untaught traits' rise that goes with the edits of each group, at the end."""
    last = behavior.loc[behavior["at"] == behavior["at"].max()]
    topic, _ = taught_trait(world)
    values = {t: v for t, v in values_of(world, world["target"]).items() if t != topic}

    def level(step: int, edit: str) -> float:
        rows = last.loc[(last["step"] == step) & (last["edit"] == edit)]
        return untaught_mean(log_odds(rows, "nameless", "", values), topic)

    end = int(last["step"].max())
    base, tuned = level(0, "none"), level(end, "none")
    shares: dict[str, list[float]] = {}
    for row in edits.to_dict("records"):
        gone = (tuned - level(end, row["edit"])) / (tuned - base)
        shares.setdefault(row["group"], []).append(gone)
    return {group: float(np.mean(own)) for group, own in shares.items()}
