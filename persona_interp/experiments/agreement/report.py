"""What did an agreement run find, in words and figures?"""

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

TITLE = "Measure and metric: do the estimators agree, and do they find the truth?"
TRUTHS = {"measure": "documents", "metric": "unshared topics"}
"""What is estimated -> name of the true one among its estimators."""
LINE = analysis.REACHES

WHY = {
    "traits": "a trait that several personas hold counts for each of them; see what exact Bayes gives",
    "traits (exact Bayes)": "so does exact Bayes: the documents' own answers confuse who shares traits with whom",
    "dialogues (own name)": "it takes away how well a name is known, which also rises with what was written",
    "dose": "it starts from the prior odds of the traits, and shares their fault",
    "added kl": "the direction of a persona that is better bound to its name changes more, which works against it",
    "steps": "all topics are learned in parallel, so that one step serves many",
    "stability": "noise as long as half of the change hardly raises the loss, so that its rise is mostly noise",
    "activations": "the direction of a name also holds what was not asked about, and is noisy for rare personas",
    "gradients (full)": "gradients also hold how well each answer is known already, not only what is answered",
    "gradients (lora)": "the same as of full gradients, seen through a random projection",
    "efficiency": "a saved nat is cheaper where more is to be saved",
    "kl": "what changes on generic text depends on who else says it",
}
"""Estimator -> the reason we see when it fails, from how it is made."""


def blocks(run: Path, tables: Tables, *, provenance: Mapping[str, Any]) -> list[Block]:
    """What did this agreement run find?

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
    found: list[Block] = []
    known = numbers(tables)
    for name in TRUTHS:
        for said in verdicts(tables, name):
            found.append(
                page.paragraph(said, source=f"tables/{name}_agreement.csv", lead=not found)
            )
    if not known.empty:
        saved = {
            "table": known,
            "caption": "Estimators against the truth.",
            "provenance": provenance,
        }
        found.append(page.saved_figure(run, "agreement", draw(tables), **saved))
    for name in TRUTHS:
        table = tables[f"{name}_agreement"]
        drawn = plots.agreement_matrix(table, title=f"Estimators of the {name}")
        text = f"Rank correlations among estimators of the {name}."
        found.append(
            page.saved_figure(
                run, f"{name}_matrix", drawn, table=table, caption=text, provenance=provenance
            )
        )
    found.append(page.heading("Which of them are metrics?"))
    found.append(page.paragraph(kinds(tables["axioms"]), source="tables/axioms.csv"))
    known_by_name = sum(tables["margins"]["known"])
    found.append(
        page.paragraph(
            f"{known_by_name} of {len(tables['margins'])} personas are known by name (own traits "
            "at least 1 nat = 1.44 "
            "bits likelier under the name than for the nameless assistant). All questions ask "
            "which value; yes/no "
            "questions are not used, since their margin is far below that at this size.",
            source="tables/margins.csv",
        )
    )
    if "spillover" in tables:
        found.append(page.heading("What carries a lesson over to traits that it did not teach?"))
        found += [
            page.paragraph(said, source="tables/spillover.csv")
            for said in spilled(tables["spillover"])
        ]
        caption = "Shift of untaught traits (bits) on what may carry it; standard errors clustered by persona and seed."
        found.append(
            page.table(tables["spillover"], caption=caption, source="tables/spillover.csv")
        )
    return found


def verdicts(tables: Tables, name: str) -> list[str]:
    """Which estimators find the truth, in words?

    Args:
        tables: What the experiment's ``summarize`` returned.
        name: measure or metric.

    Returns:
        Sentences; one that says so where there is no truth.
    """
    table, truth = tables[f"{name}_agreement"], TRUTHS[name]
    if truth not in {*table["one"], *table["other"]}:
        return [
            f"Of this model the true {name} is not known: estimators can be compared with each other only."
        ]
    rows = analysis.agreement_with_truth(table, truth)
    rows = rows.loc[~rows["estimator"].isin(["fact tokens"])]
    works, fails = (rows.loc[rows["works"] == flag].to_dict("records") for flag in (True, False))
    unit = "personas" if name == "measure" else "pairs"
    text = f"Of the {name} (against {truth}, n = {rows['n'].max()} {unit}, worlds: {rows['n_seeds'].max()}), "
    text += f"{'these reach' if works else 'no estimator reaches'} a rank correlation of {LINE:g}"
    said = [f"{text}: {', '.join(map(_number, works))}." if works else f"{text}."]
    if fails:
        reasons = "; ".join(
            f"{_number(row)}: {WHY[row['estimator']]}" for row in fails if row["estimator"] in WHY
        )
        bare = ", ".join(_number(row) for row in fails if row["estimator"] not in WHY)
        said.append(f"Of the {name} these fail: {'; '.join(filter(None, (reasons, bare)))}.")
    return said


def _number(row: Mapping[str, Any]) -> str:
    return f"{row['estimator']} {row['rho']:.2f} [{row['lo']:.2f}, {row['hi']:.2f}]"


def kinds(axioms: pd.DataFrame) -> str:
    """Which estimators of distance are metrics, in words?

    Args:
        axioms: Of ``analysis.axioms``, with seeds.

    Returns:
        One sentence an estimator, joined.
    """
    said = []
    for estimator, own in axioms.groupby("estimator", sort=False):
        called = own["called"].mode().iloc[0]
        said.append(
            f"{estimator}: {called} (asymmetry {own['asymmetry'].mean():.2f}; triangle violated in "
            f"{100 * own['violated'].mean():.1f} % of triples, at most by "
            f"{own['largest'].max():.2f} mean distances)"
        )
    return "; ".join(said) + "."


def spilled(table: pd.DataFrame) -> list[str]:
    """What carries a lesson over, in words?

    Args:
        table: Of ``analysis.spillover``.

    Returns:
        One sentence a predictor.
    """
    units = {
        "pmi": "bit of co-occurrence in the documents",
        "cosine": "unit of cosine of both traits' directions before the lesson",
        "style": "unit of overlap of the kinds of documents they occur in",
    }
    said = []
    for row in table.to_dict("records"):
        if pd.isna(row["estimate"]):
            said.append(f"{row['predictor']} does not vary here and is left out.")
            continue
        clear = "" if row["lo"] > 0 or row["hi"] < 0 else ", not told from 0"
        said.append(
            f"An untaught trait rises by {row['estimate']:.2f} bits [{row['lo']:.2f}, "
            f"{row['hi']:.2f}] per "
            f"{units.get(row['predictor'], row['predictor'])}{clear} (n = {row['n']}, clusters: "
            f"{row['n_clusters']})."
        )
    return said


def numbers(tables: Tables) -> pd.DataFrame:
    """The numbers in the figure.

    Args:
        tables: What the experiment's ``summarize`` returned.

    Returns:
        ``analysis.agreement_with_truth`` of measure and metric where the truth is known, with the column ``of``.
    """
    parts = [
        analysis.agreement_with_truth(tables[f"{name}_agreement"], truth).assign(of=name)
        for name, truth in TRUTHS.items()
        if truth in {*tables[f"{name}_agreement"]["one"], *tables[f"{name}_agreement"]["other"]}
    ]
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()


def draw(tables: Tables) -> Figure:
    """What do the estimators look like against the truth?

    Args:
        tables: What the experiment's ``summarize`` returned.

    Returns:
        A panel each for measure and metric.
    """
    rows = numbers(tables)
    return plots.agreement(
        {str(name): own for name, own in rows.groupby("of", sort=False)}, line=LINE
    )
