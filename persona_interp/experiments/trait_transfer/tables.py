"""What do the finished cells of a transfer between published traits say, as tables?"""

from itertools import product

import pandas as pd

from persona_interp import analysis
from persona_interp.analysis.trait_predictors import (
    TRAIT_PREDICTORS,
    trait_behavior,
    trait_cooccurrence,
)
from persona_interp.experiments.trait_transfer.config import ARMS, TraitTransfer
from persona_interp.schema.words import Arm, Role
from persona_interp.store import Cell, Store
from persona_interp.tables import read_dataset, read_directions, read_table

Tables = dict[str, pd.DataFrame]
Finetunes = dict[tuple[str, str, int], Cell]
"""Finished cells by arm, taught trait and seed."""
PAIR = ["taught", "trait"]
NULL_NAME = "null finetune"
"""What the table of answers calls that arm: a CSV would be read with NaN for "null"."""


def summarize(experiment: TraitTransfer, store: Store) -> Tables:
    """Tables of what is finished.

    Args:
        experiment: The experiment.
        store: Its run; missing cells leave fewer rows.

    Returns:
        ``traits`` (each with its separability, whether it was set aside, and its answers
        counted), ``judge`` (how well the base tells under which instruction an answer was given, by
        trait), ``transfer`` (taught x measured), ``answers`` (of the finetunes, without
        instruction), ``shown`` (how far these show the taught trait) and, when no finetune is
        missing, ``pairs`` (transfer beside the predictors) and ``predictors``.
    """
    base_cells = experiment.base_cells()
    if not store.has(base_cells["base",]):
        return {}
    tables: Tables = {"traits": _traits(experiment, store)}
    separable = tables["traits"].loc[~tables["traits"]["aside"], "trait"].tolist()
    judged = [cell for trait in separable if store.has(cell := base_cells["judgments", trait])]
    if judged:
        bits = [read_table(store.path(cell, "judged.parquet")) for cell in judged]
        tables["judge"] = analysis.judge_fitness(pd.concat(bits, ignore_index=True))
    taught, finetunes = _finetunes(experiment, store, separable)
    if not taught:
        return tables
    scores = _scores(store, finetunes, base_cells["base",], separable)
    tables["transfer"] = analysis.trait_transfer(scores)
    answers = _read_all(store, finetunes, "said.parquet")
    tables["answers"] = answers.replace({"arm": {str(Arm.NULL): NULL_NAME}})
    # a finetune that says nothing any more has no such file
    with_bits = {
        key: cell
        for key, cell in finetunes.items()
        if (store.path(cell) / "shown.parquet").is_file()
    }
    if with_bits:
        tables["shown"] = _shown(_read_all(store, with_bits, "shown.parquet"))
    has_judgments = all(store.has(base_cells["judgments", trait]) for trait in separable)
    if taught == separable and has_judgments and len(separable) > 2:
        predictors = _predictors(store, base_cells, separable)
        tables["pairs"] = _pairs(tables["transfer"], predictors)
        tables["predictors"] = analysis.trait_predictors(tables["pairs"])
    return tables


def _traits(experiment: TraitTransfer, store: Store) -> pd.DataFrame:
    """Every trait: how well the base tells it apart, and how many answers that rests on."""
    cells = experiment.base_cells()
    table = read_table(store.path(cells["base",], "separability.parquet"))
    vectors = read_dataset(store.path(cells["base",], "vectors.nc"))
    table = table.assign(
        hidden_state=int(vectors["hidden_state"].item()), aside=table["auroc"] < experiment.least
    )
    counts = []
    for trait in experiment.names:
        answers = read_table(store.path(cells["answers", trait], "answers.parquet"))
        n_empty, n_unended = sum(answers["answer"] == ""), sum(~answers["ended"])
        counts.append((trait, len(answers), n_empty, n_unended))
    columns = ["trait", "n_answers", "n_empty", "n_unended"]
    return table.merge(pd.DataFrame(counts, columns=columns), on="trait")


