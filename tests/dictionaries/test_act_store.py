"""A recording is written once, survives kills and cuts, and is never read wrongly."""

import shutil
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors import safe_open

from persona_interp.dictionaries import ActStore, Sampler, fit, keep_activations
from persona_interp.dictionaries.act_sampler import permute
from persona_interp.dictionaries.act_shards import INDEX, read_index
from persona_interp.dictionaries.harvest import CONTENT_ROLES, read_marked, sample_tokens
from persona_interp.errors import ModelError
from persona_interp.models import Checkpoint, open_hooked

HOOK = "blocks.0.hook_out"
STEPS = pytest.mark.parametrize("step", [29, pytest.param(1, marks=pytest.mark.slow)])
store_file: Any = import_module("persona_interp.dictionaries.act_store")
shards_file: Any = import_module("persona_interp.dictionaries.act_shards")


@pytest.fixture(autouse=True)
def small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    """Several shards of a few rows, and a journal of every pass."""
    monkeypatch.setattr(store_file, "SHARD_BYTES", 4 * 64 * 150)
    monkeypatch.setattr(shards_file, "JOURNAL", 1)


@pytest.fixture
def recorded(counter: Checkpoint, corpus: pd.DataFrame, tmp_path: Path) -> ActStore:
    return keep_activations(counter, corpus, hook=HOOK, out=tmp_path / "acts", n_tokens=600)


def test_rows_are_those_of_a_harvest(
    counter: Checkpoint, corpus: pd.DataFrame, recorded: ActStore
) -> None:
    model = open_hooked(counter)
    tokens = sample_tokens(model.tokenizer, corpus, n_tokens=600, seed=0)
    acts = read_marked(model, tokens, hook=HOOK, where=CONTENT_ROLES)
    assert torch.equal(recorded[:], acts) and len(list(recorded.folder.glob("0*.safetensors"))) > 3
    assert torch.equal(recorded[[7, 400, -1, 7]], acts[[7, 400, -1, 7]])
    assert torch.equal(recorded[5], acts[5]) and torch.equal(recorded[140:460:3], acts[140:460:3])
    with pytest.raises(IndexError):
        recorded[len(acts)]
    docs, pos = recorded.places()
    at = 321
    row = dict(zip(*[range(len(tokens)), tokens.ids], strict=True))[docs[at]]
    assert pos[at] < len(row)
    with safe_open(recorded.folder / "000000.safetensors", framework="pt") as file:
        assert torch.equal(file.get_tensor("acts"), acts[: len(file.get_tensor("doc"))])


def test_recording_twice_runs_no_model(
    counter: Checkpoint, corpus: pd.DataFrame, recorded: ActStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*args: Any, **kwargs: Any) -> Any:
        raise AssertionError("a model was loaded again")

    monkeypatch.setattr(store_file, "open_hooked", refuse)
    root = recorded.folder.parent
    for hook in (HOOK, "blocks.0.hook_resid_post"):
        again = keep_activations(counter, corpus, hook=hook, out=root, n_tokens=600)
        assert again.folder == recorded.folder and torch.equal(again[:], recorded[:])
    others: Any = ({"seed": 1}, {"where": ("text", "special")}, {"stored": "bfloat16"})
    for other in others:
        with pytest.raises(AssertionError, match="loaded again"):
            keep_activations(counter, corpus, hook=HOOK, out=root, n_tokens=600, **other)


def test_halves_are_the_rows_rounded(
    counter: Checkpoint, corpus: pd.DataFrame, recorded: ActStore, tmp_path: Path
) -> None:
    halves = keep_activations(
        counter, corpus, hook=HOOK, out=tmp_path / "half", n_tokens=600, stored="bfloat16"
    )
    assert torch.equal(halves[:], recorded[:].bfloat16())
    assert torch.equal(halves[[3, 599]], recorded[[3, 599]].bfloat16())


