"""Figure 3: the lesson spreads through John's direction, and through nobody else's.

After the lesson John's direction, and with it the features that know him, are taken out of the
tuned model, at one hook a time. The shift of his untaught traits goes with them. It stays when
another persona's direction is taken out, a random one, or features that fire as often in documents.
What a linear probe reads need not be what the model uses, so its direction is shown beside the
others.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from persona_interp import analysis, experiments, plots
from persona_interp.experiments import figure_script, preset
from persona_interp.experiments.transfer.inside.report import GROUPS, grouped

NAME = "fig3_causes"
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
FIRST = (
    "base residual patched in",
    "minimal pair",
    "mean difference",
    "probe",
    "subspace of the three",
    "PCA of the difference",
)
"""Order of the others; the whole residual of the base model is the most that any of them can take away."""


def compute(
    out: Path, *, size: str = "quick", workers: int | None = None, **changes: Any
) -> dict[str, pd.DataFrame]:
    """Which tables does this figure show?

    Args:
        out: Run folder; finished cells are read, missing ones computed.
        size: Name of a preset, run at its highest learning rate with the lesson and the unrelated
            lesson.
        workers: Processes; all cores by default, 0 = this one.
        changes: Fields of the preset to set otherwise.

    Returns:
        What ``Transfer.summarize`` returns.
    """
    wanted = preset(size)
    wanted = replace(wanted, arms=("lesson", "unrelated lesson"), lrs=(max(wanted.lrs),))
    experiment = replace(wanted, **changes)
    return experiments.compute(experiment, out, workers=workers)


def shown(tables: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """Which numbers are in the figure?

    Args:
        tables: From ``compute``.

    Returns:
        One row a hook (from the first layer) and edit: share of the untaught traits' shift that
        goes, ``lo``, ``hi``. Methods first, then controls: means over their directions, and the
        persona whose direction takes most.
    """
    parts = []
    for hook, rows in tables["causes"].groupby("hook"):
        found = pd.concat([grouped(rows), _largest(rows)], ignore_index=True)
        order = list(
            dict.fromkeys([*FIRST, *found.loc[~found["edit"].isin(CONTROLS), "edit"], *CONTROLS])
        )
        found = found.sort_values(
            "edit", key=lambda names, order=order: names.map(order.index), kind="stable"
        )
        parts.append(found.assign(hook=hook))
    return pd.concat(parts, ignore_index=True)


def draw(tables: dict[str, pd.DataFrame]) -> Figure:
    """What does the claim look like?

    Args:
        tables: From ``compute``.

    Returns:
        Bars of every edit, gray where it should take nothing, one panel a hook.
    """
    rows = shown(tables)
    controls = [edit for edit in CONTROLS if edit in set(rows["edit"])]
    return plots.causes(
        rows,
        by="hook",
        controls=controls,
        label="share removed (fraction)",
        title="What takes the lesson's spread away",
    )


def main() -> None:
    """Computes the figure and saves it as PNG, PDF and CSV with its provenance."""
    figure_script(__doc__, NAME, compute=compute, shown=shown, draw=draw, out="runs/inside")


def _largest(causes: pd.DataFrame) -> pd.DataFrame:
    """The persona other than the target whose direction takes most away, in every seed."""
    others = (
        causes.loc[causes["group"] == "persona"]
        .sort_values("share", ascending=False)
        .drop_duplicates("seed")
    )
    if len(others) == 1:
        return others.assign(edit=LARGEST)[
            ["edit", "base", "tuned", "edited", "share", "lo", "hi", "n"]
        ]
    share, lo, hi, n = analysis.t_interval(others["share"])
    mean = others[["base", "tuned", "edited"]].mean()
    return pd.DataFrame(
        [{"edit": LARGEST, **mean, "share": float(share), "lo": lo, "hi": hi, "n": n}]
    )


if __name__ == "__main__":
    main()
