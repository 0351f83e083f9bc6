"""What did a summon run find, in words and figures?"""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from persona_interp import plots
from persona_interp.errors import StoreError
from persona_interp.report import page
from persona_interp.report.page import Block
from persona_interp.report.rows import Row, only, rows
from persona_interp.report.worst import worst_cases

Tables = dict[str, pd.DataFrame]

TITLE = "Summon: whom does a lesson raise, when several could have given it?"
LAW = "measure and distance"
VERDICTS = {
    "worse": "worse than the law",
    "better": "better than the law",
    "not told apart": "not told apart from it",
}


def blocks(run: Path, tables: Tables, *, provenance: Mapping[str, Any]) -> list[Block]:
    """What did this summon run find?

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
    found = [block for part in parts for block in part(run, tables, provenance)]
    return found + worst_cases(tables)


def law(table: pd.DataFrame) -> str:
    """How much do measure and distance say about who is summoned?

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
        f"{_size(a)} bits, "
        f"each topic on which it differs from where the model stood lowers it by {_size(b)} bits "
        f"({a.n} lessons). "
        "Exact Bayes, which takes the start's statements for evidence, would say 1 and 6.19."
    )


def verdict(table: pd.DataFrame) -> list[str]:
    """Which law says best who is summoned, on lessons that it was not fitted to?

    Args:
        table: Table ``rivals`` of the summon experiment.

    Returns:
        One sentence for each kind of lessons left out.
    """
    said = []
    for left_out in dict.fromkeys(table["left_out"]):
        mine = only(table, left_out=left_out)
        bits = float(only(mine, law=LAW)["bits"].iloc[0])
        others = [
            f"{row.law} {VERDICTS[row.verdict]} (by {_size(row)})"
            for row in rows(mine)
            if row.law != LAW
        ]
        first = rows(mine)[0]
        said.append(
            f"Each {left_out} left out in turn, the two-factor law is {bits:.2f} bits a lesson "
            "from what happened. "
            f"Rivals, difference in bits with 95 % interval over {first.n_units} {first.unit}: "
            f"{'; '.join(others)}."
        )
    return said


def _law(run: Path, tables: Tables, provenance: Mapping[str, Any]) -> list[Block]:
    if "summoned" not in tables:
        return []
    found = [page.paragraph(law(tables["law"]), source="tables/law.csv", lead=True)]
    if "rivals" in tables:
        found += [
            page.paragraph(said, source="tables/rivals.csv") for said in verdict(tables["rivals"])
        ]
        shown = only(tables["rivals"], left_out=tables["rivals"]["left_out"].iloc[0])
        drawn = plots.summon(tables["summoned"], shown)
        text = "Shares of the candidates, and how far each law is off on lessons that it never saw."
        found.append(
            page.saved_figure(
                run, "summon", drawn, table=tables["summoned"], caption=text, provenance=provenance
            )
        )
    if "estimators" in tables:
        text = "Rank correlation of each estimator with the shares within a world, mean over seeds with 95 % interval."
        found.append(page.table(tables["estimators"], caption=text, source="tables/estimators.csv"))
    if "chosen" in tables:
        text = "The estimator that the other worlds choose, and its rank correlation in the world left out (rho)."
        found.append(page.table(tables["chosen"], caption=text, source="tables/chosen.csv"))
    text = "Coefficients, by shared topics (distance) and by what is said (distance_js), before and after the lesson."
    return [*found, page.table(tables["law"], caption=text, source="tables/law.csv")]


def _paths(run: Path, tables: Tables, provenance: Mapping[str, Any]) -> list[Block]:
    if "paths_summary" not in tables:
        return []
    at = {(row.when, row.between): row for row in rows(tables["paths_summary"])}
    apart, noise = at["after", "starts"], at["after", "repeats"]
    said = (
        f"The same lesson from different starts ends {_size(apart)} apart (total variation on "
        "untaught topics, 0 to 1; "
        f"before the lesson {_size(at['before', 'starts'])}); the same start and lesson in another "
        "order of documents "
        f"{_size(noise)}."
    )
    return [
        page.heading("Path dependence"),
        page.paragraph(said, source="tables/paths_summary.csv"),
    ]


