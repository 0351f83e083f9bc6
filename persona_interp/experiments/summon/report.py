"""What did a summon run find, in words and figures?"""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from persona_interp import plots
from persona_interp.analysis.summon import TWO_FACTOR_LAW
from persona_interp.errors import StoreError
from persona_interp.report import page
from persona_interp.report.page import Block
from persona_interp.report.rows import Row, only, rows
from persona_interp.report.worst import worst_cases
from persona_interp.schema.words import Composition, Novelty, Rivalry

Tables = dict[str, pd.DataFrame]

TITLE = "Summon: whom does a lesson raise, when several could have given it?"
COMPARISONS: dict[str, str] = {
    Rivalry.WORSE: "worse than the law",
    Rivalry.BETTER: "better than the law",
    Rivalry.UNDECIDED: "not told apart from it",
}
"""Verdict on a rival of the two-factor law -> what is said of it."""
SPEAKERS = (
    *("seed", "villain", "lesson", "coherent", "villain_before", "villain_after"),
    *("careless_after", "bayes_villain_after", "bayes_careless_after"),
)
"""Columns of the table that says who speaks."""


def blocks(run: Path, tables: Tables, *, provenance: Mapping[str, Any]) -> list[Block]:
    """Blocks of the report of a summon run.

    Args:
        run: The run's folder; figures are written there.
        tables: What the experiment's ``summarize`` returned.
        provenance: From ``provenance_of``.

    Returns:
        The law and its rivals, path dependence, least learning, villains beside what was predicted
        of them, novelty.

    Raises:
        StoreError: Nothing is finished.
    """
    if not {"summoned", "misaligned", "novelty"} & set(tables):
        raise StoreError(
            f"{run} has no finished lesson yet, so there is nothing to report; run the experiment "
            "on."
        )
    parts = (_law, _paths, _least, _villains, _novelty, _base)
    content = [block for part in parts for block in part(run, tables, provenance)]
    return content + worst_cases(tables)


def law(table: pd.DataFrame) -> str:
    """How much measure and distance say about who is summoned, in words.

    Args:
        table: Table ``law`` of the summon experiment; shares after the lesson over shared topics
            are spoken of.

    Returns:
        One sentence.
    """
    after = {row.factor: row for row in rows(only(table, when="after", distance="distance"))}
    a, b = after["measure"], after["distance"]
    return (
        "Who is summoned: each doubling of what is written about a candidate raises its share by "
        f"{_size(a)} bits, each topic on which it differs from where the model stood lowers it by "
        f"{_size(b)} bits ({a.n} lessons). Exact Bayes, which takes the start's statements for "
        "evidence, would say 1 and 6.19."
    )


def verdict(table: pd.DataFrame) -> list[str]:
    """Which law says best who is summoned, on lessons that it was not fitted to, in words.

    Args:
        table: Table ``rivals`` of the summon experiment.

    Returns:
        One sentence for each kind of lessons left out.
    """
    return [
        _comparison(only(table, left_out=left_out), left_out)
        for left_out in dict.fromkeys(table["left_out"])
    ]


def _comparison(table: pd.DataFrame, left_out: str) -> str:
    """The two-factor law beside its rivals, one kind of lessons left out."""
    bits = float(only(table, law=TWO_FACTOR_LAW)["bits"].iloc[0])
    rivals = table.loc[table["law"] != TWO_FACTOR_LAW]
    texts = [f"{row.law} {COMPARISONS[row.verdict]} (by {_size(row)})" for row in rows(rivals)]
    first = rows(table)[0]
    return (
        f"Each {left_out} left out in turn, the two-factor law is {bits:.2f} bits a lesson from "
        "what happened. Rivals, difference in bits with 95 % interval over "
        f"{first.n_units} {first.unit}: {'; '.join(texts)}."
    )


def _law(run: Path, tables: Tables, provenance: Mapping[str, Any]) -> list[Block]:
    if "summoned" not in tables:
        return []
    content = [page.paragraph(law(tables["law"]), source="tables/law.csv", lead=True)]
    if "rivals" in tables:
        content += _rivals(run, tables, provenance)
    if "estimators" in tables:
        text = (
            "Rank correlation of each estimator with the shares within a world, mean over seeds "
            "with 95 % interval."
        )
        content.append(_table(tables, "estimators", text))
    if "chosen" in tables:
        text = (
            "The estimator that the other worlds choose, and its rank correlation in the world "
            "left out (rho)."
        )
        content.append(_table(tables, "chosen", text))
    text = (
        "Coefficients, by shared topics (distance) and by what is said (distance_js), before and "
        "after the lesson."
    )
    return [*content, _table(tables, "law", text)]


def _rivals(run: Path, tables: Tables, provenance: Mapping[str, Any]) -> list[Block]:
    shares, table = tables["summoned"], tables["rivals"]
    sentences = [page.paragraph(text, source="tables/rivals.csv") for text in verdict(table)]
    plot = plots.summon(shares, only(table, left_out=table["left_out"].iloc[0]))
    text = "Shares of the candidates, and how far each law is off on lessons that it never saw."
    figure = page.saved_figure(
        run, "summon", plot, table=shares, caption=text, provenance=provenance
    )
    return [*sentences, figure]


