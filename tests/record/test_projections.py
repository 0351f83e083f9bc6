import math

import numpy as np
import pandas as pd
import pytest
import torch
import xarray as xr

from persona_interp.errors import SchemaError
from persona_interp.models import Checkpoint, boot, encode, residuals
from persona_interp.record import activations, projections

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
    last = projections(pair[0], chats, directions, where="last")
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
