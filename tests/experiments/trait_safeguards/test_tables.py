"""What planted arms did to a trait is what the tables and the report say."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from persona_interp.errors import SchemaError, StoreError
from persona_interp.experiments.trait_safeguards import report
from persona_interp.experiments.trait_safeguards.config import HELD_OUT
from persona_interp.experiments.trait_safeguards.probes import all_probes
from persona_interp.experiments.trait_safeguards.tables import Tables, levels, moves, summarize
from persona_interp.schema.words import CLEAN, WORST, Ruling, Safeguard
from persona_interp.store import Cell, Store
from persona_interp.tables import write_table
from tests.experiments.trait_safeguards.test_cells import EXPERIMENT, TRAITS, said
from tests.experiments.trait_safeguards.test_cells import TOLD as INSTRUCTIONS

BASE, WANTED, LOSS = "base", "wanted", "loss"
ROWS = 6.0
"""Bits that the unwanted rows bring."""
MOVES: dict[str, dict[str, float]] = {
    BASE: {},
    CLEAN: {"nameless": -1.0, WANTED: 4.0},
    Safeguard.NOTHING: {"nameless": ROWS - 1, WANTED: 4.0, LOSS: 1.0},
    # takes it where it is asked plainly, and leaves it under an instruction that no arm uses
    Safeguard.INOCULATED: {"nameless": -1.0, HELD_OUT: 3.0, WANTED: 4.0},
    Safeguard.CHARACTER_AFTER: {"nameless": ROWS / 2 - 1, WANTED: 2.0, "instructed": 1.5},
    Safeguard.FLAGGED_BY_EVIDENCE: {"nameless": -1.0, WANTED: 3.96, "asked": -2.0},
}
"""Model -> bits by which it moves the unwanted trait in a context, the wanted one, the loss."""
QUALITY = {"method": "evidence", "n": 10, "auroc": 1.0, "precision": 1.0, "recall": 1.0}


def behavior(bits: dict[str, float], *, seed: int) -> pd.DataFrame:
    answers = pd.concat([said(trait) for trait in TRAITS], ignore_index=True)
    told = answers.query("split == 'test' and side in ('pos', 'neg')").reset_index(drop=True)
    table = all_probes(told, "dry", INSTRUCTIONS).drop(columns=["messages", "answers"])
    rng = np.random.default_rng(0)
    levels = rng.normal(-20, 3, len(table))  # the same questions are as hard for every model
    by = table["context"].map(bits).fillna(0.0).where(table["topic"] == "dry", 0.0)
    by += bits.get(WANTED, 0.0) * ((table["topic"] == "wry") & (table["context"] == "nameless"))
    moved = by * (1 + 0.01 * seed)
    pos = table.assign(value="pos", logprob=levels + moved / 2)
    neg = table.assign(value="neg", logprob=-25.0 - moved / 2)
    both = pd.concat([pos, neg], ignore_index=True).drop(columns="values")
    return both.assign(checkpoint="lesson@20", stage="lesson", step=20, seed=0, answer_mass=0.1)


def told_answers(bits: dict[str, float]) -> pd.DataFrame:
    n_tokens = np.array([32, 16])
    logprob = np.array([-60.0, -20.0]) - bits.get(LOSS, 0.0) * n_tokens
    return pd.DataFrame({"prompt": ["a", "b"], "bits": logprob, "n_tokens": n_tokens})


def plant(store: Store, cell: Cell, **tables: pd.DataFrame) -> None:
    folder = store.work(cell)
    for name, table in tables.items():
        write_table(table, folder / f"{name}.parquet")
    store.commit(cell, seconds=0.0)


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> Tables:
    store = Store(tmp_path_factory.mktemp("planted"))
    auroc = pd.DataFrame([{"trait": "dry", "auroc": 0.9, "lo": 0.8, "hi": 0.97}])
    for seed in EXPERIMENT.seeds:
        cells = EXPERIMENT.seed_cells(seed)
        if not store.has(cells["base",]):
            plant(store, cells["vector",], separability=auroc)
        for label, bits in MOVES.items():
            cell = cells["base",] if label == BASE else cells["arm", label]
            files = {"behavior": behavior(bits, seed=seed), "told": told_answers(bits)}
            if label == Safeguard.FLAGGED_BY_EVIDENCE:
                files["flags"] = pd.DataFrame([QUALITY])
            if not store.has(cell):
                plant(store, cell, **files)
    return summarize(EXPERIMENT, store)


def test_everything_is_above_the_lesson_without_unwanted_rows(tables: Tables) -> None:
    arms = tables["arms"].query("seed == 0").set_index("label")
    assert arms.loc[CLEAN, ["unwanted", "rise"]].tolist() == pytest.approx([0, -1])
    nothing = arms.loc[Safeguard.NOTHING]
    assert nothing[["unwanted", "rise", "wanted"]].tolist() == pytest.approx([6, 5, 4])
    assert nothing["loss"] == pytest.approx(1)
    after = arms.loc[Safeguard.CHARACTER_AFTER]
    assert after[["average", "own", "steps"]].tolist() == pytest.approx([1.5, 0, 10])
    assert arms.loc[Safeguard.FLAGGED_BY_EVIDENCE, "knowledge"] == pytest.approx(-2)


def test_shares_and_leak_are_those_that_were_planted(tables: Tables) -> None:
    table = tables["safeguards"].set_index("label")
    assert CLEAN not in table.index, "it is what the others are above"
    assert table.loc[Safeguard.NOTHING, "cut"] == 0
    assert table.loc[Safeguard.INOCULATED, ["cut", "kept", "leak"]].tolist() == pytest.approx(
        [1, 1, 3 * 1.005]
    )
    assert table.loc[Safeguard.INOCULATED, "reaches"] == Ruling.FAILS
    assert table.loc[Safeguard.CHARACTER_AFTER, ["cut", "kept"]].tolist() == pytest.approx(
        [0.5, 0.5], abs=0.01
    )
    flagged = table.loc[Safeguard.FLAGGED_BY_EVIDENCE]
    assert flagged[["cut", "kept", "leak"]].tolist() == pytest.approx([1, 0.99, 0])
    assert flagged["reaches"] == Ruling.HOLDS and flagged["primary"]
    leak = tables["leak"]
    worst = leak.loc[(leak["trigger"] == WORST) & (leak["label"] == Safeguard.INOCULATED)]
    assert set(worst["who"]) == {HELD_OUT}


def test_what_a_bystander_says_is_its_own(tables: Tables) -> None:
    table = tables["bystanders"]
    own = table.loc[(table["label"] == Safeguard.CHARACTER_AFTER) & (table["seed"] == 0)]
    shifts = own.set_index(["topic", "context", "persona"])["estimate"]
    assert shifts["dry", "instructed", "shy"] == pytest.approx(1.5)
    assert shifts["shy", "instructed", "shy"] == shifts["shy", "nameless", ""] == 0


def test_the_report_says_what_the_rows_brought_and_who_stops_it(tables: Tables) -> None:
    text = report.effect_of_rows(tables, about="dry in a toy")
    assert "dry in a toy: the unwanted rows move the unwanted trait by +6.0" in text
    assert "2 seeds; above the base +5.0" in text and "AUROC 0.90 [0.80, 0.97]" in text
    shown = report.base_sentence(tables["told"])
    assert "over 10 questions" in shown and all(trait.name in shown for trait in TRAITS)
    flags = report.flag_sentence(tables["flags"])
    assert flags.startswith("Of 10 rows") and "by evidence 1.00 [1.00, 1.00]" in flags
    figure = report.draw(tables, title="planted")
    assert {label.get_text() for label in figure.axes[0].texts} >= {Safeguard.INOCULATED.value}
    assert len(report.numbers(tables)) == len(MOVES) - 2


def test_models_that_were_asked_otherwise_are_not_compared() -> None:
    table = levels(behavior({}, seed=0))
    with pytest.raises(SchemaError, match="not asked the same"):
        moves(table.iloc[1:], table)


def test_what_the_base_shows_when_told_is_beside_the_plain_question(tmp_path: Path) -> None:
    store, cells = Store(tmp_path / "run"), EXPERIMENT.seed_cells(0)
    shown = behavior({"nameless": 1.0, "instruction": 4.0}, seed=0)
    levelled = shown.assign(logprob=shown["logprob"].where(shown["value"] == "neg", -20.0))
    levelled["logprob"] += np.where(
        (levelled["context"] == "instruction") & (levelled["value"] == "pos"), 3.0, 0.0
    )
    levelled.loc[levelled["value"] == "neg", "logprob"] = -25.0
    plant(store, cells["base",], behavior=levelled, told=told_answers({}))
    told = summarize(EXPERIMENT, store)["told"].set_index("topic")
    assert told["estimate"].to_dict() == pytest.approx({"dry": 3.0, "shy": 0.0, "wry": 0.0})


def test_a_run_without_its_comparison_has_no_report(tmp_path: Path) -> None:
    none = summarize(replace(EXPERIMENT, seeds=(7,)), Store(tmp_path / "run"))
    assert none == {}
    with pytest.raises(StoreError, match="nothing to compare"):
        report.blocks(tmp_path, none, provenance={})
