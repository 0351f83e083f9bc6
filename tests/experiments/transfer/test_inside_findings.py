"""Sentences on the inside of the models hold what the planted tables hold, controls beside it."""

import numpy as np
import pandas as pd
from scipy import stats

from persona_interp.experiments.transfer.inside.findings import (
    brings,
    carries,
    knows,
    knows_beside,
    points,
    stays,
    together,
    towards,
)

T = float(stats.t.ppf(0.975, 1))
"""Half a 95 % interval over two seeds, in standard errors."""
Tables = dict[str, pd.DataFrame]


def said_of_directions(tables: Tables) -> list[str]:
    return towards(tables["directions"], tables["chance"], arm="lesson", target="john")


def test_towards_whom_beside_all_personas_random_directions_and_controls(one: Tables) -> None:
    lesson, controls, standing = said_of_directions(one)
    assert lesson == (
        "Lesson: the mean shift of neutral prompts has cosine 0.50 [0.25, 0.75] "
        "(one seed, interval over 50 prompts) with john's vector "
        "(rank 1 of 3 personas; best other sam 0.25), where 95 % of 200 random directions of equal "
        "norm lie at -0.25 to 0.25 and 95 % of 200 random directions that vary as residuals do lie "
        "at -0.38 to 0.38, and went 0.75 [0.50, 1.00] "
        "(one seed, interval over 50 prompts) of that vector's length along it."
    )
    assert controls == (
        "The same after control lessons: unrelated lesson 0.00 [-0.25, 0.25] "
        "(one seed, interval over 50 prompts) (rank 3 of 3 personas; best other mary 0.25)."
    )
    assert standing == (
        "One seed: described, not claimed. The cosine with john's vector is above that with the "
        "best other persona's, that after the control lesson with the largest, 97.5 % of random "
        "directions of either kind."
    )


def test_a_control_lesson_that_goes_to_the_target_first_is_said(one: Tables) -> None:
    table = one["directions"].copy()
    row = (table["arm"] == "unrelated lesson") & (table["name"] == "john")
    table.loc[row, ["cosine", "rank"]] = [0.875, 1]
    chance = one["chance"].assign(hi=0.625)
    _, controls, standing = towards(table, chance, arm="lesson", target="john")
    assert "(rank 1 of 3 personas; best other" in controls
    assert standing.endswith(
        "is above that with the best other persona's; it is not above that after the control "
        "lesson with the largest, 97.5 % of random directions of either kind."
    )


def test_towards_whom_over_seeds_has_a_t_interval(two: Tables) -> None:
    lesson, _, standing = said_of_directions(two)
    half = T * 0.125  # of 0.5 and 0.75
    assert f"cosine 0.62 [{0.625 - half:.2f}, {0.625 + half:.2f}] (n = 2 seeds)" in lesson
    assert "rank 1, 1 of 3 personas; best other sam 0.25, sam 0.50" in lesson
    assert "one seed" not in lesson
    assert standing.startswith("Over 2 seeds, the cosine with john's vector is ")


def test_before_the_causes_are_finished_no_random_direction_is_known(one: Tables) -> None:
    lesson, _, standing = towards(
        one["directions"], one["chance"].head(0), arm="lesson", target="john"
    )
    assert "random" not in lesson and "random" not in standing


def test_which_feature_knows_the_target(one: Tables) -> None:
    text = knows(one["scores"], target="john")
    assert (
        "seed 0: feature 7, AUROC 0.62 [0.38, 0.88] (about the topics chosen on 0.75; exact Bayes "
        "0.95), q 0.001 among 40 tests, fvu 0.1." in text
    )
    assert "reported on test documents about others" in text
    assert "feature 9" not in text
    lost = knows(one["scores"].assign(q=0.5), target="john")
    assert "q 0.5 among 40 tests: no discovery, fvu" in lost
    assert (
        knows(one["scores"], target="zoe")
        == "No feature is more active in zoe's documents than in others."
    )


def test_the_feature_beside_other_readouts(one: Tables, two: Tables) -> None:
    assert knows_beside(one["pairs"]) == (
        "On the same documents its AUROC minus that of other readouts is: minimal pair -0.12 "
        "[-0.25, +0.00], probe +0.25 [+0.12, +0.38] (one seed, 95 % intervals over documents, "
        "paired)."
    )
    assert "minimal pair +0.00 [-1.59, +1.59]" in knows_beside(two["pairs"])


