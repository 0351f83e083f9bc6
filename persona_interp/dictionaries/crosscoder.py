"""Which features do several checkpoints share, and how is each written at every one of them?

A crosscoder (Lindsey et al. 2024) is one SAE on the residuals that one token leaves at several
checkpoints, side by side: a feature fires once and has a decoder for every checkpoint. Here it is
SAELens' BatchTopK SAE, which invents fewer features of one checkpoint alone than an L1 penalty does
(Minder et al. 2025, arXiv 2504.02922). Each checkpoint is centered and scaled on its own before,
and both are folded into the weights after, so that the saved SAE takes raw residuals and opens in
plain SAELens.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from persona_interp.dictionaries.blocks import as_differences, as_rows, side_by_side
from persona_interp.dictionaries.dictionary import (
    SparseDictionary,
    open_dictionary,
    save_dictionary,
)
from persona_interp.dictionaries.harvest import CONTENT_ROLES
from persona_interp.dictionaries.saelens import build
from persona_interp.dictionaries.saelens_training import Rows, Settings, train_rows
from persona_interp.dictionaries.same_tokens import Checkpoints, same_tokens
from persona_interp.dictionaries.untangle import untangle
from persona_interp.errors import ModelError, unknown
from persona_interp.schema.words import Sparsity

MOST_ROUNDS = 3
SAMPLE = 10_000
"""Training tokens that fvu and l0 of the provenance are measured on."""


@dataclass(frozen=True, eq=False)
class Crosscoder:
    """Features that several checkpoints share, each with a decoder for every checkpoint.

    Attributes:
        dictionary: The SAE on the checkpoints' residuals side by side.
    """

    dictionary: SparseDictionary

    def __repr__(self) -> str:
        """What it is, its convention included."""
        facts = self.dictionary.provenance
        return (
            f"Crosscoder of {', '.join(self.checkpoints)} at {self.hook}: {self.d_sae} features, "
            f"k {facts['k']:g}, sparsity by {self.sparsity}"
        )

    @property
    def checkpoints(self) -> list[str]:
        """Labels of the checkpoints, in order."""
        return list(self.dictionary.provenance["checkpoints"])

    @property
    def hook(self) -> str:
        """Hook whose residuals it reads."""
        return self.dictionary.hook

    @property
    def sparsity(self) -> str:
        """By what features were ranked in training: a word of ``Sparsity``."""
        return self.dictionary.provenance["sparsity"]

    @property
    def scales(self) -> Tensor:
        """Root mean square of each checkpoint's centered residuals, dims (checkpoint,)."""
        return torch.tensor(self.dictionary.provenance["scales"])

    @property
    def d_sae(self) -> int:
        """Number of features."""
        return self.dictionary.d_sae

    @property
    def decoders(self) -> Tensor:
        """Decoders in residual units, dims (checkpoint, feature, d_model)."""
        weights = self.dictionary.W_dec
        return weights.view(len(weights), len(self.checkpoints), -1).transpose(0, 1)

    def encode(self, residuals: Tensor) -> Tensor:
        """Activations, dims (checkpoint, token, d_model) to (token, feature)."""
        return self.dictionary.encode(side_by_side(residuals))

    def decode(self, feats: Tensor) -> Tensor:
        """Residuals rebuilt, dims (token, feature) to (checkpoint, token, d_model)."""
        rows = self.dictionary.decode(feats)
        return rows.view(len(rows), len(self.checkpoints), -1).transpose(0, 1)

    def at(self, checkpoint: str) -> SparseDictionary:
        """The same features as a dictionary that reads, and writes, one checkpoint alone.

        The other checkpoints' residuals of a token are taken to be where this one's is, centered
        and scaled: true of copies, about true of checkpoints that training moved little. How well
        it describes the checkpoint is what ``fidelity`` says, as of any dictionary; with it
        features are read, edited and steered as those of any other.

        Args:
            checkpoint: Label of one of the checkpoints.

        Returns:
            The dictionary; its features are numbered as here.

        Raises:
            ModelError: The crosscoder is of no such checkpoint.
        """
        if checkpoint not in self.checkpoints:
            raise ModelError(unknown("checkpoint", checkpoint, self.checkpoints))
        k, own = self.checkpoints.index(checkpoint), self.dictionary
        sae, n = own.sae, len(self.checkpoints)
        center = own.mean.double().cpu().view(n, -1)
        ratio = (self.scales.double() / self.scales[k].double())[:, None]
        encoder = sae.W_enc.detach().double().cpu().view(n, -1, own.d_sae)
        origin = center - ratio * center[k]
        bias = sae.b_dec.detach().double().cpu().view(n, -1)
        if sae.cfg.apply_b_dec_to_input:
            origin = origin - bias
        weights = {
            **sae.state_dict(),
            "W_enc": (ratio[..., None] * encoder).sum(dim=0),
            "b_enc": sae.b_enc.double().cpu() + torch.einsum("kd,kdf->f", origin, encoder),
            "W_dec": self.decoders[k],
            "b_dec": bias[k],
        }
        config = {**sae.cfg.to_dict(), "d_in": center.shape[1], "apply_b_dec_to_input": False}
        weights = {name: weight.detach().float().cpu() for name, weight in weights.items()}
        alone = build(config, weights, source=self)
        variance = float(self.scales[k].double() ** 2 * center.shape[1])
        facts = {"crosscoder": own.name, "checkpoints": [checkpoint], "k": own.provenance["k"]}
        name = f"{own.name} at {checkpoint}"
        return SparseDictionary(alone, name, self.hook, center[k].float(), variance, facts)


