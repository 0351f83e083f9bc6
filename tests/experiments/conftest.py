"""One toy run of the transfer experiment for all tests; toy tasks that other processes find too."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    import pandas as pd

    from persona_interp.experiments.transfer.config import Transfer
    from persona_interp.store import Store

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture(scope="session")
def toy() -> "Transfer":
    """The quick preset at a size that learns nothing and does everything."""
    from tests.experiments.toys import toy

    return toy("transfer", Path())


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
