"""Cards are short and inert, whatever the object is called."""

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from persona_interp import worlds
from persona_interp.card import card
from persona_interp.dictionaries import SparseDictionary
from persona_interp.experiments.compare.comparison import Comparison
from persona_interp.models import Checkpoint, Trajectory
from persona_interp.record import Edit
from persona_interp.schema.words import Requests, Role

ATTACK = "<img src=x onerror=alert(1)>\u202e\x00" + "\"'&<日" * 200
TAGS = {"div", "b", "br", "i"}


def _dictionary(name: str) -> SparseDictionary:
    sae = SimpleNamespace(W_dec=torch.rand(300, 64))
    return SparseDictionary(sae, name, "blocks.1.hook_out", torch.rand(64), 1.0)


def _distance(name: str) -> pd.DataFrame:
    row = {"checkpoint": name, "role": str(Role.TUNED), "requests": str(Requests.PROMPTS), "n": 60}
    row |= {"estimate": 3.97, "lo": 3.1, "hi": 4.84}
    again = {**row, "role": str(Role.AGAIN), "estimate": 0.0, "lo": 0.0, "hi": 0.0}
    return pd.DataFrame([row, again])


OBJECTS: dict[str, Callable[[str], Any]] = {
    "World": lambda name: replace(worlds.john_and_sam(), name=name),
    "Checkpoint": lambda name: Checkpoint(Path(name), name=name),
    "Trajectory": lambda name: Trajectory(tuple(Checkpoint(Path("x"), name, s) for s in range(40))),
    "SparseDictionary": _dictionary,
    "Edit": lambda name: Edit(
        name,
        "blocks.1.hook_out",
        "clamp",
        vectors=np.full((1, 4096), 0.123456),
        center=np.full(4096, 0.123456),
        dictionary=_dictionary(name),
        features=tuple(range(300)),
        values=tuple(np.full(300, 0.5).tolist()),
        source=Checkpoint(Path("m"), name=name),
    ),
    "Comparison": lambda name: Comparison(
        {"distance": _distance(name)}, run=Path("runs") / name, config={"traits": [], "sae": []}
    ),
}


@pytest.mark.parametrize("kind", OBJECTS)
def test_a_notebook_shows_a_short_card(kind: str) -> None:
    shown = OBJECTS[kind](ATTACK)._repr_html_()
    assert len(shown.encode()) < 2_000
    assert set(re.findall(r"<(\w+)", shown)) <= TAGS and not re.search(r"<\w+ ", shown)
    assert shown.startswith(f"<div><b>{kind}</b>") and "⟨U+202E⟩" in shown


@pytest.mark.parametrize("kind", OBJECTS)
def test_no_array_is_printed(kind: str) -> None:
    thing = OBJECTS[kind]("name")
    assert not re.search(r"array\(|tensor\(|0\.123|DataFrame", repr(thing))
    assert len(repr(thing)) < 400 and "name" in repr(thing)


def test_a_comparison_is_its_tables_and_says_what_they_say() -> None:
    comparison = OBJECTS["Comparison"]("arr@20")
    assert list(comparison) == ["distance"] and len(comparison["distance"]) == 2
    assert "arr@20 answers differently: KL 3.97 bits a token" in comparison._repr_html_()
    unfinished = Comparison({}, run=Path("runs/x"), config={})
    assert unfinished._repr_html_().startswith("<div><b>Comparison</b><br><i>run</i> runs/x")


def test_an_edit_says_where_it_is_on() -> None:
    edit = Edit("push", "blocks.1.hook_out", "add", where=("user", "generated"))
    assert "where='user, generated'" in repr(edit)
    assert "<i>where</i> user, generated" in edit._repr_html_()
    assert "where" not in repr(replace(edit, where=()))


def test_no_entity_is_cut_in_two() -> None:
    shown = card("World", {"name": "<" * 300})
    assert shown == f"<div><b>World</b><br><i>name</i> {'&lt;' * 50}…</div>"
