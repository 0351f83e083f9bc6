"""How far has a checkpoint's next token drifted from its base's, on whose words?"""

import pandas as pd

from persona_interp import schema
from persona_interp.analysis.stats import t_interval
from persona_interp.errors import SchemaError


def kl_by_role(drift: pd.DataFrame) -> pd.DataFrame:
    """Mean KL of each checkpoint from the base by role of the tokens, in bits a token.

    Args:
        drift: A drift table.

    Returns:
        One row a checkpoint and role: ``estimate`` (bits a token, mean over conversations)
        with ``lo``, ``hi`` (95 %, t over conversations), ``n`` conversations, ``n_tokens``. Where
        divergences are skewed (lognormal) the interval covers .84 to .87 (6 to 30 conversations).

    Raises:
        SchemaError: A column is missing, or a conversation is there twice.

    >>> row = {"checkpoint": "a", "role": "user", "prompt": "p", "kl": 0.5, "n_tokens": 3}
    >>> kl_by_role(pd.DataFrame([row]))[["estimate", "n"]].values.tolist()
    [[0.5, 1.0]]
    """
    key = ["checkpoint", "role", "prompt"]
    if schema.check(drift, "drift").duplicated(key).any():
        raise SchemaError(
            "drift needs one row a checkpoint, role and prompt; some are there twice."
        )
    rows = []
    for _, part in drift.groupby(["checkpoint", "role"], sort=False):
        estimate, lo, hi, n = t_interval(part["kl"])
        row = part.iloc[0][["checkpoint", "role"]].to_dict()
        row |= {"estimate": float(estimate), "lo": float(lo), "hi": float(hi), "n": n}
        rows.append({**row, "n_tokens": part["n_tokens"].sum()})
    return pd.DataFrame(rows)
