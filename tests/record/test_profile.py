"""Planted moves along planted directions come back, on the tokens and at the hook of theirs."""

from dataclasses import replace
from importlib import import_module
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
import xarray as xr

from persona_interp import schema
from persona_interp.errors import ModelError, SchemaError
from persona_interp.models import Checkpoint
from persona_interp.record import activations, profile

HOOKS = ["blocks.0.hook_out", "blocks.1.hook_out"]
Pair = tuple[Checkpoint, Checkpoint]


def directions(d: int = 64, *, hooks: list[str] = HOOKS) -> xr.DataArray:
    values = np.random.default_rng(0).normal(size=(2, len(hooks), d)).astype(np.float32)
    values[1] -= (
        (values[0] * values[1]).sum(-1, keepdims=True)
        / (values[0] ** 2).sum(-1, keepdims=True)
        * values[0]
    )
    coords = {"name": ["john", "orthogonal"], "hook": hooks}
    return xr.DataArray(values, dims=("name", "hook", "d_model"), coords=coords)


def test_a_checkpoint_has_not_moved_from_itself(pair: Pair, probes: pd.DataFrame) -> None:
    same = [pair[0], replace(pair[0], step=8)]
    for vectors in (None, directions()):
        table = schema.check(profile(same, probes, hooks=HOOKS, directions=vectors), "profile")
        assert set(table["checkpoint"]) == {"lesson@8"}
        assert (table[["estimate", "lo", "hi"]].dropna() == 0).all(axis=None)


def test_a_planted_move_is_found_where_it_was_planted(
    pair: Pair, probes: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    module: Any = import_module("persona_interp.record.profile")
    clean, vectors = module.residuals, directions()
    runs: list[str] = []

    def planted(bridge: Any, tokens: Any, *, hook: str, batch: Any) -> Any:
        runs.append(hook)
        moves = len(runs) % 2 == 0 and hook == HOOKS[1]  # of two models the second
        john = torch.as_tensor(vectors.sel(name="john", hook=hook).to_numpy())
        for row, acts in clean(bridge, tokens, hook=hook):
            users = torch.as_tensor(np.array(tokens.roles[row]) == "user")
            yield row, acts + 0.5 * moves * users[:, None] * john

    monkeypatch.setattr(module, "residuals", planted)
    same = [pair[0], replace(pair[0], step=8)]
    table = profile(same, probes, hooks=HOOKS, directions=vectors).set_index(
        ["hook", "role", "name"]
    )
    shift = table.loc[(HOOKS[1], "user", "john")]
    np.testing.assert_allclose(shift[["estimate", "lo", "hi"]].astype(float), 0.5, atol=1e-4)
    assert shift["n"] == 2, "the plain text has no user"
    rest = table.drop(index=[(HOOKS[1], "user", "john")])["estimate"]
    np.testing.assert_allclose(rest, 0, atol=1e-4)
    norms = profile(same, probes, hooks=HOOKS).query("estimate > 1e-6")
    assert list(zip(norms["hook"], norms["role"], norms["name"], strict=True)) == [
        (HOOKS[1], "user", "")
    ]


def test_one_checkpoint_is_projected_itself(pair: Pair, probes: pd.DataFrame) -> None:
    vectors, chats = directions(), probes.iloc[:2]
    table = profile(pair[0], chats, hooks=HOOKS, directions=vectors).set_index(
        ["hook", "role", "name"]
    )
    for hook in HOOKS:
        acts = activations(pair[0], chats, hook=hook, position="mean")["act"][0].to_numpy()
        for name in ("john", "orthogonal"):
            v = vectors.sel(hook=hook, name=name).to_numpy()
            projected = acts @ v / (v @ v)
            row = table.loc[(hook, "assistant", name)]
            assert row["estimate"] == pytest.approx(projected.mean(), rel=1e-4)
            half = 12.706 * projected.std(ddof=1) / np.sqrt(2)
            assert row["hi"] - row["lo"] == pytest.approx(2 * half, rel=1e-3)


def test_a_real_change_differs_by_role_and_has_no_sign(pair: Pair, probes: pd.DataFrame) -> None:
    table = profile(pair, probes, hooks=["blocks.-1.hook_out"])
    assert set(table["hook"]) == {HOOKS[1]}
    assert list(table["role"]) == ["system", "user", "assistant", "text", "special"]
    assert (table["estimate"] > 0).all() and table["estimate"].nunique() == 5
    text = table.query("role == 'text'").iloc[0]
    assert text["n"] == 1 and np.isnan(text["lo"]) and np.isnan(text["hi"])


def test_bad_requests_are_refused(pair: Pair, probes: pd.DataFrame) -> None:
    with pytest.raises(SchemaError, match="one checkpoint has not changed"):
        profile(pair[0], probes, hooks=HOOKS)
    with pytest.raises(SchemaError, match=r"blocks\.1\.hook_out' is unknown"):
        profile(pair[0], probes, hooks=HOOKS, directions=directions(hooks=HOOKS[:1]))
    with pytest.raises(SchemaError, match="d_model=64"):
        profile(pair[0], probes, hooks=HOOKS, directions=directions(32))
    with pytest.raises(ModelError, match="did you mean"):
        profile(pair, probes, hooks=["blocks.9.hook_out"])
