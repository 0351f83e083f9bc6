"""What do the finished cells say about the inside of the models, as tables?

One function a kind of cell: it reads the cell's files, and those of the cells it needs, and gives
tables by name.
"""

from functools import lru_cache
from pathlib import Path
from typing import Any

import pandas as pd
import xarray as xr

from persona_interp import analysis
from persona_interp.experiments.transfer.arms import ARMS, CLAIM
from persona_interp.experiments.transfer.config import Cells, Key, Transfer
from persona_interp.experiments.transfer.inside.config import (
    ADDED_PATCH,
    BRINGS,
    METHODS,
    N_FAMILY,
    NO_RIVALS,
    PATCH,
    RANDOM,
    VARIED,
    VECTOR,
)
from persona_interp.schema.words import Arm
from persona_interp.store import Store
from persona_interp.tables import concat, read_dataset, read_directions, read_table
from persona_interp.worlds import World

Tables = dict[str, pd.DataFrame]

CHANCE = 0.5
"""AUROC of a feature that knows nothing."""
BASE = "base"
"""Checkpoint before every lesson, in the table of features."""
MEASURES = ("share", "share_net")
"""Numbers of an edit that are compared with those of its rivals."""


def _read_features(
    experiment: Transfer, store: Store, cells: Cells, *, key: Key, world: World
) -> Tables:
    """Shifts of features and of residuals along personas' directions, and the dictionary's fit."""
    _, arm, lr, hook = key
    labels = {"arm": str(arm), "lr": lr, "hook": hook}
    folder = store.path(cells[key])
    shifts = analysis.feature_shift(_dataset(folder / "features.nc"))
    fidelity = read_table(folder / "fidelity.parquet")
    tables: Tables = {
        "feature_shift": shifts.assign(**labels),
        "fidelity": fidelity.assign(**labels),
    }
    if arm == experiment.arms[0]:
        tables |= _beside_controls(experiment, store, cells, lr=lr, hook=hook)
    personas = cells["personas", lr, hook]
    if not store.has(personas):
        return tables
    neutral = _dataset(folder / "acts.nc")
    parts = []
    for method in METHODS:
        vectors = _directions(store.path(personas, f"{method}.nc"))
        parts.append(analysis.direction_shift(neutral, vectors).assign(method=method))
    tables["directions"] = pd.concat(parts, ignore_index=True).assign(**labels)
    return tables


def _beside_controls(
    experiment: Transfer, store: Store, cells: Cells, *, lr: float, hook: str
) -> Tables:
    """Features after the claim's lesson beside those after control lessons to the same base."""
    parts, distance = {}, {}
    for arm in experiment.feature_arms:
        cell, lesson = cells["features", arm, lr, hook], cells["lesson", arm, lr]
        if store.has(cell):
            parts[arm] = _dataset(store.path(cell, "features.nc"))
            moved = distance_of(store.path(lesson, "behavior.parquet"))
            distance[arm] = float(moved["estimate"].iloc[0])
    claim, *controls = parts
    after = [feats.isel(checkpoint=[-1]) for feats in parts.values()]
    together = concat([parts[claim].isel(checkpoint=[0]), *after], "checkpoint")
    together = together.assign_coords(checkpoint=[BASE, *parts])
    measurements = analysis.measurements.measure_features(together)
    effects = analysis.effects(
        measurements, base=BASE, tuned=[claim], controls=controls, distance=distance
    )
    labels = {"lr": lr, "hook": hook}
    tables = {"features": effects.assign(**labels)}
    personas = cells["personas", lr, hook]
    if store.has(personas):
        scores = read_table(store.path(personas, "scores.parquet"))
        best = _best_features(scores.loc[scores["kind"] == "persona"])
        tables["roles"] = analysis.roles(effects, best).assign(**labels)
    return tables