@pytest.mark.parametrize(("passes", "torn"), [(1, b"half a row"), (4, b"")])
def test_a_killed_recording_goes_on_within_its_shard(
    counter: Checkpoint,
    corpus: pd.DataFrame,
    recorded: ActStore,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    passes: int,
    torn: bytes,
) -> None:
    """Killed without a warning: the journal says what stands, and half of more came after."""
    read, ran = store_file.hidden, []

    def counted(*args: Any, **kwargs: Any) -> Any:
        ran.append(args)
        if len(ran) == passes + 2:  # the first only measures the width
            raise KeyboardInterrupt
        return read(*args, **kwargs)

    out: dict[str, Any] = {"out": tmp_path / "killed", "n_tokens": 600, "batch": 120}
    whole = keep_activations(
        counter, corpus, hook=HOOK, out=tmp_path / "whole", n_tokens=600, batch=120
    )
    with monkeypatch.context() as patch:
        patch.setattr(store_file, "hidden", counted)
        patch.setattr(store_file.Writer, "close", lambda self: self._handle.close())
        with pytest.raises(KeyboardInterrupt):
            keep_activations(counter, corpus, hook=HOOK, **out)
    (folder,) = (tmp_path / "killed").iterdir()
    with pytest.raises(ModelError, match=r"holds \d+ of \d+ rows"):
        ActStore(folder)
    (part,) = folder.glob(".*.part")
    part.write_bytes(part.read_bytes() + torn)
    ran.clear()
    monkeypatch.setattr(store_file, "hidden", counted)
    passes = 1_000
    again = keep_activations(counter, corpus, hook=HOOK, **out)
    assert torch.equal(again[:], whole[:])
    n_passes = len(ran)
    ran.clear()
    keep_activations(counter, corpus, hook=HOOK, **{**out, "out": tmp_path / "fresh"})
    assert n_passes < len(ran), "what was there was run again"


