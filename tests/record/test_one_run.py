"""What one run of a model gives is what several give: dictionaries, and a series with one base."""

from dataclasses import replace
from importlib import import_module
from typing import Any

import pandas as pd
import pytest
import torch
import xarray as xr

from persona_interp.models import Checkpoint
from persona_interp.record import features, profile

Pair = tuple[Checkpoint, Checkpoint]


class Shifted:
    """Every coordinate a feature, from another origin."""

    def __init__(self, hook: str, origin: float) -> None:
        self.hook, self.name = hook, f"shifted {origin}"
        self.W_dec, self.mean = torch.eye(64), torch.full((64,), origin)

    def encode(self, acts: torch.Tensor) -> torch.Tensor:
        return acts - self.mean

    def decode(self, feats: torch.Tensor) -> torch.Tensor:
        return feats


@pytest.mark.parametrize("position", ["last", "mean", "all"])
def test_several_dictionaries_read_what_each_reads_alone(
    pair: Pair, probes: pd.DataFrame, position: str
) -> None:
    dictionaries = [
        Shifted("blocks.1.hook_out", 1.0),
        Shifted("blocks.0.hook_out", 1.0),
        Shifted("blocks.0.hook_resid_post", 2.0),
    ]
    read: dict[str, Any] = {"position": position, "where": ("user", "text"), "features": [5, 3]}
    several = features(pair, probes, dictionary=dictionaries, **read)
    assert isinstance(several, list) and len(several) == 3
    for dictionary, data in zip(dictionaries, several, strict=True):
        alone = features(pair, probes, dictionary=dictionary, **read)
        xr.testing.assert_identical(data, alone)


def test_the_base_of_a_series_is_run_once(
    pair: Pair, probes: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    module: Any = import_module("persona_interp.record.profile")
    series = [pair[0], pair[1], replace(pair[1], step=9), replace(pair[0], step=7)]
    run, runs = module.residuals, []

    def counted(model: Any, tokens: Any, *, hook: str, batch: Any) -> Any:
        runs.append(hook)
        return run(model, tokens, hook=hook, batch=batch)

    monkeypatch.setattr(module, "residuals", counted)
    hooks = ["blocks.0.hook_out", "blocks.1.hook_out"]
    kept = profile(series, probes, hooks=hooks)
    assert len(runs) == len(hooks) * len(series)
    monkeypatch.setattr(module, "KEPT", 0)
    pd.testing.assert_frame_equal(kept, profile(series, probes, hooks=hooks), check_exact=True)
    assert not kept.query("checkpoint == 'lesson@7'")["estimate"].to_numpy().any()
