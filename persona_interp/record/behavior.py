"""How probable is every answer? The behavior table, one row a checkpoint, prompt and answer.

The probability of an answer is that of its whole text, terminator included, by the chain rule. All
answers of a prompt share the prompt, so that is run once and its key-value cache handed to every
answer. Prompts of equal length run together: nothing is padded before an answer, no mask is needed,
and a prompt alone gives what it gives in a batch. Edits take the same path through the plain model
inside a TransformerLens bridge, whose modules run through its hooks.
"""

import math
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from tqdm import tqdm

from persona_interp import schema
from persona_interp.errors import SchemaError
from persona_interp.models import Checkpoint, Tokens, boot, encode, load
from persona_interp.models.inputs import list_checkpoints
from persona_interp.models.passes import BATCH, row_batches
from persona_interp.record.edit import Edit, list_edits
from persona_interp.record.edit_runs import run_edited
from persona_interp.schema.words import UNEDITED

Edits = Edit | Sequence[Edit | Sequence[Edit]] | Mapping[str, Edit | Sequence[Edit]]
"""Edits that are tried one after the other; a sequence among them is on together."""


class _Batch(NamedTuple):
    """Answers whose prompts are equally long.

    Attributes:
        rows: Rows of the table.
        prefix: Distinct prompts without their last token, dims (prefix, position).
        owner: The prefix of every answer, dims (answer,).
        tail: Last token of the prompt and the answer but its last token, dims (answer, position);
            right padded.
        target: The answer, dims (answer, position); -1 where padded.
    """

    rows: list[int]
    prefix: Tensor
    owner: Tensor
    tail: Tensor
    target: Tensor


class _Row(NamedTuple):
    """Token ids of a prompt and its answer, without padding, and the answer's ends."""

    ids: list[int]
    start: int
    stop: int


