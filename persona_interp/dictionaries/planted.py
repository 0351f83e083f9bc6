"""What would a crosscoder have to find? Residuals of checkpoints whose features are planted.

Every feature has a direction at each checkpoint and fires on the same tokens at all of them. What
a finetune does is one change from one checkpoint on: it is amplified, shrinks, turns, is born,
dies, or splits in two. Documents differ in what they are about, so that tokens of one document are
no independent draws, and features of one group (a persona and its traits) fire together.

``sae_lens.synthetic`` plants one model: no checkpoints, no documents, and its correlation is that
of a Gaussian behind the firing (.8 there is a correlation of .44 where each fires on 5 %). Here the
correlation is the one of the firing itself, so only its idea is used.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import sparse

from persona_interp.errors import SchemaError, unknown
from persona_interp.schema.words import Status

Array = npt.NDArray[np.float64]
SHARES: Mapping[str, float] = {
    Status.SHARED: 0.5,
    Status.AMPLIFIED: 0.08,
    Status.ROTATED: 0.1,
    Status.SHRUNK: 0.08,
    Status.BORN: 0.08,
    Status.DIED: 0.08,
    Status.SPLIT: 0.08,
}
"""Which share of the features has which status, by default."""
NO_EFFECT: Mapping[str, float] = {Status.SHARED: 1.0}
"""Shares under which nothing changes."""
CHUNK = 8192
"""Tokens drawn at once."""


@dataclass(frozen=True)
class Plan:
    """What is planted.

    Attributes:
        n_checkpoints: Checkpoints.
        d_model: Width of the residual.
        n_features: Features; over ``d_model`` it is the overcompleteness.
        n_tokens: Tokens.
        active: Features active a token, on average.
        shares: Share of each status among the features.
        correlation: Correlation between the firing of two features of one group.
        group: Features of a group, a persona and its traits.
        tail: Exponent by which firing falls with the rank of a group; 0 = all equally often.
        spread: Spread (sd of the log) of magnitudes.
        topics: How much documents differ: squared coefficient of variation of a group's firing.
        per_document: Tokens of a document.
        noise: Length of the noise beside a feature's unit length.
        scales: Factor of each checkpoint's residuals; none draws them from 0.5 to 2.
        gain: Norm of an amplified feature after, over before.
        shrink: Norm of a shrunk feature after, over before.
        angle: By how many degrees rotated and split features turn.
        faint: Share of the amplified features that has 5 to 15 % of its later norm before: there,
            though a reader of decoder norms would call them born (the artifact of shrinkage).
        composed: Share of the rotated features whose direction before is the sum of two others'
            (the artifact of decoupling).
    """

    n_checkpoints: int = 5
    d_model: int = 64
    n_features: int = 128
    n_tokens: int = 150_000
    active: float = 4.0
    shares: Mapping[str, float] = field(default_factory=lambda: SHARES)
    correlation: float = 0.0
    group: int = 4
    tail: float = 0.5
    spread: float = 0.4
    topics: float = 0.5
    per_document: int = 50
    noise: float = 0.1
    scales: tuple[float, ...] = ()
    gain: float = 2.5
    shrink: float = 0.3
    angle: float = 60.0
    faint: float = 0.0
    composed: float = 0.0


class Planted(NamedTuple):
    """Residuals and what they are made of.

    Attributes:
        residuals: float32, dims (checkpoint, token, d_model).
        documents: Document of every token.
        decoders: Direction times norm of every feature, dims (checkpoint, feature, d_model), in
            units of the residuals.
        truth: One row a feature: ``feature``, ``status``, ``at`` (first checkpoint after the
            change; -1 for none), ``artifact`` ("", "shrinkage", "decoupling"), ``group``, ``rate``
            (share of tokens on which it fires).
        acts: Activations, sparse, dims (token, feature).
    """

    residuals: npt.NDArray[np.float32]
    documents: npt.NDArray[np.int64]
    decoders: Array
    truth: pd.DataFrame
    acts: sparse.csr_array


def plant(plan: Plan, *, seed: int) -> Planted:
    """Residuals in which features change as planned.

    Args:
        plan: What is planted.
        seed: Seed of everything.

    Returns:
        The residuals, the decoders behind them and the truth.

    Raises:
        SchemaError: An unknown status, or shares that do not sum to 1.

    >>> tiny = Plan(n_checkpoints=2, d_model=8, n_features=10, n_tokens=100, active=2.0)
    >>> planted = plant(tiny, seed=0)
    >>> planted.residuals.shape, planted.decoders.shape
    ((2, 100, 8), (2, 10, 8))
    >>> planted.truth["status"].value_counts()["shared"]
    np.int64(5)
    """
    rng = np.random.default_rng(seed)
    truth = _truth(plan, rng)
    decoders = _decoders(plan, truth, rng)
    drawn = np.exp(rng.uniform(np.log(0.5), np.log(2), plan.n_checkpoints))
    scales = np.array(plan.scales) if plan.scales else drawn
    decoders *= scales[:, None, None]
    # as in real residual streams the mean is long, and about the same at every checkpoint
    means = rng.standard_normal((plan.n_checkpoints, plan.d_model))
    offsets = (3 * means[0] + 0.05 * means) * scales[:, None]
    documents = np.arange(plan.n_tokens) // plan.per_document
    topics = _topics(plan, rng, n_documents=int(documents[-1]) + 1)
    shape = (plan.n_checkpoints, plan.n_tokens, plan.d_model)
    residuals = np.empty(shape, dtype=np.float32)
    sd = plan.noise / np.sqrt(plan.d_model) * scales
    parts = []
    for start in range(0, plan.n_tokens, CHUNK):
        rows = slice(start, min(start + CHUNK, plan.n_tokens))
        acts = _firing(plan, truth, topics[documents[rows]], rng)
        parts.append(sparse.csr_array(acts))
        for i in range(plan.n_checkpoints):
            blur = rng.standard_normal((len(acts), plan.d_model)) * sd[i]
            residuals[i, rows] = acts @ decoders[i] + offsets[i] + blur
    activations = sparse.csr_array(sparse.vstack(parts))
    rate = np.diff(activations.tocsc().indptr) / plan.n_tokens
    return Planted(residuals, documents, decoders, truth.assign(rate=rate), activations)


def _truth(plan: Plan, rng: np.random.Generator) -> pd.DataFrame:
    """What each feature does, and when."""
    for status in plan.shares:
        if status not in SHARES:
            raise SchemaError(unknown("status", status, SHARES))
    if not np.isclose(sum(plan.shares.values()), 1):
        raise SchemaError(f"shares must sum to 1; these sum to {sum(plan.shares.values()):g}.")
    statuses: list[str] = []
    for status, share in plan.shares.items():
        if status != Status.SHARED:
            n = round(share * plan.n_features)
            # a feature that splits is two features that had one direction
            statuses += [str(status)] * (n - n % 2 if status == Status.SPLIT else n)
    statuses += [str(Status.SHARED)] * (plan.n_features - len(statuses))
    changes = rng.integers(1, plan.n_checkpoints, plan.n_features) if plan.n_checkpoints > 1 else 0
    truth = pd.DataFrame({"feature": range(plan.n_features), "status": statuses, "at": changes})
    truth.loc[truth["status"] == Status.SHARED, "at"] = -1
    splits = np.flatnonzero(truth["status"].to_numpy() == Status.SPLIT)
    truth.loc[splits[1::2], "at"] = truth.loc[splits[::2], "at"].to_numpy()
    truth["artifact"] = ""
    for status, share, artifact in (
        (Status.AMPLIFIED, plan.faint, "shrinkage"),
        (Status.ROTATED, plan.composed, "decoupling"),
    ):
        rows = np.flatnonzero(truth["status"].to_numpy() == status)
        truth.loc[rows[: round(share * len(rows))], "artifact"] = artifact
    # groups mix statuses: a persona that is born sits beside traits that were there
    n_groups = -(-plan.n_features // plan.group)
    truth["group"] = rng.permutation(np.arange(plan.n_features) % n_groups)
    return truth


def _decoders(plan: Plan, truth: pd.DataFrame, rng: np.random.Generator) -> Array:
    """Decoders over checkpoints, in units of one checkpoint's scale."""
    unit = _units(rng, plan.n_features, plan.d_model)
    splits = np.flatnonzero(truth["status"].to_numpy() == Status.SPLIT)
    unit[splits[1::2]] = unit[splits[::2]]
    after, before = unit.copy(), unit.copy()
    is_a = {status: (truth["status"] == status).to_numpy() for status in SHARES}
    before[is_a[Status.BORN]] = 0
    after[is_a[Status.DIED]] = 0
    after[is_a[Status.SHRUNK]] *= plan.shrink
    before[is_a[Status.AMPLIFIED]] /= plan.gain
    faint = (truth["artifact"] == "shrinkage").to_numpy()
    low = np.exp(rng.uniform(np.log(0.05), np.log(0.15), int(faint.sum())))
    before[faint] = unit[faint] * low[:, None]
    turns = is_a[Status.ROTATED] | is_a[Status.SPLIT]
    after[turns] = _turn(unit[turns], plan.angle, rng)
    composed = np.flatnonzero((truth["artifact"] == "decoupling").to_numpy())
    shared = np.flatnonzero(is_a[Status.SHARED])
    for i in composed:
        before[i] = unit[rng.choice(shared, 2, replace=False)].sum(axis=0) / np.sqrt(2)
    at = truth["at"].to_numpy()
    steps = np.arange(plan.n_checkpoints)[:, None]
    is_after = ((at >= 0) & (steps >= at))[..., None]
    return np.where(is_after, after, before)


