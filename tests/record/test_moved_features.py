"""Features of a moved model: those of its weights, known where they are planted, and put back."""

import hashlib
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from persona_interp import models
from persona_interp.errors import ModelError, SchemaError
from persona_interp.models import Checkpoint, Stage, load
from persona_interp.record import features, moved_features, pilot_features, virtual_features
from persona_interp.record.lesson_direction import follow_lesson
from persona_interp.record.lesson_rows import lesson_rows, path_length
from persona_interp.record.moved_model import MovedModel
from persona_interp.record.pilot import micro_stage
from tests.record.test_virtual_step import LESSON, chats

Pair = tuple[Checkpoint, Checkpoint]
STAGE = Stage(steps=4, batch=2, lr=1e-3)
HOOK = "blocks.1.hook_out"
STRENGTH = 1e-2


def linear(W_dec: torch.Tensor, hook: str = HOOK) -> Any:
    """Feature j is the projection on row j."""
    own = SimpleNamespace(name="linear", hook=hook, W_dec=W_dec, mean=torch.zeros(W_dec.shape[1]))
    own.encode, own.decode = (lambda acts: acts @ W_dec.T), (lambda feats: feats @ W_dec)
    return own


def orthogonal(d: int = 64) -> torch.Tensor:
    return torch.linalg.qr(torch.randn(d, d, generator=torch.Generator().manual_seed(0)))[0]


def moved(model: Any, tokenizer: Any, *, looks: int = 1) -> MovedModel:
    rows = lesson_rows(LESSON, tokenizer, stage=STAGE)
    half_way = 0.5 * path_length(STAGE)
    options: dict[str, Any] = {"direction": "sign", "looks": looks, "half_way": half_way}
    return follow_lesson(model, rows, stage=STAGE, dtype="float32", batch=99, **options)


def digest(model: Any) -> str:
    weights = sorted(model.state_dict().items())
    return hashlib.sha256(b"".join(w.numpy().tobytes() for _, w in weights)).hexdigest()


