"""How do scores, residuals and features become numbers that can be compared unit by unit?"""

from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from persona_interp import schema
from persona_interp.analysis.nulls import chance_range
from persona_interp.analysis.stats import t_interval
from persona_interp.errors import SchemaError, unknown
from persona_interp.schema.words import Family

NEAREST = 50
"""Features that fire about as much, among which a feature is seen."""


def measure_behavior(scores: pd.DataFrame) -> pd.DataFrame:
    """Behavior of each checkpoint, one number a trait and question (bits a token).

    Args:
        scores: Of ``trait_scores``: ``checkpoint``, ``trait``, ``question``, ``logodds`` (bits a
            token).

    Returns:
        A measurements table of the family "behavior".

    Raises:
        SchemaError: A column is missing.

    >>> row = {"checkpoint": "base", "trait": "wry", "question": "Why?", "logodds": -0.5}
    >>> measure_behavior(pd.DataFrame([row]))[["quantity", "unit", "value"]].values.tolist()
    [['wry', 'Why?', -0.5]]
    """
    schema.require(scores, "checkpoint", "trait", "question", "logodds")
    table = scores[["checkpoint", "trait", "question", "logodds"]]
    table = table.set_axis(["checkpoint", "quantity", "unit", "value"], axis=1)
    return schema.check(table.assign(family=str(Family.BEHAVIOR), hook=""), "measurements")


def measure_answers(bits: pd.DataFrame) -> pd.DataFrame:
    """How much each checkpoint's own answers sound like each trait, by question (bits a token).

    ``(bits_pos - bits_neg) / n_tokens``, bits a token for the trait's instruction over its opposite
    (``record.trait_bits``), mean over samples. Questions that somebody left without an answer are
    left out.

    Args:
        bits: A trait bits table of several checkpoints on the same prompts.

    Returns:
        A measurements table of the family "answers".

    Raises:
        SchemaError: Not a trait bits table, or no question that everybody answered.

    >>> row = {"prompt": "p", "sample": 0, "trait": "wry", "judge": "base", "n_tokens": 2}
    >>> bits = (("base", 0.0), ("tuned", 1.0))
    >>> rows = [{**row, "checkpoint": c, "bits_pos": b, "bits_neg": 0.0} for c, b in bits]
    >>> measure_answers(pd.DataFrame(rows))["value"].tolist()
    [0.0, 0.5]
    """
    table = schema.check(bits, "trait_bits")
    value = _evidence(table).astype(np.float64)
    table = table.assign(value=value, quantity=table["trait"], unit=table["prompt"])
    cells = table.groupby(["checkpoint", "quantity", "unit"], sort=False, as_index=False)
    means = cells["value"].mean()
    # Checkpoints are compared question by question; one that a checkpoint left without an answer
    # has no partner.
    n_checkpoints = means.groupby(["quantity", "unit"])["checkpoint"].transform("size")
    means = means.loc[n_checkpoints == means["checkpoint"].nunique()]
    return schema.check(means.assign(family=str(Family.ANSWERS), hook=""), "measurements")


def _evidence(bits: pd.DataFrame) -> pd.Series:
    """Bits a token of each answer for the trait's instruction over its opposite."""
    difference: Any = bits["bits_pos"] - bits["bits_neg"]
    return difference / bits["n_tokens"]


