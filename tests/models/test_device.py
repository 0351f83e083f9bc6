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
