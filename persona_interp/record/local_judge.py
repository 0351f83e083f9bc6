"""Which score does a chat model on disk give an answer?"""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from persona_interp.models import Checkpoint, encode, hash_weights, load, resolve_dtype
from persona_interp.models.dtype import FULL
from persona_interp.models.inputs import as_checkpoint
from persona_interp.record.judge import NUMBERS, expected_score, judge_prompt

Ids = tuple[int, ...]


@dataclass
class LocalJudge:
    """A chat model on disk as a judge: the expected number among 0, ..., 100 of its reply.

    Args:
        checkpoint: The model.
        name: Keys its stored scores; by default from its weights (and dtype, where it is not
            float32).
        device: Where it runs; by default "cuda" where there is one.
        dtype: "float32", "bfloat16" or "auto".
    """

    checkpoint: Checkpoint
    name: str = ""
    device: object = None
    dtype: str = FULL
    _model: Any = field(default=None, repr=False, compare=False)
    _numbers: dict[str, Ids] = field(default_factory=dict, repr=False, compare=False)

    def __post_init__(self) -> None:
        self.checkpoint = as_checkpoint(self.checkpoint)
        if not self.name:
            self.name = f"local {self.checkpoint.label} {hash_weights(self.checkpoint)[:16]}"
            if (dtype := resolve_dtype(self.dtype, self.device)) != FULL:
                self.name += f" {dtype}"

    def __call__(self, question: str, answer: str, eval_prompt: str) -> float | None:
        """Score of this answer, from 0 to 100; None where numbers have less than a quarter.

        A tokenizer may write "50" as "5", "0": then "5" counts where no digit of a longer number
        follows.
        """
        if self._model is None:
            self._model = load(self.checkpoint, device=self.device, dtype=self.dtype)
        model, tokenizer = self._model
        chat = [{"role": "user", "content": judge_prompt(eval_prompt, question, answer)}]
        (ids,) = encode(tokenizer, [chat]).ids
        if not self._numbers:
            self._numbers = _number_ids(tokenizer, chat)
        return expected_score(_probabilities(model, ids, self._numbers))


def _probabilities(model: Any, ids: list[int], numbers: Mapping[str, Ids]) -> dict[str, float]:
    """Probability of every number as the whole reply, by its text."""
    beginnings = set()
    for number in numbers.values():
        beginnings.update(number[:k] for k in range(1, len(number)))
    inner = sorted(beginnings)
    next_probs = _next_probs(model, ids, inner)
    # chain rule; sorted, so that what begins a longer reply comes before it
    mass: dict[Ids, float] = {(): 1.0}
    for reply in [*inner, *numbers.values()]:
        mass[reply] = mass[reply[:-1]] * float(next_probs[reply[:-1]][reply[-1]])
    # "5" is also how "50" begins: what goes on to a longer number is not a 5
    longer: dict[Ids, float] = defaultdict(float)
    for reply in set(numbers.values()):
        longer[reply[:-1]] += mass[reply]
    return {text: mass[reply] - longer[reply] for text, reply in numbers.items()}


def _number_ids(tokenizer: Any, chat: list[dict[str, str]]) -> dict[str, Ids]:
    """Token ids of every number as a reply."""
    tokens = encode(tokenizer, [chat] * len(NUMBERS), answers=NUMBERS)
    rows = zip(NUMBERS, tokens.ids, tokens.spans, strict=True)
    return {number: tuple(ids[start:]) for number, ids, (start, _) in rows}


@torch.inference_mode()
def _next_probs(model: Any, ids: list[int], beginnings: list[Ids]) -> dict[Ids, Tensor]:
    """Probabilities of the next token after the prompt and each of these beginnings of a reply."""
    out = model(input_ids=torch.tensor([ids], device=model.device), use_cache=True)
    probs: dict[Ids, Tensor] = {(): out.logits[0, -1].double().softmax(-1)}
    if not beginnings:
        return probs
    past, width = out.past_key_values, max(map(len, beginnings))
    past.batch_repeat_interleave(len(beginnings))
    # filled up with its last token: what comes after a beginning is not read
    tails = [[*reply, *[reply[-1]] * (width - len(reply))] for reply in beginnings]
    tail_ids = torch.tensor(tails, device=model.device)
    logits = model(input_ids=tail_ids, past_key_values=past).logits
    for i, reply in enumerate(beginnings):
        probs[reply] = logits[i, len(reply) - 1].double().softmax(-1)
    return probs
