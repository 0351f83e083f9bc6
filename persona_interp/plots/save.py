"""Where are a figure, its numbers and their provenance? Four files of one stem, always equal."""

import csv
import hashlib
import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
from matplotlib.figure import Figure

from persona_interp.errors import SchemaError
from persona_interp.files import write_bytes
from persona_interp.plots.style import style

UNDATED = {
    "png": {"Software": None},
    "pdf": {"CreationDate": None, "Creator": None, "Producer": None},
}


class Saved(NamedTuple):
    """Paths of a figure and what belongs to it.

    Attributes:
        png: For screens.
        pdf: For print.
        csv: The numbers drawn.
        meta: JSON: provenance, columns, and the sha256 of the other three.
    """

    png: Path
    pdf: Path
    csv: Path
    meta: Path


def save(
    figure: Figure, table: pd.DataFrame, stem: Path | str, *, provenance: Mapping[str, Any]
) -> Saved:
    """Save a figure with its table and its provenance.

    Args:
        figure: What a function of this room returned.
        table: The numbers it shows.
        stem: Path without suffix; missing folders are made, existing files replaced.
        provenance: Where the numbers came from: run, configuration, seeds, versions. JSON values;
            no times or hosts, so that equal runs give equal files.

    Returns:
        The four paths.

    Raises:
        SchemaError: The provenance is empty or no JSON.

    >>> import tempfile
    >>> from persona_interp.plots.style import panels
    >>> stem = tempfile.mkdtemp() + "/fig1"
    >>> saved = save(panels()[0], pd.DataFrame({"x": [1]}), stem, provenance={"run": "a"})
    >>> [path.name for path in saved]
    ['fig1.png', 'fig1.pdf', 'fig1.csv', 'fig1.meta.json']
    """
    if not provenance:
        raise SchemaError(
            "a figure is saved with its provenance, for example {'run': 'runs/demo', 'seeds': "
            "[0]}; got none."
        )
    stem = Path(stem)
    if not stem.name:
        raise SchemaError("expected a path without suffix, such as 'figures/fig1'; got '' or '.'.")
    files = _render(figure)
    files["csv"] = as_csv(table)
    hashes = {
        f"{stem.name}.{suffix}": hashlib.sha256(data).hexdigest() for suffix, data in files.items()
    }
    meta = {
        "provenance": dict(provenance),
        "columns": [str(c) for c in table.columns],
        "rows": len(table),
        "sha256": hashes,
    }
    try:
        text = json.dumps(meta, indent=1, sort_keys=True, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise SchemaError(
            f"provenance holds JSON values only (text, finite numbers, lists): {error}."
        ) from error
    files["meta.json"] = f"{text}\n".encode()
    paths = [stem.with_name(f"{stem.name}.{suffix}") for suffix in files]
    for path, data in zip(paths, files.values(), strict=True):
        write_bytes(data, path)
    return Saved(*paths)


def as_csv(table: pd.DataFrame) -> bytes:
    """Write a table as CSV that gives it back.

    Args:
        table: Any table.

    Returns:
        UTF-8. Text is quoted where it must be; all of it where a cell holds a carriage return,
        which Python before 3.13 leaves bare and readers take for the end of a row.

    >>> as_csv(pd.DataFrame({"piece": ["a", "b,c"], "act": [0.5, 1.0]})).decode().splitlines()
    ['piece,act', 'a,0.5', '"b,c",1.0']
    """
    text = table.to_csv(index=False, lineterminator="\n")
    if "\r" in text:
        text = table.to_csv(index=False, lineterminator="\n", quoting=csv.QUOTE_NONNUMERIC)
    return text.encode()


def _render(figure: Figure) -> dict[str, bytes]:
    """Bytes of a figure without times and versions, so that equal input gives equal files."""
    files = {}
    engine = figure.get_layout_engine()
    try:
        for kind, metadata in UNDATED.items():
            buffer = io.BytesIO()
            with style():  # font type and resolution are read when saving
                figure.savefig(buffer, format=kind, metadata=metadata)
            files[kind] = buffer.getvalue()
            # laid out once: both files are the same picture, and the second costs less
            figure.set_layout_engine("none")
    finally:
        figure.set_layout_engine(engine)
    return files
