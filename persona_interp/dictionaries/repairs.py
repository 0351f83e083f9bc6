"""What would make this dictionary fit? A repair is one change of its input or weights, and its fvu.

A fault shows in what undoes it: another hook, a factor before encoding, a normalization, a BOS. No
repair is searched more finely than its fault is coarse, and nothing is changed in place.
"""

import dataclasses
import math
from collections.abc import Callable, Sequence
from copy import deepcopy
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from persona_interp.dictionaries.dictionary import Dictionary, SparseDictionary
from persona_interp.models import Tokens
from persona_interp.models.boot import hidden
from persona_interp.models.device import Batch
from persona_interp.models.dtype import AUTO
from persona_interp.models.outliers import ordinary

GRID = tuple(2.0**k for k in range(-7, 8))
"""Factors that are tried first."""
REFINEMENTS = 4
"""Times that the factors around the best are tried, each time half as far apart (in log)."""
PARTS = {
    "encoder": ("W_enc", "b_enc", "b_gate", "b_mag"),
    "encoder without its bias": ("W_enc",),
    "decoder": ("W_dec",),
    "decoder with its bias": ("W_dec", "b_dec"),
}
"""Weights that a fault may have scaled, besides the residual itself."""
EPS = 1e-12


class Residuals(NamedTuple):
    """Residuals of tokens of some roles.

    Attributes:
        acts: By hook, dims (token, d_in).
        roles: Role of each token.
        first: Which tokens are the first of their document, no BOS before them.
        opening: Which tokens are the first of these roles in their document.
        norms: By hook, norms of all residuals, special tokens such as BOS included.
    """

    acts: dict[str, Tensor]
    roles: np.ndarray
    first: Tensor
    opening: Tensor
    norms: dict[str, Tensor]


class Repair(NamedTuple):
    """A change, and the fraction of variance that is unexplained with it.

    Attributes:
        name: What is changed.
        factor: By how much, 1 where it is no factor.
        fvu: Fraction of variance unexplained.
        z: By how many standard errors over tokens less is unexplained than without it; NaN where
            not paired.
        l0: Features a token with it; NaN where not counted.
    """

    name: str
    factor: float
    fvu: float
    z: float = math.nan
    l0: float = math.nan


def read_residuals(
    bridge: Any,
    tokens: Tokens,
    *,
    hooks: Sequence[str],
    where: Sequence[str],
    batch: Batch = AUTO,
) -> Residuals:
    """Read the residuals that documents leave at some hooks, float32 on the CPU.

    Args:
        bridge: A booted model.
        tokens: Tokens of ``encode``.
        hooks: Canonical names.
        where: Roles of the tokens.
        batch: Tokens a forward pass; "auto": what fits into memory.

    Returns:
        The residuals, with what is known of their tokens.
    """
    marks = [torch.as_tensor(mask) for mask in tokens.marks(where)]
    acts: dict[str, list[Tensor]] = {hook: [] for hook in hooks}
    norms: dict[str, list[Tensor]] = {hook: [] for hook in hooks}
    roles: list[np.ndarray] = []
    first: list[Tensor] = []
    opening: list[Tensor] = []
    for row, by_hook in hidden(bridge, tokens, hooks=hooks, batch=batch):
        mask = marks[row]
        for hook, residuals in by_hook.items():
            residuals = residuals.cpu().float()
            acts[hook].append(residuals[mask])
            norms[hook].append(residuals.norm(dim=-1))
        roles.append(np.asarray(tokens.roles[row], dtype=str)[mask.numpy()])
        first.append((torch.arange(len(mask)) == 0)[mask])
        opening.append(torch.arange(int(mask.sum())) == 0)
    return Residuals(
        {hook: torch.cat(parts) for hook, parts in acts.items()},
        np.concatenate(roles),
        torch.cat(first),
        torch.cat(opening),
        {hook: torch.cat(parts) for hook, parts in norms.items()},
    )


