"""The calibration as a page: tables in markdown, and where they come from."""

import importlib.metadata
import platform
import sys
from datetime import date
from pathlib import Path

import pandas as pd

from persona_interp.report.provenance import revision
from persona_interp.schema.words import Calibration

VERSIONS = ("numpy", "scipy", "pandas", "statsmodels", "scikit-learn")
FAULTS = (Calibration.NARROW, Calibration.WIDE, Calibration.LIBERAL, Calibration.WEAK)


def provenance() -> str:
    """Command, commit, day and versions, in one line."""
    command = " ".join(["python benchmarks/calibration.py", *sys.argv[1:]])
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in VERSIONS)
    python = platform.python_version()
    return f"`{command}`, commit {revision()}, {date.today()}, Python {python}, {versions}"


def write_docs(table: pd.DataFrame, path: Path, *, source: str) -> None:
    """Put the tables into a page, between its marks; the words around them stay."""
    before, mark, rest = path.read_text().partition("<!-- tables -->\n")
    _, end, after = rest.partition("<!-- end of tables -->\n")
    if not mark or not end:
        raise SystemExit(f"{path} lacks the marks between which tables are written")
    text = f"\nLast written by {source}.\n\n{summary(table)}\n\n{long_table(table)}\n"
    path.write_text(before + mark + text + end + after)


def summary(table: pd.DataFrame) -> str:
    """How many lines have which verdict, and the faults in full."""
    counts = table["verdict"].value_counts()
    sentence = ", ".join(f"{n} {verdict}" for verdict, n in counts.items())
    faults = table.loc[table["verdict"].isin(FAULTS)]
    text = f"{len(table)} lines: {sentence}.\n\n"
    by_commit = table["commit"].value_counts()
    if len(by_commit) > 1:
        commits = (f"{n} at {commit}" for commit, n in by_commit.items())
        text = f"{text}Lines by the commit they were simulated at: {', '.join(commits)}.\n\n"
    if faults.empty:
        return text + "No line misses its bounds."
    return text + "**Lines that miss their bounds**\n\n" + markdown(faults)


def long_table(table: pd.DataFrame) -> str:
    """Every line, under a heading for each module."""
    parts = []
    for module, own in table.groupby(table["estimator"].str.partition(".")[0], sort=False):
        parts.append(f"## {module}\n\n{markdown(own)}")
    return "\n\n".join(parts)


def markdown(table: pd.DataFrame) -> str:
    """Lines of the table in markdown."""
    head = "| estimator | setting | quantity | share [99 %] | bound | n | verdict |"
    parts = [head, "|---|---|---|---|---|---|---|"]
    for row in table.to_dict("records"):
        unanswered = f" ({row['unanswered']} without)" if row["unanswered"] else ""
        parts.append(
            f"| `{row['estimator']}` | {row['setting']} | {row['quantity']} "
            f"| {row['share']:.3f} [{row['lo']:.3f}, {row['hi']:.3f}] | {row['bound']} "
            f"| {row['simulations']}{unanswered} | {row['verdict']} |"
        )
    return "\n".join(parts)
