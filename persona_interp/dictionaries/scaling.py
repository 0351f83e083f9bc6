"""How much of a crosscoder's feature is there at every checkpoint, whatever its decoders say?

A decoder can be short where its feature is there: training shrinks it, or leaves the work to
another feature. Latent scaling (Minder et al. 2025, arXiv 2504.02922) asks the residuals instead:
how much of a feature's direction, times its activation, explains best what the other features leave
(error), and what all features rebuild (reconstruction)? Here are the sums behind that, one set for
each part of the documents, so that whatever ``analysis.statuses`` makes of them has an interval.
Tokens pass through in chunks: memory does not grow with them.
"""

import zlib
from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
import xarray as xr
from torch import Tensor
from tqdm import tqdm

from persona_interp.dictionaries.blocks import CHUNK
from persona_interp.dictionaries.crosscoder import Crosscoder
from persona_interp.dictionaries.harvest import CONTENT_ROLES
from persona_interp.dictionaries.same_tokens import Checkpoints, same_tokens
from persona_interp.errors import ModelError

PARTS = 20
"""Parts that the documents are divided into; an interval leaves out one at a time."""


@torch.no_grad()
def scaling(
    crosscoder: Crosscoder,
    checkpoints: Checkpoints = None,
    corpus: Any = None,
    *,
    residuals: Any = None,
    documents: Any = None,
    n_tokens: int = 150_000,
    where: Iterable[str] = CONTENT_ROLES,
    seed: int = 0,
) -> xr.Dataset:
    """Sums over tokens that say how much of each feature is there at each checkpoint.

    Everything is in units of each checkpoint: residuals minus the decoder's bias, over the
    checkpoint's scale. In the sums f is the activation of a feature, d its decoder, x a residual,
    and r what all features rebuild together.

    Args:
        crosscoder: The crosscoder.
        checkpoints: Its checkpoints, in its order; not needed beside ``residuals``.
        corpus: The documents read, as in ``crosscoder``.
        residuals: Residuals instead, dims (checkpoint, token, d_model), or recordings.
        documents: Beside ``residuals``: document of every token; recordings know theirs. Tokens of
            one document are no independent draws; without it every token counts as one.
        n_tokens: Tokens harvested, at most.
        where: Roles of these tokens.
        seed: Seed of the documents drawn.

    Returns:
        A ``scaling`` dataset: ``decoder`` (checkpoint, feature, d_model); by part of the documents
        ``tokens`` (part), ``error`` (part, checkpoint; sum of |x - r|^2), ``total`` (the same dims;
        sum of squared distances from the mean residual of the training), ``fires`` (part, feature;
        tokens on which it is active), ``squares``
        (part, feature; sum of f^2), ``acts`` (the same dims; sum of f), ``gaps`` (part, checkpoint,
        d_model; sum of x - r), ``left`` (part, checkpoint, feature, d_model; sum of
        f (x - r + f d)), ``rebuilt`` (the same dims; sum of f r) and ``unexplained`` (part,
        feature; the error on its tokens); of all parts ``together``
        (feature, other; tokens on which both are active) and ``products`` (the same dims; sum of
        the products of both activations).

    Raises:
        ModelError: The checkpoints are not the crosscoder's, or as in ``crosscoder``.
    """
    labels = crosscoder.checkpoints
    same = same_tokens(
        labels if checkpoints is None else checkpoints,
        corpus,
        hook=crosscoder.hook,
        residuals=residuals,
        documents=documents,
        n_tokens=n_tokens,
        seed=seed,
        where=where,
    )
    if same.provenance["checkpoints"] != labels:
        raise ModelError(
            f"this crosscoder is of {', '.join(labels)}; got residuals of "
            f"{', '.join(same.provenance['checkpoints'])}."
        )
    if isinstance(same.residuals, Tensor) and residuals is not None and documents is None:
        same = same._replace(documents=np.arange(same.residuals.shape[1]))
    scale = crosscoder.scales.double()[:, None, None]
    decoder = (crosscoder.decoders.double() / scale).float()
    center = crosscoder.dictionary.mean.view(len(labels), 1, -1)
    bias = crosscoder.decode(torch.zeros(1, crosscoder.d_sae)) - center
    n_features, width = decoder.shape[1:]
    tokens = np.zeros(PARTS)
    fires = np.zeros((PARTS, n_features))
    squares = np.zeros((PARTS, n_features))
    summed = np.zeros_like(squares)
    gaps = np.zeros((PARTS, len(labels), width))
    left = np.zeros((PARTS, len(labels), n_features, width))
    rebuilt = np.zeros_like(left)
    error = np.zeros((PARTS, len(labels)))
    total = np.zeros_like(error)
    missed = np.zeros((PARTS, n_features))
    together = np.zeros((n_features, n_features))
    products = np.zeros_like(together)
    part_of = _parts(same.documents)
    bar = tqdm(total=len(part_of), desc="latent scaling", delay=2)
    for part in range(PARTS):
        for rows in torch.from_numpy(np.flatnonzero(part_of == part)).split(CHUNK):
            acts = same.residuals[:, rows].float()
            feats = crosscoder.encode(acts)
            r = feats @ decoder
            centered = (acts - center) / scale.float()
            unexplained = centered - bias / scale.float() - r
            own = feats.pow(2).sum(dim=0)
            tokens[part] += len(rows)
            is_on = (feats > 0).float()
            fires[part] += is_on.sum(dim=0).numpy()
            together += (is_on.T @ is_on).numpy()
            products += (feats.T @ feats).numpy()
            squared = unexplained.pow(2).sum(dim=2)
            error[part] += squared.double().sum(dim=1).numpy()
            total[part] += centered.double().pow(2).sum(dim=(1, 2)).numpy()
            missed[part] += (squared.sum(dim=0) @ is_on).numpy()
            squares[part] += own.numpy()
            summed[part] += feats.double().sum(dim=0).numpy()
            gaps[part] += unexplained.double().sum(dim=1).numpy()
            left[part] += (feats.T @ unexplained + own[:, None] * decoder).numpy()
            rebuilt[part] += (feats.T @ r).numpy()
            bar.update(len(rows))
    bar.close()
    by_part = ("part", "checkpoint", "feature", "d_model")
    return xr.Dataset(
        {
            "decoder": (by_part[1:], decoder.double().numpy()),
            "tokens": (("part",), tokens),
            "error": (("part", "checkpoint"), error),
            "total": (("part", "checkpoint"), total),
            "fires": (("part", "feature"), fires),
            "squares": (("part", "feature"), squares),
            "acts": (("part", "feature"), summed),
            "gaps": (("part", "checkpoint", "d_model"), gaps),
            "left": (by_part, left),
            "rebuilt": (by_part, rebuilt),
            "unexplained": (("part", "feature"), missed),
            "together": (("feature", "other"), together),
            "products": (("feature", "other"), products),
        },
        coords={"checkpoint": labels, "feature": np.arange(n_features)},
        attrs={
            "crosscoder": crosscoder.dictionary.name,
            "hook": crosscoder.hook,
            "sparsity": crosscoder.sparsity,
            "fvu": crosscoder.dictionary.provenance["fvu"],
            "n_documents": len(np.unique(same.documents)),
        },
    )


def _parts(documents: np.ndarray) -> np.ndarray:
    """Part of every token: documents are dealt out, whole, in an order that is not the corpus's."""
    names, index = np.unique(documents, return_inverse=True)
    # a hash of the name: the same document lands beside the same others whatever else is drawn
    order = np.argsort([zlib.crc32(str(name).encode()) for name in names], kind="stable")
    rank = np.empty(len(names), dtype=int)
    rank[order] = np.arange(len(names))
    return (rank % PARTS)[index]