def measure_projections(acts: xr.Dataset, directions: xr.DataArray) -> pd.DataFrame:
    """Projection of each prompt's residual on each direction, ``<h, v / |v|>``, in residual units.

    Args:
        acts: Dataset of ``record.activations``.
        directions: Of ``record``, with the hook of the activations.

    Returns:
        A measurements table of the family "projection".

    Raises:
        SchemaError: The directions lack this hook or have another width.

    >>> data = xr.Dataset({"act": (("checkpoint", "prompt", "d_model"), [[[3.0, 4.0]]])})
    >>> data = data.assign_coords(checkpoint=["base"], prompt=["a"]).assign_attrs(hook="h")
    >>> v = xr.DataArray(np.array([[[2.0, 0]]]), dims=("name", "hook", "d_model"))
    >>> measure_projections(data, v.assign_coords(name=["wry"], hook=["h"]))["value"].tolist()
    [3.0]
    """
    schema.check(directions, "directions")
    hook = str(schema.check(acts, "activations").attrs.get("hook", ""))
    if hook not in directions["hook"]:
        raise SchemaError(unknown("hook of the directions", hook, directions["hook"].to_numpy()))
    v = directions.sel(hook=hook).to_numpy().astype(np.float64)
    if v.shape[1] != acts.sizes["d_model"]:
        raise SchemaError(
            f"the directions are {v.shape[1]} wide, the activations {acts.sizes['d_model']}."
        )
    unit = v / np.linalg.norm(v, axis=1, keepdims=True)
    values = acts["act"].to_numpy().astype(np.float64) @ unit.T
    names = directions["name"].to_numpy()
    return _long(values, acts, names, family=Family.PROJECTION, hook=hook)


def measure_features(feats: xr.Dataset) -> pd.DataFrame:
    """Activation of each feature at each prompt; features that never fire are left out.

    Args:
        feats: Dataset of ``record.features``.

    Returns:
        A measurements table of the family "feature"; ``hook`` names the dictionary too.

    Raises:
        SchemaError: Not features, or nothing fires.

    >>> data = xr.Dataset({"act": (("checkpoint", "prompt", "feature"), [[[0.0, 2.0]]])})
    >>> data = data.assign(fvu=(("checkpoint", "prompt"), [[0.1]]))
    >>> data = data.assign_attrs(hook="h", dictionary="sae")
    >>> data = data.assign_coords(checkpoint=["base"], prompt=["a"], feature=[0, 1])
    >>> measure_features(data)[["hook", "quantity", "value"]].values.tolist()
    [['sae at h', '1', 2.0]]
    """
    act = schema.check(feats, "features")["act"].to_numpy().astype(np.float64)
    fires = (act != 0).any((0, 1))
    if not fires.any():
        raise SchemaError("no feature fires at these prompts, in no checkpoint.")
    at = f"{feats.attrs.get('dictionary', 'dictionary')} at {feats.attrs.get('hook', '')}"
    names = feats["feature"].to_numpy()[fires].astype(str)
    return _long(act[:, :, fires], feats, names, family=Family.FEATURE, hook=at)


def random_range(effects: pd.DataFrame, random: pd.DataFrame, *, base: str) -> pd.DataFrame:
    """Effects beside the changes of random directions, and of features that fire as much.

    Args:
        effects: An effects table.
        random: A measurements table of random directions at the hooks of its projections, of the
            same checkpoints.
        base: Label of the base.

    Returns:
        The effects table with ``random_lo``, ``random_hi``: where the change (after minus before)
        of one more random direction lies in 95 of 100 cases, given ``n_random`` at the same hook
        (``chance_range``: with 20 in .90); of a feature, given the features nearest in mean
        activation in the base. NaN for behavior.

    >>> values = {"checkpoint": ["base", "base", "tuned", "tuned"], "value": [0.0, 0.0, -1.0, 1.0]}
    >>> random = pd.DataFrame({**values, "quantity": ["r0", "r1"] * 2, "hook": "h", "unit": "a"})
    >>> effects = pd.DataFrame({"family": ["projection"], "hook": "h", "checkpoint": "tuned"})
    >>> table = random_range(effects.assign(role="tuned"), random, base="base")
    >>> table[["random_lo", "random_hi", "n_random"]].round(2).values.tolist()
    [[-1.0, 1.0, 2.0]]
    """
    means = random.pivot_table(
        index=["hook", "quantity"], columns="checkpoint", values="value", sort=False
    )
    table = effects.assign(random_lo=np.nan, random_hi=np.nan, n_random=0)
    parts = []
    for _, rows in table.groupby(["checkpoint", "hook", "family"], sort=False):
        checkpoint, hook, family = rows[["checkpoint", "hook", "family"]].iloc[0]
        if family == Family.PROJECTION:
            change = (means[checkpoint] - means[base]).loc[[hook]].to_numpy()
            lo, hi = chance_range(change)
            rows = rows.assign(random_lo=lo, random_hi=hi, n_random=len(change))
        elif family == Family.FEATURE:
            lo, hi = _range_of_neighbors(rows)
            rows = rows.assign(random_lo=lo, random_hi=hi, n_random=min(NEAREST, len(rows) - 1))
        parts.append(rows)
    return pd.concat(parts).loc[table.index]


