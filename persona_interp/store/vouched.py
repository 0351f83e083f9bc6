"""Which files of a run, beside its cells, are as they were written? The manifest says so."""

import logging
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from persona_interp.errors import StoreError
from persona_interp.files import write_bytes
from persona_interp.schema.words import FileStatus
from persona_interp.store.layout import CELLS, MANIFEST, is_run
from persona_interp.store.manifest import append, listing
from persona_interp.store.sums import condition, sum_of, sum_of_bytes
from persona_interp.tables import read_json

_log = logging.getLogger(__name__)


def read_vouched(file: Path) -> Any:
    """Value of a JSON file of a run.

    Args:
        file: In the run folder.

    Returns:
        The value; None where the file is absent, or is not what was written (which is logged).
    """
    if not file.is_file():
        return None
    try:
        check(file)
        return read_json(file)
    except StoreError as error:
        _log.warning("%s", error)
        return None


def check(file: Path) -> None:
    """Refuse a file of a run that is not what was written there.

    Args:
        file: Any file; one of no run, or for which nothing vouches, is let pass.

    Raises:
        StoreError: It is in a run folder, and other bytes were written; or it is in a cell, or
            lines of the manifest were lost, and nothing vouches for it.
    """
    file = file.resolve()
    roots = [folder for folder in file.parents if is_run(folder)]
    if not roots:
        return
    root, name = roots[0], file.relative_to(roots[0])
    lines = listing(root / MANIFEST)
    versions = lines.files.get(name.as_posix(), [])
    top, _, rest = name.as_posix().partition("/")
    cell, _, inner = rest.partition("/")
    is_in_cell = top == CELLS and inner != ""
    if is_in_cell and cell in lines.entries:
        files = [file for file in lines.entries[cell]["files"] if file["path"] == inner]
        versions = [{**file, "path": name.as_posix()} for file in files]
    advice = (
        f"`persona-interp verify {root}` names all such files. Run the experiment again with this "
        "--out."
    )
    if not versions and (is_in_cell or lines.unreadable):
        raise StoreError(f"nothing vouches for {file}; {advice}")
    if versions and all(condition(root, version) != FileStatus.OK for version in versions):
        raise StoreError(f"{file} is not what was written there; {advice}")


def check_listed(root: Path) -> None:
    """Refuse a run folder whose manifest lost lines: what it lists is not all that was computed.

    Args:
        root: The run folder.

    Raises:
        StoreError: A line cannot be read, or one of a folder in ``cells`` and a line lacks the
            other.
    """
    lines, cells = listing(root / MANIFEST), root / CELLS
    names = [f"line {number} of {MANIFEST} cannot be read" for number in lines.unreadable]
    for folder in sorted(cells.iterdir()) if cells.is_dir() else []:
        if folder.name not in lines.entries:
            names.append(f"cells/{folder.name} is in no line of it")
    gone = [key for key in lines.entries if not (cells / key).is_dir()]
    names += [f"cells/{key} is in a line of it and not there" for key in gone]
    if names:
        more = f" and {len(names) - 3} more" if len(names) > 3 else ""
        raise StoreError(
            f"{root} is damaged: {'; '.join(names[:3])}{more}. Run the experiment again with this "
            "--out: it lists whole cells again and computes the others."
        )


def write_vouched(data: bytes, file: Path, *, manifest: int) -> None:
    """Write a file of a run, and the line that vouches for it.

    Args:
        data: Its bytes.
        file: In the run folder.
        manifest: A descriptor from ``lock``.
    """
    if file.is_file() and file.read_bytes() == data:
        vouch([file], root=file.parent, manifest=manifest)
        return
    # The line comes first: a kill between leaves the old file, for which its old line vouches.
    append(manifest, sum_of_bytes(file.parent, file, data))
    write_bytes(data, file)


def vouch(files: Iterable[Path], *, root: Path, manifest: int) -> None:
    """Write down which bytes these files hold.

    Args:
        files: In the run folder, written just now.
        root: The run folder.
        manifest: A descriptor from ``lock``.
    """
    known = listing(root / MANIFEST).files
    for file in files:
        line = sum_of(root, file)
        if line not in known.get(line["path"], []):
            append(manifest, line)
