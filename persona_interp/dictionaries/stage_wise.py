"""Which features does a finetune turn, whichever came first: the new documents or the new model?

An SAE of the base is finetuned along two paths (Bricken et al. 2024, "Stage-wise model diffing"):
to the new documents and then to the tuned model, and to the tuned model and then to the new
documents.
A feature that new documents alone turn says nothing of the finetune; one that turns at both swaps
of the model, and at neither swap of the documents, does.
"""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import pandas as pd
from torch import Tensor
from torch.nn.functional import cosine_similarity

from persona_interp.dictionaries.dictionary import SparseDictionary
from persona_interp.dictionaries.finetuning import as_start, finetune, usual_k
from persona_interp.dictionaries.harvest import CONTENT_ROLES
from persona_interp.dictionaries.inputs import AnyDictionary
from persona_interp.dictionaries.same_tokens import Checkpoints, SameTokens, same_tokens
from persona_interp.errors import ModelError

TURNED = 0.9
"""Cosine under which a decoder row counts as turned."""


class StageWise(NamedTuple):
    """What both paths did to every feature.

    Attributes:
        table: One row a feature: the cosine between its decoder before and after each of the four
            finetunings (``data_first_data``, ``data_first_model``, ``model_first_model``,
            ``model_first_data``), and ``turned_by_model``: under .9 at both swaps of the model and
            at neither swap of the documents.
        dictionaries: The four dictionaries, by the same names.
    """

    table: pd.DataFrame
    dictionaries: dict[str, SparseDictionary]


def stage_wise(
    start: AnyDictionary,
    checkpoints: Checkpoints = None,
    corpora: Sequence[Any] | None = None,
    *,
    hook: str = "",
    residuals: Sequence[Any] | None = None,
    k: float | None = None,
    steps: int = 1500,
    batch: int = 1024,
    lr: float = 1e-3,
    n_tokens: int = 120_000,
    where: Iterable[str] = CONTENT_ROLES,
    seed: int = 0,
) -> StageWise:
    """Finetune an SAE of the base to new documents and to the tuned model, in both orders.

    Args:
        start: SAE of the base on the old documents.
        checkpoints: Base and tuned checkpoint; beside ``residuals`` their labels.
        corpora: The old documents and the new ones.
        hook: Hook name; by default the start's.
        residuals: Instead of checkpoints and corpora: residuals on the old documents and on the
            new ones, each of dims (checkpoint, token, d_model), or each a list of two recordings
            (``keep_activations``), the base first.
        k: Features active a token; by default the start's, measured on the base and the old
            documents where its provenance does not say.
        steps: Training steps of each finetuning.
        batch: Residuals a step.
        lr: Learning rate.
        n_tokens: Tokens harvested of each corpus.
        where: Roles of these tokens.
        seed: Seed of documents and batches.

    Returns:
        Cosines of every feature's decoder along both paths, and the dictionaries.

    Raises:
        ModelError: There are not two checkpoints and two corpora, or as in ``finetune``.
        SchemaError: As in ``crosscoder``.
    """
    own = as_start(start)
    sources = corpora if residuals is None else residuals
    if sources is None or len(sources) != 2:
        raise ModelError(
            "stage_wise needs two sets of documents, the old and the new: corpora=(old, new), or "
            "residuals=(on old, on new)."
        )
    both: list[SameTokens] = []
    for source in sources:
        given = {"corpus": source} if residuals is None else {"residuals": source}
        same = same_tokens(
            checkpoints, hook=hook or own.hook, n_tokens=n_tokens, seed=seed, where=where, **given
        )
        if len(same.residuals) != 2:
            raise ModelError(f"stage_wise compares base and tuned; got {len(same.residuals)}.")
        both.append(same)
    old, new = (same.residuals for same in both)
    # of the tuned model's residuals the start's thresholds would let more through
    k = usual_k(own, old[:1]) if k is None else k
    settings: dict[str, Any] = {"k": k, "steps": steps, "batch": batch, "lr": lr, "seed": seed}
    stages: dict[str, SparseDictionary] = {}
    for path, (first, second) in {
        "data_first": (("data", new[:1]), ("model", new[1:])),
        "model_first": (("model", old[1:]), ("data", new[1:])),
    }.items():
        current = own
        for swap, acts in (first, second):
            name = f"{path}_{swap}"
            current = stages[name] = finetune(current, acts, name=name, **settings)
    before = {"data_first_model": "data_first_data", "model_first_data": "model_first_model"}
    cosines = {
        name: _cosine(stages[before[name]].W_dec if name in before else own.W_dec, stage.W_dec)
        for name, stage in stages.items()
    }
    table = pd.DataFrame({name: values.numpy() for name, values in cosines.items()})
    turned = table < TURNED
    table["turned_by_model"] = (
        turned["data_first_model"]
        & turned["model_first_model"]
        & ~turned["data_first_data"]
        & ~turned["model_first_data"]
    )
    return StageWise(table.rename_axis("feature").reset_index(), stages)


def _cosine(one: Tensor, other: Tensor) -> Tensor:
    """Cosine of each decoder row with itself later."""
    return cosine_similarity(one, other, dim=1)
