"""Rivals by hand: planted shares in which an adverse row is known."""

import numpy as np
import pandas as pd
import pytest

from persona_interp import schema
from persona_interp.analysis import rivals, standings
from persona_interp.errors import SchemaError
from persona_interp.schema.words import Standing

SHARES = {
    ("john", "method"): 0.5,
    ("probe", "method"): 0.1,
    ("mary", "persona"): 0.25,
    ("sam", "persona"): -0.75,
    ("feature 7", "feature"): 0.625,
    ("random 0", "random (variance)"): 0.125,
}


def planted(seed: int = 0, more: float = 0.0) -> pd.DataFrame:
    rows = [{"edit": e, "group": g, "share": s} for (e, g), s in SHARES.items()]
    table = pd.DataFrame(rows).assign(seed=seed, lr=1e-3, hook="h")
    return table.assign(share=table["share"] + more * (table["edit"] == "john"))


def test_every_group_is_there_and_a_feature_that_takes_more_is_named() -> None:
    table = schema.check(rivals(planted(), edit="john"), "rivals").set_index("group")
    assert table.index.tolist() == ["method", "persona", "feature", "random (variance)"]
    persona = table.loc["persona"]
    assert persona[["least_edit", "most_edit", "rank", "n"]].tolist() == ["sam", "mary", 1, 2]
    assert persona[["least", "most", "mean"]].tolist() == [-0.75, 0.25, -0.25]
    feature = table.loc["feature"]
    assert feature[["most_edit", "difference", "rank"]].tolist() == ["feature 7", -0.125, 2]


def test_runs_are_kept_apart_and_nothing_undefined_is_compared() -> None:
    two = pd.concat([planted(), planted(seed=1, more=0.25)], ignore_index=True)
    table = rivals(two, edit="john").set_index(["seed", "group"])
    assert table["own"].groupby("seed").first().tolist() == [0.5, 0.75]
    assert table.loc[(1, "feature"), "difference"] == 0.125
    two.loc[(two["seed"] == 1) & (two["edit"] == "john"), "share"] = np.nan
    assert set(rivals(two, edit="john")["seed"]) == {0}
    assert rivals(two.assign(share=np.nan), edit="john").empty
    for wrong in ({"edit": "jon"}, {"edit": "john", "measure": "shre"}):
        with pytest.raises(SchemaError, match="did you mean"):
            rivals(two, **wrong)


@pytest.mark.parametrize(
    ("differences", "word"),
    [
        ([0.5], Standing.DESCRIBED),
        ([0.5, 0.6, 0.7], Standing.MORE),
        ([-0.5, -0.6, -0.7], Standing.LESS),
        ([0.5, -0.1, 0.7], Standing.UNDECIDED),
        ([0.5, np.nan, 0.7], Standing.UNKNOWN),
    ],
)
def test_a_standing_hangs_on_the_interval_over_seeds(
    differences: list[float], word: Standing
) -> None:
    table = pd.DataFrame({"group": "g", "seed": range(len(differences)), "d": differences})
    row = standings(table, value="d", by="group").iloc[0]
    assert row["standing"] == word and row["n_seeds"] == len(differences)


def test_seeds_that_differ_by_chance_are_seldom_told_apart() -> None:
    rng = np.random.default_rng(0)
    draws = pd.DataFrame({"d": rng.standard_t(5, size=3_000), "seed": list(range(3)) * 1_000})
    words = standings(draws.assign(group=draws.index // 3), value="d", by="group")["standing"]
    assert 0.03 < (words != Standing.UNDECIDED).mean() < 0.07


def test_an_edit_like_its_twenty_rivals_is_seldom_said_to_take_less() -> None:
    """The largest of 20 is above any one of them: in 8 of 10 cases, if it is chosen by itself."""
    rng = np.random.default_rng(1)
    edits = ["own", *(f"rival {i}" for i in range(20))]
    words: list[str] = []
    for _ in range(60):
        shares = 0.5 + 0.1 * rng.standard_normal((5, 21))
        causes = pd.DataFrame(shares, columns=edits).rename_axis("seed").reset_index()
        causes = causes.melt("seed", var_name="edit", value_name="share")
        causes["group"] = np.where(causes["edit"] == "own", "method", "persona")
        table = rivals(causes, edit="own")
        row = standings(table, value="difference", held_out="held_out", by="group").iloc[0]
        words.append(row["standing"])
    assert words.count(Standing.LESS) <= 6 and words.count(Standing.MORE) == 0


def test_a_rival_that_takes_more_in_every_seed_is_named() -> None:
    runs = pd.concat([planted(seed, more=0.01 * seed) for seed in range(3)], ignore_index=True)
    table = rivals(runs, edit="john").set_index(["seed", "group"])
    assert table.loc[(1, "persona"), "held_out"] == pytest.approx(0.51 - 0.25)
    assert table.loc[(2, "feature"), "held_out"] == pytest.approx(0.52 - 0.625)
    beside = standings(
        table.reset_index(), value="difference", held_out="held_out", by="group"
    ).set_index("group")["standing"]
    assert beside["feature"] == Standing.LESS and beside["persona"] == Standing.MORE
    runs.loc[runs["edit"] == "mary", "share"] = np.inf
    assert set(rivals(runs, edit="john").query("group == 'persona'")["most_edit"]) == {"sam"}
