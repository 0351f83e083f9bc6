"""One toy run of the transfer experiment for all tests; toy tasks that other processes find too."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    import pandas as pd

    from persona_interp.experiments.transfer.config import Transfer
    from persona_interp.store import Store

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture(scope="session")
def toy() -> "Transfer":
    """The quick preset at a size that learns nothing and does everything."""
    from persona_interp.experiments import preset
    from persona_interp.models import Stage

    sae: dict[str, Any] = {"d_sae": 64, "k": 4, "steps": 400, "batch": 256}
    return preset(
        "quick",
        arms=("lesson", "unrelated lesson", "scrambled world"),
        lrs=(1e-3,),
        documents=Stage(steps=80, batch=16, lr=4e-3, loss="all"),
        lesson=Stage(steps=4, batch=8),
        snapshots=(2, 4),
        n_documents=1_500,
        bystanders=("named",),
        hooks=("blocks.1.hook_out",),
        sae={**sae, "n_tokens": 5_000},
        n_sae_documents=300,
        n_persona_documents=500,
        n_random=2,
        n_chance=50,
        n_gate_tokens=1_000,
        n_samples=1,
    )


@pytest.fixture(scope="session")
def finished(toy: "Transfer", tmp_path_factory: pytest.TempPathFactory) -> "Store":
    """The store of the toy run, all cells computed in this process."""
    from persona_interp.experiments import run, to_dict
    from persona_interp.store import Store

    store = Store(tmp_path_factory.mktemp("toy") / "run")
    store.describe(to_dict(toy))
    return run(toy.cells(), store, workers=0, progress=False)


@pytest.fixture(scope="session")
def tables(toy: "Transfer", finished: "Store") -> "dict[str, pd.DataFrame]":
    """All tables of the toy run."""
    from persona_interp.experiments import summarize

    return summarize(toy, finished)
