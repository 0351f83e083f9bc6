"""How probable is every answer? The behavior table, one row a checkpoint, prompt and answer.

The probability of an answer is that of its whole text, terminator included, by the chain rule. All
answers of a prompt share the prompt, so that is run once and its key-value cache handed to every
answer. Prompts of equal length run together: nothing is padded before an answer, no mask is needed,
and a prompt alone gives what it gives in a batch. Edits take the same path through the plain model
inside a TransformerLens bridge, whose modules run through its hooks.
"""

import math
import warnings
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from tqdm import tqdm

from persona_interp import schema
from persona_interp.errors import SchemaError
from persona_interp.models import Checkpoint, Tokens, boot, encode, load
from persona_interp.record.edited import run_edited
from persona_interp.record.interventions import Edit

UNEDITED = "none"


class _Batch(NamedTuple):
    """Answers whose prompts are equally long."""

    rows: list[int]  # which rows of the table these are
    prefix: Tensor  # (n_prefix, n_tokens): distinct prompts without their last token
    owner: Tensor  # (answer,): the prompt of every answer
    tail: Tensor  # (answer, position): last token of the prompt and the answer but its last token; right padded
    target: Tensor  # (answer, position): the answer; -1 where padded


def behavior(
    checkpoints: Checkpoint | Iterable[Checkpoint],
    probes: pd.DataFrame,
    *,
    edits: Sequence[Edit] = (),
    batch: int = 256,
) -> pd.DataFrame:
    """How probable does each checkpoint find every answer to every probe?

    Args:
        checkpoints: A checkpoint, a trajectory or any iterable of checkpoints.
        probes: A probes table; ``values`` and ``answers`` of a row belong together.
        edits: Changes of the inside (``record.add``, ``project_out``, ...), each tried alone on
            every checkpoint.
        batch: Answers run together; bounds the memory, changes nothing else.

    Returns:
        A behavior table, checkpoints x probes x values in the order given. ``logprob`` is log2 of
        the probability of the whole answer, terminator included (bits); ``answer_mass`` the summed
        probability of all answers of the row's prompt (fraction). Other columns of the probes are
        kept, but for ``messages`` and ``answers``. With edits it is checkpoints x edits x probes x
        values, and the column ``edit`` names them; "none" = no edit, comes first.

    Raises:
        SchemaError: The probes are no probes table, are empty, a probe has two equal answers, or
            edits share a name.
        ModelError: An edit's hook does not exist, has another width, or did not fire exactly once
            on every token.

    Note:
        Answers that share their first token are compared on what follows it; that is warned about.

    >>> from tempfile import TemporaryDirectory
    >>> from persona_interp import models, worlds
    >>> world = worlds.john_and_sam()
    >>> with TemporaryDirectory() as folder:
    ...     start = models.resolve("tiny", words=world.words(), out=folder)
    ...     table = behavior(start, world.probes(contexts=("nameless",)).head(1))
    >>> list(table["value"][:3]), bool(table["answer_mass"][0] < 0.01)  # nothing is learned yet
    (['football', 'basketball', 'tennis'], True)
    """
    schema.check(probes, "probes")
    _check_answers(probes)
    changes = _changes(edits)
    prompts = np.repeat(np.arange(len(probes)), [len(a) for a in probes["answers"]])
    asked = list(probes["messages"])
    messages = [asked[i] for i in prompts]
    answers = [answer for row in probes["answers"] for answer in row]
    keys = probes.drop(columns=["messages", "answers"]).explode("values", ignore_index=True)
    keys = keys.rename(columns={"values": "value"}).astype({"value": "str"})
    listed = [checkpoints] if isinstance(checkpoints, Checkpoint) else list(checkpoints)
    tables, plan, known = [], [], None
    for checkpoint in tqdm(listed, desc="behavior", delay=2, disable=len(listed) < 2):
        bridge = (
            boot(checkpoint) if edits else None
        )  # eager attention: "none" and the edits differ by the edit alone
        model, tokenizer = (
            (bridge.original_model, bridge.tokenizer) if bridge is not None else load(checkpoint)
        )
        if known is None or not _same_tokenizer(tokenizer, known):
            tokens = encode(tokenizer, messages, answers=answers)
            _warn_shared_start(tokens, prompts)
            plan, known = _plan(tokens, batch=batch), tokenizer
        for edit in tqdm(
            changes, desc=f"edits of {checkpoint.label}", delay=2, leave=False, disable=not edits
        ):
            logprob, score = np.empty(len(prompts)), _scorer(model, bridge, edit)
            for part in tqdm(plan, desc=checkpoint.label, delay=2, leave=False):
                logprob[part.rows] = score(part)
            mass = np.bincount(prompts, weights=np.exp2(logprob))[prompts]
            where = {
                "checkpoint": checkpoint.label,
                "seed": checkpoint.seed,
                "stage": checkpoint.stage,
            }
            where |= {"step": checkpoint.step} | (
                {"edit": edit.name if edit else UNEDITED} if edits else {}
            )
            head = pd.DataFrame(where, index=keys.index)
            tables.append(pd.concat([head, keys.assign(logprob=logprob, answer_mass=mass)], axis=1))
    return pd.concat(tables, ignore_index=True)


