"""The table of the recovery benchmark on disk: what it holds is not computed again."""

from pathlib import Path
from typing import Any

import pandas as pd

from persona_interp.report.provenance import revision
from persona_interp.tables import IDS

KEY = ["condition", "seed", "method"]
COLUMNS = [*KEY, "measure", "estimate", "lo", "hi", "n", "commit"]
SECONDS = "CPU seconds"
UNIT = "SAE"
"""Method whose CPU time is the unit of cost."""
SHOWN = (
    "recovered",
    "status right",
    "change point within 1",
    "artifact not born or dead",
    "false discovery",
    "sign right",
    "magnitude error",
    "persona identified",
    "persona by chance",
    "cost",
)
"""Measures that are printed; the file has more."""


class Table:
    """Rows of a file, one a condition, seed, method and measure."""

    def __init__(self, path: Path) -> None:
        """Open what is there already."""
        self.path = path
        self.rows = pd.DataFrame(columns=pd.Index(COLUMNS))
        if path.exists():
            self.rows = pd.read_csv(path, dtype=IDS)

    def of(self, condition: str, seed: int, method: str) -> dict[str, float]:
        """Estimates of a method by measure; empty where it has not run."""
        own = self.rows
        for column, value in zip(KEY, (condition, seed, method), strict=True):
            own = own.loc[own[column] == value]
        return dict(zip(own["measure"], own["estimate"], strict=True))

    def add(self, condition: str, seed: int, method: str, rows: list[dict[str, Any]]) -> None:
        """Add a method's rows, with its cost where the unit is known, and write the file."""
        seconds = {row["measure"]: row["estimate"] for row in rows}.get(SECONDS)
        unit = self.of(condition, seed, UNIT).get(SECONDS, seconds if method == UNIT else None)
        if seconds is not None and unit is not None:
            rows = [*rows, {"measure": "cost", "estimate": seconds / unit}]
        about = {"condition": condition, "seed": seed, "method": method, "commit": revision()}
        new = pd.DataFrame([{**about, **row} for row in rows], columns=pd.Index(COLUMNS))
        self.rows = pd.concat([self.rows, new], ignore_index=True) if len(self.rows) else new
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.rows.to_csv(self.path, index=False, float_format="%.4g")

    def text(self, conditions: list[str], seeds: list[int]) -> str:
        """Methods by measures, under the name of each condition."""
        own = self.rows.loc[self.rows["condition"].isin(conditions) & self.rows["seed"].isin(seeds)]
        parts = []
        for condition in own["condition"].unique():
            rows = own.loc[own["condition"] == condition]
            wide = rows.pivot(index=["seed", "method"], columns="measure", values="estimate")
            order = rows[["seed", "method"]].drop_duplicates()
            columns = [name for name in SHOWN if name in wide] or list(wide)
            wide = wide.loc[pd.MultiIndex.from_frame(order), columns]
            parts.append(f"{condition}\n{wide.to_string(float_format='%.3f', na_rep='-')}")
        return "\n\n".join(parts)
