"""Residuals on the disk train what the same residuals in memory do, bit for bit."""

from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from persona_interp.dictionaries import (
    ActStore,
    crosscoder,
    difference,
    finetune,
    fit,
    keep_activations,
    same_tokens,
    scaling,
    stage_wise,
)
from persona_interp.dictionaries.blocks import as_rows
from persona_interp.dictionaries.recordings import Recordings, as_recordings
from persona_interp.errors import ModelError
from persona_interp.models import Checkpoint, load

HOOK = "blocks.0.hook_out"
TRAIN: dict[str, Any] = {"d_sae": 32, "k": 4, "steps": 24, "batch": 128}
Stores = list[ActStore]
store_file: Any = import_module("persona_interp.dictionaries.act_store")


def record(checkpoint: Checkpoint, corpus: pd.DataFrame, out: Path, **other: Any) -> ActStore:
    return keep_activations(checkpoint, corpus, out=out, **{"hook": HOOK, "n_tokens": 600} | other)


@pytest.fixture(scope="module")
def tuned(counter: Checkpoint, tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    """The counter with every weight moved a little."""
    model, tokenizer = load(counter)
    torch.manual_seed(0)
    with torch.no_grad():
        for weight in model.parameters():
            weight += 0.1 * weight.std() * torch.randn_like(weight)
    folder = Path(tmp_path_factory.mktemp("tuned"))
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return Checkpoint(folder, stage="lesson", step=4)


@pytest.fixture(scope="module")
def stores(
    counter: Checkpoint, tuned: Checkpoint, corpus: pd.DataFrame, tmp_path_factory: Any
) -> Stores:
    out = tmp_path_factory.mktemp("acts")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(store_file, "SHARD_BYTES", 4 * 64 * 150)
        return [record(checkpoint, corpus, out) for checkpoint in (counter, tuned)]


@pytest.fixture(scope="module")
def memory(stores: Stores) -> torch.Tensor:
    """What the recordings hold, read at once."""
    return torch.stack([store[:] for store in stores])


def test_recordings_are_indexed_as_their_tensor(stores: Stores, memory: torch.Tensor) -> None:
    own = Recordings(stores)
    assert own.shape == tuple(memory.shape) and len(own) == 2 and len(own[1:]) == 1
    at, which = torch.tensor([5, 400, 5]), torch.tensor([1, 0, 0])
    assert torch.equal(own[:, at], memory[:, at]) and torch.equal(own[1, at], memory[1, at])
    assert torch.equal(own[which, at], memory[which, at])
    assert torch.equal(own[1:][:, at], memory[1:, at])


def test_a_sink_of_one_recording_is_left_out_of_all(stores: Stores, memory: torch.Tensor) -> None:
    """The second recording is looked at as if one of its rows were far too long."""
    longer = ActStore(stores[1].folder)
    mask = longer.no_sink.clone()
    mask[7] = False
    longer.no_sink = mask
    own = same_tokens(residuals=[stores[0], longer])
    kept = torch.cat([torch.arange(7), torch.arange(8, memory.shape[1])])
    every = torch.arange(own.residuals.shape[1])
    assert torch.equal(own.residuals[:, every], memory[:, kept])
    assert own.provenance["n_excluded_sinks"] == 1
    assert np.array_equal(own.documents, stores[0].places()[0][kept.numpy()])


def test_a_crosscoder_of_recordings_is_that_of_their_residuals(
    stores: Stores, memory: torch.Tensor
) -> None:
    stored = crosscoder(residuals=stores, **TRAIN)
    given = crosscoder(["a", "b"], residuals=memory, hook=HOOK, **TRAIN)
    assert torch.equal(stored.decoders, given.decoders)
    assert torch.equal(stored.encode(memory), given.encode(memory))
    assert stored.checkpoints == ["documents@60", "lesson@4"] and stored.hook == HOOK
    facts = stored.dictionary.provenance
    assert facts["weights"] == [store.provenance["weights"][0] for store in stores]
    assert facts["fvu"] == given.dictionary.provenance["fvu"]
    documents = stores[0].places()[0]
    sums = scaling(stored, residuals=stores)
    other = scaling(stored, stored.checkpoints, residuals=memory, documents=documents)
    assert sums.equals(other) and sums.attrs["n_documents"] == len(set(documents))


def test_what_else_reads_several_checkpoints_reads_recordings(
    stores: Stores, memory: torch.Tensor
) -> None:
    settings: dict[str, Any] = {"steps": 6, "batch": 64}
    pairs = [(difference(residuals=stores, **TRAIN), difference(residuals=memory, **TRAIN))]
    start = fit(residuals=stores[0], **TRAIN)
    for one, other in (
        (stores, memory),
        (stores[0], memory[:1]),
        (Recordings(stores)[1:], memory[1:]),
    ):
        pairs.append((finetune(start, one, **settings), finetune(start, other, **settings)))
        further: dict[str, Any] = {"start": start, **settings}
        pairs.append((fit(residuals=one, **further), fit(residuals=other, **further)))
    staged = stage_wise(start, residuals=(stores, stores), **settings)
    given = stage_wise(start, residuals=(memory, memory), **settings)
    pd.testing.assert_frame_equal(staged.table, given.table)
    for one, other in pairs:
        assert torch.equal(one.W_dec, other.W_dec) and torch.equal(one.mean, other.mean)


def test_center_and_scale_of_one_pass_are_those_of_two(memory: torch.Tensor) -> None:
    """Far from the origin, where one pass of plain sums would lose all digits."""
    far = memory.repeat(1, 9, 1) + 1e4
    rows = as_rows(far)
    exact = far.double()
    assert rows.n > 4096
    assert torch.allclose(rows.center, exact.mean(1).flatten().float(), rtol=1e-7, atol=0)
    rms = (exact - exact.mean(1, keepdim=True)).pow(2).mean((1, 2)).sqrt()
    assert torch.allclose(rows.scale[::64].double(), rms, rtol=1e-6)


def test_recordings_of_other_tokens_are_refused(
    counter: Checkpoint, tuned: Checkpoint, corpus: pd.DataFrame, stores: Stores, tmp_path: Path
) -> None:
    for other, message in (
        ({"seed": 1}, "holds residuals of other tokens"),
        ({"hook": "blocks.1.hook_out"}, "holds residuals of another hook"),
    ):
        with pytest.raises(ModelError, match=message):
            crosscoder(residuals=[stores[0], record(tuned, corpus, tmp_path, **other)], **TRAIN)
    turned = ActStore(stores[1].folder)
    docs, pos = turned.places()
    turned.places = lambda: (docs[::-1], pos)
    with pytest.raises(ModelError, match="in another order"):
        difference(residuals=[stores[0], turned], **TRAIN)
    Recordings([stores[0], record(tuned, corpus, tmp_path, batch=20)])  # whatever the passes
    with pytest.raises(ModelError, match="fit trains from nothing on one recording; got 2"):
        fit(residuals=stores, **TRAIN)
    with pytest.raises(ModelError, match="take 2 labels of checkpoints; got 1"):
        crosscoder(["a"], residuals=stores, **TRAIN)
    assert as_recordings([]) is None and as_recordings([stores[0], 5]) is None


def test_halves_stand_beside_floats(
    tuned: Checkpoint, corpus: pd.DataFrame, stores: Stores, tmp_path: Path
) -> None:
    half = record(tuned, corpus, tmp_path, stored="bfloat16")
    rows = torch.arange(9)
    mixed = Recordings([stores[0], half])[:, rows]
    assert torch.equal(mixed[0], stores[0][:9]) and torch.equal(
        mixed[1], stores[1][:9].bfloat16().float()
    )
