"""What happens inside a model? The one adapter of TransformerLens: checked models, their residuals.

Hooks have canonical names inside ("blocks.1.hook_out"); ``sites`` translates all others
("blocks.1.hook_resid_post"). TransformerLens is silent about names it does not
know and moves every position when it adds a BOS of its own, so a model is handed out only after its
hooks are known and its residuals equal those of plain transformers.
"""

import re
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from copy import deepcopy
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import AutoModelForCausalLM

from persona_interp.errors import ModelError
from persona_interp.models.checkpoint import Checkpoint
from persona_interp.models.device import Batch
from persona_interp.models.dtype import AUTO, FULL, resolve_dtype
from persona_interp.models.guard import guard
from persona_interp.models.inputs import as_checkpoint
from persona_interp.models.load import load, quiet
from persona_interp.models.parity import TOLERANCES, distance
from persona_interp.models.passes import run_rows, suit_batch
from persona_interp.models.sites import MID, canonical, is_heads
from persona_interp.models.tokens import Tokens, added_bos

PROBE_LENGTHS = (12, 7)  # tokens of the two random rows that check a booted model
WINDOW = 64  # longest sliding window (tokens) that the check exceeds; longer ones cost too much


def boot(
    checkpoint: Checkpoint | str | Path,
    *,
    hooks: Iterable[str] = (),
    device: object = None,
    dtype: str = FULL,
) -> Any:
    """Boot a model in TransformerLens, for reading and editing its insides.

    Args:
        checkpoint: Where the weights are, or a name that ``resolve`` takes.
        hooks: Hook names that will be used.
        device: Where to, "cpu", "cuda" or "cuda:1"; by default "cuda" where there is one.
        dtype: "float32", "bfloat16", or "auto" for whichever is faster here.

    Returns:
        A ``TransformerBridge`` with raw weights and eager attention. Its ``tokenizer`` is the
        checkpoint's own, so that ``encode`` gives the same tokens as everywhere.

    Raises:
        ModelError: TransformerLens does not know the architecture, a hook does not exist, or
            residuals or logits differ from plain transformers on two short random rows, run
            together with padding on either side (by 1e-5 of their norm in float32, by .05 in
            bfloat16).
    """
    from transformer_lens.model_bridge import TransformerBridge  # takes seconds to import

    checkpoint = as_checkpoint(checkpoint)
    dtype = resolve_dtype(dtype, device)
    plain, tokenizer = load(checkpoint, attention="eager", device=device, dtype=dtype)
    kind = plain.config.model_type
    with quiet(), guard(f"TransformerLens cannot boot {checkpoint.path} (model_type '{kind}')"):
        rows = probe(plain, len(tokenizer))
        references = run_plain(plain, rows)
        bridge = _bridge(TransformerBridge, text_part(plain), tokenizer, checkpoint.path)
    # TransformerLens makes its tokenizer add a BOS, and its setter would do so again
    bridge._tokenizer = tokenizer
    bridge.cfg.tokenizer_prepends_bos = bridge.cfg.default_prepend_bos = (
        added_bos(tokenizer) is not None
    )
    bridge.eval()
    with guard(f"TransformerLens cannot run {checkpoint.path} (model_type '{kind}')"):
        bridge.has_middle = _has_middle(bridge, rows[0])
        distances = _distances(bridge, rows, references)
    for hook in hooks:
        canonical(bridge, hook)
    worst = max(distances, key=lambda name: distances[name])
    if distances[worst] > TOLERANCES[dtype]:
        raise ModelError(
            f"TransformerLens and transformers disagree on this model (model_type '{kind}'): "
            f"{worst} differs by {distances[worst]:.1e} of its norm (at most "
            f"{TOLERANCES[dtype]:.0e} expected). Its activations cannot be trusted; use another "
            "model. Behavior, likelihoods and training do not need TransformerLens."
        )
    return bridge


@torch.inference_mode()
def check_cache(bridge: Any) -> None:
    """Refuse a booted model that forgets what it has read.

    Text is drawn and answers are scored with a key-value cache, which some of TransformerLens's
    attentions do not look into (ALiBi of MPT and Falcon); reading whole prompts needs none.

    Args:
        bridge: A booted model.

    Raises:
        ModelError: Its logits with a cache are not those without.
    """
    model = bridge.original_model
    kind = model.config.model_type
    row = probe(model, model.get_input_embeddings().weight.shape[0])[0]
    ids = torch.tensor([row], device=model.device)
    known = len(row) // 2
    whole = model(ids)
    begun = model(ids[:, :known], use_cache=True)
    cache = getattr(begun, "past_key_values", None)
    if cache is None:  # a model without one runs all of its tokens again
        return
    with guard(f"TransformerLens cannot use the key-value cache of a model (model_type '{kind}')"):
        rest = model(ids[:, known:], past_key_values=cache, attention_mask=torch.ones_like(ids))
    gap = distance(rest.logits[0], whole.logits[0, known:])
    tolerance = TOLERANCES[str(model.dtype).removeprefix("torch.")]
    if gap > tolerance:
        raise ModelError(
            f"TransformerLens runs this model (model_type '{kind}') without its key-value cache: "
            f"logits of tokens read one after the other differ by {gap:.1e} of their norm from "
            f"those read together (at most {tolerance:.0e} expected). Nothing that is said under "
            "an edit could be trusted; read its insides, or edit another family."
        )


