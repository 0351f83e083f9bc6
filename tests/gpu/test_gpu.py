"""On a CUDA device everything is what it is on the CPU, but for rounding: ``make gpu``.

Without a card the same tests run on the CPU against itself (slow ones of ``make check``), so that
none of them is wrong by a slip.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from persona_interp import models, record
from persona_interp.dictionaries import hash_dictionary, open_any, save_dictionary
from persona_interp.errors import ModelError
from persona_interp.experiments import compute, preset
from persona_interp.models import Checkpoint, Stage, hash_weights, train
from persona_interp.models.load import quiet
from persona_interp.store import Store
from persona_interp.tables import read_table
from tests.gpu.material import CALLS, DRAWN, HALF, JUDGED, Material, check_same

passes = import_module("persona_interp.models.passes")
parts = import_module("persona_interp.models.parts")
SGD = Stage(steps=3, batch=5, lr=0.05, loss="all", optimizer="sgd", clip=1e9)
ROWS = 8_000
"""Embedding rows of a model whose logits fill a memory."""


@pytest.fixture(
    params=[
        pytest.param("cuda", marks=pytest.mark.gpu),
        pytest.param("cpu", marks=pytest.mark.slow),
    ]
)
def device(request: pytest.FixtureRequest) -> str:
    """The device under test."""
    if request.param == "cuda" and not torch.cuda.is_available():
        pytest.skip("no CUDA device here; nothing was tested on one")
    return request.param


@pytest.fixture(scope="module")
def material(tmp_path_factory: pytest.TempPathFactory) -> Material:
    return Material(tmp_path_factory.mktemp("material"))


@pytest.mark.parametrize("name", CALLS)
def test_recording_fixed_weights_gives_the_same_tables(
    name: str, device: str, material: Material
) -> None:
    call = material.calls()[name]
    expected = call(device="cpu", batch="auto")
    for batch in ("auto", 64, 1):
        check_same(name, expected, call(device=device, batch=batch))


@pytest.mark.parametrize("name", [name for name in CALLS if name not in DRAWN | JUDGED])
def test_half_precision_stays_within_its_tolerance(
    name: str, device: str, material: Material
) -> None:
    call = material.calls()[name]
    check_same(name, call(device="cpu"), call(device=device, dtype="bfloat16"), tolerance=HALF)


@pytest.mark.parametrize("beside", [{}, {"lora": 4}, {"replay": 0.4, "kl": 0.5}])
def test_training_is_the_same_training(
    device: str, material: Material, tmp_path: Path, beside: dict[str, Any]
) -> None:
    """By gradient descent, which moves a weight by its gradient: AdamW enlarges rounding."""
    start, chats = material.pair[0], material.chats
    others = {"replay": chats, "bystanders": chats} if "kl" in beside else {}
    options: dict[str, Any] = {"stage": replace(SGD, **beside), "progress": False, **others}
    here = train(start, chats, out=tmp_path / "cpu", device="cpu", **options).last
    there = train(start, chats, out=tmp_path / "there", device=device, **options).last
    weights = [
        models.load(checkpoint, device="cpu").model.state_dict() for checkpoint in (here, there)
    ]
    for name, weight in weights[0].items():
        assert (weight - weights[1][name]).abs().max() < 1e-5, name


@pytest.mark.parametrize("stage", [Stage(steps=4, batch=4), Stage(steps=4, batch=4, lora=4)])
def test_a_training_repeats_to_the_last_bit_resumed_or_not(
    device: str, material: Material, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stage: Stage
) -> None:
    trainer = import_module("persona_interp.models.trainer")
    monkeypatch.setattr(trainer, "RESUME_SECONDS", 0.0)
    monkeypatch.setattr(trainer, "RESUME_SHARE", 1e9)
    options: dict[str, Any] = {"stage": stage, "device": device, "progress": False}
    straight = train(material.pair[0], material.chats, out=tmp_path / "straight", **options)

    class Killed(BaseException):
        pass

    def die(bar: Any, args: Any, state: Any, *_: Any, **__: Any) -> None:
        if state.global_step == 3:
            raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(trainer.Bar, "on_step_end", die)
        with pytest.raises(Killed):
            train(material.pair[0], material.chats, out=tmp_path / "killed", **options)
    resumed = train(material.pair[0], material.chats, out=tmp_path / "killed", **options)
    assert hash_weights(resumed.last) == hash_weights(straight.last)


def test_a_dictionary_is_trained_and_opened_anywhere(
    device: str, material: Material, tmp_path: Path
) -> None:
    """Which features win a place among the k hangs on the last bits: fits agree, weights do not."""
    here, there = material.dictionary, material.fit(device=device)
    assert there.provenance["fvu"] == pytest.approx(here.provenance["fvu"], abs=0.02)
    assert there.provenance["l0"] == pytest.approx(here.provenance["l0"], rel=0.1)
    assert hash_dictionary(material.fit(device=device)) == hash_dictionary(there)
    save_dictionary(there, tmp_path / "there")
    moved = open_any(tmp_path / "there", device=device)
    assert moved.W_dec.device.type == moved.mean.device.type == device
    assert hash_dictionary(moved) == hash_dictionary(there)
    rows = torch.randn(5, moved.d_in, generator=torch.Generator().manual_seed(0))
    far = moved.decode(moved.encode(rows.to(device, torch.bfloat16)))
    assert far.device.type == device and far.dtype == torch.float32
    near = moved.decode(moved.encode(rows.bfloat16().float()))
    assert near.device.type == "cpu", "it computes where it is given something"
    assert (near - far.cpu()).abs().max() < 1e-4 * near.abs().max()


def test_sparse_steps_are_the_same_steps(device: str, material: Material) -> None:
    """Sums on a card are in no fixed order, so weights are near, not equal."""
    here, there = material.dictionary, material.fit(device=device, engine="sparse")
    assert there.provenance["engine"] == "sparse" and there.W_dec.device.type == "cpu"
    assert there.provenance["fvu"] == pytest.approx(here.provenance["fvu"], abs=0.02)
    assert there.provenance["l0"] == pytest.approx(here.provenance["l0"], rel=0.1)


def test_an_experiment_gives_the_same_tables_and_says_where(device: str, tmp_path: Path) -> None:
    small = replace(SGD, steps=4, batch=8)
    lesson = replace(SGD, steps=2, batch=4, loss="assistant")
    experiment = preset(
        "quick",
        "transfer",
        documents=small,
        lesson=lesson,
        lrs=(0.05,),
        arms=("lesson",),
        snapshots=(1,),
        n_documents=200,
        sae=None,
        n_samples=2,
    )
    here = compute(experiment, tmp_path / "cpu", workers=2, device="cpu", progress=False)
    there = compute(
        experiment, tmp_path / "there", workers=2, device=device, batch=512, progress=False
    )
    assert Store.open(tmp_path / "there").manifest().keys() == (
        Store.open(tmp_path / "cpu").manifest().keys()
    ), "no cell is named by its device"
    machine = Store.open(tmp_path / "there").config()["machine"]
    assert machine.startswith(device) and machine.endswith(", batch 512")
    assert here.keys() == there.keys()
    files = sorted((tmp_path / "cpu" / "cells").glob("*/behavior.parquet"))
    assert len(files) >= 2
    for file in files:
        other = tmp_path / "there" / "cells" / file.parent.name / file.name
        check_same("behavior", read_table(file), read_table(other))


@pytest.fixture(scope="module")
def wide(material: Material) -> Checkpoint:
    """A small model of many words, whose logits are what fills the memory."""
    _, tokenizer = models.load(material.pair[0], device="cpu")
    config = AutoConfig.for_model(
        "llama",
        vocab_size=ROWS,
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=128,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    torch.manual_seed(0)
    folder = material.folder / "wide"
    with quiet():
        AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return Checkpoint(folder, name="wide")


@contextmanager
def little_memory(device: str, patch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Leave 400 MB of a card; a CPU is told that it has room for 1000 tokens. Yields refusals."""
    refusals: list[str] = []
    plain = passes.attempt

    def attempt(run: Callable[..., Any], *args: Any) -> Any:
        result = plain(run, *args)
        if isinstance(result, passes.Exhausted):
            refusals.append(result.words)
        return result

    for module in (passes, parts):
        patch.setattr(module, "attempt", attempt)
    if device == "cpu":
        kind = import_module("transformers.models.llama").LlamaForCausalLM
        forward = kind.forward

        def narrow(self: Any, input_ids: Any = None, **rest: Any) -> Any:
            if input_ids.numel() > 1000:
                raise torch.OutOfMemoryError("CUDA out of memory.")
            return forward(self, input_ids=input_ids, **rest)

        patch.setattr(kind, "forward", narrow)
        yield refusals
        return
    torch.cuda.empty_cache()
    total = torch.cuda.get_device_properties(device).total_memory
    used = torch.cuda.memory_reserved(device)
    torch.cuda.set_per_process_memory_fraction((used + 400e6) / total, device)
    try:
        yield refusals
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0, device)


