"""What does one training step of a TopK SAE compute, if only what is active is touched?

Of ``batch x d_sae`` activations all but k a row are zero, and so are their gradients. The dense
step multiplies them all the same, five times over. Here the encoder is the one dense product; what
follows is done for active entries alone (``Active``), by torch's own kernels: sums of decoder rows
(``embedding_bag``) for what is rebuilt, sampled products (``sampled_addmm``) for the gradient of
the activations, and sums of rows by feature for the gradients of both matrices. BatchTopK is the
same but for which activations are kept.

The norm of a decoder row, by which SAELens multiplies activations before it ranks and divides them
before it decodes, cancels in what is rebuilt, and so has no gradient: it decides what is active,
and nothing else.
"""

from math import isqrt
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import embedding_bag


class Active(NamedTuple):
    """What fires in a batch: one entry a token and feature, in the order of tokens.

    Attributes:
        rows: Token of each entry.
        columns: Feature of each entry.
        acts: Activation, in the units in which features are ranked.
        shape: Tokens and features there are.
    """

    rows: Tensor
    columns: Tensor
    acts: Tensor
    shape: tuple[int, int]

    @property
    def fires(self) -> Tensor:
        """Tokens that each feature is active at, dims (feature,)."""
        return torch.bincount(self.columns, minlength=self.shape[1])


class Gradients(NamedTuple):
    """Of one step; the encoder's has a row a feature, as the decoder's.

    Attributes:
        W_enc: Dims (d_sae, d_in).
        b_enc: Dims (d_sae,).
        W_dec: Dims (d_sae, d_in); none where the decoder is frozen.
        b_dec: Dims (d_in,).
    """

    W_enc: Tensor
    b_enc: Tensor
    W_dec: Tensor | None
    b_dec: Tensor


class Auxiliary(NamedTuple):
    """The loss that revives dead features, and what it adds to the gradients.

    Attributes:
        loss: A number.
        W_enc: Dims (dead, d_in).
        b_enc: Dims (dead,).
        W_dec: Dims (dead, d_in).
    """

    loss: Tensor
    W_enc: Tensor
    b_enc: Tensor
    W_dec: Tensor


