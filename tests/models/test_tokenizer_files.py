"""A tokenizer is what its file says, whatever transformers makes of the family of its model."""

import warnings
from pathlib import Path

import pytest
from tokenizers import Tokenizer, models, normalizers
from transformers import PreTrainedTokenizerFast, Qwen2Config, Qwen2ForCausalLM

from persona_interp.models import Checkpoint, load
from persona_interp.models.load import read_tokenizer

PIECES = [
    "<unk>",
    "▁",
    "▁Once",
    "▁upon",
    "▁a",
    "▁time",
    "O",
    "n",
    "c",
    "e",
    "u",
    "p",
    "o",
    "a",
    "t",
]


def save_tokenizer(folder: Path) -> None:
    """Save a tokenizer that puts a mark before each word, as those of Llama do."""
    tokenizer = Tokenizer(models.BPE({p: i for i, p in enumerate(PIECES)}, [], unk_token="<unk>"))
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]
    )
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="<unk>").save_pretrained(folder)


@pytest.fixture
def foreign(tmp_path: Path) -> Checkpoint:
    """A model of a family whose tokenizers split otherwise."""
    config = Qwen2Config(
        vocab_size=len(PIECES),
        hidden_size=16,
        intermediate_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=2,
    )
    Qwen2ForCausalLM(config).save_pretrained(tmp_path)
    save_tokenizer(tmp_path)
    return Checkpoint(tmp_path)


def test_the_file_is_used_and_the_difference_is_said(foreign: Checkpoint) -> None:
    text = "Once upon a time"
    with pytest.warns(UserWarning, match=r"for a Qwen2Tokenizer.*the file is used"):
        tokenizer = load(foreign).tokenizer
    saved = Tokenizer.from_file(str(foreign.path / "tokenizer.json"))
    assert tokenizer(text)["input_ids"] == saved.encode(text).ids
    assert tokenizer(text)["input_ids"][0] == PIECES.index("▁")


def test_nothing_is_said_where_both_split_alike(tmp_path: Path) -> None:
    save_tokenizer(tmp_path)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(read_tokenizer(tmp_path)) == len(PIECES)
