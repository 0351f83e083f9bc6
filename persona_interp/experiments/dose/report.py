"""What did a dose run find, in words and figures?"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from persona_interp import analysis, plots
from persona_interp.errors import StoreError
from persona_interp.experiments.dose.config import DoseArm
from persona_interp.report import page
from persona_interp.report.page import Block
from persona_interp.report.rows import Row, only, rows
from persona_interp.report.worst import worst_cases
from persona_interp.schema.words import Moment

Tables = dict[str, pd.DataFrame]

TITLE = "Dose: how much has to be written about somebody until a lesson summons him?"
ARMS = {DoseArm.RATIO: "trained from scratch", DoseArm.LATER: "learned by a finished model"}
"""Arm that has a curve -> how its documents were learned."""
CARRIERS = {
    DoseArm.RATIO: "all documents",
    DoseArm.NAMED: "documents with names",
    DoseArm.HIDDEN: "hidden-identity dialogues",
}
"""Arm -> the documents that have its ratio."""
MASS_UNITS = {"contrast": "bits of contrast", "probability": "of the first's probability"}


def blocks(run: Path, tables: Tables, *, provenance: Mapping[str, Any]) -> list[Block]:
    """Blocks of the page about a dose run.

    Args:
        run: The run's folder; figures are written there.
        tables: What the experiment's ``summarize`` returned.
        provenance: From ``provenance_of``.

    Returns:
        The answer in plain words, slopes against exact Bayes, doses, which documents carry the
        ratio.

    Raises:
        StoreError: Nothing is finished.
    """
    if "dose" not in tables:
        raise StoreError(
            f"{run} has no finished documents yet, so there is nothing to report; run the "
            "experiment on."
        )
    parts = _answers(tables)
    parts += _figures(run, tables, provenance=provenance)
    for name, heading in SECTIONS.items():
        if name in tables:
            parts.append(page.heading(heading))
            for row in rows(tables[name]):
                parts.append(page.paragraph(SENTENCES[name](row), source=f"tables/{name}.csv"))
    for name, caption in TABLES.items():
        if name in tables:
            parts.append(page.table(tables[name], caption=caption, source=f"tables/{name}.csv"))
    return parts + worst_cases(tables)


def _answers(tables: Tables) -> list[Block]:
    """The answer of every arm and lesson, the first of them as the page's lead."""
    if "reliable" not in tables:
        return []
    pair = tables["dose"].iloc[0]
    answers: list[Block] = []
    for row in rows(only(tables["reliable"], when=Moment.AFTER)):
        text = answer(row, first=pair["first"], second=pair["second"])
        answers.append(page.paragraph(text, source="tables/reliable.csv", lead=not answers))
    return answers


def _figures(run: Path, tables: Tables, *, provenance: Mapping[str, Any]) -> list[Block]:
    """A figure of every arm that has a curve, and of every learning rate of the lesson."""
    if "curves" not in tables:
        return []
    lrs = sorted(set(only(tables["curves"], when=Moment.AFTER).lr))
    arms = [arm for arm in ARMS if arm in set(tables["curves"].arm)]
    groups = []
    for lr in lrs:
        sections = []
        for arm in arms:
            caption = (
                f"Documents {ARMS[arm]}; contrast before, in the prompt and after the lesson, and "
                "the fitted curve."
            )
            figure = page.saved_figure(
                run,
                f"dose_{arm}_lr{lr:g}",
                draw(tables, arm=arm, lr=lr),
                table=numbers(tables, arm=arm, lr=lr),
                caption=caption,
                provenance=provenance,
            )
            heading = page.heading(f"Documents {ARMS[arm]}, lesson at lr {lr:g}")
            sections.append([heading, figure])
        groups.append(sections)
    return page.first_open(groups)


def answer(row: Row, *, first: str, second: str) -> str:
    """Dose from which on the model reliably says what the first persona says, in words.

    Args:
        row: A row of the table ``reliable`` of the dose experiment.
        first: The persona that is to be summoned.
        second: The one beside it.

    Returns:
        A sentence; "more than" the largest ratio measured where the level is not reached.
    """
    level, most = f"at least {row.level:.2f}, 80 % of what noise allows", 2.0**row.most
    arm = f"Documents {ARMS[row.arm]}, lesson at lr {row.lr:g}: "
    if row.where == "above":
        return (
            f"{arm}the model does not reliably say what {first} says ({level}) within the doses "
            f"measured: it would take more than {most:g} times as many documents about {first} as "
            f"about {second} ({seeds(row)})."
        )
    ends = ""
    if row.n_seeds > 1:
        ends = f" [{_times(row.ratio_lo, most)}, {_times(row.ratio_hi, most)}]"
    return (
        f"{arm}the model reliably says what {first} says ({level}) once there are "
        f"{_times(row.ratio_estimate, most)} times{ends} as many documents about {first} as about "
        f"{second}: {row.documents_estimate:.0f} documents, {row.statements_estimate:.0f} "
        f"statements, {row.fact_tokens_estimate:.0f} fact tokens ({seeds(row)})."
    )


def contrasts(tables: Tables, *, arm: str, lr: float) -> pd.DataFrame:
    """Contrasts before, with a statement in the prompt and after the lesson at this rate.

    Args:
        tables: From ``summarize``.
        arm: ``DoseArm.RATIO`` or ``DoseArm.LATER``.
        lr: Learning rate of the lesson.

    Returns:
        One row a moment and dose: ``when``, ``dose``, ``estimate`` (bits), ``lo``, ``hi``,
        ``n_seeds``, ``bayes``.
    """
    dose = only(tables["dose"], arm=arm)
    dose = dose.loc[dose.lr.isin([0.0, lr])]  # no lesson has a rate of 0: those before it have
    dose = dose.assign(bayes=dose["bayes_hidden"])
    averages = analysis.across_seeds(dose, by=["when", "dose"], beside=("bayes",))
    names = {
        Moment.BEFORE: "before",
        Moment.PROMPT: "one statement in the prompt",
        Moment.AFTER: f"after the lesson, lr {lr:g}",
    }
    return averages.assign(when=[names[when] for when in averages["when"]])