def residuals(
    bridge: Any, tokens: Tokens, *, hook: str, batch: Batch = AUTO
) -> Iterator[tuple[int, Tensor]]:
    """Residual at every token of every row.

    Args:
        bridge: A booted model, or one of ``open_hooked``.
        tokens: Tokens of ``encode``.
        hook: Hook name; blocks above it are not run.
        batch: Tokens a forward pass, padding included; "auto": what fits into memory. Rows of
            similar length run together.

    Yields:
        Row index and activations, dims (position, d_model), without padding, the heads of a token
        one behind the other; in order of length.

    Raises:
        ModelError: The hook does not exist, did not fire or holds no vector for every token.
    """
    for row, acts in hidden(bridge, tokens, hooks=[hook], batch=batch):
        # a copy, because a view would keep the whole batch in memory
        yield row, next(iter(acts.values())).clone()


def hidden(
    bridge: Any,
    tokens: Tokens,
    *,
    hooks: Sequence[str],
    batch: Batch = AUTO,
    around: Callable[[list[int]], AbstractContextManager[None]] = lambda rows: nullcontext(),
) -> Iterator[tuple[int, dict[str, Tensor]]]:
    """Residuals at several hooks, from one run of the model.

    Args:
        bridge: A booted model, or one of ``open_hooked``.
        tokens: Tokens of ``encode``.
        hooks: Hook names, at least one; blocks above the last are not run.
        batch: Tokens a forward pass, padding included; "auto": what fits into memory. Rows of
            similar length run together.
        around: From the rows of a forward pass, in their order, to what is on while they run.

    Yields:
        Row index and, by canonical name in the order given, activations of dims (position,
        d_model), without padding, the heads of a token one behind the other; in order of length.
        They are views of what the pass holds: who keeps them longer copies them.

    Raises:
        ModelError: A hook does not exist, did not fire or holds no vector for every token.
    """
    names = [canonical(bridge, hook) for hook in hooks]
    device = bridge.original_model.device

    def run(rows: list[int]) -> Any:
        with around(rows):
            return _run_hooks(bridge, tokens, rows, names=names)

    suited = suit_batch(bridge.original_model)
    for rows, cache in run_rows(run, tokens.lengths, batch=batch, device=device, suited=suited):
        for i, row in enumerate(rows):
            n_tokens = len(tokens.ids[row])
            yield row, {name: cache[name][i, :n_tokens].flatten(1) for name in names}
        del cache  # before the next pass, or two are in memory at once


@torch.inference_mode()
def _run_hooks(bridge: Any, tokens: Tokens, rows: list[int], *, names: Sequence[str]) -> Any:
    """What these hooks hold in one forward pass, by name."""
    ids, mask = (t.to(bridge.original_model.device) for t in tokens.pad(rows=rows))
    with warnings.catch_warnings():
        # a hook that does not fire is a warning there, and an error here
        warnings.filterwarnings("ignore", "run_with_cache: skipped", UserWarning)
        _, cache = bridge.run_with_cache(
            ids, attention_mask=mask, names_filter=list(names), **_stop(names)
        )
    silent = [name for name in names if name not in cache]
    if silent:
        raise ModelError(
            f"hook '{silent[0]}' did not fire in this model; it fires only after a use_* "
            "setting. Use another."
        )
    for name in names:
        _check_dims(name, cache[name], ids, n_heads=bridge.cfg.n_heads)
    return cache


def _check_dims(name: str, acts: Any, ids: Tensor, *, n_heads: int) -> None:
    """Refuse a hook that does not hold one vector for every token, or one for each of its heads."""
    shape = tuple(getattr(acts, "shape", ()))
    rest = (n_heads,) if is_heads(name) else ()
    if shape[:-1] != (*ids.shape, *rest):
        raise ModelError(
            f"hook '{name}' holds an array of dims {shape} where {len(ids)} rows of "
            f"{ids.shape[1]} tokens are read; expected one vector a token, (row, token, d_model). "
            "Read the residual (hook_resid_pre, hook_resid_mid, hook_resid_post), what attention "
            "or the MLP adds (hook_attn_out, hook_mlp_out), the hidden layer of the MLP "
            "(mlp.hook_post) or the heads (attn.hook_z)."
        )


def _stop(names: Sequence[str]) -> dict[str, int]:
    """Setting that runs no block above these hooks; none where one stands outside the blocks."""
    blocks = []
    for name in names:
        block = re.match(r"blocks\.(\d+)\.", name)
        if block is None:
            return {}
        blocks.append(int(block[1]))
    return {"stop_at_layer": max(blocks) + 1}