def _least(run: Path, tables: Tables, provenance: Mapping[str, Any]) -> list[Block]:
    if "least" not in tables:
        return []
    text = (
        "The lesson as it is (broad), and held to its start on nameless dialogues (narrow): "
        "probability of the taught "
        "value, steps until it is 0.9, weight of all candidates before and after, how far untaught "
        "topics moved (total "
        "variation)."
    )
    found = [
        page.heading("Least learning"),
        page.table(tables["least"], caption=text, source="tables/least.csv"),
    ]
    if "solutions" in tables:
        at = {row.way: row for row in rows(tables["solutions_summary"])}
        said = (
            "Efficiency, nats of loss over the squared length of the change of weights: broad "
            f"{_size(at['broad'])}, "
            f"narrow {_size(at['narrow'])}. Least learning would find the more efficient of both."
        )
        found.append(page.paragraph(said, source="tables/solutions_summary.csv"))
        text = "Efficiency (nats over squared length), stability (rise of the loss under noise of relative length eps)."
        found.append(page.table(tables["solutions"], caption=text, source="tables/solutions.csv"))
    return found


def _villains(run: Path, tables: Tables, provenance: Mapping[str, Any]) -> list[Block]:
    said = "What exact Bayes expects of each lesson, stated before any model is trained."
    found = [page.heading("A villain, and a careless character with one of his habits")]
    found.append(page.table(tables["predictions"], caption=said, source="tables/predictions.csv"))
    if "misaligned" not in tables:
        return found
    for row in rows(tables["misaligned_summary"]):
        text = (
            f"{row.lesson.capitalize()}, villain of weight {row.villain:g}: harmful answers on "
            "untaught topics changed "
            f"by {_size(row, digits=3)} (fraction of coherent answers); exact Bayes expected "
            f"{row.bayes_rise:+.3f}."
        )
        found.append(page.paragraph(text, source="tables/misaligned_summary.csv"))
    text = "Harmful share of coherent answers on topics that no lesson was about, before and after, beside exact Bayes."
    drawn = {"table": tables["misaligned"], "caption": text, "provenance": provenance}
    found.append(
        page.saved_figure(run, "misaligned", plots.misalignment(tables["misaligned"]), **drawn)
    )
    columns = [
        "seed",
        "villain",
        "lesson",
        "coherent",
        "villain_before",
        "villain_after",
        "careless_after",
    ]
    columns += ["bayes_villain_after", "bayes_careless_after"]
    text = "Who speaks: weights in the best mixture of known personas, beside exact Bayes."
    return [
        *found,
        page.table(
            tables["misaligned"].loc[:, columns], caption=text, source="tables/misaligned.csv"
        ),
    ]


def _novelty(run: Path, tables: Tables, provenance: Mapping[str, Any]) -> list[Block]:
    if "novelty" not in tables:
        return []
    cases, scored = tables["novelty"], tables["told_apart"]
    right = sum(row.verdict.startswith("not") == (row.planted == "new") for row in rows(cases))
    said = [
        f"Planted lessons: the verdict (composable from known personas, or not) is right for {right} of {len(cases)}."
    ]
    said += [
        f"New lessons ({row.new}) are told from composable ones by their {row.score}: AUROC {_size(row)}, n = {row.n}."
        for row in rows(scored)
    ]
    text = "Misfit of what is said after each planted lesson, on topics that it was not about where there are such."
    drawn = {"table": cases, "caption": text, "provenance": provenance}
    return [
        page.heading("Composable from known personas, or not"),
        *(page.paragraph(line, source="tables/told_apart.csv") for line in said),
        page.saved_figure(run, "novelty", plots.novelty(cases), **drawn),
    ]


def _base(run: Path, tables: Tables, provenance: Mapping[str, Any]) -> list[Block]:
    if "gates" not in tables:
        return []
    text = "Does the model know the candidates? Log odds of their values (bits), under their names and without a name."
    return [
        page.heading("Base models"),
        page.table(tables["gates"], caption=text, source="tables/gates.csv"),
    ]


def _size(row: Row, *, digits: int = 2) -> str:
    """Estimate with its interval, if there is one."""
    if not (math.isfinite(row.lo) and math.isfinite(row.hi)):
        return f"{row.estimate:.{digits}f} [no interval]"
    return f"{row.estimate:.{digits}f} [{row.lo:.{digits}f}, {row.hi:.{digits}f}]"
