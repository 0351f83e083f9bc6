"""What does any report say of the worst case beside the average?"""

from typing import Any

import pandas as pd

from persona_interp.report import page
from persona_interp.report.page import Block


def worst_cases(tables: dict[str, pd.DataFrame], **at: Any) -> list[Block]:
    """Where did the untaught traits rise most?

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
    frame = tables["worst"]
    for column, value in at.items():
        frame = frame.loc[frame[column] == value]
    if frame.empty:
        return []
    shown = frame.assign(worst=[_interval(row) for row in frame.itertuples()])
    rest = [c for c in frame.columns if c not in ("found", "estimate", "lo", "hi", "n", *at)]
    text = (
        "Shift of the target's untaught traits (bits), average over all cases and the worst case: "
        "it was found on one "
        "half of the measurements (train templates; of paraphrases every second topic, of prompts "
        "every second seed) "
        "and estimated on the other, so it is not the worst by luck. 95 % intervals, clustered."
    )
    order = [*(c for c in rest if c not in ("average", "n_cases")), "average", "worst", "n_cases"]
    return [
        page.heading("Average and worst case"),
        page.table(shown.loc[:, order], caption=text, source="tables/worst.csv", rows=80),
    ]


def _interval(row: Any) -> str:
    return f"{row.estimate:+.2f} [{row.lo:+.2f}, {row.hi:+.2f}]"
