"""How does any run become a report? Tables as CSV, and one page of what its experiment says."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from persona_interp.files import write_bytes, write_text
from persona_interp.plots.save import as_csv
from persona_interp.report import page
from persona_interp.report.page import Block
from persona_interp.schema.words import DTYPE_CHOICE, MACHINE, TEMPLATE_DAY

Tables = dict[str, pd.DataFrame]


def write_report(
    run: Path,
    tables: Tables,
    *,
    title: str,
    blocks: Sequence[Block],
    provenance: Mapping[str, Any],
) -> Path:
    """Write the page of a run, and its tables as CSV beside it.

    Args:
        run: The run's folder; ``tables/`` and ``report.html`` are written there.
        tables: What ``experiments.summarize`` returned.
        title: Of the page.
        blocks: What the experiment's report says of the tables.
        provenance: From ``provenance_of``.

    Returns:
        Path of ``report.html``.
    """
    first = page.paragraph(_about(provenance))
    return write_page(run, tables, title=title, blocks=[first, *blocks], provenance=provenance)


def write_page(
    folder: Path,
    tables: Tables,
    *,
    title: str,
    blocks: Sequence[Block],
    provenance: Mapping[str, Any],
    source: str = "run.json",
) -> Path:
    """Write a page of blocks that ends with its provenance, and its tables as CSV beside it.

    Args:
        folder: ``tables/`` and ``report.html`` are written there.
        tables: By name.
        title: Of the page.
        blocks: What is said of them.
        provenance: How they were made, by name.
        source: File in the folder that holds the provenance.

    Returns:
        Path of ``report.html``.
    """
    for name, frame in tables.items():
        write_bytes(as_csv(frame), folder / "tables" / f"{name}.csv")
    document = page.page(title, [*blocks, *_provenance(provenance, source=source)])
    return write_text(document, folder / "report.html")


def _about(provenance: Mapping[str, Any]) -> str:
    """What the run is, and how its numbers are to be read."""
    seeds = provenance["seeds"]
    sentences = [f"{provenance['cells_done']} of {provenance['cells']} cells are done."]
    for key in ("start", "world"):
        if key in provenance:
            sentences.append(f"{key.capitalize()}: {provenance[key]}.")
    if DTYPE_CHOICE in provenance:
        sentences.append(f"Computed in {provenance[DTYPE_CHOICE]}.")
    if MACHINE in provenance:
        sentences.append(f"Computed on {provenance[MACHINE]}.")
    if TEMPLATE_DAY in provenance:
        sentences.append(f"Chat templates that print today print {provenance[TEMPLATE_DAY]}.")
    sentences.append(f"Seeds: {', '.join(map(str, seeds))}.")
    if len(seeds) == 1:
        sentences.append(
            "With one seed no interval over seeds exists; intervals are over topics or prompts."
        )
    sentences.append("Log odds and shifts are in bits (after minus before).")
    sentences.append("Every number below comes from the CSV linked beside it.")
    return " ".join(sentences)


def _provenance(provenance: Mapping[str, Any], *, source: str) -> list[Block]:
    """How the run was made, as a table."""
    values = [re.sub(r"\s+", " ", str(value)) for value in provenance.values()]
    frame = pd.DataFrame({"key": list(provenance), "value": values})
    return [
        page.heading("Provenance"),
        page.table(frame, caption="How this was made.", source=source, rows=60),
    ]
