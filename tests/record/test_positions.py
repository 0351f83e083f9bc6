"""Which tokens a reading takes: one by its index, or every one, ragged and in order."""

import math
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
import xarray as xr

from persona_interp import models, schema
from persona_interp.analysis import feature_shift
from persona_interp.errors import ModelError, SchemaError
from persona_interp.models import Checkpoint, boot, load, residuals
from persona_interp.record import activations, encode, features, mean_difference, pooling, recording
from persona_interp.record import tokens as record_tokens
from persona_interp.tables import read_dataset, write_dataset

HOOK = "blocks.0.hook_out"
Pair = tuple[Checkpoint, Checkpoint]
EVERY = ("system", "user", "assistant", "text", "template", "special")


class Positive:
    """Positive parts of the first coordinates; a dictionary that leaves much unexplained."""

    name, hook, d_sae, d_in = "positive", HOOK, 5, 64
    W_dec, mean = torch.eye(64)[:5], torch.zeros(64)

    def encode(self, acts: torch.Tensor) -> torch.Tensor:
        return acts[..., :5].relu()

    def decode(self, feats: torch.Tensor) -> torch.Tensor:
        return feats @ self.W_dec


def rows_of(checkpoint: Checkpoint, prompts: pd.DataFrame) -> tuple[models.Tokens, list[Any]]:
    """Tokens of the prompts, and the residual at each of them."""
    bridge = boot(checkpoint)
    tokens = models.encode(bridge.tokenizer, list(prompts["messages"]))
    rows = dict(residuals(bridge, tokens, hook=HOOK))
    return tokens, [rows[row].numpy() for row in range(len(rows))]


def test_an_index_is_a_token_from_either_end(pair: Pair, probes: pd.DataFrame) -> None:
    _, rows = rows_of(pair[1], probes)
    for index in (2, -3, np.int64(1)):
        data = schema.check(activations(pair[1], probes, hook=HOOK, position=index), "activations")
        expected = np.stack([row[index] for row in rows])
        np.testing.assert_allclose(data["act"][0], expected, rtol=1e-5, atol=1e-5)
        assert data.attrs["position"] == str(index) and data.attrs["n_excluded"] == 0
    last, minus = (activations(pair[1], probes, hook=HOOK, position=p) for p in ("last", -1))
    np.testing.assert_array_equal(last["act"], minus["act"])


def test_a_prompt_without_that_token_is_named(pair: Pair, probes: pd.DataFrame) -> None:
    tokens, _ = rows_of(pair[0], probes)
    shortest = probes["prompt"].iloc[int(np.argmin(tokens.lengths))]
    n = min(tokens.lengths)
    for index in (n, -n - 1):
        with pytest.raises(
            SchemaError, match=f"prompt '{shortest}' has {n} tokens, none of index {index}"
        ):
            activations(pair, probes, hook=HOOK, position=index)


@pytest.mark.parametrize("position", [True, None, 1.5, ("last",)])
def test_what_is_no_position(pair: Pair, probes: pd.DataFrame, position: Any) -> None:
    with pytest.raises(SchemaError, match="a position is one of last, mean, answer, all"):
        activations(pair, probes, hook=HOOK, position=position)


@pytest.mark.parametrize("where", [("user", "text"), EVERY])
def test_all_is_every_token_of_these_roles_in_order(
    pair: Pair, probes: pd.DataFrame, where: tuple[str, ...], tmp_path: Path
) -> None:
    data = activations(pair, probes, hook=HOOK, position="all", where=where, outlier=math.inf)
    schema.check(data, "token_activations")
    assert data.attrs["kind"] == "token_activations" and data.attrs["position"] == "all"
    explained = models.explain_tokens(pair[0], probes)
    explained = explained[explained["role"].isin(where)].reset_index(drop=True)
    for column in ("prompt", "pos", "piece", "role", "turn"):
        assert data[column].dims == ("token",)
        assert data[column].values.tolist() == explained[column].tolist()
    topics = probes.set_index("prompt")["topic"]
    assert data["topic"].values.tolist() == topics.loc[explained["prompt"]].tolist()
    tokens, rows = rows_of(pair[1], probes)
    marks = tokens.marks(where)
    expected = np.concatenate([row[mark] for row, mark in zip(rows, marks, strict=True)])
    np.testing.assert_allclose(data["act"][1], expected, rtol=1e-5, atol=1e-5)
    means = activations(pair, probes, hook=HOOK, position="mean", where=where, outlier=math.inf)
    grouped = data["act"].groupby("prompt").mean().sel(prompt=probes["prompt"].tolist())
    np.testing.assert_allclose(
        grouped.transpose("checkpoint", "prompt", "d_model"), means["act"], rtol=1e-4, atol=1e-5
    )
    xr.testing.assert_identical(read_dataset(write_dataset(data, tmp_path / "all.nc")), data)


