"""Does it matter where a model comes from?

The same lesson from different starts, against the noise of training.
"""

from collections.abc import Iterable
from itertools import combinations

import numpy as np
import pandas as pd

from persona_interp import schema
from persona_interp.analysis.logodds import logodds
from persona_interp.errors import SchemaError

BETWEEN = ("starts", "repeats")


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

    >>> rows = [(0, s, r, 8, v, p) for s, r, p in (("aa", 0, 0.75), ("bb", 0, 0.25), ("aa", 1, 0.5))
    ...         for v, p in (("golf", p), ("rugby", 1 - p))]
    >>> table = pd.DataFrame(rows, columns=["seed", "start", "repeat", "step", "value", "logprob"])
    >>> table = table.assign(logprob=np.log2(table.logprob), context="nameless", persona="", topic="sport")
    >>> table = table.assign(checkpoint="lesson@8", stage="lesson", template="q", split="test", answer_mass=1.0)
    >>> both = pd.concat([table, table.assign(step=0, checkpoint="lesson@0")])
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
    asked = behavior.loc[(behavior["context"] == context) & behavior["topic"].isin(list(topics))]
    if asked.empty:
        raise SchemaError(
            f"nothing is said on these topics in context {context}; record probes of this world."
        )
    said = logodds(asked)
    rows = []
    for seed, of_seed in said.groupby("seed", sort=False):
        for when, step in (("before", "min"), ("after", "max")):
            ends = of_seed.loc[
                of_seed["step"] == of_seed.groupby(["start", "repeat"])["step"].transform(step)
            ]
            wide = ends.pivot(
                index=["topic", "value"], columns=["start", "repeat"], values="probability"
            )
            apart: dict[str, list[float]] = {name: [] for name in BETWEEN}
            for one, other in combinations(wide.columns, 2):
                same = [a == b for a, b in zip(one, other, strict=True)]
                if any(same):
                    half = (wide[one] - wide[other]).abs().groupby("topic").sum() / 2
                    apart[BETWEEN[same[0]]].append(float(half.mean()))
            for between, found in apart.items():
                mean = float(np.mean(found)) if found else np.nan
                rows.append(
                    {
                        "seed": seed,
                        "when": when,
                        "between": between,
                        "estimate": mean,
                        "n": len(found),
                    }
                )
    return pd.DataFrame(rows)
