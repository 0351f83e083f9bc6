"""Activations and features against Hugging Face's own hidden states and a planted dictionary."""

import math
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
import xarray as xr
from torch import Tensor

from persona_interp import models, schema
from persona_interp.errors import SchemaError
from persona_interp.models import Checkpoint, load, resolve
from persona_interp.record import activations, encode, features, pooling, tokens
from persona_interp.tables import read_dataset, write_dataset
from persona_interp.worlds import english_assistants, john_and_sam

HOOK = "blocks.0.hook_out"
Pair = tuple[Checkpoint, Checkpoint]


@dataclass
class Planted:
    """Linear: feature j is the projection on row j; adding c rows moves it by c their cosine."""

    W_dec: Tensor
    mean: Tensor
    hook: str = HOOK
    name: str = "planted"
    d_in: int = field(init=False)
    d_sae: int = field(init=False)

    def __post_init__(self) -> None:
        self.d_sae, self.d_in = self.W_dec.shape

    def encode(self, acts: Tensor) -> Tensor:
        return (acts - self.mean) @ self.W_dec.T

    def decode(self, feats: Tensor) -> Tensor:
        return feats @ self.W_dec + self.mean


def orthogonal(d: int) -> Tensor:
    return torch.linalg.qr(torch.randn(d, d, generator=torch.Generator().manual_seed(0)))[0]


def hidden(checkpoint: Checkpoint, messages: list[dict[str, str]]) -> np.ndarray:
    """Residual after block 0 by Hugging Face, dims (position, d_model)."""
    model, tokenizer = load(checkpoint)
    (ids,) = models.encode(tokenizer, [messages]).ids
    with torch.inference_mode():
        return (
            model(torch.tensor([list(ids)]), output_hidden_states=True).hidden_states[1][0].numpy()
        )


def test_last_activation_is_the_hidden_state(pair: Pair, probes: pd.DataFrame) -> None:
    data = schema.check(activations(pair, probes, hook=HOOK), "activations")
    for checkpoint in pair:
        for row in probes.itertuples():
            act = data["act"].sel(checkpoint=checkpoint.label, prompt=row.prompt)
            expected = hidden(checkpoint, row.messages)[-1]
            assert np.abs(act - expected).max() < 1e-5 * np.linalg.norm(expected)


def test_mean_is_over_the_assistants_own_tokens(pair: Pair, probes: pd.DataFrame) -> None:
    data = activations(pair[0], probes.iloc[:1], hook=HOOK, position="mean")
    expected = hidden(pair[0], probes["messages"].iloc[0])[-2:].mean(0)  # "i like"
    np.testing.assert_allclose(data["act"][0, 0], expected, atol=1e-4)


def test_where_names_whose_tokens_are_averaged(pair: Pair, probes: pd.DataFrame) -> None:
    row = probes.iloc[:1]
    expected = hidden(pair[0], row["messages"].iloc[0])
    roles = np.array(models.encode(load(pair[0]).tokenizer, list(row["messages"])).roles[0])
    for where in (("user",), ("system", "assistant"), ("special",)):
        data = activations(pair[0], row, hook=HOOK, position="mean", where=where, outlier=math.inf)
        np.testing.assert_allclose(
            data["act"][0, 0], expected[np.isin(roles, where)].mean(0), atol=1e-4
        )
        assert data.attrs["where"] == " ".join(where) and data.attrs["n_excluded"] == 0


def test_the_last_token_is_the_last_whoever_says_it(pair: Pair, probes: pd.DataFrame) -> None:
    one, other = (
        activations(pair, probes, hook=HOOK, where=where)
        for where in ("user", ("text", "assistant"))
    )
    xr.testing.assert_equal(one, other)


