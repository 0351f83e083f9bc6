"""What would make this dictionary fit? Each repair is one change of what it reads or of its weights, and its fvu.

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
from persona_interp.models.outliers import ordinary

GRID = tuple(
    2.0**k for k in range(-7, 8)
)  # factors tried first; then REFINE times half as far apart
REFINE = 4
PARTS = {  # which weights a fault may have scaled, besides the residual itself
    "encoder": ("W_enc", "b_enc", "b_gate", "b_mag"),
    "encoder without its bias": ("W_enc",),
    "decoder": ("W_dec",),
    "decoder with its bias": ("W_dec", "b_dec"),
}
BATCH = 32  # documents
EPS = 1e-12


class Read(NamedTuple):
    """Residuals of the tokens measured.

    Attributes:
        acts: By hook, dims (token, d_in).
        roles: Role of each token.
        first: Which tokens are the first of their document, no BOS before them.
        opening: Which tokens are the first measured of their document.
        norms: By hook, norms of all residuals, special tokens such as BOS included.
    """

    acts: dict[str, Tensor]
    roles: np.ndarray
    first: Tensor
    opening: Tensor
    norms: dict[str, Tensor]


class Repair(NamedTuple):
    """A change and the fraction of variance that is unexplained with it.

    Attributes:
        name: What was changed.
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


def read(bridge: Any, tokens: Tokens, *, hooks: Sequence[str], where: Sequence[str]) -> Read:
    """Which residuals do these documents leave at these hooks?

    Args:
        bridge: A booted model.
        tokens: Tokens of ``encode``.
        hooks: Canonical names.
        where: Roles of the tokens measured.

    Returns:
        Their residuals, float32.
    """
    marks = [torch.as_tensor(marked) for marked in tokens.marks(where)]
    parts: dict[str, list[Tensor]] = {hook: [] for hook in hooks}
    norms: dict[str, list[Tensor]] = {hook: [] for hook in hooks}
    roles: list[np.ndarray] = []
    first: list[Tensor] = []
    opening: list[Tensor] = []
    for row, found in hidden(bridge, tokens, hooks=hooks, batch=BATCH):
        for hook, acts in found.items():
            parts[hook].append(acts[marks[row]].float().cpu())
            norms[hook].append(acts.float().norm(dim=-1).cpu())
        roles.append(np.asarray(tokens.roles[row], dtype=str)[marks[row].numpy()])
        first.append((torch.arange(len(marks[row])) == 0)[marks[row]])
        opening.append(torch.arange(int(marks[row].sum())) == 0)
    return Read(
        {hook: torch.cat(list_) for hook, list_ in parts.items()},
        np.concatenate(roles),
        torch.cat(first),
        torch.cat(opening),
        {hook: torch.cat(list_) for hook, list_ in norms.items()},
    )


def toggle_bos(tokens: Tokens, bos: int) -> Tokens:
    """What are these documents with a BOS where they have none, and without it where they have one?

    Args:
        tokens: Tokens of ``encode``.
        bos: Id of the BOS.

    Returns:
        The same tokens, each row longer or shorter by one.

    >>> one = Tokens(([9, 5],), (["special", "text"],), ([False, True],), ([-1, 0],), (1,))
    >>> toggle_bos(one, 9).ids, toggle_bos(toggle_bos(one, 9), 9) == one
    (([5],), True)
    """
    has = [ids[0] == bos and len(ids) > 1 for ids in tokens.ids]

    def each(rows: Sequence[list[Any]], *, new: Any) -> tuple[list[Any], ...]:
        return tuple(
            row[1:] if there else [new, *row] for row, there in zip(rows, has, strict=True)
        )

    return dataclasses.replace(
        tokens,
        ids=each(tokens.ids, new=bos),
        roles=each(tokens.roles, new="special"),
        learn=each(tokens.learn, new=False),
        turns=each(tokens.turns, new=-1),
        answer_start=tuple(
            n - 1 if there else n + 1 for n, there in zip(tokens.answer_start, has, strict=True)
        ),
    )


def fvu(
    dictionary: Dictionary, acts: Tensor, *, gain: Tensor | float = 1.0, shift: Tensor | float = 0.0
) -> float:
    """Which fraction of the variance of these residuals is unexplained?

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
    found = float(error / ((acts - acts.mean(0)).double().pow(2).sum() + EPS))
    return found if math.isfinite(found) else math.inf


def gain_over(dictionary: Dictionary, here: Tensor, there: Tensor, *, gain: float = 1.0) -> float:
    """Is less unexplained there than here, beyond chance?

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
    shares = []
    for acts, factor in ((here[both], 1.0), (there[both], gain)):
        rebuilt = dictionary.decode(dictionary.encode(acts * factor)).float() / factor
        error = (acts - rebuilt).double().pow(2).sum(-1)
        shares.append(error / ((acts - acts.mean(0)).double().pow(2).sum(-1).mean() + EPS))
    less = shares[0] - shares[1]
    return float(less.mean() / (less.std() / len(less) ** 0.5 + EPS))


