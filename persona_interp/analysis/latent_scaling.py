"""How much of a feature is there at each checkpoint: from sums over tokens to betas and vectors.

Latent scaling (Minder et al. 2025, arXiv 2504.02922): beta = d . sum f y / (|d|^2 sum f^2), the
least squares of y on f d, where f is a feature's activation and d its decoder at the checkpoint
where that is longest. With y what all other features leave (error) a beta is there that the decoder
has lost (complete shrinkage); with y what all features rebuild (reconstruction) it is there under
another feature's name (latent decoupling).

The same least squares without a direction given first is a vector for each checkpoint: what the
residuals themselves put on the feature's tokens. Its lengths and angles are what statuses are read
from. Everything comes with what it is when one part of the documents is left out.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
import xarray as xr

from persona_interp.analysis.stats import jackknife
from persona_interp.errors import SchemaError
from persona_interp.schema import check

Array = npt.NDArray[np.float64]
RCOND = 1e-6
"""Of the largest eigenvalue of the activations' correlations: features that always fire together
share what they explain."""
SELDOM = 50
"""Tokens on which a feature must be active for anything to be said of it."""


def with_parts(scaling: xr.Dataset) -> xr.Dataset:
    """The dataset without parts that hold no document.

    Args:
        scaling: What ``dictionaries.scaling`` gives.

    Returns:
        The same sums, at least two parts.

    Raises:
        SchemaError: It is no such dataset, or of one document.
    """
    check(scaling, "scaling")
    scaling = scaling.isel(part=scaling["tokens"].to_numpy() > 0)
    if scaling.sizes["part"] < 2:
        raise SchemaError(
            "latent scaling leaves out a part of the documents at a time; there is only one. Give "
            "more documents, or documents= where residuals are given."
        )
    return scaling


class Inner(NamedTuple):
    """Inner products of the vectors of each feature between checkpoints.

    Attributes:
        whole: On all documents, dims (feature, checkpoint, checkpoint).
        left_out: Without one part of them, dims (part, feature, checkpoint, checkpoint).
    """

    whole: Array
    left_out: Array


def inner_products(scaling: xr.Dataset) -> Inner:
    """Inner products between checkpoints of the vectors that residuals put on a feature's tokens.

    Args:
        scaling: What ``dictionaries.scaling`` gives.

    Returns:
        Inner products in units of each checkpoint. A squared length is a sum of squared errors too;
        what the jackknife says of that is taken off.
    """
    vectors, left_out = feature_vectors(scaling)
    whole = _gram(vectors)
    gram = np.stack([_gram(part) for part in left_out])
    bias = (len(gram) - 1) * (gram.mean(axis=0) - whole)
    return Inner(whole - bias, gram - bias)


def feature_vectors(scaling: xr.Dataset) -> tuple[Array, Array]:
    """Vectors of all features at each checkpoint, by least squares of residuals on activations.

    All features together, with an intercept: V = (F'F)^-1 F'x, written as D + (F'F)^-1 F'(x - F D)
    with the decoders D, F and x minus their means. Taken one feature at a time, a vector would be
    what the *others'* decoders leave, and two copies of one checkpoint differ by as much as
    training left between their decoders; without the intercept, by what it left between the biases.

    Args:
        scaling: What ``dictionaries.scaling`` gives.

    Returns:
        Dims (checkpoint, feature, d_model), NaN where a feature is never active; and the same
        without one part of the documents (part first). A part's own F'F is taken for its share of
        the whole one, by tokens: it changes the vectors by the product of two small errors.
    """
    decoder = scaling["decoder"].to_numpy()
    squares = scaling["squares"].to_numpy()
    tokens = scaling["tokens"].to_numpy()
    mean = scaling["acts"].to_numpy().sum(axis=0) / tokens.sum()
    errors = scaling["left"].to_numpy() - squares[:, None, :, None] * decoder
    errors -= mean[:, None] * scaling["gaps"].to_numpy()[:, :, None]
    products = scaling["products"].to_numpy() - tokens.sum() * np.outer(mean, mean)
    # each feature in its own unit, so that one that fires seldom is not taken for a combination
    unit = np.sqrt(np.diag(products))
    unit = np.where(unit > 0, unit, 1)
    inverse = np.linalg.pinv(products / np.outer(unit, unit), rcond=RCOND, hermitian=True)
    inverse /= np.outer(unit, unit)
    # what the activations cannot tell apart is taken to be the same at every checkpoint
    shared = decoder.mean(axis=0)
    decoder = shared + inverse @ products @ (decoder - shared)
    steps = np.einsum("ij,pkjd->pkid", inverse, errors, optimize=True)
    grows = tokens.sum() / (tokens.sum() - tokens)
    whole = steps.sum(axis=0)
    left_out = decoder + grows[:, None, None, None] * (whole - steps)
    never = squares.sum(axis=0) == 0
    vectors = decoder + whole
    vectors[:, never], left_out[:, :, never] = np.nan, np.nan
    return vectors, left_out


def _gram(vectors: Array) -> Array:
    """Inner products, dims (feature, checkpoint, checkpoint)."""
    by_feature = vectors.transpose(1, 0, 2)
    return by_feature @ by_feature.transpose(0, 2, 1)


def latent_scaling(scaling: xr.Dataset) -> pd.DataFrame:
    """Both betas of every feature at every checkpoint, with intervals over documents.

    Args:
        scaling: What ``dictionaries.scaling`` gives.

    Returns:
        One row a feature and checkpoint: ``feature``, ``checkpoint``, ``norm`` (of the decoder, in
        units of the checkpoint), ``reference`` (checkpoint whose decoder is the direction: the
        longest), ``beta_error``, ``error_lo``, ``error_hi``, ``beta_reconstruction``,
        ``reconstruction_lo``, ``reconstruction_hi`` (95 %, jackknife over parts of the documents),
        ``n_tokens`` (on which the feature is active). NaN where it never is.

    Raises:
        SchemaError: It is no such dataset, or of one document.
    """
    scaling = with_parts(scaling)
    decoder = scaling["decoder"].to_numpy()
    norms = np.linalg.norm(decoder, axis=2)
    reference = norms.argmax(axis=0)
    direction = decoder[reference, np.arange(decoder.shape[1])]
    squares = scaling["squares"].to_numpy()
    columns: dict[str, Array] = {}
    for name, sums in (("error", "left"), ("reconstruction", "rebuilt")):
        along = np.einsum("pkjd,jd->pkj", scaling[sums].to_numpy(), direction)
        length = (direction**2).sum(axis=1)
        with np.errstate(invalid="ignore", divide="ignore"):
            whole = along.sum(0) / (length * squares.sum(0))
            others = (along.sum(0) - along) / (length * (squares.sum(0) - squares))[:, None]
        estimate, lo, hi, _ = jackknife(whole, others)
        columns |= {f"beta_{name}": estimate, f"{name}_lo": lo, f"{name}_hi": hi}
    labels = scaling["checkpoint"].to_numpy()
    n_features = decoder.shape[1]
    return pd.DataFrame(
        {
            "feature": np.repeat(scaling["feature"].to_numpy(), len(labels)),
            "checkpoint": np.tile(labels, n_features),
            "norm": norms.T.ravel(),
            "reference": labels[np.repeat(reference, len(labels))],
            **{name: values.T.ravel() for name, values in columns.items()},
            "n_tokens": np.repeat(scaling["fires"].to_numpy().sum(axis=0), len(labels)),
        }
    )
