"""Was this dictionary made for this model, this hook and this scale? If not: what is wrong first?

What is measured comes before what is stated. Neighboring hooks, factors, normalizations and the BOS
are tried one at a time; the repair that leaves least unexplained names the cause, if it leaves
clearly less than the dictionary as it is. Where nothing helps and residuals turned at random do no
worse, the dictionary was made for another model.
"""

import dataclasses
import math
from collections.abc import Iterable, Mapping
from typing import Any

import pandas as pd
import torch
from torch import Tensor
from tqdm import tqdm

from persona_interp import schema
from persona_interp.dictionaries.checks import diagnosis_rows
from persona_interp.dictionaries.dictionary import Dictionary
from persona_interp.dictionaries.examination import Examination
from persona_interp.dictionaries.fidelity import measure
from persona_interp.dictionaries.harvest import CONTENT_ROLES, sample_tokens
from persona_interp.dictionaries.hooks import neighbors, resolve_hook
from persona_interp.dictionaries.inputs import AnyDictionary, as_dictionary
from persona_interp.dictionaries.precision import precision
from persona_interp.dictionaries.repairs import (
    Repair,
    Residuals,
    drop_sinks,
    fvu,
    mean_l0,
    normalizations,
    null_fvu,
    paired_z,
    read_residuals,
    scales,
    toggle_bos,
)
from persona_interp.models import Checkpoint, Tokens, boot
from persona_interp.models.device import Batch
from persona_interp.models.dtype import AUTO, FULL
from persona_interp.models.inputs import list_checkpoints
from persona_interp.models.tokens import added_bos
from persona_interp.readers import read
from persona_interp.schema.words import FITS_FVU
from persona_interp.values import as_tuple

SCAN = 1000
"""Tokens of the searches."""
SCAN_MIN = 256
"""Tokens of the searches in a dictionary however wide."""
WORK = 2e10
"""Multiplications of one reading at most: wide dictionaries are searched on fewer tokens."""


def diagnose(
    dictionary: AnyDictionary,
    checkpoints: Checkpoint | Iterable[Checkpoint],
    corpus: Any,
    *,
    n_tokens: int = 4000,
    where: Iterable[str] = CONTENT_ROLES,
    device: object = None,
    dtype: str = FULL,
    batch: Batch = AUTO,
) -> pd.DataFrame:
    """Diagnosis of a dictionary on some checkpoints: does it fit, and if not, the first cause.

    Args:
        dictionary: The dictionary, ours or one of ``load_pretrained``.
        checkpoints: The model it was made for, then finetunes of it, which are compared with the
            first.
        corpus: Ordinary text: a corpus table, or anything that ``readers.read`` takes; best
            one the dictionary was not trained on.
        n_tokens: About how many tokens to measure on; documents are drawn with a fixed seed.
        where: Roles of these tokens; all but special tokens such as BOS by default.
        device: Where the models compute; by default "cuda" where there is one.
        dtype: Of the models, "float32", "bfloat16", or "auto" for whichever is faster here.
        batch: Tokens a forward pass, padding included; "auto": what fits into memory.

    Returns:
        A diagnosis table, one row a checkpoint and check: ``value`` beside its ``reference``,
        ``verdict`` (green, amber, red) and ``text``; ``cause`` is the same in all rows of a
        checkpoint: "wrong layer", "input scale", "unfolded normalization", "first token / BOS
        handling", "dtype", "made for another model", or "" for nothing. Of a finetune whose base it
        fits, hook and scale are no cause: how far it moved is check "drift". The last row, check
        "overall", is the sentence to read.

    Raises:
        ModelError: A checkpoint cannot be booted.
        SchemaError: No document has a token of these roles, or a role is unknown.
    """
    dictionary, where = as_dictionary(dictionary), as_tuple(where)
    corpus = read(corpus, "documents")
    tables: list[pd.DataFrame] = []
    base: Examination | None = None
    for checkpoint in tqdm(list_checkpoints(checkpoints), desc="doctor", delay=2):
        bridge = boot(checkpoint, device=device, dtype=dtype)
        tokens = sample_tokens(bridge.tokenizer, corpus, n_tokens=n_tokens, seed=0, where=where)
        exam = examine(dictionary, bridge, tokens, where=where, batch=batch)
        exam.base_fits = base is not None and not base.cause
        table = pd.DataFrame(diagnosis_rows(exam, base))
        table.insert(0, "checkpoint", checkpoint.label)
        tables.append(table.assign(cause=exam.cause))
        base = base or exam
    return schema.check(pd.concat(tables, ignore_index=True), "diagnosis")


