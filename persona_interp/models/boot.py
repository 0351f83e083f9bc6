"""What happens inside a model? The one adapter of TransformerLens: models booted with checks, and their residuals.

Hooks have canonical names inside ("blocks.1.hook_out"); the older aliases ("blocks.1.hook_resid_post") are translated
here. TransformerLens is silent about names it does not know and moves every position when it adds a BOS of its own, so
a model is handed out only after its hooks are known and its residuals equal those of plain transformers.
"""

import re
import warnings
from collections.abc import Iterable, Iterator, Sequence
from copy import deepcopy
from typing import Any

import torch
from torch import Tensor

from persona_interp.errors import ModelError, unknown
from persona_interp.models.checkpoint import Checkpoint
from persona_interp.models.load import load
from persona_interp.models.tokens import Tokens, added_bos

TOLERANCE = 1e-5  # relative, float32 and eager attention
PROBE_LENGTH = 8  # tokens of the random input that checks a booted model


def boot(checkpoint: Checkpoint, *, hooks: Iterable[str] = ()) -> Any:
    """What is this model as a TransformerLens model, for reading and editing its insides?

    Args:
        checkpoint: Where the weights are.
        hooks: Hook names that will be used.

    Returns:
        A ``TransformerBridge`` with raw weights, float32, eager attention. Its ``tokenizer`` is the checkpoint's own,
        so that ``encode`` gives the same tokens as everywhere.

    Raises:
        ModelError: TransformerLens does not know the architecture, a hook does not exist, or residuals or logits
            differ from plain transformers.
    """
    from transformer_lens.model_bridge import TransformerBridge  # takes seconds to import

    plain, tokenizer = load(checkpoint, attention="eager")
    ids = torch.randint(len(tokenizer), (1, PROBE_LENGTH), generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        expected = plain(ids, output_hidden_states=True)
    try:
        bridge = TransformerBridge.boot_transformers(
            str(checkpoint.path), hf_model=plain, tokenizer=deepcopy(tokenizer), device=str(plain.device)
        )
    except (ValueError, NotImplementedError, KeyError) as error:
        raise ModelError(f"TransformerLens cannot boot {checkpoint.path}: {error}") from error
    # TransformerLens makes its tokenizer add a BOS, and its setter would do so again
    bridge._tokenizer = tokenizer
    bridge.cfg.tokenizer_prepends_bos = bridge.cfg.default_prepend_bos = added_bos(tokenizer) is not None
    bridge.eval()
    for hook in hooks:
        canonical(bridge, hook)
    _check_parity(bridge, ids, expected)
    return bridge


def canonical(bridge: Any, hook: str) -> str:
    """Which hook of this model does the name mean?

    Args:
        bridge: A booted model.
        hook: A canonical name or one of the older aliases; a negative block counts from the end ("blocks.-1.hook_out").

    Returns:
        The canonical name.

    Raises:
        ModelError: There is none; the message names the nearest.
    """
    if last := re.match(r"blocks\.(-\d+)\.", hook):
        hook = hook.replace(last[1], str(bridge.cfg.n_layers + int(last[1])), 1)
    if hook not in bridge.hook_dict:
        valid = [name for name, point in bridge.hook_dict.items() if name == point.name]
        raise ModelError(unknown("hook", hook, valid))
    return bridge.hook_dict[hook].name


def residuals(bridge: Any, tokens: Tokens, *, hook: str, batch: int = 64) -> Iterator[tuple[int, Tensor]]:
    """What is the residual at every token of every row?

    Args:
        bridge: A booted model.
        tokens: Tokens of ``encode``.
        hook: Hook name; blocks above it are not run.
        batch: Rows run together, rows of similar length.

    Yields:
        Row index and activations, dims (position, d_model), without padding; in order of length.

    Raises:
        ModelError: The hook does not exist or did not fire.
    """
    for row, acts in hidden(bridge, tokens, hooks=[hook], batch=batch):
        yield row, next(iter(acts.values()))


def hidden(
    bridge: Any, tokens: Tokens, *, hooks: Sequence[str], batch: int = 64
) -> Iterator[tuple[int, dict[str, Tensor]]]:
    """What are the residuals at several hooks, from one run of the model?

    Args:
        bridge: A booted model.
        tokens: Tokens of ``encode``.
        hooks: Hook names, at least one; blocks above the last are not run.
        batch: Rows run together, rows of similar length.

    Yields:
        Row index and, by canonical name in the order given, activations of dims (position, d_model), without padding;
        in order of length.

    Raises:
        ModelError: A hook does not exist or did not fire.
    """
    names = [canonical(bridge, hook) for hook in hooks]
    blocks = [re.match(r"blocks\.(\d+)\.", name) for name in names]
    stop = {"stop_at_layer": max(int(block[1]) for block in blocks if block) + 1} if all(blocks) else {}
    order = sorted(range(len(tokens)), key=lambda row: len(tokens.ids[row]))
    device = next(bridge.parameters()).device
    for at in range(0, len(order), batch):
        rows = order[at : at + batch]
        ids, mask = (t.to(device) for t in tokens.pad(rows=rows))
        with torch.inference_mode(), warnings.catch_warnings():
            warnings.filterwarnings("ignore", "run_with_cache: skipped", UserWarning)  # an error below
            _, held = bridge.run_with_cache(ids, attention_mask=mask, names_filter=names, **stop)
        if silent := [name for name in names if name not in held]:
            raise ModelError(
                f"hook '{silent[0]}' did not fire in this model; it fires only after a use_* setting. Use another."
            )
        for i, row in enumerate(rows):
            yield row, {name: held[name][i, : len(tokens.ids[row])].clone() for name in names}


@torch.inference_mode()
def _check_parity(bridge: Any, ids: Tensor, expected: Any) -> None:
    """Do residuals and logits equal those of plain transformers, on a short random input?

    The last hidden state of transformers is after the final norm, so the last block is judged by the logits.
    """
    blocks = [f"blocks.{i}.hook_out" for i in range(len(expected.hidden_states) - 2)]
    logits, held = bridge.run_with_cache(ids, attention_mask=torch.ones_like(ids), names_filter=blocks)
    pairs = {"logits": (logits, expected.logits)}
    pairs |= {name: (held[name], expected.hidden_states[i + 1]) for i, name in enumerate(blocks) if name in held}
    off = {name: float((got - want).norm() / want.norm()) for name, (got, want) in pairs.items()}
    worst = max(off, key=lambda name: off[name])
    if not off[worst] <= TOLERANCE or len(pairs) <= len(blocks):
        raise ModelError(
            f"TransformerLens and transformers disagree on this model: {worst} differs by {off[worst]:.1e} of its norm "
            f"(at most {TOLERANCE:.0e} expected). Its activations cannot be trusted; use another model."
        )
