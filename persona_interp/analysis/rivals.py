"""Does one edit take more than others do, and is a difference more than the luck of a seed?"""

from collections.abc import Iterable

import numpy as np
import pandas as pd

from persona_interp import schema
from persona_interp.analysis.stats import across_seeds
from persona_interp.errors import SchemaError, unknown
from persona_interp.schema.words import Standing

RUN = ("seed", "lr", "hook")
"""Columns that tell runs apart, where a table has them."""


def rivals(causes: pd.DataFrame, *, edit: str, measure: str = "share") -> pd.DataFrame:
    """What each group of other edits takes away, beside one edit: the smallest and the largest.

    The largest of many rivals is partly luck. That makes a claim that the edit takes more than
    every rival the harder, and would make one that it takes less too easy: so ``held_out`` sets it
    beside the rival that takes most in the *other* seeds.

    Args:
        causes: A causes table with the column ``group``; every group is compared, so leave out the
            rows that are no rivals.
        edit: Name of the edit that is compared; it is in no group.
        measure: Column that is compared: share, share_of_patch or share_net.

    Returns:
        A rivals table, one row a run (seed, lr, hook) and group: ``n`` edits, their ``mean``, the
        ``least`` and the ``most`` with the names ``least_edit`` and ``most_edit``, what the edit
        itself takes (``own``), ``difference`` own minus most, ``held_out`` own minus what the rival
        takes that takes most in the other seeds (NaN where there are none, or the rival is not
        there), and its ``rank`` among them (1 = it takes more than all). A rival without a finite
        number is left out; so is a run whose edit has none.

    Raises:
        SchemaError: An unknown measure or edit, or a table without groups.

    >>> shares = {"john": 0.5, "mary": 0.25, "sam": -0.25, "feature 7": 0.75}
    >>> table = pd.DataFrame({"edit": list(shares), "share": list(shares.values())})
    >>> table = table.assign(group=["method", "persona", "persona", "feature"])
    >>> table = rivals(table, edit="john")
    >>> table[["group", "least_edit", "most_edit", "difference", "rank"]].values.tolist()
    [['persona', 'sam', 'mary', 0.25, 1], ['feature', 'feature 7', 'feature 7', -0.25, 2]]
    """
    schema.require(causes, "edit", "group", measure)
    if edit not in set(causes["edit"]):
        raise SchemaError(unknown("edit", edit, causes["edit"].unique()))
    run = [column for column in RUN if column in causes]
    rows = causes.loc[np.isfinite(causes[measure].to_numpy(np.float64))]
    mine = rows.loc[rows["edit"] == edit, [*run, measure]].rename(columns={measure: "own"})
    others = rows.loc[rows["edit"] != edit]
    if run:
        others = others.merge(mine, on=run, validate="many_to_one")
    else:
        others = others.merge(mine, how="cross")
    table = []
    for _, part in others.groupby([*run, "group"], sort=False):
        values = part[measure].to_numpy(np.float64)
        least, most, own = (
            part.iloc[values.argmin()],
            part.iloc[values.argmax()],
            part["own"].iloc[0],
        )
        row = {**{column: part[column].iloc[0] for column in (*run, "group")}, "n": len(part)}
        row |= {"mean": values.mean(), "least": least[measure], "least_edit": least["edit"]}
        row |= {"most": most[measure], "most_edit": most["edit"], "own": own}
        row |= {"difference": own - most[measure], "rank": 1 + int((values > own).sum())}
        row["held_out"] = own - _most_elsewhere(part, others, measure=measure)
        table.append(row)
    columns = [*run, *schema.TABLES["rivals"]]
    return pd.DataFrame(table, columns=columns)


def _most_elsewhere(part: pd.DataFrame, others: pd.DataFrame, *, measure: str) -> float:
    """What the rival takes in one run that takes most in other seeds of the same group."""
    if len(part) == 1:
        return float(part[measure].iloc[0])  # nobody was chosen
    if "seed" not in part:
        return np.nan
    first = part.iloc[0]
    alike = others["seed"] != first["seed"]
    for column in {*RUN, "group"} - {"seed"}:
        if column in part:
            alike &= others[column] == first[column]
    means = others.loc[alike].groupby("edit", sort=False)[measure].mean()
    if means.empty:
        return np.nan
    own = part.loc[part["edit"] == means.idxmax(), measure]
    return float(own.iloc[0]) if len(own) else np.nan


def standings(
    table: pd.DataFrame, *, value: str, by: str | Iterable[str], held_out: str = ""
) -> pd.DataFrame:
    """How a difference stands over seeds, by its t interval; one seed describes and claims nothing.

    Args:
        table: Any table with ``seed``; several rows of one seed are averaged first.
        value: Column with the difference.
        by: Columns that tell the groups apart.
        held_out: Column with the difference from a rival that was chosen in other seeds, where
            ``value`` is that from the largest of several: only its interval can say "less".

    Returns:
        One row a group: ``by``, ``estimate``, ``lo``, ``hi`` (95 % t interval over seeds; one seed:
        NaN), ``sd``, ``n_seeds`` and ``standing``: more or less where the interval excludes 0.
        Differences that are skewed over seeds (lognormal) are told apart in .16 of cases where
        there is nothing.

    Raises:
        SchemaError: A column does not exist, or the table has no rows.

    >>> runs = pd.DataFrame({"group": "persona", "seed": [0, 1, 2], "difference": [0.5, 0.6, 0.7]})
    >>> standings(runs, value="difference", by="group")["standing"].tolist()
    ['told apart: more']
    >>> standings(runs.head(1), value="difference", by="group")["standing"].tolist()
    ['one seed: described, not claimed']
    """
    means = across_seeds(table, value=value, by=by)
    less = across_seeds(table, value=held_out, by=by) if held_out else means
    cases = [
        (means["n_seeds"] < 2, Standing.DESCRIBED),
        (means["lo"].isna(), Standing.UNKNOWN),
        (means["lo"] > 0, Standing.MORE),
        ((means["hi"] < 0) & (less["hi"] < 0), Standing.LESS),
    ]
    conditions = [condition.to_numpy() for condition, _ in cases]
    words = [word.value for _, word in cases]
    return means.assign(standing=np.select(conditions, words, default=Standing.UNDECIDED.value))
