"""How far has a checkpoint drifted: its next token from its base's, a chat along a direction?"""

from collections.abc import Mapping

import pandas as pd

from persona_interp import schema
from persona_interp.analysis.stats import cluster_interval, t_interval
from persona_interp.errors import SchemaError, unknown


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


def drift_by_turn(
    projections: pd.DataFrame,
    *,
    role: str = "assistant",
    clusters: Mapping[str, str] | None = None,
) -> pd.DataFrame:
    """How far along each direction chats have gone by each turn, from their first (residual units).

    Along ``record.assistant_axis`` a negative number says that the speaker has moved away from the
    assistant (persona drift, Lu et al. 2026). What the first turn has is taken from the later ones
    of the same chat: the zero of a projection means nothing. Words move a projection too, so
    compare checkpoints at the same turns.

    Args:
        projections: Of ``record.projections`` with ``turns=True``.
        role: Whose turns.
        clusters: Cluster by name of the chat, for example its template, where chats differ in the
            topic alone; by default each is its own.

    Returns:
        A drift_by_turn table, one row a checkpoint (and edit), direction, hook and turn of this
        role: ``turn`` (from 1, among those of the role), ``estimate`` (mean over chats that get
        that far) with ``lo``, ``hi`` (95 %, clustered), ``n`` chats, ``n_clusters``. The first turn
        is 0.

    Raises:
        SchemaError: No table of turns, none of this role, or no cluster for a chat.

    >>> rows = pd.DataFrame({"prompt": ["p", "p", "q", "q"], "turn": [1, 3, 1, 3]})
    >>> rows = rows.assign(projection=[5.0, 4.0, 2.0, 0.0], checkpoint="a", role="assistant")
    >>> table = drift_by_turn(rows.assign(name="assistant", hook="h", n_tokens=3))
    >>> table[["turn", "estimate", "n"]].values.tolist()
    [[1.0, 0.0, 2.0], [2.0, -1.5, 2.0]]
    """
    schema.require(projections, "turn", "role")
    rows = schema.check(projections, "projections")
    rows = rows.loc[rows["role"] == role].sort_values("turn", kind="stable")
    if rows.empty:
        raise SchemaError(unknown("role", role, projections["role"].unique()))
    names = rows["prompt"].tolist()
    if clusters is not None:
        if missing := [name for name in names if name not in clusters]:
            raise SchemaError(f"chat {missing[0]!r} has no cluster; name one for each.")
        names = [clusters[name] for name in names]
    rows = rows.assign(cluster=names)
    by = [c for c in ("checkpoint", "edit", "name", "hook") if c in rows]
    chats = rows.groupby([*by, "prompt"], sort=False)
    first = chats["projection"].transform("first")
    rows = rows.assign(moved=rows["projection"] - first, turn=chats.cumcount() + 1)
    table = []
    for key, turns in rows.groupby([*by, "turn"], sort=False):
        interval = cluster_interval(turns["moved"], turns["cluster"])
        place = dict(zip([*by, "turn"], key, strict=True))
        table.append({**place, **interval.row(), "n": len(turns), "n_clusters": interval.n})
    table = pd.DataFrame(table).sort_values([*by, "turn"], kind="stable", ignore_index=True)
    return schema.check(table, "drift_by_turn")