def test_tokens_that_are_an_outlier_in_any_checkpoint_are_left_out_of_all(
    pair: Pair, probes: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []

    def planted(bridge: object, tokens: Any, **kwargs: object) -> Any:
        calls.append(bridge)
        for row, ids in enumerate(tokens.ids):
            acts = torch.ones(len(ids), 4)
            if row == 0:  # another token of the first prompt in each checkpoint
                acts[-len(calls)] = 50.0
            yield row, {HOOK: acts}

    monkeypatch.setattr(pooling, "hidden", planted)
    read: dict[str, Any] = {"hook": HOOK, "position": "all", "where": EVERY}
    without = activations(pair, probes, **read)
    calls.clear()
    with_them = activations(pair, probes, **read, outlier=60.0)
    assert with_them.sizes["token"] - without.sizes["token"] == 2
    assert without.attrs["n_excluded"] == 4  # two tokens, each in two checkpoints
    assert with_them.attrs["n_excluded"] == 0 and with_them.attrs["n_sinks"] == 2
    np.testing.assert_array_equal(without["act"], 1)


@pytest.mark.parametrize("position", ["last", "mean", "all", -2])
def test_numbers_do_not_depend_on_the_batch(
    pair: Pair, probes: pd.DataFrame, position: str | int
) -> None:
    read: dict[str, Any] = {"dictionary": Positive(), "position": position, "device": "cpu"}
    auto = features(pair[0], probes, **read)
    for batch in (1, 20):
        data = features(pair[0], probes, **read, batch=batch)
        xr.testing.assert_allclose(data, auto, rtol=1e-4, atol=1e-4)
    with pytest.raises(ModelError, match="batch is a number of tokens"):
        features(pair[0], probes, **read, batch=0)


def test_features_at_every_token_are_those_of_the_token_view(
    pair: Pair, probes: pd.DataFrame
) -> None:
    data = features(pair, probes, dictionary=Positive(), position="all", features=[3, 1])
    schema.check(data, "token_features")
    assert data["feature"].values.tolist() == [3, 1]
    table = record_tokens(pair, probes, dictionary=Positive(), features=[3, 1]).query("counted")
    for (checkpoint, feature), part in table.groupby(["checkpoint", "feature"]):
        mine = data.sel(checkpoint=checkpoint, feature=feature)
        assert mine["prompt"].values.tolist() == part["prompt"].tolist()
        assert mine["pos"].values.tolist() == part["pos"].tolist()
        np.testing.assert_allclose(mine["act"], part["act"], rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(mine["fvu"], part["fvu"], rtol=1e-5)


@pytest.mark.parametrize("position", ["last", "mean", "all", 0])
def test_chosen_features_are_columns_of_all(
    pair: Pair, probes: pd.DataFrame, position: str | int
) -> None:
    whole = features(pair[0], probes, dictionary=Positive(), position=position)
    some = features(pair[0], probes, dictionary=Positive(), position=position, features=[4, 0])
    xr.testing.assert_identical(some, whole.sel(feature=[4, 0]))
    for indices, message in (([0, 5], r"from 0 to 4 of .*; got \[5\]"), ([], r"got \[\]")):
        with pytest.raises(SchemaError, match=message):
            features(pair[0], probes, dictionary=Positive(), features=indices)


def test_a_dictionary_answers_many_tokens_a_few_at_a_time(
    pair: Pair, probes: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes = []

    class Counting(Positive):
        def encode(self, acts: torch.Tensor) -> torch.Tensor:
            sizes.append(len(acts))
            return super().encode(acts)

    for position in ("mean", "all"):
        read: dict[str, Any] = {"dictionary": Counting(), "position": position, "where": EVERY}
        whole = features(pair[0], probes, **read)
        assert max(sizes) > 2
        module = import_module("persona_interp.record.features")
        monkeypatch.setattr(module, "MOST", 10)  # two tokens of 5 features
        sizes.clear()
        xr.testing.assert_allclose(features(pair[0], probes, **read), whole, rtol=1e-5, atol=1e-6)
        assert max(sizes) == 2
        monkeypatch.undo()


def test_recorded_residuals_are_encoded_at_every_token(pair: Pair, probes: pd.DataFrame) -> None:
    for position in ("all", "last", 1):
        acts = activations(pair[0], probes, hook="blocks.0.hook_resid_post", position=position)
        data = encode(acts, dictionary=Positive(), features=[2, 0])
        read = features(pair[0], probes, dictionary=Positive(), position=position, features=[2, 0])
        xr.testing.assert_allclose(data, read, rtol=1e-5, atol=1e-5)
        assert data.attrs["kind"] == read.attrs["kind"]
    for position in ("mean", "answer"):
        acts = activations(pair, probes[:2], hook=HOOK, position=position)
        with pytest.raises(SchemaError, match=f"at single tokens; these.* at '{position}'"):
            encode(acts, dictionary=Positive())


def test_what_would_not_fit_into_memory_is_refused_before_it_is_computed(
    pair: Pair, probes: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recording, "LARGEST", 4 * 64 * 5)  # five residuals
    with pytest.raises(SchemaError, match=r"6 rows of 64 numbers are .*features=\[\.\.\.\]"):
        activations(pair, probes, hook=HOOK)
    with pytest.raises(SchemaError, match="rows of 64 numbers"):
        activations(pair, probes, hook=HOOK, position="all")
    assert features(pair, probes, dictionary=Positive(), position="all", features=[0])


def test_what_reads_prompts_refuses_tokens_and_says_how_to_record_them(
    pair: Pair, probes: pd.DataFrame
) -> None:
    acts = activations(pair, probes, hook=HOOK, position="all")
    feats = features(pair, probes, dictionary=Positive(), position="all")
    for call in (lambda: mean_difference(acts, by="topic"), lambda: feature_shift(feats)):
        with pytest.raises(
            SchemaError, match=r"Each token has numbers of its own.*'mean' or 'last'"
        ):
            call()


def test_the_device_is_said(pair: Pair, probes: pd.DataFrame) -> None:
    data = activations(pair[0], probes, hook=HOOK, device="cpu", dtype="bfloat16")
    assert (data.attrs["device"], data.attrs["dtype"]) == ("cpu", "bfloat16")
    full = activations(pair[0], probes, hook=HOOK, device="cpu")
    off = np.linalg.norm(data["act"] - full["act"]) / np.linalg.norm(full["act"])
    assert 0 < off < 0.05  # rounding of 2^-8 in one block
    assert load(pair[0], device="cpu").model.device.type == "cpu"
    with pytest.raises(ModelError, match="did you mean 'cpu'"):
        activations(pair[0], probes, hook=HOOK, device="cpuu")
