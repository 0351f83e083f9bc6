"""An experiment's precision is settled once, before anything is hashed."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from persona_interp.experiments import preset, to_dict
from persona_interp.experiments.dtypes import holds_auto, settle_dtype, with_dtype
from persona_interp.experiments.wings import wing_names
from persona_interp.models import Stage
from persona_interp.schema.words import DTYPE_CHOICE
from persona_interp.store import Store

PROBE = "persona_interp.models.dtype.measure_gain"


@dataclass(frozen=True)
class Settings:
    dtype: str = "auto"


@dataclass(frozen=True)
class Toy:
    stages: tuple[Stage, ...] = (Stage(), Stage(dtype="auto"))
    settings: Settings = Settings()
    seeds: tuple[int, ...] = (0,)


def plain(toy: Toy) -> dict[str, Any]:
    return {"stages": [stage.dtype for stage in toy.stages], "settings": toy.settings.dtype}


def test_every_part_is_settled_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(PROBE, lambda device: 2.0)
    toy, choice = settle_dtype(Toy(), before=None, to_dict=plain)
    assert plain(toy) == {"stages": ["float32", "bfloat16"], "settings": "bfloat16"}
    assert choice == "bfloat16 (auto: 2.0 times as fast as float32 here)"
    assert toy.seeds == (0,) and not holds_auto(toy)


def test_a_run_goes_on_as_it_was_begun(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(PROBE, lambda device: pytest.fail("measured"))
    recorded = plain(with_dtype(Toy(), "bfloat16", instead_of="auto")) | {DTYPE_CHOICE: "why"}
    toy, choice = settle_dtype(Toy(), before=recorded, to_dict=plain)
    assert plain(toy)["settings"] == "bfloat16" and choice == "why"
    # who then names that precision goes on with the same run
    assert settle_dtype(toy, before=recorded, to_dict=plain) == (toy, "why")


def test_nothing_open_nothing_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(PROBE, lambda device: pytest.fail("measured"))
    toy = with_dtype(Toy(), "float32")
    assert settle_dtype(toy, before=None, to_dict=plain) == (toy, "")


@pytest.mark.parametrize("name", sorted({*wing_names()} - {"causes", "compare"}))
def test_presets_name_no_half_precision(name: str) -> None:
    for size in ("quick", "standard"):
        experiment = preset(size, name)
        assert "bfloat16" not in str(to_dict(experiment)), size


def test_the_real_preset_is_the_same_run_on_any_machine(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    real = preset("real", start="elsewhere")
    assert holds_auto(real)
    monkeypatch.setattr(PROBE, lambda device: 2.0)
    here, choice = settle_dtype(real, before=None, to_dict=to_dict)
    store = Store(tmp_path / "run")
    store.describe(to_dict(here) | {DTYPE_CHOICE: choice}, places=[DTYPE_CHOICE])
    monkeypatch.setattr(PROBE, lambda device: 0.1)
    there, again = settle_dtype(real, before=store.config(), to_dict=to_dict)
    assert (there, again) == (here, choice)
    assert [cell.id for cell in there.cells()] == [cell.id for cell in here.cells()]
    assert replace(here, documents=real.documents, lesson=real.lesson) == real
