"""Figure 3: the lesson spreads through John's direction, and through nobody else's.

After the lesson John's direction, and with it the features that know him, are taken out of the
tuned model, at one hook a time. The shift of his untaught traits goes with them. It stays when
another persona's direction is taken out, a random one, or features that fire as often in documents.
What a linear probe reads need not be what the model uses, so its direction is shown beside the
others.
"""

from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from persona_interp import analysis, plots
from persona_interp.experiments import compute_preset, figure_script, preset
from persona_interp.experiments.transfer.inside.report import GROUPS, grouped
from persona_interp.schema.words import Arm

NAME = "fig3_causes"
LEVELS = ["base", "tuned", "edited"]
"""Columns: log odds before the lesson, after it, and after it without the direction."""
LARGEST = "other personas, largest"
CONTROLS = (
    GROUPS["persona"],
    LARGEST,
    "random (norm), mean",
    "random (variance), mean",
    GROUPS["matched"],
    GROUPS["active"],
    "random-decoder feature",
)
"""Rows that should take nothing away; of a feature of a random decoder that is not sure."""
METHODS = (
    "base residual patched in",
    "minimal pair",
    "mean difference",
    "probe",
    "subspace of the three",
    "PCA of the difference",
)
"""Order of the others; none can take more away than the whole residual of the base model."""


def compute(
    out: Path, *, size: str = "quick", workers: int | None = None, **changes: Any
) -> dict[str, pd.DataFrame]:
    """Tables of the figure.

    Args:
        out: Run folder; finished cells are read, missing ones computed.
        size: Name of a preset, run at its highest learning rate with the lesson and the unrelated
            lesson.
        workers: Processes; all cores by default, 0 = this one.
        changes: Fields of the preset to set otherwise.

    Returns:
        What the ``summarize`` of transfer returns.
    """
    arms = (str(Arm.LESSON), str(Arm.UNRELATED))
    settings = {"arms": arms, "lrs": (max(preset(size).lrs),), **changes}
    return compute_preset("transfer", out, size=size, workers=workers, **settings)


def numbers(tables: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """Numbers in the figure: what each edit takes away, by hook.

    Args:
        tables: From ``compute``.

    Returns:
        One row a hook (from the first layer) and edit: share of the untaught traits' shift that
        goes, ``lo``, ``hi``. Methods first, then controls: means over their directions, and the
        persona whose direction takes most.
    """
    parts = []
    for hook, rows in tables["causes"].groupby("hook"):
        edits = pd.concat([grouped(rows), _largest(rows)], ignore_index=True)
        parts.append(_in_order(edits).assign(hook=hook))
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


def _largest(causes: pd.DataFrame) -> pd.DataFrame:
    """The persona other than the target whose direction takes most away, in every seed."""
    others = causes.loc[causes["group"] == "persona"].sort_values("share", ascending=False)
    largest = others.drop_duplicates("seed").assign(edit=LARGEST)
    if len(largest) == 1:
        return largest[["edit", *LEVELS, "share", "lo", "hi", "n"]]
    share, lo, hi, n = analysis.stats.t_interval(largest["share"])
    row = {"edit": LARGEST, **largest[LEVELS].mean(), "share": float(share)}
    return pd.DataFrame([{**row, "lo": lo, "hi": hi, "n": n}])


if __name__ == "__main__":
    main()