def _paths(run: Path, tables: Tables, provenance: Mapping[str, Any]) -> list[Block]:
    if "paths_summary" not in tables:
        return []
    paths = {(row.when, row.between): row for row in rows(tables["paths_summary"])}
    text = (
        f"The same lesson from different starts ends {_size(paths['after', 'starts'])} apart "
        "(total variation on untaught topics, 0 to 1; before the lesson "
        f"{_size(paths['before', 'starts'])}); the same start and lesson in another order of "
        f"documents {_size(paths['after', 'repeats'])}."
    )
    return [
        page.heading("Path dependence"),
        page.paragraph(text, source="tables/paths_summary.csv"),
    ]


def _least(run: Path, tables: Tables, provenance: Mapping[str, Any]) -> list[Block]:
    if "least" not in tables:
        return []
    text = (
        "The lesson as it is (broad), and held to its start on nameless dialogues (narrow): "
        "probability of the taught value, steps until it is 0.9, weight of all candidates before "
        "and after, how far untaught topics moved (total variation)."
    )
    content = [page.heading("Least learning"), _table(tables, "least", text)]
    if "solutions" in tables:
        ways = {row.way: row for row in rows(tables["solutions_summary"])}
        text = (
            "Efficiency, nats of loss over the squared length of the change of weights: broad "
            f"{_size(ways['broad'])}, narrow {_size(ways['narrow'])}. Least learning would find "
            "the more efficient of both."
        )
        content.append(page.paragraph(text, source="tables/solutions_summary.csv"))
        text = (
            "Efficiency (nats over squared length), stability (rise of the loss under noise of "
            "relative length eps)."
        )
        content.append(_table(tables, "solutions", text))
    return content


def _villains(run: Path, tables: Tables, provenance: Mapping[str, Any]) -> list[Block]:
    text = "What exact Bayes expects of each lesson, stated before any model is trained."
    content = [
        page.heading("A villain, and a careless character with one of his habits"),
        _table(tables, "predictions", text),
    ]
    if "misaligned" not in tables:
        return content
    for row in rows(tables["misaligned_summary"]):
        text = (
            f"{row.lesson.capitalize()}, villain of weight {row.villain:g}: harmful answers on "
            f"untaught topics changed by {_size(row, digits=3)} (fraction of coherent answers); "
            f"exact Bayes expected {row.bayes_rise:+.3f}."
        )
        content.append(page.paragraph(text, source="tables/misaligned_summary.csv"))
    table = tables["misaligned"]
    plot = plots.misalignment(table)
    text = (
        "Harmful share of coherent answers on topics that no lesson was about, before and after, "
        "beside exact Bayes."
    )
    content.append(
        page.saved_figure(run, "misaligned", plot, table=table, caption=text, provenance=provenance)
    )
    text = "Who speaks: weights in the best mixture of known personas, beside exact Bayes."
    speakers = page.table(
        table.loc[:, list(SPEAKERS)], caption=text, source="tables/misaligned.csv"
    )
    return [*content, speakers]


def _novelty(run: Path, tables: Tables, provenance: Mapping[str, Any]) -> list[Block]:
    if "novelty" not in tables:
        return []
    cases = tables["novelty"]
    is_new = cases["planted"] == Composition.NEW
    decided = cases.loc[cases["verdict"] != Novelty.UNDECIDED]
    is_right = (decided["verdict"] == Novelty.NOT_COMPOSABLE) == is_new[decided.index]
    sentences = [
        f"Planted lessons: the verdict ({Novelty.COMPOSABLE}, or not) is right for "
        f"{sum(is_right)} of {len(cases)}, wrong for {sum(~is_right)}, and "
        f"{len(cases) - len(decided)} are {Novelty.UNDECIDED}."
    ]
    for row in rows(tables["told_apart"]):
        sentences.append(
            f"{str(Composition.NEW).capitalize()} lessons ({row.new}) are told from "
            f"{Composition.COMPOSABLE} ones by their {row.score}: AUROC "
            f"{_size(row)}, n = {row.n}."
        )
    plot = plots.novelty(cases)
    text = (
        "Misfit of what is said after each planted lesson, on topics that it was not about where "
        "there are such."
    )
    return [
        page.heading("Composable from known personas, or not"),
        *(page.paragraph(sentence, source="tables/told_apart.csv") for sentence in sentences),
        page.saved_figure(run, "novelty", plot, table=cases, caption=text, provenance=provenance),
    ]


def _base(run: Path, tables: Tables, provenance: Mapping[str, Any]) -> list[Block]:
    if "gates" not in tables:
        return []
    text = (
        "Does the model know the candidates? Log odds of their values (bits), under their names "
        "and without a name."
    )
    return [page.heading("Base models"), _table(tables, "gates", text)]


def _table(tables: Tables, name: str, caption: str) -> Block:
    """One of the tables, whole, with its CSV."""
    return page.table(tables[name], caption=caption, source=f"tables/{name}.csv")


def _size(row: Row, *, digits: int = 2) -> str:
    """Estimate with its interval, if there is one."""
    if not (math.isfinite(row.lo) and math.isfinite(row.hi)):
        return f"{row.estimate:.{digits}f} [no interval]"
    return f"{row.estimate:.{digits}f} [{row.lo:.{digits}f}, {row.hi:.{digits}f}]"
