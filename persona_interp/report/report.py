"""How does any experiment's run become a report? Tables as CSV, and one page of what its own module says of them."""

import re
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import pandas as pd

from persona_interp.plots.save import as_csv
from persona_interp.report import page
from persona_interp.report.page import Block
from persona_interp.tables import atomic

Tables = dict[str, pd.DataFrame]


def write_report(run: Path, tables: Tables, *, provenance: Mapping[str, Any]) -> Path:
    """Where is the report of this run?

    Args:
        run: The run's folder; ``tables/``, ``figures/`` and ``report.html`` are written there.
        tables: What the experiment's ``summarize`` returned.
        provenance: From ``provenance_of``; its experiment names the module here that makes the
            findings.

    Returns:
        Path of ``report.html``.

    Raises:
        StoreError: There is nothing to report yet.
    """
    module = import_module(f"persona_interp.report.{provenance['experiment']}")
    found = module.blocks(run, tables, provenance=provenance)
    for name, frame in tables.items():
        with atomic(run / "tables" / f"{name}.csv") as path:
            path.write_bytes(as_csv(frame))
    document = page.page(
        module.TITLE, [page.paragraph(_about(provenance)), *found, *_provenance(provenance)]
    )
    with atomic(run / "report.html") as path:
        path.write_text(document, encoding="utf-8")
    return run / "report.html"


def _about(provenance: Mapping[str, Any]) -> str:
    seeds = provenance["seeds"]
    one = (
        " With one seed no interval over seeds exists; intervals are over topics or prompts."
        if len(seeds) == 1
        else ""
    )
    at = "".join(
        f" {key.capitalize()}: {provenance[key]}."
        for key in ("start", "world")
        if key in provenance
    )
    return (
        f"{provenance['cells_done']} of {provenance['cells']} cells are done.{at} Seeds: "
        f"{', '.join(map(str, seeds))}.{one} Log odds and shifts are in bits (after minus before). "
        "Every number below comes from the CSV linked beside it."
    )


def _provenance(provenance: Mapping[str, Any]) -> list[Block]:
    frame = pd.DataFrame(
        {
            "key": list(provenance),
            "value": [re.sub(r"\s+", " ", str(v)) for v in provenance.values()],
        }
    )
    return [
        page.heading("Provenance"),
        page.table(frame, caption="How this was made.", source="run.json", rows=60),
    ]