def rescaled(dictionary: SparseDictionary, part: str, factor: float) -> SparseDictionary:
    """What is this dictionary with a part of its weights multiplied?

    Args:
        dictionary: The dictionary; it stays as it is.
        part: One of ``PARTS``.
        factor: By how much.

    Returns:
        A copy.
    """
    sae = deepcopy(dictionary.sae)
    for name in PARTS[part]:
        if (weight := getattr(sae, name, None)) is not None:
            weight.data = weight.data * factor
    return dataclasses.replace(dictionary, sae=sae)


def scales(dictionary: Dictionary, acts: Tensor, *, weights: bool = True) -> list[Repair]:
    """Which factor on the residual, or on a part of the weights, makes it fit best?

    Args:
        dictionary: Any dictionary; weights are known of a ``SparseDictionary`` only.
        acts: Residuals, dims (token, d_in).
        weights: Also try each of ``PARTS``.

    Returns:
        The best factor of each, "input" first, with the features a token that it leaves active.
    """
    best = best_factor(lambda factor: fvu(dictionary, acts, gain=factor), name="input")
    found = [best._replace(l0=_active(dictionary, acts * best.factor))]
    if not (weights and isinstance(dictionary, SparseDictionary)):
        return found
    known: SparseDictionary = dictionary

    def error(part: str) -> Callable[[float], float]:
        return lambda factor: fvu(rescaled(known, part, factor), acts)

    for part in PARTS:
        best = best_factor(error(part), name=part)
        found.append(best._replace(l0=_active(rescaled(known, part, best.factor), acts)))
    return found


def _active(dictionary: Dictionary, acts: Tensor) -> float:
    return float((dictionary.encode(acts) != 0).double().sum(-1).mean())


def best_factor(error: Callable[[float], float], *, name: str) -> Repair:
    """At which factor is this error smallest?

    Args:
        error: From factor to fraction of variance unexplained.
        name: What the factor multiplies.

    Returns:
        The best of a grid of powers of 2 from 1/128 to 128, refined around it to 5 % of the factor.
    """
    tried = {factor: error(factor) for factor in GRID}
    step = 2.0
    for _ in range(REFINE):
        step, best = math.sqrt(step), min(tried, key=tried.__getitem__)
        tried |= {factor: error(factor) for factor in (best / step, best * step)}
    best = min(tried, key=tried.__getitem__)
    return Repair(name, best, tried[best])


def normalizations(dictionary: Dictionary, acts: Tensor) -> list[Repair]:
    """Does it fit what some training code makes of residuals before it shows them to an SAE?

    Args:
        dictionary: Any dictionary.
        acts: Residuals, dims (token, d_in).

    Returns:
        Each normalization of SAELens that depends on the token, centering with and without unit
        variance, and, for an SAE that normalizes by itself, none at all.
    """
    width, mean, inner = acts.shape[1], acts.mean(0), acts.mean(-1, keepdim=True)
    spread = (acts - mean).pow(2).mean().sqrt()
    ways: dict[str, tuple[Tensor | float, Tensor | float]] = {
        "constant_norm_rescale": (width**0.5 / acts.norm(dim=-1, keepdim=True).clamp(min=EPS), 0.0),
        "layer_norm": (1 / (acts - inner).std(-1, keepdim=True).clamp(min=EPS), inner),
        "centered": (1.0, mean),
        "centered, unit variance": (1 / spread.clamp(min=EPS), mean),
    }
    found = [
        Repair(name, 1.0, fvu(dictionary, acts, gain=g, shift=s)) for name, (g, s) in ways.items()
    ]
    if (
        isinstance(dictionary, SparseDictionary)
        and dictionary.sae.cfg.normalize_activations in ways
    ):
        plain = deepcopy(dictionary.sae)
        plain.cfg.normalize_activations = "none"
        plain._setup_activation_normalization()
        found.append(Repair("none", 1.0, fvu(dataclasses.replace(dictionary, sae=plain), acts)))
    return found


def stranger(dictionary: Dictionary, acts: Tensor, *, seed: int = 0) -> float:
    """How well would it do on residuals it knows nothing of?

    Args:
        dictionary: Any dictionary.
        acts: Residuals, dims (token, d_in).
        seed: Seed of the rotation.

    Returns:
        The null of ``fvu``: the same residuals turned about their mean by a random rotation, which
        keeps mean, norms and spectrum, with whichever of ``scales`` suits the dictionary best.
    """
    generator = torch.Generator().manual_seed(seed)
    rotation, _ = torch.linalg.qr(torch.randn(acts.shape[1], acts.shape[1], generator=generator))
    turned = (acts - acts.mean(0)) @ rotation + acts.mean(0)
    return min(repair.fvu for repair in scales(dictionary, turned))


def kept(acts: Tensor, *, of: Tensor | None = None) -> Tensor:
    """Which of these residuals are no attention sinks? Those are left out of every reading of a dictionary.

    Args:
        acts: Residuals, dims (token, d_in).
        of: Among which tokens; all by default.

    Returns:
        The residuals.
    """
    keep = ordinary(acts.norm(dim=-1))
    return acts[keep if of is None else keep & of]