def toggle_bos(tokens: Tokens, bos: int) -> Tokens:
    """Add a BOS to documents that have none, and take it from those that have one.

    Args:
        tokens: Tokens of ``encode``.
        bos: Id of the BOS.

    Returns:
        The same tokens, each row longer or shorter by one.

    >>> one = Tokens(([9, 5],), (["special", "text"],), ([False, True],), ([-1, 0],), (1,))
    >>> toggle_bos(one, 9).ids, toggle_bos(toggle_bos(one, 9), 9) == one
    (([5],), True)
    """
    has_bos = [ids[0] == bos and len(ids) > 1 for ids in tokens.ids]

    def toggle(rows: Sequence[list[Any]], *, value: Any) -> tuple[list[Any], ...]:
        pairs = zip(rows, has_bos, strict=True)
        return tuple(row[1:] if has else [value, *row] for row, has in pairs)

    pairs = zip(tokens.answer_start, has_bos, strict=True)
    return dataclasses.replace(
        tokens,
        ids=toggle(tokens.ids, value=bos),
        roles=toggle(tokens.roles, value="special"),
        learn=toggle(tokens.learn, value=False),
        turns=toggle(tokens.turns, value=-1),
        answer_start=tuple(start - 1 if has else start + 1 for start, has in pairs),
    )


def fvu(
    dictionary: Dictionary, acts: Tensor, *, gain: Tensor | float = 1.0, shift: Tensor | float = 0.0
) -> float:
    """Fraction of the variance of residuals that a dictionary leaves unexplained.

    Args:
        dictionary: Any dictionary.
        acts: Residuals, dims (token, d_in).
        gain: It reads (acts - shift) * gain, and what it answers is changed back.
        shift: See gain.

    Returns:
        Squared error over squared distance from their mean; inf where the dictionary answers with
        no finite number.

    >>> from types import SimpleNamespace
    >>> half = SimpleNamespace(encode=lambda x: x, decode=lambda f: f / 2)
    >>> round(fvu(half, torch.tensor([[-1.0], [1.0]])), 6)
    0.25
    """
    rebuilt = dictionary.decode(dictionary.encode((acts - shift) * gain)).float() / gain + shift
    error = (acts - rebuilt).double().pow(2).sum()
    fraction = float(error / ((acts - acts.mean(0)).double().pow(2).sum() + EPS))
    if not math.isfinite(fraction):
        return math.inf
    return fraction


def paired_z(dictionary: Dictionary, here: Tensor, there: Tensor, *, gain: float = 1.0) -> float:
    """Standard errors by which less is unexplained there than here.

    Args:
        dictionary: Any dictionary.
        here: Residuals, dims (token, d_in).
        there: Residuals of the same tokens at another hook, or the same.
        gain: Factor on those there, changed back after.

    Returns:
        Mean over its standard error of the paired differences between tokens' shares of the
        unexplained fraction; tokens that are attention sinks at either hook are left out. Positive
        = less there.
    """
    both = ordinary(here.norm(dim=-1)) & ordinary(there.norm(dim=-1))
    # the mean over tokens of these shares is the fvu, so that the tokens' differences can be paired
    shares = []
    for acts, factor in ((here[both], 1.0), (there[both], gain)):
        rebuilt = dictionary.decode(dictionary.encode(acts * factor)).float() / factor
        error = (acts - rebuilt).double().pow(2).sum(-1)
        shares.append(error / ((acts - acts.mean(0)).double().pow(2).sum(-1).mean() + EPS))
    gains = shares[0] - shares[1]
    return float(gains.mean() / (gains.std() / len(gains) ** 0.5 + EPS))


def rescale(dictionary: SparseDictionary, part: str, factor: float) -> SparseDictionary:
    """Copy a dictionary with a part of its weights multiplied.

    Args:
        dictionary: The dictionary; it stays as it is.
        part: One of ``PARTS``.
        factor: By how much.

    Returns:
        A copy.
    """
    sae = deepcopy(dictionary.sae)
    for name in PARTS[part]:
        weight = getattr(sae, name, None)
        if weight is not None:
            weight.data = weight.data * factor
    return dataclasses.replace(dictionary, sae=sae)


def scales(dictionary: Dictionary, acts: Tensor, *, weights: bool = True) -> list[Repair]:
    """Best factor on the residual, and on each part of the weights.

    Args:
        dictionary: Any dictionary; weights are known of a ``SparseDictionary`` only.
        acts: Residuals, dims (token, d_in).
        weights: Also try each of ``PARTS``.

    Returns:
        The best factor of each, "input" first, with the features a token that it leaves active.
    """
    best = best_factor(lambda factor: fvu(dictionary, acts, gain=factor), name="input")
    repairs = [best._replace(l0=mean_l0(dictionary, acts * best.factor))]
    if weights and isinstance(dictionary, SparseDictionary):
        repairs += [_scale_part(dictionary, acts, part) for part in PARTS]
    return repairs


