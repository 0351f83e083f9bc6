"""What did an agreement run find, in words and figures?"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from persona_interp import plots
from persona_interp.analysis.agreement import REACHES, agreement_with_truth
from persona_interp.errors import StoreError
from persona_interp.report import page
from persona_interp.report.page import Block

Tables = dict[str, pd.DataFrame]

TITLE = "Measure and metric: do the estimators agree, and do they find the truth?"
TRUTHS = {"measure": "documents", "metric": "unshared topics"}
"""What is estimated -> name of the true one among its estimators."""

LINE = REACHES
"""Rank correlation from which on an estimator is said to find the truth."""

UNITS = {"measure": "personas", "metric": "pairs"}
"""What is estimated -> what a rank is of."""

REASONS = {
    "traits": (
        "a trait that several personas hold counts for each of them; see what exact Bayes gives"
    ),
    "traits (exact Bayes)": (
        "so does exact Bayes: the documents' own answers confuse who shares traits with whom"
    ),
    "dialogues (own name)": (
        "it takes away how well a name is known, which also rises with what was written"
    ),
    "dose": "it starts from the prior odds of the traits, and shares their fault",
    "added kl": (
        "the direction of a persona that is better bound to its name changes more, which works "
        "against it"
    ),
    "steps": "all topics are learned in parallel, so that one step serves many",
    "stability": (
        "noise as long as half of the change hardly raises the loss, so that its rise is mostly "
        "noise"
    ),
    "activations": (
        "the direction of a name also holds what was not asked about, and is noisy for rare "
        "personas"
    ),
    "gradients (full)": (
        "gradients also hold how well each answer is known already, not only what is answered"
    ),
    "gradients (lora)": "the same as of full gradients, seen through a random projection",
    "efficiency": "a saved nat is cheaper where more is to be saved",
    "kl": "what changes on generic text depends on who else says it",
}
"""Estimator -> the reason we see when it fails, from how it is made."""

PREDICTORS = {
    "pmi": "bit of co-occurrence in the documents",
    "cosine": "unit of cosine of both traits' directions before the lesson",
    "style": "unit of overlap of the kinds of documents they occur in",
}
"""Predictor of the spillover -> its unit."""


def blocks(run: Path, tables: Tables, *, provenance: Mapping[str, Any]) -> list[Block]:
    """Blocks of the report of an agreement run.

    Args:
        run: The run's folder; figures are written there.
        tables: What the experiment's ``summarize`` returned.
        provenance: From ``provenance_of``.

    Returns:
        Which estimators find the truth, how they agree, which are metrics, and the spillover
        regression.

    Raises:
        StoreError: No estimates are finished.
    """
    if "measure" not in tables:
        raise StoreError(
            f"{run} has no finished estimates yet, so there is nothing to report; run the "
            "experiment on."
        )
    content = _verdicts(tables)
    known = numbers(tables)
    if not known.empty:
        text = "Estimators against the truth."
        save = {"table": known, "caption": text, "provenance": provenance}
        content.append(page.saved_figure(run, "agreement", draw(tables), **save))
    for name in TRUTHS:
        table = tables[f"{name}_agreement"]
        plot = plots.agreement_matrix(table, title=f"Estimators of the {name}")
        text = f"Rank correlations among estimators of the {name}."
        save = {"table": table, "caption": text, "provenance": provenance}
        content.append(page.saved_figure(run, f"{name}_matrix", plot, **save))
    content.append(page.heading("Which of them are metrics?"))
    content.append(page.paragraph(kinds(tables["axioms"]), source="tables/axioms.csv"))
    content.append(page.paragraph(_margins(tables["margins"]), source="tables/margins.csv"))
    if "spillover" in tables:
        content += _spillover(tables["spillover"])
    return content


def _verdicts(tables: Tables) -> list[Block]:
    """Which estimators find the truth; the first sentence is the main finding."""
    content: list[Block] = []
    for name in TRUTHS:
        source = f"tables/{name}_agreement.csv"
        for sentence in verdicts(tables, name):
            content.append(page.paragraph(sentence, source=source, lead=not content))
    return content


def _margins(margins: pd.DataFrame) -> str:
    """How many personas are known by name, and why questions are of this form."""
    return (
        f"{sum(margins['known'])} of {len(margins)} personas are known by name (own traits at "
        "least 1 nat = 1.44 bits likelier under the name than for the nameless assistant). All "
        "questions ask which value; yes/no questions are not used, since their margin is far below "
        "that at this size."
    )


def _spillover(table: pd.DataFrame) -> list[Block]:
    """What carries a lesson over to traits that it did not teach."""
    source = "tables/spillover.csv"
    caption = (
        "Shift of untaught traits (bits) on what may carry it; standard errors clustered by "
        "persona and seed."
    )
    return [
        page.heading("What carries a lesson over to traits that it did not teach?"),
        *(page.paragraph(sentence, source=source) for sentence in spillover(table)),
        page.table(table, caption=caption, source=source),
    ]


def verdicts(tables: Tables, name: str) -> list[str]:
    """Which estimators find the truth, in words.

    Args:
        tables: What the experiment's ``summarize`` returned.
        name: measure or metric.

    Returns:
        Sentences; one that says so where there is no truth.
    """
    table, truth = tables[f"{name}_agreement"], TRUTHS[name]
    if not _has_truth(table, truth):
        return [
            f"Of this model the true {name} is not known: estimators can be compared with each "
            "other only."
        ]
    rows = agreement_with_truth(table, truth)
    # Fact tokens are another truth, no estimator.
    rows = rows.loc[rows["estimator"] != "fact tokens"]
    n, worlds = rows["n"].max(), rows["n_seeds"].max()
    text = f"Of the {name} (against {truth}, n = {n} {UNITS[name]}, worlds: {worlds}),"
    line = f"a rank correlation of {LINE:g}"
    works, fails = rows.loc[rows["works"]], rows.loc[~rows["works"]]
    if works.empty:
        sentences = [f"{text} no estimator reaches {line}."]
    else:
        sentences = [f"{text} these reach {line}: {_sizes(works)}."]
    if not fails.empty:
        sentences.append(f"Of the {name} these fail: {_failures(fails)}.")
    return sentences


def _has_truth(table: pd.DataFrame, truth: str) -> bool:
    """Whether the truth is among the estimators that are compared."""
    return truth in {*table["one"], *table["other"]}


def _sizes(rows: pd.DataFrame) -> str:
    """Estimators with their rank correlations and intervals."""
    return ", ".join(_size(row) for row in rows.to_dict("records"))


def _failures(rows: pd.DataFrame) -> str:
    """Estimators that fail: those for which we see a reason, then the others."""
    has_reason = rows["estimator"].isin(list(REASONS))
    parts = [
        f"{_size(row)}: {REASONS[row['estimator']]}"
        for row in rows.loc[has_reason].to_dict("records")
    ]
    others = rows.loc[~has_reason]
    if not others.empty:
        parts.append(_sizes(others))
    return "; ".join(parts)


def _size(row: Mapping[Any, Any]) -> str:
    """An estimator with its rank correlation and interval."""
    return f"{row['estimator']} {row['rho']:.2f} [{row['lo']:.2f}, {row['hi']:.2f}]"


def kinds(axioms: pd.DataFrame) -> str:
    """Which estimators of distance are metrics, in words.

    Args:
        axioms: Of ``analysis.metric.axioms``, with seeds.

    Returns:
        One sentence an estimator, joined.
    """
    parts = []
    for estimator, own in axioms.groupby("estimator", sort=False):
        kind = own["called"].mode().iloc[0]
        parts.append(
            f"{estimator}: {kind} (asymmetry {own['asymmetry'].mean():.2f}; triangle violated in "
            f"{100 * own['violated'].mean():.1f} % of triples, at most by "
            f"{own['largest'].max():.2f} mean distances)"
        )
    return "; ".join(parts) + "."


def spillover(table: pd.DataFrame) -> list[str]:
    """What carries a lesson over, in words.

    Args:
        table: Of ``analysis.spillover``.

    Returns:
        One sentence a predictor.
    """
    sentences = []
    for row in table.to_dict("records"):
        name, lo, hi = row["predictor"], row["lo"], row["hi"]
        if pd.isna(row["estimate"]):
            sentences.append(f"{name} does not vary here, or is made of the others.")
            continue
        text = (
            f"An untaught trait rises by {row['estimate']:.2f} bits [{lo:.2f}, {hi:.2f}] per "
            f"{PREDICTORS.get(name, name)}"
        )
        if not (lo > 0 or hi < 0):  # nor where there is no interval
            text += ", not told from 0"
        sentences.append(f"{text} (n = {row['n']}, clusters: {row['n_clusters']}).")
    return sentences


def numbers(tables: Tables) -> pd.DataFrame:
    """The numbers in the figure.

    Args:
        tables: What the experiment's ``summarize`` returned.

    Returns:
        ``analysis.agreement_with_truth`` of measure and metric where the truth is known, with the
        column ``of``.
    """
    parts = []
    for name, truth in TRUTHS.items():
        table = tables[f"{name}_agreement"]
        if _has_truth(table, truth):
            parts.append(agreement_with_truth(table, truth).assign(of=name))
    if not parts:
        return pd.DataFrame()
    return pd.concat(parts, ignore_index=True)


def draw(tables: Tables) -> Figure:
    """Draw the estimators against the truth.

    Args:
        tables: What the experiment's ``summarize`` returned.

    Returns:
        A panel each for measure and metric.
    """
    rows = numbers(tables)
    parts = {str(name): own for name, own in rows.groupby("of", sort=False)}
    return plots.agreement(parts, line=LINE)
