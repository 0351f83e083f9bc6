"""What did a run of transfer between published traits find, in words and figures?"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from persona_interp import plots
from persona_interp.analysis.trait_predictors import TRAIT_PREDICTORS
from persona_interp.analysis.trait_transfer import ENOUGH_SEEDS
from persona_interp.errors import StoreError
from persona_interp.report import page
from persona_interp.report.page import Block
from persona_interp.schema.words import ALPHA, CLAIMS, Verdict

Tables = dict[str, pd.DataFrame]

TITLE = "Transfer between published traits: what moves when one of them is taught?"
PREDICTOR_NAMES = {
    "cosine": "cosine of both traits' vectors in the base",
    "cooccurrence": "co-occurrence in the base's answers under instruction",
    "behavior": "correlation of both traits over the base's answers without instruction",
}
MOST_PAIRS = 8
"""Pairs named in one sentence."""


def blocks(run: Path, tables: Tables, *, provenance: Mapping[str, Any]) -> list[Block]:
    """Everything that the page of this experiment says and shows.

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
    model = str(provenance["start"])
    content = _transfer(run, tables, provenance)
    aside = set_aside_sentence(tables["traits"])
    content.append(page.paragraph(aside, source="tables/traits.csv", lead=not content))
    if "predictors" in tables:
        sentences = predictor_sentences(tables["predictors"], model=model)
        content.append(page.heading("What foretells which other traits follow?"))
        content += [page.paragraph(text, source="tables/predictors.csv") for text in sentences]
    if "shown" in tables:
        text = answer_sentence(tables["shown"], model=model)
        content.append(page.heading("Does what they say show the trait?"))
        content.append(page.paragraph(text, source="tables/shown.csv"))
    if "answers" in tables:
        examples, source = _examples(tables["answers"]), "tables/answers.csv"
        content.append(page.table(examples, caption="The first answers.", source=source))
    return content + _base(tables["traits"]) + _judge(tables, model=model)


def _transfer(run: Path, tables: Tables, provenance: Mapping[str, Any]) -> list[Block]:
    """What lessons moved, in words and as a figure; nothing before the first is finished."""
    if "transfer" not in tables:
        return []
    sentences = transfer_sentences(tables["transfer"], model=str(provenance["start"]))
    content = [
        page.paragraph(sentence, source="tables/transfer.csv", lead=not i)
        for i, sentence in enumerate(sentences)
    ]
    text = (
        "Taught traits in rows, measured ones in columns; beside it what may foretell the transfer."
    )
    figure = page.saved_figure(
        run,
        "trait_transfer",
        draw(tables),
        table=numbers(tables),
        caption=text,
        provenance=provenance,
    )
    return [*content, figure]


def _base(traits: pd.DataFrame) -> list[Block]:
    """How the traits lie in the base."""
    text, source = "Can the base tell them apart?", "tables/traits.csv"
    return [
        page.heading("Traits in the base"),
        page.paragraph(_vectors_sentence(traits), source=source),
        page.table(traits, caption=text, source=source),
    ]


def _judge(tables: Tables, *, model: str) -> list[Block]:
    """How fit the base is to judge its own answers."""
    if "judge" not in tables:
        return []
    caption, source = "Can the base judge?", "tables/judge.csv"
    return [
        page.heading("Is the base a fit judge?"),
        page.paragraph(judge_sentence(tables["judge"], model=model), source=source),
        page.table(tables["judge"], caption=caption, source=source),
    ]


def transfer_sentences(table: pd.DataFrame, *, model: str) -> list[str]:
    """Sentences on what the lessons moved.

    Args:
        table: Of ``analysis.trait_transfer``.
        model: Name of the base model.

    Returns:
        One sentence on taught traits, one on the others, one on how far the claim reaches.
    """
    is_own = table["taught"] == table["trait"]
    lessons, pairs = table.loc[is_own], table.loc[~is_own]
    claimed = max(table["n_seeds"]) >= ENOUGH_SEEDS
    verb = "was moved" if claimed else str(Verdict.DIFFERS)
    sentences = []
    if not lessons.empty:
        what = f"lessons on {model} the taught trait itself {verb}"
        sentences.append(_moved_sentence(lessons, lessons["taught"], what=what))
    if not pairs.empty:
        what = f"pairs of a lesson on {model} and another trait the other trait {verb}"
        names = pairs["taught"] + " to " + pairs["trait"]
        sentences.append(_moved_sentence(pairs, names, what=what))
    return [*sentences, _reach(table, claimed=claimed)]


