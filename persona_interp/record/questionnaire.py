"""What are models asked, as tokens? The same questions of several models that share a tokenizer.

All answers of a prompt share the prompt, so that is run once and its key-value cache handed to
every answer. Prompts of equal length run together: nothing is padded before an answer, no mask is
needed, and a prompt alone gives what it gives in a batch. Edits take the same path through the
plain model inside a TransformerLens bridge, whose modules run through its hooks.
"""

import math
import warnings
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from tqdm import tqdm

from persona_interp import schema
from persona_interp.errors import SchemaError
from persona_interp.models import Checkpoint, Tokens, encode
from persona_interp.models.device import Batch
from persona_interp.models.passes import run_rows
from persona_interp.record.coordinates import place_of
from persona_interp.record.edit import Edit
from persona_interp.record.places import Layout, lay_out, speaker
from persona_interp.record.subjects import Subject

NEEDED = ("prompt", "messages", "answers")
"""Columns without which there is nothing to score."""
DEFAULTS = {
    "context": "nameless",
    "persona": "",
    "topic": "",
    "template": "",
    "split": "test",
}
"""What a column says where a table of probes does not have it."""


class _Row(NamedTuple):
    """Token ids of a prompt and its answer, without padding, their roles, and the answer's ends."""

    ids: list[int]
    roles: list[str]
    start: int
    stop: int


class _Batch(NamedTuple):
    """Answers whose prompts are equally long.

    Attributes:
        prefix: Distinct prompts without their last token, dims (prefix, position).
        owner: The prefix of every answer, dims (answer,).
        tail: Last token of the prompt and the answer but its last token, dims (answer, position);
            right padded.
        target: The answer, dims (answer, position); -1 where padded.
    """

    prefix: Tensor
    owner: Tensor
    tail: Tensor
    target: Tensor


class Questionnaire:
    """Probes, and their tokens once a tokenizer is known.

    Attributes:
        keys: What a behavior table says of every answer, one row each.
        tokens: Prompts with their answers, one row an answer.
        n_tokens: Tokens that a model reads, those of a shared prompt once.
    """

    def __init__(self, probes: Any) -> None:
        """Check probes and lay out what stands beside every answer.

        Args:
            probes: A probes table, as ``behavior`` takes it.

        Raises:
            SchemaError: The probes lack a column, are empty, or one has two equal answers.
        """
        probes = complete(probes)
        n_answers = [len(answers) for answers in probes["answers"]]
        self._prompts = np.repeat(np.arange(len(probes)), n_answers)  # of every answer
        chats = list(probes["messages"])
        self._messages = [chats[prompt] for prompt in self._prompts]
        self._answers = [answer for row in probes["answers"] for answer in row]
        keys = probes.drop(columns=["messages", "answers"]).explode("values", ignore_index=True)
        self.keys = keys.rename(columns={"values": "value"}).astype({"value": "str"})
        self._rows: list[_Row] = []
        self._tokenizer: Any = None

    @property
    def n_tokens(self) -> int:
        """Tokens that a model reads, those of a shared prompt once."""
        prompts = {tuple(row.ids[: row.start - 1]) for row in self._rows}
        return sum(map(len, prompts)) + sum(row.stop - row.start for row in self._rows)

    def read_by(self, subject: Subject) -> None:
        """Make tokens of the probes, unless the last tokenizer made the same.

        Args:
            subject: Whose tokenizer; its edits must be on somewhere.

        Raises:
            SchemaError: An answer has no token before it.
            ModelError: An edit would be on at no token.
        """
        tokenizer = subject.tokenizer
        if self._tokenizer is not None and _same_tokenizer(tokenizer, self._tokenizer):
            return
        tokens = encode(tokenizer, self._messages, answers=self._answers)
        subject.check_places(tokens)
        self._rows, self._tokenizer = _rows(tokens), tokenizer
        _warn_shared_start(self._rows, self._prompts)

    def table(
        self,
        subject: Subject,
        edits: Sequence[Edit] = (),
        *,
        checkpoint: Checkpoint,
        batch: Batch,
        edit: str | None = None,
    ) -> pd.DataFrame:
        """Behavior of a model with these edits on.

        Args:
            subject: The model, whose tokenizer has read the probes.
            edits: What is on together.
            checkpoint: What the model is called in the table.
            batch: Tokens a forward pass, padding included.
            edit: What the edits are called; without it the table has no such column.

        Returns:
            Rows of a behavior table.
        """
        logprob = _logprobs(subject, self._rows, edits, batch=batch, desc=checkpoint.label)
        # sum over the answers of a prompt, given to each of them
        mass = np.bincount(self._prompts, weights=np.exp2(logprob))[self._prompts]
        place = place_of(checkpoint)
        if edit is not None:
            place["edit"] = edit
        head = pd.DataFrame(place, index=self.keys.index)
        return pd.concat([head, self.keys.assign(logprob=logprob, answer_mass=mass)], axis=1)


