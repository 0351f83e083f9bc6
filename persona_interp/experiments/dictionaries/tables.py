"""What do the finished cells of a dictionaries run say, as tables?"""

from collections.abc import Iterable, Iterator, Mapping
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr

from persona_interp import analysis, worlds
from persona_interp.analysis.nulls import against_null
from persona_interp.analysis.stats import cluster_interval
from persona_interp.experiments.dictionaries.config import (
    AFTER,
    BEFORE,
    CHANGES,
    EDITS,
    MATCHED,
    NULLS,
    Dictionaries,
    Life,
    Verb,
)
from persona_interp.experiments.transfer.config import Cells
from persona_interp.experiments.transfer.inside.config import PATCH
from persona_interp.schema.words import Status
from persona_interp.store import Store
from persona_interp.tables import read_dataset, read_table
from persona_interp.worlds import World

Tables = dict[str, pd.DataFrame]
NEAR = ("same", "overlap", "cosine")
"""How near the features of two traits are."""
SCORES = ("auroc", "lo", "hi", "bayes", "q")
"""What is taken of a feature's score."""


def summarize(experiment: Dictionaries, store: Store) -> Tables:
    """Tables of what is finished.

    Args:
        experiment: The experiment.
        store: Its run; missing cells leave fewer rows.

    Returns:
        Tables by name: ``statuses`` (every feature of every life), ``reconstruction`` (what each
        crosscoder leaves unexplained, by checkpoint), ``shares`` (of the active features, by life
        and status, over seeds), ``changes`` (the lesson's shares by verb beside those of the lives
        where less happened), ``groups`` (features that know the target best, features that rise
        most, and such as fire as often: scores before and after, status, rise at neutral test
        prompts), ``verbs`` (what the lesson does to the features of each group, beside those that
        fire as often), ``directions`` (scores of the target's directions), ``norms`` (the features
        of both groups at every checkpoint), ``rises`` (their activation at neutral test prompts,
        step by step), ``causes`` (what goes with each edit, step by step), ``stops`` (what goes
        without each group, beside sets that fire as often, over seeds), ``companions`` (features
        of every two traits), ``together`` (traits that somebody holds both, beside such as nobody
        does, over seeds), ``fidelity`` (of the lesson's crosscoder on each checkpoint alone, at
        neutral prompts).
    """
    parts: dict[str, list[pd.DataFrame]] = {}
    for seed in experiment.seeds:
        cells = experiment.seed_cells(seed)
        if not store.has(cells["layout",]):
            continue
        world = worlds.load(store.path(cells["layout",], "world.json"))
        for name, table in _of_seed(store, cells, world):
            parts.setdefault(name, []).append(table.assign(seed=seed))
    tables = {name: pd.concat(rows, ignore_index=True) for name, rows in parts.items()}
    return tables | _over_seeds(tables)


def _of_seed(store: Store, cells: Cells, world: World) -> Iterator[tuple[str, pd.DataFrame]]:
    """Yield tables of one seed, by name."""
    for life in Life:
        cell = cells["crosscoder", life]
        if not store.has(cell):
            continue
        for name in ("statuses", "reconstruction"):
            table = read_table(store.path(cell, f"{name}.parquet"))
            yield name, table.assign(life=str(life))
            if name == "statuses":
                yield "counts", count_statuses(table).assign(life=str(life))
    coder = store.path(cells["crosscoder", Life.LESSON])
    folder = store.path(cells["features",])
    if not store.has(cells["features",]):
        return
    yield "directions", read_table(folder / "directions.parquet")
    yield "fidelity", read_table(folder / "fidelity.parquet")
    overlap, after = read_dataset(coder / "overlap.nc"), read_dataset(folder / f"{AFTER}.nc")
    yield (
        "companions",
        analysis.companions(
            after,
            together=overlap["together"].to_numpy(),
            decoder=overlap["decoder"].to_numpy()[-1],
            world=world,
        ),
    )
    if not store.has(cells["spread",]):
        return
    spread = store.path(cells["spread",])
    edits = read_table(spread / "edits.parquet")
    yield "causes", _causes(read_table(spread / "behavior.parquet"), edits, world)
    neutral = read_dataset(folder / "neutral.nc")
    groups = _members(edits)
    unrelated = read_dataset(folder / "unrelated.nc")
    described = _described(groups, folder, coder, target=world.target)
    awake = rises_beside(neutral, unrelated)
    yield "groups", with_verbs(described.merge(awake, on="feature", validate="many_to_one"))
    own = groups.loc[groups["group"].isin(list(EDITS)), "feature"].unique()
    betas = read_table(coder / "betas.parquet")
    yield "norms", betas.loc[betas["feature"].isin(own)]
    yield "rises", _rises(neutral, own.tolist())


