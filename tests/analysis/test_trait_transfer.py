"""Planted lessons: what is over the null finetune, and how sure it is."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from persona_interp.analysis import trait_transfer
from persona_interp.analysis.stats import benjamini_hochberg
from persona_interp.errors import SchemaError

TRAITS = ("dry", "warm", "wry")
PLANTED = {("dry", "dry"): 0.5, ("dry", "wry"): 0.25, ("warm", "warm"): 0.5, ("warm", "dry"): -0.25}


def scored(*, seeds: tuple[int, ...] = (0,), noise: float = 0.05, n: int = 20) -> pd.DataFrame:
    """Scores of base, lessons and null finetunes; the null finetunes raise everything by 0.125."""
    rng = np.random.default_rng(0)
    arms = [
        ("base", "", 0),
        *((arm, t, s) for arm in ("null", "lesson") for t in ("dry", "warm") for s in seeds),
    ]
    rows = []
    for arm, taught, seed in arms:
        for trait in TRAITS:
            moved = {
                "base": 0.0,
                "null": 0.125,
                "lesson": 0.125 + PLANTED.get((taught, trait), 0.0),
            }[arm]
            for q in range(n):
                logodds = q / 10 + moved + (noise * rng.standard_normal() if arm == "lesson" else 0)
                rows.append((arm, taught, seed, trait, f"{trait} {q}?", logodds))
    return pd.DataFrame(rows, columns=["arm", "taught", "seed", "trait", "question", "logodds"])


def test_planted_transfer_is_found_over_the_null_finetune() -> None:
    found = trait_transfer(scored()).set_index(["taught", "trait"])
    assert len(found) == 6
    for key, row in found.iterrows():
        planted = PLANTED.get(key, 0.0)  # type: ignore[call-overload]
        assert row["lo"] < planted < row["hi"] and abs(row["estimate"] - planted) < 0.05
        assert (row["q"] < 0.01) == (planted != 0)
    assert (
        found["null"].round(9).eq(0.125).all()
        and found["n"].eq(20).all()
        and found["n_seeds"].eq(1).all()
    )
    assert np.allclose(found["lesson"] - found["null"], found["estimate"])


def test_p_is_that_of_the_t_test_over_questions() -> None:
    table = scored()
    found = trait_transfer(table).query("taught == 'dry' and trait == 'wry'").iloc[0]
    wide = table.query("taught == 'dry' and trait == 'wry'").pivot(
        index="question", columns="arm", values="logodds"
    )
    want = stats.ttest_1samp(wide["lesson"] - wide["null"], 0)
    assert found["p"] == pytest.approx(want.pvalue)
    assert (found["lo"], found["hi"]) == pytest.approx(tuple(want.confidence_interval()))
    every = trait_transfer(table)
    assert np.allclose(every["q"], benjamini_hochberg(every["p"]))


def test_several_seeds_are_the_unit() -> None:
    found = trait_transfer(scored(seeds=(0, 1, 2), n=4)).set_index(["taught", "trait"])
    assert found["n_seeds"].eq(3).all() and found["n"].eq(4).all()
    table = scored(seeds=(0, 1, 2), n=4).query("taught == 'dry' and trait == 'dry'")
    means = table.groupby(["seed", "arm"])["logodds"].mean().unstack()
    want = stats.ttest_1samp(means["lesson"] - means["null"], 0)
    assert found.loc[("dry", "dry"), "p"] == pytest.approx(want.pvalue)


def test_a_lesson_that_changes_nothing_has_no_transfer() -> None:
    table = scored(noise=0)
    table.loc[table["arm"] != "base", "logodds"] = (
        table.loc[table["arm"] == "base", "logodds"].tolist() * 4
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
        SchemaError, match="null of 'warm', seed 0, needs a score at each of the base's 60"
    ):
        trait_transfer(table.query("not (arm == 'null' and taught == 'warm')"))
    with pytest.raises(SchemaError, match="got 59 questions"):
        trait_transfer(
            table.drop(index=table.query("arm == 'lesson' and taught == 'dry'").index[:1])
        )
    with pytest.raises(SchemaError, match="not finite"):
        trait_transfer(table.assign(logodds=np.nan))
    with pytest.raises(SchemaError, match="hold no lesson"):
        trait_transfer(table.query("arm == 'base'"))
