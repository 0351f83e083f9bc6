"""The sums of latent scaling against the formulas, written out, and statuses of a trained one."""

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

from persona_interp.analysis import latent_scaling, statuses
from persona_interp.analysis.latent_scaling import feature_vectors
from persona_interp.dictionaries.crosscoder import Crosscoder, crosscoder
from persona_interp.dictionaries.dictionary import save_dictionary
from persona_interp.dictionaries.planted import NO_EFFECT, Plan, Planted, match, plant
from persona_interp.dictionaries.scaling import scaling
from persona_interp.errors import ModelError
from persona_interp.schema.words import Status

SMALL = Plan(
    n_checkpoints=3, d_model=24, n_features=24, n_tokens=20_000, active=2.0, per_document=20
)
TRAIN = {"d_sae": 30, "k": 2.2, "steps": 400, "batch": 512, "lr": 4e-3, "hook": "blocks.0.hook_out"}


@pytest.fixture(scope="module")
def planted() -> Planted:
    torch.set_num_threads(1)
    return plant(SMALL, seed=0)


@pytest.fixture(scope="module")
def coder(planted: Planted) -> Crosscoder:
    return crosscoder(residuals=planted.residuals, **TRAIN)


def test_betas_and_norms_are_those_of_the_formulas_in_plain_numpy(
    planted: Planted, coder: Crosscoder, tmp_path: Path
) -> None:
    """From the file that SAELens wrote and the residuals: nothing of the package in between."""
    sums = scaling(coder, residuals=planted.residuals, documents=planted.documents)
    table = latent_scaling(sums).set_index(["feature", "checkpoint"])
    save_dictionary(coder.dictionary, tmp_path)
    weights = load_file(tmp_path / "sae_weights.safetensors")
    rows = np.concatenate(list(planted.residuals), axis=1)
    pre = (rows - weights["b_dec"]) @ weights["W_enc"] + weights["b_enc"]
    feats = np.where(pre > weights["threshold"], pre, 0).clip(0).astype(np.float64)
    width = planted.residuals.shape[2]
    own, target, rebuilt = [], [], []
    for k, acts in enumerate(planted.residuals.astype(np.float64)):
        block = slice(k * width, (k + 1) * width)
        scale = np.sqrt(((acts - acts.mean(axis=0)) ** 2).mean())
        own.append(weights["W_dec"][:, block] / scale)
        target.append((acts - weights["b_dec"][block]) / scale)
        rebuilt.append(feats @ own[k])
    alive = np.flatnonzero((feats > 0).sum(axis=0) > 50)
    assert len(alive) >= 20
    for j in alive:
        norms = [np.linalg.norm(decoder[j]) for decoder in own]
        direction = own[int(np.argmax(norms))][j]
        part = np.outer(feats[:, j], direction)
        for k in range(3):
            row = table.loc[(j, str(k))]
            others = target[k] - rebuilt[k] + np.outer(feats[:, j], own[k][j])
            # least squares of y on f d
            beta_error = (part * others).sum() / (part**2).sum()
            beta_rebuilt = (part * rebuilt[k]).sum() / (part**2).sum()
            assert row["norm"] == pytest.approx(norms[k], abs=1e-4)
            assert row["beta_error"] == pytest.approx(beta_error, abs=1e-4)
            assert row["beta_reconstruction"] == pytest.approx(beta_rebuilt, abs=1e-4)


def test_parts_are_whole_documents_and_do_not_change_the_sum(
    planted: Planted, coder: Crosscoder
) -> None:
    one = scaling(coder, residuals=planted.residuals[:, :5000], documents=np.zeros(5000))
    many = scaling(coder, residuals=planted.residuals[:, :5000], documents=np.arange(5000) // 20)
    assert (one["tokens"].to_numpy() > 0).sum() == 1
    assert (many["tokens"].to_numpy() % 20 == 0).all() and (many["tokens"] > 0).all()
    for name in ("left", "rebuilt", "squares", "unexplained"):
        total = many[name].sum("part").to_numpy()
        assert np.allclose(one[name].sum("part").to_numpy(), total, rtol=1e-3, atol=1e-2)


def test_statuses_of_a_trained_crosscoder_are_the_planted_ones(
    planted: Planted, coder: Crosscoder
) -> None:
    table = statuses(scaling(coder, residuals=planted.residuals, documents=planted.documents))
    scales = coder.scales.numpy()[:, None, None]
    nearest = match(coder.decoders.numpy() / scales, planted.decoders / scales)
    recovered = nearest["cosine"] > 0.9
    assert recovered.mean() >= 0.8
    status = table["status"].to_numpy()[nearest["feature"]]
    right = (status == planted.truth["status"])[recovered]
    assert right.mean() >= 0.8
    changed = recovered & (status == planted.truth["status"]) & (status != Status.SHARED)
    at = table["at"].to_numpy()[nearest["feature"]][changed]
    assert changed.sum() >= 5 and (at == planted.truth["at"][changed]).all()


def test_checkpoints_without_an_effect_give_no_claim() -> None:
    plan = Plan(**{**vars(SMALL), "shares": NO_EFFECT})
    planted = plant(plan, seed=1)
    coder = crosscoder(residuals=planted.residuals, **TRAIN)
    table = statuses(scaling(coder, residuals=planted.residuals, documents=planted.documents))
    assert set(table["status"]) <= {Status.SHARED, Status.UNDECIDED, Status.DEAD}
    assert (table["status"] == Status.SHARED).sum() >= 16


def test_copies_have_one_vector_whatever_training_left_of_decoders_and_biases(
    planted: Planted,
) -> None:
    """Copies with scales and offsets of their own; a decoder and a bias of one are then spoiled."""
    first = torch.from_numpy(planted.residuals[0])
    copies = torch.stack([first, 3 * first + 2, 0.5 * first - 1])
    coder = crosscoder(["a", "b", "c"], residuals=copies, **TRAIN)
    with torch.no_grad():
        width = first.shape[1]
        coder.dictionary.sae.W_dec[:, :width] *= 0.95
        coder.dictionary.sae.b_dec[width : 2 * width] += 0.1
    sums = scaling(coder, residuals=copies, documents=planted.documents)
    vectors, _ = feature_vectors(sums)
    often = sums["fires"].to_numpy().sum(axis=0) > 50
    assert often.sum() >= 20
    assert vectors[1:, often] == pytest.approx(np.stack([vectors[0, often]] * 2), abs=2e-3)
    assert set(statuses(sums)["status"]) <= {Status.SHARED, Status.DEAD}


def test_other_checkpoints_are_refused(planted: Planted, coder: Crosscoder) -> None:
    with pytest.raises(ModelError, match="take 3 labels of checkpoints; got 2"):
        scaling(coder, ["a", "b"], residuals=planted.residuals)
    with pytest.raises(ModelError, match="this crosscoder is of 0, 1, 2; got residuals of a, b, c"):
        scaling(coder, ["a", "b", "c"], residuals=planted.residuals)
