"""What do the finished cells of an agreement run say, as tables?"""

from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from persona_interp import analysis
from persona_interp.analysis.spillover import style_overlap
from persona_interp.experiments.agreement.config import Agreement
from persona_interp.store import Cell, Store
from persona_interp.tables import read_dataset, read_table
from persona_interp.worlds import World

MARGIN = 1.44
"""Bits (1 nat) by which own traits must be likelier under a persona's name for it to be known."""

Tables = dict[str, pd.DataFrame]


def summarize(experiment: Agreement, store: Store) -> Tables:
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
    measures, metrics, margins, spillover = [], [], [], []
    for seed in experiment.seeds:
        cells, world = experiment.seed_cells(seed), experiment.world_of(seed)
        documents = cells.get(("documents",))
        if store.has(cells["estimates",]):
            folder = store.path(cells["estimates",])
            measures += [table.assign(seed=seed) for table in _measures(folder, world)]
            metrics += [table.assign(seed=seed) for table in _metrics(folder)]
            margins.append(_margins(folder, world).assign(seed=seed))
        if documents and store.has(documents):
            counts = read_table(store.path(documents, "counts.parquet"))
            mass = analysis.measure.mass(counts, [p.name for p in world.personas])
            # The truth comes first, as the others are read against it.
            measures.insert(0, mass.assign(seed=seed))
            measures.append(analysis.measure.expected_trait_odds(world).assign(seed=seed))
            metrics.insert(0, analysis.metric.trait_distance(world).assign(seed=seed))
        walks = [cell for key, cell in cells.items() if key[0] == "walk" and store.has(cell)]
        if walks:
            odds = _read_all(store, walks, "logodds.parquet")
            solutions = _read_all(store, walks, "solution.parquet")
            metrics.append(analysis.metric.walk_distance(odds, solutions, world).assign(seed=seed))
            if documents:
                from_nobody = odds.loc[odds["start"] == ""]
                dose = analysis.measure.lesson_dose(from_nobody, world, batch=experiment.walk.batch)
                measures.append(dose.assign(seed=seed))
        if any(key[0] == "lesson" and store.has(cell) for key, cell in cells.items()):
            spillover.append(_spillover(experiment, store, seed))
    tables: Tables = {}
    for name, parts in (("measure", measures), ("metric", metrics)):
        if parts:
            tables[name] = pd.concat(parts, ignore_index=True)
            tables[f"{name}_agreement"] = analysis.agreement(tables[name])
    if metrics:
        tables["axioms"] = _axioms(tables["metric"])
    if margins:
        tables["margins"] = pd.concat(margins, ignore_index=True)
    if spillover:
        tables["spillover_rows"] = pd.concat(spillover, ignore_index=True)
        tables["spillover"] = analysis.spillover(tables["spillover_rows"])
    return tables


def _measures(folder: Path, world: World) -> list[pd.DataFrame]:
    """Measure tables of one cell of estimates."""
    return [
        analysis.measure.trait_odds(read_table(folder / "behavior.parquet"), world),
        analysis.measure.dialogue_odds(read_table(folder / "likelihood.parquet")),
        analysis.measure.direction_kl(read_table(folder / "added_kl.parquet")),
    ]


def _metrics(folder: Path) -> list[pd.DataFrame]:
    """Metric tables of one cell of estimates."""
    vectors = read_dataset(folder / "vectors.nc")
    directions = vectors["vector"].assign_attrs(vectors.attrs)
    return [
        analysis.metric.continuation_distance(read_table(folder / "divergence.parquet")),
        analysis.metric.kernel_distance(read_table(folder / "gradients.parquet")),
        analysis.metric.direction_distance(analysis.cosine_map(directions)),
    ]


def _margins(folder: Path, world: World) -> pd.DataFrame:
    """Log odds of each persona's own values, under its name minus nameless (bits)."""
    odds = analysis.logodds(read_table(folder / "behavior.parquet"))
    bits = odds.set_index(["persona", "topic", "value"])["logodds"]
    rows = []
    for persona in world.personas:
        values = [(trait.topic, trait.value) for trait in persona.traits]
        margins = [bits[persona.name, *value] - bits["", *value] for value in values]
        interval = analysis.stats.t_interval(margins)
        row = {"persona": persona.name, **interval.row(), "n": interval.n}
        rows.append({**row, "known": bool(interval.estimate >= MARGIN)})
    return pd.DataFrame(rows)


def _read_all(store: Store, cells: Iterable[Cell], name: str) -> pd.DataFrame:
    """Tables of this name of all cells."""
    parts = [read_table(store.path(cell, name)) for cell in cells]
    return pd.concat(parts, ignore_index=True)


def _axioms(metric: pd.DataFrame) -> pd.DataFrame:
    """Which axioms of a metric each estimator violates, a seed at a time."""
    seeds = metric.groupby("seed", sort=False)
    parts = [analysis.metric.axioms(own).assign(seed=seed) for seed, own in seeds]
    return pd.concat(parts, ignore_index=True)


def _spillover(experiment: Agreement, store: Store, seed: int) -> pd.DataFrame:
    """Shift of every untaught trait after every lesson, beside what may carry it."""
    cells, world = experiment.seed_cells(seed), experiment.world_of(seed, styles=experiment.styles)
    mass = world.mass().sum(axis=1)
    parts = []
    for trait in experiment.taught(seed):
        if not store.has(cells["lesson", trait]):
            continue
        shift = analysis.shift(read_table(store.path(cells["lesson", trait], "behavior.parquet")))
        untaught = shift.loc[shift["topic"] != world.trait(trait).topic]
        untaught = untaught[["trait", "estimate", "lo", "hi"]]
        # Lessons are clustered by who most likely says the trait: the heaviest of its holders.
        holder = str(mass.loc[list(world.holders(trait))].idxmax())
        parts.append(untaught.assign(seed=seed, taught=trait, persona=holder))
    traits = read_dataset(store.path(cells["geometry",], "traits.nc"))
    cosine = analysis.cosine_map(traits["vector"].assign_attrs(traits.attrs), world)
    cosine = cosine.rename(columns={"name": "taught", "other": "trait"}).drop(columns="hook")
    style = style_overlap(world).rename(columns={"trait": "taught", "other": "trait"})
    pair = ["taught", "trait"]
    return pd.concat(parts, ignore_index=True).merge(cosine, on=pair).merge(style, on=pair)
