"""How does a figure script become a command?

The script gives a claim, tables and a drawing; this is the rest.
"""

import argparse
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from persona_interp import plots
from persona_interp.report import provenance_of
from persona_interp.store import Store

Tables = dict[str, pd.DataFrame]


def figure_script(
    claim: str | None,
    name: str,
    *,
    compute: Callable[..., Tables],
    numbers: Callable[[Tables], pd.DataFrame],
    draw: Callable[[Tables], Figure],
    out: str = "",
    more: Mapping[str, str] | None = None,
) -> None:
    """Compute the figure that the command line asks for; save it as PNG, PDF and CSV.

    Args:
        claim: The script's docstring, shown by ``--help``.
        name: Name of the files.
        compute: ``compute(out, size=...)`` gives the tables; finished cells are read.
        numbers: The numbers that are in the figure, saved beside it.
        draw: The figure.
        out: Run folder by default; ``runs/`` and the name's first part when empty.
        more: Other settings of ``compute`` that are flags too: name and help.
    """
    parser = argparse.ArgumentParser(
        description=claim, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    default = Path(out or f"runs/{name.partition('_')[0]}")
    parser.add_argument(
        "--out", type=Path, default=default, help=f"run folder, {default} by default"
    )
    parser.add_argument(
        "--preset", default="quick", help="quick, standard or paper; some experiments have more"
    )
    for flag, text in (more or {}).items():
        parser.add_argument(f"--{flag}", help=text)
    arguments = parser.parse_args()
    changes: dict[str, Any] = {}
    for flag in more or {}:
        value = getattr(arguments, flag)
        if value is not None:
            changes[flag] = value
    tables = compute(arguments.out, size=arguments.preset, **changes)
    store = Store.open(arguments.out)
    provenance = provenance_of(store, store.config())
    file = arguments.out / "figures" / name
    store.vouch(plots.save(draw(tables), numbers(tables), file, provenance=provenance))