def _units(rng: np.random.Generator, *shape: int) -> Array:
    """Random directions."""
    directions = rng.standard_normal(shape)
    return directions / np.linalg.norm(directions, axis=-1, keepdims=True)


def _turn(unit: Array, degrees: float, rng: np.random.Generator) -> Array:
    """Directions turned by an angle, each toward a random one."""
    other = rng.standard_normal(unit.shape)
    other -= (other * unit).sum(-1, keepdims=True) * unit
    other /= np.linalg.norm(other, axis=-1, keepdims=True)
    angle = np.deg2rad(degrees)
    return np.cos(angle) * unit + np.sin(angle) * other


def _topics(plan: Plan, rng: np.random.Generator, *, n_documents: int) -> Array:
    """Rate at which each group fires in each document, dims (document, group)."""
    n_groups = -(-plan.n_features // plan.group)
    rates = (1.0 + np.arange(n_groups)) ** -plan.tail
    rates *= plan.active / plan.n_features / rates.mean()
    if not plan.topics:
        return np.broadcast_to(rates, (n_documents, n_groups)).clip(max=0.5)
    about = rng.gamma(1 / plan.topics, plan.topics, (n_documents, n_groups))
    return (rates * about).clip(max=0.5)


def _firing(plan: Plan, truth: pd.DataFrame, rates: Array, rng: np.random.Generator) -> Array:
    """Activations, dims (token, feature).

    With probability sqrt(c) a feature fires when its group's coin says so, else by a coin of its
    own with the same rate; two features of a group so have correlation c.
    """
    group = truth["group"].to_numpy()
    own = rates[:, group]
    coin = (rng.random(rates.shape) < rates)[:, group]
    follows = rng.random(own.shape) < np.sqrt(plan.correlation)
    fires = np.where(follows, coin, rng.random(own.shape) < own)
    magnitudes = np.exp(plan.spread * rng.standard_normal(own.shape) - plan.spread**2 / 2)
    return fires * magnitudes


def match(decoders: Any, planted: Any) -> pd.DataFrame:
    """Which feature of a dictionary is which planted one: the best cosine of each.

    Args:
        decoders: Of the dictionary, dims (checkpoint, feature, d_model), or (feature, width).
        planted: Of the truth, the same dims.

    Returns:
        One row a planted feature: ``planted``, ``feature`` (nearest of the dictionary), ``cosine``
        (over all checkpoints together).

    >>> match(np.eye(3)[None], np.eye(3)[None, ::-1])["feature"].tolist()
    [2, 1, 0]
    """
    flat = []
    for side in (decoders, planted):
        rows = np.asarray(side, dtype=np.float64)
        rows = np.moveaxis(rows, -2, 0).reshape(rows.shape[-2], -1)
        flat.append(rows / np.linalg.norm(rows, axis=1, keepdims=True).clip(1e-12))
    cosines = flat[1] @ flat[0].T
    nearest = cosines.argmax(axis=1)
    best = cosines[np.arange(len(cosines)), nearest]
    return pd.DataFrame({"planted": range(len(best)), "feature": nearest, "cosine": best})
