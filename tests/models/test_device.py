"""Where a model computes; a machine without CUDA says so."""

import pytest
import torch

from persona_interp.errors import ModelError
from persona_interp.models import device


def test_default_is_the_first_cuda_device_where_there_is_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv(device.DEVICE)
    monkeypatch.setattr(device, "count_cuda", lambda: 0)
    assert device.resolve_device() == "cpu"
    monkeypatch.setattr(device, "count_cuda", lambda: 2)
    assert device.resolve_device() == "cuda"
    assert device.resolve_device(torch.device("cuda:1")) == "cuda:1"


def test_a_device_that_is_not_here_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device, "count_cuda", lambda: 1)
    with pytest.raises(ModelError, match="has 1 CUDA devices; use cpu or cuda or cuda:0"):
        device.resolve_device("cuda:3")
    with pytest.raises(ModelError, match="mps"):
        device.resolve_device("mps")


def test_a_run_sets_the_defaults_of_its_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device, "count_cuda", lambda: 2)
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    with device.on_device("cuda", batch=512):
        assert device.count_used() == 2
        assert device.resolve_batch() == 512
        for number, name in enumerate(("cuda:0", "cuda:1", "cuda:0")):
            monkeypatch.setenv(device.WORKER, str(number))
            assert device.resolve_device() == name
        assert device.resolve_device("cuda") == "cuda", "what a call names it gets"
    with device.on_device("cuda:1"):
        assert (device.resolve_device(), device.count_used()) == ("cuda:1", 1)
    assert (device.resolve_device(), device.resolve_batch()) == ("cpu", "auto")


@pytest.mark.parametrize("batch", [0, True, "many", 1.5])
def test_a_run_refuses_what_is_no_device_or_batch(batch: object) -> None:
    with pytest.raises(ModelError, match="is not here"), device.on_device("cuda:99"):
        pass
    with pytest.raises(ModelError, match="batch is a number"), device.on_device(batch=batch):  # type: ignore[arg-type]
        pass