def crosscoder(
    checkpoints: Checkpoints = None,
    corpus: Any = None,
    *,
    hook: str = "",
    residuals: Any = None,
    d_sae: int = 512,
    k: float = 8,
    steps: int = 3000,
    batch: int = 1024,
    lr: float = 4e-3,
    n_tokens: int = 150_000,
    where: Iterable[str] = CONTENT_ROLES,
    seed: int = 0,
    sparsity: str = Sparsity.NORM,
    rounds: int = 2,
    engine: str = "saelens",
    out: str | Path | None = None,
) -> Crosscoder:
    """Train one dictionary of features on several checkpoints' residuals of the same tokens.

    Args:
        checkpoints: Checkpoints in order, or a trajectory; beside ``residuals`` their labels.
        corpus: The documents read, as in ``fit``.
        hook: Canonical hook name, ``"blocks.1.hook_out"``.
        residuals: Residuals instead of checkpoints and corpus: a tensor, array or memory map, dims
            (checkpoint, token, d_model), every checkpoint on the same tokens; or a recording of
            each (``keep_activations``), whose rows are read from the disk batch by batch.
        d_sae: Number of features.
        k: Features active a token, on average; a little more than are truly active serves best.
        steps: Training steps.
        batch: Tokens a step.
        lr: Learning rate of Adam, falling to a tenth along a cosine.
        n_tokens: Tokens harvested (no padding; attention sinks of any checkpoint left out of all).
        where: Roles of these tokens; all but special tokens such as BOS by default.
        seed: Seed of the documents drawn, the initial weights and the batches.
        sparsity: By which norm of its decoders a feature's activation counts when the k largest are
            kept: ``Sparsity.NORM`` (SAELens'), or ``Sparsity.SUM`` over checkpoints (published
            crosscoders), under which a feature of one checkpoint alone is no cheaper than a shared
            one.
        rounds: How many times features that hide behind others are told apart (``untangle``), each
            followed by a quarter of the steps; 0 trains in one go.
        engine: Who takes the steps: "saelens", or "sparse", which takes the same ones several times
            as fast (``sparse_training``).
        out: Folder to keep it in; None keeps it in memory.

    Returns:
        The crosscoder, which takes raw residuals.

    Raises:
        ModelError: Neither or both of corpus and residuals, recordings of other tokens or hooks,
            an unknown sparsity or engine, or less than one batch of tokens.
        SchemaError: No document has a token of these roles, or a role is unknown.
    """
    source = same_tokens(
        checkpoints,
        corpus,
        hook=hook,
        residuals=residuals,
        n_tokens=n_tokens,
        seed=seed,
        where=where,
    )
    rows = as_rows(source.residuals)
    n_blocks = len(source.residuals)
    settings = Settings(d_sae, k, steps, batch, lr, seed, str(sparsity), n_blocks, engine)
    about = {
        "checkpoints": source.provenance["checkpoints"],
        "sparsity": str(sparsity),
        "scales": rows.scale[:: source.residuals.shape[2]].tolist(),
    }
    # SAELens keeps the same facts beside the weights, for whoever opens them without this package
    metadata = {"hook_name": source.hook, **about}
    sae, n_untangled = _train(rows, settings, metadata=metadata, rounds=rounds)
    about |= {"rounds": rounds, "n_untangled": n_untangled}
    name = f"crosscoder-{len(source.residuals)}x{d_sae}-k{k:g}-seed{seed}"
    facts = {**source.provenance, **training_facts(settings), **about}
    own = keep(sae, rows, name=name, hook=source.hook, facts=facts)
    if out is not None:
        save_dictionary(own, out)
    return Crosscoder(own)


