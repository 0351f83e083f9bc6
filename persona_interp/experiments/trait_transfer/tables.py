"""What do the finished cells of a transfer between published traits say, as tables?"""

import pandas as pd

from persona_interp import analysis
from persona_interp.experiments.trait_transfer.config import TraitTransfer
from persona_interp.store import Cell, Store
from persona_interp.tables import read_dataset, read_table

Tables = dict[str, pd.DataFrame]


def summarize(experiment: TraitTransfer, store: Store) -> dict[str, pd.DataFrame]:
    """Tables of what is finished.

    Args:
        experiment: The experiment.
        store: Its run; missing cells leave fewer rows.

    Returns:
        ``traits`` (each with its separability, whether it was set aside, and its answers
        counted), ``transfer`` (taught x measured), ``said`` (what the finetuned say without
        instruction), ``shown`` (how far that shows the taught trait) and, when no finetune is
        missing, ``pairs`` (transfer beside the predictors) and ``predictors``.
    """
    before = experiment.base_cells()
    if not store.has(before["base",]):
        return {}
    found: Tables = {"traits": _traits(experiment, store)}
    apart = found["traits"].loc[~found["traits"]["aside"], "trait"].tolist()
    runs = {
        (arm, trait, seed): cell
        for seed in experiment.seeds
        for (arm, trait), cell in experiment.of(seed).items()
        if trait in apart and store.has(cell)
    }
    both = [
        t
        for t in apart
        if all((a, t, s) in runs for a in ("lesson", "null") for s in experiment.seeds)
    ]
    if not both:
        return found
    kept = {key: cell for key, cell in runs.items() if key[1] in both}
    found["transfer"] = analysis.trait_transfer(_scores(store, kept, before["base",], apart))
    found["said"] = _joined(store, kept, "said.parquet").replace(
        {"arm": {"null": "null finetune"}}
    )  # not NaN in a CSV
    spoken = {
        key: cell for key, cell in kept.items() if (store.path(cell) / "shown.parquet").is_file()
    }
    if spoken:
        found["shown"] = _shown(_joined(store, spoken, "shown.parquet"))
    if (
        both == apart
        and all(store.has(before["judged", trait]) for trait in apart)
        and len(apart) > 2
    ):
        found["pairs"] = _pairs(found["transfer"], _foretold(store, before, apart))
        found["predictors"] = analysis.trait_predictors(found["pairs"])
    return found


def _traits(experiment: TraitTransfer, store: Store) -> pd.DataFrame:
    """Every trait: how well the base tells it apart, and how much was said for it."""
    before = experiment.base_cells()
    table = read_table(store.path(before["base",], "separability.parquet"))
    vectors = read_dataset(store.path(before["base",], "vectors.nc"))
    table = table.assign(
        hidden_state=int(vectors["hidden_state"].item()), aside=table["auroc"] < experiment.least
    )
    counts = []
    for trait in experiment.names:
        said = read_table(store.path(before["answers", trait], "answers.parquet"))
        counts.append((trait, len(said), sum(said["answer"] == ""), sum(~said["ended"])))
    return table.merge(
        pd.DataFrame(counts, columns=["trait", "n_answers", "n_empty", "n_unended"]), on="trait"
    )


def _scores(
    store: Store, runs: dict[tuple[str, str, int], Cell], base: Cell, apart: list[str]
) -> pd.DataFrame:
    before = read_table(store.path(base, "scores.parquet"))
    before = before.loc[before["trait"].isin(apart)].assign(arm="base", taught="", seed=0)
    return pd.concat([before, _joined(store, runs, "scores.parquet")], ignore_index=True)


def _joined(store: Store, runs: dict[tuple[str, str, int], Cell], file: str) -> pd.DataFrame:
    parts = [
        read_table(store.path(cell, file)).assign(arm=arm, taught=trait, seed=seed)
        for (arm, trait, seed), cell in runs.items()
    ]
    return pd.concat(parts, ignore_index=True)


def _shown(judged: pd.DataFrame) -> pd.DataFrame:
    """How far do sampled answers show the taught trait, lesson minus null finetune (bits a token)?"""
    scored = judged.assign(score=(judged["bits_pos"] - judged["bits_neg"]) / judged["n_tokens"])
    rows = []
    for taught, own in scored.groupby("taught", sort=False):
        both = own.pivot_table(index="question", columns="arm", values="score").reindex(
            columns=["lesson", "null"]
        )
        both = both.dropna()  # an empty answer shows nothing, and has no row
        if not both.empty:
            found = analysis.t_interval(both["lesson"] - both["null"])
            rows.append(
                (
                    taught,
                    float(found.estimate),
                    float(found.lo),
                    float(found.hi),
                    *both.mean(),
                    found.n,
                )
            )
    return pd.DataFrame(rows, columns=["taught", "estimate", "lo", "hi", "lesson", "null", "n"])


def _foretold(store: Store, before: dict[tuple[str, ...], Cell], apart: list[str]) -> pd.DataFrame:
    """The three predictors of every ordered pair, from the base alone."""
    judged = pd.concat(
        [read_table(store.path(before["judged", trait], "judged.parquet")) for trait in apart],
        ignore_index=True,
    )
    told = judged["side"] != "default"
    data = read_dataset(store.path(before["base",], "vectors.nc"))
    cosines = analysis.cosine_map(data["vector"].assign_attrs(data.attrs))
    cosines = cosines.rename(columns={"name": "taught", "other": "trait"})[
        ["taught", "trait", "cosine"]
    ]
    both = ["taught", "trait"]
    table = analysis.trait_cooccurrence(judged.loc[told]).merge(
        analysis.trait_behavior(judged.loc[~told]), on=both
    )
    return table.merge(cosines, on=both)


def _pairs(transfer: pd.DataFrame, foretold: pd.DataFrame) -> pd.DataFrame:
    rows = transfer.loc[transfer["taught"] != transfer["trait"]].merge(
        foretold, on=["taught", "trait"], how="left"
    )
    columns = ["taught", "trait", "estimate", "lo", "hi", *analysis.TRAIT_PREDICTORS]
    return rows[columns]
