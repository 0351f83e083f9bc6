"""What did a run of transfer between published traits find, in words and figures?"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from persona_interp import analysis, plots
from persona_interp.errors import StoreError
from persona_interp.report import page
from persona_interp.report.page import Block

Tables = dict[str, pd.DataFrame]

TITLE = "Transfer between published traits: what moves when one of them is taught?"
NAMES = {
    "cosine": "cosine of both traits' vectors in the base",
    "cooccurrence": "co-occurrence in the base's answers under instruction",
    "behavior": "correlation of both traits over the base's answers without instruction",
}
LEVEL = 0.05
SHOWN = 8
"""Pairs named in one sentence."""


def blocks(run: Path, tables: Tables, *, provenance: Mapping[str, Any]) -> list[Block]:
    """What did this run find?

    Args:
        run: The run's folder; figures are written there.
        tables: What the experiment's ``summarize`` returned.
        provenance: From ``provenance_of``.

    Returns:
        What lessons moved, what foretold it, what the finetuned say, and which traits were set
        aside.

    Raises:
        StoreError: The base is not read yet.
    """
    if "traits" not in tables:
        raise StoreError(
            f"{run} has not read its base yet, so there is nothing to report; run the experiment "
            "on."
        )
    found: list[Block] = []
    if "transfer" in tables:
        for i, said in enumerate(moved(tables["transfer"])):
            found.append(page.paragraph(said, source="tables/transfer.csv", lead=not i))
        text = "Taught traits in rows, measured ones in columns; beside it what may foretell the transfer."
        saved = {"table": numbers(tables), "caption": text, "provenance": provenance}
        found.append(page.saved_figure(run, "trait_transfer", draw(tables), **saved))
    found.append(
        page.paragraph(set_aside(tables["traits"]), source="tables/traits.csv", lead=not found)
    )
    if "predictors" in tables:
        found.append(page.heading("What foretells which other traits follow?"))
        found += [
            page.paragraph(said, source="tables/predictors.csv")
            for said in foretold(tables["predictors"])
        ]
    if "shown" in tables:
        found.append(page.heading("Does what they say show the trait?"))
        found.append(page.paragraph(spoken(tables["shown"]), source="tables/shown.csv"))
    if "said" in tables:
        found.append(
            page.table(
                _examples(tables["said"]), caption="The first answers.", source="tables/said.csv"
            )
        )
    found.append(page.heading("Traits in the base"))
    found.append(page.paragraph(_counted(tables["traits"]), source="tables/traits.csv"))
    found.append(
        page.table(
            tables["traits"], caption="Can the base tell them apart?", source="tables/traits.csv"
        )
    )
    return found


def moved(table: pd.DataFrame) -> list[str]:
    """What did the lessons move, in words?

    Args:
        table: Of ``analysis.trait_transfer``.

    Returns:
        One sentence on taught traits, one on the others, one on how far the claim reaches.
    """
    said = []
    for own in (True, False):
        rows = table.loc[(table["taught"] == table["trait"]) == own]
        sure = rows.loc[rows["q"] <= LEVEL]
        sure = sure.loc[sure["estimate"].abs().sort_values(ascending=False).index]
        what = (
            "lessons, the taught trait itself"
            if own
            else "pairs of a lesson and another trait, the other trait"
        )
        text = (
            f"In {len(sure)} of {len(rows)} {what} differs from the null finetune (q <= {LEVEL:g})"
        )
        if not rows.empty:
            names = [_cell(row, own=own) for row in sure.head(SHOWN).to_dict("records")]
            rest = f" and {len(sure) - SHOWN} more" if len(sure) > SHOWN else ""
            said.append(f"{text}{': ' if names else ''}{', '.join(names)}{rest}.")
    seeds = max(table["n_seeds"])
    said.append(
        "One lesson and one null finetune of each trait: the intervals are over questions, and "
        "whether another "
        "training run would do the same is not known."
        if seeds == 1
        else f"Intervals are over {seeds} seeds (t)."
    )
    return said


def foretold(table: pd.DataFrame) -> list[str]:
    """What foretells transfer, in words?

    Args:
        table: Of ``analysis.trait_predictors``.

    Returns:
        One sentence a predictor, which claims something where the partial p, times the number of
        predictors, is at most 0.05; before them one on the size of the test.
    """
    first = table.iloc[0]
    n = len(table)
    said = [
        f"{int(first['n_pairs'])} ordered pairs of {int(first['n_traits'])} traits; traits are "
        "permuted, and with so "
        f"many the smallest p is {first['p_min']:.2g}."
    ]
    if first["p_min"] * n > LEVEL:
        said[0] += (
            f" Times {n} predictors that is above {LEVEL:g}: so few traits can show nothing, and "
            "nothing is claimed."
        )
    for row in table.to_dict("records"):
        name = NAMES.get(row["predictor"], row["predictor"])
        if pd.isna(row["partial"]):
            alone = f"rank correlation {_estimate(row, 'rho', 'lo', 'hi')}, p = {row['p']:.2g}"
            alone = "there is no correlation" if pd.isna(row["rho"]) else alone
            said.append(f"The {name} cannot be judged beside the others here: {alone}.")
            continue
        sure = row["partial_p"] * n <= LEVEL
        verdict = (
            "foretells transfer beyond the others"
            if sure
            else "is not shown to foretell transfer beyond the others"
        )
        said.append(
            f"The {name} {verdict}: rank correlation {_estimate(row, 'rho', 'lo', 'hi')}, p = "
            f"{row['p']:.2g}; given "
            f"the others {_estimate(row, 'partial', 'partial_lo', 'partial_hi')}, p = "
            f"{row['partial_p']:.2g}."
        )
    return said


def set_aside(table: pd.DataFrame) -> str:
    """Which traits were set aside, in words?

    Args:
        table: Table ``traits`` of the experiment.

    Returns:
        One sentence.
    """
    aside = table.loc[table["aside"]]
    if aside.empty:
        return f"No trait was set aside: the base tells answers of both sides apart for all {len(table)}."
    names = ", ".join(
        f"{row['trait']} (AUROC {_estimate(row, 'auroc', 'lo', 'hi')})"
        for row in aside.to_dict("records")
    )
    return (
        f"{len(aside)} of {len(table)} traits were set aside before anything was taught, because "
        "the base does not "
        f"tell answers of both sides apart: {names}."
    )


def spoken(table: pd.DataFrame) -> str:
    """Do sampled answers show the taught trait, in words?

    Args:
        table: Table ``shown`` of the experiment.

    Returns:
        One sentence.
    """
    sure = table.loc[(table["lo"] > 0) | (table["hi"] < 0)]
    names = [
        f"{row['taught']} {_estimate(row, 'estimate', 'lo', 'hi')}"
        for row in sure.to_dict("records")
    ]
    return (
        "Answers without instruction to held-out questions, judged by the base (bits a token for "
        "the trait against its "
        "opposite): after the lesson they show the taught trait otherwise than after the null "
        f"finetune in {len(sure)} "
        f"of {len(table)} (95 % interval over questions, not "
        f"corrected){': ' if names else ''}{', '.join(names)}."
    )


def numbers(tables: Tables) -> pd.DataFrame:
    """The numbers in the figure.

    Args:
        tables: What the experiment's ``summarize`` returned.

    Returns:
        The transfer matrix, one row a cell, with the predictors of its pair where there are some.
    """
    if "pairs" not in tables:
        return tables["transfer"]
    both = ["taught", "trait"]
    return tables["transfer"].merge(
        tables["pairs"][[*both, *analysis.TRAIT_PREDICTORS]], on=both, how="left"
    )


def draw(tables: Tables) -> Figure:
    """What do matrix and predictors look like?

    Args:
        tables: What the experiment's ``summarize`` returned.

    Returns:
        The figure.
    """
    aside = tables["traits"].loc[tables["traits"]["aside"], "trait"]
    return plots.trait_transfer(
        tables["transfer"], tables.get("pairs"), tables.get("predictors"), aside=aside
    )


def _cell(row: Mapping[str, Any], *, own: bool) -> str:
    name = row["taught"] if own else f"{row['taught']} to {row['trait']}"
    return f"{name} {_estimate(row, 'estimate', 'lo', 'hi')}"


def _estimate(row: Mapping[str, Any], *columns: str) -> str:
    value, lo, hi = (row[c] for c in columns)
    return f"{value:.2f}" + ("" if pd.isna(lo) else f" [{lo:.2f}, {hi:.2f}]")


def _examples(said: pd.DataFrame) -> pd.DataFrame:
    """One question of every taught trait: the answer after the lesson and after the null finetune."""
    first = said.loc[said["seed"] == said["seed"].iloc[0]].drop_duplicates(["taught", "arm"])
    wide = first.pivot(index=["taught", "question"], columns="arm", values="answer").reset_index()
    return wide.rename(columns={arm: f"after the {arm}" for arm in set(first["arm"])})


def _counted(table: pd.DataFrame) -> str:
    hook, state = str(table["hook"].iloc[0]), int(table["hidden_state"].iloc[0])
    block = match[1] if (match := re.match(r"blocks\.(\d+)\.", hook)) else hook
    return (
        f"Vectors are read at {hook}, the output of block {block} counted from 0, which is "
        f"hidden_states[{state}] of "
        f"transformers. The base gave {sum(table['n_answers'])} answers, {sum(table['n_empty'])} "
        "of them empty and "
        f"left out, {sum(table['n_unended'])} cut off at the longest length allowed."
    )