def _reach(table: pd.DataFrame, *, claimed: bool) -> str:
    """How far the sentences before reach."""
    n_seeds, n_null = max(table["n_seeds"]), max(table["n_null"])
    judges = f"Judged by all {n_null} null finetunes together (t prediction interval)"
    if claimed:
        return f"{judges}; intervals are over {n_seeds} seeds (t)."
    seeds = "one training run" if n_seeds == 1 else f"{n_seeds} training runs"
    units = "questions" if n_seeds == 1 else "seeds"
    return (
        f"{judges}; intervals are over {units}. This describes {seeds} of each kind and claims "
        f"nothing: whether another run would do the same is not known, it takes {ENOUGH_SEEDS} "
        "seeds."
    )


def judge_sentence(table: pd.DataFrame, *, model: str) -> str:
    """Sentence on how fit the base is to judge answers.

    Args:
        table: Of ``analysis.judge_fitness``.
        model: Name of the base model.

    Returns:
        One sentence.
    """
    names = [
        f"{row['trait']} {_estimate(row, 'auroc', 'lo', 'hi')}" for row in table.to_dict("records")
    ]
    fit = sum(table["lo"] > 0.5)
    return (
        f"{model} scores its own answers, given under a trait's instruction or its opposite, "
        f"better than chance for {fit} of {len(table)} traits (AUROC, 95 % interval over answers): "
        f"{', '.join(names)}."
    )


def predictor_sentences(table: pd.DataFrame, *, model: str) -> list[str]:
    """Sentences on what foretells transfer.

    Args:
        table: Of ``analysis.trait_predictors``.
        model: Name of the base model.

    Returns:
        One sentence a predictor, which claims something where the partial p, times the number of
        predictors, is at most 0.05; before them one on the size of the test.
    """
    first, n = table.iloc[0], len(table)
    size = (
        f"{int(first['n_pairs'])} ordered pairs of {int(first['n_traits'])} traits on {model}; "
        f"traits are permuted, and with so many the smallest p is {first['p_min']:.2g}."
    )
    if first["p_min"] * n > ALPHA:
        size += (
            f" Times {n} predictors that is above {ALPHA:g}: so few traits can show nothing, and "
            "nothing is claimed."
        )
    return [size, *(_predictor_sentence(row, n=n) for row in table.to_dict("records"))]


def set_aside_sentence(table: pd.DataFrame) -> str:
    """Sentence on which traits were set aside.

    Args:
        table: Table ``traits`` of the experiment.

    Returns:
        One sentence.
    """
    aside = table.loc[table["aside"]]
    if aside.empty:
        return (
            "No trait was set aside: the base tells answers of both sides apart for all "
            f"{len(table)}."
        )
    names = [
        f"{row['trait']} (AUROC {_estimate(row, 'auroc', 'lo', 'hi')})"
        for row in aside.to_dict("records")
    ]
    return (
        f"{len(aside)} of {len(table)} traits were set aside before anything was taught, because "
        f"the base does not tell answers of both sides apart: {', '.join(names)}."
    )


def answer_sentence(table: pd.DataFrame, *, model: str) -> str:
    """Sentence on whether sampled answers show the taught trait.

    Args:
        table: Table ``shown`` of the experiment.
        model: Name of the base model.

    Returns:
        One sentence.
    """
    sure = table.loc[(table["lo"] > 0) | (table["hi"] < 0)]
    names = [
        f"{row['taught']} {_estimate(row, 'estimate', 'lo', 'hi')}"
        for row in sure.to_dict("records")
    ]
    return (
        f"Answers of {model} without instruction to held-out questions, judged by itself (bits a "
        "token for the trait against its opposite): after the lesson they show the taught trait "
        f"otherwise than after the null finetune in {len(sure)} of {len(table)} (95 % interval "
        f"over questions, not corrected){_list(names)}."
    )


