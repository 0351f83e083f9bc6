"""What do the finished cells say about the inside of the models, as tables?

One function a kind of cell: it reads the cell's files, and those of the cells it needs, and gives
tables by name.
"""

from typing import Any

import pandas as pd

from persona_interp import analysis
from persona_interp.experiments.transfer.config import Transfer
from persona_interp.experiments.transfer.inside.config import FAMILY, METHODS
from persona_interp.store import Cell, Store
from persona_interp.tables import concat, read_dataset, read_directions, read_table
from persona_interp.worlds import World

CHANCE = 0.5
"""AUROC of a feature that knows nothing."""
Cells = dict[tuple[Any, ...], Cell]
Tables = dict[str, pd.DataFrame]


def _read_features(
    experiment: Transfer, store: Store, cells: Cells, *, key: tuple[Any, ...], world: World
) -> Tables:
    """Which features moved, does the dictionary still fit, and which persona did the residuals move towards?"""
    _, arm, lr, hook = key
    labels = {"arm": arm, "lr": lr, "hook": hook}
    moved = analysis.feature_shift(read_dataset(store.path(cells[key], "features.nc")))
    fidelity = read_table(store.path(cells[key], "fidelity.parquet"))
    found: Tables = {"features": moved.assign(**labels), "fidelity": fidelity.assign(**labels)}
    personas = cells["personas", lr, hook]
    if store.has(personas):
        neutral = read_dataset(store.path(cells[key], "acts.nc"))
        shifts = [
            analysis.direction_shift(
                neutral, read_directions(store.path(personas) / f"{method}.nc")
            ).assign(method=method)
            for method in METHODS
        ]
        found["directions"] = pd.concat(shifts, ignore_index=True).assign(**labels)
    return found


def _read_personas(
    experiment: Transfer, store: Store, cells: Cells, *, key: tuple[Any, ...], world: World
) -> Tables:
    """Which feature knows each persona and trait best, and which directions lie together?"""
    labels = {"lr": key[1], "hook": key[2]}
    folder = store.path(cells[key])
    scores = read_table(folder / "scores.parquet")
    names = scores.loc[
        scores["auroc_chosen"] > CHANCE, "name"
    ].unique()  # for others no feature speaks
    best = [
        analysis.top(scores, name=name, k=FAMILY if name == world.target else 1) for name in names
    ]
    maps = {
        method: analysis.cosine_map(read_directions(folder / f"{method}.nc"), world)
        for method in (*METHODS, "traits")
    }
    cosines = [table.assign(method=method) for method, table in maps.items()]
    masses = world.mass()
    # who is not written about goes with nobody in the documents, whatever the world says they hold
    unwritten = [name for name in masses.index if not masses.loc[name].any()]
    against = [
        analysis.cosine_against_cooccurrence(
            table.loc[~table["name"].isin(unwritten) & ~table["other"].isin(unwritten)]
        ).assign(method=method)
        for method, table in maps.items()
    ]
    stated = read_directions(folder / "trait pairs.nc")
    both = concat([read_directions(folder / "minimal pair.nc"), stated], "name")
    towards = analysis.cosine_map(both)
    values = stated["name"].to_numpy().tolist()
    towards = towards.loc[towards["name"].isin(values) & ~towards["other"].isin(values)]
    holders = {value: world.holders(f"{world.taught.topic}={value}") for value in values}
    holds = [
        name in holders[value]
        for value, name in zip(towards["name"], towards["other"], strict=True)
    ]
    return {
        "stated": towards.assign(holds=holds, **labels),
        "scores": pd.concat(best, ignore_index=True).assign(**labels),
        "cosines": pd.concat(cosines, ignore_index=True).assign(**labels),
        "cooccurrence": pd.concat(against, ignore_index=True).assign(**labels),
    }


def _read_causes(
    experiment: Transfer, store: Store, cells: Cells, *, key: tuple[Any, ...], world: World
) -> Tables:
    """What goes when the persona is taken out, what comes when it is put in, and do simpler readouts do as well?"""
    _, lr, hook = key
    labels = {"lr": lr, "hook": hook}
    behavior = read_table(store.path(cells[key], "behavior.parquet"))
    neutral = read_dataset(store.path(cells[key], "neutral.nc"))
    base, tuned = (str(c) for c in neutral["checkpoint"].values)
    removed = analysis.removed_share(behavior, base=base, tuned=tuned, world=world)
    groups = read_table(store.path(cells[key], "edits.parquet"))
    removed = removed.merge(groups, on="edit", how="left", validate="one_to_one").fillna(
        {"group": "none"}
    )
    added = analysis.added_share(behavior, base=base, tuned=tuned, world=world).assign(
        group="added"
    )
    causes = pd.concat([removed, added.loc[added["edit"] != "none"]], ignore_index=True)
    found = {
        "causes": causes.assign(**labels),
    }
    for name in ("tokens", "lens", "nearest", "refit"):
        found[name] = read_table(store.path(cells[key], f"{name}.parquet")).assign(**labels)
    if len(experiment.feature_arms) > 1:
        hidden, control = (
            read_dataset(store.path(cells[key], f"{name}.nc"))["readout"]
            for name in ("hidden", "control")
        )
        table = analysis.baselines(
            hidden,
            neutral["readout"],
            control=control,
            causes=removed,
            persona=world.target,
            random=groups.loc[groups["group"] == "random (norm)", "edit"],
        )
        found["baselines"] = table.assign(**labels)
    return found


def _read_profile(
    experiment: Transfer, store: Store, cells: Cells, *, key: tuple[Any, ...], world: World
) -> Tables:
    """At which hook and on whose tokens did the residual move towards the target?"""
    return {"profile": read_table(store.path(cells[key], "profile.parquet")).assign(lr=key[1])}


READERS = {
    "features": _read_features,
    "personas": _read_personas,
    "causes": _read_causes,
    "profile": _read_profile,
}
"""Kind of cell -> what is read from it."""