def test_what_carries_the_effect_beside_all_its_rivals(one: Tables) -> None:
    share, rivals, standing, net, net_standing = carries(one["causes"], target="john")
    assert share == (
        "Taking john's minimal pair vector out of the tuned model removes 0.75 [0.50, 1.00] "
        "(one seed, interval over 5 templates) of the untaught traits' shift. Putting the base's "
        "whole residual back at this hook removes 1.00: it is 0.38 [0.12, 0.62] (one seed, "
        "interval over 5 templates) of that. The same edit moves the base by -1.00 bits; net of "
        "that 0.58 [0.33, 0.83] (one seed, interval over 5 templates) of the shift is removed."
    )
    assert rivals == (
        "Of the shift, edits of the tuned model remove: other ways to take the persona out 0.50 "
        "(top feature), mean 0.50 (rank 1 of 2); single features that know the persona 0.50 "
        "(feature 7), mean 0.50 (rank 1 of 2); other personas' vectors -0.12 (mary) to 0.12 (sam), "
        "mean 0.00 (rank 1 of 3); random directions of equal norm -0.25 (random 0 (norm)) to 0.25 "
        "(random 1 (norm)), mean 0.00 (rank 1 of 3); random directions that vary as residuals do "
        "0.00 (random 0 (variance)), mean 0.00 (rank 1 of 2); features that fire as often in "
        "documents 0.00 (matched feature 3), mean 0.00 (rank 1 of 2)."
    )
    assert standing.startswith(
        "One seed: described, not claimed. What john's minimal pair vector removes is above the "
        "most of other ways to take the persona out, the most of single features"
    )
    assert "not above" not in standing and "not above" not in net_standing
    assert net.startswith("Net of what the same edits do to the base they remove: ")


def adverse(causes: pd.DataFrame) -> pd.DataFrame:
    """A single feature, a random direction and a kind of edit nobody thought of take more."""
    shares = {"feature 7": 0.875, "random 0 (variance)": 1.25, "mary": -1.25}
    table = causes.assign(share=causes["edit"].map(shares).fillna(causes["share"]))
    unknown = table.loc[table["edit"] == "sam"].assign(edit="x 1", group="x", share=1.5)
    return pd.concat([table, unknown], ignore_index=True)


def test_rows_that_speak_against_it_cannot_be_left_out(one: Tables) -> None:
    _, rivals, standing, *_ = carries(adverse(one["causes"]), target="john")
    assert (
        "single features that know the persona 0.88 (feature 7), mean 0.88 (rank 2 of 2)" in rivals
    )
    assert "vary as residuals do 1.25 (random 0 (variance)), mean 1.25 (rank 2 of 2)" in rivals
    assert "other personas' vectors -1.25 (mary) to 0.12 (sam)" in rivals
    assert "x 1.50 (x 1)" in rivals, "a group without a name of its own is there too"
    assert "it is not above the most of single features that know the persona, " in standing
    assert standing.endswith(
        "the most of random directions that vary as residuals do, the most of x."
    )


def test_what_carries_the_effect_over_seeds(two: Tables) -> None:
    share, rivals, standing, *_ = carries(two["causes"], target="john")
    half = T * 0.125  # of 0.75 and 1
    assert f"removes 0.88 [{0.875 - half:.2f}, {0.875 + half:.2f}] (n = 2 seeds)" in share
    assert (
        "other personas' vectors -0.12 (mary) to 0.38 (sam), mean 0.12 (rank 1, 1 of 3)" in rivals
    )
    assert standing.startswith("Over 2 seeds, what john's minimal pair vector removes is +0.25 [")
    assert (
        "+0.62 [+0.62, +0.62] above the most of other personas' vectors (told apart: more)"
        in standing
    )
    worse = pd.concat([adverse(part) for _, part in two["causes"].groupby("seed")])
    _, _, against, *_ = carries(worse, target="john")
    half = T * 0.125
    assert (
        f"{-0.625:+.2f} [{-0.625 - half:+.2f}, {-0.625 + half:+.2f}] above the most of x" in against
    )


def test_what_comes_with_the_vector_beside_the_others(one: Tables) -> None:
    text, standing = brings(one["causes"], target="john")
    assert text == (
        "Added to the base model, john's vector brings 0.50 [0.25, 0.75] (one seed, interval over "
        "5 templates) of the shift (the tuned model's whole residual 1.00); net of what it adds to "
        "the tuned model 0.33 [0.08, 0.58] (one seed, interval over 5 templates). Other personas' "
        "vectors bring 0.25 (sam added), mean 0.25 (rank 1 of 2)."
    )
    assert "What john's vector brings is above the most of other personas' vectors." in standing
    assert brings(one["causes"].query("group != 'added'"), target="john") == []


def test_a_share_of_nothing_is_not_said(two: Tables) -> None:
    table = two["causes"].copy()
    table.loc[table["seed"] == 1, ["share", "lo", "hi"]] = np.nan
    share, *_, last = carries(table, target="john")
    assert "removes 0.75 [0.50, 1.00] (one seed, interval over 5 templates)" in share
    assert last == (
        "In seed 1 the lesson moved the untaught traits too little for a share of it to be removed."
    )
    assert "nan" not in " ".join(carries(table, target="john"))
    (text,) = carries(table.assign(share=np.nan), target="john")
    assert (
        text == "The lesson moved the untaught traits too little for a share of it to be removed."
    )
    assert brings(table.assign(share=np.nan), target="john") == []


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
