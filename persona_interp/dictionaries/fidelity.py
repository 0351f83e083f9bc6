"""Does this dictionary still fit this checkpoint? The gate every feature reading passes.

A dictionary trained on a base model may fail silently on its finetune. Two tests: how much of the
residuals' variance it leaves unexplained, and how much of the model's predictive power survives
when its reconstruction replaces the residual (against a residual of zeros; Bricken et al. 2023,
"loss recovered"). They are made on held-out texts (``fidelity``) and where features are read
(``fidelity_at``): a dictionary may describe the one and not the other.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from tqdm import tqdm

from persona_interp import schema
from persona_interp.dictionaries.dictionary import Dictionary
from persona_interp.dictionaries.harvest import CONTENT_ROLES, sample_tokens
from persona_interp.dictionaries.inputs import AnyDictionary, as_dictionary, bring, check_width
from persona_interp.errors import ModelError
from persona_interp.models import Checkpoint, Tokens, boot, encode
from persona_interp.models.device import Batch
from persona_interp.models.dtype import AUTO, FULL
from persona_interp.models.inputs import list_checkpoints
from persona_interp.models.outliers import ordinary
from persona_interp.models.passes import run_rows
from persona_interp.models.sites import canonical, changing_hooks
from persona_interp.readers import read, table_of
from persona_interp.schema.words import FITS_FVU, UNUSABLE_FVU, Fit, Place
from persona_interp.values import as_tuple

FITS_RECOVERED, UNUSABLE_RECOVERED = 0.9, 0.5
EPS = 1e-12


def fidelity(
    dictionary: AnyDictionary,
    checkpoints: Checkpoint | Iterable[Checkpoint],
    corpus: Any,
    *,
    n_tokens: int = 20_000,
    where: Iterable[str] = CONTENT_ROLES,
    device: object = None,
    dtype: str = FULL,
    batch: Batch = AUTO,
) -> pd.DataFrame:
    """Fidelity of a dictionary on each checkpoint, with a verdict.

    Measured on the tokens of some roles (no padding, no residual longer than 10 times the median of
    its document): only there is the reconstruction spliced in, and only what is predicted from
    there counts.

    Args:
        dictionary: The dictionary; its ``hook`` says where.
        checkpoints: A checkpoint, a trajectory or any iterable of checkpoints.
        corpus: A corpus table, or anything that ``readers.read`` takes; best one the
            dictionary was not trained on.
        n_tokens: About how many tokens to measure on; documents are drawn from the corpus with a
            fixed seed.
        where: Roles of these tokens; all but special tokens such as BOS by default.
        device: Where the models compute; by default "cuda" where there is one. The dictionary
            follows.
        dtype: Of the models, "float32", "bfloat16", or "auto" for whichever is faster here.
        batch: Tokens a forward pass, padding included; "auto": what fits into memory.

    Returns:
        A fidelity table, one row a checkpoint: ``where`` "whole texts"; ``fvu`` = squared error /
        squared distance from the mean of the measured residuals; ``l0`` features a token; ``dead``
        share of features that never fire; ``ce``, ``ce_sae``, ``ce_zero`` in bits a token;
        ``ce_recovered`` = (ce_zero - ce_sae) / (ce_zero - ce), NaN where zeros predict no worse
        than the model; ``n_tokens``; ``verdict``: "fits" when fvu <= 0.1 and ce_recovered >= 0.9,
        "unusable" when fvu > 0.5 or ce_recovered < 0.5, "doubtful" between.

    Raises:
        ModelError: The hook does not exist, never fires or has another width than the dictionary.
        SchemaError: No document has a token of these roles, or a role is unknown.
    """
    dictionary, where = as_dictionary(dictionary), as_tuple(where)
    corpus = read(corpus, "documents")
    rows = []
    for checkpoint in tqdm(list_checkpoints(checkpoints), desc="fidelity", delay=2):
        bridge = boot(checkpoint, device=device, dtype=dtype)
        tokens = sample_tokens(bridge.tokenizer, corpus, n_tokens=n_tokens, seed=0, where=where)
        row = measure(dictionary, bridge, tokens, where=where, batch=batch)
        rows.append({"checkpoint": checkpoint.label, "where": str(Place.TEXTS), **row})
    return pd.DataFrame(rows)


def fidelity_at(
    dictionary: AnyDictionary,
    checkpoints: Checkpoint | Iterable[Checkpoint],
    prompts: Any,
    *,
    device: object = None,
    dtype: str = FULL,
    batch: Batch = AUTO,
) -> pd.DataFrame:
    """Fidelity of a dictionary on the last token of each prompt, where features are read.

    The gate on texts says little about a few prompts that are much alike: a lesson may move all of
    them off what the dictionary has seen.

    Args:
        dictionary: The dictionary; its ``hook`` says where.
        checkpoints: A checkpoint, a trajectory or any iterable of checkpoints.
        prompts: A probes or prompts table, or anything that ``readers.read`` takes.
        device: Where the models compute; by default "cuda" where there is one. The dictionary
            follows.
        dtype: Of the models, "float32", "bfloat16", or "auto" for whichever is faster here.
        batch: Tokens a forward pass, padding included; "auto": what fits into memory.

    Returns:
        A fidelity table as of ``fidelity``, ``where`` "prompts read". The origin of ``fvu`` is the
        dictionary's ``mean``, as of ``record.features``: around their own mean, prompts that are
        much alike have hardly any variance that could be explained. Nothing follows a prompt, so
        the model's own prediction takes the place of the next token: ``ce`` is its entropy, and
        ``ce_recovered`` what share of the divergence from it, under zeros, is undone. ``dead`` is
        NaN: what is silent at a few prompts is not dead.

    Raises:
        ModelError: The hook does not exist, never fires or has another width than the dictionary.
        SchemaError: An empty table.
    """
    prompts = table_of(prompts, "prompts")
    dictionary = as_dictionary(dictionary)
    schema.names(prompts)
    rows = []
    for checkpoint in tqdm(list_checkpoints(checkpoints), desc="fidelity", delay=2):
        bridge = boot(checkpoint, device=device, dtype=dtype)
        tokens = encode(bridge.tokenizer, prompts["messages"])
        row = _measure_at(dictionary, bridge, tokens, batch=batch)
        rows.append({"checkpoint": checkpoint.label, "where": str(Place.PROMPTS), **row})
    return pd.DataFrame(rows)


@torch.inference_mode()
def measure(
    dictionary: Dictionary,
    bridge: Any,
    tokens: Tokens,
    *,
    where: tuple[str, ...],
    batch: Batch = AUTO,
) -> dict[str, Any]:
    """Fidelity of a dictionary on a booted model.

    Args:
        dictionary: The dictionary.
        bridge: A booted model.
        tokens: Tokens of ``encode``.
        where: Roles of the tokens measured.
        batch: Tokens a forward pass; "auto": what fits into memory.

    Returns:
        A row of a fidelity table, without the checkpoint.

    Raises:
        ModelError: The hook does not exist, never fires or has another width than the dictionary.
    """
    total = _sum(dictionary, bridge, tokens, tokens.marks(where), batch=batch)
    # squared distance from the mean = sum of squares - |sum|^2 / n: one pass over the tokens
    return _row(total, variance=total["square"] - float(total["sum"].pow(2).sum()) / total["n"])


@torch.inference_mode()
def _measure_at(
    dictionary: Dictionary, bridge: Any, tokens: Tokens, *, batch: Batch
) -> dict[str, Any]:
    """As ``measure``, on the last token of every row and around the dictionary's mean."""
    last = [np.arange(n) == n - 1 for n in tokens.lengths]
    total = _sum(dictionary, bridge, tokens, last, batch=batch, own=True)
    mean = dictionary.mean.double().cpu()
    # sum of |h - m|^2 = sum of |h|^2 - 2 <sum of h, m> + n |m|^2
    shared = 2 * float(total["sum"] @ mean) - total["n"] * float(mean @ mean)
    return {**_row(total, variance=total["square"] - shared), "dead": math.nan}


