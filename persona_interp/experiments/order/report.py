"""What did an order run find, in words and figures?"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from persona_interp import plots
from persona_interp.errors import StoreError
from persona_interp.report import page
from persona_interp.report.page import Block
from persona_interp.report.rows import Row, only, rows
from persona_interp.report.worst import worst_cases

Tables = dict[str, pd.DataFrame]

TITLE = "Order: does it matter who was written about last?"


def blocks(run: Path, tables: Tables, *, provenance: Mapping[str, Any]) -> list[Block]:
    """What did this order run find?

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
    pair = tables["order"].iloc[0]
    found: list[Block] = []
    for i, row in enumerate(
        sorted(rows(tables["recency"]), key=lambda row: (row.when != "lesson", row.sft, row.replay))
    ):
        said = recency(row, first=pair["first"], second=pair["second"])
        found.append(page.paragraph(said, source="tables/recency.csv", lead=not i))
    for lr in dict.fromkeys(tables["order"].lr):
        drawn = {"table": numbers(tables, lr=lr), "provenance": provenance}
        text = f"Contrast by order, before and after the lesson, and what is left under own names; phases at lr {lr:g}."
        found.append(
            page.saved_figure(run, f"order_lr{lr:g}", draw(tables, lr=lr), caption=text, **drawn)
        )
    found.append(page.heading("Does the assistant-style finetune hide the preference?"))
    found += [
        page.paragraph(said, source="tables/contrasts.csv") for said in _hidden(tables["contrasts"])
    ]
    found.append(page.heading("Forgotten, or given less weight?"))
    found.append(
        page.paragraph(
            "A persona that is forgotten does not say its own values under its own name either; "
            "one that is only given "
            "less weight still does. Rehearsal keeps the earlier persona known, so what is left of "
            "recency with it is "
            "weight."
        )
    )
    own = only(tables["own"], when="before") if "own" in tables else pd.DataFrame()
    found += [page.paragraph(_own(row), source="tables/own.csv") for row in rows(own)]
    for name, caption in TABLES.items():
        if name in tables:
            found.append(page.table(tables[name], caption=caption, source=f"tables/{name}.csv"))
    return found + worst_cases(tables)


TABLES = {
    "recency": "Recency index: contrast with the first persona last minus contrast with the second last (bits).",
    "order": "Every measurement: contrast of the nameless assistant (bits), own values under own names (fraction).",
}


def recency(row: Row, *, first: str, second: str) -> str:
    """How much more does the later persona weigh?

    Args:
        row: A row of a recency table, with lr, replay, sft and when.
        first: The first persona of the contrast.
        second: The other.

    Returns:
        A sentence with interval and verdict.
    """
    verdict = "one seed tells no verdict"
    if row.n_seeds > 1:
        apart = "the later one weighs more" if row.lo > 0 else "the earlier one weighs more"
        verdict = apart if row.lo > 0 or row.hi < 0 else "not told apart from 0"
    return (
        f"{_about(row)}: recency {row.estimate:+.2f} bits{_ends(row)} ({_seeds(row)}; least "
        f"{row.least:+.2f}): "
        f"{verdict}. It is the contrast {first} over {second} with {first} last minus that with "
        f"{second} last; exact "
        "Bayes expects 0."
    )


def numbers(tables: Tables, *, lr: float) -> pd.DataFrame:
    """The numbers in the figure.

    Args:
        tables: From ``summarize``.
        lr: Learning rate of the phases.

    Returns:
        Contrasts (bits) by ``order`` and ``series``, and own values under own names (fraction) by
        ``replay`` and ``which``; ``quantity`` tells them apart.
    """
    both = {"contrast": _contrasts(tables, lr=lr), "own": _kept(tables, lr=lr)}
    return pd.concat(
        [table.assign(quantity=name) for name, table in both.items()], ignore_index=True
    )


def draw(tables: Tables, *, lr: float, title: str = "") -> Figure:
    """What does the effect of the order look like?

    Args:
        tables: From ``summarize``.
        lr: Learning rate of the phases.
        title: Above the figure.

    Returns:
        Contrasts by order, and what is left under own names.
    """
    return plots.order(_contrasts(tables, lr=lr), _kept(tables, lr=lr), title=title)


def _contrasts(tables: Tables, *, lr: float) -> pd.DataFrame:
    """Contrasts without rehearsal, by who came last; series: before or after the lesson, with or without SFT."""
    found = only(tables["contrasts"], lr=lr, replay=0.0).sort_values(["sft", "when"], kind="stable")
    names = [
        f"{'after' if when == 'lesson' else 'before'} the lesson{', with SFT' * bool(sft)}"
        for when, sft in zip(found["when"], found["sft"], strict=True)
    ]
    pair = tables["order"].iloc[0]
    last = {"first last": f"{pair['first']} last", "second last": f"{pair['second']} last"}
    return found.assign(series=names, order=[last.get(name, name) for name in found["order"]])


def _kept(tables: Tables, *, lr: float) -> pd.DataFrame:
    return only(tables["own"], lr=lr, sft=False, when="before")


def _hidden(contrasts: pd.DataFrame) -> list[str]:
    """Sentences: the contrast of each order, before and after the lesson, with SFT and without."""
    return [
        f"{_about(row)}, {row.order}: contrast {row.estimate:+.2f} bits{_ends(row)} ({_seeds(row)})."
        for row in rows(
            contrasts.loc[contrasts["replay"] == 0].sort_values(["lr", "order", "sft", "when"])
        )
    ]


def _own(row: Row) -> str:
    return (
        f"{_about(row)}: the {row.which} persona says its own values with probability "
        f"{row.estimate:.2f}{_ends(row)} "
        f"under its own name ({_seeds(row)})."
    )


def _about(row: Row) -> str:
    moment = "after the lesson" if row.when == "lesson" else "before the lesson"
    sft = ", after an assistant-style finetune" if row.sft else ""
    replay = f", {row.replay:.0%} rehearsal" if row.replay else ""
    return f"Phases at lr {row.lr:g}{replay}{sft}, {moment}"


def _ends(row: Row) -> str:
    return f" [{row.lo:.2f}, {row.hi:.2f}]" if row.n_seeds > 1 else ""


def _seeds(row: Row) -> str:
    return f"{int(row.n_seeds)} seeds, 95 %" if row.n_seeds > 1 else "one seed: no interval"
