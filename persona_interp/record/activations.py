"""What does a model hold at each prompt: residuals, what is added to them, or heads?"""

from collections.abc import Iterable, Sequence
from typing import Any, overload

import xarray as xr
from torch import Tensor

from persona_interp.models import Checkpoint
from persona_interp.models.device import Batch
from persona_interp.models.dtype import AUTO, FULL
from persona_interp.models.outliers import SINK
from persona_interp.record.pooling import ALL, WHERE, Position, sum_rows
from persona_interp.record.recording import reduce_residuals
from persona_interp.values import as_tuple


@overload
def activations(
    checkpoints: Checkpoint | Iterable[Checkpoint],
    prompts: Any,
    *,
    hook: str,
    position: Position = "last",
    where: Iterable[str] = WHERE,
    outlier: float = SINK,
    device: object = None,
    dtype: str = FULL,
    batch: Batch = AUTO,
) -> xr.Dataset: ...
@overload
def activations(
    checkpoints: Checkpoint | Iterable[Checkpoint],
    prompts: Any,
    *,
    hook: list[str] | tuple[str, ...],
    position: Position = "last",
    where: Iterable[str] = WHERE,
    outlier: float = SINK,
    device: object = None,
    dtype: str = FULL,
    batch: Batch = AUTO,
) -> list[xr.Dataset]: ...
def activations(
    checkpoints: Checkpoint | Iterable[Checkpoint],
    prompts: Any,
    *,
    hook: str | Sequence[str],
    position: Position = "last",
    where: Iterable[str] = WHERE,
    outlier: float = SINK,
    device: object = None,
    dtype: str = FULL,
    batch: Batch = AUTO,
) -> xr.Dataset | list[xr.Dataset]:
    """Residual at each prompt, in each checkpoint; or what attention and MLP hold or add there.

    Args:
        checkpoints: A checkpoint, a trajectory or any iterable of checkpoints with distinct labels.
        prompts: A probes or prompts table (named by ``prompt``), a corpus table (named by
            ``doc``), or anything that ``readers.read`` takes.
        hook: Hook name, or several, read in one run of the model: ``"blocks.1.hook_out"`` or its
            older name ``"blocks.1.hook_resid_post"``, a module of transformers
            (``"model.layers.1.mlp"``, its output). ``models/sites.py`` lists what can be read.
        position: "last" = last token of the prompt, whatever its role; "mean" = mean over its
            tokens of some roles; "answer" = mean over those of its last message alone; a number =
            the token of this index, from the end where negative; "all" = every token of these
            roles.
        where: Roles of the tokens that means and "all" take: system, user, assistant, text,
            template (what the chat template puts around contents) or special (BOS and the like).
        outlier: Attention sinks are left out of these: residuals longer than this many times the
            median over the prompt's tokens of these roles.
        device: Where to compute; by default "cuda" where there is one.
        dtype: "float32", "bfloat16", or "auto" for whichever is faster here.
        batch: Tokens a forward pass, padding included; "auto": what fits into memory.

    Returns:
        Dataset with ``act``, float32, in units of the residual; its kind says its dims
        (``schema.DATASETS``): activations (checkpoint, prompt, d_model); of ``attn.hook_z`` heads
        (checkpoint, prompt, head, d_head). At "all" dim ``token`` takes the place of ``prompt``,
        the tokens of one prompt behind those of the other, those left out that are outliers in any
        checkpoint: token_activations, token_heads.
        Coordinates: stage, step, seed and weights (hash) along checkpoint; along prompt every
        column of the table that holds texts, numbers or booleans and whose name means nothing else
        here; along token these too, and pos, piece, role and turn of the token. Attributes: kind,
        schema_version, hook, older_names (of the hook), token_ids (hash), position, dtype, device,
        where (roles set apart by spaces), outlier, n_excluded (outliers left out, over all
        checkpoints and prompts), n_sinks (tokens taken that are longer than ten times the median of
        those taken of a prompt). Several hooks give a list of these, in their order.

    Raises:
        SchemaError: An empty table, repeated names or labels, an unknown position or role, a prompt
            without such tokens, an outlier below 1, or an array of more than 8 GiB.
        ModelError: The hook does not exist or holds no vector for every token, or the checkpoints
            do not share a tokenizer.

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

    def reduce(acts: Tensor, sizes: Tensor) -> dict[str, Tensor]:
        return {"act": acts if position == ALL else sum_rows(acts, sizes) / sizes[:, None]}

    datasets = reduce_residuals(
        checkpoints,
        prompts,
        kind="activations",
        reads=[(name, reduce) for name in as_tuple(hook)],
        position=position,
        where=where,
        outlier=outlier,
        device=device,
        dtype=dtype,
        batch=batch,
    )
    if isinstance(hook, str):
        return datasets[0]
    return datasets