def _sum(
    dictionary: Dictionary,
    bridge: Any,
    tokens: Tokens,
    marks: Sequence[Any],
    *,
    batch: Batch,
    own: bool = False,
) -> dict[str, Any]:
    """Sums over the marked tokens of all rows."""
    hook = canonical(bridge, dictionary.hook)
    device = bridge.original_model.device

    def run(rows: list[int]) -> dict[str, Any]:
        ids, attention = tokens.pad(rows=rows)
        row_marks = [torch.as_tensor(marks[row]) for row in rows]
        marked = torch.nn.utils.rnn.pad_sequence(row_marks, batch_first=True)
        padded = (ids.to(device), attention.to(device), marked.to(device))
        return _sum_batch(dictionary, bridge, hook, *padded, own=own)

    sums = [part for _, part in run_rows(run, tokens.lengths, batch=batch, device=device)]
    return {key: sum(part[key] for part in sums) for key in sums[0]}


def _row(total: dict[str, Any], *, variance: float) -> dict[str, Any]:
    """A row of a fidelity table from sums over its tokens."""
    n = int(total["n"])
    fvu = float(total["error"] / max(variance, EPS))
    ce, ce_sae, ce_zero = (
        float(total[key] / total["targets"]) for key in ("ce", "ce_sae", "ce_zero")
    )
    # "Loss recovered" (Bricken et al. 2023); where zeros cost nothing there is nothing to recover
    recovered = math.nan
    if ce_zero > ce:
        recovered = (ce_zero - ce_sae) / (ce_zero - ce)
    return {
        "fvu": fvu,
        "l0": float(total["fired"].sum()) / n,
        "dead": float((total["fired"] == 0).double().mean()),
        "ce": ce,
        "ce_sae": ce_sae,
        "ce_zero": ce_zero,
        "ce_recovered": recovered,
        "n_tokens": n,
        "verdict": str(judge(fvu, recovered)),
    }


