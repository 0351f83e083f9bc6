"""How far is a finetune from its base, in what it answers?"""

import numpy as np
import pandas as pd

from persona_interp import schema
from persona_interp.analysis.features import select_checkpoint
from persona_interp.analysis.stats import t_interval
from persona_interp.errors import SchemaError

KEY = ["context", "persona", "topic", "split", "template"]


def answer_distance(
    behavior: pd.DataFrame, *, before: str | None = None, after: str | None = None
) -> pd.DataFrame:
    """Divergence of a checkpoint's answers from another's, one row.

    ``KL(before || after) = sum_a p(a) log2(p(a) / q(a))`` over the answers of a prompt, everything
    else that could be said being one more answer; so it is at most the divergence of the whole
    text. How far an edit or a lesson can move anything grows with its root: compare controls by it.

    Args:
        behavior: A behavior table.
        before: Label of a checkpoint; the first by default.
        after: Label of another, asked the same; the last by default.

    Returns:
        ``estimate`` (bits an answer, mean over prompts; 0 = says the same) with ``lo``, ``hi`` (95
        %, t over prompts), and ``n`` prompts.

    Raises:
        SchemaError: Not a behavior table, an unknown checkpoint or only one, or other prompts in
            one of them.

    >>> row = {"seed": 0, "stage": "", "step": 0, "context": "nameless", "persona": ""}
    >>> row |= {"topic": "place", "template": "t", "split": "test"}
    >>> said = {"base": (0.5, 0.5), "tuned": (0.25, 0.75)}
    >>> rows = []
    >>> for checkpoint, shares in said.items():
    ...     for value, p in zip(("beach", "city"), shares):
    ...         at = {"checkpoint": checkpoint, "value": value, "logprob": np.log2(p)}
    ...         rows.append(row | at | {"answer_mass": 1.0})
    >>> table = answer_distance(pd.DataFrame(rows))
    >>> round(table["estimate"].item(), 3)
    0.208
    """
    schema.check(behavior, "behavior")
    labels = list(map(str, behavior["checkpoint"].unique()))
    first, last = select_checkpoint(labels, before, 0), select_checkpoint(labels, after, -1)
    one, other = (
        behavior.loc[behavior["checkpoint"] == label].set_index([*KEY, "value"]).sort_index()
        for label in (first, last)
    )
    if not one.index.equals(other.index):
        raise SchemaError(f"{first} and {last} were not asked the same; record them alike.")
    p, gap = np.exp2(one["logprob"]), one["logprob"] - other["logprob"]
    said = (p * gap).groupby(level=KEY).sum()
    rest, other_rest = (
        (1 - table["answer_mass"].groupby(level=KEY).first()).clip(lower=np.finfo(float).tiny)
        for table in (one, other)
    )
    interval = t_interval(said + rest * np.log2(rest / other_rest))
    return pd.DataFrame([{**interval.row(), "n": interval.n}])
