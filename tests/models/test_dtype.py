"""Half precision is chosen only where it is clearly faster."""

from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from persona_interp.errors import ModelError
from persona_interp.models import Stage, resolve_dtype, train
from persona_interp.models.checkpoint import Checkpoint
from persona_interp.models.dtype import DTYPES, GAIN, choose_dtype, measure_gain

PROBE = "persona_interp.models.dtype.measure_gain"


@pytest.mark.parametrize(
    ("gain", "dtype"),
    [(0.14, "float32"), (1.0, "float32"), (GAIN - 0.01, "float32"), (GAIN, "bfloat16")],
)
def test_half_precision_has_to_be_clearly_faster(
    monkeypatch: pytest.MonkeyPatch, gain: float, dtype: str
) -> None:
    monkeypatch.setattr(PROBE, lambda device: gain)
    assert resolve_dtype("auto") == dtype
    assert str(choose_dtype()).startswith(f"{dtype} (auto: ")


def test_what_is_named_is_not_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(PROBE, lambda device: pytest.fail("measured"))
    assert [resolve_dtype(dtype) for dtype in DTYPES] == list(DTYPES)


def test_another_word_is_refused_with_the_nearest() -> None:
    with pytest.raises(ModelError, match="did you mean 'bfloat16'"):
        resolve_dtype("bfloat")


def test_the_probe_runs_on_this_machine() -> None:
    assert measure_gain("cpu") > 0  # how fast it is decides nothing here


def test_auto_is_the_same_training(
    monkeypatch: pytest.MonkeyPatch, tiny: Checkpoint, corpus: pd.DataFrame, tmp_path: Path
) -> None:
    monkeypatch.setattr(PROBE, lambda device: 0.1)
    stage = Stage(steps=1, batch=2, loss="all")
    options = {"out": tmp_path / "a", "progress": False}
    first = train(tiny, corpus, stage=replace(stage, dtype="auto"), **options)
    # a folder of another configuration would be refused
    again = train(tiny, corpus, stage=stage, **options)
    assert first == again