def _train(
    rows: Rows, settings: Settings, *, metadata: Mapping[str, Any], rounds: int
) -> tuple[Any, list[int]]:
    """The SAE after training, and how many features each round told apart."""
    if not 0 <= rounds <= MOST_ROUNDS:
        raise ModelError(f"rounds= is a number from 0 to {MOST_ROUNDS}; got {rounds}.")
    last = settings.steps // 4
    first = settings._replace(steps=settings.steps - rounds * last)
    sae = train_rows(rows, first, metadata=metadata, label="fit crosscoder")
    n_untangled = []
    for i in range(rounds):
        start, n = untangle(sae, rows)
        again = settings._replace(steps=last, lr=settings.lr / 2, seed=settings.seed + i + 1)
        label = f"fit crosscoder, round {i + 1}"
        sae = train_rows(rows, again, metadata=metadata, start=start, label=label)
        n_untangled.append(n)
    return sae, n_untangled


def difference(
    checkpoints: Checkpoints = None,
    corpus: Any = None,
    *,
    hook: str = "",
    residuals: Any = None,
    d_sae: int = 512,
    k: float = 8,
    steps: int = 3000,
    batch: int = 1024,
    lr: float = 1e-3,
    n_tokens: int = 150_000,
    where: Iterable[str] = CONTENT_ROLES,
    seed: int = 0,
    engine: str = "saelens",
    out: str | Path | None = None,
) -> SparseDictionary:
    """Train a dictionary on what a finetune changed: tuned minus base residuals of the same tokens.

    Args:
        checkpoints: Base and tuned checkpoint; beside ``residuals`` their labels.
        corpus: As in ``crosscoder``, like everything below.
        hook: Canonical hook name.
        residuals: Residuals or recordings of both, as in ``crosscoder``, the base first.
        d_sae: Number of features.
        k: Features active a token, on average.
        steps: Training steps.
        batch: Tokens a step.
        lr: Learning rate of Adam, falling to a tenth along a cosine.
        n_tokens: Tokens harvested.
        where: Roles of these tokens.
        seed: Seed of the documents drawn, the initial weights and the batches.
        engine: As in ``crosscoder``.
        out: Folder to keep it in; None keeps it in memory.

    Returns:
        A dictionary that reads differences of residuals, not residuals.

    Raises:
        ModelError: They are not two, do not differ, or as in ``crosscoder``.
        SchemaError: As in ``crosscoder``.
    """
    source = same_tokens(
        checkpoints,
        corpus,
        hook=hook,
        residuals=residuals,
        n_tokens=n_tokens,
        seed=seed,
        where=where,
    )
    rows = as_differences(source.residuals)
    settings = Settings(d_sae, k, steps, batch, lr, seed, engine=engine)
    metadata = {"hook_name": source.hook, "checkpoints": source.provenance["checkpoints"]}
    sae = train_rows(rows, settings, metadata=metadata, label="fit difference")
    name = f"difference-{d_sae}-k{k:g}-seed{seed}"
    facts = {**source.provenance, **training_facts(settings)}
    own = keep(sae, rows, name=name, hook=source.hook, facts=facts)
    if out is not None:
        save_dictionary(own, out)
    return own


def open_crosscoder(folder: str | Path) -> Crosscoder:
    """Open a crosscoder that was saved here.

    Args:
        folder: What ``crosscoder(..., out=folder)`` or ``save_dictionary`` wrote.

    Returns:
        The crosscoder, equal to the one saved.

    Raises:
        ModelError: The folder holds none.
    """
    own = open_dictionary(folder)
    missing = {"checkpoints", "sparsity", "scales"} - own.provenance.keys()
    if missing:
        raise ModelError(
            f"{folder} holds the dictionary {own.name}, which is no crosscoder; use "
            "open_dictionary."
        )
    return Crosscoder(own)


def keep(
    sae: Any, rows: Rows, *, name: str, hook: str, facts: Mapping[str, Any]
) -> SparseDictionary:
    """A trained SAE with where it comes from and how well it fits.

    Args:
        sae: What ``train_rows`` returned.
        rows: What it was trained on.
        name: What tables call it.
        hook: Whose residuals it reads.
        facts: Provenance.

    Returns:
        The dictionary; its provenance has ``fvu`` (each checkpoint scaled as in training) and
        ``l0`` beside.
    """
    numbers = torch.arange(rows.n)[:: -(-rows.n // SAMPLE)]
    sample = rows.read(numbers)
    feats = sae.encode(sample)
    error = ((sample - sae.decode(feats)) / rows.scale).double().pow(2).sum()
    spread = ((sample - sample.mean(0)) / rows.scale).double().pow(2).sum()
    fit = {"fvu": float(error / spread), "l0": float((feats != 0).double().sum(-1).mean())}
    # the scale of a column is the root mean square of its block, so this is the variance of all
    variance = float(rows.scale.double().pow(2).sum())
    return SparseDictionary(sae, name, hook, rows.center, variance, {**facts, **fit})


def training_facts(settings: Settings) -> dict[str, Any]:
    """Settings of a training, for the provenance."""
    return {key: value for key, value in settings._asdict().items() if key != "n_blocks"}
