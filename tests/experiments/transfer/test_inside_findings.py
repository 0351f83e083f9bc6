"""Sentences on the inside of the models hold what the planted tables hold, controls beside it."""

import numpy as np
import pandas as pd
from scipy import stats

from persona_interp.experiments.transfer.inside.findings import (
    carries,
    knows,
    points,
    stays,
    together,
    towards,
)

T = float(stats.t.ppf(0.975, 1))
"""Half a 95 % interval over two seeds, in standard errors."""
Tables = dict[str, pd.DataFrame]


def test_towards_whom_with_cosine_rank_interval_and_n(one: Tables) -> None:
    lesson, unrelated = towards(one["directions"], "lesson", target="john")
    assert lesson == (
        "Lesson: the mean shift of neutral prompts has cosine 0.50 [0.25, 0.75] "
        "(one seed, interval over 50 prompts) with john's vector "
        "(rank 1 of 3 personas; the best other has 0.25), and went 0.75 [0.50, 1.00] "
        "(one seed, interval over 50 prompts) of that vector's length along it."
    )
    assert unrelated.startswith(
        "Unrelated lesson: the mean shift of neutral prompts has cosine 0.00 [-0.25, 0.25]"
    )
    assert "(rank 3 of 3 personas; the best other has 0.25)" in unrelated


def test_towards_whom_over_seeds_has_a_t_interval(two: Tables) -> None:
    lesson, _ = towards(two["directions"], "lesson", target="john")
    half = T * 0.125  # of 0.5 and 0.75
    assert f"cosine 0.62 [{0.625 - half:.2f}, {0.625 + half:.2f}] (n = 2 seeds)" in lesson
    assert "rank 1, 1 of 3 personas" in lesson
    assert "one seed" not in lesson


def test_which_feature_knows_the_target(one: Tables) -> None:
    text = knows(one["scores"], target="john")
    assert (
        "seed 0: feature 7, AUROC 0.62 [0.38, 0.88], q 0.001 (found among 40 tests), fvu 0.1."
        in text
    )
    assert "chosen on one half of them and reported on the other" in text
    assert "feature 9" not in text
    assert "no discovery among 40 tests" in knows(one["scores"].assign(q=0.5), target="john")
    assert (
        knows(one["scores"], target="zoe")
        == "No feature is more active in zoe's documents than in others."
    )


def test_what_carries_the_effect_beside_its_controls(one: Tables) -> None:
    assert carries(one["causes"], target="john") == (
        "Taking john's vector out of the tuned model removes 0.75 [0.50, 1.00] "
        "(one seed, interval over 5 templates) of the untaught traits' shift; "
        "another persona's 0.00 on average (largest 0.12), "
        "a random direction -0.24 to 0.24 (95 %). Added to the base model it brings "
        "0.50 [0.25, 0.75] (one seed, interval over 5 templates) of the shift."
    )


def test_what_carries_the_effect_over_seeds(two: Tables) -> None:
    text = carries(two["causes"], target="john")
    half = T * 0.125  # of 0.75 and 1
    assert f"removes 0.88 [{0.875 - half:.2f}, {0.875 + half:.2f}] (n = 2 seeds)" in text
    assert (
        "another persona's 0.12 on average (largest 0.38), a random direction -0.23 to 0.48 (95 %)"
        in text
    )
    assert (
        f"brings 0.62 [{0.625 - half:.2f}, {0.625 + half:.2f}] (n = 2 seeds) of the shift." in text
    )


def test_a_share_of_nothing_is_not_said(two: Tables) -> None:
    table = two["causes"].copy()
    table.loc[table["seed"] == 1, ["share", "lo", "hi"]] = np.nan
    text = carries(table, target="john")
    assert "removes 0.75 [0.50, 1.00] (one seed, interval over 5 templates)" in text
    assert text.endswith(
        "In seed 1 the lesson moved the untaught traits too little for a share of it to be removed."
    )
    assert "nan" not in text
    text = carries(table.assign(share=np.nan), target="john")
    assert (
        text == "The lesson moved the untaught traits too little for a share of it to be removed."
    )


def test_vectors_found_anew_and_words_of_documents(one: Tables) -> None:
    assert stays(one["refit"], target="john") == (
        "Found anew after the lesson, john's vector has cosine 0.75 with the one found before, "
        "and is 1.50 times as long; another persona's has 0.38 on average, 0.25 at least "
        "(one seed, 2 vectors)."
    )
    text = together(one["cooccurrence"])
    assert "minimal pair (pairs of personas), seed 0: rho 0.50 (null -0.25 to 0.25, n 3)" in text
    assert "traits (pairs of traits), seed 0: rho 0.50" in text
    half = T * 0.125  # holders minus others: 1/4 for the beach, 1/2 for the city
    assert (
        "seed 0: cosine 0.38 with those who do, 0.00 with others, "
        f"difference +0.38 [{0.375 - half:+.2f}, {0.375 + half:+.2f}] (interval over 2 values)."
        in points(one["stated"])
    )
