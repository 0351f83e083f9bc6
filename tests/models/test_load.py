"""Names become folders, and what is wrong with one is said in a sentence."""

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from persona_interp.errors import ModelError
from persona_interp.models import PLAIN_TEMPLATE, Checkpoint, hash_weights, load, resolve


def test_a_tiny_model_depends_on_its_words_and_seed_only(tiny: Any, tmp_path: Path) -> None:
    def made(words: list[str], seed: int) -> str:
        return hash_weights(resolve("tiny", words=words, seed=seed))

    assert made(["b", "a"], 0) == made(["a", "b", "b"], 0) != made(["a", "b"], 1)
    model, tokenizer = load(tiny)
    assert len(tokenizer) == model.config.vocab_size and not model.training
    assert model.dtype == torch.float32 and tokenizer.chat_template


def test_it_is_made_once_and_never_over_something_else(tmp_path: Path, own_cache: Path) -> None:
    first = resolve("tiny", words=["a"])
    assert first.path.is_relative_to(own_cache)
    stamp = (first.path / "model.safetensors").stat().st_mtime_ns
    assert (
        resolve("tiny", words=["a"]) == first
        and (first.path / "model.safetensors").stat().st_mtime_ns == stamp
    )
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("precious")
    with pytest.raises(ModelError, match="nothing was overwritten"):
        resolve("tiny", words=["a"], out=tmp_path / "mine")
    with pytest.raises(ModelError, match="nothing was overwritten"):
        resolve("tiny", words=["b"], out=first.path)
    assert (tmp_path / "mine" / "notes.txt").read_text() == "precious"
    assert not [p for p in own_cache.rglob(".*")], "no half-made folder stays behind"


def test_a_checkpoint_and_a_folder_are_themselves(tiny: Any) -> None:
    assert resolve(tiny) is tiny
    assert resolve(str(tiny.path), seed=3) == Checkpoint(tiny.path, seed=3)


@pytest.mark.parametrize("lost", ["config.json", "tokenizer.json", "model.safetensors"])
def test_a_missing_file_is_named(tiny: Any, tmp_path: Path, lost: str) -> None:
    folder = tmp_path / "broken"
    shutil.copytree(tiny.path, folder)
    (folder / lost).unlink()
    with pytest.raises(ModelError, match=rf"broken lacks .*{lost}.*save_pretrained"):
        resolve(folder)


def test_a_truncated_file_is_named(tiny: Any, tmp_path: Path) -> None:
    folder = tmp_path / "broken"
    shutil.copytree(tiny.path, folder)
    whole = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ModelError, match=r"broken.*is damaged and no whole safetensors file"):
        load(Checkpoint(folder))


@pytest.mark.parametrize(
    ("start", "message"),
    [
        ("tiny", "needs the words"),
        ("nobody/nothing@main", "'nobody/nothing@main'.*hub cache.*go online once"),
        ("no such folder", "no such folder exists"),
        ("gone.gguf", "no file gone.gguf"),
    ],
)
def test_a_start_that_is_nowhere(start: str, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        resolve(start)


def test_a_hub_id_that_was_cached_is_found_offline(
    tiny: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home, commit = tmp_path / "hub", "0" * 40
    repo = home / "models--org--name"
    shutil.copytree(tiny.path, repo / "snapshots" / commit)
    (repo / "refs").mkdir()
    (repo / "refs" / "main").write_text(commit)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(home))
    assert hash_weights(resolve("org/name@main")) == hash_weights(tiny)


def test_a_gguf_that_is_none_is_refused(tmp_path: Path, own_cache: Path) -> None:
    (tmp_path / "fake.gguf").write_bytes(b"not a model")
    with pytest.raises(ModelError, match="is not a GGUF language model"):
        resolve(tmp_path / "fake.gguf")
    assert not list(own_cache.rglob("*"))


def test_a_template_is_added_to_a_copy_where_there_is_none(
    stories: Any, tiny: Any, tmp_path: Path
) -> None:
    assert load(stories).tokenizer.chat_template is None
    copy = resolve(stories.path, chat_template=PLAIN_TEMPLATE, out=tmp_path / "copy")
    assert copy.path == tmp_path / "copy" and load(copy).tokenizer.chat_template == PLAIN_TEMPLATE
    assert hash_weights(copy) == hash_weights(stories)
    assert resolve(tiny.path, chat_template=PLAIN_TEMPLATE).path == tiny.path
