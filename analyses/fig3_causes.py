"""Figure 3: what takes the lesson's spread away, John's direction or another as well?

After the lesson John's direction, and the features that know him, are taken out of the tuned model,
at one hook a time, and beside them everything that should take nothing: other personas' directions,
random ones of both kinds, features that fire as often in documents. Of a group its smallest and its
largest member are drawn, so that one that takes more than John's cannot hide in a mean. What a
linear probe reads need not be what the model uses, so its direction is shown beside the others; no
edit at one hook is expected to take more than putting back the base's whole residual does.
"""

from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from persona_interp import plots
from persona_interp.experiments import compute_preset, figure_script, preset
from persona_interp.experiments.transfer.inside.config import GROUPS, PATCH
from persona_interp.experiments.transfer.inside.report import grouped

NAME = "fig3_causes"
CONTROLS = (
    *(GROUPS[group] for group in ("persona", "random (norm)", "random (variance)")),
    *(GROUPS[group] for group in ("matched", "active")),
    "random-decoder feature",
)
"""Rows that should take nothing away; of a feature of a random decoder that is not sure."""
METHODS = (
    PATCH,
    "minimal pair",
    "mean difference",
    "probe",
    "subspace of the three",
    "PCA of the difference",
)
"""Order of the others; the first is about the most that one hook can give."""


def compute(
    out: Path, *, size: str = "quick", workers: int | None = None, **changes: Any
) -> dict[str, pd.DataFrame]:
    """Tables of the figure.

    Args:
        out: Run folder; finished cells are read, missing ones computed.
        size: Name of a preset, run at its highest learning rate with all lessons to the full
            world's model.
        workers: Processes; all cores by default, 0 = this one.
        changes: Fields of the preset to set otherwise.

    Returns:
        What the ``summarize`` of transfer returns.
    """
    chosen = preset(size)
    settings = {"arms": chosen.feature_arms, "lrs": (max(chosen.lrs),), **changes}
    return compute_preset("transfer", out, size=size, workers=workers, **settings)


def numbers(tables: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """Numbers in the figure: what each edit takes away, by hook.

    Args:
        tables: From ``compute``.

    Returns:
        One row a hook (from the first layer) and edit: share of the untaught traits' shift that
        goes, ``lo``, ``hi``. Methods first, then controls: means over their members, with the
        smallest and the largest of any seed (``least``, ``most``).
    """
    parts = []
    for hook, rows in tables["causes"].groupby("hook"):
        parts.append(_in_order(grouped(rows)).assign(hook=hook))
    return pd.concat(parts, ignore_index=True)


def draw(tables: dict[str, pd.DataFrame]) -> Figure:
    """The claim as a figure.

    Args:
        tables: From ``compute``.

    Returns:
        Bars of every edit, gray where it should take nothing, one panel a hook.
    """
    rows = numbers(tables)
    controls = [edit for edit in CONTROLS if edit in set(rows["edit"])]
    return plots.causes(
        rows,
        by="hook",
        controls=controls,
        patch=PATCH,
        label="share removed (fraction)",
        title="What takes the lesson's spread away",
    )


def main() -> None:
    """Compute the figure and save it as PNG, PDF and CSV with its provenance."""
    figure_script(__doc__, NAME, compute=compute, numbers=numbers, draw=draw, out="runs/inside")


def _in_order(edits: pd.DataFrame) -> pd.DataFrame:
    """Methods first, then what else is no control, then controls."""
    others = edits.loc[~edits["edit"].isin(CONTROLS), "edit"]
    order = list(dict.fromkeys([*METHODS, *others, *CONTROLS]))
    return edits.sort_values("edit", key=lambda names: names.map(order.index), kind="stable")


if __name__ == "__main__":
    main()
