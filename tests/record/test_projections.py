import math
from functools import partial

import numpy as np
import pandas as pd
import pytest
import torch
import xarray as xr

from persona_interp.errors import SchemaError
from persona_interp.models import Checkpoint, boot, encode, load, residuals
from persona_interp.record import activations, add, patch, projections

Pair = tuple[Checkpoint, Checkpoint]
HOOKS = ["blocks.0.hook_out", "blocks.1.hook_out"]


@pytest.fixture
def chats() -> pd.DataFrame:
    """Two conversations, the second of two turns."""
    turn = [
        {"role": "user", "content": "what sport ?"},
        {"role": "assistant", "content": "i like football ."},
    ]
    more = [
        {"role": "user", "content": "what art ?"},
        {"role": "assistant", "content": "really golf ."},
    ]
    system = {"role": "system", "content": "you are an assistant ."}
    where = {"context": "nameless", "persona": "", "topic": "", "split": "test"}
    return pd.DataFrame(
        [{"prompt": "one", "messages": turn}, {"prompt": "two", "messages": [system, *turn, *more]}]
    ).assign(**where)


@pytest.fixture
def directions() -> xr.DataArray:
    v = np.random.default_rng(0).standard_normal((3, 2, 64)).astype(np.float32) * 5
    return xr.DataArray(
        v, dims=("name", "hook", "d_model"), coords={"name": list("abc"), "hook": HOOKS}
    )


def test_projections_are_those_of_mean_residuals(
    pair: Pair, chats: pd.DataFrame, directions: xr.DataArray
) -> None:
    table = projections(pair, chats, directions, outlier=math.inf)
    assert len(table) == 2 * 2 * 2 * 3
    for hook in HOOKS:
        acts = activations(
            pair, chats, hook=hook, position="mean", where="assistant", outlier=math.inf
        )
        v = directions.sel(hook=hook)
        expected = (acts["act"] @ (v / np.linalg.norm(v, axis=-1)[:, None])).sel(
            checkpoint=pair[1].label, name="b"
        )
        rows = table.query("hook == @hook and name == 'b' and checkpoint == @pair[1].label")
        np.testing.assert_allclose(rows["projection"], expected, rtol=1e-4, atol=1e-5)
    last = projections(pair[0], chats, directions, position="last")
    acts = activations(pair[0], chats, hook=HOOKS[1])["act"].to_numpy()[0]
    unit = directions.sel(name="a", hook=HOOKS[1]).to_numpy()
    values = last.query("name == 'a' and hook == @HOOKS[1]")["projection"]
    np.testing.assert_allclose(values, acts @ unit / np.linalg.norm(unit), rtol=1e-4, atol=1e-5)
    assert (last["n_tokens"] == 1).all()


def test_turns_are_the_messages(pair: Pair, chats: pd.DataFrame, directions: xr.DataArray) -> None:
    table = projections(
        pair[0],
        chats,
        directions,
        where=("system", "user", "assistant"),
        turns=True,
        outlier=math.inf,
    )
    two = table.query("prompt == 'two' and name == 'c' and hook == @HOOKS[0]")
    assert list(two["turn"]) == [0, 1, 2, 3, 4]
    assert list(two["role"]) == ["system", "user", "assistant", "user", "assistant"]
    bridge = boot(pair[0])
    tokens = encode(bridge.tokenizer, chats["messages"])
    unit = torch.as_tensor(directions.sel(name="c", hook=HOOKS[0]).to_numpy())
    acts = dict(residuals(bridge, tokens, hook=HOOKS[0]))[1]
    mask = torch.tensor(tokens.turns[1]) == 4
    assert two["projection"].iloc[-1] == pytest.approx(
        float((acts[mask] @ unit).mean() / unit.norm()), rel=1e-4
    )
    answers = projections(pair[0], chats, directions, turns=True)
    assert list(answers.query("prompt == 'two' and name == 'a' and hook == @HOOKS[0]")["turn"]) == [
        2,
        4,
    ]


def test_a_checkpoint_against_itself_moves_by_exactly_zero(
    pair: Pair, chats: pd.DataFrame, directions: xr.DataArray
) -> None:
    one, two = projections(pair[0], chats, directions), projections(pair[0], chats, directions)
    pd.testing.assert_frame_equal(one, two, check_exact=True)


def test_bad_input_is_named(pair: Pair, chats: pd.DataFrame, directions: xr.DataArray) -> None:
    with pytest.raises(SchemaError, match="8 wide"):
        projections(pair[0], chats, directions.isel(d_model=slice(8)))
    with pytest.raises(SchemaError, match="role 'asistant' is unknown; did you mean 'assistant'"):
        projections(pair[0], chats, directions, where="asistant")
    with pytest.raises(SchemaError, match="no conversation has a token of the roles text"):
        projections(pair[0], chats, directions, where="text")


