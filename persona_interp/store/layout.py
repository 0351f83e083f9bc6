"""What is called how in a run folder? Each name once."""

from pathlib import Path

from persona_interp.errors import StoreError

RUN, PLAN, MANIFEST, LOG = "run.json", "plan.json", "manifest.jsonl", "log.jsonl"
CELLS = "cells"
ENTRY = ".cell.json"
"""A cell's own copy of its manifest line, which vouches for it when the line is lost."""
WORK, FAILED, ASIDE, JOBS = "work", "failed", "quarantine", "jobs"
UNVOUCHED = (WORK, FAILED, ASIDE, JOBS)
"""Folders whose files nothing vouches for: unfinished, failed, set aside, and logs of jobs."""


def is_run(folder: Path) -> bool:
    """Whether a folder is a run, by its manifest.

    Args:
        folder: Any path.

    Returns:
        Whether a store made it.
    """
    return (folder / MANIFEST).is_file()


def check_outside(path: Path) -> None:
    """Refuse to write into a run folder what is none of its files.

    Args:
        path: A folder or file that is to be written.

    Raises:
        StoreError: It lies in a run folder.
    """
    runs = [folder for folder in path.absolute().resolve().parents if is_run(folder)]
    if runs:
        raise StoreError(
            f"{path} lies in the run folder {runs[0]}, which would be damaged by what is not its "
            "own; choose another --out."
        )


def check_places(root: Path) -> None:
    """Refuse to write into a run folder where something else stands at a name of its own.

    Args:
        root: A run folder.

    Raises:
        StoreError: A file stands where a folder belongs, or a folder or pipe where a file does.
    """
    folders = [root / name for name in (CELLS, *UNVOUCHED)]
    files = [root / name for name in (PLAN, LOG)]
    wrong = [path for path in folders if path.exists() and not path.is_dir()]
    wrong += [path for path in files if path.exists() and not path.is_file()]
    if wrong:
        kind = "folder" if wrong[0] in folders else "file"
        raise StoreError(
            f"{wrong[0]} is no {kind}, as it must be in a run folder; nothing was written. Move it "
            "away and run the experiment again with this --out."
        )
