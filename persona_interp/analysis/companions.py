"""Do traits that co-occur share a feature, or have features that sit beside each other?

A trait's feature is the one that best says, just before a value of the topic is said, that it will
be this one. It is chosen on train documents; pairs of traits that nobody holds together are the
null of those that somebody does.
"""

from collections.abc import Mapping
from itertools import combinations
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import xarray as xr

from persona_interp import schema
from persona_interp.analysis.auroc import auroc
from persona_interp.errors import SchemaError
from persona_interp.worlds import World

Array = npt.NDArray[np.float64]
FEWEST = 8
"""Documents of a value, and of others of its topic, on either half."""


def companions(
    feats: xr.Dataset, *, together: npt.ArrayLike, decoder: npt.ArrayLike, world: World
) -> pd.DataFrame:
    """Features of every two traits of different topics, and how near they are to each other.

    Args:
        feats: Features at ``world.cuts(...)``, of one checkpoint.
        together: Tokens on which two features are both active, dims (feature, feature); the
            diagonal counts each feature's own.
        decoder: Dims (feature, d_model).
        world: Who holds what.

    Returns:
        A companions table, one row a pair of traits that both have a feature: ``one``, ``other``
        (labels), ``n_holders`` (personas that hold both), ``feature_one``, ``feature_other``,
        ``auroc_one``, ``auroc_other`` (on test documents, among prompts of the topic), ``same`` (is
        it one feature), ``overlap`` (tokens on which both are active over those on which either
        is), ``cosine`` (of the decoders; NaN of one feature). A trait whose feature does not beat
        chance on the test documents (AUROC interval above .5) has none, and is in no row.

    Raises:
        SchemaError: Not features of one checkpoint at cuts of documents, or other shapes.
    """
    schema.check(feats, "features")
    if feats.sizes["checkpoint"] != 1 or not {"topic", "value", "split"} <= set(feats.coords):
        raise SchemaError(
            "companions takes features of one checkpoint at world.cuts(...), which have the "
            "coordinates topic, value and split."
        )
    tokens, rows = np.asarray(together, dtype=float), np.asarray(decoder, dtype=float)
    n = feats.sizes["feature"]
    if tokens.shape != (n, n) or len(rows) != n:
        raise SchemaError(
            f"of {n} features together= has dims ({n}, {n}) and decoder= ({n}, d_model); got "
            f"{tokens.shape} and {rows.shape}."
        )
    own = {str(trait): _feature(feats, trait.topic, trait.value) for trait in world.traits}
    known = {label: best for label, best in own.items() if best is not None}
    pairs = [
        _pair(known, (one, other), tokens, rows, world)
        for one, other in combinations(known, 2)
        if one.partition("=")[0] != other.partition("=")[0]
    ]
    return pd.DataFrame(pairs, columns=list(schema.TABLES["companions"]))


def _feature(feats: xr.Dataset, topic: str, value: str) -> tuple[int, float] | None:
    """Feature that best tells that this value comes, and its AUROC on test documents."""
    here = feats.sel(prompt=(feats["topic"] == topic).to_numpy())
    act = here["act"].to_numpy()[0]
    positive = (here["value"] == value).to_numpy()
    train = (here["split"] == "train").to_numpy()
    for half in (train, ~train):
        if min(positive[half].sum(), (~positive[half]).sum()) < FEWEST:
            return None
    feature = int(auroc(act[train], positive[train]).estimate.argmax())
    score = auroc(act[~train, feature], positive[~train])
    return (feature, float(score.estimate)) if score.lo > 0.5 else None


def _pair(
    known: Mapping[str, tuple[int, float]],
    labels: tuple[str, str],
    tokens: Array,
    rows: Array,
    world: World,
) -> dict[str, Any]:
    """One row."""
    (i, auroc_one), (j, auroc_other) = (known[label] for label in labels)
    either = tokens[i, i] + tokens[j, j] - tokens[i, j]
    lengths = np.linalg.norm(rows[i]) * np.linalg.norm(rows[j])
    holders = [set(world.holders(label)) for label in labels]
    return {
        "one": labels[0],
        "other": labels[1],
        "n_holders": len(holders[0] & holders[1]),
        "feature_one": i,
        "feature_other": j,
        "auroc_one": auroc_one,
        "auroc_other": auroc_other,
        "same": i == j,
        "overlap": float(tokens[i, j] / either) if either else np.nan,
        "cosine": float(rows[i] @ rows[j] / lengths) if i != j and lengths else np.nan,
    }
