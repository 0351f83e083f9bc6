"""A strength is found by what is told of text, not by its mean."""

import math

import numpy as np
import pandas as pd
import pytest

from persona_interp.analysis.coherence import (
    STRENGTHS,
    Excess,
    excess,
    judge,
    of_edits,
    search,
)
from persona_interp.experiments.causes.report import push_sentence
from persona_interp.schema.words import Ruling

QUESTIONS = list("abcdefgh")


def text(nats: float, *, spread: float = 0.0, edit: str = "none", at: str = "base") -> pd.DataFrame:
    values = nats + spread * np.linspace(-1, 1, len(QUESTIONS))
    rows = pd.DataFrame({"question": QUESTIONS, "nats": values})
    return rows.assign(edit=edit, checkpoint=at)


def test_a_mean_below_the_limit_is_not_enough() -> None:
    own = text(1.0)
    sure, wide = excess(text(1.8, spread=0.1), own), excess(text(1.8, spread=2.0), own)
    assert sure.estimate == pytest.approx(wide.estimate) == pytest.approx(0.8)
    assert judge(sure, 1.0) == Ruling.HOLDS and judge(wide, 1.0) == Ruling.UNDECIDED
    assert judge(excess(text(2.8, spread=0.1), own), 1.0) == Ruling.FAILS


def test_questions_are_paired_and_their_draws_are_no_units() -> None:
    own, hard = text(1.0, spread=3.0), text(1.5, spread=3.0)
    paired = excess(hard, own)
    assert paired.lo == pytest.approx(0.5) and paired.hi == pytest.approx(0.5)
    twice = excess(pd.concat([hard.assign(nats=hard["nats"] + d) for d in (-0.1, 0.1)]), own)
    assert twice == pytest.approx(paired)


def test_silence_is_not_coherent_and_one_question_tells_nothing() -> None:
    own = text(1.0)
    silent = excess(text(math.nan), own)
    assert silent.estimate == math.inf and judge(silent, 1.0) == Ruling.FAILS
    single = excess(text(1.0).head(1), own)
    assert single.n == 1 and judge(single, 1.0) == Ruling.UNDECIDED
    table = pd.concat([text(math.nan), text(1.0, edit="push")])
    assert of_edits(table, checkpoints=["base", "tuned"], limit=1.0)["limit"].isna().all()


def test_a_finetunes_own_text_is_coherent_however_new_it_is() -> None:
    table = pd.concat([text(1.0), text(4.0, at="tuned"), text(4.5, edit="x", at="tuned")])
    row = of_edits(table, checkpoints=["base", "tuned"], limit=1.0).iloc[0]
    assert row["nats"] == pytest.approx(4.5) and row["excess"] == pytest.approx(0.5)


def test_the_strength_has_a_lower_and_an_upper_end() -> None:
    asked = []

    def measure(strength: float) -> Excess:
        asked.append(strength)
        return Excess(strength, strength / 2, 2 * strength, 8)

    found = search(measure, limit=2.0)
    assert (found.told, found.most) == (1.0, 4.0)
    assert len(asked) == len(set(asked)) == len(found.tried)
    words = dict(zip(found.tried["strength"], found.tried["coherence"], strict=True))
    assert words[1.0] == Ruling.HOLDS and words[8.0] == Ruling.FAILS
    assert words[4.0] == Ruling.UNDECIDED


def test_no_push_is_told_coherent_where_none_is() -> None:
    found = search(lambda strength: Excess(5, 4, 6, 8), limit=1.0)
    assert math.isnan(found.told) and math.isnan(found.most)
    wide = search(lambda strength: Excess(0, -9, 9, 3), limit=1.0)
    assert math.isnan(wide.told) and wide.most == STRENGTHS[-1]
    table = wide.tried.assign(candidate="x", sites="s")
    assert push_sentence(table).startswith("0 of 1 searches found a push")
