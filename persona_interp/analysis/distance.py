"""How far is a finetune from its base, in what it answers?"""

import numpy as np
import pandas as pd

from persona_interp import schema
from persona_interp.analysis.stats import t_interval
from persona_interp.errors import SchemaError, unknown

KEY = ["context", "persona", "topic", "split", "template"]


def answer_distance(behavior: pd.DataFrame, *, before: str, after: str) -> pd.DataFrame:
    """Divergence of a checkpoint's answers from another's, one row.

    ``KL(before || after) = sum_a p(a) log2(p(a) / q(a))`` over the answers of a prompt, everything
    else that could be said being one more answer; so it is at most the divergence of the whole
    text. How far an edit or a lesson can move anything grows with its root: compare controls by it.

    Args:
        behavior: A behavior table.
        before: Label of a checkpoint.
        after: Label of another, asked the same.

    Returns:
        ``estimate`` (bits an answer, mean over prompts; 0 = says the same) with ``lo``, ``hi`` (95
        %, t over prompts), and ``n`` prompts.

    Raises:
        SchemaError: Not a behavior table, an unknown checkpoint, or other prompts in one of them.

    >>> row = {"seed": 0, "stage": "", "step": 0, "context": "nameless", "persona": ""}
    >>> row |= {"topic": "place", "template": "t", "split": "test"}
    >>> said = {"base": (0.5, 0.5), "tuned": (0.25, 0.75)}
    >>> rows = []
    >>> for checkpoint, shares in said.items():
    ...     for value, p in zip(("beach", "city"), shares):
    ...         at = {"checkpoint": checkpoint, "value": value, "logprob": np.log2(p)}
    ...         rows.append(row | at | {"answer_mass": 1.0})
    >>> table = answer_distance(pd.DataFrame(rows), before="base", after="tuned")
    >>> round(table["estimate"].item(), 3)
    0.208
    """
    schema.check(behavior, "behavior")
    labels = behavior["checkpoint"].unique()
    for label in (before, after):
        if label not in labels:
            raise SchemaError(unknown("checkpoint", label, labels))
    one, other = (
        behavior.loc[behavior["checkpoint"] == label].set_index([*KEY, "value"]).sort_index()
        for label in (before, after)
    )
    if not one.index.equals(other.index):
        raise SchemaError(f"{before} and {after} were not asked the same; record them alike.")
    p, gap = np.exp2(one["logprob"]), one["logprob"] - other["logprob"]
    said = (p * gap).groupby(level=KEY).sum()
    rest, other_rest = (
        (1 - table["answer_mass"].groupby(level=KEY).first()).clip(lower=np.finfo(float).tiny)
        for table in (one, other)
    )
    interval = t_interval(said + rest * np.log2(rest / other_rest))
    return pd.DataFrame([{**interval.row(), "n": interval.n}])
