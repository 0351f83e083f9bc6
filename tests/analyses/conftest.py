"""One toy run for all figures: the quick preset at a size that learns nothing."""

import importlib.util
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def load() -> Callable[[str], ModuleType]:
    """The script of a figure, by name."""

    def module(name: str) -> ModuleType:
        spec = importlib.util.spec_from_file_location(name, ROOT / "analyses" / f"{name}.py")
        assert spec and spec.loader
        found = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(found)
        return found

    return module


@pytest.fixture(scope="session")
def toy() -> dict[str, Any]:
    """What is changed of the quick preset."""
    from persona_interp.models import Stage

    return {
        "arms": ("lesson", "unrelated lesson"),
        "lrs": (1e-3,),
        "documents": Stage(steps=60, batch=16, lr=4e-3, loss="all"),
        "lesson": Stage(steps=2, batch=8),
        "snapshots": (2,),
        "n_documents": 1_000,
        "bystanders": ("named",),
        "sae": {"d_sae": 32, "k": 4, "steps": 20, "batch": 256, "n_tokens": 2_000},
        "n_sae_documents": 200,
        "n_persona_documents": 200,
        "n_random": 2,
        "n_samples": 1,
    }


@pytest.fixture(scope="session")
def finished(
    load: Callable[[str], ModuleType], toy: dict[str, Any], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """The folder of a run that figure 1 computed; the others read it."""
    folder = tmp_path_factory.mktemp("toy") / "run"
    load("fig1_transfer").compute(folder, workers=0, **toy)
    return folder
