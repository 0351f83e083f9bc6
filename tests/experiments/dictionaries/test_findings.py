"""Sentences say what planted tables hold, with interval, n and null, and no more."""

import pytest

from persona_interp.experiments.dictionaries import findings
from persona_interp.experiments.dictionaries.config import EDITS
from tests.experiments.dictionaries.planted import tables


def answers(*, born: float = 0.5, woken: int = 3) -> list[str]:
    made = tables(born=born, woken=woken)
    seen, _ = findings.seen(made["shares"])
    return findings.answer(made["verbs"], made["groups"], can_be_seen=seen)


def test_each_verb_has_its_count_interval_null_and_verdict() -> None:
    texts = answers()
    assert len(texts) == 2
    for text, name in zip(texts, EDITS.values(), strict=True):
        assert text.startswith(f"Of {name} (12; 3 seeds, 95 %) the lesson ")
        assert "creates 0 (share 0.00 [0.00, 0.00]; of features that fire as often 0.00" in text
        assert "no difference shown" in text
        assert "moves 3 (share 0.25" in text and "wakes 10 (share 0.83" in text
        assert "more than of those" in text


def test_nothing_is_shown_only_where_a_birth_would_be_seen() -> None:
    creates = [text.split("creates")[1].split(")")[0] for text in answers(born=0.02)]
    assert all("nothing can be concluded" in text for text in creates)
    seen, said = findings.seen(tables(born=0.02)["shares"])
    assert not seen and "a birth is hardly seen" in said
    seen, said = findings.seen(tables()["shares"])
    assert seen and "0.51 [" in said and "a birth is seen" in said


def test_all_features_stand_beside_every_null() -> None:
    made = tables()
    sentences = findings.everything(made["changes"], made["shares"])
    moved = next(text for text in sentences if "rotated or split" in text)
    for life in ("unrelated lesson", "the lesson taught twice", "one checkpoint"):
        assert f"{life} 0.000 (difference +0.031" in moved
    assert "above its null" in moved
    born = next(text for text in sentences if "are born" in text)
    assert "not told from its null" in born


def test_a_crosscoder_that_does_not_fit_is_named() -> None:
    table = tables()["reconstruction"]
    assert "Every crosscoder fits every checkpoint." in findings.fits(table)
    table.loc[1, ["fvu", "verdict"]] = 0.62, "unusable"
    assert "unusable at lesson@0 (lesson, seed 1, FVU 0.62)" in findings.fits(table)


def test_what_was_there_before_stands_beside_directions() -> None:
    made = tables()
    first, *more = findings.before(made["groups"], made["directions"])
    assert "AUROC 0.91 [" in first and "before the lesson and 0.93 [" in first
    assert "3 seeds" in first and "0.95 [0.95, 0.95] of its greatest length" in first
    assert "minimal pair 0.94" in more[0] and "(the feature -0.03" in more[0]
    assert more[-1] == f"Statuses of {list(EDITS.values())[-1]}: 9 shared, 3 rotated."


def test_a_share_of_nothing_is_none() -> None:
    early, late = findings.stops(tables()["stops"])
    assert early.endswith("in a seed too little for a share of it to be removed.")
    assert "0.81 [0.79, 0.83] (sets that fire as often 0.10, the most of 10 0.30" in late
    assert "above its null" in late and "direction 0.90 (3 seeds, 95 %)" in late


def test_a_rise_stands_beside_the_unrelated_lesson() -> None:
    text = findings.rises(tables()["groups"])
    assert "changes by +2.10" in text and "after the unrelated lesson by +0.00" in text


@pytest.mark.parametrize(("lo", "words"), [(0.25, " [0.25, 0.50]"), (float("nan"), "")])
def test_an_interval_that_is_none_is_not_said(lo: float, words: str) -> None:
    assert findings.interval(lo, 0.5) == words
