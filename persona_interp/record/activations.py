"""What does the residual look like at each prompt?"""

from collections.abc import Iterable, Sequence
from typing import Any, overload

import xarray as xr

from persona_interp.models import Checkpoint
from persona_interp.models.inputs import as_tuple
from persona_interp.models.outliers import SINK
from persona_interp.record.pooling import WHERE, reduce_residuals


@overload
def activations(
    checkpoints: Checkpoint | Iterable[Checkpoint],
    prompts: Any,
    *,
    hook: str,
    position: str = "last",
    where: Iterable[str] = WHERE,
    outlier: float = SINK,
) -> xr.Dataset: ...
@overload
def activations(
    checkpoints: Checkpoint | Iterable[Checkpoint],
    prompts: Any,
    *,
    hook: list[str] | tuple[str, ...],
    position: str = "last",
    where: Iterable[str] = WHERE,
    outlier: float = SINK,
) -> list[xr.Dataset]: ...
def activations(
    checkpoints: Checkpoint | Iterable[Checkpoint],
    prompts: Any,
    *,
    hook: str | Sequence[str],
    position: str = "last",
    where: Iterable[str] = WHERE,
    outlier: float = SINK,
) -> xr.Dataset | list[xr.Dataset]:
    """Residual at each prompt, in each checkpoint.

    Args:
        checkpoints: A checkpoint, a trajectory or any iterable of checkpoints with distinct labels.
        prompts: A probes or prompts table (named by ``prompt``), a corpus table (named by
            ``doc``), or anything that ``readers.read`` takes.
        hook: Canonical hook name, ``"blocks.1.hook_out"``, or several, read in one run of the
            model.
        position: "last" = last token of the prompt, whatever its role; "mean" = mean over its
            tokens of some roles; "answer" = mean over those of its last message alone.
        where: Roles of the tokens that the means take: system, user, assistant, text, template
            (what the chat template puts around contents) or special (BOS and the like).
        outlier: Attention sinks are left out of the means: residuals longer than this many times
            the median over the prompt's tokens of these roles.

    Returns:
        Dataset with ``act``, dims (checkpoint, prompt, d_model), float32, in units of the residual.
        Coordinates: stage, step, seed and weights (hash) along checkpoint; context, persona, topic,
        template, split, kind, value, doc, order, held, trait, side, role, question, instruction,
        sample and n_tokens along prompt where the table has them. Attributes: kind, schema_version,
        hook, token_ids (hash), position, dtype, where (roles set apart by spaces), outlier,
        n_excluded (outliers left out, over all checkpoints and prompts), n_sinks (tokens averaged
        over that are longer than ten times the median of those averaged over). Several hooks give a
        list of these, in their order.

    Raises:
        SchemaError: An empty table, repeated names or labels, an unknown position or role, a prompt
            without such tokens, an outlier below 1.
        ModelError: The hook does not exist, or the checkpoints do not share a tokenizer.

    >>> from tempfile import TemporaryDirectory
    >>> from persona_interp import models, worlds
    >>> world = worlds.john_and_sam()
    >>> with TemporaryDirectory() as folder:
    ...     start = models.resolve("tiny", words=world.words(), out=folder)
    ...     probes = world.probes(contexts=("nameless",))
    ...     data = activations(start, probes, hook="blocks.0.hook_out")
    >>> dict(data.sizes)
    {'checkpoint': 1, 'prompt': 50, 'd_model': 64}
    """
    datasets = reduce_residuals(
        checkpoints,
        prompts,
        kind="activations",
        hooks=as_tuple(hook),
        position=position,
        where=where,
        outlier=outlier,
        reduce=lambda acts: {"act": acts.mean(0)},
    )
    if isinstance(hook, str):
        return datasets[0]
    return datasets
