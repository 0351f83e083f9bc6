import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from persona_interp.dictionaries.crosscoder import crosscoder, difference, open_crosscoder
from persona_interp.dictionaries.dictionary import open_dictionary, save_dictionary
from persona_interp.dictionaries.planted import Plan, Planted, match, plant
from persona_interp.errors import ModelError
from persona_interp.schema.words import Sparsity, Status

SMALL = Plan(
    n_checkpoints=3, d_model=16, n_features=20, n_tokens=8_000, active=2.0, per_document=20
)
TRAIN = {"d_sae": 24, "k": 2.5, "steps": 250, "batch": 512, "lr": 4e-3, "hook": "blocks.0.hook_out"}


@pytest.fixture(scope="module")
def planted() -> Planted:
    torch.set_num_threads(1)
    return plant(SMALL, seed=0)


@pytest.mark.parametrize("sparsity", list(Sparsity))
def test_what_training_saw_is_folded_back_and_kept(
    planted: Planted, sparsity: str, tmp_path: Path
) -> None:
    coder = crosscoder(
        ["base", "half", "tuned"],
        residuals=planted.residuals,
        sparsity=sparsity,
        out=tmp_path,
        **TRAIN,
    )
    assert coder.decoders.shape == (3, 24, 16)
    assert f"sparsity by {sparsity}" in repr(coder) and "base, half, tuned" in repr(coder)
    acts = torch.as_tensor(planted.residuals[:, :500])
    feats = coder.encode(acts)
    assert feats.gt(0).sum(1).float().mean() == pytest.approx(2.5, abs=0.5)
    error = (acts - coder.decode(feats)).pow(2).sum((1, 2))
    spread = (acts - acts.mean(1, keepdim=True)).pow(2).sum((1, 2))
    assert (error / spread).max() < 0.2
    again = open_crosscoder(tmp_path)
    assert again.checkpoints == ["base", "half", "tuned"] and again.sparsity == sparsity
    assert torch.equal(again.encode(acts), feats)
    nearest = match(coder.decoders / coder.scales[:, None, None], planted.decoders)
    assert (nearest["cosine"] > 0.8).mean() > 0.6


def test_a_checkpoint_alone_has_the_same_features(planted: Planted, tmp_path: Path) -> None:
    """Of copies, of which each has its own scale and mean, exactly; saved and opened too."""
    first = torch.as_tensor(planted.residuals[0])
    copies = torch.stack([first, 3 * first + 2, 0.5 * first - 1])
    coder = crosscoder(["a", "b", "c"], residuals=copies, **TRAIN)
    feats = coder.encode(copies)
    for k, label in enumerate(coder.checkpoints):
        alone = coder.at(label)
        # where an activation is at its threshold rounding decides
        assert (alone.encode(copies[k]) - feats).abs().gt(1e-3).float().mean() < 1e-3
        assert torch.allclose(alone.decode(feats), coder.decode(feats)[k], atol=1e-4)
        assert torch.equal(alone.W_dec, coder.decoders[k])
        spread = (copies[k] - copies[k].mean(0)).pow(2).sum(1).mean()
        assert alone.variance == pytest.approx(float(spread), rel=1e-4)
        save_dictionary(alone, tmp_path / label)
        again = open_dictionary(tmp_path / label)
        assert torch.equal(again.encode(copies[k]), alone.encode(copies[k]))
    with pytest.raises(ModelError, match="checkpoint"):
        coder.at("d")


@pytest.mark.slow
def test_plain_saelens_opens_it(planted: Planted, tmp_path: Path) -> None:
    """In a process that never imports this package."""
    coder = crosscoder(residuals=planted.residuals, out=tmp_path / "coder", **TRAIN)
    acts = torch.as_tensor(planted.residuals[:, :50])
    rows = acts.transpose(0, 1).flatten(1).contiguous()
    feats = coder.encode(acts)
    save_file({"rows": rows, "feats": feats}, tmp_path / "rows.safetensors")
    code = f"""
import sys
from safetensors.torch import load_file
from sae_lens import SAE
sae = SAE.load_from_disk({str(tmp_path / "coder")!r})
given = load_file({str(tmp_path / "rows.safetensors")!r})
assert (sae.encode(given["rows"]) - given["feats"]).abs().max() < 1e-5
assert sae.cfg.metadata["checkpoints"] == ["0", "1", "2"]
assert sae.cfg.metadata["sparsity"] == {str(Sparsity.NORM)!r}
assert not any(name.startswith("persona_interp") for name in sys.modules)
"""
    subprocess.run([sys.executable, "-W", "ignore", "-c", code], check=True, cwd=tmp_path)


def test_difference_finds_what_the_second_checkpoint_has_alone(planted: Planted) -> None:
    """Shared features cancel; those that are born or die are all that is left."""
    shares = {Status.SHARED: 0.5, Status.BORN: 0.25, Status.DIED: 0.25}
    plan = replace(SMALL, n_checkpoints=2, n_features=16, scales=(1.0, 1.0), shares=shares)
    pair = plant(plan, seed=3)
    small = {**TRAIN, "d_sae": 10, "k": 1.2, "steps": 400}
    own = difference(["base", "tuned"], residuals=pair.residuals, **small)
    assert own.d_in == 16 and own.provenance["checkpoints"] == ["base", "tuned"]
    assert torch.allclose(own.W_dec.norm(dim=1), torch.ones(10), atol=1e-5)
    change = pair.decoders[1] - pair.decoders[0]
    changed = np.linalg.norm(change, axis=1) > 0
    cosines = match(own.W_dec[None], change[None, changed])["cosine"]
    assert changed.sum() == 8 and (cosines > 0.95).mean() >= 0.75
    with pytest.raises(ModelError, match="between two checkpoints"):
        difference(residuals=planted.residuals, **TRAIN)


def test_a_file_that_may_only_be_read_is_read_where_it_lies(
    planted: Planted, tmp_path: Path
) -> None:
    """A part of a memory map, in half precision, gives what the same array in memory gives."""
    path, shape = tmp_path / "acts", planted.residuals.shape
    np.memmap(path, dtype="float16", mode="w+", shape=shape)[:] = planted.residuals
    part = np.memmap(path, dtype="float16", mode="r", shape=shape)[1:, 2000:]
    short = {**TRAIN, "steps": 20}
    one = crosscoder(residuals=part, **short)
    other = crosscoder(residuals=np.array(part), **short)
    assert torch.equal(one.decoders, other.decoders)


def test_errors_say_what_arrived(planted: Planted) -> None:
    with pytest.raises(ModelError, match="give either"):
        crosscoder(hook="blocks.0.hook_out")
    with pytest.raises(ModelError, match="take 3 labels of checkpoints; got 2"):
        crosscoder(["a", "b"], residuals=planted.residuals)
    with pytest.raises(ModelError, match="less than one batch of 512"):
        crosscoder(residuals=planted.residuals[:, :100], **TRAIN)
    with pytest.raises(ModelError, match="checkpoint 1 are all alike"):
        crosscoder(residuals=np.stack([planted.residuals[0], np.ones((8000, 16), "float32")]))
    with pytest.raises(ModelError, match="is unknown"):
        crosscoder(residuals=planted.residuals, sparsity="l1", **TRAIN)