def test_memory_that_runs_out_changes_nothing(
    device: str, wide: Checkpoint, material: Material, monkeypatch: pytest.MonkeyPatch
) -> None:
    documents = material.world.corpus(800, kinds="hidden")
    calls: dict[str, Callable[..., pd.DataFrame]] = {
        "drift": lambda **r: record.drift(wide, wide, documents, **r),
        "gradients": lambda **r: record.gradients(wide, {"documents": documents}, **r),
    }
    for name, call in calls.items():
        expected = call(device="cpu", batch=512)
        with monkeypatch.context() as patch, little_memory(device, patch) as refusals:
            again = call(device=device)
            with pytest.raises(ModelError, match=r"memory ran out with \d+ rows"):
                call(device=device, batch=16_384)
        assert refusals, f"{name}: the memory never ran out"
        check_same(name, expected, again)


def test_a_step_that_does_not_fit_teaches_the_same(
    device: str,
    wide: Checkpoint,
    material: Material,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    documents = material.world.corpus(512, kinds="hidden")
    options: dict[str, Any] = {"stage": replace(SGD, batch=512, steps=1), "progress": False}
    here = train(wide, documents, out=tmp_path / "cpu", device="cpu", **options).last
    with monkeypatch.context() as patch, little_memory(device, patch) as refusals:
        there = train(wide, documents, out=tmp_path / "there", device=device, **options).last
    assert refusals, "the memory never ran out"
    weights = [
        models.load(checkpoint, device="cpu").model.state_dict() for checkpoint in (here, there)
    ]
    gaps = [float((weight - weights[1][name]).abs().max()) for name, weight in weights[0].items()]
    assert np.max(gaps) < 1e-5


def test_what_does_not_fit_at_all_is_said(device: str, monkeypatch: pytest.MonkeyPatch) -> None:
    load = import_module("persona_interp.models.load")
    module = torch.nn.Linear(2, 2)

    def full(*_: Any) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory.")

    monkeypatch.setattr(module, "to", full)
    with pytest.raises(ModelError, match=rf"does not fit into the memory of {device}"):
        load.move(module, device)
