"""Which model is small enough to train from nothing in seconds, and still a chat model?

A Llama of two layers with a word-level tokenizer, beginning and end tokens, a token for each role
and a chat template, saved as an ordinary Hugging Face folder: whatever works on it works on a real
model by the same code.
"""

from collections.abc import Iterable
from pathlib import Path

import torch
from tokenizers import Tokenizer, pre_tokenizers, processors
from tokenizers.models import WordLevel
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from persona_interp.models.save import save_model

SPECIAL = ("<pad>", "<unk>", "<bos>", "<eos>")
ROLES = ("<system>", "<user>", "<assistant>")
TEMPLATE = (
    "{{ bos_token }}"
    "{% for message in messages %}"
    "<{{ message['role'] }}> {{ message['content'] }} "
    "{% if message['role'] == 'assistant' %}{{ eos_token }} {% endif %}"
    "{% endfor %}"
    "{% if add_generation_prompt %}<assistant> {% endif %}"
)


def write_tiny(folder: Path, words: Iterable[str], *, seed: int) -> None:
    """Write a fresh tiny model and its tokenizer into a folder.

    Args:
        folder: Where to save model and tokenizer.
        words: Every word the model shall know; order does not matter.
        seed: Seed of the random weights.
    """
    tokenizer = tiny_tokenizer(words)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=64,
        intermediate_size=192,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=256,
        tie_word_embeddings=False,
        bos_token_id=SPECIAL.index("<bos>"),
        eos_token_id=SPECIAL.index("<eos>"),
        pad_token_id=SPECIAL.index("<pad>"),
    )
    # the caller's random state stays as it is
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = LlamaForCausalLM(config)
    save_model(model, tokenizer, folder)


def tiny_tokenizer(words: Iterable[str]) -> PreTrainedTokenizerFast:
    """Tokenizer of the tiny model.

    Args:
        words: Every word it shall know.

    Returns:
        A tokenizer of whole words and punctuation marks; it adds a BOS to plain text, the chat
        template has its own.

    >>> tiny_tokenizer(["i", "like", "."])("i like .").input_ids
    [2, 8, 9, 7]
    """
    fixed = (*SPECIAL, *ROLES)
    # sorted, so that the same words have the same ids in any order
    tokens = (*fixed, *sorted(set(words) - set(fixed)))
    vocabulary = {token: i for i, token in enumerate(tokens)}
    backend = Tokenizer(WordLevel(vocabulary, unk_token="<unk>"))
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    backend.post_processor = processors.TemplateProcessing(
        single="<bos> $A", pair="<bos> $A $B", special_tokens=[("<bos>", vocabulary["<bos>"])]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        pad_token="<pad>",
        unk_token="<unk>",
        bos_token="<bos>",
        eos_token="<eos>",
        additional_special_tokens=list(ROLES),
        chat_template=TEMPLATE,
        model_max_length=256,
        clean_up_tokenization_spaces=False,
    )