def _scale_part(dictionary: SparseDictionary, acts: Tensor, part: str) -> Repair:
    """Best factor on one part of the weights."""
    best = best_factor(lambda factor: fvu(rescale(dictionary, part, factor), acts), name=part)
    return best._replace(l0=mean_l0(rescale(dictionary, part, best.factor), acts))


def mean_l0(dictionary: Dictionary, acts: Tensor) -> float:
    """Active features a token, mean over residuals.

    Args:
        dictionary: Any dictionary.
        acts: Residuals, dims (token, d_in).

    Returns:
        The mean number.
    """
    return float((dictionary.encode(acts) != 0).double().sum(-1).mean())


def best_factor(error: Callable[[float], float], *, name: str) -> Repair:
    """Factor at which an error is smallest.

    Args:
        error: From factor to fraction of variance unexplained.
        name: What the factor multiplies.

    Returns:
        The best of a grid of powers of 2 from 1/128 to 128, refined around it to 5 % of the factor.
    """
    errors = {factor: error(factor) for factor in GRID}
    step = 2.0
    for _ in range(REFINEMENTS):
        step = math.sqrt(step)
        best = min(errors, key=errors.__getitem__)
        errors |= {factor: error(factor) for factor in (best / step, best * step)}
    best = min(errors, key=errors.__getitem__)
    return Repair(name, best, errors[best])


def normalizations(dictionary: Dictionary, acts: Tensor) -> list[Repair]:
    """Fits with what some training codes make of residuals before they show them to an SAE.

    Args:
        dictionary: Any dictionary.
        acts: Residuals, dims (token, d_in).

    Returns:
        Each normalization of SAELens that depends on the token, centering with and without unit
        variance, and, for an SAE that normalizes by itself, none at all.
    """
    width, mean = acts.shape[1], acts.mean(0)
    token_mean = acts.mean(-1, keepdim=True)
    token_norm = acts.norm(dim=-1, keepdim=True).clamp(min=EPS)
    token_std = (acts - token_mean).std(-1, keepdim=True).clamp(min=EPS)
    spread = (acts - mean).pow(2).mean().sqrt().clamp(min=EPS)
    ways: dict[str, dict[str, Tensor | float]] = {
        "constant_norm_rescale": {"gain": width**0.5 / token_norm},
        "layer_norm": {"gain": 1 / token_std, "shift": token_mean},
        "centered": {"shift": mean},
        "centered, unit variance": {"gain": 1 / spread, "shift": mean},
    }
    repairs = [Repair(name, 1.0, fvu(dictionary, acts, **way)) for name, way in ways.items()]
    if not isinstance(dictionary, SparseDictionary):
        return repairs
    if dictionary.sae.cfg.normalize_activations in ways:
        plain = deepcopy(dictionary.sae)
        plain.cfg.normalize_activations = "none"
        plain._setup_activation_normalization()
        unnormalized = dataclasses.replace(dictionary, sae=plain)
        repairs.append(Repair("none", 1.0, fvu(unnormalized, acts)))
    return repairs


def null_fvu(dictionary: Dictionary, acts: Tensor, *, seed: int = 0) -> float:
    """Fraction unexplained of residuals that a dictionary knows nothing of.

    Args:
        dictionary: Any dictionary.
        acts: Residuals, dims (token, d_in).
        seed: Seed of the rotation.

    Returns:
        The null of ``fvu``: the same residuals turned about their mean by a random rotation, which
        keeps mean, norms and spectrum, with whichever of ``scales`` suits the dictionary best.
    """
    generator = torch.Generator().manual_seed(seed)
    # the orthogonal factor of a Gaussian matrix is a random rotation
    rotation, _ = torch.linalg.qr(torch.randn(acts.shape[1], acts.shape[1], generator=generator))
    rotated = (acts - acts.mean(0)) @ rotation + acts.mean(0)
    return min(repair.fvu for repair in scales(dictionary, rotated))


def drop_sinks(acts: Tensor, *, among: Tensor | None = None) -> Tensor:
    """Drop attention sinks, which are left out of every reading of a dictionary.

    Args:
        acts: Residuals, dims (token, d_in).
        among: Tokens that are returned, unless they are sinks; all by default. What is a sink is
            told by the norms of all tokens.

    Returns:
        The residuals.
    """
    mask = ordinary(acts.norm(dim=-1))
    if among is not None:
        mask = mask & among
    return acts[mask]