def behavior(
    checkpoints: Checkpoint | Iterable[Checkpoint],
    probes: pd.DataFrame,
    *,
    edits: Edits = (),
    batch: int = BATCH,
) -> pd.DataFrame:
    """Log2 probability of every answer to every probe, by each checkpoint.

    Args:
        checkpoints: A checkpoint, a trajectory or any iterable of checkpoints.
        probes: A probes table; ``values`` and ``answers`` of a row belong together.
        edits: Changes of the inside (``record.add``, ``project_out``, ...), each tried alone on
            every checkpoint. A tuple among them is on together, one entry of the table; a mapping
            names its entries: ``edits=read_capping(path)``.
        batch: Tokens a forward pass, padding included.

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
    groups = list_edits(edits)
    n_answers = [len(answers) for answers in probes["answers"]]
    prompts = np.repeat(np.arange(len(probes)), n_answers)  # of every answer
    chats = list(probes["messages"])
    messages = [chats[prompt] for prompt in prompts]
    answers = [answer for row in probes["answers"] for answer in row]
    keys = probes.drop(columns=["messages", "answers"]).explode("values", ignore_index=True)
    keys = keys.rename(columns={"values": "value"}).astype({"value": "str"})
    models = list_checkpoints(checkpoints)
    tables, plan, last_tokenizer = [], [], None
    for checkpoint in tqdm(models, desc="behavior", delay=2, disable=len(models) < 2):
        bridge = None
        if groups:
            # eager attention: "none" and the edits differ by the edit alone
            bridge = boot(checkpoint)
            model, tokenizer = bridge.original_model, bridge.tokenizer
        else:
            model, tokenizer = load(checkpoint)
        # checkpoints of a run share a tokenizer, and so the plan
        if last_tokenizer is None or not _same_tokenizer(tokenizer, last_tokenizer):
            tokens = encode(tokenizer, messages, answers=answers)
            _warn_shared_start(tokens, prompts)
            plan, last_tokenizer = _plan(tokens, batch=batch), tokenizer
        for name in tqdm(
            (UNEDITED, *groups),
            desc=f"edits of {checkpoint.label}",
            delay=2,
            leave=False,
            disable=not groups,
        ):
            score = _scorer(model, bridge, groups.get(name, ()))
            logprob = np.empty(len(prompts))
            for part in tqdm(plan, desc=checkpoint.label, delay=2, leave=False):
                logprob[part.rows] = score(part)
            # sum over the answers of a prompt, given to each of them
            mass = np.bincount(prompts, weights=np.exp2(logprob))[prompts]
            place: dict[str, object] = {
                "checkpoint": checkpoint.label,
                "seed": checkpoint.seed,
                "stage": checkpoint.stage,
                "step": checkpoint.step,
            }
            if groups:
                place["edit"] = name
            head = pd.DataFrame(place, index=keys.index)
            tables.append(pd.concat([head, keys.assign(logprob=logprob, answer_mass=mass)], axis=1))
    return pd.concat(tables, ignore_index=True)


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
    first = [row.ids[row.start] for row in _rows(tokens)]
    starts = pd.DataFrame({"prompt": prompts, "token": first})
    n_shared = int(starts.duplicated().groupby(starts["prompt"]).any().sum())
    if n_shared:
        warnings.warn(
            f"{n_shared} of {starts['prompt'].nunique()} prompts have answers that share their "
            "first token; their probabilities are of the whole answers and stay valid, "
            "single-token readings do not.",
            stacklevel=3,
        )


def _rows(tokens: Tokens) -> list[_Row]:
    return [_Row(ids, *span) for ids, span in zip(tokens.ids, tokens.spans, strict=True)]


def _plan(tokens: Tokens, *, batch: int) -> list[_Batch]:
    """Answers that run together: those with equally long prompts, their prompts counted."""
    rows = _rows(tokens)
    by_length: dict[int, list[int]] = {}
    for number, row in enumerate(rows):
        if row.start < 1:
            raise SchemaError(
                "an answer needs at least one token before it; begin the prompt with text or a BOS "
                "token."
            )
        by_length.setdefault(row.start, []).append(number)
    plan = []
    for _, numbers in sorted(by_length.items()):
        for part in row_batches([rows[number].stop for number in numbers], batch):
            plan.append(_pack(rows, [numbers[i] for i in part]))
    return plan


def _pack(rows: Sequence[_Row], numbers: list[int]) -> _Batch:
    """Batch of these rows, whose answers all begin at one position."""
    prefixes: dict[tuple[int, ...], int] = {}
    owner = []
    for number in numbers:
        # The last token of the prompt goes with the answer: its logits predict the first token.
        prefix = tuple(rows[number].ids[: rows[number].start - 1])
        owner.append(prefixes.setdefault(prefix, len(prefixes)))
    width = max(rows[number].stop - rows[number].start for number in numbers)
    tail = torch.zeros(len(numbers), width, dtype=torch.long)
    target = torch.full((len(numbers), width), -1)
    for i, number in enumerate(numbers):
        ids, start, stop = rows[number]
        tail[i, : stop - start] = torch.tensor(ids[start - 1 : stop - 1])
        target[i, : stop - start] = torch.tensor(ids[start:stop])
    prefix_ids = torch.tensor(list(prefixes), dtype=torch.long)
    return _Batch(numbers, prefix_ids, torch.tensor(owner), tail, target)


def _scorer(model: Any, bridge: Any, edits: tuple[Edit, ...]) -> Callable[[_Batch], np.ndarray]:
    """Function that gives the log2 probabilities of a batch, with these edits on."""
    if not edits:
        return lambda part: _score(model, part)
    sources = {edit: boot(edit.source) for edit in edits if edit.source is not None}

    def score(part: _Batch) -> np.ndarray:
        # prompts of one token have no prefix, and so no pass of their own
        passes = [tuple(ids.shape) for ids in (part.prefix, part.tail) if ids.shape[1]]
        return run_edited(
            bridge, edits, lambda plain: _score(plain, part), passes=passes, sources=sources
        )

    return score


@torch.inference_mode()
def _score(model: Any, part: _Batch) -> np.ndarray:
    """Log2 probability of every answer of a batch (bits)."""
    past = None
    if part.prefix.shape[1]:
        prefix = part.prefix.to(model.device)
        past = model.base_model(input_ids=prefix, use_cache=True).past_key_values
        # one copy of its prompt's keys and values for every answer
        past.batch_select_indices(part.owner.to(model.device))
    logits = model(input_ids=part.tail.to(model.device), past_key_values=past).logits.float()
    target = part.target.to(model.device)
    # log softmax of the targets alone: never a second array as large as the logits
    chosen_logits = logits.gather(-1, target.clamp(min=0)[..., None])[..., 0]
    logprobs = chosen_logits - logits.logsumexp(-1)
    return (logprobs.double() * (target >= 0)).sum(1).cpu().numpy() / math.log(2)
