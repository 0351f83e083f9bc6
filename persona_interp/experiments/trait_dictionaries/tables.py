"""What do the finished cells of a run on traits' features say, as tables?"""

from collections.abc import Iterator

import numpy as np
import pandas as pd
import xarray as xr
from scipy.stats import rankdata

from persona_interp import analysis
from persona_interp.analysis.activity import matched_features
from persona_interp.analysis.auroc import delong
from persona_interp.analysis.nulls import against_null
from persona_interp.analysis.stats import Interval
from persona_interp.experiments.dictionaries.config import AFTER, BEFORE
from persona_interp.experiments.dictionaries.tables import (
    beside_nulls,
    by_seed,
    count_statuses,
    rises_beside,
    with_verbs,
)
from persona_interp.experiments.trait_dictionaries.config import (
    MATCHED,
    NULLS,
    RISEN,
    TRAIT,
    Life,
    TraitDictionaries,
)
from persona_interp.store import Cell, Store
from persona_interp.tables import read_dataset, read_table

Tables = dict[str, pd.DataFrame]
"""Tables by name."""


def summarize(experiment: TraitDictionaries, store: Store) -> Tables:
    """Tables of what is finished.

    Args:
        experiment: The experiment.
        store: Its run; missing cells leave fewer rows.

    Returns:
        Tables by name: ``statuses`` (every feature of every life), ``reconstruction`` (what each
        crosscoder leaves unexplained), ``shares`` (of the active features, by life and status, over
        traits), ``changes`` (the lesson's shares by verb beside its nulls, over traits), ``groups``
        (features that tell a trait best, features that rise most, and such as fire as often; column
        ``unrelated`` is the null finetune's),
        ``verbs`` (what the finetune does to each group, over traits), ``directions`` (AUROC of the
        trait's mean difference), ``fidelity``. In ``shares``, ``changes`` and ``verbs`` the unit is
        the trait: its seeds are averaged first, ``n_traits`` counts.
    """
    parts: dict[str, list[pd.DataFrame]] = {}
    for seed in experiment.seeds:
        cells = experiment.seed_cells(seed)
        for trait in experiment.names:
            for name, table in _of_trait(experiment, store, cells, trait):
                parts.setdefault(name, []).append(table.assign(trait=trait, seed=seed))
    tables = {name: pd.concat(rows, ignore_index=True) for name, rows in parts.items()}
    return tables | _over_traits(tables)


def _of_trait(
    experiment: TraitDictionaries, store: Store, cells: dict[tuple[str, ...], Cell], trait: str
) -> Iterator[tuple[str, pd.DataFrame]]:
    """Yield tables of one trait and seed, by name."""
    for life in Life:
        cell = cells["crosscoder", trait, life]
        if not store.has(cell):
            continue
        for name in ("statuses", "reconstruction"):
            table = read_table(store.path(cell, f"{name}.parquet"))
            yield name, table.assign(life=str(life))
            if name == "statuses":
                yield "counts", count_statuses(table).assign(life=str(life))
    if not store.has(cells["features", trait]):
        return
    folder = store.path(cells["features", trait])
    yield "directions", read_table(folder / "separability.parquet").drop(columns="trait")
    yield "fidelity", read_table(folder / "fidelity.parquet")
    coder = store.path(cells["crosscoder", trait, Life.LESSON])
    statuses = read_table(coder / "statuses.parquet")
    before, after, neutral, null = (
        read_dataset(folder / f"{name}.nc") for name in (BEFORE, AFTER, "neutral", "null")
    )
    betas = read_table(coder / "betas.parquet").set_index("checkpoint")
    norms = betas.loc[str(neutral["checkpoint"].to_numpy()[-1]), "norm"].to_numpy()
    groups = _groups(experiment, after, neutral, norms)
    for moment, feats in ((BEFORE, before), (AFTER, after)):
        scores = _scores(feats).add_suffix(f"_{moment}")
        groups = groups.join(scores, on="feature")
    columns = ["feature", "status", "at", "checkpoint", "norms", "ratio", "turn", "why"]
    groups = groups.merge(statuses[columns], on="feature", how="left", validate="many_to_one")
    groups = groups.assign(norm_before=[norms[0] for norms in groups["norms"]])
    awake = rises_beside(neutral, null)
    yield "groups", with_verbs(groups.merge(awake, on="feature", validate="many_to_one"))


def _groups(
    experiment: TraitDictionaries, after: xr.Dataset, neutral: xr.Dataset, norms: np.ndarray
) -> pd.DataFrame:
    """Features of each group, chosen on the questions that teach, and those that fire as often."""
    k, n = experiment.n_family, experiment.n_matched
    areas = _areas(_half(after, "train")).estimate
    act = _half(neutral, "train")["act"].mean("prompt")
    risen = (act.isel(checkpoint=-1) - act.isel(checkpoint=0)).to_numpy() * norms
    chosen = {
        TRAIT: [int(j) for j in np.argsort(-areas, kind="stable")[:k]],
        RISEN: [int(j) for j in np.argsort(-risen, kind="stable")[:k]],
    }
    every = [j for features in chosen.values() for j in features]
    parts = []
    for group, features in chosen.items():
        feats = after if group == TRAIT else neutral.isel(checkpoint=[-1])
        near = [matched_features(feats, j, k=n, without=every) for j in features]
        others = list(dict.fromkeys(j for own in near for j in own))
        parts.append(pd.DataFrame({"group": group, "feature": features}))
        parts.append(pd.DataFrame({"group": MATCHED[group], "feature": others}))
    return pd.concat(parts, ignore_index=True)


def _half(feats: xr.Dataset, split: str) -> xr.Dataset:
    """Features at one half of the questions."""
    return feats.isel(prompt=(feats["split"] == split).to_numpy())


def _areas(feats: xr.Dataset) -> Interval:
    """AUROC of every feature, answers that show the trait against the opposite ones."""
    ranks = rankdata(feats["act"].isel(checkpoint=0).to_numpy(), axis=0)
    return delong(ranks, (feats["side"] == "pos").to_numpy())


def _scores(feats: xr.Dataset) -> pd.DataFrame:
    """AUROC of every feature at the questions of the measurement, each answered once a side."""
    own = _areas(_half(feats, "test"))
    columns = {"auroc": own.estimate, "lo": own.lo, "hi": own.hi}
    return pd.DataFrame(columns, index=feats["feature"].to_numpy())


def by_trait(table: pd.DataFrame) -> pd.DataFrame:
    """The table with the trait's number for a seed, where the trait is the unit.

    Args:
        table: With ``trait``.

    Returns:
        The same; all seeds of a trait have one number.

    >>> by_trait(pd.DataFrame({"trait": ["wry", "dry", "wry"], "seed": 7}))["seed"].tolist()
    [0, 1, 0]
    """
    return table.assign(seed=pd.factorize(table["trait"])[0])


def _over_traits(tables: Tables) -> Tables:
    """Tables whose unit is the trait."""
    result: Tables = {}
    if "counts" in tables:
        by = ["trait", "life", "status"]
        counts = tables["counts"].groupby(by, sort=False, as_index=False).agg({"estimate": "mean"})
        counts = by_trait(counts)
        result["shares"] = analysis.across_seeds(counts, by=["life", "status"])
        result["changes"] = beside_nulls(counts, nulls=NULLS)
    if "groups" in tables:
        groups = by_seed(by_trait(tables["groups"]), matched=MATCHED)
        result["verbs"] = against_null(groups, by=["group", "verb"])
    return {
        name: table.rename(columns={"n_seeds": "n_traits"})
        for name, table in result.items()
        if len(table)
    }
