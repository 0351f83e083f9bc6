"""What did a dose run find, in words and figures?"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from persona_interp import analysis, plots
from persona_interp.errors import StoreError
from persona_interp.report import page
from persona_interp.report.page import Block
from persona_interp.report.rows import Row, only, rows
from persona_interp.report.worst import worst_cases

Tables = dict[str, pd.DataFrame]

TITLE = "Dose: how much has to be written about somebody until a lesson summons him?"
ARMS = {"ratio": "trained from scratch", "later": "learned by a finished model"}
CARRIERS = {
    "ratio": "all documents",
    "named": "documents with names",
    "hidden": "hidden-identity dialogues",
}


def blocks(run: Path, tables: Tables, *, provenance: Mapping[str, Any]) -> list[Block]:
    """What did this dose run find?

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
    found: list[Block] = []
    pair = tables["dose"].iloc[0]
    for row in rows(only(tables["reliable"], when="lesson")) if "reliable" in tables else []:
        said = answer(row, first=pair["first"], second=pair["second"])
        found.append(page.paragraph(said, source="tables/reliable.csv", lead=not found))
    for arm in [name for name in ARMS if "curves" in tables and name in set(tables["curves"].arm)]:
        for lr in sorted(set(tables["curves"].loc[tables["curves"].when == "lesson", "lr"])):
            text = f"Documents {ARMS[arm]}; contrast before, in the prompt and after the lesson, and the fitted curve."
            drawn = {
                "table": numbers(tables, arm=arm, lr=lr),
                "caption": text,
                "provenance": provenance,
            }
            found.append(
                page.saved_figure(
                    run, f"dose_{arm}_lr{lr:g}", draw(tables, arm=arm, lr=lr), **drawn
                )
            )
    for name, heading in SECTIONS.items():
        if name in tables:
            source = f"tables/{name}.csv"
            found.append(page.heading(heading))
            found += [
                page.paragraph(SENTENCES[name](row), source=source) for row in rows(tables[name])
            ]
    for name, caption in TABLES.items():
        if name in tables:
            found.append(page.table(tables[name], caption=caption, source=f"tables/{name}.csv"))
    return found + worst_cases(tables)


