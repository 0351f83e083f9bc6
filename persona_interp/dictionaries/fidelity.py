"""Does this dictionary still fit this checkpoint? The gate every feature reading passes.

A dictionary trained on a base model may fail silently on its finetune. Two tests on held-out text:
how much of the residuals' variance it leaves unexplained, and how much of the model's predictive
power survives when its reconstruction replaces the residual (against a residual of zeros; Bricken
et al. 2023, "loss recovered").
"""

import math
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import pandas as pd
import torch
from torch import Tensor
from tqdm import tqdm

from persona_interp import schema
from persona_interp.dictionaries.dictionary import Dictionary
from persona_interp.dictionaries.harvest import WHERE, some_tokens
from persona_interp.errors import ModelError
from persona_interp.models import Checkpoint, Tokens, boot
from persona_interp.models.boot import canonical
from persona_interp.models.outliers import ordinary

FITS_FVU, FITS_RECOVERED = 0.1, 0.9
UNUSABLE_FVU, UNUSABLE_RECOVERED = 0.5, 0.5
BATCH = 32  # documents
EPS = 1e-12


def fidelity(
    dictionary: Dictionary,
    checkpoints: Checkpoint | Iterable[Checkpoint],
    corpus: pd.DataFrame,
    *,
    n_tokens: int = 20_000,
    where: Iterable[str] = WHERE,
) -> pd.DataFrame:
    """Does the dictionary describe the residuals of each checkpoint?

    Measured on the tokens of some roles (no padding, no residual longer than 10 times the median of
    its batch): only there is the reconstruction spliced in, and only what is predicted from there
    counts.

    Args:
        dictionary: The dictionary; its ``hook`` says where.
        checkpoints: A checkpoint, a trajectory or any iterable of checkpoints.
        corpus: A corpus table, best one the dictionary was not trained on.
        n_tokens: About how many tokens to measure on; documents are drawn from the corpus with a
            fixed seed.
        where: Roles of these tokens; all but special tokens such as BOS by default.

    Returns:
        A fidelity table, one row a checkpoint: ``fvu`` = squared error / squared distance from the
        mean of the measured residuals; ``l0`` features a token; ``dead`` share of features that
        never fire; ``ce``, ``ce_sae``, ``ce_zero`` in bits a token; ``ce_recovered`` = (ce_zero -
        ce_sae) / (ce_zero - ce), NaN where zeros predict no worse than the model; ``n_tokens``;
        ``verdict``: "fits" when fvu <= 0.1 and ce_recovered >= 0.9, "unusable" when fvu > 0.5 or
        ce_recovered < 0.5, "doubtful" between.

    Raises:
        ModelError: The hook does not exist, never fires or has another width than the dictionary.
        SchemaError: No document has a token of these roles, or a role is unknown.
    """
    where = (where,) if isinstance(where, str) else tuple(where)
    schema.check(corpus, "corpus")
    listed = [checkpoints] if isinstance(checkpoints, Checkpoint) else list(checkpoints)
    rows = []
    for checkpoint in tqdm(listed, desc="fidelity", delay=2):
        bridge = boot(checkpoint)
        tokens = some_tokens(bridge.tokenizer, corpus, n_tokens=n_tokens, seed=0, where=where)
        rows.append(
            {"checkpoint": checkpoint.label, **measure(dictionary, bridge, tokens, where=where)}
        )
    return pd.DataFrame(rows)


@torch.inference_mode()
def measure(
    dictionary: Dictionary, bridge: Any, tokens: Tokens, *, where: tuple[str, ...]
) -> dict[str, Any]:
    """Does the dictionary describe the residuals of this booted model?

    Args:
        dictionary: The dictionary.
        bridge: A booted model.
        tokens: Tokens of ``encode``.
        where: Roles of the tokens measured.

    Returns:
        A row of a fidelity table, without the checkpoint.

    Raises:
        ModelError: The hook does not exist, never fires or has another width than the dictionary.
    """
    hook = canonical(bridge, dictionary.hook)
    sums = [_batch(dictionary, bridge, hook, *padded) for padded in _padded(tokens, where)]
    total: dict[str, Any] = {key: sum(part[key] for part in sums) for key in sums[0]}
    n = int(total["n"])
    fvu = total["error"] / max(total["square"] - float(total["sum"].pow(2).sum()) / n, EPS)
    ce, ce_sae, ce_zero = (
        float(total[key] / total["targets"]) for key in ("ce", "ce_sae", "ce_zero")
    )
    recovered = (ce_zero - ce_sae) / (ce_zero - ce) if ce_zero > ce else math.nan
    return {
        "fvu": float(fvu),
        "l0": float(total["fired"].sum()) / n,
        "dead": float((total["fired"] == 0).double().mean()),
        "ce": ce,
        "ce_sae": ce_sae,
        "ce_zero": ce_zero,
        "ce_recovered": recovered,
        "n_tokens": n,
        "verdict": _verdict(float(fvu), recovered),
    }


