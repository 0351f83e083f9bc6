"""Does it matter where a model comes from?

The same lesson from different starts, against the noise of training.
"""

from collections.abc import Iterable
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd

from persona_interp import schema
from persona_interp.analysis.logodds import logodds
from persona_interp.errors import SchemaError
from persona_interp.values import as_tuple

STARTS, REPEATS = "starts", "repeats"


def paths(
    behavior: pd.DataFrame, *, topics: Iterable[str], context: str = "nameless"
) -> pd.DataFrame:
    """How far apart models are that were taught the same, and how far by chance.

    The total variation of two models is half the sum of absolute differences of what they say, mean
    over topics: 0 = alike, 1 = never the same. Between *starts*: models of one repeat that started
    from different places. Between *repeats*: models of one start whose order of documents was drawn
    anew; that is noise.

    Args:
        behavior: A behavior table with the columns ``start`` and ``repeat``; its first and last
            steps are compared.
        topics: Topics that are read.
        context: Context that is read.

    Returns:
        One row a seed, ``when`` (before, after the lesson) and ``between`` (starts, repeats):
        ``estimate``, the total variation, mean over pairs, and ``n`` pairs.

    Raises:
        SchemaError: A column or every row is missing.

    >>> runs = (("aa", 0, 0.75), ("bb", 0, 0.25), ("aa", 1, 0.5))
    >>> rows = [(s, r, v, q) for s, r, p in runs for v, q in (("golf", p), ("rugby", 1 - p))]
    >>> table = pd.DataFrame(rows, columns=["start", "repeat", "value", "logprob"])
    >>> table["logprob"] = np.log2(table["logprob"])
    >>> where = {"context": "nameless", "persona": "", "topic": "sport", "template": "q"}
    >>> table = table.assign(seed=0, stage="lesson", split="test", answer_mass=1.0, **where)
    >>> steps = [table.assign(step=step, checkpoint=f"lesson@{step}") for step in (0, 8)]
    >>> both = pd.concat(steps)
    >>> after = paths(both, topics=["sport"]).query("when == 'after'").round(6)
    >>> after[["between", "estimate", "n"]].values.tolist()
    [['starts', 0.5, 1], ['repeats', 0.25, 1]]
    """
    schema.check(behavior, "behavior")
    for column in ("start", "repeat"):
        if column not in behavior:
            raise SchemaError(
                f"paths are told apart by the columns start and repeat; {column} is missing."
            )
    behavior = behavior.loc[
        (behavior["context"] == context) & behavior["topic"].isin(as_tuple(topics))
    ]
    if behavior.empty:
        raise SchemaError(
            f"nothing is said on these topics in context {context}; record probes of this world."
        )
    rows = []
    for seed, of_seed in logodds(behavior).groupby("seed", sort=False):
        steps = of_seed.groupby(["start", "repeat"])["step"]
        for when, which in (("before", "min"), ("after", "max")):
            ends = of_seed.loc[of_seed["step"] == steps.transform(which)]
            for between, distances in _distances(ends).items():
                mean = float(np.mean(distances)) if distances else np.nan
                row = {"seed": seed, "when": when, "between": between, "estimate": mean}
                rows.append({**row, "n": len(distances)})
    return pd.DataFrame(rows)


def _distances(ends: pd.DataFrame) -> dict[str, list[float]]:
    """Total variation of every two models that differ in the start, or in the repeat, alone."""
    wide: Any = ends.pivot(
        index=["topic", "value"], columns=["start", "repeat"], values="probability"
    )
    distances: dict[str, list[float]] = {STARTS: [], REPEATS: []}
    for one, other in combinations(wide.columns, 2):
        (start, repeat), (other_start, other_repeat) = one, other
        if start != other_start and repeat != other_repeat:
            continue  # both differ: neither the start alone nor noise alone
        variation = (wide[one] - wide[other]).abs().groupby("topic").sum() / 2
        between = REPEATS if start == other_start else STARTS
        distances[between].append(float(variation.mean()))
    return distances
