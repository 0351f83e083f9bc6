"""What makes two checkpoints read text differently is named by its first token."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from persona_interp.errors import ModelError
from persona_interp.models import Checkpoint, load, resolve, same_tokenizer
from persona_interp.models.load import load_tokenizer


def changed(start: Any, folder: Path, **settings: Any) -> Checkpoint:
    """A copy that reads with a tokenizer changed in memory."""
    shutil.copytree(start.path, folder)
    tokenizer = load_tokenizer(start)
    for name, value in settings.items():
        setattr(tokenizer, name, value)
    tokenizer.save_pretrained(folder)
    return Checkpoint(folder)


def edited(start: Any, folder: Path, edit: Any) -> Checkpoint:
    """A copy whose tokenizer.json was changed."""
    shutil.copytree(start.path, folder, copy_function=shutil.copyfile)
    about = json.loads((folder / "tokenizer.json").read_text())
    edit(about)
    (folder / "tokenizer.json").write_text(json.dumps(about))
    return Checkpoint(folder)


def test_equal_tokenizers_pass(tiny: Any, stories: Any, tmp_path: Path) -> None:
    assert (
        same_tokenizer([tiny, changed(tiny, tmp_path / "copy")]) == () == same_tokenizer([stories])
    )


def test_the_padding_token_does_not_matter(tiny: Any, tmp_path: Path) -> None:
    assert same_tokenizer([tiny, changed(tiny, tmp_path / "other", pad_token="<eos>")]) == ()


def test_another_token_is_named(tiny: Any, tmp_path: Path) -> None:
    other = resolve("tiny", words=["an", "zebra"], out=tmp_path / "other")
    with pytest.raises(
        ModelError, match=r"token 7 is '\.' in one and 'an' in the other.*tokenizer="
    ):
        same_tokenizer([tiny, other])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"eos_token": "<unk>"}, "the eos_token is '<eos>' in one and '<unk>' in the other"),
        ({"chat_template": "{{ messages }}"}, "their chat templates differ"),
        ({"chat_template": None}, r"their chat templates differ \(other@0 has none\)"),
    ],
)
def test_special_tokens_and_templates(
    tiny: Any, tmp_path: Path, settings: dict[str, Any], message: str
) -> None:
    other = changed(tiny, tmp_path / "other", **settings)
    if settings.get("chat_template", "") is None:
        (other.path / "chat_template.jinja").unlink(missing_ok=True)
    with pytest.raises(ModelError, match=message):
        same_tokenizer([tiny, other])


def test_merges_and_rules(stories: Any, tmp_path: Path) -> None:
    def swap(about: dict[str, Any]) -> None:
        merges = about["model"]["merges"]
        merges[0], merges[1] = merges[1], merges[0]

    def lower(about: dict[str, Any]) -> None:
        about["normalizer"] = {"type": "Lowercase"}

    with pytest.raises(ModelError, match="the first differing merge is"):
        same_tokenizer([stories, edited(stories, tmp_path / "swapped", swap)])
    with pytest.raises(ModelError, match="becomes other tokens, first"):
        same_tokenizer([stories, edited(stories, tmp_path / "lower", lower)])


def test_new_tokens_are_told_and_allowed_only_where_nothing_else_changes(
    tiny: Any, tmp_path: Path
) -> None:
    def grown(name: str, template: str | None = None) -> Checkpoint:
        model, tokenizer = load(tiny)
        tokenizer.add_tokens(["<tool>", "<extra>"])
        tokenizer.chat_template = template or tokenizer.chat_template
        model.resize_token_embeddings(len(tokenizer), mean_resizing=False)
        model.save_pretrained(tmp_path / name)
        tokenizer.save_pretrained(tmp_path / name)
        return Checkpoint(tmp_path / name)

    assert same_tokenizer([tiny, grown("grown")]) == ("<tool>", "<extra>")
    template = "<tool>{{ messages[0].content }}"
    with pytest.raises(
        ModelError, match=r"the chat template writes token 24 \('<tool>'\), which one lacks"
    ):
        same_tokenizer(
            [changed(tiny, tmp_path / "asks", chat_template=template), grown("asked", template)]
        )


@pytest.mark.parametrize(
    "change", [lambda t: t + "{# a comment #}", lambda t: "{#- v2 -#}" + t, lambda t: t + "\n"]
)
def test_templates_are_compared_by_what_they_write(
    tiny: Any, tmp_path: Path, change: Callable[[str], str]
) -> None:
    template = load(tiny).tokenizer.chat_template
    other = changed(tiny, tmp_path / "other", chat_template=change(template))
    assert load(other).tokenizer.chat_template != template
    assert same_tokenizer([tiny, other]) == ()


@pytest.mark.parametrize(
    "change",
    [
        lambda t: t.replace("<assistant>", "<user>"),
        lambda t: t + " .",
        lambda t: "{% if messages | length > 3 %}.{% endif %}" + t,
        lambda t: "{% if messages[0].role == 'system' %}{{ raise_exception('no') }}{% endif %}" + t,
        lambda t: t.replace("message['content']", "message['content'].strip()"),
    ],
)
def test_templates_that_write_otherwise_differ(
    tiny: Any, tmp_path: Path, change: Callable[[str], str]
) -> None:
    template = change(load(tiny).tokenizer.chat_template)
    other = changed(tiny, tmp_path / "other", chat_template=template)
    with pytest.raises(ModelError, match="chat templates differ, first in a chat of roles"):
        same_tokenizer([tiny, other])