def count_statuses(statuses: pd.DataFrame) -> pd.DataFrame:
    """How many features of one crosscoder have each status, of those that are active.

    Args:
        statuses: What ``analysis.statuses`` gives.

    Returns:
        ``status``, ``n``, ``n_active``, ``estimate`` (share of the active features).
    """
    active = statuses.loc[statuses["status"] != Status.DEAD]
    names = [str(status) for status in Status if status != Status.DEAD]
    counts = active["status"].value_counts().reindex(names, fill_value=0)
    table = pd.DataFrame({"status": names, "n": counts.to_numpy(), "n_active": len(active)})
    return table.assign(estimate=table["n"] / table["n_active"])


def _members(edits: pd.DataFrame) -> pd.DataFrame:
    """Features of each group, each once."""
    members = edits.loc[edits["group"].isin([*EDITS, *MATCHED.values()]), ["group", "features"]]
    members = members.explode("features").rename(columns={"features": "feature"})
    return members.drop_duplicates().astype({"feature": int}).reset_index(drop=True)


def _causes(behavior: pd.DataFrame, edits: pd.DataFrame, world: World) -> pd.DataFrame:
    """What goes with each edit at each step."""
    parts = []
    for step, rows in behavior.groupby("at", sort=False):
        by_step = rows.drop_duplicates("checkpoint").set_index("step")["checkpoint"]
        ends = {"base": str(by_step[0]), "tuned": str(by_step[step])}
        table = analysis.removed_share(rows.drop(columns="at"), **ends, world=world, patch=PATCH)
        parts.append(table.assign(step=step))
    table = pd.concat(parts, ignore_index=True)
    table = table.loc[table["edit"] != "none"]
    return table.merge(edits[["edit", "group"]], on="edit", how="left", validate="many_to_one")


def _described(groups: pd.DataFrame, folder: Path, coder: Path, *, target: str) -> pd.DataFrame:
    """What each feature knows of the target, before and after, and what became of it."""
    table = groups
    for moment in (BEFORE, AFTER):
        scores = read_table(folder / f"scores {moment}.parquet")
        own = scores.loc[scores["name"] == target, ["feature", *SCORES]]
        own = own.rename(columns={name: f"{name}_{moment}" for name in SCORES})
        table = table.merge(own, on="feature", how="left", validate="many_to_one")
    statuses = read_table(coder / "statuses.parquet")
    columns = ["feature", "status", "at", "checkpoint", "norms", "ratio", "turn", "why"]
    table = table.merge(statuses[columns], on="feature", how="left", validate="many_to_one")
    return table.assign(norm_before=[norms[0] for norms in table["norms"]])


def rises_beside(neutral: xr.Dataset, unrelated: xr.Dataset) -> pd.DataFrame:
    """How much each feature rises at neutral test prompts, beside another lesson.

    Args:
        neutral: Features at these prompts, first checkpoint to last.
        unrelated: The same of the other lesson.

    Returns:
        One row a feature: ``rise``, ``unrelated``, ``excess`` (rise minus unrelated), each with
        ``_lo`` and ``_hi`` (95 %, topics as clusters), ``act_before``, ``n_topics``.
    """
    neutral, unrelated = (_test(feats) for feats in (neutral, unrelated))
    rise, other = _change(neutral), _change(unrelated)
    clusters = neutral["topic"].to_numpy()
    table = pd.DataFrame({"feature": neutral["feature"].to_numpy()})
    for name, values in (("rise", rise), ("unrelated", other), ("excess", rise - other)):
        interval = cluster_interval(values, clusters)
        table[name], table[f"{name}_lo"], table[f"{name}_hi"] = interval[:3]
    table["act_before"] = neutral["act"].isel(checkpoint=0).mean("prompt").to_numpy()
    return table.assign(n_topics=len(np.unique(clusters)))


def with_verbs(table: pd.DataFrame) -> pd.DataFrame:
    """The table with what the lesson does to each feature.

    Args:
        table: With ``status`` and ``excess_lo``.

    Returns:
        The same with a boolean column for every ``Verb``.
    """
    creates, moves, amplified = (table["status"].isin(CHANGES[verb]) for verb in Verb)
    wakes = ~creates & (amplified | (table["excess_lo"] > 0))
    return table.assign(**dict(zip(map(str, Verb), (creates, moves, wakes), strict=True)))


def _test(feats: xr.Dataset) -> xr.Dataset:
    """Features at test prompts: those that rise were chosen on the others."""
    return feats.sel(prompt=(feats["split"] == "test").to_numpy())


def _change(feats: xr.Dataset) -> np.ndarray:
    """Activation at the last checkpoint minus that at the first, dims (prompt, feature)."""
    act = feats["act"].transpose("checkpoint", "prompt", "feature").to_numpy()
    return (act[-1] - act[0]).astype(float)


def _rises(neutral: xr.Dataset, family: list[int]) -> pd.DataFrame:
    """Activation of some features at neutral test prompts, step by step."""
    neutral = _test(neutral)
    act = neutral["act"].sel(feature=family).transpose("checkpoint", "prompt", "feature").to_numpy()
    clusters = neutral["topic"].to_numpy()
    rows = []
    for label, values in zip(neutral["checkpoint"].values, act, strict=True):
        interval = cluster_interval(values.astype(float), clusters)
        columns = {"estimate": interval.estimate, "lo": interval.lo, "hi": interval.hi}
        about = {"checkpoint": str(label), "step": int(str(label).rpartition("@")[2])}
        rows.append(pd.DataFrame({"feature": family, **columns}).assign(**about, n=len(clusters)))
    return pd.concat(rows, ignore_index=True)


