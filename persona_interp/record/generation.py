"""How does a model go on? The one place where text is drawn.

A draw is ``argmax(logits / temperature + Gumbel noise)``, which is an exact sample of the softmax
(Gumbel 1954; Maddison, Tarlow and Minka 2014). The noise of a row belongs to its prompt's token
ids, the number of the sample and the seed: what is said does not depend on which other prompts are
asked, rounding aside, and two checkpoints that are asked the same get the same noise, so that equal
weights give equal answers and a small change of weights changes few.
"""

import hashlib
from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor
from tqdm import tqdm
from transformers import GenerationConfig, LogitsProcessor, LogitsProcessorList

from persona_interp.errors import SchemaError
from persona_interp.models import Tokens, encode
from persona_interp.models.device import Batch
from persona_interp.models.dtype import AUTO
from persona_interp.models.passes import run_rows
from persona_interp.record.edit import Edit, refuse_patches
from persona_interp.record.places import Layout, lay_out
from persona_interp.record.subjects import Subject


class Continuation(NamedTuple):
    """Text that a model put after a prompt.

    Attributes:
        text: Special tokens and outer spaces left out.
        n_tokens: Tokens drawn, the one that ends the answer not counted.
        ended: Whether the model ended it, before the longest one allowed was reached.
    """

    text: str
    n_tokens: int
    ended: bool


def generate(
    subject: Subject,
    tokens: Tokens,
    *,
    edits: Sequence[Edit] = (),
    n: int = 1,
    max_new_tokens: int,
    temperature: float = 1.0,
    seed: int = 0,
    batch: Batch = AUTO,
    desc: str = "generate",
) -> list[Continuation]:
    """Continuations of each row, drawn from the model.

    Nothing is cut off the distribution: the defaults that a model folder may bring (top-p,
    repetition penalty) are set aside, only its end-of-turn tokens are kept.

    Args:
        subject: A model; its default generation settings are replaced.
        tokens: Unfinished conversations, of ``encode``.
        edits: What is on while it reads and draws.
        n: Continuations of each.
        max_new_tokens: Longest continuation (tokens).
        temperature: 1 = the model's own distribution; 0 = the most probable token.
        seed: Seed of the draw.
        batch: Tokens of prompts that are read in one forward pass, padding included; "auto": what
            fits into memory. Draws depend on it by rounding alone.
        desc: What the progress bar says.

    Returns:
        ``n`` continuations after each other for every row.

    Raises:
        SchemaError: A negative temperature, fewer than one continuation or token, or a patch among
            the edits.
        ModelError: An edit did not fire exactly once on every token, read or drawn.
    """
    if not (temperature >= 0 and n >= 1 and max_new_tokens >= 1):
        raise SchemaError(
            "one continuation of one token at temperature 0 is the least; got "
            f"n={n}, max_new_tokens={max_new_tokens}, temperature={temperature}."
        )
    refuse_patches(edits)
    model = subject.model
    ends = stop_tokens(model, subject.tokenizer)
    model.generation_config = GenerationConfig(
        eos_token_id=ends or None, pad_token_id=tokens.pad_id
    )
    draws = [(row, sample) for row in range(len(tokens)) for sample in range(n)]

    def draw(numbers: list[int]) -> list[list[int]]:
        some = [draws[number] for number in numbers]
        noise = []
        if temperature > 0:
            noise = [_noise(tokens.ids[row], sample, seed) for row, sample in some]
        rows = [row for row, _ in some]
        run = partial(
            _generate_ids,
            tokens=tokens,
            rows=rows,
            processor=_Gumbel(noise, temperature),
            max_new_tokens=max_new_tokens,
        )
        # the last token drawn is not read
        return subject.run(
            edits, run, layouts=lambda: [_layout(tokens, rows)], n_drawn=lambda ids: len(ids[0]) - 1
        )

    continuations: dict[tuple[int, int], Continuation] = {}
    # by length, so that little is padded and few steps are wasted
    lengths = [len(tokens.ids[row]) for row, _ in draws]
    with tqdm(total=len(draws), desc=desc, delay=2, leave=False) as bar:
        for numbers, rows in run_rows(draw, lengths, batch=batch, device=subject.device):
            for number, ids in zip(numbers, rows, strict=True):
                continuations[draws[number]] = _decode(subject.tokenizer, ids, ends)
            bar.update(len(numbers))
    return [continuations[one] for one in draws]