def text_part(model: Any, attention: str | None = "eager") -> Any:
    """Language model inside a model that also takes images or sound.

    Args:
        model: A Hugging Face model.
        attention: Attention implementation of the language model; None for the family's own choice.

    Returns:
        The model itself where it takes text alone, else a causal language model of its text part,
        with the same weights in memory.
    """
    config = model.config.get_text_config()
    if config is model.config:
        return model
    with torch.device("meta"):
        text = AutoModelForCausalLM.from_config(config, attn_implementation=attention)
    setattr(text, text.base_model_prefix, model.get_decoder())
    text.set_output_embeddings(model.get_output_embeddings())
    # what the class of the whole model was saved as says nothing about its text part
    text.config.architectures = [type(text).__name__]
    return text.eval()


def _bridge(bridge_class: Any, model: Any, tokenizer: Any, folder: Path) -> Any:
    """Model in TransformerLens, whatever its many errors are."""
    try:
        return bridge_class.boot_transformers(
            str(folder),
            hf_model=model,
            tokenizer=deepcopy(tokenizer),
            device=str(model.device),
            dtype=model.dtype,
        )
    except Exception as error:
        lines = str(error).strip().splitlines() or [""]
        reason = lines[0].partition(" Available architectures")[0]
        raise RuntimeError(
            f"{type(error).__name__}: {reason[:300]} Its insides cannot be read; use another "
            "family. Behavior, likelihoods and training need no TransformerLens."
        ) from error


def probe(plain: Any, n_tokens: int) -> list[list[int]]:
    """Two rows of random tokens, the first longer than the second and than a short window.

    Args:
        plain: A Hugging Face model.
        n_tokens: Tokens that its tokenizer knows.

    Returns:
        Their ids, always the same.
    """
    # two lengths, so that one row is padded; beyond a sliding window attention takes another path
    longest, shortest = PROBE_LENGTHS
    window = (
        getattr(plain.config, "sliding_window", None)
        or getattr(plain.config, "window_size", None)
        or 0
    )
    if isinstance(window, int) and window <= WINDOW:
        longest = max(longest, window + 4)
    known = min(n_tokens, plain.get_input_embeddings().weight.shape[0])
    rng = torch.Generator().manual_seed(0)
    lengths = (longest, shortest)
    return [torch.randint(known, (length,), generator=rng).tolist() for length in lengths]


@torch.inference_mode()
def run_plain(model: Any, rows: list[list[int]]) -> list[Any]:
    """Outputs of plain transformers, each row alone.

    Args:
        model: A Hugging Face model.
        rows: Token ids.

    Returns:
        One output a row, its hidden states included.
    """
    inputs = [torch.tensor([row], device=model.device) for row in rows]
    return [model(ids, output_hidden_states=True) for ids in inputs]


@torch.inference_mode()
def _has_middle(bridge: Any, row: list[int]) -> bool:
    """Whether the residual between attention and MLP is what enters a block and attention adds.

    In models that norm behind the MLP (OPT-350m) TransformerLens calls something else so.
    """
    points = [
        bridge.hook_dict.get(f"blocks.0.{site}") for site in ("hook_in", "hook_attn_out", MID)
    ]
    if None in points:
        return False
    names = [point.name for point in points]
    ids = torch.tensor([row], device=bridge.original_model.device)
    _, cache = bridge.run_with_cache(ids, names_filter=names, stop_at_layer=1)
    before, added, middle = (cache[name].reshape(len(row), -1) for name in names)
    dtype = str(middle.dtype).removeprefix("torch.")
    return distance(before + added, middle) <= TOLERANCES[dtype]


@torch.inference_mode()
def _distances(bridge: Any, rows: list[list[int]], references: list[Any]) -> dict[str, float]:
    """Largest distance of logits and residuals of padded rows from those of each row alone."""
    # the last hidden state of transformers is after the final norm, which no block's hook is, so
    # the last block is judged by the logits
    blocks = [f"blocks.{i}.hook_out" for i in range(len(references[0].hidden_states) - 2)]
    turns = tuple([0] * len(row) for row in rows)
    roles = tuple(["text"] * len(row) for row in rows)
    tokens = Tokens(tuple(rows), roles, ([], []), turns, (0, 0))
    distances = dict.fromkeys(["logits", *blocks], 0.0)
    for side in ("right", "left"):
        ids, mask = (t.to(bridge.cfg.device) for t in tokens.pad(side=side))
        logits, cache = bridge.run_with_cache(ids, attention_mask=mask, names_filter=blocks)
        for i, (row, reference) in enumerate(zip(rows, references, strict=True)):
            own = slice(0, len(row)) if side == "right" else slice(-len(row), None)
            gaps = {"logits": distance(logits[i, own], reference.logits[0])}
            for name, state in zip(blocks, reference.hidden_states[1:-1], strict=True):
                gaps[name] = distance(cache[name][i, own], state[0])
            for name, gap in gaps.items():
                distances[name] = max(distances[name], gap)
    return distances