def _over_seeds(tables: Tables) -> Tables:
    """Tables whose unit is the seed."""
    result: Tables = {}
    if "counts" in tables:
        counts = tables["counts"]
        result["shares"] = analysis.across_seeds(counts, by=["life", "status"])
        result["changes"] = beside_nulls(counts, nulls=NULLS)
    if "groups" in tables:
        result["verbs"] = _verbs(tables["groups"])
        result["stops"] = _stops(tables["causes"])
    if "companions" in tables and len(tables["companions"]):
        result["together"] = _together(tables["companions"])
    return {name: table for name, table in result.items() if len(table)}


def beside_nulls(counts: pd.DataFrame, *, nulls: Iterable[str]) -> pd.DataFrame:
    """Share of features that the lesson creates, moves or wakes, beside each null's, by seed.

    Args:
        counts: What ``count_statuses`` gives, with ``life`` and ``seed``.
        nulls: Lives that stand beside the lesson's.

    Returns:
        As ``analysis.nulls.against_null``, by ``verb`` and ``life`` (the null's).
    """
    parts = []
    for verb, statuses in CHANGES.items():
        rows = counts.loc[counts["status"].isin(statuses)]
        shares = dict(rows.groupby(["life", "seed"])["estimate"].sum().items())
        for life, seed in product(nulls, counts["seed"].unique()):
            pair = {"estimate": (Life.LESSON, seed), "null": (life, seed)}
            if set(pair.values()) <= set(shares):
                own = {name: shares[key] for name, key in pair.items()}
                parts.append({"verb": str(verb), "life": str(life), "seed": seed, **own})
    return against_null(pd.DataFrame(parts), by=["verb", "life"]) if parts else pd.DataFrame()


def _verbs(groups: pd.DataFrame) -> pd.DataFrame:
    """Share of each group that the lesson creates, moves, wakes, beside features as active."""
    return against_null(by_seed(groups, matched=MATCHED), by=["group", "verb"])


def by_seed(groups: pd.DataFrame, *, matched: Mapping[str, str]) -> pd.DataFrame:
    """Shares of the verbs, a row a seed.

    Args:
        groups: Table ``groups``.
        matched: Group -> the group that stands beside it.

    Returns:
        ``group``, ``verb``, ``seed``, ``estimate`` (share of the group's features), ``null`` (of
        those that fire as often).
    """
    rows = []
    for (group, other), verb in product(matched.items(), map(str, Verb)):
        for seed, own in groups.groupby("seed"):
            estimate, null = (_share(own, name, verb) for name in (group, other))
            about = {"group": group, "verb": verb, "seed": seed}
            rows.append({**about, "estimate": estimate, "null": null})
    return pd.DataFrame(rows)


def _share(groups: pd.DataFrame, group: str, verb: str) -> float:
    """Share of a group's features of which a verb holds."""
    return float(groups.loc[groups["group"] == group, verb].to_numpy(float).mean())


def _stops(causes: pd.DataFrame) -> pd.DataFrame:
    """What goes without each group at each step, beside sets that fire as often."""
    parts = []
    for _, rows in causes.groupby(["seed", "step"], sort=False):
        about = {"seed": rows["seed"].iloc[0], "step": rows["step"].iloc[0]}
        direction = rows.loc[rows["group"] == "direction", "share"].item()
        for group, edit in EDITS.items():
            own = rows.loc[rows["edit"] == edit]
            matched = rows.loc[rows["group"] == MATCHED[group], "share"]
            row = {**about, "group": group, "estimate": own["share"].item()}
            row |= {"null": matched.mean(), "most": matched.max(), "n_sets": len(matched)}
            shift = (own["tuned"] - own["base"]).item()
            parts.append(row | {"direction": direction, "shift": shift})
    beside = ("most", "direction", "n_sets", "shift")
    return against_null(pd.DataFrame(parts), by=["group", "step"], beside=beside)


def _together(companions: pd.DataFrame) -> pd.DataFrame:
    """Nearness of features of traits that somebody holds both, beside such as nobody does."""
    rows = []
    for seed, own in companions.groupby("seed"):
        held = (own["n_holders"] > 0).to_numpy()
        sizes = {"n_pairs": int(held.sum()), "n_null": int((~held).sum())}
        if not all(sizes.values()):
            continue
        for name in NEAR:
            values = own[name].to_numpy(float)
            means = {"estimate": np.nanmean(values[held]), "null": np.nanmean(values[~held])}
            rows.append({"seed": seed, "measure": name, **means, **sizes})
    beside = ("n_pairs", "n_null")
    return against_null(pd.DataFrame(rows), by="measure", beside=beside) if rows else pd.DataFrame()
