"""Device, dtype and batch move no number by more than rounding, and memory may run out midway."""

from collections.abc import Callable
from importlib import import_module
from typing import Any

import pytest
import torch

from persona_interp.errors import ModelError
from tests.gpu.material import HALF, JUDGED, OWN, Material, check_same

DEAR = ("solution",)
"""Calls that take many passes, and most of the time."""
NAMES = [pytest.param(n, marks=pytest.mark.slow) if n in DEAR else n for n in OWN]
ROOM = 250
"""Tokens of a forward pass that fit into the planted memory."""


@pytest.fixture(scope="module")
def material(tmp_path_factory: pytest.TempPathFactory) -> Material:
    return Material(tmp_path_factory.mktemp("material"))


@pytest.fixture(scope="module")
def expected(material: Material) -> Callable[[str], Any]:
    """What a call gives on the CPU in float32; made once each."""
    results: dict[str, Any] = {}

    def result(name: str) -> Any:
        if name not in results:
            results[name] = material.calls()[name](device="cpu", dtype="float32", batch="auto")
        return results[name]

    return result


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("batch", [pytest.param(1, marks=pytest.mark.slow), 64])
def test_every_batch_gives_the_same_table(
    name: str, batch: int, material: Material, expected: Callable[[str], Any]
) -> None:
    check_same(name, expected(name), material.calls()[name](device="cpu", batch=batch))


@pytest.mark.parametrize("name", [name for name in OWN if name not in JUDGED])
def test_half_precision_stays_within_its_tolerance(
    name: str, material: Material, expected: Callable[[str], Any]
) -> None:
    result = material.calls()[name](device="cpu", dtype="bfloat16")
    check_same(name, expected(name), result, tolerance=HALF)


@pytest.mark.parametrize("name", NAMES)
def test_memory_that_runs_out_changes_nothing(
    name: str,
    material: Material,
    expected: Callable[[str], Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Runs out at the end of a pass, so that whatever it leaves behind would show."""
    want, call = expected(name), material.calls()[name]
    kind = import_module("transformers.models.llama").LlamaModel
    forward, refusals = kind.forward, []

    def narrow(self: Any, input_ids: Any = None, **rest: Any) -> Any:
        out = forward(self, input_ids=input_ids, **rest)
        if input_ids.numel() > ROOM:
            refusals.append(input_ids.shape)
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")
        return out

    monkeypatch.setattr(kind, "forward", narrow)
    check_same(name, want, call(device="cpu"))
    assert refusals, "the memory never ran out"
    with pytest.raises(ModelError, match=r"memory ran out with \d+ rows .*batch='auto'"):
        call(device="cpu", batch=4096)


@pytest.mark.parametrize("name", OWN)
def test_a_device_or_batch_that_is_none_is_refused(name: str, material: Material) -> None:
    call = material.calls()[name]
    with pytest.raises(ModelError, match=r"this machine has \d+ CUDA devices"):
        call(device="cuda:99")
    with pytest.raises(ModelError, match="batch is a number of tokens"):
        call(batch=0)
