"""Was this dictionary made for this model, this hook and this scale? If not: what is the first thing that is wrong?

What is measured comes before what is stated. Neighboring hooks, factors, normalizations and the BOS
are tried one at a time; the repair that leaves least unexplained names the cause, if it leaves
clearly less than the dictionary as it is. Where nothing helps and residuals turned at random do no
worse, the dictionary was made for another model.
"""

import math
from collections.abc import Iterable
from typing import Any

import pandas as pd
import torch
from torch import Tensor
from tqdm import tqdm

from persona_interp import schema
from persona_interp.dictionaries.checks import lines
from persona_interp.dictionaries.dictionary import Dictionary
from persona_interp.dictionaries.evidence import Evidence
from persona_interp.dictionaries.fidelity import FITS_FVU, measure
from persona_interp.dictionaries.harvest import WHERE, some_tokens
from persona_interp.dictionaries.places import located, neighbors
from persona_interp.dictionaries.precision import precision
from persona_interp.dictionaries.repairs import (
    Repair,
    fvu,
    gain_over,
    kept,
    normalizations,
    read,
    scales,
    stranger,
    toggle_bos,
)
from persona_interp.models import Checkpoint, Tokens, boot
from persona_interp.models.tokens import added_bos

SCAN = 1000  # tokens of the searches
WORK = (
    2e10  # multiplications of one reading at most: wide dictionaries are searched on fewer tokens
)


