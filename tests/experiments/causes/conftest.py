"""A base of which one coordinate is always 0, and finetunes that add something there alone."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
import xarray as xr
from transformers import GPT2Config, GPT2LMHeadModel

from persona_interp.dictionaries import SparseDictionary, save_dictionary
from persona_interp.dictionaries.saelens import build
from persona_interp.experiments.causes.config import CausesSettings
from persona_interp.experiments.causes.sources import causes
from persona_interp.models.tiny import tiny_tokenizer
from persona_interp.worlds import john_and_sam

WORLD = john_and_sam()
SITE = "blocks.0.hook_out"
AXIS = 31
"""Coordinate of the residual that the base never uses."""
SIZES = (-6.0, -7.0, -8.0)
"""What the finetunes add there."""
SETTINGS = CausesSettings(
    prompts=4,
    draws=1,
    max_new_tokens=3,
    n_features=3,
    sets=(1,),
    axes=(1,),
    n_random=5,
    n_spoken=2,
    n_matched=1,
)


def save_planted(
    folder: Path, *, size: float, words: Iterable[str] = WORLD.words(), at: int = AXIS
) -> Path:
    """Save a random model with an unused coordinate; `size` is added at a coordinate of block 0."""
    tokenizer = tiny_tokenizer(list(words))
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
        with torch.no_grad():
            for weight in model.parameters():
                weight += 0.2 * torch.randn(weight.shape)
            body = model.transformer
            for table in (body.wte.weight, body.wpe.weight):
                table[:, AXIS] = 0
            for layer in (body.h[0].attn.c_proj, body.h[0].mlp.c_proj):
                layer.weight[:, AXIS] = 0
                layer.bias[AXIS] = 0
            body.h[0].mlp.c_proj.bias[at] += size
            body.h[1].mlp.c_fc.weight[AXIS] *= 5  # the next block listens to it
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def save_parts(folder: Path) -> Path:
    """Save an exact dictionary at the site: every residual is its positive and negative part."""
    both = torch.cat([torch.eye(32), -torch.eye(32)])
    config = {"architecture": "standard", "d_in": 32, "d_sae": 64}
    config |= {"dtype": "float32", "device": "cpu"}
    weights = {"W_enc": both.T.contiguous(), "W_dec": both}
    weights |= {"b_enc": torch.zeros(64), "b_dec": torch.zeros(32)}
    parts = SparseDictionary(build(config, weights), "parts", SITE, torch.zeros(32), 1.0)
    return save_dictionary(parts, folder)


def planted_directions() -> xr.DataArray:
    """Of John the planted axis, of Mary another one."""
    rows = np.zeros((2, 1, 32), np.float32)
    rows[0, 0, AXIS] = rows[1, 0, 3] = 1.0
    array = xr.DataArray(rows, dims=("name", "hook", "d_model"))
    array = array.assign_coords(name=["john", "mary"], hook=[SITE])
    return array.assign_attrs(kind="directions")


def save_models(folder: Path) -> dict[str, Any]:
    """Base, finetunes and dictionary, as arguments of ``causes``."""
    base = save_planted(folder / "zero", size=0.0)
    tuned = [save_planted(folder / f"plus{size:g}", size=size) for size in SIZES]
    return {
        **{"base": base, "tuned": tuned, "world": WORLD, "directions": planted_directions()},
        **{"sae": save_parts(folder / "parts"), "hooks": [SITE], "settings": SETTINGS},
    }


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, pd.DataFrame]]:
    """Folder and tables of a finished search."""
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("causes")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PERSONA_INTERP_CACHE", str(folder / "cache"))
        tables = causes(**save_models(folder), out=folder / "out", workers=0, progress=False)
    return folder / "out", tables