def _finetunes(
    experiment: TraitTransfer, store: Store, separable: list[str]
) -> tuple[list[str], Finetunes]:
    """Traits whose lessons and null finetunes of every seed are finished, and these cells."""
    finished: Finetunes = {}
    for seed in experiment.seeds:
        cells = experiment.seed_cells(seed)
        for trait, arm in product(experiment.names, ARMS):
            if trait in separable and store.has(cells[arm, trait]):
                finished[arm, trait, seed] = cells[arm, trait]
    runs = list(product(ARMS, experiment.seeds))
    taught = [
        trait for trait in separable if all((arm, trait, seed) in finished for arm, seed in runs)
    ]
    return taught, {key: cell for key, cell in finished.items() if key[1] in taught}


def _scores(store: Store, finetunes: Finetunes, base: Cell, separable: list[str]) -> pd.DataFrame:
    """Log odds of every trait in the base and after every finetune."""
    before = read_table(store.path(base, "scores.parquet"))
    before = before.loc[before["trait"].isin(separable)]
    before = before.assign(arm=str(Role.BASE), taught="", seed=0)
    after = _read_all(store, finetunes, "scores.parquet")
    return pd.concat([before, after], ignore_index=True)


def _read_all(store: Store, finetunes: Finetunes, file: str) -> pd.DataFrame:
    """One file of every finetune, together."""
    parts = []
    for (arm, trait, seed), cell in finetunes.items():
        part = read_table(store.path(cell, file))
        parts.append(part.assign(arm=arm, taught=trait, seed=seed))
    return pd.concat(parts, ignore_index=True)


def _shown(bits: pd.DataFrame) -> pd.DataFrame:
    """How far answers show the taught trait, lesson minus null finetune (bits a token)."""
    scores = bits.assign(score=(bits["bits_pos"] - bits["bits_neg"]) / bits["n_tokens"])
    rows = []
    for taught, own in scores.groupby("taught", sort=False):
        by_arm = own.pivot_table(index="question", columns="arm", values="score")
        # an empty answer shows nothing, and has no row
        by_arm = by_arm.reindex(columns=list(ARMS)).dropna()
        if by_arm.empty:
            continue
        difference = analysis.stats.t_interval(by_arm[Arm.LESSON] - by_arm[Arm.NULL])
        estimate, lo, hi = (float(value) for value in difference[:3])
        rows.append((taught, estimate, lo, hi, *by_arm.mean(), difference.n))
    return pd.DataFrame(rows, columns=["taught", "estimate", "lo", "hi", "lesson", "null", "n"])


def _predictors(
    store: Store, base_cells: dict[tuple[str, ...], Cell], separable: list[str]
) -> pd.DataFrame:
    """The three predictors of every ordered pair, from the base alone."""
    paths = [store.path(base_cells["judgments", trait], "judged.parquet") for trait in separable]
    bits = pd.concat([read_table(path) for path in paths], ignore_index=True)
    is_instructed = bits["side"] != "default"
    cooccurrence = trait_cooccurrence(bits.loc[is_instructed])
    behavior = trait_behavior(bits.loc[~is_instructed])
    vectors = read_directions(store.path(base_cells["base",], "vectors.nc"))
    cosines = analysis.cosine_map(vectors).rename(columns={"name": "taught", "other": "trait"})
    return cooccurrence.merge(behavior, on=PAIR).merge(cosines[[*PAIR, "cosine"]], on=PAIR)


def _pairs(transfer: pd.DataFrame, predictors: pd.DataFrame) -> pd.DataFrame:
    """Transfer to the traits that were not taught, beside its predictors."""
    others = transfer.loc[transfer["taught"] != transfer["trait"]]
    table = others.merge(predictors, on=PAIR, how="left")
    return table[[*PAIR, "estimate", "lo", "hi", *TRAIT_PREDICTORS]]
