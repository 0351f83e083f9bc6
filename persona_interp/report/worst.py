"""What does any report say of the worst case beside the average?"""

from collections.abc import Iterator, Mapping
from typing import Any

import pandas as pd

from persona_interp.report import page
from persona_interp.report.page import Block
from persona_interp.report.rows import Row, only, rows

CAPTION = (
    "Shift of the target's untaught traits (bits), average over all cases and the worst case: it "
    "was found on one half of the measurements (train templates; of paraphrases every second "
    "topic, of prompts every second seed) and estimated on the other, so it is not the worst by "
    "luck. 95 % intervals, clustered."
)
WORST = ("selection", "estimate", "lo", "hi", "n")
"""Columns of the worst case, which one text says together."""
LAST = ("average", "worst", "n_cases")
"""Columns that stand last."""


def worst_cases(tables: dict[str, pd.DataFrame], **at: Any) -> list[Block]:
    """Where the untaught traits rose most, beside the average.

    Args:
        tables: Of an experiment; the table "worst" is that of ``analysis.worst_case``.
        at: Columns and values of the rows meant, for example ``arm="lesson"``.

    Returns:
        A heading and a table, or nothing where it was not measured.

    >>> worst_cases({})
    []
    """
    if "worst" not in tables:
        return []
    cases = only(tables["worst"], **at)
    if cases.empty:
        return []
    table = cases.assign(worst=[_interval(row) for row in rows(cases)])
    first = [column for column in cases.columns if column not in (*WORST, *LAST, *at)]
    return [
        page.heading(", ".join(["Average and worst case", *_settings(at)])),
        page.table(
            table.loc[:, [*first, *LAST]], caption=CAPTION, source="tables/worst.csv", rows=80
        ),
    ]


def _interval(row: Row) -> str:
    """The worst case with its interval (bits)."""
    return f"{row.estimate:+.2f} [{row.lo:+.2f}, {row.hi:+.2f}]"


def _settings(at: Mapping[str, Any]) -> Iterator[str]:
    """What the rows have in common, for a heading."""
    for name, value in at.items():
        yield f"{name} {value:g}" if isinstance(value, float) else f"{name} {value}"
