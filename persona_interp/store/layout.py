"""What is called how in a run folder? Each name once."""

from pathlib import Path

RUN, PLAN, MANIFEST, LOG = "run.json", "plan.json", "manifest.jsonl", "log.jsonl"
CELLS = "cells"
ENTRY = ".cell.json"
"""A cell's own copy of its manifest line, which vouches for it when the line is lost."""
UNVOUCHED = ("work", "failed", "quarantine")
"""Folders whose files nothing vouches for: unfinished, failed and set aside."""


def is_run(folder: Path) -> bool:
    """Whether a folder is a run, by its manifest.

    Args:
        folder: Any path.

    Returns:
        Whether a store made it.
    """
    return (folder / MANIFEST).is_file()
