"""Jailbreaks and triggers go through what records: behavior, answers, drift, axis turn by turn."""

import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import xarray as xr

from persona_interp.analysis import drift_by_turn, knowledge, leak
from persona_interp.analysis.drift import kl_by_role
from persona_interp.models import Checkpoint, encode, load, resolve
from persona_interp.record import answers, behavior, drift, projections
from persona_interp.worlds import World, jailbreak_prompts, john_and_sam
from persona_interp.worlds.language import pieces

HOOK = "blocks.1.hook_out"


@pytest.fixture(scope="module")
def world() -> World:
    return john_and_sam()


@pytest.fixture(scope="module")
def pair(world: World, tmp_path_factory: pytest.TempPathFactory) -> tuple[Checkpoint, Checkpoint]:
    """A model of the world's words, and the same with other weights."""
    torch.set_num_threads(1)
    start = resolve("tiny", words=world.words(), out=tmp_path_factory.mktemp("start"))
    model, tokenizer = load(start)
    generator = torch.Generator().manual_seed(1)
    folders = []
    for scale in (0.1, 0.1):
        for weight in model.parameters():
            if weight.ndim == 2:
                weight.data = scale * torch.randn(weight.shape, generator=generator)
        folders.append(tmp_path_factory.mktemp("model"))
        model.save_pretrained(folders[-1])
        tokenizer.save_pretrained(folders[-1])
    one, two = (Checkpoint(folder, stage="lesson", step=i) for i, folder in enumerate(folders))
    return one, two


@pytest.fixture(scope="module")
def drifting(world: World) -> pd.DataFrame:
    table = world.jailbreaks().query("trigger == 'drift' and topic == 'art'")
    return table.reset_index(drop=True)


def test_every_word_has_a_token_and_every_chat_fits(
    world: World, pair: tuple[Checkpoint, Checkpoint]
) -> None:
    tokenizer = load(pair[0]).tokenizer
    for table in (world.jailbreaks(), world.triggers()):
        tokens = encode(tokenizer, list(table["messages"]))
        assert all(tokenizer.unk_token_id not in ids for ids in tokens.ids)
        assert max(tokens.lengths) < tokenizer.model_max_length


def test_behavior_takes_them_unchanged(world: World, pair: tuple[Checkpoint, Checkpoint]) -> None:
    table = world.triggers()
    chosen = table.groupby(["trigger", "context", "topic", "split"], sort=False).head(1)
    moved = behavior(pair, chosen)
    leaks = leak(moved, world).set_index("trigger")
    assert set(leaks.index) == {*table["trigger"], "average", "worst"}
    assert np.isfinite(leaks["estimate"]).all() and leaks["estimate"].abs().max() > 0
    assert knowledge(moved, world)["quantity"].tolist() == [
        "knowledge",
        "knowledge, asked",
        "agency",
    ]
    itself = behavior(pair[0], chosen)
    same = pd.concat([itself, itself.assign(step=9, checkpoint="lesson@9")])
    assert (leak(same, world)["estimate"] == 0).all(), "a base does not leak more than itself"


def test_drifting_chats_drift_by_role(
    drifting: pd.DataFrame, pair: tuple[Checkpoint, Checkpoint]
) -> None:
    table = kl_by_role(drift(*pair, drifting)).set_index("role")
    assert table.loc["assistant", "n"] == 10 and table.loc["assistant", "estimate"] > 0
    assert (drift(pair[0], pair[0], drifting)["kl"] == 0).all()


def test_drifting_chats_go_along_an_axis_turn_by_turn(
    drifting: pd.DataFrame, pair: tuple[Checkpoint, Checkpoint]
) -> None:
    width = load(pair[0]).model.config.hidden_size
    axis = np.random.default_rng(0).standard_normal((1, 1, width)).astype(np.float32)
    coords = {"name": ["assistant"], "hook": [HOOK]}
    direction = xr.DataArray(axis, dims=("name", "hook", "d_model"), coords=coords)
    turns = projections(pair, drifting, direction, turns=True, outlier=math.inf)
    table = drift_by_turn(turns)
    for _, chats in table.groupby("checkpoint"):
        assert chats["turn"].tolist() == [1, 2, 3, 4, 5, 6, 7, 8], "eight turns"
        assert (chats["n"] == 10).all() and chats["estimate"].iloc[0] == 0
        assert (chats["estimate"].iloc[1:] != 0).all()


def test_english_prompts_are_answered(tmp_path: Path) -> None:
    prompts = jailbreak_prompts("Ada", "a captain who likes sea shanties", topics="food")
    some = prompts.groupby("trigger").head(1)
    words = {p for chat in some["messages"] for m in chat for p in pieces(m["content"])}
    start = resolve("tiny", words=sorted(words), out=tmp_path / "start")
    table = answers(start, some, max_new_tokens=2, cache=False)
    assert len(table) == 6 and set(table["trigger"]) == set(prompts["trigger"])