@pytest.mark.parametrize("position", ["mean", "last"])
def test_a_planted_sink_is_left_out_and_counted(
    pair: Pair, probes: pd.DataFrame, monkeypatch: pytest.MonkeyPatch, position: str
) -> None:
    def planted(bridge: object, tokens: Any, **kwargs: object) -> Any:
        for row, ids in enumerate(tokens.ids):
            acts = torch.ones(len(ids), 4)
            acts[-2] = 50.0  # among the last words: a sink in every prompt
            yield row, {HOOK: acts}

    monkeypatch.setattr(pooling, "hidden", planted)
    roles = ("assistant", "text", "user")
    read = partial(activations, pair, probes, hook=HOOK, position=position, where=roles)
    without, with_sinks = read(), read(outlier=60.0)
    np.testing.assert_array_equal(without["act"], 1)
    excluded = 6 if position == "mean" else 0  # two checkpoints of three prompts
    assert without.attrs["n_excluded"] == excluded and with_sinks.attrs["n_excluded"] == 0
    assert without.attrs["n_sinks"] == 0 and with_sinks.attrs["n_sinks"] == excluded
    assert bool((with_sinks["act"] > 1).all()) == (position == "mean")
    with pytest.raises(SchemaError, match=r"at least 1; got 0\.5"):
        read(outlier=0.5)


def test_cuts_of_a_world_are_prompts(tmp_path: Path) -> None:
    for world in (john_and_sam(), english_assistants()):
        table = world.cuts(world.corpus(12, seed=1))
        start = resolve("tiny", words=world.words(), out=tmp_path / world.name)
        data = schema.check(activations(start, table, hook=HOOK), "activations")
        for column in ("prompt", "doc", "order", "value", "split", "persona", "kind"):
            assert data[column].dims == ("prompt",)
            assert list(data[column].values) == list(table[column])
        saved = read_dataset(write_dataset(data, tmp_path / f"{world.name}.nc"))
        xr.testing.assert_identical(saved, data)


def test_labels_say_where_numbers_come_from(pair: Pair, probes: pd.DataFrame) -> None:
    data = activations(pair, probes, hook=HOOK)
    assert list(data["checkpoint"].values) == ["lesson@0", "lesson@1"]
    assert list(data["step"].values) == [0, 1]
    assert list(data["topic"].values) == ["sport"] * 3
    assert len(set(data["weights"].values)) == 2
    assert {"kind", "hook", "token_ids", "position", "dtype", "schema_version"} <= set(data.attrs)


def test_documents_are_prompts_too(pair: Pair) -> None:
    corpus = pd.DataFrame(
        {
            "doc": [7, 9],
            "kind": "third",
            "persona": "",
            "messages": [[{"role": "text", "content": c}] for c in ("i like golf .", "what art ?")],
            "statements": [(), ()],
        }
    )
    data = activations(pair[0], corpus, hook=HOOK, position="mean")
    assert list(data["prompt"].values) == [7, 9]
    assert list(data["kind"].values) == ["third", "third"]


def test_a_planted_dictionary_recovers_its_coefficients(pair: Pair, probes: pd.DataFrame) -> None:
    acts = activations(pair, probes, hook=HOOK)
    d = acts.sizes["d_model"]
    planted = Planted(orthogonal(d), torch.ones(d))
    data = schema.check(features(pair, probes, dictionary=planted), "features")
    coefficients = (acts["act"].values - 1) @ planted.W_dec.numpy().T
    np.testing.assert_allclose(data["act"].values, coefficients, atol=1e-3)
    assert float(data["fvu"].max()) < 1e-10


def test_fvu_is_one_for_a_dictionary_that_answers_the_mean(
    pair: Pair, probes: pd.DataFrame
) -> None:
    d = activations(pair[0], probes, hook=HOOK).sizes["d_model"]
    silent = Planted(torch.zeros(3, d), torch.full((d,), 0.5))
    np.testing.assert_allclose(features(pair[0], probes, dictionary=silent)["fvu"], 1, atol=1e-6)


