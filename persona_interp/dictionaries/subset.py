"""How active are a few features of a wide dictionary, at the cost of those few?

Where a feature has a threshold of its own (ReLU, JumpReLU, and BatchTopK once it is trained), its
activation needs its own column of the encoder alone: fifty features of 65,536 cost a thousandth. In
a TopK SAE a feature is active if fewer than k others are more so: all of them must be known.
"""

from collections.abc import Iterable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from persona_interp.dictionaries.dictionary import Dictionary, SparseDictionary
from persona_interp.dictionaries.inputs import (
    AnyDictionary,
    as_dictionary,
    bring,
    check_features,
    check_width,
)
from persona_interp.errors import ModelError

ALONE = ("standard", "jumprelu")
"""Architectures of SAELens in which a feature depends on no other; BatchTopK ends as jumprelu."""
TOGETHER = ("topk", "abstopk", "matching_pursuit")
"""Those in which it depends on all others."""
CHUNK = 512
"""Residuals at once: what a pass leaves is still in the cache at the next."""


def encode_features(
    dictionary: AnyDictionary, acts: Tensor, *, features: int | Iterable[int]
) -> Tensor:
    """Activations of some features, computed from their own columns of the encoder.

    Args:
        dictionary: Any dictionary. Of one that is no SAE of SAELens, or of an architecture that
            mixes features, all are computed and these kept.
        acts: Residuals, dims (..., d_in).
        features: Index or indices of features.

    Returns:
        Dims (..., feature), in the order of the indices: what ``dictionary.encode(acts)[...,
        features]`` is, but for the rounding of a shorter product.

    Raises:
        SchemaError: There are no such features.
        ModelError: A TopK SAE, another width, or as of ``as_dictionary``.

    >>> from types import SimpleNamespace
    >>> double = SimpleNamespace(name="double", hook="h", W_dec=torch.eye(3), mean=torch.zeros(3))
    >>> double.encode, double.decode = (lambda acts: 2 * acts), (lambda feats: feats / 2)
    >>> encode_features(double, torch.tensor([[1.0, 2.0, 3.0]]), features=[2, 0])
    tensor([[6., 2.]])
    """
    own = as_dictionary(dictionary)
    indices = check_features(features, own)
    if _architecture(own) in TOGETHER:
        raise ModelError(
            f"{own.name} is a {_architecture(own)} SAE: which features are active is decided among "
            "all of them, so that a few cannot be had alone. Encode all: "
            "dictionary.encode(acts)[..., features]."
        )
    check_width(own, acts, own.hook)
    return FeatureEncoder(own, indices).encode(acts)


class _Columns(NamedTuple):
    """What the encoder holds of some features."""

    W_enc: Tensor
    b_enc: Tensor
    threshold: Tensor | None
    b_dec: Tensor | None


class FeatureEncoder:
    """Some features of a dictionary, whose part of the encoder is copied once.

    Later changes of the dictionary's weights do not reach it.

    Attributes:
        dictionary: Any dictionary; of a TopK SAE all features are computed and some kept.
        features: Indices of the features.
    """

    def __init__(self, dictionary: Dictionary, features: Iterable[int]) -> None:
        self.dictionary = dictionary
        self.features = list(features)
        self._columns: _Columns | None = None

    @torch.no_grad()
    def encode(self, acts: Tensor) -> Tensor:
        """Activations of the features, dims (..., d_in) to (..., feature)."""
        own = self.dictionary
        if not isinstance(own, SparseDictionary) or _architecture(own) not in ALONE:
            return own.encode(bring(acts, own))[..., self.features]
        columns = self._columns
        if columns is None or columns.W_enc.device != acts.device:
            self._columns = columns = self._read(own, acts)
        rows = acts.reshape(-1, acts.shape[-1])
        feats = columns.W_enc.new_empty(len(rows), len(self.features))
        for start in range(0, len(rows), CHUNK):
            part = slice(start, start + CHUNK)
            inputs = own.sae.run_time_activation_norm_fn_in(rows[part].to(feats.dtype))
            if columns.b_dec is not None:
                inputs = inputs - columns.b_dec
            pre = torch.addmm(columns.b_enc, inputs, columns.W_enc, out=feats[part])
            if columns.threshold is not None:
                pre.mul_(pre > columns.threshold)
            pre.clamp_(min=0)
        return feats.float().reshape(*acts.shape[:-1], -1)

    def _read(self, own: SparseDictionary, acts: Tensor) -> _Columns:
        """The columns, where the residuals are."""
        sae, at, to = own.sae, torch.tensor(self.features, device=own.W_dec.device), acts.device
        threshold = sae.threshold[at].to(to) if _architecture(own) == "jumprelu" else None
        b_dec = sae.b_dec.detach().to(to) if sae.cfg.apply_b_dec_to_input else None
        W_enc = sae.W_enc.detach()[:, at].contiguous().to(to)
        return _Columns(W_enc, sae.b_enc.detach()[at].to(to), threshold, b_dec)


def _architecture(dictionary: Any) -> str:
    """Of an SAE of SAELens; "" for another dictionary."""
    own = isinstance(dictionary, SparseDictionary)
    return dictionary.sae.cfg.architecture() if own else ""
