"""Small models, traits and prompts that comparisons are made of."""

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from transformers import GPT2Config, GPT2LMHeadModel

from persona_interp.dictionaries import SparseDictionary, save_dictionary
from persona_interp.dictionaries.saelens import build
from persona_interp.experiments.compare.config import CompareOptions, CompareSettings
from persona_interp.experiments.compare.sources import (
    compare,
)
from persona_interp.models.tiny import tiny_tokenizer
from persona_interp.readers import Instruction, TraitFile, write_trait

Run = tuple[Path, dict[str, pd.DataFrame]]
"""Folder and tables of a finished comparison."""
SUBJECTS = ("football", "tennis", "golf", "art")
WORDS = [
    *"what why do you like is the best . ?".split(),
    *SUBJECTS,
    *"be very dry warm i really always not".split(),
]
QUESTIONS = [f"{ask} is {subject} ?" for ask in ("what", "why") for subject in SUBJECTS]
PROMPTS = [
    f"do you {how} like {subject} ?" for how in ("really", "always", "not") for subject in SUBJECTS
]
SETTINGS = CompareSettings(samples=2, max_new_tokens=3, n_random=10, draws=1)
HOOK = "blocks.1.hook_out"
V = torch.linspace(-2, 2, 32)
"""What is planted: added to the residual by the last block, at every token."""


def save_model(folder: Path, *, seed: int = 0, scale: float = 0.0, planted: bool = False) -> Path:
    """Save a random chat model; `scale` is how far its weights are from the base's, by `seed`."""
    tokenizer = tiny_tokenizer(WORDS)
    special = {
        f"{name}_token_id": tokenizer.convert_tokens_to_ids(f"<{name}>")
        for name in ("bos", "eos", "pad")
    }
    config = GPT2Config(
        vocab_size=len(tokenizer), n_embd=32, n_layer=2, n_head=2, n_positions=64, **special
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = GPT2LMHeadModel(config)
        for weight in model.parameters():
            weight.data += 0.2 * torch.randn(weight.shape)
        torch.manual_seed(seed)
        for weight in model.parameters():
            weight.data += scale * torch.randn(weight.shape)
    if planted:
        model.transformer.h[1].mlp.c_proj.bias.data += V
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def save_parts(folder: Path) -> Path:
    """Save an exact dictionary: every residual is its positive and its negative part."""
    eye = torch.eye(32)
    both = torch.cat([eye, -eye])
    config = {
        **{"architecture": "standard", "d_in": 32, "d_sae": 64},
        **{"dtype": "float32", "device": "cpu"},
    }
    weights = {
        "W_enc": both.T.contiguous(),
        "W_dec": both,
        "b_enc": torch.zeros(64),
        "b_dec": torch.zeros(32),
    }
    dictionary = SparseDictionary(build(config, weights), "parts", HOOK, torch.zeros(32), 1.0)
    save_dictionary(dictionary, folder)
    return folder


def save_material(material: Path) -> Path:
    """Save the models base and planted, two traits, and prompts in a folder."""
    save_model(material / "base")
    save_model(material / "planted", planted=True)
    (material / "traits").mkdir()
    for name, other in (("dry", "warm"), ("warm", "dry")):
        pair = Instruction(f"be very {name} .", f"be very {other} .")
        write_trait(
            TraitFile(name, (pair,), tuple(QUESTIONS)), material / "traits" / f"{name}.json"
        )
    (material / "prompts.txt").write_text("\n".join(PROMPTS) + "\n")
    (material / "neutral.txt").write_text("\n".join(QUESTIONS[:4]) + "\n")
    return material


@pytest.fixture(scope="module")
def material(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.set_num_threads(1)
    return save_material(tmp_path_factory.mktemp("material"))


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cache of this test alone."""
    monkeypatch.setenv("PERSONA_INTERP_CACHE", str(tmp_path / "cache"))


def small(material: Path, *, prompts: Path | str = "", **changes: Any) -> dict[str, Any]:
    """Prompts and options of a small comparison."""
    options = {"traits": material / "traits" / "dry.json", "hooks": [HOOK], "settings": SETTINGS}
    # these models know few words, and no request of everyday life
    options["neutral"] = material / "neutral.txt"
    return {
        "prompts": prompts or material / "prompts.txt",
        "options": CompareOptions(**options | changes),
    }


def compare_planted(material: Path, out: Path) -> dict[str, pd.DataFrame]:
    """The base against itself and against the planted model."""
    tuned, named = [material / "base", material / "planted"], small(material, primary="dry")
    return compare(material / "base", tuned, out=out, workers=0, progress=False, **named)


@pytest.fixture(scope="module")
def run(material: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    out = tmp_path_factory.mktemp("run") / "out"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PERSONA_INTERP_CACHE", str(out.parent / "cache"))
        return out, compare_planted(material, out)