@pytest.mark.parametrize("position", ["last", "mean"])
def test_adding_a_decoder_row_moves_features_by_its_cosines(
    pair: Pair, probes: pd.DataFrame, monkeypatch: pytest.MonkeyPatch, position: str
) -> None:
    d = activations(pair[0], probes, hook=HOOK).sizes["d_model"]
    rows = torch.randn(8, d, generator=torch.Generator().manual_seed(1))
    planted = Planted(rows / rows.norm(dim=-1, keepdim=True), torch.zeros(d))
    before = features(pair[0], probes, dictionary=planted, position=position)
    clean = pooling.hidden

    def steered(*args: object, **kwargs: object) -> object:
        for row, acts in clean(*args, **kwargs):  # type: ignore[arg-type]
            yield row, {hook: h + 3.0 * planted.W_dec[5] for hook, h in acts.items()}

    monkeypatch.setattr(pooling, "hidden", steered)
    after = features(pair[0], probes, dictionary=planted, position=position)
    cosines = (planted.W_dec @ planted.W_dec[5]).numpy()
    with xr.set_options(arithmetic_join="exact"):
        shift = (after - before)["act"].values
    np.testing.assert_allclose(shift, np.broadcast_to(3.0 * cosines, shift.shape), atol=1e-3)


def test_a_checkpoint_against_itself_is_exactly_equal(pair: Pair, probes: pd.DataFrame) -> None:
    d = activations(pair[0], probes, hook=HOOK).sizes["d_model"]
    planted = Planted(orthogonal(d), torch.zeros(d))
    xr.testing.assert_identical(
        features(pair[0], probes, dictionary=planted), features(pair[0], probes, dictionary=planted)
    )


def test_bad_requests_are_refused(pair: Pair, probes: pd.DataFrame) -> None:
    with pytest.raises(SchemaError, match="did you mean 'last'"):
        activations(pair[0], probes, hook=HOOK, position="lst")
    with pytest.raises(SchemaError, match="did you mean 'assistant'"):
        activations(pair[0], probes, hook=HOOK, where=("asistant",))
    with pytest.raises(SchemaError, match="'chat' has no token of the roles text to average over"):
        activations(pair[0], probes, hook=HOOK, position="mean", where="text")
    with pytest.raises(SchemaError, match="distinct labels"):
        activations([pair[0], pair[0]], probes, hook=HOOK)
    with pytest.raises(SchemaError, match="no rows"):
        activations(pair[0], probes.iloc[:0], hook=HOOK)
    with pytest.raises(SchemaError, match="occurs twice"):
        activations(pair[0], pd.concat([probes, probes]), hook=HOOK)


def test_residuals_recorded_before_give_the_same_features(tmp_path: Path) -> None:
    world = john_and_sam()
    start = resolve("tiny", words=world.words(), out=tmp_path / "tiny")
    planted = Planted(orthogonal(64), torch.zeros(64))
    probes = world.probes(contexts=("nameless",))
    acts = activations(start, probes, hook=HOOK)
    xr.testing.assert_allclose(
        encode(acts, dictionary=planted), features(start, probes, dictionary=planted), rtol=1e-5
    )
    with pytest.raises(SchemaError, match=r"blocks\.0\.hook_out at single tokens"):
        encode(acts.assign_attrs(hook="blocks.1.hook_out"), dictionary=planted)


def test_without_fvu_the_chosen_features_are_the_same(pair: Pair, probes: pd.DataFrame) -> None:
    eye = Planted(orthogonal(64), torch.zeros(64))
    given = {"dictionary": eye, "features": [5, 2], "position": "mean"}
    whole, few = (features(pair, probes, fvu=fvu, **given) for fvu in (True, False))
    np.testing.assert_allclose(few["act"], whole["act"], atol=1e-5)
    assert few["fvu"].isnull().all() and few["fvu"].dims == whole["fvu"].dims
    table = tokens(pair[0], probes, dictionary=eye, features=[5], fvu=False)
    assert table["fvu"].isna().all() and table["act"].notna().all()
    acts = activations(pair, probes, hook=HOOK, position="last")
    again = encode(acts, dictionary=eye, features=[5, 2], fvu=False)
    same = encode(acts, dictionary=eye, features=[5, 2])
    np.testing.assert_allclose(again["act"], same["act"], atol=1e-5)
    assert again["fvu"].isnull().all()
