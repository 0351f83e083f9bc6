"""A search on traits: vectors made here, several sites together, one finetune."""

from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
import torch

from persona_interp import experiments
from persona_interp.experiments.causes.sources import causes
from persona_interp.schema.words import Carries, Group
from tests.experiments.causes.conftest import SETTINGS
from tests.experiments.compare.conftest import save_material

pytestmark = pytest.mark.slow
HOOKS = ("blocks.0.hook_out", "blocks.1.hook_out")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, pd.DataFrame]]:
    torch.set_num_threads(1)
    folder = save_material(tmp_path_factory.mktemp("traits"))
    names = {"traits": folder / "traits", "target": "dry", "hooks": HOOKS}
    settings = replace(SETTINGS, n_random=2, questions=4, prompts=2, sets=(1,), axes=(1,))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PERSONA_INTERP_CACHE", str(folder / "cache"))
        tables = causes(
            folder / "base",
            folder / "planted",
            **names,
            settings=settings,
            out=folder / "out",
            workers=0,
            progress=False,
        )
    return folder / "out", tables


def test_vectors_of_the_traits_are_candidates_and_controls(
    run: tuple[Path, dict[str, pd.DataFrame]],
) -> None:
    table = run[1]["carriers"]
    own = table.loc[table["group"] == Group.CANDIDATE]
    expected = {"dry: all directions", "dry: answers", "dry: last prompt token"}
    assert expected <= set(own["candidate"])
    assert set(table.loc[table["group"] == Group.OTHER, "candidate"]) == {"warm: all directions"}
    assert set(own["sites"]) == {*HOOKS, ", ".join(HOOKS)}
    assert set(table["n_tuned"]) <= {0, 1} and table["tuned_lo"].isna().all()
    assert Carries.CARRIES not in set(table["verdict"])


def test_the_report_says_that_one_finetune_has_no_interval(
    run: tuple[Path, dict[str, pd.DataFrame]],
) -> None:
    page = experiments.report(run[0]).read_text()
    assert "no interval over finetunes" in page
