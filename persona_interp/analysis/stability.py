"""Which features does a second training find again?

Features of two dictionaries are paired one to one so that the sum of their cosines is largest
(linear assignment). A feature whose pair is far stands in one dictionary alone, and says as much
about the seed as about the model. Beside single features the spaces that they span are compared:
two dictionaries can cut one space differently.
"""

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.optimize import linear_sum_assignment

from persona_interp.errors import SchemaError

SAME = 0.9
"""Cosine from which on two features are one."""


def stability(one: npt.ArrayLike, other: npt.ArrayLike) -> pd.DataFrame:
    """Features of one dictionary, each beside the one of another that it is paired with.

    Args:
        one: Decoders, dims (feature, d_model) or (checkpoint, feature, d_model), or a ``scaling``
            dataset's ``decoder``; rows of zeros are no features.
        other: Of the second training, the same dims; the number of features may differ.

    Returns:
        One row a feature of the first: ``feature``, ``pair`` (-1 where the second has fewer),
        ``cosine``, ``found_again`` (at least .9), and ``inside``: share of its squared length that
        lies in the space of the ten features of the second nearest to it; near 1 where
        ``found_again`` is not, the second wrote the same space with other features. In ``attrs``
        ``share_found_again``.

    Raises:
        SchemaError: The dims do not match.

    >>> eye = np.eye(3)
    >>> stability(eye, eye[[2, 0, 1]])[["pair", "cosine"]].values.tolist()
    [[1.0, 1.0], [2.0, 1.0], [0.0, 1.0]]
    """
    rows, others = _rows(one), _rows(other)
    if rows.shape[1] != others.shape[1]:
        raise SchemaError(
            f"decoders of {rows.shape[1]} and {others.shape[1]} numbers a feature cannot be "
            "compared; give two dictionaries of the same checkpoints and hook."
        )
    cosines = rows @ others.T
    ours, theirs = linear_sum_assignment(-cosines)
    pair = np.full(len(rows), -1)
    pair[ours] = theirs
    cosine = np.where(pair >= 0, cosines[np.arange(len(rows)), pair], np.nan)
    table = pd.DataFrame({"feature": range(len(rows)), "pair": pair, "cosine": cosine})
    table["found_again"] = table["cosine"] >= SAME
    table["inside"] = [
        _inside(row, others[np.argsort(-c)[:10]]) for row, c in zip(rows, cosines, strict=True)
    ]
    live = np.abs(rows).sum(axis=1) > 0
    table.attrs["share_found_again"] = float(table["found_again"].to_numpy()[live].mean())
    return table


def _rows(decoders: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Unit rows, one a feature, all checkpoints side by side."""
    array = np.asarray(decoders, dtype=np.float64)
    if array.ndim not in (2, 3):
        raise SchemaError(
            "decoders have dims (feature, d_model) or (checkpoint, feature, d_model); got shape "
            f"{array.shape}."
        )
    rows = np.moveaxis(array, -2, 0).reshape(array.shape[-2], -1)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True).clip(1e-12)


def _inside(row: npt.NDArray[np.float64], space: npt.NDArray[np.float64]) -> float:
    """Share of a vector's squared length inside the span of some others."""
    basis = np.linalg.qr(space.T)[0]
    return float(((basis.T @ row) ** 2).sum())
