"""What did a run of the experiment with other generators find, in words and figures?"""

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from persona_interp import plots
from persona_interp.errors import StoreError
from persona_interp.report import page
from persona_interp.report.page import Block
from persona_interp.report.rows import effect, only, rows, size

Tables = dict[str, pd.DataFrame]

TITLE = "Other generators: does what goes together in text that is nobody's follow a lesson too?"
TABLES = {
    "summary": "Shifts after the lesson (bits), by what was read out, beside what exact Bayes expects; worst: the "
    "value that moved most, found on the train templates and measured on the test templates.",
    "steps": "The same along the lesson.",
    "gates": "What the documents taught (log odds of the targets' values, bits): plain, after the target's first value "
    "is shown in the prompt, and rises over plain there and under the target's title.",
}
ROWS = {
    "lesson": ("goes with it", "other texts", "the persona"),
    "unrelated lesson": ("goes with it", "other texts", "the persona"),
    "persona lesson": ("goes with it", "other texts"),
}
"""Lesson -> what is said of it."""
READ = {
    "goes with it": "what goes with the target's value",
    "other texts": "processes of other families of text",
    "the persona": "the persona's values",
}


def blocks(run: Path, tables: Tables, *, provenance: Mapping[str, Any]) -> list[Block]:
    """What did this run find?

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
    said = list(_found(tables["summary"]))
    found = [
        page.paragraph(text, source="tables/summary.csv", lead=not i) for i, text in enumerate(said)
    ]
    found += [page.paragraph(text, source="tables/gates.csv") for text in _learned(tables)]
    shown = matrix(tables["summary"])
    text = "Shift of the targets' values, by lesson and documents (rows) and what was read out (columns)."
    drawn = plots.transfer(shown)
    found.append(
        page.saved_figure(
            run, "generators", drawn, table=shown, caption=text, provenance=provenance
        )
    )
    found += [
        page.table(tables[name], caption=text, source=f"tables/{name}.csv", rows=80)
        for name, text in TABLES.items()
        if name in tables
    ]
    return found


def matrix(summary: pd.DataFrame) -> pd.DataFrame:
    """Which table does ``plots.transfer`` draw?

    Args:
        summary: Table ``summary`` of the experiment.

    Returns:
        Rows ``arm`` (lesson and documents), columns ``trait`` (what was read out); taught values
        are left out, because they move ten times as far.

    >>> row = {"arm": "titled", "lesson": "lesson", "read": "goes with it", "bayes": 5.3, "estimate": 1.0}
    >>> matrix(pd.DataFrame([row]))[["arm", "trait"]].values.tolist()
    [['lesson, titled', 'goes with it']]
    """
    kept = summary.loc[summary["read"].isin(list(READ))]
    arm = kept["lesson"] + ", " + kept["arm"]
    return kept.assign(arm=arm, trait=kept["read"], bayes_certain=kept["bayes"]).drop(
        columns=["lesson", "read", "bayes"]
    )


def _found(summary: pd.DataFrame) -> Iterator[str]:
    """One sentence for every lesson, arm and readout."""
    for lesson, reads in ROWS.items():
        for arm in dict.fromkeys(summary["arm"]):
            parts = []
            for read in reads:
                for row in rows(only(summary, lesson=lesson, arm=arm, read=read)):
                    bayes = f", exact Bayes {row.bayes:+.2f}" if math.isfinite(row.bayes) else ""
                    parts.append(f"{READ[read]}: {effect(row)}, {size(row)}{bayes}")
            if parts:
                yield f"{lesson.capitalize()}, {arm}: {'; '.join(parts)}."


def _learned(tables: Tables) -> Iterator[str]:
    """What the documents taught, before any lesson."""
    if "gates" not in tables:
        return
    for arm, gates in tables["gates"].groupby("arm", sort=False):
        mean = gates[["plain", "bayes_plain", "rise_shown", "rise_titled"]].mean()
        titled = (
            f", its title by {mean.rise_titled:+.2f}" if math.isfinite(mean.rise_titled) else ""
        )
        yield (
            f"Before any lesson, {arm}: the targets' values stand at {mean.plain:+.2f} bits (exact "
            "Bayes "
            f"{mean.bayes_plain:+.2f}); its first value in the prompt raises the other two by "
            f"{mean.rise_shown:+.2f}"
            f"{titled} (means over {gates['seed'].nunique()} "
            f"seed{'s' * (gates['seed'].nunique() > 1)} and "
            f"{gates['family'].nunique()} families)."
        )
