"""Which rows of the behavior that a cell wrote are meant?"""

import pandas as pd

from persona_interp.store import Cell, Store
from persona_interp.tables import read_table


def read_behavior(store: Store, cell: Cell) -> pd.DataFrame:
    """Behavior at every snapshot of a cell.

    Args:
        store: The run.
        cell: A finished cell that learned something.

    Returns:
        A behavior table.
    """
    return read_table(store.path(cell, "behavior.parquet"))


def ends(behavior: pd.DataFrame) -> pd.DataFrame:
    """Rows of the first and the last step.

    Args:
        behavior: A behavior table of one cell.

    Returns:
        Its rows before and after.
    """
    steps = behavior["step"]
    return behavior.loc[steps.isin([steps.min(), steps.max()])]


def after(behavior: pd.DataFrame) -> pd.DataFrame:
    """Rows of the last step.

    Args:
        behavior: A behavior table of one cell.

    Returns:
        Its rows after.
    """
    return behavior.loc[behavior["step"] == behavior["step"].max()]
