"""Roles by hand: a planted feature rises after the lesson, others after every lesson."""

import numpy as np
import pandas as pd
import pytest

from persona_interp import analysis, schema
from persona_interp.analysis import role_contrast, roles
from persona_interp.errors import SchemaError

CONTROLS = ["filler", "unrelated", "second"]
BEST = pd.DataFrame({"name": ["john", "mary", "sam"], "feature": [0, 1, 9]})
"""Feature 0 is moved by the lesson alone, 1 by every lesson, 9 never fires."""


@pytest.fixture(scope="module")
def effects() -> pd.DataFrame:
    rng, rows = np.random.default_rng(0), []
    moves = {"base": (0, 0), "lesson": (3, 2), "filler": (0, 1), "unrelated": (0.5, 2)}
    for checkpoint, (own, common) in {**moves, "second": (-0.5, 3)}.items():
        for unit in range(30):
            noise = rng.normal(0, 0.1, 4)
            values = np.array([1 + own, 2 + common, 5, 4]) + noise
            rows += [(checkpoint, f"p{unit}", str(j), x) for j, x in enumerate(values)]
    table = pd.DataFrame(rows, columns=["checkpoint", "unit", "quantity", "value"])
    table = table.assign(family="feature", hook="h")
    return analysis.effects(table, base="base", tuned=["lesson"], controls=CONTROLS)


def test_the_best_feature_stands_beside_every_control(effects: pd.DataFrame) -> None:
    table = schema.check(roles(effects, BEST), "roles").set_index("name")
    john, mary, sam = (table.loc[name] for name in BEST["name"])
    assert john["estimate"] == pytest.approx(3, abs=0.1) and john["rank"] == 1
    assert john["excess"] == pytest.approx(3, abs=0.1)
    assert john["excess_lo"] < john["excess"] < john["excess_hi"]
    assert john[["least_control", "most_control"]].tolist() == ["second", "unrelated"]
    assert mary["estimate"] == pytest.approx(2, abs=0.1), "it rises, but so it does anyway"
    assert mary["excess"] == pytest.approx(0, abs=0.1) and mary["most_control"] == "second"
    assert sam["estimate"] == sam["excess"] == 0 and sam["n_controls"] == 3
    assert set(table["n_tested"]) == {4}


def test_one_control_gives_a_difference_and_none_gives_nothing(effects: pd.DataFrame) -> None:
    is_tuned, is_filler = effects["role"] == "tuned", effects["checkpoint"] == "filler"
    one = roles(effects.loc[is_tuned | is_filler], BEST).set_index("name").loc["mary"]
    assert one["excess"] == pytest.approx(1, abs=0.1) and one["n_controls"] == 1
    alone = roles(effects.loc[is_tuned], BEST).set_index("name").loc["john"]
    assert np.isnan(alone["excess"]) and alone["estimate"] == pytest.approx(3, abs=0.1)
    with pytest.raises(SchemaError, match="roles are of one lesson"):
        roles(effects.assign(role="tuned"), BEST)


def test_one_persona_beside_the_others(effects: pd.DataFrame) -> None:
    table = roles(effects, BEST)
    both = pd.concat([table.assign(seed=0), table.assign(seed=1, excess=-table["excess"])])
    runs = role_contrast(both, persona="john").set_index("seed")
    excess = table.set_index("name")["excess"]
    others = excess[["mary", "sam"]]
    assert runs.loc[0, "minus_most"] == pytest.approx(excess["john"] - others.max())
    assert runs.loc[0, "minus_mean"] == pytest.approx(excess["john"] - others.mean())
    assert runs.loc[1, "own"] == pytest.approx(-excess["john"])
    assert role_contrast(both.query("name == 'john'"), persona="john").empty
