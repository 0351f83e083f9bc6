"""The code of docs/look.md runs as it stands there."""

import re
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
import torch

from persona_interp import dictionaries, models, worlds
from persona_interp.dictionaries.saelens import build
from persona_interp.models import DOCUMENTS

PAGE = Path(__file__).parents[2] / "docs" / "look.md"


@pytest.fixture(scope="module")
def parts() -> dictionaries.SparseDictionary:
    """An exact dictionary of the tiny model: positive and negative part of every coordinate."""
    eye = torch.eye(64)
    both = torch.cat([eye, -eye])
    config = {"architecture": "standard", "d_in": 64, "d_sae": 128, "dtype": "float32"}
    zeros = {"b_enc": torch.zeros(128), "b_dec": torch.zeros(64)}
    sae = build(config | {"device": "cpu"}, {"W_enc": both.T.contiguous(), "W_dec": both, **zeros})
    return dictionaries.SparseDictionary(sae, "parts", "blocks.1.hook_out", torch.zeros(64), 1.0)


@pytest.mark.slow
def test_the_page_runs(
    parts: dictionaries.SparseDictionary, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    world = worlds.john_and_sam()
    documents = world.corpus(200)
    stage = replace(DOCUMENTS, steps=3, warmup=0)
    trained = models.train("tiny", documents, stage=stage, out=tmp_path / "trained")
    prompts = world.probes(contexts="nameless").head(6)
    names = {"base": trained.first, "tuned": trained.last, "sae": parts, "prompts": prompts}
    names["documents"] = documents
    for code in re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL):
        exec(code, names)
    page = (tmp_path / "features.html").read_text(encoding="utf-8")
    assert isinstance(names["tokens"], pd.DataFrame) and len(page) > 50_000
    assert "No AUROC: no scores table was given." in page
    most = names["most"]
    assert isinstance(most, list) and names["tokens"]["feature"].nunique() == len(most)
    shown = names["tokens"].groupby(["feature", "checkpoint"])["prompt"].unique()
    for feature in most[:20]:
        base, tuned = shown[feature]
        assert list(base) == list(tuned) and len(base) == 4, "the same prompts side by side"
