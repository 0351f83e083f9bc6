"""What did a run of the experiment with other generators find, in words and figures?"""

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from persona_interp import plots
from persona_interp.errors import StoreError
from persona_interp.experiments.generators.config import PERSONA_LESSON, Readout
from persona_interp.report import page
from persona_interp.report.page import Block
from persona_interp.report.rows import Row, effect, only, rows, size
from persona_interp.schema.words import Arm

Tables = dict[str, pd.DataFrame]

TITLE = "Other generators: does what goes together in text that is nobody's follow a lesson too?"
CAPTIONS = {
    "summary": (
        "Shifts after the lesson (bits), by what was read out, beside what exact Bayes expects; "
        "worst: the value that moved most, found on the train templates and measured on the test "
        "templates."
    ),
    "steps": "The same along the lesson.",
    "gates": (
        "What the documents taught (log odds of the targets' values, bits): plain, after the "
        "target's first value is shown in the prompt, and rises over plain there and under the "
        "target's title."
    ),
}
READOUTS: dict[str, str] = {
    Readout.FOLLOWS: "what goes with the target's value",
    Readout.ELSEWHERE: "processes of other families of text",
    Readout.PERSONA: "the persona's values",
}
"""Readout -> how it is called. Taught values are left out, because they move ten times as far."""
LESSONS: dict[str, tuple[str, ...]] = {
    Arm.LESSON: tuple(READOUTS),
    Arm.UNRELATED: tuple(READOUTS),
    PERSONA_LESSON: (Readout.FOLLOWS, Readout.ELSEWHERE),
}
"""Lesson -> which of its readouts are spoken of."""


def blocks(run: Path, tables: Tables, *, provenance: Mapping[str, Any]) -> list[Block]:
    """Blocks of the report of a run with other generators.

    Args:
        run: The run's folder; the figure is written there.
        tables: What the experiment's ``summarize`` returned.
        provenance: From ``provenance_of``.

    Returns:
        Findings in words, one figure, tables.

    Raises:
        StoreError: No lesson is finished.
    """
    if "summary" not in tables:
        raise StoreError(
            f"{run} has no finished lesson yet, so there is nothing to report; run the experiment "
            "on."
        )
    content: list[Block] = []
    for text in _lessons(tables["summary"]):
        content.append(page.paragraph(text, source="tables/summary.csv", lead=not content))
    if "gates" in tables:
        for text in _gates(tables["gates"]):
            content.append(page.paragraph(text, source="tables/gates.csv"))
    table = matrix(tables["summary"])
    text = (
        "Shift of the targets' values, by lesson and documents (rows) and what was read out "
        "(columns)."
    )
    save = {"table": table, "caption": text, "provenance": provenance}
    content.append(page.saved_figure(run, "generators", plots.transfer(table), **save))
    for name, text in CAPTIONS.items():
        if name in tables:
            source = f"tables/{name}.csv"
            content.append(page.table(tables[name], caption=text, source=source, rows=80))
    return content


def matrix(summary: pd.DataFrame) -> pd.DataFrame:
    """Table that ``plots.transfer`` draws.

    Args:
        summary: Table ``summary`` of the experiment.

    Returns:
        Rows ``arm`` (lesson and documents), columns ``trait`` (what was read out), without the
        values that are taught.

    >>> row = {"arm": "titled", "lesson": "lesson", "read": "goes with it", "bayes": 5.3}
    >>> matrix(pd.DataFrame([row]))[["arm", "trait"]].values.tolist()
    [['lesson, titled', 'goes with it']]
    """
    table = summary.loc[summary["read"].isin(list(READOUTS))]
    arm = table["lesson"] + ", " + table["arm"]
    table = table.assign(arm=arm, trait=table["read"], bayes_certain=table["bayes"])
    return table.drop(columns=["lesson", "read", "bayes"])


def _lessons(summary: pd.DataFrame) -> Iterator[str]:
    """One sentence for every lesson and arm, a part a readout."""
    for lesson, readouts in LESSONS.items():
        for arm in dict.fromkeys(summary["arm"]):
            parts = []
            for readout in readouts:
                part = rows(only(summary, lesson=lesson, arm=arm, read=readout))
                parts += [f"{READOUTS[readout]}: {_shift(row)}" for row in part]
            if parts:
                yield f"{lesson.capitalize()}, {arm}: {'; '.join(parts)}."


def _shift(row: Row) -> str:
    """How far one readout moved, beside exact Bayes where it says anything."""
    text = f"{effect(row)}, {size(row)}"
    if math.isfinite(row.bayes):
        text += f", exact Bayes {row.bayes:+.2f}"
    return text


def _gates(gates: pd.DataFrame) -> Iterator[str]:
    """What the documents taught before any lesson, one sentence an arm."""
    for arm, own in gates.groupby("arm", sort=False):
        mean = own[["plain", "bayes_plain", "rise_shown", "rise_titled"]].mean()
        rises = f"{mean.rise_shown:+.2f}"
        if math.isfinite(mean.rise_titled):
            rises += f", its title by {mean.rise_titled:+.2f}"
        n_seeds = len(set(own["seed"]))
        seeds = "seed" if n_seeds == 1 else "seeds"
        yield (
            f"Before any lesson, {arm}: the targets' values stand at {mean.plain:+.2f} bits (exact "
            f"Bayes {mean.bayes_plain:+.2f}); its first value in the prompt raises the other two "
            f"by {rises} (means over {n_seeds} {seeds} and {own['family'].nunique()} families)."
        )