def largest(values: Tensor, k: int) -> Tensor:
    """Positions of the k largest numbers of each row, exactly, in any order.

    The columns are dealt into groups. The k largest numbers lie in the k groups whose own largest
    number is largest, so that two short selections take the place of a long one. Which of two equal
    numbers is taken is not said, as of ``torch.topk``.

    Args:
        values: Dims (row, column).
        k: How many.

    Returns:
        Dims (row, k).

    >>> largest(torch.tensor([[3.0, 9.0, 1.0, 7.0, 5.0]]), 2).sort().values.tolist()
    [[1, 3]]
    """
    n = values.shape[1]
    size = isqrt(n // k)  # of a group: both selections are then about as long
    n_groups = n // size if size else 0
    if size < 2 or n_groups < k:
        return values.topk(k, dim=1, sorted=False).indices
    dealt = values[:, : n_groups * size].unflatten(1, (size, n_groups))
    groups = dealt.amax(dim=1).topk(k, dim=1, sorted=False).indices
    steps = torch.arange(size, device=values.device) * n_groups
    tail = torch.arange(n_groups * size, n, device=values.device)
    candidates = (groups[:, None] + steps[:, None]).flatten(1)
    candidates = torch.cat([candidates, tail.expand(len(values), -1)], dim=1)
    chosen = values.gather(1, candidates).topk(k, dim=1, sorted=False).indices
    return candidates.gather(1, chosen)


def activate(ranked: Tensor, k: float, *, together: bool) -> Active:
    """What fires: the largest activations that are above zero.

    Args:
        ranked: Activations before any is left out, dims (token, feature).
        k: How many a token.
        together: Whether all tokens share k times as many as they are (BatchTopK), or each has its
            own k (TopK).

    Returns:
        The active entries.

    >>> ranked = torch.tensor([[3.0, 2.0], [1.0, -1.0]])
    >>> activate(ranked, 1, together=False).acts.tolist()
    [3.0, 1.0]
    >>> activate(ranked, 1, together=True).acts.tolist()
    [3.0, 2.0]
    """
    n_rows, n_columns = ranked.shape
    flat = ranked.view(-1)
    if together:
        places = largest(ranked.view(1, -1), int(k * n_rows))[0]
    else:
        first = torch.arange(n_rows, device=ranked.device)[:, None] * n_columns
        places = (largest(ranked, int(k)) + first).flatten()
    places = places[flat[places] > 0].sort().values
    rows = places.div(n_columns, rounding_mode="floor")
    return Active(rows, places - rows * n_columns, flat[places], (n_rows, n_columns))


def rebuild(active: Active, weights: Tensor, W_dec: Tensor) -> Tensor:
    """Sum of the decoder rows of what is active at each token.

    Args:
        active: What fires.
        weights: What each entry's row is multiplied with, dims (entry,).
        W_dec: Dims (d_sae, d_in).

    Returns:
        Dims (token, d_in).
    """
    starts = _starts(active.rows, active.shape[0])
    return embedding_bag(active.columns, W_dec, starts[:-1], per_sample_weights=weights, mode="sum")


def gradients(
    active: Active,
    weights: Tensor,
    inputs: Tensor,
    error: Tensor,
    *,
    W_enc: Tensor,
    W_dec: Tensor,
    is_centered: bool,
    is_frozen: bool,
) -> Gradients:
    """Gradients of a loss of what is rebuilt.

    Args:
        active: What fires.
        weights: What each entry's decoder row was multiplied with, dims (entry,).
        inputs: What the encoder read, dims (token, d_in).
        error: Gradient of the loss by what is rebuilt, the same dims.
        W_enc: Dims (d_in, d_sae).
        W_dec: Dims (d_sae, d_in).
        is_centered: Whether the encoder read the residual minus the decoder's bias.
        is_frozen: Whether the decoder is, so that its gradient is not needed.

    Returns:
        The gradients.
    """
    starts = _starts(active.rows, active.shape[0])
    where = torch.sparse_csr_tensor(
        starts, active.columns, torch.zeros_like(weights), active.shape, check_invariants=False
    )
    own = torch.sparse.sampled_addmm(where, error, W_dec.T, beta=0.0).values()
    columns, order = active.columns.sort(stable=True)
    rows, own = active.rows[order], own[order]
    by_feature = _starts(columns, active.shape[1])[:-1]
    encoder = embedding_bag(rows, inputs, by_feature, per_sample_weights=own, mode="sum")
    bias = own.new_zeros(active.shape[1]).index_add_(0, columns, own)
    decoder = None
    if not is_frozen:
        decoder = embedding_bag(
            rows, error, by_feature, per_sample_weights=weights[order], mode="sum"
        )
    output = error.sum(dim=0)
    if is_centered:
        output = output - W_enc @ bias
    return Gradients(encoder, bias, decoder, output)


def auxiliary(
    pre: Tensor, norms: Tensor, left: Tensor, inputs: Tensor, *, W_dec: Tensor
) -> Auxiliary:
    """What the strongest dead features would make of the rest (Gao et al. 2024, arXiv 2406.04093).

    As SAELens has it: at each token half as many features as the residual is wide, chosen among the
    dead, rebuild what the living left; with fewer dead ones the loss counts less.

    Args:
        pre: Activations of the dead before any is left out, dims (token, dead).
        norms: What they are multiplied with to be ranked, dims (dead,).
        left: What the living left, dims (token, d_in).
        inputs: What the encoder read, the same dims.
        W_dec: Their decoder rows, dims (dead, d_in).

    Returns:
        The loss and its gradients.
    """
    most = left.shape[1] // 2
    n_dead = len(W_dec)
    scale = min(n_dead / most, 1.0)
    kept = None
    if n_dead > most:
        chosen = (pre * norms).topk(most, dim=1, sorted=False).indices
        kept = torch.zeros_like(pre).scatter_(1, chosen, 1.0)
        pre = pre * kept
    gap = pre @ W_dec - left
    loss = scale * gap.pow(2).sum(dim=1).mean()
    error = gap * (2 * scale / len(gap))
    own = error @ W_dec.T
    if kept is not None:
        own = own * kept
    return Auxiliary(loss, own.T @ inputs, own.sum(dim=0), pre.T @ error)


def _starts(sorted_indices: Tensor, n: int) -> Tensor:
    """Where each of n runs of equal indices starts, and where the last ends."""
    counts = torch.bincount(sorted_indices, minlength=n)
    return torch.cat([counts.new_zeros(1), counts.cumsum(0)])