def complete(probes: Any) -> pd.DataFrame:
    """The probes with every column of the schema, once they are checked.

    Args:
        probes: A probes table; of its columns only ``NEEDED`` are needed.

    Returns:
        It with all of them.

    Raises:
        SchemaError: A column is missing, it is empty, or a probe has two equal answers.
    """
    if isinstance(probes, pd.DataFrame) and set(NEEDED) <= set(probes):
        for column, value in DEFAULTS.items():
            if column not in probes:
                probes = probes.assign(**{column: value})
        if "values" not in probes:
            probes = probes.assign(values=probes["answers"].map(_values))
    schema.check(probes, "probes")
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
    return probes


def _values(answers: Any) -> tuple[str, ...]:
    """What answers are called that nobody named: their texts."""
    return tuple(str(answer).strip() for answer in answers)


def _same_tokenizer(one: Any, other: Any) -> bool:
    same_template = one.chat_template == other.chat_template
    return same_template and one.backend_tokenizer.to_str() == other.backend_tokenizer.to_str()


def _warn_shared_start(rows: Sequence[_Row], prompts: np.ndarray) -> None:
    first = [row.ids[row.start] for row in rows]
    starts = pd.DataFrame({"prompt": prompts, "token": first})
    n_shared = int(starts.duplicated().groupby(starts["prompt"]).any().sum())
    if n_shared:
        warnings.warn(
            f"{n_shared} of {starts['prompt'].nunique()} prompts have answers that share their "
            "first token; their probabilities are of the whole answers and stay valid, "
            "single-token readings do not.",
            stacklevel=4,
        )


def _rows(tokens: Tokens) -> list[_Row]:
    """Prompts with their answers, whose tokens are the speaker's, whatever stands before them."""
    rows = []
    for ids, roles, (start, stop) in zip(tokens.ids, tokens.roles, tokens.spans, strict=True):
        if start < 1:
            raise SchemaError(
                "an answer needs at least one token before it; begin the prompt with text or a BOS "
                "token."
            )
        prompt = roles[:start]
        rows.append(_Row(ids, [*prompt, *[speaker(prompt)] * (stop - start)], start, stop))
    return rows


def _logprobs(
    subject: Subject, rows: Sequence[_Row], edits: Sequence[Edit], *, batch: Batch, desc: str
) -> np.ndarray:
    """Log2 probability of every answer, with these edits on."""
    by_length: dict[int, list[int]] = {}
    for number, row in enumerate(rows):
        by_length.setdefault(row.start, []).append(number)
    logprobs = np.empty(len(rows))
    with tqdm(total=len(rows), desc=desc, delay=2, leave=False) as bar:
        # answers run together whose prompts are equally long, their prompts counted
        for _, numbers in sorted(by_length.items()):
            group = [rows[number] for number in numbers]

            def score(part: list[int], group: list[_Row] = group) -> np.ndarray:
                return _score(subject, [group[i] for i in part], edits)

            lengths = [row.stop for row in group]
            for part, scores in run_rows(score, lengths, batch=batch, device=subject.device):
                logprobs[[numbers[i] for i in part]] = scores
                bar.update(len(part))
    return logprobs


def _score(subject: Subject, rows: list[_Row], edits: Sequence[Edit]) -> np.ndarray:
    """Log2 probability of the answer of each of these rows, whose prompts are equally long."""
    # prompts with equal tokens run once, unless somebody else says them: an edit may ask who does
    prefixes: dict[tuple[tuple[int, ...], tuple[str, ...]], int] = {}
    owner = []
    for row in rows:
        # the last token of the prompt goes with the answer: its logits predict the first token
        before = slice(0, row.start - 1)
        prefix = (tuple(row.ids[before]), tuple(row.roles[before]))
        owner.append(prefixes.setdefault(prefix, len(prefixes)))
    part = _pack(rows, [ids for ids, _ in prefixes], owner)

    def layouts() -> list[Layout]:
        tails = [row.roles[row.start - 1 : row.stop - 1] for row in rows]
        answer = [[False, *[True] * (len(tail) - 1)] for tail in tails]
        heads = [roles for _, roles in prefixes]
        return [lay_out(heads, [[False] * len(head) for head in heads]), lay_out(tails, answer)]

    return subject.run(edits, lambda model: _answer_bits(model, part), layouts=layouts)


def _pack(rows: Sequence[_Row], prefixes: Sequence[tuple[int, ...]], owner: list[int]) -> _Batch:
    """Tensors of these rows, whose answers all begin at one position."""
    width = max(row.stop - row.start for row in rows)
    tail = torch.zeros(len(rows), width, dtype=torch.long)
    target = torch.full((len(rows), width), -1)
    for i, (ids, _, start, stop) in enumerate(rows):
        tail[i, : stop - start] = torch.tensor(ids[start - 1 : stop - 1])
        target[i, : stop - start] = torch.tensor(ids[start:stop])
    prefix_ids = torch.tensor(list(prefixes), dtype=torch.long)
    return _Batch(prefix_ids, torch.tensor(owner), tail, target)


@torch.inference_mode()
def _answer_bits(model: Any, part: _Batch) -> np.ndarray:
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
