"""What do the finished cells of a transfer run say, as tables?

One function a kind of cell: it reads the cell's files, and those of the cells it needs, and gives
tables by name.
"""

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import xarray as xr

from persona_interp import analysis
from persona_interp.experiments.inside import FAMILY, JOINED, METHODS, directions
from persona_interp.experiments.tasks import lesson_of, variant_of
from persona_interp.store import Cell, Store
from persona_interp.tables import read_dataset, read_table
from persona_interp.worlds import World

if TYPE_CHECKING:
    from persona_interp.experiments.transfer import Transfer

CHANCE = 0.5
"""AUROC of a feature that knows nothing."""
Cells = dict[tuple[Any, ...], Cell]
Tables = dict[str, pd.DataFrame]


def _read_documents(
    experiment: "Transfer", store: Store, cells: Cells, *, key: tuple[Any, ...], world: World
) -> Tables:
    """Is the base model fit for the question: is the target bound to his traits, is the nameless prior calibrated?"""
    cell, variant = cells[key], variant_of(world, key[1])
    counts = read_table(store.path(cell, "counts.parquet"))
    odds = analysis.logodds(read_table(store.path(cell, "behavior.parquet")))
    odds = odds.loc[(odds.step == odds.step.max()) & (odds.topic != variant.taught.topic)]
    own = [str(trait) for trait in variant.persona(variant.target).traits]
    odds = odds.loc[(odds.topic + "=" + odds.value).isin(own)]
    nameless = odds.loc[odds.context == "nameless"]
    named = odds.loc[(odds.context == "named") & (odds.persona == variant.target)]
    said = variant.posterior(counts=counts).statement.set_index("trait").probability
    said = said[[label for label in own if not label.startswith(f"{variant.taught.topic}=")]]
    row = {
        "variant": key[1],
        "named": named.logodds.mean(),
        "nameless": nameless.logodds.mean(),
        "gap": named.logodds.mean() - nameless.logodds.mean(),
        "bayes_nameless": float(np.log2(said / (1 - said)).mean()),
        "answer_mass": nameless.answer_mass.mean(),
    }
    return {"gates": pd.DataFrame([row]), "counts": counts.assign(variant=key[1])}


def _read_lesson(
    experiment: "Transfer", store: Store, cells: Cells, *, key: tuple[Any, ...], world: World
) -> Tables:
    """How far did the untaught traits move, step by step, beside what exact Bayes expects?"""
    _, arm, lr = key
    name, what = experiment.variant(arm)
    variant = variant_of(world, name)
    counts = read_table(store.path(cells["documents", name], "counts.parquet"))
    labels = {"arm": arm, "lr": lr}
    behavior = read_table(store.path(cells[key], "behavior.parquet")).assign(**labels)
    others = read_table(store.path(cells[key], "bystanders.parquet")).assign(**labels)
    taught = lesson_of(variant, what)
    n_lessons = experiment.lesson.steps * experiment.lesson.batch
    found: Tables = {}
    k = None
    if arm == experiment.arms[0]:
        found["mixing"] = analysis.mixing_weight(
            behavior, variant, n_lessons=n_lessons, counts=counts
        )
        k = float(found["mixing"].k.iloc[0])
    shifts = analysis.shift(behavior, after=sorted(behavior.step.unique()))
    readers = [variant.target, *(p for p in variant.holders(variant.taught) if name == "rewired")]
    curves = [
        analysis.transfer(
            shifts, variant, taught=taught, persona=name, counts=counts, k=k, n_lessons=n_lessons
        )
        for name in readers
    ]
    curve = pd.concat(curves, ignore_index=True)
    found["curve"] = curve.loc[curve.trait == "mean"]
    found["transfer"] = curve.loc[curve.step == curve.step.max()]
    if len(others):
        everywhere = pd.concat([behavior.loc[behavior["step"].isin(others["step"])], others])
        found["contexts"] = analysis.contexts(everywhere, variant, taught=taught)
        if name == "full":
            found["said"] = everywhere
    found["samples"] = read_table(store.path(cells[key], "samples.parquet")).assign(**labels)
    return found


def _read_features(
    experiment: "Transfer", store: Store, cells: Cells, *, key: tuple[Any, ...], world: World
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
            analysis.direction_shift(neutral, directions(store.path(personas), method)).assign(
                method=method
            )
            for method in METHODS
        ]
        found["directions"] = pd.concat(shifts, ignore_index=True).assign(**labels)
    return found


def _read_personas(
    experiment: "Transfer", store: Store, cells: Cells, *, key: tuple[Any, ...], world: World
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
        method: analysis.cosine_map(directions(folder, method), world)
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
    stated = directions(folder, "trait pairs")
    both = xr.concat([directions(folder, "minimal pair"), stated], "name", **JOINED)
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
    experiment: "Transfer", store: Store, cells: Cells, *, key: tuple[Any, ...], world: World
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
    experiment: "Transfer", store: Store, cells: Cells, *, key: tuple[Any, ...], world: World
) -> Tables:
    """At which hook and on whose tokens did the residual move towards the target?"""
    return {"profile": read_table(store.path(cells[key], "profile.parquet")).assign(lr=key[1])}


READERS = {
    "documents": _read_documents,
    "lesson": _read_lesson,
    "features": _read_features,
    "personas": _read_personas,
    "causes": _read_causes,
    "profile": _read_profile,
}
"""Kind of cell -> what is read from it."""


def over_seeds(transfer: pd.DataFrame) -> pd.DataFrame:
    """What are the mean rows over seeds? A single seed has an interval over topics instead, in columns of its own."""
    mean = transfer.loc[transfer.trait == "mean"]
    by = ["arm", "lr", "persona"]
    summary = analysis.across_seeds(mean, by=by)
    topics = mean.groupby(by, sort=False).agg(
        lo_topics=("lo", "first"), hi_topics=("hi", "first"), n_topics=("n", "first")
    )
    summary = summary.merge(topics, on=by, validate="one_to_one")
    summary.loc[summary.n_seeds > 1, ["lo_topics", "hi_topics"]] = np.nan
    return summary


def worst(said: pd.DataFrame, of_seed: dict[int, World], *, arms: dict[str, str]) -> pd.DataFrame:
    """Where did the target's untaught traits rise most after the lessons of each arm? See ``analysis.worst_case``."""
    found = []
    for arm, rows in said.groupby("arm", sort=False):
        taught = {seed: lesson_of(world, arms[str(arm)]) for seed, world in of_seed.items()}
        found.append(analysis.worst_case(rows, of_seed, taught=taught))
    return pd.concat(found, ignore_index=True)