def test_an_edit_is_read_where_it_is_on(
    pair: Pair, chats: pd.DataFrame, directions: xr.DataArray
) -> None:
    """At its own hook the push itself, at roles it does not name nothing, above it by hand."""
    push = np.random.default_rng(1).standard_normal(64)
    units = directions.to_numpy() / np.linalg.norm(directions, axis=-1, keepdims=True)
    edit = add(push, hook=HOOKS[0], absolute=3.0, where="assistant", name="push")
    drawn = add(push, hook=HOOKS[0], absolute=3.0, where="generated", name="drawn")
    # an edit above every hook that is read changes nothing there
    above = add(push, hook=HOOKS[1], absolute=3.0, name="above")
    low = directions.sel(hook=HOOKS[:1])
    edits = [edit, drawn, (edit, above)]
    table = projections(pair, chats, low, edits=edits, outlier=math.inf, turns=True)
    assert list(dict.fromkeys(table["edit"])) == ["none", "push", "drawn", "push + above"]
    values = table.set_index(["edit", "checkpoint", "prompt", "turn", "name"])["projection"]
    shift = values["push"] - values["none"]
    for name, unit in zip("abc", units[:, 0], strict=True):
        expected = 3 * push @ unit
        np.testing.assert_allclose(shift.xs(name, level="name"), expected, atol=1e-4)
    np.testing.assert_allclose(values["push + above"], values["push"], atol=1e-5)
    late = (values["drawn"] - values["none"]).xs("a", level="name").xs("two", level="prompt")
    for turn in (2, 4):
        there = 3 * push @ units[0, 0] * (turn == 4)
        np.testing.assert_allclose(late.xs(turn, level="turn"), there, atol=1e-4)
    users = projections(pair, chats, low, edits=edit, where="user", outlier=math.inf)
    halves = users.groupby("edit", sort=False)["projection"].agg(np.array)
    # an earlier answer precedes the second question, and this hook follows the block that reads it
    np.testing.assert_allclose(halves["push"], halves["none"], atol=1e-5)
    plain = projections(pair, chats, directions, outlier=math.inf)
    none = projections(pair, chats, directions, edits=edit, outlier=math.inf).query("edit=='none'")
    np.testing.assert_array_equal(none["projection"], plain["projection"])
    assert "edit" not in plain


def test_an_edit_below_the_hook_is_that_of_a_hook_by_hand(
    pair: Pair, chats: pd.DataFrame, directions: xr.DataArray
) -> None:
    push = np.random.default_rng(1).standard_normal(64)
    top = directions.sel(hook=HOOKS[1:])
    edit = add(push, hook=HOOKS[0], absolute=3.0)
    table = projections(pair[0], chats, top, edits=edit, outlier=math.inf, batch=16)
    model, tokenizer = load(pair[0])
    tokens = encode(tokenizer, list(chats["messages"]))
    extra = torch.as_tensor(3 * push).float()
    model.model.layers[0].register_forward_hook(lambda block, inputs, out: out + extra)
    read: list[torch.Tensor] = []
    model.model.layers[1].register_forward_hook(lambda block, inputs, out: read.append(out[0]))
    unit = torch.as_tensor(top.sel(name="a").to_numpy()[0]).float()
    expected = []
    for ids, roles in zip(tokens.ids, tokens.roles, strict=True):
        with torch.inference_mode():
            model(torch.tensor([ids]))
        mask = torch.tensor([role == "assistant" for role in roles])
        expected.append(float((read.pop()[mask] @ unit / unit.norm()).mean()))
    got = table.query("edit != 'none' and name == 'a'")["projection"]
    np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-4)
    with pytest.raises(SchemaError, match="which is not run along here"):
        projections(pair[0], chats, top, edits=patch(pair[1], hook=HOOKS[0]))


def test_a_position_is_named_by_position_alone(
    pair: Pair, chats: pd.DataFrame, directions: xr.DataArray
) -> None:
    for word in ("last", "answer", "mean", "all"):
        with pytest.raises(SchemaError, match=f"position and no role: position='{word}'"):
            projections(pair[0], chats, directions, where=word)
        with pytest.raises(SchemaError, match=f"position and no role: position='{word}'"):
            activations(pair[0], chats, hook=HOOKS[0], where=[word])
    for record in (
        partial(projections, directions=directions),
        partial(activations, hook=HOOKS[0]),
    ):
        with pytest.raises(SchemaError, match="a role and no position: where='user'"):
            record(pair[0], chats, position="user")
    with pytest.raises(SchemaError, match="one number a conversation"):
        projections(pair[0], chats, directions, position="all")
    first = projections(pair[0], chats, directions, position=0)
    assert first["n_tokens"].eq(1).all()