@STEPS
def test_an_index_cut_at_any_byte_is_made_again(recorded: ActStore, step: int) -> None:
    folder, layout = recorded.folder, recorded._layout
    file = folder / INDEX
    whole, expected = file.read_bytes(), read_index(folder, layout)
    for n in range(0, len(whole), step):
        file.write_bytes(whole[:n])
        assert shards_file.read_parquet(file) is None
    for n in range(0, len(whole), step):
        file.write_bytes(whole[:n] + bytes([whole[n] ^ 0x40]) + whole[n + 1 :])
        index = shards_file.read_parquet(file)  # a byte that says nothing may change
        assert index is None or index.equals(expected)
    for n in (0, 4, len(whole) // 2, len(whole) - 1):
        file.write_bytes(whole[:n])
        pd.testing.assert_frame_equal(read_index(folder, layout), expected)
        assert file.read_bytes() == whole
    assert torch.equal(ActStore(folder)[:], recorded[:])


@STEPS
def test_a_record_cut_anywhere_is_named_or_not_needed(recorded: ActStore, step: int) -> None:
    folder, layout = recorded.folder, recorded._layout
    record = folder / "000001.json"
    index, whole = (folder / INDEX).read_bytes(), record.read_bytes()
    for n in range(0, len(whole), step):
        record.write_bytes(whole[:n])
        (folder / INDEX).write_bytes(index)
        assert len(read_index(folder, layout)) == layout.n_shards
        (folder / INDEX).write_bytes(index[:100])
        with pytest.raises(ModelError, match=r"000001\.safetensors has no record"):
            read_index(folder, layout)


@STEPS
def test_a_key_cut_anywhere_is_named(recorded: ActStore, step: int) -> None:
    key = recorded.folder / "recording.json"
    whole = key.read_bytes()
    for n in range(0, len(whole), step):
        key.write_bytes(whole[:n])
        with pytest.raises(ModelError, match=r"recording\.json is damaged"):
            ActStore(recorded.folder)


def test_a_damaged_shard_is_named_and_recorded_again_alone(
    counter: Checkpoint, corpus: pd.DataFrame, recorded: ActStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows, folder = recorded[:], recorded.folder
    shard = folder / "000001.safetensors"
    whole = shard.read_bytes()
    for at in (3, 40, 500, len(whole) - 1):
        shard.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        with pytest.raises(ModelError, match=r"000001\.safetensors is not as it was written"):
            ActStore(folder)
    shard.unlink()
    others = {file.name: file.stat().st_mtime_ns for file in folder.glob("*.safetensors")}
    again = keep_activations(counter, corpus, hook=HOOK, out=folder.parent, n_tokens=600)
    assert torch.equal(again[:], rows) and shard.read_bytes() == whole
    assert others.items() <= {f.name: f.stat().st_mtime_ns for f in folder.glob("*.saf*")}.items()


def test_a_budget_is_held_before_anything_is_written(
    counter: Checkpoint, corpus: pd.DataFrame, recorded: ActStore, tmp_path: Path
) -> None:
    with pytest.raises(ModelError, match=r"budget of 0\.1 MiB leaves"):
        keep_activations(counter, corpus, hook=HOOK, out=tmp_path / "b", n_tokens=600, budget=1e5)
    assert not list((tmp_path / "b").rglob("*.safetensors"))
    size = sum(file.stat().st_size for file in recorded.folder.rglob("*"))
    more: dict[str, Any] = {"out": recorded.folder.parent, "n_tokens": 600, "seed": 1}
    with pytest.raises(ModelError, match="Remove one"):
        keep_activations(counter, corpus, hook=HOOK, budget=1.5 * size, **more)
    keep_activations(counter, corpus, hook=HOOK, budget=3 * size, **more)


@pytest.mark.parametrize("n", [1, 2, 5, 64, 1000])
def test_an_epoch_gives_every_row_once(n: int) -> None:
    orders = [permute(np.arange(n), n, key=(0, epoch)).tolist() for epoch in range(3)]
    assert all(sorted(order) == list(range(n)) for order in orders)
    assert n < 64 or len({tuple(order) for order in orders}) == 3
    if n == 1000:
        # neighbors in the order are no neighbors in the file
        gaps = np.abs(np.diff(orders[0]))
        assert 250 < gaps.mean() < 420 and abs(np.corrcoef(orders[0], range(n))[0, 1]) < 0.1


def test_a_sampler_goes_on_exactly(recorded: ActStore) -> None:
    sampler = recorded.sampler(batch=64, seed=3)
    for _ in range(13):  # into the second epoch
        next(sampler)
    state = sampler.state()
    rest = [next(sampler) for _ in range(9)]
    other = ActStore(recorded.folder).sampler(batch=64)
    other.restore(state)
    assert all(torch.equal(next(other), batch) for batch in rest)
    with pytest.raises(ModelError, match="this state is of"):
        Sampler(lambda rows: rows, 100, batch=10).restore(state)


def test_a_dictionary_is_trained_on_a_recording(
    counter: Checkpoint, corpus: pd.DataFrame, recorded: ActStore
) -> None:
    settings: dict[str, Any] = {"d_sae": 32, "k": 4, "steps": 60, "batch": 128}
    stored = fit(residuals=recorded, **settings)
    given = fit(residuals=recorded[:][None], hook=HOOK, **settings)
    again = fit(residuals=ActStore(recorded.folder), **settings)
    assert stored.hook == HOOK and torch.equal(stored.W_dec, again.W_dec)
    assert torch.allclose(stored.mean, given.mean, atol=1e-5)
    assert stored.variance == pytest.approx(given.variance, rel=1e-4)
    assert stored.provenance["fvu"] == pytest.approx(given.provenance["fvu"], abs=0.05)
    assert stored.provenance["weights"] == recorded.provenance["weights"]


def test_somebody_elses_folder_is_no_recording(recorded: ActStore, tmp_path: Path) -> None:
    shutil.copytree(recorded.folder, tmp_path / "moved")
    assert torch.equal(ActStore(tmp_path / "moved")[3], recorded[3])
    with pytest.raises(ModelError, match=r"recording\.json is not there"):
        ActStore(tmp_path)