@torch.inference_mode()
def examine(
    dictionary: Dictionary,
    bridge: Any,
    tokens: Tokens,
    *,
    where: tuple[str, ...],
    batch: Batch = AUTO,
) -> Examination:
    """Examine what speaks for and against a dictionary on a booted model.

    Args:
        dictionary: The dictionary.
        bridge: A booted model.
        tokens: Tokens of ``encode``.
        where: Roles of the tokens measured.
        batch: Tokens a forward pass; "auto": what fits into memory.

    Returns:
        Everything measured and stated; its ``cause`` weighs it.
    """
    hook = resolve_hook(bridge, dictionary.hook)
    hooks = neighbors(bridge, hook)
    if hook in bridge.hook_dict:
        hooks = [hook, *hooks]
    reading: dict[str, Any] = {"where": where, "batch": batch}
    residuals = read_residuals(bridge, tokens, hooks=hooks, **reading)
    scan = _scan_rows(dictionary, len(residuals.first))
    # some hooks have a dimension of heads besides: those are of no width that a dictionary reads
    widths = {name: acts.shape[-1] for name, acts in residuals.acts.items() if acts.ndim == 2}
    samples = {}
    for name, width in widths.items():
        if width == dictionary.d_in:
            samples[name] = residuals.acts[name][scan]
    bos = _bos_id(bridge)
    exam = Examination(
        hook,
        dictionary.d_in,
        widths,
        dict(getattr(dictionary, "provenance", {})),
        precision(dictionary),
        layers=_other_layers(dictionary, samples, hook),
        adds_bos=added_bos(bridge.tokenizer) is not None,
        starts_with_bos=sum(ids[0] == bos for ids in tokens.ids) / len(tokens),
    )
    if hook not in samples:
        if exam.layers:
            nearest = min(exam.layers, key=lambda repair: repair.fvu).name
            exam.null_fvu = null_fvu(dictionary, drop_sinks(samples[nearest]))
        return exam
    acts = drop_sinks(samples[hook])
    measurements = {
        "fidelity": measure(dictionary, bridge, tokens, **reading),
        **_measure_fit(dictionary, acts),
        **_measure_parts(dictionary, residuals, hook, where),
        **_measure_scales(dictionary, acts, residuals.norms[hook], exam.facts),
    }
    if bos is not None:
        other = read_residuals(bridge, toggle_bos(tokens, bos), hooks=[hook], **reading)
        measurements |= _measure_bos(dictionary, residuals, other, hook=hook, scan=scan)
    return dataclasses.replace(exam, **measurements)


def _scan_rows(dictionary: Dictionary, n: int) -> Tensor:
    """Rows of the searches, drawn at random among n tokens."""
    affordable = int(WORK / (dictionary.d_in * dictionary.d_sae))
    order = torch.randperm(n, generator=torch.Generator().manual_seed(0))
    return order[: min(SCAN, max(SCAN_MIN, affordable))]


def _bos_id(bridge: Any) -> int | None:
    """BOS of the tokenizer, or of the model where the tokenizer has forgotten it."""
    bos = bridge.tokenizer.bos_token_id
    if bos is not None:
        return bos
    return getattr(bridge.original_model.config, "bos_token_id", None)


def _other_layers(dictionary: Dictionary, samples: Mapping[str, Tensor], hook: str) -> list[Repair]:
    """The same dictionary at each other hook; how surely it is better only where both are read."""
    repairs = []
    for name, acts in samples.items():
        if name == hook:
            continue
        z = math.inf
        if hook in samples:
            z = paired_z(dictionary, samples[hook], acts)
        repairs.append(Repair(name, 1.0, fvu(dictionary, drop_sinks(acts)), z))
    return repairs