def diagnose(
    dictionary: Dictionary,
    checkpoints: Checkpoint | Iterable[Checkpoint],
    corpus: pd.DataFrame,
    *,
    n_tokens: int = 4000,
    where: Iterable[str] = WHERE,
) -> pd.DataFrame:
    """Does this dictionary fit these checkpoints, and if not, what is the first cause?

    Args:
        dictionary: The dictionary, ours or one of ``load_pretrained``.
        checkpoints: The model it was made for, then finetunes of it, which are compared with the
            first.
        corpus: A corpus table of ordinary text, best one the dictionary was not trained on.
        n_tokens: About how many tokens to measure on; documents are drawn with a fixed seed.
        where: Roles of these tokens; all but special tokens such as BOS by default.

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
    where = (where,) if isinstance(where, str) else tuple(where)
    schema.check(corpus, "corpus")
    listed = [checkpoints] if isinstance(checkpoints, Checkpoint) else list(checkpoints)
    tables: list[pd.DataFrame] = []
    base: Evidence | None = None
    for checkpoint in tqdm(listed, desc="doctor", delay=2):
        bridge = boot(checkpoint)
        tokens = some_tokens(bridge.tokenizer, corpus, n_tokens=n_tokens, seed=0, where=where)
        found = examine(dictionary, bridge, tokens, where=where)
        found.base_fits = base is not None and not base.cause
        table = pd.DataFrame(lines(found, base))
        table.insert(0, "checkpoint", checkpoint.label)
        tables.append(table.assign(cause=found.cause))
        base = base or found
    return schema.check(pd.concat(tables, ignore_index=True), "diagnosis")


@torch.inference_mode()
def examine(
    dictionary: Dictionary, bridge: Any, tokens: Tokens, *, where: tuple[str, ...]
) -> Evidence:
    """What speaks for and against this pair?

    Args:
        dictionary: The dictionary.
        bridge: A booted model.
        tokens: Tokens of ``encode``.
        where: Roles of the tokens measured.

    Returns:
        Everything measured and stated; its ``cause`` weighs it.
    """
    hook = located(bridge, dictionary.hook)
    near = neighbors(bridge, hook)
    seen = read(
        bridge, tokens, hooks=[hook, *near] if hook in bridge.hook_dict else near, where=where
    )
    n = min(SCAN, max(256, int(WORK / (dictionary.d_in * dictionary.d_sae))))
    some = torch.randperm(len(seen.first), generator=torch.Generator().manual_seed(0))[:n]
    widths = {name: acts.shape[-1] for name, acts in seen.acts.items() if acts.ndim == 2}
    sampled = {
        name: seen.acts[name][some] for name, width in widths.items() if width == dictionary.d_in
    }
    fitting = {name: kept(acts) for name, acts in sampled.items()}
    layers = []
    for name, acts in fitting.items():
        if name != hook:
            z = gain_over(dictionary, sampled[hook], sampled[name]) if hook in sampled else math.inf
            layers.append(Repair(name, 1.0, fvu(dictionary, acts), z))
    facts = dict(getattr(dictionary, "provenance", {}))
    found = Evidence(hook, dictionary.d_in, widths, facts, precision(dictionary), layers=layers)
    found.adds_bos = added_bos(bridge.tokenizer) is not None
    bos = _bos(bridge)
    found.starts_with_bos = sum(ids[0] == bos for ids in tokens.ids) / len(tokens)
    if hook not in fitting:
        if layers:
            found.null = stranger(
                dictionary, fitting[min(layers, key=lambda repair: repair.fvu).name]
            )
        return found
    acts = fitting[hook]
    found.here = fvu(dictionary, acts)
    found.fidelity = measure(dictionary, bridge, tokens, where=where)
    _describe(found, dictionary, acts)
    everything = seen.acts[hook]
    found.first = _fvu_of(dictionary, kept(everything, of=seen.first), everything)
    found.rest = _fvu_of(dictionary, kept(everything, of=~seen.first), everything)
    for role in where:
        of = torch.as_tensor(seen.roles == role)
        found.roles[role] = _fvu_of(dictionary, kept(everything, of=of), everything)
    if bos is not None:
        other = read(bridge, toggle_bos(tokens, bos), hooks=[hook], where=where)
        found.toggled = fvu(dictionary, kept(other.acts[hook])[some % len(kept(other.acts[hook]))])
        for key, one in (("read", seen), ("toggled", other)):
            ordinary = kept(one.acts[hook], of=one.opening)
            enough = (
                len(ordinary) >= int(one.opening.sum()) / 2
            )  # else they are attention sinks, which nobody describes
            found.openings[key] = _fvu_of(
                dictionary, ordinary if enough else ordinary[:0], one.acts[hook]
            )
    norms = seen.norms[hook]
    samples, width = (norms, acts.norm(dim=-1)), dictionary.d_in**0.5
    found.implied = [width / float(of.mean()) for of in samples]
    found.implied += [
        top / float(of.pow(2).mean().sqrt()) for of in samples for top in (width, 1.0)
    ]
    factor = facts.get("scaling_factor") or found.implied[0]
    found.stated = Repair("input", factor, fvu(dictionary, acts, gain=factor))
    whole, *parts = scales(dictionary, acts, weights=found.here > FITS_FVU)
    z = gain_over(dictionary, acts, acts, gain=whole.factor)
    found.scales = [whole._replace(z=z), *parts]
    found.active = float((dictionary.encode(acts) != 0).double().sum(-1).mean())
    found.normalizations = normalizations(dictionary, acts)
    if found.here > FITS_FVU:
        found.null = stranger(dictionary, acts)
    return found


def _bos(bridge: Any) -> int | None:
    """BOS of the tokenizer, or of the model where the tokenizer has forgotten it."""
    own = bridge.tokenizer.bos_token_id
    return own if own is not None else getattr(bridge.original_model.config, "bos_token_id", None)


def _describe(found: Evidence, dictionary: Dictionary, acts: Tensor) -> None:
    rebuilt = dictionary.decode(dictionary.encode(acts)).float()
    found.norm_ratio = float((rebuilt.norm(dim=-1) / acts.norm(dim=-1)).mean())
    found.cosine = float(torch.cosine_similarity(rebuilt, acts, dim=-1).mean())


def _fvu_of(dictionary: Dictionary, acts: Tensor, among: Tensor) -> float:
    """Mean squared error of these residuals over the variance of all; NaN where there are none."""
    if not len(acts):
        return math.nan
    error = (
        (acts - dictionary.decode(dictionary.encode(acts)).float()).double().pow(2).sum(-1).mean()
    )
    usual = kept(among)
    return float(error / (usual - usual.mean(0)).double().pow(2).sum(-1).mean())
