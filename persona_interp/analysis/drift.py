"""How far has a checkpoint's next token drifted from its base's, on whose words?"""

import pandas as pd

from persona_interp.analysis.stats import t_interval


def kl_by_role(drift: pd.DataFrame) -> pd.DataFrame:
    """How far is each checkpoint from the base, on whose words?

    Args:
        drift: A drift table.

    Returns:
        One row a checkpoint and role: ``estimate`` (bits a token, mean over conversations) with
        ``lo``, ``hi`` (95 %, t over conversations), ``n`` conversations, ``n_tokens``.

    >>> row = {"checkpoint": "a", "role": "user", "prompt": "p", "kl": 0.5, "n_tokens": 3}
    >>> kl_by_role(pd.DataFrame([row]))[["estimate", "n"]].values.tolist()
    [[0.5, 1.0]]
    """
    rows = []
    for _, part in drift.groupby(["checkpoint", "role"], sort=False):
        estimate, lo, hi, n = t_interval(part["kl"])
        ends = {"estimate": float(estimate), "lo": float(lo), "hi": float(hi), "n": n}
        first = part.iloc[0]
        row = {"checkpoint": first["checkpoint"], "role": first["role"], **ends}
        rows.append({**row, "n_tokens": part["n_tokens"].sum()})
    return pd.DataFrame(rows)
