"""Which files of a run, beside its cells, are as they were written? The manifest says so."""

import logging
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from persona_interp.errors import StoreError
from persona_interp.files import write_bytes
from persona_interp.schema.words import FileStatus
from persona_interp.store.manifest import append, listing
from persona_interp.store.sums import condition, sum_of, sum_of_bytes
from persona_interp.store.verification import MANIFEST
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
        StoreError: It is in a run folder, and other bytes were written.
    """
    file = file.absolute()
    roots = [folder for folder in file.parents if (folder / MANIFEST).is_file()]
    if not roots:
        return
    lines, name = listing(roots[0] / MANIFEST), file.relative_to(roots[0])
    versions = lines.files.get(name.as_posix(), [])
    if name.parts[0] == "cells" and name.parts[1] in lines.entries:
        files = lines.entries[name.parts[1]]["files"]
        versions = [{**f, "path": f"cells/{name.parts[1]}/{f['path']}"} for f in files]
        versions = [version for version in versions if version["path"] == name.as_posix()]
    if versions and all(condition(roots[0], v) != FileStatus.OK for v in versions):
        raise StoreError(
            f"{file} is not what was written there; `persona-interp verify {roots[0]}` names all "
            "such files. Run the experiment again with this --out."
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