def numbers(tables: Tables, *, arm: str, lr: float) -> pd.DataFrame:
    """The numbers in the figure.

    Args:
        tables: From ``summarize``.
        arm: ``DoseArm.RATIO`` or ``DoseArm.LATER``.
        lr: Learning rate of the lesson.

    Returns:
        Contrasts (bits) and probabilities (fraction) by ``quantity``, over seeds.
    """
    contrast = contrasts(tables, arm=arm, lr=lr).assign(quantity="contrast")
    probability = _probabilities(tables, arm=arm, lr=lr).assign(quantity="probability")
    return pd.concat([contrast, probability], ignore_index=True)


def draw(tables: Tables, *, arm: str, lr: float, title: str = "") -> Figure:
    """Draw the dose response.

    Args:
        tables: From ``summarize``.
        arm: ``DoseArm.RATIO`` or ``DoseArm.LATER``.
        lr: Learning rate of the lesson.
        title: Above the figure.

    Returns:
        Contrasts beside exact Bayes, and the probability with its fitted curve.
    """
    lesson: dict[str, Any] = {"arm": arm, "when": Moment.AFTER, "lr": lr}
    reliable = only(tables["reliable"], **lesson)
    pair = tables["dose"].iloc[0]
    return plots.dose(
        contrasts(tables, arm=arm, lr=lr),
        _probabilities(tables, arm=arm, lr=lr),
        curve=only(tables["curves"], **lesson),
        level=float(reliable.level.iloc[0]),
        pair=(str(pair["first"]), str(pair["second"])),
        title=title,
    )


def interval(row: Row) -> str:
    """Interval over seeds behind an estimate.

    Args:
        row: A row with ``lo``, ``hi`` and ``n_seeds``.

    Returns:
        For example " [0.21, 0.45]"; "" for one seed, which has none.
    """
    if row.n_seeds == 1:
        return ""
    return f" [{row.lo:.2f}, {row.hi:.2f}]"


def seeds(row: Row) -> str:
    """Number of seeds, and what their interval is.

    Args:
        row: A row with ``n_seeds``.

    Returns:
        For example "3 seeds, 95 %".
    """
    if row.n_seeds == 1:
        return "one seed: no interval"
    return f"{int(row.n_seeds)} seeds, 95 %"


def _probabilities(tables: Tables, *, arm: str, lr: float) -> pd.DataFrame:
    """Probability of the first persona's values after the lesson at this rate, over seeds."""
    lessons = only(tables["dose"], arm=arm, when=Moment.AFTER, lr=lr)
    return analysis.across_seeds(lessons, value="p_first", by=["when", "dose"])


def _slope(row: Row) -> str:
    return (
        f"Documents {ARMS[row.arm]}, {_moment(row)}: slope {row.estimate:.2f}{interval(row)} "
        f"against what exact Bayes expects of the {row.population} documents (1 = Bayes; r2 "
        f"{row.r2:.2f}, {int(row.n)} points) ({seeds(row)})."
    )


def _dose(row: Row) -> str:
    level = f"at {row.level:.2f} bits, as exact Bayes is where it is reliable,"
    if row.level == 0:
        level = "undecided (0 bits)"
    return (
        f"Documents {ARMS[row.arm]}, {_moment(row)}: the contrast is {level} at a ratio of "
        f"{row.ratio_estimate:.3g}{_ratio_interval(row)} ({seeds(row)})."
    )


def _ratio_interval(row: Row) -> str:
    """Fieller's interval of the ratio, which is unbounded where the slope may be zero."""
    if row.bounded:
        return f" [{row.ratio_lo:.3g}, {row.ratio_hi:.3g}]"
    if row.n_seeds > 1:
        return "; the interval is unbounded"
    return ""


def _carrier(row: Row) -> str:
    return (
        f"The ratio in {CARRIERS[row.arm]}, {_moment(row)}: {row.estimate:+.2f}{interval(row)} "
        f"bits of contrast for each bit of ratio ({seeds(row)})."
    )


def _mass(row: Row) -> str:
    return (
        f"Twice as much about both, {_moment(row)}: {row.estimate:+.2f}{interval(row)} "
        f"{MASS_UNITS[row.of]}; 0 = only the ratio counts ({seeds(row)})."
    )


SECTIONS = {
    "slopes": "Does the contrast follow exact Bayes?",
    "ed50": "Which ratio is enough?",
    "carriers": "Which documents carry the ratio?",
    "masses": "Does the amount count, or only the ratio?",
}
SENTENCES = {"slopes": _slope, "ed50": _dose, "carriers": _carrier, "masses": _mass}
TABLES = {
    "reliable": "Doses at which the first persona's values are said reliably, as ratio and as "
    "amounts about him.",
    "dose": "Every measurement: contrast (bits) beside exact Bayes of hidden and of named "
    "documents.",
}


def _moment(row: Row) -> str:
    words = {
        Moment.BEFORE: "before",
        Moment.PROMPT: "with one statement in the prompt",
        Moment.AFTER: f"after the lesson at lr {row.lr:g}",
    }
    return words[row.when]


def _times(ratio: float, most: float) -> str:
    """A ratio, as far as it was measured."""
    if np.isnan(ratio):
        return "?"
    if ratio > most:
        return f"more than {most:g}"
    if ratio < 1 / most:
        return f"less than {1 / most:.2g}"
    return f"{ratio:.2g}"