def _range_of_neighbors(rows: pd.DataFrame) -> np.ndarray:
    """95 % range of the change of the features nearest in activation before, dims (2, feature)."""
    # A feature that fires much also changes much, so each is seen among its like.
    before, change = rows["before"].to_numpy(), rows["estimate"].to_numpy()
    bounds = np.full((2, len(rows)), np.nan)
    order = np.argsort(before, kind="stable")
    for place, i in enumerate(order):
        # The nearest by activation are among the nearest by rank, on either side.
        near = order[max(0, place - NEAREST) : place + NEAREST + 1]
        near = near[near != i]
        if len(near):
            near = near[np.argsort(np.abs(before[near] - before[i]), kind="stable")[:NEAREST]]
            bounds[:, i] = chance_range(change[near])
    return bounds


def _long(
    values: np.ndarray, data: xr.Dataset, names: np.ndarray, *, family: Family, hook: str
) -> pd.DataFrame:
    """Values, dims (checkpoint, prompt, quantity), as a measurements table."""
    labels, prompts = (data[dim].to_numpy().astype(str) for dim in ("checkpoint", "prompt"))
    index = pd.MultiIndex.from_product(
        [labels, prompts, names.astype(str)], names=["checkpoint", "unit", "quantity"]
    )
    table = pd.DataFrame({"value": values.ravel()}, index=index).reset_index()
    return schema.check(table.assign(family=str(family), hook=hook), "measurements")


def sound_shift(bits: pd.DataFrame, *, base: str) -> pd.DataFrame:
    """How much more a finetune's answers sound like each trait than the base's (bits a token).

    The evidence of an answer is ``(bits_pos - bits_neg) / n_tokens``, bits a token
    (``record.trait_bits``); here it is compared answer by answer. Shown beside what is tested, not
    tested itself: answers differ in length and luck.

    Args:
        bits: A trait bits table of several checkpoints on the same prompts.
        base: Label of the base.

    Returns:
        One row a checkpoint but the base and trait: ``before``, ``after`` (bits a token),
        ``estimate`` (after minus before, mean over prompts that both answered) with ``lo``, ``hi``
        (95 %, t over prompts), ``n`` prompts.

    Raises:
        SchemaError: Not a trait bits table, or an unknown base.

    >>> row = {"prompt": "p", "sample": 0, "trait": "wry", "judge": "base", "n_tokens": 2}
    >>> bits = (("base", 0.0), ("tuned", 1.0))
    >>> rows = [{**row, "checkpoint": c, "bits_pos": b, "bits_neg": 0.0} for c, b in bits]
    >>> table = sound_shift(pd.DataFrame(rows), base="base")
    >>> table[["checkpoint", "trait", "estimate"]].values.tolist()
    [['tuned', 'wry', 0.5]]
    """
    schema.check(bits, "trait_bits")
    if base not in set(bits["checkpoint"]):
        raise SchemaError(unknown("checkpoint", base, bits["checkpoint"].unique()))
    wide = bits.assign(evidence=_evidence(bits)).pivot_table(
        index=["trait", "prompt"], columns="checkpoint", values="evidence", sort=False
    )
    rows = []
    for trait in wide.index.unique("trait"):
        for checkpoint in wide.columns.drop(base):
            both = wide.loc[[trait], [base, checkpoint]].dropna()
            if both.empty:
                continue
            interval = t_interval(both[checkpoint] - both[base])
            row = {"checkpoint": checkpoint, "trait": trait, "before": both[base].mean()}
            row |= {"after": both[checkpoint].mean(), **interval.row(), "n": interval.n}
            rows.append(row)
    return pd.DataFrame(rows)
