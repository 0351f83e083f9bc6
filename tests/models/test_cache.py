"""What was made once is as it was made, or is made again."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from persona_interp.errors import ModelError
from persona_interp.models import cache as cache_module
from persona_interp.models import hash_weights, load, resolve
from persona_interp.models.cache import cache, make_once


def flip(file: Path) -> None:
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)


DAMAGE: dict[str, Callable[[Path], object]] = {
    "one bit of the weights": lambda folder: flip(folder / "model.safetensors"),
    "weights cut": lambda folder: (folder / "model.safetensors").write_bytes(b"x"),
    "weights gone": lambda folder: (folder / "model.safetensors").unlink(),
    "one bit of the tokenizer": lambda folder: flip(folder / "tokenizer.json"),
    "empty record": lambda folder: (folder / "made_from.json").write_text(""),
    "half a record": lambda folder: (folder / "made_from.json").write_text('{"key": {"st'),
    "a record of another kind": lambda folder: (folder / "made_from.json").write_text("[5]"),
    "no record": lambda folder: (folder / "made_from.json").unlink(),
    "one bit of the record": lambda folder: flip(folder / "made_from.json"),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_a_damaged_model_of_the_cache_is_made_again(name: str) -> None:
    first = resolve("tiny", words=["a"])
    weights = hash_weights(first)
    DAMAGE[name](first.path)
    again = resolve("tiny", words=["a"])
    assert again == first and hash_weights(again) == weights and load(again)
    assert [p.name for p in first.path.parent.iterdir()] == [first.path.name]


@pytest.mark.parametrize("name", sorted(set(DAMAGE) - {"no record"}))
def test_a_damaged_model_elsewhere_is_named_and_kept(name: str, tmp_path: Path) -> None:
    out = tmp_path / "mine"
    resolve("tiny", words=["a"], out=out)
    DAMAGE[name](out)
    with pytest.raises(ModelError, match=r"mine is damaged: .*Remove it"):
        resolve("tiny", words=["a"], out=out)
    assert out.is_dir()


def test_a_file_is_read_once_for_its_hash(monkeypatch: pytest.MonkeyPatch) -> None:
    folder = [resolve("tiny", words=["a"]).path for _ in range(2)][-1]
    monkeypatch.setattr(cache_module.hashlib, "file_digest", None)
    assert resolve("tiny", words=["a"]).path == folder


def test_what_fails_while_it_is_made_leaves_nothing() -> None:
    def fail(folder: Path) -> None:
        (folder / "half").write_text("x")
        raise OSError(28, "No space left on device")

    with pytest.raises(ModelError, match="cannot be written: No space left on device"):
        make_once(cache() / "kind" / "name", {"a": 1}, fail)
    assert not list((cache() / "kind").iterdir())


def test_a_key_is_what_json_makes_of_it() -> None:
    def make(folder: Path) -> None:
        (folder / "file").write_text("x")

    place = cache() / "kind" / "name"
    assert make_once(place, {"a": (1, 2)}, make) == make_once(place, {"a": [1, 2]}, make) == place
    record = json.loads((place / "made_from.json").read_text())
    assert record["key"] == {"a": [1, 2]} and list(record["files"]) == ["file"]
