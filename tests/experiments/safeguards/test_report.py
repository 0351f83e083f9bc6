"""The report of planted safeguards says which reach the aim, and what each costs."""

import math
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from persona_interp import analysis
from persona_interp.errors import StoreError
from persona_interp.experiments.experiment import draw_report
from persona_interp.experiments.safeguards import report as safeguards
from persona_interp.schema.words import Ruling
from tests.analysis.test_safeguards import NOTHING, arms


def planted(**others: dict[str, tuple[float, ...]]) -> dict[str, pd.DataFrame]:
    return {"safeguards": analysis.safeguards(arms(**others))}


def provenance() -> dict[str, Any]:
    return {"experiment": "safeguards", "seeds": [0, 1, 2], "cells_done": 9, "cells": 9}


WORKS = NOTHING | {"unwanted": (0.03, 0.02, 0.04), "leak": (0.1, 0.1, 0.12)}
NEARLY = NOTHING | {"unwanted": (0.0, 0.0, 0.6), "leak": (0.1, 0.1, 0.12)}


def test_what_reaches_the_aim_is_named() -> None:
    text = safeguards.answer(planted(works=WORKS, again=NOTHING))
    assert text.startswith("Over 3 seeds works (q 0.")
    assert "of 2 arms reach the aim: 90% of the unwanted cut" in text and "again" not in text


def test_means_are_no_claim() -> None:
    text = safeguards.answer(planted(nearly=NEARLY))
    assert text.startswith("None of 1 arms is shown to reach the aim") and "nearly" not in text


@pytest.mark.parametrize("number", ["unwanted", "wanted"])
def test_where_nothing_could_be_shown_that_is_said(number: str) -> None:
    table = analysis.safeguards(arms(again=NOTHING).assign(**{number: 0.2, "leak": 0.0}))
    assert safeguards.answer({"safeguards": table}).startswith("No arm could be shown")
    _, again = table.itertuples()
    lacking = {"unwanted": "has nothing to cut", "wanted": "has nothing to keep"}[number]
    assert lacking in safeguards.sentence(again) and "nan" not in safeguards.sentence(again)
    assert again.reaches != Ruling.HOLDS


@pytest.mark.parametrize("seeds", [{"again": (0,)}, {}])
def test_arms_that_are_not_finished_are_no_lack(seeds: dict[str, tuple[int, ...]]) -> None:
    table = arms(again=NOTHING)
    finished = (table["label"] == "no safeguard") | table["seed"].isin(seeds.get("again", ()))
    table = analysis.safeguards(table.loc[finished])
    assert safeguards.answer({"safeguards": table}).startswith("No arm has two seeds yet")


def test_one_seed_below_the_floor_is_said_to_be_one() -> None:
    table = arms(again=NOTHING)
    table.loc[table["seed"] == 2, "unwanted"] = 0.2
    table = analysis.safeguards(table.assign(leak=0.0))
    assert "in at least one seed" in safeguards.answer({"safeguards": table})
    _, again = table.itertuples()
    assert "in at least one seed" in safeguards.sentence(again)


def test_that_none_does_is_said() -> None:
    text = safeguards.answer(planted(again=NOTHING))
    assert text.startswith("None of 1 arms is shown to reach the aim")


@pytest.mark.parametrize(
    ("knowledge", "said"),
    [
        ((0.1, 0.0, 0.2), "It takes agency alone."),
        ((-1.9, -2.0, -1.8), "It takes agency and knowledge."),
        ((-2.0, 2.0, 0.0), "It takes agency; whether knowledge too is undecided."),
    ],
)
def test_what_an_arm_takes_is_said(knowledge: tuple[float, ...], said: str) -> None:
    table = planted(works=WORKS | {"knowledge": knowledge})["safeguards"]
    bare, works = table.itertuples()
    assert safeguards.known(works).endswith(said)
    assert "takes" not in safeguards.known(bare)


def test_what_takes_no_agency_may_still_forget() -> None:
    idle = planted(idle=NOTHING | {"knowledge": (-1.9, -2.0, -1.8)})["safeguards"]
    assert safeguards.known(next(idle.iloc[1:].itertuples())).endswith(
        "It takes knowledge, and is not shown to take agency."
    )
    still = planted(still=NOTHING)["safeguards"].iloc[1:]
    assert safeguards.known(next(still.itertuples())).endswith("It is not shown to take agency.")
    (one,) = still.assign(n_seeds=1).itertuples()
    assert "agency." not in safeguards.known(one)


def test_where_nothing_is_summoned_no_share_is_said() -> None:
    row = next(planted(faint=NOTHING)["safeguards"].assign(cut=math.nan).itertuples())
    text = safeguards.sentence(row)
    assert "nothing to cut (less than 0.5 bits" in text and "nan" not in text


def test_the_price_stands_in_the_sentence(tmp_path: Path) -> None:
    dear = WORKS | {"own": (-1.5, -1.5, -1.5), "steps": (60.0, 60.0, 60.0)}
    html = draw_report(tmp_path, planted(dear=dear), provenance=provenance()).read_text()
    assert "own traits change by -1.50 [-1.50, -1.50] bits" in html and "60 steps" in html
    assert (tmp_path / "figures" / "frontier.png").exists()


def test_without_the_bare_lesson_there_is_nothing_to_report(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="has not finished the lesson without a safeguard"):
        draw_report(tmp_path, {"leak": pd.DataFrame({"a": [1]})}, provenance=provenance())