def _verdict(fvu: float, recovered: float) -> str:
    if fvu <= FITS_FVU and recovered >= FITS_RECOVERED:
        return "fits"
    if fvu > UNUSABLE_FVU or recovered < UNUSABLE_RECOVERED:
        return "unusable"
    return "doubtful"


def _batch(
    dictionary: Dictionary, bridge: Any, hook: str, ids: Tensor, mask: Tensor, keep: Tensor
) -> dict[str, Any]:
    """Sums over the tokens measured of one padded batch, dims (document, position)."""
    seen: list[Tensor] = []
    logits = _forward(bridge, hook, ids, mask, lambda acts: seen.append(acts.clone()) or acts)
    (acts,) = seen
    if acts.shape[-1] != dictionary.d_in:
        raise ModelError(
            f"{dictionary.name} reads width {dictionary.d_in}; {dictionary.hook} has "
            f"{acts.shape[-1]}."
        )
    keep = keep & ordinary(acts.norm(dim=-1), keep)
    kept = acts[keep].float()
    feats = dictionary.encode(kept)
    rebuilt = dictionary.decode(feats)

    def spliced(new: Tensor) -> Tensor:
        return _forward(
            bridge,
            hook,
            ids,
            mask,
            lambda acts: acts.masked_scatter(keep[..., None], new.to(acts.dtype)),
        )

    targets = keep[:, :-1] & mask[:, 1:].bool()
    return {
        "n": len(kept),
        "sum": kept.double().sum(0),
        "square": float(kept.double().pow(2).sum()),
        "error": float((kept - rebuilt).double().pow(2).sum()),
        "fired": (feats != 0).sum(0),
        "targets": int(targets.sum()),
        "ce": _bits(logits, ids, targets),
        "ce_sae": _bits(spliced(rebuilt), ids, targets),
        "ce_zero": _bits(spliced(torch.zeros_like(kept)), ids, targets),
    }


def _forward(
    bridge: Any, hook: str, ids: Tensor, mask: Tensor, edit: Callable[[Tensor], Tensor]
) -> Tensor:
    """Logits with the residual at the hook edited; a hook that stays silent is an error, never a no-op."""
    fired = []

    def run(acts: Tensor, hook: Any) -> Tensor:
        fired.append(hook)
        return edit(acts)

    logits = bridge.run_with_hooks(
        ids, attention_mask=mask, fwd_hooks=[(hook, run)], return_type="logits"
    )
    if len(fired) != 1:
        raise ModelError(
            f"hook '{hook}' fired {len(fired)} times in one forward pass, expected once; boot a "
            "new bridge."
        )
    return logits


def _bits(logits: Tensor, ids: Tensor, targets: Tensor) -> float:
    """Summed cross-entropy (bits) of the next tokens after the positions marked."""
    picked = logits[:, :-1][targets].float()
    wanted = ids[:, 1:][targets]
    return float(
        torch.nn.functional.cross_entropy(picked, wanted, reduction="sum").double()
    ) / math.log(2)


def _padded(tokens: Tokens, where: tuple[str, ...]) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Right-padded batches sorted by length: ids, attention mask, tokens measured, dims (document, position)."""
    order = sorted(range(len(tokens)), key=lambda row: len(tokens.ids[row]))
    marks = tokens.marks(where)
    for at in range(0, len(order), BATCH):
        rows = order[at : at + BATCH]
        ids, mask = tokens.pad(rows=rows)
        keep = torch.nn.utils.rnn.pad_sequence(
            [torch.as_tensor(marks[row]) for row in rows], batch_first=True
        )
        yield ids, mask, keep
