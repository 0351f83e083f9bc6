"""What do the finished cells of an agreement run say, as tables?"""

from pathlib import Path

import pandas as pd

from persona_interp import analysis
from persona_interp.experiments.agreement.config import Agreement
from persona_interp.store import Store
from persona_interp.tables import read_dataset, read_table
from persona_interp.worlds import World

MARGIN = 1.44
"""Bits (1 nat) by which a persona's own traits must be likelier under its name for the model to know it."""

Tables = dict[str, pd.DataFrame]


def summarize(experiment: Agreement, store: Store) -> dict[str, pd.DataFrame]:
    """Tables of what is finished.

    Args:
        experiment: The experiment.
        store: Its run; missing cells leave fewer rows.

    Returns:
        ``measure`` and ``metric`` (a seed, estimator and persona or pair),
        ``measure_agreement`` and ``metric_agreement`` (pairs of estimators), ``axioms`` (a seed
        and estimator), ``margins`` (named minus nameless log odds of own traits: does the model
        know them?), ``spillover_rows`` and ``spillover`` (a predictor).
    """
    measures, metrics, margins, rows = [], [], [], []
    for seed in experiment.seeds:
        cells, world = experiment.seed_cells(seed), experiment.world_of(seed)
        if store.has(cells["estimates",]):
            at = store.path(cells["estimates",], "behavior.parquet").parent
            tables = _estimated(at, world)
            measures += [t.assign(seed=seed) for t in tables["measure"]]
            metrics += [t.assign(seed=seed) for t in tables["metric"]]
            margins.append(_margins(read_table(at / "behavior.parquet"), world).assign(seed=seed))
        if ("documents",) in cells and store.has(cells["documents",]):
            counts = read_table(store.path(cells["documents",], "counts.parquet"))
            measures.insert(
                0, analysis.mass(counts, [p.name for p in world.personas]).assign(seed=seed)
            )
            measures.append(analysis.expected_trait_odds(world).assign(seed=seed))
            metrics.insert(0, analysis.trait_distance(world).assign(seed=seed))
        walks = [cell for key, cell in cells.items() if key[0] == "walk" and store.has(cell)]
        if walks:
            said, solution = (
                pd.concat(
                    [read_table(store.path(cell, f"{name}.parquet")) for cell in walks],
                    ignore_index=True,
                )
                for name in ("said", "solution")
            )
            metrics.append(analysis.walk_distance(said, solution, world).assign(seed=seed))
            if ("documents",) in cells:
                from_nobody = said.loc[said["start"] == ""]
                dose = analysis.lesson_dose(from_nobody, world, batch=experiment.walk.batch)
                measures.append(dose.assign(seed=seed))
        if any(key[0] == "lesson" and store.has(cell) for key, cell in cells.items()):
            rows.append(_spilled(experiment, store, seed))
    found: Tables = {}
    for name, parts in (("measure", measures), ("metric", metrics)):
        if parts:
            found[name] = pd.concat(parts, ignore_index=True)
            found[f"{name}_agreement"] = analysis.agreement(found[name])
    if metrics:
        kinds = [
            analysis.axioms(own).assign(seed=seed)
            for seed, own in found["metric"].groupby("seed", sort=False)
        ]
        found["axioms"] = pd.concat(kinds, ignore_index=True)
    if margins:
        found["margins"] = pd.concat(margins, ignore_index=True)
    if rows:
        found["spillover_rows"] = pd.concat(rows, ignore_index=True)
        found["spillover"] = analysis.spillover(found["spillover_rows"])
    return found


def _estimated(at: Path, world: World) -> dict[str, list[pd.DataFrame]]:
    """Measure and metric tables of one cell of estimates."""
    vectors = read_dataset(at / "vectors.nc")
    behavior, likelihood, added, apart, gradients = (
        read_table(at / f"{name}.parquet")
        for name in ("behavior", "likelihood", "added_kl", "divergence", "gradients")
    )
    directions = vectors["vector"].assign_attrs(vectors.attrs)
    measure = [
        analysis.trait_odds(behavior, world),
        analysis.dialogue_odds(likelihood),
        analysis.direction_kl(added),
    ]
    metric = [
        analysis.continuation_distance(apart),
        analysis.kernel_distance(gradients),
        analysis.direction_distance(analysis.cosine_map(directions)),
    ]
    return {"measure": measure, "metric": metric}


def _margins(behavior: pd.DataFrame, world: World) -> pd.DataFrame:
    """Does the model know these personas: log odds of own values, under the own name minus nameless (bits)?"""
    bits = analysis.logodds(behavior).set_index(["persona", "topic", "value"])["logodds"]
    rows = []
    for persona in world.personas:
        apart = [
            bits[persona.name, t.topic, t.value] - bits["", t.topic, t.value]
            for t in persona.traits
        ]
        estimate, lo, hi, n = analysis.t_interval(apart)
        rows.append(
            (persona.name, float(estimate), float(lo), float(hi), n, bool(estimate >= MARGIN))
        )
    return pd.DataFrame(rows, columns=["persona", "estimate", "lo", "hi", "n", "known"])


def _spilled(experiment: Agreement, store: Store, seed: int) -> pd.DataFrame:
    """Shift of every untaught trait after every lesson, beside what may carry it."""
    cells, world = experiment.seed_cells(seed), experiment.world_of(seed, styles=experiment.styles)
    data = read_dataset(store.path(cells["geometry",], "traits.nc"))
    beside = analysis.cosine_map(data["vector"].assign_attrs(data.attrs), world)
    beside = beside.rename(columns={"name": "taught", "other": "trait"})
    style = analysis.style_overlap(world).rename(columns={"trait": "taught", "other": "trait"})
    masses = world.mass().sum(axis=1)
    rows = []
    for trait in experiment.taught(seed):
        if not store.has(cells["lesson", trait]):
            continue
        moved = analysis.shift(read_table(store.path(cells["lesson", trait], "behavior.parquet")))
        moved = moved.loc[
            moved["topic"] != world.trait(trait).topic, ["trait", "estimate", "lo", "hi"]
        ]
        holder = str(masses.loc[list(world.holders(trait))].idxmax())
        rows.append(moved.assign(seed=seed, taught=trait, persona=holder))
    both = ["taught", "trait"]
    table = pd.concat(rows, ignore_index=True).merge(beside.drop(columns="hook"), on=both)
    return table.merge(style, on=both)