def _measure_fit(dictionary: Dictionary, acts: Tensor) -> dict[str, Any]:
    """How well it fits as it is."""
    rebuilt = dictionary.decode(dictionary.encode(acts)).float()
    return {
        "fvu": fvu(dictionary, acts),
        "l0": mean_l0(dictionary, acts),
        "norm_ratio": float((rebuilt.norm(dim=-1) / acts.norm(dim=-1)).mean()),
        "cosine": float(torch.cosine_similarity(rebuilt, acts, dim=-1).mean()),
    }


def _measure_parts(
    dictionary: Dictionary, residuals: Residuals, hook: str, where: tuple[str, ...]
) -> dict[str, Any]:
    """How well it fits first tokens, all others, and tokens of each role."""
    acts = residuals.acts[hook]

    def part(mask: Tensor) -> float:
        return _part_fvu(dictionary, drop_sinks(acts, among=mask), acts)

    return {
        "first_fvu": part(residuals.first),
        "rest_fvu": part(~residuals.first),
        "role_fvus": {role: part(torch.as_tensor(residuals.roles == role)) for role in where},
    }


def _measure_bos(
    dictionary: Dictionary, residuals: Residuals, other: Residuals, *, hook: str, scan: Tensor
) -> dict[str, Any]:
    """How well it fits with the other BOS handling, and first tokens with either."""
    acts = drop_sinks(other.acts[hook])
    return {
        # without its BOS a document has other tokens: rows of the scan may be beyond the last
        "toggled_fvu": fvu(dictionary, acts[scan % len(acts)]),
        "opening_fvus": {
            "read": _opening_fvu(dictionary, residuals, hook),
            "toggled": _opening_fvu(dictionary, other, hook),
        },
    }


def _opening_fvu(dictionary: Dictionary, residuals: Residuals, hook: str) -> float:
    """Fraction unexplained of the first tokens of documents; NaN where most are attention sinks."""
    acts, opening = residuals.acts[hook], residuals.opening
    no_sinks = drop_sinks(acts, among=opening)
    if len(no_sinks) < int(opening.sum()) / 2:  # sinks are what nobody describes
        return math.nan
    return _part_fvu(dictionary, no_sinks, acts)


def _measure_scales(
    dictionary: Dictionary, acts: Tensor, norms: Tensor, facts: Mapping[str, Any]
) -> dict[str, Any]:
    """How well it fits with factors and normalizations, and, unless it fits, by chance."""
    # Training codes scale residuals to a mean norm of sqrt(d_in) (SAELens), or to a mean squared
    # norm of d_in (Templeton et al. 2024) or of 1 (dictionary_learning). Whether sinks were among
    # the residuals of the training nobody knows: both are derived.
    width = dictionary.d_in**0.5
    populations = (norms, acts.norm(dim=-1))
    implied = [width / float(of.mean()) for of in populations]
    for of in populations:
        root_mean_square = float(of.pow(2).mean().sqrt())
        implied += [width / root_mean_square, 1.0 / root_mean_square]
    factor = facts.get("scaling_factor") or implied[0]
    fits = fvu(dictionary, acts) <= FITS_FVU
    whole, *parts = scales(dictionary, acts, weights=not fits)
    whole = whole._replace(z=paired_z(dictionary, acts, acts, gain=whole.factor))
    measurements: dict[str, Any] = {
        "implied_factors": implied,
        "stated_scale": Repair("input", factor, fvu(dictionary, acts, gain=factor)),
        "scales": [whole, *parts],
        "normalizations": normalizations(dictionary, acts),
    }
    if not fits:
        measurements["null_fvu"] = null_fvu(dictionary, acts)
    return measurements


def _part_fvu(dictionary: Dictionary, part: Tensor, whole: Tensor) -> float:
    """Mean squared error of a part of the residuals over the variance of all; NaN for no part."""
    if not len(part):
        return math.nan
    rebuilt = dictionary.decode(dictionary.encode(part)).float()
    error = (part - rebuilt).double().pow(2).sum(-1).mean()
    usual = drop_sinks(whole)
    return float(error / (usual - usual.mean(0)).double().pow(2).sum(-1).mean())
