"""Large residuals lie on the disk, and nobody can tell but by the memory."""

import errno
import io
from typing import Any

import pandas as pd
import pytest
import torch

from persona_interp import dictionaries
from persona_interp.dictionaries import scratch
from persona_interp.dictionaries.harvest import harvest
from persona_interp.errors import ModelError
from persona_interp.models import Checkpoint


@pytest.fixture
def on_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is small enough to stay in memory, and few rows are copied at once."""
    monkeypatch.setattr(scratch, "MOST", 0)
    monkeypatch.setattr(scratch, "ROWS", 7)
    monkeypatch.setattr(scratch, "PIECE", 10)


def test_a_room_on_the_disk_is_a_tensor_like_others(on_disk: None) -> None:
    kept = scratch.room(3, 5, 2)
    kept[:] = torch.arange(30.0).view(3, 5, 2)
    assert torch.equal(kept[1, [4, 0]], torch.tensor([[18.0, 19], [10, 11]]))
    rows = torch.randperm(40)
    acts = torch.randn(40, 3)
    assert torch.equal(scratch.take(acts, rows), acts[rows])
    assert torch.equal(scratch.put_together([acts, acts[:1]]), torch.cat([acts, acts[:1]]))


def test_harvests_are_the_same_on_the_disk(
    counter: Checkpoint, corpus: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    two, hook = [counter, counter], "blocks.1.hook_out"

    def both() -> tuple[Any, Any]:
        alone = harvest(two, corpus, hook=hook, n_tokens=300, seed=1)
        together = dictionaries.same_tokens(two, corpus, hook=hook, n_tokens=300)
        return alone, together

    in_memory = both()
    for name, value in (("MOST", 0), ("ROWS", 7)):
        monkeypatch.setattr(scratch, name, value)
    kept = both()
    assert torch.equal(in_memory[0].acts, kept[0].acts)
    assert torch.equal(in_memory[1].residuals, kept[1].residuals)
    assert in_memory[0].provenance == kept[0].provenance


def test_a_full_disk_is_said_before_anything_is_read(
    on_disk: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Full(io.BytesIO):
        def write(self, data: Any) -> int:
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(scratch.tempfile, "TemporaryFile", Full)
    with pytest.raises(ModelError, match=r"do not go into .*: No space left.*n_tokens=.*TMPDIR"):
        scratch.room(1000, 1000)