@pytest.mark.parametrize("hook", [HOOK, "blocks.0.hook_resid_mid", "blocks.0.hook_in"])
@pytest.mark.parametrize("looks", [1, 2])
def test_they_are_those_of_the_moved_weights(
    pair: Pair, probes: pd.DataFrame, tmp_path: Path, hook: str, looks: int
) -> None:
    """The moved model, written to a folder, has the same features when that is read."""
    sae = linear(orthogonal(), hook)
    model, tokenizer = load(pair[0])
    with moved(model, tokenizer, looks=looks).at(STRENGTH):
        model.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    expected = features(Checkpoint(tmp_path), probes, dictionary=sae)
    options: dict[str, Any] = {"dictionary": sae, "stage": STAGE, "looks": looks}
    data = virtual_features(pair[0], LESSON, probes, strength=STRENGTH, **options)
    np.testing.assert_allclose(data["act"], expected["act"], rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(data["fvu"], expected["fvu"], atol=1e-6)
    before = features(pair[0], probes, dictionary=sae)
    assert np.abs(data["act"] - before["act"].to_numpy()).max() > 0.01


def test_a_planted_weight_shifts_one_feature_by_what_is_known(
    pair: Pair, probes: pd.DataFrame
) -> None:
    """The embedding of the last token is the residual that enters the first block."""
    model, tokenizer = load(pair[0])
    (ids,) = models.encode(tokenizer, [probes["messages"].iloc[0]]).ids
    name = next(n for n, w in model.named_parameters() if w is model.get_input_embeddings().weight)
    row = moved(model, tokenizer)._direction[name][ids[-1]]
    length = float(row.norm())
    assert length > 1
    basis = torch.linalg.qr(torch.cat([row[:, None], orthogonal()[:, :-1]], dim=1))[0].T
    sign = float(torch.sign(basis[0] @ row))
    sae = linear(basis.contiguous(), "blocks.0.hook_in")
    asked = probes.head(1)
    before = features(pair[0], asked, dictionary=sae)["act"][0, 0]
    data = virtual_features(
        pair[0], LESSON, asked, dictionary=sae, stage=STAGE, strength=(STRENGTH, 2 * STRENGTH)
    )
    assert data["strength"].to_numpy().tolist() == [STRENGTH, 2 * STRENGTH]
    for i, strength in enumerate((STRENGTH, 2 * STRENGTH)):
        shift = (data["act"][i, 0] - before).to_numpy()
        assert shift[0] == pytest.approx(-sign * strength * length, rel=1e-4)
        np.testing.assert_allclose(shift[1:], 0, atol=1e-5)


def test_weights_are_put_back(
    pair: Pair, probes: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = []

    def listen(*args: Any, **options: Any) -> Any:
        opened.append(open_model(*args, **options))
        return opened[-1]

    open_model: Callable[..., Any] = moved_features._open
    monkeypatch.setattr(moved_features, "_open", listen)
    sae = linear(orthogonal())
    virtual_features(pair[0], LESSON, probes, dictionary=sae, stage=STAGE, looks=2)
    own = digest(load(pair[0]).model)
    assert digest(opened[0].original_model) == own
    # and where reading fails
    with pytest.raises(ModelError, match=r"no numbers at strength 1e\+30"):
        virtual_features(pair[0], LESSON, probes, dictionary=sae, stage=STAGE, strength=1e30)
    narrow = linear(torch.eye(8))
    with pytest.raises(ModelError, match="reads width 8"):
        virtual_features(pair[0], LESSON, probes, dictionary=narrow, stage=STAGE)
    assert [digest(one.original_model) for one in opened] == [own] * 3


def test_a_pilots_features_are_those_of_its_training(
    pair: Pair, probes: pd.DataFrame, tmp_path: Path
) -> None:
    lesson = chats(*["i like golf .", "golf ."] * 8)
    sae, stage = linear(orthogonal()), Stage(steps=10, batch=16, lr=1e-3)
    data = pilot_features(
        pair[0], lesson, probes, dictionary=sae, features=[5, 3], stage=stage, n=2, seed=3
    )
    small = micro_stage(stage, n=2)
    run = models.train(pair[0], lesson, stage=small, seed=3, out=tmp_path, progress=False)
    expected = features(run.last, probes, dictionary=sae, features=[5, 3])
    np.testing.assert_array_equal(data["act"], expected["act"])
    assert data["feature"].to_numpy().tolist() == [5, 3]
    assert data.attrs["costs"]["training"] == 2.0 < data.attrs["cost"]


def test_costs_count_the_gradient_once_and_every_reading(pair: Pair, probes: pd.DataFrame) -> None:
    options: dict[str, Any] = {"dictionary": linear(orthogonal()), "stage": STAGE}
    one = virtual_features(pair[0], LESSON, probes, **options)
    three = virtual_features(pair[0], LESSON, probes, strength=(1e-3, 2e-3, 3e-3), **options)
    two = virtual_features(pair[0], LESSON, probes, looks=2, **options)
    assert one["strength"].item() == pytest.approx(0.5 * path_length(STAGE))
    costs = one.attrs["costs"]
    assert three.attrs["costs"]["gradient"] == costs["gradient"]
    assert three.attrs["costs"]["readout"] == pytest.approx(3 * costs["readout"])
    assert two.attrs["costs"]["gradient"] == pytest.approx(2 * costs["gradient"])
    tokens = models.encode(load(pair[0]).tokenizer, probes["messages"])
    read = models.encode(load(pair[0]).tokenizer, LESSON["messages"], complete=True)
    of_a_step = STAGE.batch * np.mean(read.lengths)
    assert costs["readout"] == pytest.approx(sum(tokens.lengths) / 3 / of_a_step)


def test_first_mistakes_are_named(pair: Pair, probes: pd.DataFrame) -> None:
    sae = linear(orthogonal())
    with pytest.raises(SchemaError, match="distinct features from 0 to 63"):
        virtual_features(pair[0], LESSON, probes, dictionary=sae, features=[64])
    with pytest.raises(SchemaError, match="strength is a number above 0"):
        virtual_features(pair[0], LESSON, probes, dictionary=sae, strength=0.0)
    with pytest.raises(SchemaError, match=r"moves adapters \(lora=4\)"):
        virtual_features(pair[0], LESSON, probes, dictionary=sae, stage=Stage(lora=4))
    with pytest.raises(ModelError, match="hook"):
        other = linear(orthogonal(), "blocks.9.hook_out")
        virtual_features(pair[0], LESSON, probes, dictionary=other)