def _changes(edits: Sequence[Edit]) -> list[Edit | None]:
    """No edit first, then each."""
    names = [UNEDITED, *(edit.name for edit in edits)]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise SchemaError(
            f"edits need distinct names other than '{UNEDITED}'; {twice[0]!r} is taken. Give name=."
        )
    return [None, *edits]


def _check_answers(probes: pd.DataFrame) -> None:
    for prompt, values, answers in zip(
        probes["prompt"], probes["values"], probes["answers"], strict=True
    ):
        if len(values) != len(answers) or not len(answers):
            raise SchemaError(
                f"probe {prompt!r} has {len(values)} values and {len(answers)} answers; give one "
                "each."
            )
        if len(set(values)) < len(values) or len(set(answers)) < len(answers):
            raise SchemaError(
                f"probe {prompt!r} has an answer twice among {list(answers)}; make them distinct."
            )


def _same_tokenizer(one: Any, other: Any) -> bool:
    same_template = one.chat_template == other.chat_template
    return same_template and one.backend_tokenizer.to_str() == other.backend_tokenizer.to_str()


def _warn_shared_start(tokens: Tokens, prompts: np.ndarray) -> None:
    starts = pd.DataFrame({"prompt": prompts, "token": [row[s] for row, (s, _) in _rows(tokens)]})
    shared = int(starts.duplicated().groupby(starts["prompt"]).any().sum())
    if shared:
        warnings.warn(
            f"{shared} of {starts['prompt'].nunique()} prompts have answers that share their first "
            "token; "
            "their probabilities are of the whole answers and stay valid, single-token readings "
            "do not.",
            stacklevel=3,
        )


def _rows(tokens: Tokens) -> list[tuple[list[int], tuple[int, int]]]:
    """Token ids of every row without padding, and where its answer begins and ends."""
    return list(zip(tokens.ids, tokens.spans, strict=True))


def _plan(tokens: Tokens, *, batch: int) -> list[_Batch]:
    """Which answers run together? Those with equally long prompts, at most ``batch`` of them."""
    rows = _rows(tokens)
    if any(start < 1 for _, (start, _) in rows):
        raise SchemaError(
            "an answer needs at least one token before it; begin the prompt with text or a BOS "
            "token."
        )
    by_length: dict[int, list[int]] = {}
    for i, (_, (start, _)) in enumerate(rows):
        by_length.setdefault(start, []).append(i)
    chunks = [
        (n, same[i : i + batch])
        for n, same in sorted(by_length.items())
        for i in range(0, len(same), batch)
    ]
    return [_pack([rows[i] for i in chunk], chunk, start) for start, chunk in chunks]


def _pack(
    rows: Sequence[tuple[list[int], tuple[int, int]]], numbers: list[int], start: int
) -> _Batch:
    prefixes: dict[tuple[int, ...], int] = {}
    owner = [prefixes.setdefault(tuple(ids[: start - 1]), len(prefixes)) for ids, _ in rows]
    width = max(stop - start for _, (_, stop) in rows)
    tail = torch.zeros(len(rows), width, dtype=torch.long)
    target = torch.full((len(rows), width), -1)
    for i, (ids, (_, stop)) in enumerate(rows):
        tail[i, : stop - start] = torch.tensor(ids[start - 1 : stop - 1])
        target[i, : stop - start] = torch.tensor(ids[start:stop])
    return _Batch(
        numbers, torch.tensor(list(prefixes), dtype=torch.long), torch.tensor(owner), tail, target
    )


def _scorer(model: Any, bridge: Any, edit: Edit | None) -> Callable[[_Batch], np.ndarray]:
    """What gives the log2 probabilities of a batch, with the edit on?"""
    if edit is None:
        return lambda part: _score(model, part)
    source = None if edit.source is None else boot(edit.source)

    def score(part: _Batch) -> np.ndarray:
        passes = [tuple(ids.shape) for ids in (part.prefix, part.tail) if ids.shape[1]]
        return run_edited(
            bridge, edit, lambda inner: _score(inner, part), passes=passes, source=source
        )

    return score


@torch.inference_mode()
def _score(model: Any, part: _Batch) -> np.ndarray:
    """Log2 probability of every answer of a batch (bits)."""
    past = None
    if part.prefix.shape[1]:
        past = model.base_model(
            input_ids=part.prefix.to(model.device), use_cache=True
        ).past_key_values
        past.batch_select_indices(part.owner.to(model.device))
    logits = model(input_ids=part.tail.to(model.device), past_key_values=past).logits.float()
    target = part.target.to(model.device)
    picked = logits.gather(-1, target.clamp(min=0)[..., None])[..., 0] - logits.logsumexp(-1)
    return (picked.double() * (target >= 0)).sum(1).cpu().numpy() / math.log(2)