def _read_personas(
    experiment: Transfer, store: Store, cells: Cells, *, key: Key, world: World
) -> Tables:
    """Features that know each persona and trait best, and directions that lie together."""
    _, lr, hook = key
    folder = store.path(cells[key])
    maps = {
        method: analysis.cosine_map(_directions(folder / f"{method}.nc"), world)
        for method in METHODS
    }
    maps["traits"] = analysis.cosine_map(read_directions(folder / "traits.nc"), world)
    cosines = [table.assign(method=method) for method, table in maps.items()]
    tables = {
        "stated": _stated(folder, world),
        "scores": _best_scores(read_table(folder / "scores.parquet"), world),
        "cosines": pd.concat(cosines, ignore_index=True),
        "cooccurrence": _cooccurrence(maps, world),
    }
    return {name: table.assign(lr=lr, hook=hook) for name, table in tables.items()}


def _best_scores(scores: pd.DataFrame, world: World) -> pd.DataFrame:
    """Best features of every persona and trait; of the target a family of them."""
    best = _best_features(scores)
    if world.target not in set(best["name"]):
        return best
    family = analysis.top(scores, name=world.target, k=N_FAMILY)
    return pd.concat([best.loc[best["name"] != world.target], family], ignore_index=True)


def _best_features(scores: pd.DataFrame) -> pd.DataFrame:
    """The best feature of every persona or trait that any feature speaks for."""
    # where no feature is above chance, none speaks for the name, and ``top`` would refuse it
    names = scores.loc[scores["auroc_chosen"] > CHANCE, "name"].unique()
    tables = [analysis.top(scores, name=name) for name in names]
    return pd.concat(tables, ignore_index=True)


def _cooccurrence(maps: dict[str, pd.DataFrame], world: World) -> pd.DataFrame:
    """Correlation of cosines with what goes together in the documents, by method."""
    # who is not written about goes with nobody in the documents, whatever the world says they hold
    masses = world.mass()
    unwritten = [name for name in masses.index if not masses.loc[name].any()]
    tables = []
    for method, table in maps.items():
        written = table.loc[~table["name"].isin(unwritten) & ~table["other"].isin(unwritten)]
        against = analysis.cosine_against_cooccurrence(written)
        tables.append(against.assign(method=method))
    return pd.concat(tables, ignore_index=True)


def _stated(folder: Path, world: World) -> pd.DataFrame:
    """Cosine of every stated value's vector with every persona's, and whether they hold it."""
    vectors = read_directions(folder / "trait pairs.nc")
    values = vectors["name"].to_numpy().tolist()
    both = concat([_directions(folder / f"{VECTOR}.nc"), vectors], "name")
    cosines = analysis.cosine_map(both)
    cosines = cosines.loc[cosines["name"].isin(values) & ~cosines["other"].isin(values)]
    holders = {value: world.holders(f"{world.taught.topic}={value}") for value in values}
    pairs = zip(cosines["name"], cosines["other"], strict=True)
    return cosines.assign(holds=[name in holders[value] for value, name in pairs])


def _read_causes(
    experiment: Transfer, store: Store, cells: Cells, *, key: Key, world: World
) -> Tables:
    """What goes with each edit and comes with others, their rivals, and simpler readouts."""
    _, lr, hook = key
    folder = store.path(cells[key])
    behavior = read_table(folder / "behavior.parquet")
    neutral = _readouts(folder, "neutral")
    base, tuned = (str(checkpoint) for checkpoint in neutral["checkpoint"].values)
    groups = read_table(folder / "edits.parquet")
    ends = {"base": base, "tuned": tuned, "world": world}
    removed = analysis.removed_share(behavior, **ends, patch=PATCH)
    removed = removed.merge(groups, on="edit", how="left", validate="one_to_one")
    removed = removed.fillna({"group": "none"})  # the tuned model without an edit
    removed = removed.loc[~removed["group"].isin(BRINGS)]
    brought = analysis.added_share(behavior, **ends, patch=ADDED_PATCH)
    brought = brought.merge(groups, on="edit", validate="one_to_one")
    brought = brought.loc[brought["group"].isin(BRINGS)]
    tables = {
        "causes": pd.concat([removed, brought], ignore_index=True),
        "rivals": rivals_of(removed),
        "chance": _chance(experiment, store, cells, lr=lr, hook=hook),
    }
    for name in ("tokens", "lens", "nearest", "refit"):
        tables[name] = read_table(folder / f"{name}.parquet")
    known: dict[str, Any] = {"persona": world.target, "world": world}
    known["random"] = groups.loc[groups["group"] == RANDOM, "edit"]
    hidden = _readouts(folder, "hidden")
    tables["pairs"] = analysis.pairs(hidden, **known)
    if Arm.UNRELATED in experiment.feature_arms:  # else nothing says what any lesson does
        control = _readouts(folder, "control")
        tables["baselines"] = analysis.baselines(
            hidden, neutral, control=control, causes=removed, **known
        )
    return {name: table.assign(lr=lr, hook=hook) for name, table in tables.items()}


