"""What do the finished cells of a transfer run say, as tables?

One function a kind of cell: it reads the cell's files, and those of the cells it needs, and gives
tables by name.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import logit

from persona_interp import analysis, worlds
from persona_interp.experiments.browser import beside_controls
from persona_interp.experiments.transfer.arms import ARMS, lesson_of, variant_of
from persona_interp.experiments.transfer.config import Cells, Key, Transfer
from persona_interp.experiments.transfer.inside.tables import READERS as INSIDE_READERS
from persona_interp.experiments.transfer.inside.tables import distance_of
from persona_interp.store import Store
from persona_interp.tables import read_table
from persona_interp.worlds import World

Tables = dict[str, pd.DataFrame]


def summarize(experiment: Transfer, store: Store) -> Tables:
    """Tables of what is finished.

    Args:
        experiment: The experiment.
        store: Its run; missing cells leave fewer rows.

    Returns:
        Tables by name, log odds in bits: ``summary`` (one row an arm, rate and persona read
        out: mean over untaught traits, over seeds), ``transfer`` (trait by trait), ``curve``
        (the means over steps), ``rarity`` (the target's values beside equally rare ones of others),
        ``gates`` (is the base model fit for the question?), ``mixing``
        (K), ``contexts`` (leak and specificity), ``worst`` (average and worst case),
        ``samples``, ``counts``, ``distances`` (how far each lesson moved the assistant's
        answers, bits); and from inside the models ``features`` (every feature after the claim's
        lesson, beside control lessons: an effects table), ``roles`` (the features that know each
        persona, in the same way), ``feature_shift`` (each arm alone: its null is that before and
        after are exchangeable, which every lesson breaks), ``fidelity``, ``directions`` (which
        persona the residuals moved towards), ``chance`` (the same of random directions),
        ``refit``, ``scores``, ``stated``, ``cosines``, ``cooccurrence``, ``causes`` (what goes
        with each edit), ``rivals`` (the target's vector beside every control), ``baselines``,
        ``pairs``, ``tokens``, ``lens``, ``nearest``, ``profile`` (by hook and role).
    """
    parts: dict[str, list[pd.DataFrame]] = {}
    world_of_seed: dict[int, World] = {}
    for seed in experiment.seeds:
        cells = experiment.seed_cells(seed)
        if not store.has(cells["layout",]):
            continue
        world = worlds.load(store.path(cells["layout",], "world.json"))
        world_of_seed[seed] = world
        for key, cell in cells.items():
            if key[0] not in READERS or not store.has(cell):
                continue
            read = READERS[key[0]]
            for name, table in read(experiment, store, cells, key=key, world=world).items():
                parts.setdefault(name, []).append(table.assign(seed=seed))
    tables = {name: pd.concat(rows, ignore_index=True) for name, rows in parts.items()}
    if "transfer" in tables:
        mean = tables["transfer"].loc[tables["transfer"]["trait"] == "mean"]
        tables["summary"] = over_seeds(mean, by=["arm", "lr", "persona"])
    if "behavior" in tables:  # gathered only for this: the worst case is one over all seeds
        tables["worst"] = _worst(tables.pop("behavior"), world_of_seed)
    return tables


def browsable(tables: Tables, *, config: Mapping[str, Any]) -> dict[str, Any]:
    """What a page of all features takes of the tables of a transfer run.

    Args:
        tables: As its report wrote them.
        config: Of the run; the first arm makes the claim.

    Returns:
        Arguments of ``report.browse``; none where no feature is recorded.
    """
    if not {"feature_shift", "features"} <= set(tables):
        return {}
    arm, by = config["arms"][0], ("hook", "lr", "seed")
    shift = tables["feature_shift"]
    shift = shift.loc[shift["arm"] == arm].drop(columns="arm")
    shift, controls = beside_controls(shift, tables["features"], by=by)
    scores, lens = tables.get("scores"), tables.get("lens")
    if lens is not None:
        lens = _of_features(lens.rename(columns={"of": "feature"}))
    fidelity = tables.get("fidelity")
    return {
        "shift": shift,
        "controls": controls,
        "scores": None if scores is None else _of_features(scores),
        "fidelity": None if fidelity is None else fidelity.loc[fidelity["arm"] == arm],
        "tokens": tables.get("tokens"),
        "lens": lens,
        "by": by,
    }


def _of_features(table: pd.DataFrame) -> pd.DataFrame:
    """Rows that are of a feature; others are of a direction, by its name."""
    numbers = pd.Series(pd.to_numeric(table["feature"], errors="coerce"))
    return table.assign(feature=numbers).loc[numbers.notna()].astype({"feature": int})


def over_seeds(shifts: pd.DataFrame, *, by: Sequence[str]) -> pd.DataFrame:
    """Shifts over seeds, with intervals.

    Args:
        shifts: Rows of the table ``transfer`` of ``summarize``.
        by: Columns that tell the rows of a seed apart.

    Returns:
        One row a group: a t interval over seeds; of a single seed its interval over topics (of one
        trait over templates) instead, in columns of its own: ``report.rows.deciding`` takes one.
    """
    by = list(by)
    summary = analysis.across_seeds(shifts, by=by)
    within = shifts.groupby(by, sort=False).agg(
        lo_topics=("lo", "first"), hi_topics=("hi", "first"), n_topics=("n", "first")
    )
    summary = summary.merge(within, on=by, validate="one_to_one")
    summary.loc[summary.n_seeds > 1, ["lo_topics", "hi_topics"]] = np.nan
    return summary


def _read_documents(
    experiment: Transfer, store: Store, cells: Cells, *, key: Key, world: World
) -> Tables:
    """Whether the base model is fit: traits bound to the target, a calibrated nameless prior."""
    cell, variant = cells[key], variant_of(world, key[1])
    counts = read_table(store.path(cell, "counts.parquet"))
    odds = analysis.logodds(read_table(store.path(cell, "behavior.parquet")))
    # the taught topic is left out: what a lesson teaches is no transfer
    odds = odds.loc[(odds.step == odds.step.max()) & (odds.topic != variant.taught.topic)]
    own = [str(trait) for trait in variant.persona(variant.target).traits]
    odds = odds.loc[(odds.topic + "=" + odds.value).isin(own)]
    nameless = odds.loc[odds.context == "nameless"]
    named = odds.loc[(odds.context == "named") & (odds.persona == variant.target)]
    untaught = [label for label in own if not label.startswith(f"{variant.taught.topic}=")]
    statement = variant.posterior(counts=counts).statement.set_index("trait")
    probability = statement.probability[untaught]
    row = {
        "variant": key[1],
        "named": named.logodds.mean(),
        "nameless": nameless.logodds.mean(),
        "gap": named.logodds.mean() - nameless.logodds.mean(),
        "bayes_nameless": float(logit(probability).mean() / np.log(2)),
        "answer_mass": nameless.answer_mass.mean(),
    }
    return {"gates": pd.DataFrame([row]), "counts": counts.assign(variant=key[1])}


def _read_lesson(
    experiment: Transfer, store: Store, cells: Cells, *, key: Key, world: World
) -> Tables:
    """Shifts of the untaught traits, step by step, beside what exact Bayes expects."""
    _, arm, lr = key
    variant_name, lesson_name = ARMS[arm]
    variant = variant_of(world, variant_name)
    taught = lesson_of(variant, lesson_name)
    n_lessons = experiment.lesson.steps * experiment.lesson.batch
    counts = read_table(store.path(cells["documents", variant_name], "counts.parquet"))
    labels = {"arm": str(arm), "lr": lr}
    behavior, others, samples = (
        read_table(store.path(cells[key], f"{name}.parquet")).assign(**labels)
        for name in ("behavior", "bystanders", "samples")
    )
    tables: Tables = {}
    k = None
    if arm == experiment.arms[0]:
        mixing = analysis.mixing_weight(behavior, variant, n_lessons=n_lessons, counts=counts)
        k = float(mixing.k.iloc[0])
        tables["mixing"] = mixing
    personas = [variant.target]
    if variant_name == "rewired":  # there the taught trait belongs to somebody else
        personas += variant.holders(variant.taught)
    shifts = analysis.shift(behavior, after=sorted(behavior.step.unique()))
    expected: dict[str, Any] = {"taught": taught, "counts": counts, "k": k, "n_lessons": n_lessons}
    if variant_name == "full":
        last = shifts.loc[shifts.step == shifts.step.max()]
        tables["rarity"] = analysis.rarity(last, variant, taught=taught)
    curves = [analysis.transfer(shifts, variant, persona=name, **expected) for name in personas]
    curve = pd.concat(curves, ignore_index=True)
    tables["curve"] = curve.loc[curve.trait == "mean"]
    tables["transfer"] = curve.loc[curve.step == curve.step.max()]
    if len(others):
        ends = behavior.loc[behavior["step"].isin(others["step"])]
        everywhere = pd.concat([ends, others])
        tables["contexts"] = analysis.contexts(everywhere, variant, taught=taught)
        if variant_name == "full":
            tables["behavior"] = everywhere
    tables["samples"] = samples
    moved = distance_of(store.path(cells[key], "behavior.parquet"))
    tables["distances"] = moved.assign(**labels)
    return tables


def _worst(behavior: pd.DataFrame, world_of_seed: dict[int, World]) -> pd.DataFrame:
    """Where the target's untaught traits rose most after the lessons of each arm."""
    tables = []
    for arm, rows in behavior.groupby("arm", sort=False):
        _, lesson = ARMS[str(arm)]
        taught = {seed: lesson_of(world, lesson) for seed, world in world_of_seed.items()}
        tables.append(analysis.worst_case(rows, world_of_seed, taught=taught))
    return pd.concat(tables, ignore_index=True)


READERS = {"documents": _read_documents, "lesson": _read_lesson, **INSIDE_READERS}
"""Kind of cell -> what is read from it."""
