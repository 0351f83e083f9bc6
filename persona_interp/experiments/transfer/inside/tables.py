"""What do the finished cells say about the inside of the models, as tables?

One function a kind of cell: it reads the cell's files, and those of the cells it needs, and gives
tables by name.
"""

from pathlib import Path
from typing import Any

import pandas as pd
import xarray as xr

from persona_interp import analysis
from persona_interp.experiments.transfer.config import Cells, Key, Transfer
from persona_interp.experiments.transfer.inside.config import METHODS, N_FAMILY, RANDOM, VECTOR
from persona_interp.schema.words import Arm
from persona_interp.store import Store
from persona_interp.tables import concat, read_dataset, read_directions, read_table
from persona_interp.worlds import World

Tables = dict[str, pd.DataFrame]

CHANCE = 0.5
"""AUROC of a feature that knows nothing."""


def _read_features(
    experiment: Transfer, store: Store, cells: Cells, *, key: Key, world: World
) -> Tables:
    """Shifts of features and of residuals along personas' directions, and the dictionary's fit."""
    _, arm, lr, hook = key
    labels = {"arm": str(arm), "lr": lr, "hook": hook}
    folder = store.path(cells[key])
    shifts = analysis.feature_shift(read_dataset(folder / "features.nc"))
    fidelity = read_table(folder / "fidelity.parquet")
    tables: Tables = {"features": shifts.assign(**labels), "fidelity": fidelity.assign(**labels)}
    personas = cells["personas", lr, hook]
    if not store.has(personas):
        return tables
    neutral = read_dataset(folder / "acts.nc")
    parts = []
    for method in METHODS:
        vectors = read_directions(store.path(personas) / f"{method}.nc")
        parts.append(analysis.direction_shift(neutral, vectors).assign(method=method))
    tables["directions"] = pd.concat(parts, ignore_index=True).assign(**labels)
    return tables


def _read_personas(
    experiment: Transfer, store: Store, cells: Cells, *, key: Key, world: World
) -> Tables:
    """Features that know each persona and trait best, and directions that lie together."""
    _, lr, hook = key
    folder = store.path(cells[key])
    maps = {
        method: analysis.cosine_map(read_directions(folder / f"{method}.nc"), world)
        for method in (*METHODS, "traits")
    }
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
    # where no feature is above chance, none speaks for the name, and ``top`` would refuse it
    names = scores.loc[scores["auroc_chosen"] > CHANCE, "name"].unique()
    tables = []
    for name in names:
        k = N_FAMILY if name == world.target else 1
        tables.append(analysis.top(scores, name=name, k=k))
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
    both = concat([read_directions(folder / f"{VECTOR}.nc"), vectors], "name")
    cosines = analysis.cosine_map(both)
    cosines = cosines.loc[cosines["name"].isin(values) & ~cosines["other"].isin(values)]
    holders = {value: world.holders(f"{world.taught.topic}={value}") for value in values}
    pairs = zip(cosines["name"], cosines["other"], strict=True)
    return cosines.assign(holds=[name in holders[value] for value, name in pairs])


def _read_causes(
    experiment: Transfer, store: Store, cells: Cells, *, key: Key, world: World
) -> Tables:
    """What goes with each edit, what comes when the persona is put in, and simpler readouts."""
    _, lr, hook = key
    folder = store.path(cells[key])
    behavior = read_table(folder / "behavior.parquet")
    neutral = _readouts(folder, "neutral")
    base, tuned = (str(checkpoint) for checkpoint in neutral["checkpoint"].values)
    groups = read_table(folder / "edits.parquet")
    removed = analysis.removed_share(behavior, base=base, tuned=tuned, world=world)
    removed = removed.merge(groups, on="edit", how="left", validate="one_to_one")
    removed = removed.fillna({"group": "none"})  # the tuned model without an edit
    added = analysis.added_share(behavior, base=base, tuned=tuned, world=world)
    added = added.loc[added["edit"] != "none"].assign(group="added")
    tables = {"causes": pd.concat([removed, added], ignore_index=True)}
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