def rivals_of(causes: pd.DataFrame) -> pd.DataFrame:
    """What each group of controls takes away, beside the target's vector.

    Args:
        causes: Table ``causes``.

    Returns:
        A rivals table with the column ``measure``.
    """
    compared = causes.loc[~causes["group"].isin(NO_RIVALS)]
    tables = []
    for measure in MEASURES:
        table = analysis.rivals(compared, edit=VECTOR, measure=measure)
        tables.append(table.assign(measure=measure))
    return pd.concat(tables, ignore_index=True)


def _chance(
    experiment: Transfer, store: Store, cells: Cells, *, lr: float, hook: str
) -> pd.DataFrame:
    """Cosines that random directions have with the shift that each arm's lesson made."""
    folder = store.path(cells["causes", lr, hook])
    directions = {match: read_directions(folder / f"{match}.nc") for match in (RANDOM, VARIED)}
    rows = []
    for arm in experiment.feature_arms:
        neutral = _dataset(store.path(cells["features", arm, lr, hook], "acts.nc"))
        for match, random in directions.items():
            cosines = analysis.direction_shift(neutral, random)["cosine"]
            lo, hi = analysis.chance_range(cosines)
            row = {"arm": str(arm), "match": match, "lo": lo, "hi": hi, "most": cosines.max()}
            rows.append(row | {"n": len(cosines)})
    return pd.DataFrame(rows)


def distance_of(behavior: Path) -> pd.DataFrame:
    """How far a lesson moved the assistant's answers (bits); computed again only if it changed.

    Args:
        behavior: The lesson's behavior table.

    Returns:
        As ``analysis.answer_distance``.
    """
    return _distance_once(behavior, behavior.stat().st_mtime_ns)


@lru_cache(maxsize=64)
def _distance_once(path: Path, modified: int) -> pd.DataFrame:
    return analysis.answer_distance(read_table(path))


def _directions(path: Path) -> xr.DataArray:
    """Directions of a file that several cells are compared with; read again only if it changed."""
    return _directions_once(path, path.stat().st_mtime_ns)


@lru_cache(maxsize=len(METHODS))
def _directions_once(path: Path, modified: int) -> xr.DataArray:
    return read_directions(path)


def _dataset(path: Path) -> xr.Dataset:
    """Features or residuals of an arm, of which several tables are made; read again as above."""
    return _dataset_once(path, path.stat().st_mtime_ns)


# features and residuals of every arm of the claim's base model, at one rate and hook
@lru_cache(maxsize=2 * sum(variant == CLAIM[0] for variant, _ in ARMS.values()))
def _dataset_once(path: Path, modified: int) -> xr.Dataset:
    return read_dataset(path)


def _readouts(folder: Path, name: str) -> xr.DataArray:
    """What every method reads of the documents or of neutral prompts."""
    return read_dataset(folder / f"{name}.nc")["readout"]


def _read_profile(
    experiment: Transfer, store: Store, cells: Cells, *, key: Key, world: World
) -> Tables:
    """Shift of the residual towards the target, by hook and by whose tokens."""
    _, lr = key
    return {"profile": read_table(store.path(cells[key], "profile.parquet")).assign(lr=lr)}


READERS = {
    "features": _read_features,
    "personas": _read_personas,
    "causes": _read_causes,
    "profile": _read_profile,
}
"""Kind of cell -> what is read from it."""