def numbers(tables: Tables) -> pd.DataFrame:
    """Numbers in the figure.

    Args:
        tables: What the experiment's ``summarize`` returned.

    Returns:
        The transfer matrix, one row a cell, with the predictors of its pair where there are some.
    """
    if "pairs" not in tables:
        return tables["transfer"]
    both = ["taught", "trait"]
    return tables["transfer"].merge(
        tables["pairs"][[*both, *TRAIT_PREDICTORS]], on=both, how="left"
    )


def draw(tables: Tables) -> Figure:
    """Draw the matrix and the predictors.

    Args:
        tables: What the experiment's ``summarize`` returned.

    Returns:
        The figure.
    """
    aside = tables["traits"].loc[tables["traits"]["aside"], "trait"]
    return plots.trait_transfer(
        tables["transfer"], tables.get("pairs"), tables.get("predictors"), aside=aside
    )


def _moved_sentence(rows: pd.DataFrame, names: pd.Series, *, what: str) -> str:
    """In how many of these it is so, and in which, the largest first."""
    sure = rows.assign(name=names).loc[rows["verdict"].isin(CLAIMS)]
    largest = sure.loc[sure["estimate"].abs().sort_values(ascending=False).index]
    estimates = [
        f"{row['name']} {_estimate(row, 'estimate', 'lo', 'hi')}"
        for row in largest.head(MOST_PAIRS).to_dict("records")
    ]
    rest = f" and {len(sure) - MOST_PAIRS} more" if len(sure) > MOST_PAIRS else ""
    return (
        f"In {len(sure)} of {len(rows)} {what} beyond where null finetunes move it (q <= "
        f"{ALPHA:g}){_list(estimates)}{rest}."
    )


def _predictor_sentence(row: Mapping[str, Any], *, n: int) -> str:
    """What one of ``n`` predictors foretells beyond the others."""
    name = PREDICTOR_NAMES.get(row["predictor"], row["predictor"])
    if pd.isna(row["rho"]):
        alone = "there is no correlation"
    else:
        alone = f"rank correlation {_estimate(row, 'rho', 'lo', 'hi')}, p = {row['p']:.2g}"
    if pd.isna(row["partial"]):
        return f"The {name} cannot be judged beside the others here: {alone}."
    verdict = "is not shown to foretell transfer beyond the others"
    if row["partial_p"] * n <= ALPHA:  # Bonferroni over the predictors
        verdict = "foretells transfer beyond the others"
    partial = _estimate(row, "partial", "partial_lo", "partial_hi")
    return f"The {name} {verdict}: {alone}; given the others {partial}, p = {row['partial_p']:.2g}."


def _list(names: list[str]) -> str:
    """A colon and the names; nothing where there are none."""
    return f": {', '.join(names)}" if names else ""


def _estimate(row: Mapping[str, Any], *columns: str) -> str:
    value, lo, hi = (row[column] for column in columns)
    interval = "" if pd.isna(lo) else f" [{lo:.2f}, {hi:.2f}]"
    return f"{value:.2f}{interval}"


def _examples(answers: pd.DataFrame) -> pd.DataFrame:
    """One question of every taught trait: the answers after its lesson and null finetune."""
    of_one_seed = answers.loc[answers["seed"] == answers["seed"].iloc[0]]
    first = of_one_seed.drop_duplicates(["taught", "arm"])
    wide = first.pivot(index=["taught", "question"], columns="arm", values="answer").reset_index()
    return wide.rename(columns={arm: f"after the {arm}" for arm in set(first["arm"])})


def _vectors_sentence(traits: pd.DataFrame) -> str:
    """Where vectors are read, and of how many answers."""
    hook, state = str(traits["hook"].iloc[0]), int(traits["hidden_state"].iloc[0])
    match = re.match(r"blocks\.(\d+)\.", hook)
    block = match[1] if match else hook
    return (
        f"Vectors are read at {hook}, the output of block {block} counted from 0, which is "
        f"hidden_states[{state}] of transformers. The base gave {sum(traits['n_answers'])} "
        f"answers, {sum(traits['n_empty'])} of them empty and left out, "
        f"{sum(traits['n_unended'])} cut off at the longest length allowed."
    )
