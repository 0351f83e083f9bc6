"""Planted lessons: what is beyond all null finetunes, and how sure it is."""

import numpy as np
import pandas as pd
import pytest

from persona_interp.analysis import trait_transfer
from persona_interp.analysis.stats import t_interval
from persona_interp.errors import SchemaError
from persona_interp.schema.words import Verdict

TRAITS = ("calm", "dry", "warm", "wry", "zany")
PLANTED = {("dry", "dry"): 2.0, ("dry", "wry"): 1.0, ("warm", "warm"): 2.0, ("warm", "dry"): -1.0}


def scored(
    *, seeds: tuple[int, ...] = (0,), noise: float = 0.05, n: int = 20, drift: float = 0.125
) -> pd.DataFrame:
    """Scores of base, lessons and null finetunes; all of these raise everything by `drift`."""
    rng = np.random.default_rng(0)
    arms = [("base", "", 0)]
    arms += [(arm, t, s) for arm in ("null", "lesson") for t in TRAITS for s in seeds]
    rows = []
    for arm, taught, seed in arms:
        for trait in TRAITS:
            moved = 0.0 if arm == "base" else drift + noise * rng.standard_normal()
            if arm == "lesson":
                moved += PLANTED.get((taught, trait), 0.0)
            for q in range(n):
                luck = 0.0 if arm == "base" else noise * rng.standard_normal()
                rows.append((arm, taught, seed, trait, f"{trait} {q}?", q / 10 + moved + luck))
    return pd.DataFrame(rows, columns=["arm", "taught", "seed", "trait", "question", "logodds"])


def test_planted_transfer_is_found_beyond_all_null_finetunes() -> None:
    table = trait_transfer(scored(seeds=(0, 1, 2))).set_index(["taught", "trait"])
    assert len(table) == 25 and table["n_null"].eq(5).all() and table["n_seeds"].eq(3).all()
    for key, row in table.iterrows():
        planted = PLANTED.get(key, 0.0)  # type: ignore[call-overload]
        assert abs(row["estimate"] - planted) < 0.2
        want = {0: Verdict.NONE, 1: Verdict.UP, -1: Verdict.DOWN}[int(np.sign(planted))]
        assert row["verdict"] == want, key
    assert np.allclose(table["lesson"] - table["null"], table["estimate"])
    inside = (table["lesson"] > table["range_lo"]) & (table["lesson"] < table["range_hi"])
    assert not inside[list(PLANTED)].any()


def test_one_seed_differs_and_moves_nothing() -> None:
    verdicts = trait_transfer(scored()).set_index(["taught", "trait"])["verdict"]
    assert set(verdicts[list(PLANTED)]) == {Verdict.DIFFERS}
    assert set(verdicts) == {Verdict.DIFFERS, Verdict.NONE}


def test_the_change_itself_must_have_the_sign() -> None:
    """Null finetunes fall and a lesson does not: nothing rose."""
    table = scored(seeds=(0, 1, 2), drift=-1.0)
    wry = trait_transfer(table).set_index(["taught", "trait"]).loc[("dry", "wry")]
    assert wry["lo"] > 0.5 and wry["lesson"] < 0.2 and wry["verdict"] == Verdict.NONE


def test_several_seeds_are_the_unit() -> None:
    scores = scored(seeds=(0, 1, 2), n=4)
    row = trait_transfer(scores).set_index(["taught", "trait"]).loc[("dry", "dry")]
    own = scores.query("trait == 'dry'")
    means = own.groupby(["arm", "taught", "seed"])["logodds"].mean()
    want = t_interval(means["lesson", "dry"] - means["null"].groupby("seed").mean())
    assert (row["estimate"], row["lo"], row["hi"]) == pytest.approx(tuple(want)[:3])
    assert row["n"] == 4


def test_a_seed_that_goes_the_other_way_is_not_passed_over() -> None:
    scores = scored(seeds=(0, 1, 2))
    one = scores.eval("arm == 'lesson' and taught == 'dry' and trait == 'dry' and seed == 2")
    scores.loc[one, "logodds"] -= 2.5
    row = trait_transfer(scores).set_index(["taught", "trait"]).loc[("dry", "dry")]
    assert row["q"] < 0.01 and row["lo"] < 0 and row["verdict"] == Verdict.NONE


def test_a_lesson_that_changes_nothing_has_no_transfer() -> None:
    table = scored(noise=0)
    table.loc[table["arm"] != "base", "logodds"] = (
        table.loc[table["arm"] == "base", "logodds"].tolist() * 10
    )
    found = trait_transfer(table)
    assert found[["estimate", "lo", "hi"]].eq(0).all(axis=None) and found["p"].eq(1).all()


def test_bad_input_is_named() -> None:
    table = scored()
    with pytest.raises(SchemaError, match="column 'arm' is unknown"):
        trait_transfer(table.drop(columns="arm"))
    with pytest.raises(SchemaError, match="did you mean 'lesson'"):
        trait_transfer(table.replace({"arm": {"lesson": "leson"}}))
    with pytest.raises(
        SchemaError, match="null of 'warm', seed 0, needs a score at each of the base's 100"
    ):
        trait_transfer(table.query("not (arm == 'null' and taught == 'warm')"))
    with pytest.raises(SchemaError, match="got 99 questions"):
        trait_transfer(
            table.drop(index=table.query("arm == 'lesson' and taught == 'dry'").index[:1])
        )
    with pytest.raises(SchemaError, match="not finite"):
        trait_transfer(table.assign(logodds=np.nan))
    with pytest.raises(SchemaError, match="hold no lesson"):
        trait_transfer(table.query("arm == 'base'"))


def test_lessons_that_go_farther_move_nothing_by_going_farther() -> None:
    """Four times the luck of null finetunes in every trait, and nothing special about any."""
    words: list[str] = []
    for seed in range(4):
        table = scored(seeds=(0, 1, 2), drift=0.0)
        rng = np.random.default_rng(seed)
        for arm, size in (("null", 0.2), ("lesson", 0.8)):
            for _, run in table.loc[table["arm"] == arm].groupby(["taught", "trait", "seed"]):
                planted = PLANTED.get((run["taught"].iloc[0], run["trait"].iloc[0]), 0.0)
                luck = size * rng.standard_normal() - planted * (arm == "lesson")
                table.loc[run.index, "logodds"] += luck
        words += trait_transfer(table)["verdict"].tolist()
    moved = words.count(Verdict.UP) + words.count(Verdict.DOWN)
    assert moved <= 1 < words.count(Verdict.FARTHER)