def judge(fvu: float, recovered: float) -> Fit:
    """Judge how well a dictionary fits, by two fractions.

    Args:
        fvu: Fraction of variance unexplained.
        recovered: Fraction of the cross-entropy recovered; NaN where there is none to recover.

    Returns:
        The verdict.

    >>> str(judge(0.05, 0.95)), str(judge(0.05, 0.7)), str(judge(0.6, 0.95))
    ('fits', 'doubtful', 'unusable')
    """
    if fvu <= FITS_FVU and recovered >= FITS_RECOVERED:
        return Fit.FITS
    if fvu > UNUSABLE_FVU or recovered < UNUSABLE_RECOVERED:
        return Fit.UNUSABLE
    return Fit.DOUBTFUL


def _sum_batch(
    dictionary: Dictionary,
    bridge: Any,
    hook: str,
    ids: Tensor,
    attention: Tensor,
    marks: Tensor,
    *,
    own: bool = False,
) -> dict[str, Any]:
    """Sums over the marked tokens of one padded batch, dims (document, position).

    What is predicted is the next token, or with ``own`` what the model itself predicts.
    """
    acts, logits = _read(bridge, hook, ids, attention)
    check_width(dictionary, acts, dictionary.hook)
    norms = acts.float().norm(dim=-1)
    # by document, so that what is an outlier does not hang on what runs together with it
    rows = zip(norms, marks, strict=True)
    marks = torch.stack([mark & ordinary(norm, mark) for norm, mark in rows])
    original = acts[marks].float()
    feats = dictionary.encode(bring(original, dictionary))
    rebuilt = dictionary.decode(feats).to(original)

    def splice(replacement: Tensor) -> Tensor:
        def edit(acts: Tensor) -> Tensor:
            return acts.masked_scatter(marks[..., None], replacement.to(acts.dtype))

        return _forward(bridge, hook, ids, attention, edit)

    if own:
        places, expected = marks, logits[marks].float().softmax(dim=-1)
    else:
        # a position counts when it was replaced and something follows it in the document
        places = torch.zeros_like(marks)
        places[:, :-1] = marks[:, :-1] & attention[:, 1:].bool()
        expected = ids.roll(-1, dims=1)[places]
    return {
        "n": len(original),
        "sum": original.double().sum(0).cpu(),
        "square": float(original.double().pow(2).sum()),
        "error": float((original - rebuilt).double().pow(2).sum()),
        "fired": (feats != 0).sum(0).cpu(),
        "targets": len(expected),
        "ce": _bits(logits[places], expected),
        "ce_sae": _bits(splice(rebuilt)[places], expected),
        "ce_zero": _bits(splice(torch.zeros_like(original))[places], expected),
    }


def _read(bridge: Any, hook: str, ids: Tensor, attention: Tensor) -> tuple[Tensor, Tensor]:
    """Residuals at the hook and logits of one unedited forward pass."""
    copies: list[Tensor] = []

    def copy(acts: Tensor) -> Tensor:
        copies.append(acts.clone())
        return acts

    logits = _forward(bridge, hook, ids, attention, copy)
    return copies[0], logits


def _forward(
    bridge: Any, hook: str, ids: Tensor, attention: Tensor, edit: Callable[[Tensor], Tensor]
) -> Tensor:
    """Logits with the residual at the hook edited.

    A hook that stays silent is an error, never a no-op.
    """
    n_calls = 0

    def run(acts: Tensor, hook: Any) -> Tensor:
        nonlocal n_calls
        n_calls += 1
        # heads are one vector a token here
        return edit(acts.flatten(2)).view(acts.shape)

    logits = bridge.run_with_hooks(
        ids,
        attention_mask=attention,
        fwd_hooks=changing_hooks(bridge, hook, run),
        return_type="logits",
    )
    if n_calls != 1:
        raise ModelError(
            f"hook '{hook}' fired {n_calls} times in one forward pass, expected once; boot a "
            "new bridge."
        )
    return logits


def _bits(logits: Tensor, expected: Tensor) -> float:
    """Summed cross-entropy (bits) of expected token ids, or of expected probabilities."""
    nats = torch.nn.functional.cross_entropy(logits.float(), expected, reduction="sum").double()
    return float(nats) / math.log(2)
