import math
from typing import Any

import numpy as np
import pandas as pd
import pytest

from persona_interp.analysis import evidence_in_words, evidence_to_reach
from persona_interp.errors import SchemaError

STEPS = np.array([0, 1, 2, 4, 8, 16])
SETTING: dict[str, Any] = {"lr": 3e-4, "batch": 16}


def curve(*seeds: Any, **setting: Any) -> pd.DataFrame:
    """Beliefs of several seeds in one setting."""
    columns = {
        "lr": 3e-4,
        "batch": 16,
        "optimizer": "adamw",
        "replay": 0.0,
        "sparing": False,
        **setting,
    }
    others = dict.fromkeys(
        ("weight", "misfit", "effect", "p_taught", "statements", "fact_tokens"), 0.0
    )
    parts = [
        pd.DataFrame(
            {
                "step": STEPS,
                "persona_bits": bits,
                "seed": seed,
                "documents": STEPS * columns["batch"],
            }
        )
        for seed, bits in enumerate(seeds)
    ]
    table = pd.concat(parts, ignore_index=True)
    return table.assign(checkpoint=table["step"].astype(str), **others, **columns)


def test_a_straight_line_is_read_backwards() -> None:
    lines = [-4 + slope * STEPS for slope in (0.4, 0.5, 0.6)]
    (row,) = evidence_to_reach(0, curve=curve(*lines), **SETTING).to_dict("records")
    assert row["start"] == -4 and row["bits"] == 4
    assert row["steps"] == pytest.approx(8) and row["documents"] == pytest.approx(128)
    # The band at step N is N times [0.5 -+ 4.303 * 0.1 / sqrt(3)].
    half = 4.302653 * 0.1 / math.sqrt(3)
    assert row["steps_lo"] == pytest.approx(4 / (0.5 + half), rel=1e-5)
    assert row["steps_hi"] == pytest.approx(4 / (0.5 - half), rel=1e-5)
    assert row["n_seeds"] == 3 and row["measured"] == 16


def test_a_start_of_ones_own_shifts_the_bits() -> None:
    line = curve(-4 + 0.5 * STEPS)
    assert evidence_to_reach(0, curve=line, start=-2, **SETTING)["steps"].item() == pytest.approx(4)
    assert evidence_to_reach(-5, curve=line, **SETTING)["steps"].item() == 0


def test_runs_of_one_seed_are_averaged() -> None:
    orders = [curve(-4 + slope * STEPS).assign(order=i) for i, slope in enumerate((0.25, 0.75))]
    (row,) = evidence_to_reach(0, curve=pd.concat(orders), **SETTING).to_dict("records")
    assert row["steps"] == pytest.approx(8) and row["n_seeds"] == 1 and np.isnan(row["steps_lo"])


def test_what_rises_and_falls_counts_where_it_was_reached() -> None:
    table = evidence_to_reach(0, curve=curve([-4, -2, 0, 1, -3, -4]), **SETTING)
    assert table["steps"].item() == pytest.approx(2)


def test_never_is_an_answer() -> None:
    steep, flat = -4 + 0.5 * STEPS, -4 + 0.2 * STEPS
    (row,) = evidence_to_reach(2, curve=curve(steep, flat, flat), **SETTING).to_dict("records")
    assert row["steps"] == math.inf and row["steps_hi"] == math.inf and 0 < row["steps_lo"] < 16
    said = evidence_in_words(pd.DataFrame([row]))
    assert "takes more than the 16 steps measured" in said and "at the earliest after" in said
    (row,) = evidence_to_reach(0, curve=curve(steep, steep, flat), **SETTING).to_dict("records")
    assert math.isfinite(row["steps"]) and row["steps_hi"] == math.inf
    assert "more than 256]" in evidence_in_words(pd.DataFrame([row]))


def test_one_seed_has_no_interval() -> None:
    table = evidence_to_reach(0, curve=curve(-4 + 0.5 * STEPS), **SETTING)
    assert np.isnan(table["steps_lo"].item()) and "one seed, so no interval" in evidence_in_words(
        table
    )


@pytest.mark.parametrize(
    ("start", "level", "said"),
    [
        (-math.log2(27), 0, "from 1:27 to even odds"),
        (-2, 2, "from 1:4 to 4:1"),
        (0, 0.585, "from even odds to 1.5:1"),
    ],
)
def test_odds_are_said_as_people_say_them(start: float, level: float, said: str) -> None:
    assert said in evidence_in_words(
        evidence_to_reach(level, curve=curve(STEPS), start=start, **SETTING)
    )


def test_settings_are_told_apart_and_unknown_ones_named() -> None:
    both = pd.concat([curve(-4 + 0.5 * STEPS), curve(-4 + 2.0 * STEPS, lr=1e-3)])
    assert evidence_to_reach(0, curve=both, lr=1e-3, batch=16)["steps"].item() == pytest.approx(2)
    with pytest.raises(
        SchemaError, match=r"batch 1' is unknown; did you mean 'adamw, lr 0\.0003, b"
    ):
        evidence_to_reach(0, curve=both, lr=3e-4, batch=1)
    with pytest.raises(SchemaError, match="column 'lr'"):
        evidence_to_reach(0, curve=both.drop(columns="lr"), **SETTING)
    with pytest.raises(SchemaError, match="same steps"):
        evidence_to_reach(0, curve=both[both["step"] > 0], **SETTING)
