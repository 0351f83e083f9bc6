"""Does a lesson move the feature that knows a persona, more than other lessons move it?

Features of two seeds belong to two dictionaries, so none of them can be followed from seed to seed.
What can be is a *role*: the feature that knows a persona best, chosen in each seed anew on
documents that take no part in what is asked. It gives one number a seed.
"""

from typing import Any

import numpy as np
import pandas as pd

from persona_interp import schema
from persona_interp.analysis.rivals import RUN
from persona_interp.errors import SchemaError
from persona_interp.schema.words import Role


def roles(effects: pd.DataFrame, best: pd.DataFrame) -> pd.DataFrame:
    """Rise of each persona's best feature after a lesson, beside what control lessons do to it.

    Args:
        effects: An effects table of features: one tuned checkpoint, after the lesson, and controls,
            after other lessons to the same base model.
        best: The feature of every persona, chosen on other data: ``name``, ``feature``.

    Returns:
        A roles table, one row a persona: ``estimate`` (mean activation after the lesson minus
        before) with ``lo``, ``hi`` (95 %, over prompts), the controls' mean (``controls``), the one
        that rises least and most with their names, ``excess`` = estimate - controls with its
        interval over prompts (NaN with fewer than two controls), and its ``rank`` among all
        ``n_tested`` features (1 = largest). A feature that never fires is at 0 everywhere.

    Raises:
        SchemaError: Not an effects table, or not of one tuned checkpoint.

    >>> row = dict.fromkeys(schema.TABLES["effects"], 0.0) | {"n": 9, "quantity": "7"}
    >>> rows = [row | {"checkpoint": "lesson", "role": "tuned", "estimate": 2.0}]
    >>> rows += [row | {"checkpoint": "other", "role": "control", "estimate": 0.5}]
    >>> table = roles(pd.DataFrame(rows), pd.DataFrame({"name": ["john"], "feature": [7]}))
    >>> table[["name", "feature", "estimate", "most_control", "excess", "rank"]].values.tolist()
    [['john', 7, 2.0, 'other', 1.5, 1]]
    """
    schema.check(effects, "effects")
    schema.require(best, "name", "feature")
    tuned = effects.loc[effects["role"] == Role.TUNED]
    if tuned["checkpoint"].nunique() != 1:
        raise SchemaError(
            f"roles are of one lesson; got {', '.join(map(str, tuned['checkpoint'].unique()))}."
        )
    tuned = tuned.set_index("quantity")
    others = effects.loc[effects["role"] == Role.CONTROL]
    # one row a feature, one column a control
    moves = others.pivot(index="quantity", columns="checkpoint", values="estimate")
    moves = moves.reindex(tuned.index)
    excess = tuned["estimate"] - moves.mean(axis=1)
    rows = []
    for name, feature in zip(best["name"], best["feature"], strict=True):
        row: dict[str, Any] = {"name": name, "feature": int(feature), "n_tested": len(tuned)}
        quantity = str(int(feature))
        if quantity in tuned.index:
            row |= _moved(tuned.loc[quantity], moves.loc[quantity])
            row["rank"] = 1 + int((excess > excess[quantity]).sum())
        else:
            still = ("estimate", "lo", "hi", "controls", "least", "most")
            row |= dict.fromkeys((*still, "excess", "excess_lo", "excess_hi"), 0.0)
            row |= {"least_control": "", "most_control": "", "rank": 1 + int((excess > 0).sum())}
            row |= {"n": int(tuned["n"].iloc[0]), "n_controls": moves.shape[1]}
        rows.append(row)
    return pd.DataFrame(rows, columns=list(schema.TABLES["roles"]))


def role_contrast(roles: pd.DataFrame, *, persona: str) -> pd.DataFrame:
    """Rise of one persona's best feature beside that of the other personas', one row a run.

    Args:
        roles: A roles table, of several runs (``seed``, ``lr``, ``hook``).
        persona: Whose lesson it is.

    Returns:
        One row a run: ``own`` (its excess over the control lessons), the others' ``mean`` and
        ``most`` with the name ``most_persona``, ``minus_mean`` and ``minus_most``; all in mean
        activation.

    >>> table = pd.DataFrame({"name": ["john", "mary", "sam"], "excess": [2.0, 0.5, 0.0]})
    >>> table = role_contrast(table.assign(seed=0), persona="john")
    >>> table[["own", "mean", "most_persona", "minus_most"]].values.tolist()
    [[2.0, 0.25, 'mary', 1.5]]
    """
    schema.require(roles, "seed", "name", "excess")
    run = [column for column in RUN if column in roles]
    rows = []
    for _, part in roles.groupby(run, sort=False):
        is_own = part["name"] == persona
        others = part.loc[~is_own & part["excess"].notna()]
        if not any(is_own) or others.empty:
            continue
        own, most = part.loc[is_own, "excess"].iloc[0], others.loc[others["excess"].idxmax()]
        row = {**{column: part[column].iloc[0] for column in run}, "own": own}
        row |= {"mean": others["excess"].mean(), "most": most["excess"]}
        row |= {"most_persona": most["name"], "minus_mean": own - row["mean"]}
        rows.append(row | {"minus_most": own - most["excess"]})
    columns = ["own", "mean", "most", "most_persona", "minus_mean", "minus_most"]
    return pd.DataFrame(rows, columns=[*run, *columns])


def _moved(row: pd.Series, moves: pd.Series) -> dict[str, Any]:
    """Columns of a feature that fires: its rise, and how far each control moved it."""
    columns = {name: row[name] for name in ("estimate", "lo", "hi", "n")}
    columns |= {"n_controls": len(moves), "excess_lo": row["excess_lo"]}
    columns |= {"excess_hi": row["excess_hi"]}
    if moves.empty:
        nothing = dict.fromkeys(("controls", "least", "most", "excess"), np.nan)
        return columns | nothing | {"least_control": "", "most_control": ""}
    columns |= {"controls": moves.mean(), "least": moves.min(), "most": moves.max()}
    columns |= {"least_control": moves.idxmin(), "most_control": moves.idxmax()}
    return columns | {"excess": row["estimate"] - moves.mean()}
