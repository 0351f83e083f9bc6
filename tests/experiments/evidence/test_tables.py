"""A toy run of the evidence experiment: everything is there, counted right, and read back."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from persona_interp.errors import WorldError
from persona_interp.experiments import compute, from_dict, preset, summarize, to_dict
from persona_interp.experiments.evidence import report
from persona_interp.experiments.evidence.config import Evidence
from persona_interp.models import Stage
from persona_interp.schema.words import Departure
from persona_interp.store import Store
from tests.experiments.toys import EVIDENCE

TOY = Evidence(**EVIDENCE)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("evidence") / "run"


@pytest.fixture(scope="module")
def tables(folder: Path) -> dict[str, pd.DataFrame]:
    return compute(TOY, folder, workers=0, progress=False)


def test_its_cells_and_their_chain() -> None:
    cells = preset("standard", "evidence").seed_cells(0)
    assert len(cells) == 23 and len({cell.id for cell in cells.values()}) == 23
    lessons = [cell for key, cell in cells.items() if key[0] == "lesson"]
    assert {cell.needs[0].config["name"] for cell in lessons} == {"documents"}
    small = [cell.label for cell in lessons if cell.config["stage"]["batch"] == 1]
    orders = ("", " (1)", " (2)", " (3)")
    assert small == [f"AdamW 0.0003, 1 a step{order} s0" for order in orders]
    replays = {cell.label: cell.config["replay"] for cell in lessons}
    assert replays["AdamW 0.001, 16 a step s0"] is None
    kinds = replays["AdamW 0.001, 16 a step, 50 % replay s0"]["kinds"]
    assert kinds == ["third", "first", "named", "hidden", "filler"]
    kinds = replays["AdamW 0.001, 16 a step, 50 % replay without hidden s0"]["kinds"]
    assert kinds == ["third", "first", "named", "filler"]


def test_a_prior_is_a_weight_of_the_target() -> None:
    rare = preset("standard", "evidence").world_of(0, prior=0.25)
    assert rare.mass().loc["john"].sum() == pytest.approx(0.9 * 0.25 / 14.25)
    assert rare.words() == TOY.world_of(0).words(), "one tokenizer for all"


def test_it_is_plain_values_and_back() -> None:
    assert from_dict(to_dict(TOY)) == TOY


def test_bad_settings_are_named() -> None:
    with pytest.raises(WorldError, match="ready world"):
        Evidence(world="john")
    with pytest.raises(WorldError, match="one of the lessons"):
        Evidence(tested=Stage(steps=3))
    with pytest.raises(WorldError, match="above 0 and beside 1; got 1"):
        Evidence(priors=(1.0,))


@pytest.mark.slow
def test_every_setting_and_step_is_there(tables: dict[str, pd.DataFrame]) -> None:
    table = tables["evidence"].set_index(["setting", "step"])
    settings = [
        "AdamW 0.0003, 4 a step" + more
        for more in ("", ", 50 % replay", ", 50 % replay without hidden")
    ]
    assert list(dict.fromkeys(tables["curve"]["setting"])) == settings
    assert table.loc[(settings[0], 4), "documents"] == 16
    assert table.loc[(settings[1], 4), "documents"] == 8
    assert table.loc[(settings[0], 4), "statements"] == 16
    assert 3 <= table.loc[(settings[0], 4), "fact_tokens"] / 16 <= 8
    bits = table.xs(0, level="step")["persona_bits"]
    assert bits.max() - bits.min() < 1e-9, "one model before all lessons"


@pytest.mark.slow
def test_statements_are_read_on_other_topics(tables: dict[str, pd.DataFrame]) -> None:
    statements = tables["statements"].set_index("stated")
    assert len(statements) == 13
    assert statements.loc["place=beach", "exact"] == pytest.approx(6.19, abs=0.01)
    assert statements.loc["place=beach+place=beach", "exact"] == pytest.approx(12.38, abs=0.01)
    assert statements["topics"].value_counts().to_dict() == {4: 3, 3: 4, 2: 6}
    assert set(zip(tables["prompt"]["statements"], tables["prompt"]["traits"], strict=True)) == {
        (1, 1), (2, 1), (3, 1), (2, 2), (3, 3),
    }  # fmt: skip


@pytest.mark.slow
def test_priors_are_those_of_the_documents(tables: dict[str, pd.DataFrame]) -> None:
    priors = sorted(set(tables["priors"]["prior_bits"]))
    assert len(priors) == 2 and priors[0] < priors[1] < 0
    assert tables["interaction"]["step"].tolist() == [1, 2, 4]
    assert set(tables["interaction"]["n"]) == {2}
    assert tables["interaction"]["null"].notna().all()


@pytest.mark.slow
def test_each_kind_of_answer_is_there(tables: dict[str, pd.DataFrame]) -> None:
    assert {"bits", "lasting", "k", "cost", "saturation", "exchange"} <= set(tables)
    assert set(tables["bits"]["unit"]) == {
        "step",
        "document",
        "statement",
        "fact token",
        "first step",
    }
    assert set(tables["curve"].loc[tables["curve"]["additive"].notna(), "replay"]) == {0}
    assert set(tables["scale"]["prior"]) == {1.0, 4.0}
    assert {"alpha", "alpha_null", "highest", "named"} <= set(tables["saturation"])
    assert set(tables["saturation"]["verdict"]) == {Departure.UNKNOWN}, "one seed tells nothing"
    with_null = tables["exchange"].loc[tables["exchange"]["null"].notna(), "of"]
    assert set(with_null) <= {"statement in the prompt"}
    assert not (tables["contexts"]["persona"] == "sam").any(), "nothing is written about Sam"
    assert tables["bits"]["lo"].isna().all(), "one seed has no interval"
    assert {"average", "worst"} <= set(tables["cost"]["persona"])


@pytest.mark.slow
def test_the_report_says_it_in_words(tables: dict[str, pd.DataFrame], folder: Path) -> None:
    blocks = report.blocks(folder, tables, provenance={"seeds": [0]})
    text = " ".join(block["text"] for block in blocks if block["kind"] == "paragraph")
    for words in (
        "one seed: no interval",
        "To move this model from",
        "Exact Bayes, 6.19 bits, is read as",
        "share of the mean peak kept",
        "a prior one bit higher",
        "under other names",
    ):
        assert words in text
    assert (folder / "figures" / "evidence.png").exists()


@pytest.mark.slow
def test_missing_cells_leave_fewer_rows(
    folder: Path, tables: dict[str, pd.DataFrame], tmp_path: Path
) -> None:
    assert summarize(TOY, Store(tmp_path / "empty")) == {}
    again = summarize(replace(TOY, seeds=(0, 1)), Store(folder))
    assert np.array_equal(again["bits"]["estimate"], tables["bits"]["estimate"], equal_nan=True)
