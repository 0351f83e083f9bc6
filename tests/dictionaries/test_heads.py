"""SAEs of attention heads: they read all heads of a layer, one behind the other."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from persona_interp import record
from persona_interp.dictionaries import (
    diagnose,
    fidelity,
    fit,
    load_pretrained,
    measure_residuals,
    open_dictionary,
    save_dictionary,
)
from persona_interp.dictionaries.pretrained import from_sae
from persona_interp.errors import ModelError
from persona_interp.models import Checkpoint, boot
from tests.dictionaries.test_fidelity import Halves

Z, CANONICAL = "blocks.1.attn.hook_z", "blocks.1.attn.o.hook_in"
WIDTH, N_FEATURES = 64, 96


def rand(*dims: int, seed: int) -> Tensor:
    return torch.randn(*dims, generator=torch.Generator().manual_seed(seed))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A planted SAE as SAELens writes one of heads."""
    from sae_lens import JumpReLUSAE, JumpReLUSAEConfig
    from sae_lens.saes.sae import SAEMetadata

    metadata = SAEMetadata(hook_name=Z, hook_head_index=None, model_name="counter")
    config = JumpReLUSAEConfig(
        d_in=WIDTH, d_sae=N_FEATURES, reshape_activations="hook_z", metadata=metadata
    )
    sae = JumpReLUSAE(config)
    weights = {
        "W_enc": rand(WIDTH, N_FEATURES, seed=0),
        "W_dec": rand(N_FEATURES, WIDTH, seed=1),
        "b_enc": 0.1 * rand(N_FEATURES, seed=2),
        "b_dec": 0.1 * rand(WIDTH, seed=3),
        "threshold": 0.05 * rand(N_FEATURES, seed=4).abs(),
    }
    sae.load_state_dict(weights)
    folder = tmp_path_factory.mktemp("sae")
    sae.save_model(folder)
    return folder


def prompts(corpus: pd.DataFrame) -> pd.DataFrame:
    return corpus.head(6)


def test_it_encodes_recorded_heads_as_saelens_does(
    folder: Path, counter: Checkpoint, corpus: pd.DataFrame
) -> None:
    from sae_lens import SAE

    theirs, ours = SAE.load_from_disk(str(folder), device="cpu"), load_pretrained(folder)
    assert ours.hook == CANONICAL and (ours.d_in, ours.d_sae) == (WIDTH, N_FEATURES)
    acts = record.activations(counter, prompts(corpus), hook=Z, position="all", device="cpu")
    heads = torch.tensor(acts["act"].to_numpy())
    assert heads.ndim == 4 and theirs.reshape_fn_in(heads).shape[-1] == WIDTH
    with torch.no_grad():
        want = theirs.encode(heads).numpy()
    assert (want > 0).mean() > 0.1
    for data in (
        record.encode(acts, dictionary=ours, device="cpu"),
        record.encode(acts, dictionary=folder, device="cpu"),
        record.features(counter, prompts(corpus), dictionary=theirs, position="all", device="cpu"),
    ):
        assert data.attrs["kind"] == "token_features"
        np.testing.assert_allclose(data["act"], want, rtol=1e-5, atol=1e-6)
    table = record.tokens(
        counter, prompts(corpus), dictionary=ours, features=[7], device="cpu"
    ).query("counted")
    np.testing.assert_allclose(table["act"], want[0, :, 7], rtol=1e-5, atol=1e-6)
    last = record.activations(counter, prompts(corpus), hook=Z, device="cpu")
    read = record.features(counter, prompts(corpus), dictionary=ours, device="cpu")
    data = record.encode(last, dictionary=ours, device="cpu")
    np.testing.assert_allclose(data["act"], read["act"], rtol=1e-5, atol=1e-6)


