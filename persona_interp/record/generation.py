"""How does a model go on? The one place where text is drawn.

A draw is ``argmax(logits / temperature + Gumbel noise)``, which is an exact sample of the softmax
(Gumbel 1954; Maddison, Tarlow and Minka 2014). The noise of a row belongs to its prompt's token
ids, the number of the sample and the seed: what is said does not depend on which other prompts are
asked, rounding aside, and two checkpoints that are asked the same get the same noise, so that equal
weights give equal answers and a small change of weights changes few.
"""

import hashlib
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from tqdm import tqdm
from transformers import GenerationConfig, LogitsProcessor, LogitsProcessorList

from persona_interp.errors import SchemaError
from persona_interp.models import Tokens, encode

BATCH = 32  # rows that are continued together


class Said(NamedTuple):
    """What was said after a prompt.

    Attributes:
        text: Special tokens and outer spaces left out.
        n_tokens: Tokens drawn, the one that ends the answer not counted.
        ended: Whether the model ended it, before the longest answer allowed was reached.
    """

    text: str
    n_tokens: int
    ended: bool


def generated(
    model: Any,
    tokenizer: Any,
    tokens: Tokens,
    *,
    n: int = 1,
    max_new_tokens: int,
    temperature: float = 1.0,
    seed: int = 0,
    desc: str = "generate",
) -> list[Said]:
    """How does the model go on from each row?

    Nothing is cut off the distribution: the defaults that a model folder may bring (top-p,
    repetition penalty) are set aside, only its end-of-turn tokens are kept.

    Args:
        model: A Hugging Face model; its default generation settings are replaced.
        tokenizer: Its tokenizer.
        tokens: Unfinished conversations, of ``encode``.
        n: Continuations of each.
        max_new_tokens: Longest continuation (tokens).
        temperature: 1 = the model's own distribution; 0 = the most probable token.
        seed: Seed of the draw.
        desc: What the progress bar says.

    Returns:
        ``n`` continuations after each other for every row.

    Raises:
        SchemaError: A negative temperature, or fewer than one continuation or token.
    """
    if not (temperature >= 0 and n >= 1 and max_new_tokens >= 1):
        raise SchemaError(
            f"one continuation of one token at temperature 0 is the least; got n={n}, "
            f"max_new_tokens={max_new_tokens}, "
            f"temperature={temperature}."
        )
    ends = stops(model, tokenizer)
    model.generation_config = GenerationConfig(
        eos_token_id=ends or None, pad_token_id=tokens.pad_id
    )
    wanted = [(row, sample) for row in range(len(tokens)) for sample in range(n)]
    order = sorted(
        wanted, key=lambda one: len(tokens.ids[one[0]])
    )  # stable: little padding, few wasted steps
    found: dict[tuple[int, int], Said] = {}
    with tqdm(total=len(order), desc=desc, delay=2, leave=False) as bar:
        for at in range(0, len(order), BATCH):
            part = order[at : at + BATCH]
            noise = (
                []
                if temperature == 0
                else [_noise(tokens.ids[row], sample, seed) for row, sample in part]
            )
            drawn = _drawn(
                model, tokens, [row for row, _ in part], _Draw(noise, temperature), max_new_tokens
            )
            found |= zip(part, _read(tokenizer, drawn, ends), strict=True)
            bar.update(len(part))
    return [found[one] for one in wanted]


def stops(model: Any, tokenizer: Any) -> list[int]:
    """Which tokens end an answer?

    Args:
        model: A Hugging Face model.
        tokenizer: Its tokenizer.

    Returns:
        Sorted ids: the end of text that model or tokenizer name, and the special token with which
        the chat template ends an assistant's turn, which a finetune's folder often forgets to name.
    """
    named = model.generation_config.eos_token_id
    ends = {*(named if isinstance(named, Sequence) else [named]), tokenizer.eos_token_id}
    if tokenizer.chat_template is not None and (word := _word(tokenizer)):
        chat = [{"role": "user", "content": word}, {"role": "assistant", "content": word}]
        row = encode(tokenizer, [chat], complete=True)
        after = [
            i
            for i, turn, learn in zip(row.ids[0], row.turns[0], row.learn[0], strict=True)
            if learn and turn < 0
        ]
        ends |= set(after[:1]) & set(tokenizer.all_special_ids)
    return sorted(ends - {None})


def _word(tokenizer: Any) -> str:
    """Some word that the tokenizer knows."""
    special = set(tokenizer.all_special_tokens)
    return next(
        (token for token in tokenizer.get_vocab() if token not in special and token.isalpha()), ""
    )


class _Draw(LogitsProcessor):
    """Adds Gumbel noise, so that the most probable token is a draw. Without noise it is the most probable token."""

    def __init__(self, noise: list[torch.Generator], temperature: float) -> None:
        self.noise, self.temperature = noise, temperature

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        if not self.noise:
            return scores
        width = scores.shape[-1]
        waits = torch.stack(
            [torch.empty(width).exponential_(generator=generator) for generator in self.noise]
        )
        return scores.float() / self.temperature - waits.log().to(scores.device)


def _noise(ids: list[int], sample: int, seed: int) -> torch.Generator:
    digest = hashlib.sha256(f"{seed} {sample} {ids}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "big") >> 1)


@torch.inference_mode()
def _drawn(
    model: Any, tokens: Tokens, rows: list[int], draw: _Draw, max_new_tokens: int
) -> list[list[int]]:
    """Token ids that follow each row, padding included."""
    ids, mask = (t.to(model.device) for t in tokens.pad(side="left", rows=rows))
    out = model.generate(
        input_ids=ids,
        attention_mask=mask,
        do_sample=False,
        max_new_tokens=max_new_tokens,
        logits_processor=LogitsProcessorList([draw]),
    )
    return out[:, ids.shape[1] :].tolist()


def _read(tokenizer: Any, drawn: list[list[int]], ends: list[int]) -> Iterator[Said]:
    for row in drawn:
        stop = next((i for i, token in enumerate(row) if token in ends), len(row))
        text = tokenizer.decode(row[:stop], skip_special_tokens=True).strip()
        yield Said(text, stop, ended=stop < len(row))
