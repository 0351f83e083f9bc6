"""What did an order run find, in words and figures?"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from persona_interp import plots
from persona_interp.analysis.order import FIRST_LAST, SECOND_LAST
from persona_interp.errors import StoreError
from persona_interp.experiments.dose.report import interval, seeds
from persona_interp.report import page
from persona_interp.report.page import Block
from persona_interp.report.rows import Row, only, rows
from persona_interp.report.worst import worst_cases
from persona_interp.schema.words import Moment

Tables = dict[str, pd.DataFrame]

TITLE = "Order: does it matter who was written about last?"
TABLES = {
    "recency": "Recency index: contrast with the first persona last minus contrast with the second "
    "last (bits).",
    "order": "Every measurement: contrast of the nameless assistant (bits), own values under own "
    "names (fraction).",
}
FORGETTING = (
    "A persona that is forgotten does not say its own values under its own name either; one that "
    "is only given less weight still does. Rehearsal keeps the earlier persona known, so what is "
    "left of recency with it is weight."
)


def blocks(run: Path, tables: Tables, *, provenance: Mapping[str, Any]) -> list[Block]:
    """Blocks of the page about an order run.

    Args:
        run: The run's folder; figures are written there.
        tables: What the experiment's ``summarize`` returned.
        provenance: From ``provenance_of``.

    Returns:
        The recency index, what the assistant-style finetune hides, what is forgotten, and figures.

    Raises:
        StoreError: No order is finished in both directions.
    """
    if "recency" not in tables:
        raise StoreError(
            f"{run} has not finished both orders yet, so there is nothing to report; run the "
            "experiment on."
        )
    phases = []
    for lr in dict.fromkeys(tables["order"].lr):
        caption = (
            "Contrast by order, before and after the lesson, and what is left under own names; "
            f"phases at lr {lr:g}."
        )
        figure = page.saved_figure(
            run,
            f"order_lr{lr:g}",
            draw(tables, lr=lr),
            table=numbers(tables, lr=lr),
            caption=caption,
            provenance=provenance,
        )
        phases.append([[page.heading(f"Phases at lr {lr:g}"), figure]])
    parts = [*_recencies(tables), *page.first_open(phases)]
    parts.append(page.heading("Does the assistant-style finetune hide the preference?"))
    for sentence in _contrast_sentences(tables["contrasts"]):
        parts.append(page.paragraph(sentence, source="tables/contrasts.csv"))
    parts.append(page.heading("Forgotten, or given less weight?"))
    parts.append(page.paragraph(FORGETTING))
    if "own" in tables:
        for row in rows(only(tables["own"], when=Moment.BEFORE)):
            parts.append(page.paragraph(_own(row), source="tables/own.csv"))
    for name, caption in TABLES.items():
        if name in tables:
            parts.append(page.table(tables[name], caption=caption, source=f"tables/{name}.csv"))
    return parts + worst_cases(tables)


def _recencies(tables: Tables) -> list[Block]:
    """Recency of every condition, those after the lesson first; the first leads the page."""
    pair = tables["order"].iloc[0]
    ordered = sorted(
        rows(tables["recency"]), key=lambda row: (row.when != Moment.AFTER, row.sft, row.replay)
    )
    paragraphs: list[Block] = []
    for row in ordered:
        text = recency(row, first=pair["first"], second=pair["second"])
        lead = not paragraphs
        paragraphs.append(page.paragraph(text, source="tables/recency.csv", lead=lead))
    return paragraphs


def recency(row: Row, *, first: str, second: str) -> str:
    """How much more the later persona weighs, in words.

    Args:
        row: A row of a recency table, with lr, replay, sft and when.
        first: The first persona of the contrast.
        second: The other.

    Returns:
        A sentence with interval and verdict.
    """
    return (
        f"{_about(row)}: recency {row.estimate:+.2f} bits{interval(row)} ({seeds(row)}; least "
        f"{row.least:+.2f}): {_verdict(row)}. It is the contrast {first} over {second} with "
        f"{first} last minus that with {second} last; exact Bayes expects 0."
    )


def _verdict(row: Row) -> str:
    if row.n_seeds == 1:
        return "one seed tells no verdict"
    if row.lo > 0:
        return "the later one weighs more"
    if row.hi < 0:
        return "the earlier one weighs more"
    return "not told apart from 0"


def numbers(tables: Tables, *, lr: float) -> pd.DataFrame:
    """Numbers in the figure.

    Args:
        tables: From ``summarize``.
        lr: Learning rate of the phases.

    Returns:
        Contrasts (bits) by ``order`` and ``series``, and own values under own names (fraction) by
        ``replay`` and ``which``; ``quantity`` tells them apart.
    """
    contrast = _contrasts(tables, lr=lr).assign(quantity="contrast")
    own = _own_values(tables, lr=lr).assign(quantity="own")
    return pd.concat([contrast, own], ignore_index=True)


def draw(tables: Tables, *, lr: float, title: str = "") -> Figure:
    """Draw the effect of the order.

    Args:
        tables: From ``summarize``.
        lr: Learning rate of the phases.
        title: Above the figure.

    Returns:
        Contrasts by order, and what is left under own names.
    """
    return plots.order(_contrasts(tables, lr=lr), _own_values(tables, lr=lr), title=title)


def _contrasts(tables: Tables, *, lr: float) -> pd.DataFrame:
    """Contrasts without rehearsal, by who came last, in series by moment and finetune."""
    contrasts = only(tables["contrasts"], lr=lr, replay=0.0)
    contrasts = contrasts.sort_values(["sft", "when"], kind="stable")
    pair = tables["order"].iloc[0]
    last = {FIRST_LAST: f"{pair['first']} last", SECOND_LAST: f"{pair['second']} last"}
    series = [_series(row) for row in rows(contrasts)]
    orders = [last.get(name, name) for name in contrasts["order"]]
    return contrasts.assign(series=series, order=orders)


def _series(row: Row) -> str:
    """Label of a line: the moment, and whether there was an assistant-style finetune."""
    label = _moment(row)
    if row.sft:
        label += ", with SFT"
    return label


def _own_values(tables: Tables, *, lr: float) -> pd.DataFrame:
    """Probability of a persona's values under its own name before the lesson, without SFT."""
    return only(tables["own"], lr=lr, sft=False, when=Moment.BEFORE)


def _contrast_sentences(contrasts: pd.DataFrame) -> list[str]:
    """The contrast of each order, before and after the lesson, with SFT and without."""
    plain = only(contrasts, replay=0).sort_values(["lr", "order", "sft", "when"])
    sentences = []
    for row in rows(plain):
        size = f"{row.estimate:+.2f} bits{interval(row)} ({seeds(row)})"
        sentences.append(f"{_about(row)}, {row.order}: contrast {size}.")
    return sentences


def _own(row: Row) -> str:
    return (
        f"{_about(row)}: the {row.which} persona says its own values with probability "
        f"{row.estimate:.2f}{interval(row)} under its own name ({seeds(row)})."
    )


def _about(row: Row) -> str:
    """The condition that a row is of."""
    text = f"Phases at lr {row.lr:g}"
    if row.replay:
        text += f", {row.replay:.0%} rehearsal"
    if row.sft:
        text += ", after an assistant-style finetune"
    return f"{text}, {_moment(row)}"


def _moment(row: Row) -> str:
    return {Moment.BEFORE: "before the lesson", Moment.AFTER: "after the lesson"}[row.when]
