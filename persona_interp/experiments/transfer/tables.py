"""What do the finished cells of a transfer run say, as tables?

One function a kind of cell: it reads the cell's files, and those of the cells it needs, and gives
tables by name.
"""

from typing import Any

import numpy as np
import pandas as pd

from persona_interp import analysis, worlds
from persona_interp.experiments.transfer.config import ARMS, Transfer, lesson_of, variant_of
from persona_interp.experiments.transfer.inside.tables import READERS as INSIDE_READERS
from persona_interp.store import Cell, Store
from persona_interp.tables import read_table
from persona_interp.worlds import World

Cells = dict[tuple[Any, ...], Cell]
Tables = dict[str, pd.DataFrame]


def _read_documents(
    experiment: Transfer, store: Store, cells: Cells, *, key: tuple[Any, ...], world: World
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
    experiment: Transfer, store: Store, cells: Cells, *, key: tuple[Any, ...], world: World
) -> Tables:
    """How far did the untaught traits move, step by step, beside what exact Bayes expects?"""
    _, arm, lr = key
    name, what = ARMS[arm]
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


READERS = {"documents": _read_documents, "lesson": _read_lesson, **INSIDE_READERS}
"""Kind of cell -> what is read from it."""


def summarize(experiment: Transfer, store: Store) -> Tables:
    """Tables of what is finished.

    Args:
        experiment: The experiment.
        store: Its run; missing cells leave fewer rows.

    Returns:
        Tables by name, log odds in bits: ``summary`` (one row an arm, rate and persona read
        out: mean over untaught traits, over seeds), ``transfer`` (trait by trait), ``curve``
        (the means over steps), ``gates`` (is the base model fit for the question?), ``mixing``
        (K), ``contexts`` (leak and specificity), ``worst`` (average and worst case),
        ``samples``, ``counts``; and from inside the models ``features``, ``fidelity``,
        ``directions`` (which persona the residuals moved towards), ``refit``, ``scores``,
        ``stated``, ``cosines``, ``cooccurrence``, ``causes`` (what goes with each edit),
        ``baselines``, ``tokens``, ``lens``, ``nearest``, ``profile`` (by hook and role).
    """
    parts: dict[str, list[pd.DataFrame]] = {}
    of_seed: dict[int, World] = {}
    for seed in experiment.seeds:
        cells = experiment.seed_cells(seed)
        if not store.has(cells["layout",]):
            continue
        of_seed[seed] = world = worlds.load(store.path(cells["layout",], "world.json"))
        for key, cell in cells.items():
            if store.has(cell) and key[0] in READERS:
                for name, table in READERS[key[0]](
                    experiment, store, cells, key=key, world=world
                ).items():
                    parts.setdefault(name, []).append(table.assign(seed=seed))
    tables = {name: pd.concat(found, ignore_index=True) for name, found in parts.items()}
    if "transfer" in tables:
        tables["summary"] = over_seeds(tables["transfer"])
    if "said" in tables:
        tables["worst"] = worst(
            tables.pop("said"), of_seed, arms={arm: ARMS[arm][1] for arm in experiment.arms}
        )
    return tables


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
