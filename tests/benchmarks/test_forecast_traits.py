"""A line that knows neither a trait nor its lessons finds what was planted; so does the ceiling."""

import numpy as np
import pandas as pd
import pytest

import forecast_trait_stacks
import forecast_traits
from persona_interp.schema.words import ForecastScore

NAMES = ("dry", "wry", "warm", "bold", "calm")
NOISE = 0.5


def planted(rng: np.random.Generator, *, seeds: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Lessons that move a trait by twice what the predictor says, and noise."""
    told, actual = [], []
    for taught in NAMES:
        for name in NAMES:
            for seed in range(seeds):
                cell = {"taught": taught, "seed": seed, "trait": f"{name}=pos"}
                cell |= {"context": "nameless", "persona": ""}
                guess = np.sin(7 * NAMES.index(taught) + 3 * NAMES.index(name))
                shift = 2 * guess + NOISE * rng.standard_normal()
                actual.append(cell | {"step": 20, "estimate": shift})
                if name != taught:
                    row = cell | {"predictor": "guess", "estimate": guess, "cost": 1.0}
                    told.append(row | {"before": 0.0, "taught_before": 0.0})
    return pd.DataFrame(told), pd.DataFrame(actual)


@pytest.mark.parametrize("left_out", ["taught", "seed"])
def test_a_planted_line_is_found_on_what_was_left_out(left_out: str) -> None:
    told, actual = planted(np.random.default_rng(0), seeds=3)
    table = forecast_traits.forecast(told, actual, ("guess",), left_out=left_out)
    assert len(table) == len(told)
    line = table.merge(told, on=["taught", "seed", "trait"], suffixes=("", "_guess"))
    slope = np.polyfit(line["estimate_guess"], line["estimate"], 1)[0]
    assert slope == pytest.approx(2.0, abs=0.3)


def test_the_ceiling_is_the_share_that_seeds_agree_on() -> None:
    _, actual = planted(np.random.default_rng(1), seeds=40)
    of_traits = actual.loc[actual["trait"] != actual["taught"] + "=pos", "estimate"]
    expected = 1 - NOISE**2 / of_traits.var()
    row = forecast_traits.ceiling(actual)
    assert row["estimate"] == pytest.approx(expected, abs=0.03)
    assert row["lo"] < row["estimate"] < row["hi"]


def test_what_a_trait_did_elsewhere_is_not_known() -> None:
    told, actual = planted(np.random.default_rng(2), seeds=3)
    before = forecast_traits.forecast(told, actual, ("guess",), left_out="taught")
    is_dry = (actual["trait"] == "dry=pos") | (actual["taught"] == "dry")
    spoilt = actual.assign(estimate=actual["estimate"].where(~is_dry, 100.0))
    after = forecast_traits.forecast(told, spoilt, ("guess",), left_out="taught")
    own = before["taught"] == "dry"
    pd.testing.assert_frame_equal(before.loc[own], after.loc[own])


def test_a_line_without_both_knows_nothing_of_either() -> None:
    told, actual = planted(np.random.default_rng(4), seeds=2)
    before = forecast_trait_stacks.without_both(told, actual, ("guess",))
    assert len(before) == len(told)
    pair = ["dry=pos", "wry=pos"]
    is_pair = actual["trait"].isin(pair) | actual["taught"].isin(["dry", "wry"])
    spoilt = actual.assign(estimate=actual["estimate"].where(~is_pair, 100.0))
    after = forecast_trait_stacks.without_both(told, spoilt, ("guess",))
    own = (before["taught"] == "dry") & (before["trait"] == "wry=pos")
    pd.testing.assert_frame_equal(before.loc[own], after.loc[own])


def test_a_stack_of_traits_keeps_what_it_is_worth() -> None:
    told, actual = planted(np.random.default_rng(5), seeds=2)
    about = {"model": "planted"}
    stack = forecast_trait_stacks.fit(told, actual, ("guess",), about=about)
    assert stack.lines[0].coefficients == pytest.approx((2.0, 0, 0, 0), abs=0.3)
    assert stack.level == 5 / 6 and "cost" not in stack.provenance
    assert stack.provenance["both_left_out"][str(ForecastScore.R_SQUARED)][0] > 0.8


def test_the_mean_of_other_lessons_is_of_other_lessons() -> None:
    _, actual = planted(np.random.default_rng(3), seeds=2)
    table = forecast_traits.others(actual)
    row = table.loc[(table["taught"] == "dry") & (table["trait"] == "wry=pos")].iloc[0]
    same = (actual["trait"] == "wry=pos") & ~actual["taught"].isin(["dry", "wry"])
    assert row["estimate"] == pytest.approx(actual.loc[same, "estimate"].mean())
