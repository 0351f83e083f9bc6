"""What does ``compare`` return? Its tables by name, and in a notebook what they say first."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from persona_interp.card import card


class Comparison(dict[str, pd.DataFrame]):
    """Tables of a comparison by name, as ``tables.summarize`` lists them.

    Attributes:
        run: The run folder, where the report is written.
        config: What was compared, and how.
    """

    def __init__(
        self, tables: Mapping[str, pd.DataFrame], *, run: Path, config: Mapping[str, Any]
    ) -> None:
        super().__init__(tables)
        self.run, self.config = run, config

    def __repr__(self) -> str:
        tables = ", ".join(f"{name} ({len(table):,})" for name, table in self.items())
        return f"Comparison({str(self.run)!r}, rows by table: {tables})"

    def _repr_html_(self) -> str:
        rows = {"run": self.run, "says first": self.headline()}
        tables = {"tables (rows)": ", ".join(f"{name} ({len(self[name]):,})" for name in self)}
        return card("Comparison", rows | tables)

    def headline(self) -> str:
        """First sentence of its report; empty where the distance is not measured yet."""
        from persona_interp.experiments.compare.headline import headline  # loads matplotlib

        if "distance" not in self:
            return ""
        effects = self.get("effects", pd.DataFrame())
        return headline(self["distance"], effects, provenance=self.config)