def test_an_sae_in_memory_stays_as_it_is(folder: Path) -> None:
    from sae_lens import SAE

    theirs = SAE.load_from_disk(str(folder), device="cpu")
    ours = from_sae(theirs)
    assert theirs.hook_z_reshaping_mode and not ours.sae.hook_z_reshaping_mode
    rows = rand(3, WIDTH, seed=5)
    torch.testing.assert_close(ours.encode(rows), theirs.encode(rows.reshape(3, 4, -1)))
    torch.testing.assert_close(
        ours.decode(ours.encode(rows)), theirs(rows.reshape(3, 4, -1)).reshape(3, -1)
    )


def test_what_is_saved_is_of_heads_to_saelens_too(folder: Path, tmp_path: Path) -> None:
    from sae_lens import SAE

    ours = load_pretrained(folder)
    saved = save_dictionary(ours, tmp_path / "ours")
    assert open_dictionary(saved).hook == CANONICAL
    assert SAE.load_from_disk(str(saved)).hook_z_reshaping_mode
    before, after = (load_file(f / "sae_weights.safetensors") for f in (folder, saved))
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_splicing_the_identity_into_heads_loses_nothing(
    counter: Checkpoint, corpus: pd.DataFrame
) -> None:
    hook = "blocks.0.attn.hook_z"  # without it this model no longer knows where it is
    whole, none = Halves(WIDTH, hook=hook), Halves(WIDTH, gain=0.0, hook=hook)
    (row,) = fidelity(whole, counter, corpus, n_tokens=400).to_dict("records")
    assert row["fvu"] == 0 and row["ce_recovered"] == pytest.approx(1, abs=1e-6)
    assert row["ce"] < row["ce_zero"]
    (row,) = fidelity(none, counter, corpus, n_tokens=400).to_dict("records")
    assert row["ce_sae"] == row["ce_zero"] and row["ce_recovered"] == 0
    # without heads attention adds nothing: the same as the residual without what it adds
    (added,) = fidelity(
        Halves(WIDTH, gain=0.0, hook="blocks.0.hook_attn_out"), counter, corpus, n_tokens=400
    ).to_dict("records")
    assert added["ce_zero"] == pytest.approx(row["ce_zero"], abs=1e-5)


def test_one_is_trained_on_heads_and_opened_by_saelens(
    counter: Checkpoint, corpus: pd.DataFrame, tmp_path: Path
) -> None:
    from sae_lens import SAE

    small: dict[str, Any] = {"d_sae": 64, "k": 4, "steps": 100, "batch": 256, "n_tokens": 900}
    ours = fit(counter, corpus, hook=Z, out=tmp_path / "fit", **small)
    assert ours.hook == CANONICAL and ours.provenance["fvu"] < 0.9
    reopened = open_dictionary(tmp_path / "fit")
    theirs = SAE.load_from_disk(str(tmp_path / "fit"), device="cpu")
    assert theirs.cfg.metadata.hook_name == Z
    rows = rand(5, WIDTH, seed=6)
    n_heads = boot(counter).cfg.n_heads
    torch.testing.assert_close(reopened.encode(rows), theirs.encode(rows.reshape(5, n_heads, -1)))
    table = diagnose(reopened, counter, corpus, n_tokens=600)
    overall = table.set_index("check").loc["overall"]
    assert overall["value"] < 1 and overall["cause"] in ("", "input scale", "wrong layer")
    measured = measure_residuals(load_pretrained(tmp_path / "fit"), counter, corpus, n_tokens=600)
    assert len(measured.mean) == WIDTH


@pytest.mark.parametrize("key", ["hook_head_index", "hook_point_head_index"])
def test_an_sae_of_one_head_is_refused_by_name(folder: Path, tmp_path: Path, key: str) -> None:
    config = json.loads((folder / "cfg.json").read_text())
    config["metadata"][key] = 3
    (tmp_path / "cfg.json").write_text(json.dumps(config))
    (tmp_path / "sae_weights.safetensors").write_bytes(
        (folder / "sae_weights.safetensors").read_bytes()
    )
    with pytest.raises(ModelError, match=rf"SAE of head 3 alone \({key}\).*attn\.hook_z"):
        load_pretrained(tmp_path)
