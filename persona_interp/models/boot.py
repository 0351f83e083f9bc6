"""What happens inside a model? The one adapter of TransformerLens: models booted with checks, and their residuals.

Hooks have canonical names inside ("blocks.1.hook_out"); the older aliases
("blocks.1.hook_resid_post") are translated here. TransformerLens is silent about names it does not
know and moves every position when it adds a BOS of its own, so a model is handed out only after its
hooks are known and its residuals equal those of plain transformers.
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
PROBE = (12, 7)  # tokens of the two random rows that check a booted model
WINDOW = 64  # sliding windows up to this length are exceeded by the check; longer ones would cost too much


def boot(checkpoint: Checkpoint, *, hooks: Iterable[str] = ()) -> Any:
    """What is this model as a TransformerLens model, for reading and editing its insides?

    Args:
        checkpoint: Where the weights are.
        hooks: Hook names that will be used.

    Returns:
        A ``TransformerBridge`` with raw weights, float32, eager attention. Its ``tokenizer`` is the
        checkpoint's own, so that ``encode`` gives the same tokens as everywhere.

    Raises:
        ModelError: TransformerLens does not know the architecture, a hook does not exist, or
            residuals or logits differ from plain transformers on two short random rows, run
            together with padding on either side.
    """
    from transformer_lens.model_bridge import TransformerBridge  # takes seconds to import

    plain, tokenizer = load(checkpoint, attention="eager")
    rows, kind = _probe(plain, len(tokenizer)), plain.config.model_type
    try:
        expected = _plain(plain, rows)
        bridge = TransformerBridge.boot_transformers(
            str(checkpoint.path),
            hf_model=plain,
            tokenizer=deepcopy(tokenizer),
            device=str(plain.device),
        )
    except Exception as error:
        raise ModelError(_refusal(checkpoint, kind, error)) from error
    # TransformerLens makes its tokenizer add a BOS, and its setter would do so again
    bridge._tokenizer = tokenizer
    bridge.cfg.tokenizer_prepends_bos = bridge.cfg.default_prepend_bos = (
        added_bos(tokenizer) is not None
    )
    bridge.eval()
    for hook in hooks:
        canonical(bridge, hook)
    try:
        off = _off(bridge, rows, expected)
    except Exception as error:
        raise ModelError(_refusal(checkpoint, kind, error)) from error
    worst = max(off, key=lambda name: off[name])
    if not off[worst] <= TOLERANCE:
        raise ModelError(
            f"TransformerLens and transformers disagree on this model (model_type '{kind}'): "
            f"{worst} differs by "
            f"{off[worst]:.1e} of its norm (at most {TOLERANCE:.0e} expected). Its activations "
            "cannot be trusted; use "
            "another model. Behavior, likelihoods and training do not need TransformerLens."
        )
    return bridge


def canonical(bridge: Any, hook: str) -> str:
    """Which hook of this model does the name mean?

    Args:
        bridge: A booted model.
        hook: A canonical name or one of the older aliases; a negative block counts from the end
            ("blocks.-1.hook_out").

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


def residuals(
    bridge: Any, tokens: Tokens, *, hook: str, batch: int = 64
) -> Iterator[tuple[int, Tensor]]:
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
        Row index and, by canonical name in the order given, activations of dims (position,
        d_model), without padding; in order of length.

    Raises:
        ModelError: A hook does not exist or did not fire.
    """
    names = [canonical(bridge, hook) for hook in hooks]
    blocks = [re.match(r"blocks\.(\d+)\.", name) for name in names]
    stop = (
        {"stop_at_layer": max(int(block[1]) for block in blocks if block) + 1}
        if all(blocks)
        else {}
    )
    order = sorted(range(len(tokens)), key=lambda row: len(tokens.ids[row]))
    device = next(bridge.parameters()).device
    for at in range(0, len(order), batch):
        rows = order[at : at + batch]
        ids, mask = (t.to(device) for t in tokens.pad(rows=rows))
        with torch.inference_mode(), warnings.catch_warnings():
            warnings.filterwarnings(
                "ignore", "run_with_cache: skipped", UserWarning
            )  # an error below
            _, held = bridge.run_with_cache(ids, attention_mask=mask, names_filter=names, **stop)
        if silent := [name for name in names if name not in held]:
            raise ModelError(
                f"hook '{silent[0]}' did not fire in this model; it fires only after a use_* "
                "setting. Use another."
            )
        for i, row in enumerate(rows):
            yield row, {name: held[name][i, : len(tokens.ids[row])].clone() for name in names}


def _refusal(checkpoint: Checkpoint, kind: str, error: Exception) -> str:
    """What TransformerLens said, whichever of its many errors it was."""
    said = (str(error).strip().splitlines() or [""])[0].partition(" Available architectures")[0]
    return (
        f"TransformerLens cannot boot {checkpoint.path} (model_type '{kind}'), "
        f"{type(error).__name__}: {said[:300]} "
        "Its insides cannot be read; use another family. Behavior, likelihoods and training need "
        "no TransformerLens."
    )


def _probe(plain: Any, n_tokens: int) -> list[list[int]]:
    """Two rows of random tokens, of different length, the longer one longer than a short sliding window."""
    window = (
        getattr(plain.config, "sliding_window", None)
        or getattr(plain.config, "window_size", None)
        or 0
    )
    longest = max(PROBE[0], window + 4 if isinstance(window, int) and window <= WINDOW else 0)
    known = min(n_tokens, plain.get_input_embeddings().weight.shape[0])
    rng = torch.Generator().manual_seed(0)
    return [
        torch.randint(known, (length,), generator=rng).tolist() for length in (longest, PROBE[1])
    ]


@torch.inference_mode()
def _plain(model: Any, rows: list[list[int]]) -> list[Any]:
    """What plain transformers computes, each row alone."""
    return [
        model(torch.tensor([row], device=model.device), output_hidden_states=True) for row in rows
    ]


@torch.inference_mode()
def _off(bridge: Any, rows: list[list[int]], expected: list[Any]) -> dict[str, float]:
    """How far are logits and residuals of padded rows from those of plain transformers, each row alone (relative)?

    The last hidden state of transformers is after the final norm, so the last block is judged by
    the logits.
    """
    blocks = [f"blocks.{i}.hook_out" for i in range(len(expected[0].hidden_states) - 2)]
    none = tuple([0] * len(row) for row in rows)
    tokens = Tokens(tuple(rows), tuple(["text"] * len(row) for row in rows), ([], []), none, (0, 0))
    off: dict[str, float] = {}
    for side in ("right", "left"):
        ids, mask = (t.to(bridge.cfg.device) for t in tokens.pad(side=side))
        logits, held = bridge.run_with_cache(ids, attention_mask=mask, names_filter=blocks)
        for i, (row, want) in enumerate(zip(rows, expected, strict=True)):
            own = slice(0, len(row)) if side == "right" else slice(-len(row), None)
            pairs = {"logits": (logits[i, own], want.logits[0])}
            pairs |= {
                name: (held[name][i, own], want.hidden_states[n + 1][0])
                for n, name in enumerate(blocks)
            }
            for name, (got, true) in pairs.items():
                off[name] = max(off.get(name, 0.0), _relative(got, true))
    return off


def _relative(got: Tensor, want: Tensor) -> float:
    """Distance in units of the wanted norm; infinite where anything is not a number."""
    off = float((got - want).norm() / want.norm())
    return off if off == off else float("inf")