def answer(row: Row, *, first: str, second: str) -> str:
    """From which dose on does the model reliably say what the first persona says?

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
            "measured: it would "
            f"take more than {most:g} times as many documents about {first} as about "
            f"{second}{_seeds(row)}."
        )
    lo, hi = _times(row.ratio_lo, most), _times(row.ratio_hi, most)
    ends = f" [{lo}, {hi}]" if row.n_seeds > 1 else ""
    return (
        f"{arm}the model reliably says what {first} says ({level}) once there are "
        f"{_times(row.ratio_estimate, most)} "
        f"times{ends} as many documents about {first} as about {second}: "
        f"{row.documents_estimate:.0f} documents, "
        f"{row.statements_estimate:.0f} statements, {row.fact_tokens_estimate:.0f} fact "
        f"tokens{_seeds(row)}."
    )


def contrasts(tables: Tables, *, arm: str, lr: float) -> pd.DataFrame:
    """Which contrasts are drawn: before, with a statement in the prompt, after the lesson at this rate?

    Args:
        tables: From ``summarize``.
        arm: ratio or later.
        lr: Learning rate of the lesson.

    Returns:
        One row a moment and dose: ``when``, ``dose``, ``estimate`` (bits), ``lo``, ``hi``,
        ``n_seeds``, ``bayes``.
    """
    measured = only(tables["dose"], arm=arm)
    measured = measured.loc[measured.lr.isin([0.0, lr])].assign(
        bayes=lambda table: table["bayes_hidden"]
    )
    averaged = analysis.across_seeds(measured, by=["when", "dose"], beside=("bayes",))
    names = {
        "before": "before",
        "prompt": "one statement in the prompt",
        "lesson": f"after the lesson, lr {lr:g}",
    }
    return averaged.assign(when=[names[when] for when in averaged["when"]])


def numbers(tables: Tables, *, arm: str, lr: float) -> pd.DataFrame:
    """The numbers in the figure.

    Args:
        tables: From ``summarize``.
        arm: ratio or later.
        lr: Learning rate of the lesson.

    Returns:
        Contrasts (bits) and probabilities (fraction) by ``quantity``, over seeds.
    """
    both = {
        "contrast": contrasts(tables, arm=arm, lr=lr),
        "probability": _said(tables, arm=arm, lr=lr),
    }
    return pd.concat(
        [table.assign(quantity=name) for name, table in both.items()], ignore_index=True
    )


def draw(tables: Tables, *, arm: str, lr: float, title: str = "") -> Figure:
    """What does the dose response look like?

    Args:
        tables: From ``summarize``.
        arm: ratio or later.
        lr: Learning rate of the lesson.
        title: Above the figure.

    Returns:
        Contrasts beside exact Bayes, and the probability with its fitted curve.
    """
    curve = only(tables["curves"], arm=arm, when="lesson", lr=lr)
    level = float(only(tables["reliable"], arm=arm, when="lesson", lr=lr).level.iloc[0])
    said = _said(tables, arm=arm, lr=lr)
    pair = (str(tables["dose"]["first"].iloc[0]), str(tables["dose"]["second"].iloc[0]))
    return plots.dose(
        contrasts(tables, arm=arm, lr=lr), said, curve=curve, level=level, pair=pair, title=title
    )


def _said(tables: Tables, *, arm: str, lr: float) -> pd.DataFrame:
    measured = only(tables["dose"], arm=arm, when="lesson", lr=lr)
    return analysis.across_seeds(measured, value="p_first", by=["when", "dose"])


def _slope(row: Row) -> str:
    return (
        f"Documents {ARMS[row.arm]}, {_when(row)}: slope {row.estimate:.2f}{_ends(row)} against "
        "what exact Bayes "
        f"expects of the {row.population} documents (1 = Bayes; r2 {row.r2:.2f}, {int(row.n)} "
        f"points){_seeds(row)}."
    )


def _dose(row: Row) -> str:
    where = (
        "undecided (0 bits)"
        if not row.level
        else f"at {row.level:.2f} bits, as exact Bayes is where it is reliable,"
    )
    ends = f" [{row.ratio_lo:.3g}, {row.ratio_hi:.3g}]" if row.bounded else ""
    unbounded = "; the interval is unbounded" if row.n_seeds > 1 and not row.bounded else ""
    return (
        f"Documents {ARMS[row.arm]}, {_when(row)}: the contrast is {where} at a ratio of "
        f"{row.ratio_estimate:.3g}{ends}"
        f"{unbounded}{_seeds(row)}."
    )


def _carrier(row: Row) -> str:
    return (
        f"The ratio in {CARRIERS[row.arm]}, {_when(row)}: {row.estimate:+.2f}{_ends(row)} bits of "
        "contrast for each "
        f"bit of ratio{_seeds(row)}."
    )


def _mass(row: Row) -> str:
    unit = "bits of contrast" if row.of == "contrast" else "of the first's probability"
    return (
        f"Twice as much about both, {_when(row)}: {row.estimate:+.2f}{_ends(row)} {unit}; 0 = only "
        "the ratio counts"
        f"{_seeds(row)}."
    )


SECTIONS = {
    "slopes": "Does the contrast follow exact Bayes?",
    "ed50": "Which ratio is enough?",
    "carriers": "Which documents carry the ratio?",
    "masses": "Does the amount count, or only the ratio?",
}
SENTENCES = {"slopes": _slope, "ed50": _dose, "carriers": _carrier, "masses": _mass}
TABLES = {
    "reliable": "Doses at which the first persona's values are said reliably, as ratio and as amounts about him.",
    "dose": "Every measurement: contrast (bits) beside exact Bayes of hidden and of named documents.",
}


def _when(row: Row) -> str:
    after = f"after the lesson at lr {row.lr:g}"
    return {"before": "before", "prompt": "with one statement in the prompt", "lesson": after}[
        row.when
    ]


def _ends(row: Row) -> str:
    return f" [{row.lo:.2f}, {row.hi:.2f}]" if row.n_seeds > 1 else ""


def _seeds(row: Row) -> str:
    return f" ({int(row.n_seeds)} seeds, 95 %)" if row.n_seeds > 1 else " (one seed: no interval)"


def _times(ratio: float, most: float) -> str:
    """A ratio, as far as it was measured."""
    if np.isnan(ratio):
        return "?"
    return (
        f"more than {most:g}"
        if ratio > most
        else f"less than {1 / most:.2g}"
        if ratio < 1 / most
        else f"{ratio:.2g}"
    )
