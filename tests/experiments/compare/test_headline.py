"""The first sentence says how far the finetunes are, and whether more could be claimed."""

from typing import Any

import pandas as pd
import pytest

from persona_interp.experiments.compare.headline import (
    comparable,
    headline,
    on_neutral_requests,
    reach,
)
from persona_interp.schema.words import Family, Requests, Role, Verdict

NAN = float("nan")
NOTHING = {"traits": [], "sae": []}
EVERYTHING = {"traits": ["wry"], "sae": ["sae"]}


def far(
    kl: float, *, label: str = "mine", role: Role = Role.TUNED, half: float = 0.0, n: int = 6
) -> dict[str, Any]:
    row = {"checkpoint": label, "role": str(role), "requests": str(Requests.PROMPTS), "n": n}
    return row | {"estimate": kl, "lo": kl - half, "hi": kl + half}


def distances(*rows: dict[str, Any], n: int = 6) -> pd.DataFrame:
    return pd.DataFrame([far(0.0, label="base again", role=Role.AGAIN, n=n), *rows])


def verdicts_of(verdict: Verdict, *, possible: bool, n: int = 489, **changes: Any) -> pd.DataFrame:
    row = {"checkpoint": "mine", "role": str(Role.TUNED), "family": str(Family.FEATURE), "n": 6}
    row |= {"primary": False, "judged_by": "units", "p_min": 2 / 2**6, "n_needed": 15}
    row |= {"verdict": str(verdict), "possible": possible, "n_controls": 0, "ratio": NAN}
    return pd.DataFrame([row | changes] * n)


def test_a_finetune_that_answers_differently_is_said_to_whatever_was_not_asked() -> None:
    table = distances(far(3.97, half=0.87))
    sentence = headline(table, pd.DataFrame(), provenance=NOTHING)
    assert sentence == (
        "mine answers differently: KL 3.97 bits a token [3.10, 4.84] from the base, on the base's "
        "own answers to 6 prompts (the base recorded twice: 0); nothing finer could have been "
        "claimed: no trait and no dictionary was named, and 6 prompts allow 1 test at most (p "
        "cannot fall below 0.031)."
    )


def test_six_prompts_claim_nothing_among_many_features() -> None:
    table = distances(far(3.97, half=0.87))
    effects = verdicts_of(Verdict.IMPOSSIBLE, possible=False)
    sentence = headline(table, effects, provenance=EVERYTHING)
    assert sentence.startswith("mine answers differently: KL 3.97 bits a token [3.10, 4.84]")
    assert sentence.endswith(
        "nothing finer could have been claimed from 6 prompts, for q 0.05 could be reached by none "
        "of 489 features alone (p cannot fall below 0.031; it takes 15 prompts)."
    )
    assert "no difference" not in sentence
    assert "0 of 489 features (p cannot fall" in reach(effects)


def test_what_could_have_been_shown_is_counted_by_family() -> None:
    behavior = verdicts_of(
        Verdict.NONE, possible=True, n=3, family=str(Family.BEHAVIOR), n_needed=9, p_min=1e-4
    )
    effects = pd.concat([verdicts_of(Verdict.IMPOSSIBLE, possible=False), behavior])
    sentence = headline(distances(far(1.0, half=0.5)), effects, provenance=EVERYTHING)
    assert sentence.endswith(
        "no finer difference is shown among the 3 tests that could have shown one (489 more could "
        "not)."
    )
    assert "for 0 of 489 features (p cannot" in reach(effects)
    assert "15 prompts), 3 of 3 traits in behavior." in reach(effects)
    effects.loc[:, "verdict"] = str(Verdict.DIFFERS)
    passed = headline(distances(far(1.0, half=0.5)), effects, provenance=EVERYTHING)
    assert passed.endswith("of 492 finer tests 492 passed.")


@pytest.mark.parametrize(
    ("row", "start"),
    [
        (far(0.0), "mine answers exactly as the base does: KL 0 bits a token from"),
        (far(0.5, half=1.0), "so few prompts leave open how differently mine answers: KL 0.50"),
        (far(0.5, half=NAN), "mine answers this one prompt differently: KL 0.50 bits a token (no"),
    ],
)
def test_an_interval_decides_and_no_estimate(row: dict[str, Any], start: str) -> None:
    assert headline(distances(row), pd.DataFrame(), provenance=NOTHING).startswith(start)


def test_every_finetune_has_its_distance_until_there_are_many() -> None:
    rows = [far(float(i + 1), label=f"step{i}") for i in range(6)]
    sentence = headline(distances(*rows), pd.DataFrame(), provenance=NOTHING)
    assert "step3 answers differently" in sentence and "step4" not in sentence
    assert "2 more are in the table of distances" in sentence


def test_enough_prompts_are_no_reason() -> None:
    table = distances(far(1.0, half=0.5, n=40), n=40)
    sentence = headline(table, pd.DataFrame(), provenance={"traits": [], "sae": ["sae"]})
    assert sentence.endswith("no dictionary can be read in all checkpoints.")


def test_distance_on_neutral_requests_is_said_beside() -> None:
    table = distances(far(1.0, half=0.5), far(0.5, half=0.1, label="c1", role=Role.CONTROL))
    assert "are neutral themselves" in on_neutral_requests(table)
    neutral = on_neutral_requests(table.assign(requests=str(Requests.NEUTRAL)))
    assert "mine (tuned) 1.00 bits a token [0.50, 1.50], c1 (control) 0.50" in neutral


def test_controls_are_called_comparable_by_their_distance() -> None:
    about = {"n_controls": 3, "judged_by": "controls", "distance": 0.7, "possible": True, "n": 1}
    near = verdicts_of(Verdict.NONE, distance_controls=0.8, ratio=0.94, **about)
    farther = verdicts_of(Verdict.FARTHER, distance_controls=0.1, ratio=2.6, **about)
    assert comparable(near)[0].endswith("They are controls of comparable distance.")
    (sentence,) = comparable(farther)
    assert (
        "mine is 0.70 bits a token from the base, its controls (3) 0.10: it went 2.60 times as far"
        in sentence
    )
    assert str(Verdict.FARTHER) in sentence
    assert comparable(near.assign(ratio=NAN)) == []
    (alone,) = comparable(farther.assign(judged_by="units", n_controls=1))
    assert alone.endswith("as the root of KL goes.")