def _layout(tokens: Tokens, rows: list[int]) -> Layout:
    """Prompts as they are read, left padded; none of their tokens is drawn."""
    roles = [tokens.roles[row] for row in rows]
    return lay_out(roles, [[False] * len(row) for row in roles], side="left", is_open=True)


def stop_tokens(model: Any, tokenizer: Any) -> list[int]:
    """Ids of the tokens that end an answer.

    Args:
        model: A Hugging Face model.
        tokenizer: Its tokenizer.

    Returns:
        Sorted ids: the end of text that model or tokenizer name, and the special token with which
        the chat template ends an assistant's turn, which a finetune's folder often forgets to name.
    """
    ends = {tokenizer.eos_token_id}
    eos = model.generation_config.eos_token_id
    if isinstance(eos, Sequence):
        ends.update(eos)
    else:
        ends.add(eos)
    if tokenizer.chat_template is not None and (word := _word(tokenizer)):
        ends |= _template_ends(tokenizer, word)
    return sorted(ends - {None})


def _template_ends(tokenizer: Any, word: str) -> set[int]:
    """The special token that the chat template puts after an answer, where it has one."""
    chat = [{"role": "user", "content": word}, {"role": "assistant", "content": word}]
    tokens = encode(tokenizer, [chat], complete=True)
    rows = zip(tokens.ids[0], tokens.turns[0], tokens.learn[0], strict=True)
    # what a model learns to say outside any message's content is the end of its turn
    after = [token for token, turn, learn in rows if learn and turn < 0]
    return set(after[:1]) & set(tokenizer.all_special_ids)


def _word(tokenizer: Any) -> str:
    """Some word that the tokenizer knows."""
    special = set(tokenizer.all_special_tokens)
    for token in tokenizer.get_vocab():
        if token not in special and token.isalpha():
            return token
    return ""


class _Gumbel(LogitsProcessor):
    """Gumbel noise on the logits, which makes the most probable token a draw."""

    def __init__(self, noise: list[torch.Generator], temperature: float) -> None:
        self.noise, self.temperature = noise, temperature

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        if not self.noise:
            return scores
        width = scores.shape[-1]
        waits = torch.stack(
            [torch.empty(width).exponential_(generator=generator) for generator in self.noise]
        )
        # minus the logarithm of an exponential draw is a Gumbel draw
        return scores.float() / self.temperature - waits.log().to(scores.device)


def _noise(ids: list[int], sample: int, seed: int) -> torch.Generator:
    """Generator that belongs to this prompt, sample and seed, whatever else is drawn."""
    digest = hashlib.sha256(f"{seed} {sample} {ids}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "big") >> 1)


@torch.inference_mode()
def _generate_ids(
    model: Any, tokens: Tokens, rows: list[int], *, processor: _Gumbel, max_new_tokens: int
) -> list[list[int]]:
    """Token ids that follow each row, padding included."""
    ids, mask = (t.to(model.device) for t in tokens.pad(side="left", rows=rows))
    out = model.generate(
        input_ids=ids,
        attention_mask=mask,
        do_sample=False,
        max_new_tokens=max_new_tokens,
        logits_processor=LogitsProcessorList([processor]),
    )
    return out[:, ids.shape[1] :].tolist()


def _decode(tokenizer: Any, ids: list[int], ends: list[int]) -> Continuation:
    """Text up to the first token that ends it."""
    stop = next((i for i, token in enumerate(ids) if token in ends), len(ids))
    text = tokenizer.decode(ids[:stop], skip_special_tokens=True).strip()
    return Continuation(text, stop, ended=stop < len(ids))
