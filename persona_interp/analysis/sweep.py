"""What does a push along a direction do to what is said: its traits, and its coherence?"""

from typing import Any

import numpy as np
import pandas as pd

from persona_interp import schema
from persona_interp.analysis.flips import sign_flip
from persona_interp.analysis.stats import benjamini_hochberg, cluster_interval
from persona_interp.schema.words import SURPRISAL

PLACE = ["direction", "control", "quantity", "strength"]


def sweep(table: pd.DataFrame) -> pd.DataFrame:
    """Means of a sweep by strength, and their change from the unedited model.

    Args:
        table: A sweep table of ``record.sweep``.

    Returns:
        A sweep_means table, one row a direction, quantity ("bits_per_token", or the name of a
        trait) and strength: ``estimate``, ``lo``, ``hi`` (bits a token; mean over answers, 95 %,
        prompts as units), ``n`` prompts, ``n_empty`` answers left out; ``change`` from strength 0
        at the same prompts with ``change_lo``, ``change_hi`` and ``p`` (sign flips of prompts), and
        ``q`` over all changes that are no controls. What chance does to the residual is in the rows
        of the controls; a change that they have too says nothing of the direction.

    Raises:
        SchemaError: No sweep table.

    >>> rows = [("up", False, s, p, 2.0 + s * i) for s in (0.0, 1.0) for i, p in enumerate("abc")]
    >>> table = pd.DataFrame(rows, columns=["direction", "control", "strength", "prompt", "x"])
    >>> table = table.rename(columns={"x": "bits_per_token"})
    >>> table = table.assign(sample=0, answer="so", n_tokens=1, trait="", trait_bits=float("nan"))
    >>> sweep(table)[["strength", "estimate", "change", "n"]].values.tolist()
    [[0.0, 2.0, 0.0, 3.0], [1.0, 3.0, 1.0, 3.0]]
    """
    rows = _long(schema.check(table, "sweep"))
    start = rows.loc[rows["strength"] == 0]
    before = start.groupby(["quantity", "prompt"])["value"].mean()
    means = []
    for _, part in rows.groupby(PLACE, sort=False):
        row: dict[str, Any] = part[PLACE].iloc[0].to_dict()
        spoken = part.dropna(subset="value")
        row |= _mean(spoken["value"].to_numpy(), spoken["prompt"].to_numpy())
        row["n_empty"] = len(part) - len(spoken)
        after = spoken.groupby("prompt")["value"].mean()
        change = (after - before.loc[row["quantity"]]).dropna()
        means.append(row | _change(change, is_start=row["strength"] == 0))
    summary = pd.DataFrame(means)
    tested = ~summary["control"].astype(bool) & summary["p"].notna()
    summary["q"] = np.nan
    if np.any(tested.to_numpy()):
        summary.loc[tested, "q"] = benjamini_hochberg(summary.loc[tested, "p"].to_numpy())
    columns = list(schema.TABLES["sweep_means"])
    return schema.check(summary.sort_values(PLACE[:3], kind="stable")[columns], "sweep_means")


def _long(table: pd.DataFrame) -> pd.DataFrame:
    """One row a push, answer and quantity: its surprisal once, and every trait."""
    keys = ["direction", "control", "strength", "prompt", "sample"]
    once = table.drop_duplicates(keys)
    parts = [once[keys].assign(quantity=SURPRISAL, value=once[SURPRISAL])]
    judged = table.loc[table["trait"] != ""]
    parts.append(judged[keys].assign(quantity=judged["trait"], value=judged["trait_bits"]))
    return pd.concat([part for part in parts if len(part)], ignore_index=True)


def _mean(values: np.ndarray, prompts: np.ndarray) -> dict[str, Any]:
    """Mean and interval, prompts as units; NaN where nothing was said."""
    if not len(values):
        return {"estimate": np.nan, "lo": np.nan, "hi": np.nan, "n": 0}
    interval = cluster_interval(values, prompts)
    return {**interval.row(), "n": interval.n}


def _change(change: pd.Series, *, is_start: bool) -> dict[str, Any]:
    """Mean difference from the unedited model and its p, one value a prompt."""
    if is_start:
        return {"change": 0.0, "change_lo": 0.0, "change_hi": 0.0, "p": np.nan}
    values, prompts = change.to_numpy(np.float64), change.index.to_numpy()
    mean = _mean(values, prompts)
    p = np.nan
    if len(values) > 1:
        p = float(sign_flip(values[:, None], prompts).p[0])
    ends = {"change_lo": mean["lo"], "change_hi": mean["hi"]}
    return {"change": mean["estimate"], **ends, "p": p}
