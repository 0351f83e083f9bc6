"""Activations at other places than the residual, and what the columns of prompts become."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
import xarray as xr

from persona_interp import models, schema
from persona_interp.errors import ModelError, SchemaError
from persona_interp.models import Checkpoint, load
from persona_interp.record import activations, encode, features, mean_difference, profile
from persona_interp.record.coordinates import prompt_coords
from persona_interp.tables import read_dataset, write_dataset
from tests.models.test_families import FAMILIES, made

Pair = tuple[Checkpoint, Checkpoint]
SITES = ("hook_resid_pre", "hook_attn_out", "hook_resid_mid", "hook_mlp_out", "mlp.hook_post")
HOOKS = [f"blocks.1.{site}" for site in SITES]
Z = "blocks.1.attn.hook_z"


def heads_of(checkpoint: Checkpoint, messages: Any) -> np.ndarray:
    """What the output projection of block 1 reads at the last token, dims (head, d_head)."""
    model, tokenizer = load(checkpoint)
    (ids,) = models.encode(tokenizer, [messages]).ids
    inputs = []
    project = model.model.layers[1].self_attn.o_proj
    handle = project.register_forward_hook(lambda _, args, __: inputs.append(args[0]))
    with torch.inference_mode():
        model(torch.tensor([list(ids)]))
    handle.remove()
    return inputs[0][0, -1].reshape(model.config.num_attention_heads, -1).numpy()


def test_heads_are_dims_of_their_own(pair: Pair, probes: pd.DataFrame, tmp_path: Path) -> None:
    data = schema.check(activations(pair, probes, hook=Z), "heads")
    assert data.attrs["kind"] == "heads" and data.attrs["hook"] == "blocks.1.attn.o.hook_in"
    assert data.attrs["older_names"] == Z
    for checkpoint in pair:
        for _, row in probes.iterrows():
            mine = data["act"].sel(checkpoint=checkpoint.label, prompt=row["prompt"])
            expected = heads_of(checkpoint, row["messages"])
            np.testing.assert_allclose(mine, expected, rtol=1e-5, atol=1e-5)
    every = schema.check(activations(pair, probes, hook=Z, position="all"), "token_heads")
    ends = [int(np.flatnonzero(every["prompt"] == name)[-1]) for name in probes["prompt"]]
    np.testing.assert_allclose(every["act"][:, ends], data["act"], rtol=1e-5, atol=1e-5)
    xr.testing.assert_identical(read_dataset(write_dataset(data, tmp_path / "z.nc")), data)


def test_one_head_is_read_like_a_residual(pair: Pair, probes: pd.DataFrame) -> None:
    data = activations(pair, probes.assign(topic=["art", "art", "sport"]), hook=Z)
    with pytest.raises(SchemaError, match=r"acts\.sel\(head=0\)\.rename\(d_head='d_model'\)"):
        mean_difference(data, by="topic")
    head = data.sel(head=2).rename(d_head="d_model")
    directions = mean_difference(head, by="topic")
    art = data["act"][0, :2, 2].mean("prompt") - data["act"][0, 2, 2]
    np.testing.assert_allclose(directions.sel(name="art")[0], art, rtol=1e-5, atol=1e-6)


def test_several_sites_come_from_one_run(pair: Pair, probes: pd.DataFrame) -> None:
    before, attention, between, mlp, inner, heads, again = activations(
        pair[0], probes, hook=[*HOOKS, Z, "model.layers.0"]
    )
    xr.testing.assert_allclose(before["act"] + attention["act"], between["act"], atol=1e-5)
    np.testing.assert_array_equal(before["act"], again["act"])  # what leaves 0 enters 1
    weights = load(pair[0]).model.model.layers[1].mlp.down_proj.weight.detach().numpy()
    np.testing.assert_allclose(inner["act"].values @ weights.T, mlp["act"], rtol=1e-4, atol=1e-4)
    assert heads.sizes["head"] * heads.sizes["d_head"] == 64
    assert mlp.attrs["older_names"] == "blocks.1.hook_mlp_out"


def test_a_profile_may_be_of_any_site(pair: Pair, probes: pd.DataFrame) -> None:
    table = profile(pair, probes, hooks=[*HOOKS[:2], Z], device="cpu", batch=30)
    assert table["hook"].unique().tolist()[-1] == "blocks.1.attn.o.hook_in"
    whole = profile(pair, probes, hooks=[*HOOKS[:2], Z])
    np.testing.assert_allclose(table["estimate"], whole["estimate"], rtol=1e-4)
    assert (table["estimate"] > 0).all()


def test_what_holds_no_vector_a_token_is_refused_by_name(pair: Pair, probes: pd.DataFrame) -> None:
    for hook in ("attn.hook_pattern", "attn.hook_q", "attn.hook_rot_k"):
        with pytest.raises(ModelError, match=r"one vector a token.*hook_attn_out.*attn\.hook_z"):
            activations(pair[0], probes, hook=f"blocks.0.{hook}")
    with pytest.raises(ModelError, match="did not fire"):
        activations(pair[0], probes, hook="blocks.0.hook_mlp_in")


TEXT = [{"role": "text", "content": "a chat of few words"}]
CHATS = [
    [{"role": "user", "content": "what sport ?"}, {"role": "assistant", "content": "i like golf"}],
    [{"role": "user", "content": "what art ?"}, {"role": "assistant", "content": "i really like"}],
]


@pytest.mark.parametrize(
    "prompts",
    [
        ["what sport ?", "what art do you like ?"],
        CHATS,
        pd.DataFrame({"messages": CHATS}),
        pd.DataFrame({"prompt": ["a", "b"], "messages": CHATS}),
    ],
)
def test_no_column_is_needed_but_the_messages(pair: Pair, prompts: Any) -> None:
    data = activations(pair[0], prompts, hook=HOOKS[0])
    assert data.sizes["prompt"] == 2


def test_answers_are_read_where_chats_have_them(pair: Pair) -> None:
    named = pd.DataFrame({"prompt": ["a", "b"], "messages": CHATS})
    expected = activations(pair[0], named, hook=HOOKS[0], position="answer")
    for prompts in (CHATS, pd.DataFrame({"messages": CHATS})):
        data = activations(pair[0], prompts, hook=HOOKS[0], position="answer")
        np.testing.assert_array_equal(data["act"], expected["act"])


def test_a_users_own_columns_are_kept(pair: Pair, tmp_path: Path) -> None:
    own = {"mood": ["calm", None], "score": [0.5, 2.0], "rank": [1, 2], "good": [True, False]}
    dropped = {"tags": [["x"], []], "facts": [{}, {"a": 1}], "seed": [1, 2], "a/b": [1, 2]}
    for name in ({"prompt": ["a", "b"]}, {}):
        table = pd.DataFrame({**name, "messages": CHATS, **own, **dropped})
        data = activations(pair[0], table, hook=HOOKS[0], position="mean", where=("user",))
        assert data["mood"].values.tolist() == ["calm", ""]
        for column in ("score", "rank", "good"):
            assert data[column].dims == ("prompt",)
            assert data[column].values.tolist() == own[column]
        assert not {"tags", "facts", "a/b", "messages"} & set(data.coords)
        assert data["seed"].dims == ("checkpoint",)
        saved = read_dataset(write_dataset(data, tmp_path / "own.nc"))
        xr.testing.assert_identical(saved, data)


def test_values_of_columns_become_arrays_of_one_type() -> None:
    table = pd.DataFrame(
        {
            "mixed": [1, "x"],
            "gap": [None, 2],
            "whole": pd.array([1, None], dtype="Int64"),
            "group": pd.Categorical(["u", "v"]),
            "day": pd.to_datetime(["2020-01-01", "2021-01-01"]),
            "large": [2**70, 1],
            "empty": [None, None],
            "text": pd.array(["q", None], dtype="string"),
            "topic": [3, None],
            "nul": pd.Series(["\0a", "\udc00"], dtype=object),
            "maybe": [True, None],
            "step": [1, 2],
            "extra": [{"x": 1, "mixed": 5}, {"y": "u"}],
        }
    )
    arrays = prompt_coords(table)
    gap, whole = arrays.pop("gap"), arrays.pop("whole")
    assert np.isnan(gap[0]) and gap[1] == 2 and whole[0] == 1 and np.isnan(whole[1])
    x = arrays.pop("x")
    assert x[0] == 1 and np.isnan(x[1])
    assert {name: values.tolist() for name, values in arrays.items()} == {
        "y": ["", "u"],
        "mixed": ["1", "x"],
        "group": ["u", "v"],
        "large": [str(2**70), "1"],
        "text": ["q", ""],
        "topic": ["3.0", ""],
        "nul": ["\ufffda", "?"],
        "maybe": ["True", ""],
    }


class Coordinates:
    """Every coordinate a feature: all is explained."""

    name = "coordinates"

    def __init__(self, hook: str, width: int) -> None:
        self.hook, self.W_dec, self.mean = hook, torch.eye(width), torch.zeros(width)
        self.d_in = self.d_sae = width

    def encode(self, acts: torch.Tensor) -> torch.Tensor:
        return acts

    decode = encode


def test_a_dictionary_reads_at_its_own_site(tmp_path: Path) -> None:
    start = made(tmp_path, "gemma2", FAMILIES["gemma2"])  # norms behind attention and MLP
    prompts = pd.DataFrame({"prompt": ["a", "b"], "messages": [TEXT, TEXT]})
    widths = {"hook_resid_mid": 32, "hook_mlp_out": 32, "mlp.hook_post": 48, "attn.hook_z": 32}
    hooks = [f"blocks.1.{site}" for site in widths]
    recorded = activations(start, prompts, hook=hooks)
    for hook, width, acts in zip(hooks, widths.values(), recorded, strict=True):
        data = features(start, prompts, dictionary=Coordinates(hook, width))
        np.testing.assert_allclose(
            data["act"], acts["act"].to_numpy().reshape(1, 2, width), rtol=1e-6
        )
        assert float(data["fvu"].max()) == 0
        xr.testing.assert_allclose(encode(acts, dictionary=Coordinates(hook, width)), data)
        with pytest.raises(SchemaError, match="at single tokens; these activations are"):
            encode(acts, dictionary=Coordinates(hook.replace("1", "0", 1), width))
