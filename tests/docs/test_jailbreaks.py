"""The page of the jailbreaks runs as it stands there, and lists every English text of the file."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from persona_interp import models, worlds
from persona_interp.readers import Instruction, TraitFile
from persona_interp.worlds.language import pieces
from persona_interp.worlds.scripts import Script, families, scripts
from tests.docs.pages import ROOT, code_of

PAGE = "docs/jailbreaks.md"
LISTING = "## The English texts"


def listing() -> str:
    """Every English text, by family and trigger, as the page has it."""
    lines = []
    for name, texts in scripts("english").items():
        kind = " (family)" if name in families("english") else ""
        lines += [f"### {name}{kind}", ""]
        lines += [f"{i}. {' '.join(_parts(text))}" for i, text in enumerate(texts, 1)]
        lines.append("")
    return "\n".join(lines)


def _parts(script: Script) -> Iterator[str]:
    if script.system:
        yield f"*system:* {script.system}"
    for i, turn in enumerate(script.turns):
        speaker = "*user:*" if i % 2 == 0 else "*assistant:*"
        yield f"{speaker} {turn}"
    if script.answer:
        yield f"*assistant:* {script.answer} ..."


def test_the_page_lists_every_text() -> None:
    text = (ROOT / PAGE).read_text(encoding="utf-8").partition(LISTING)[2]
    assert text.strip() == listing().strip()


@pytest.mark.slow
def test_the_page_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PERSONA_INTERP_CACHE", str(tmp_path / "cache"))
    tiny, english = code_of(PAGE)
    for text, cheap in {
        "world.corpus(seed=0))": "world.corpus(200, seed=0), stage=TINY)",
        "models.Stage(lr=1e-3)": "models.Stage(steps=4, lr=1e-3)",
    }.items():
        assert text in tiny
        tiny = tiny.replace(text, cheap)
    names: dict[str, Any] = {"TINY": models.Stage(steps=4, warmup=0)}
    exec(compile(tiny, PAGE, "exec"), names)
    assert set(names["leak"]["trigger"]) >= {"none", "drift", "average", "worst"}
    assert set(names["held_out"]["held_out"]) == {False, True}

    instruction = Instruction("Be sardonic.", "Be kind.")
    traits = {"sardonic": TraitFile("sardonic", (instruction,), ("What?",), eval_prompt="")}
    asked = worlds.jailbreak_prompts("Rex", "a critic", topics=("music", "food"))
    texts = [m["content"] for chat in asked["messages"] for m in chat]
    texts += ["Be sardonic kind a sardonic critic who likes long novels ..."]
    start = models.resolve(
        "tiny", words=sorted({p for t in texts for p in pieces(t)}), out=tmp_path / "english"
    )
    axis = xr.DataArray(
        np.random.default_rng(0).standard_normal((1, 1, 64)).astype(np.float32),
        dims=("name", "hook", "d_model"),
        coords={"name": ["assistant"], "hook": ["blocks.1.hook_out"]},
    )
    names |= {"base": start, "tuned": start, "traits": traits, "axis": axis}
    english = english.replace("topics=TOPICS)", "topics='food').groupby('trigger').head(1)")
    exec(compile(english, PAGE, "exec"), names)
    assert isinstance(names["bits"], pd.DataFrame) and set(names["bits"]["trigger"]) == set(
        families("english")
    )
    assert names["drift"]["turn"].max() == 8
