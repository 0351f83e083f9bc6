"""What is taught is left out, and its level before is beside every other trait."""

import pandas as pd
import pytest

from persona_interp.analysis import predictors
from persona_interp.errors import SchemaError
from persona_interp.worlds import Trait


def shifts() -> pd.DataFrame:
    rows = [("a=x", -2.0, 4.0), ("a=y", 1.0, -3.0), ("b=x", 0.5, 1.0), ("c=x", 0.0, 2.0)]
    table = pd.DataFrame(rows, columns=["trait", "before", "estimate"])
    return table.assign(context="nameless", persona="", seed=7, checkpoint="l@8", step=8, n=5)


def test_a_taught_topic_is_left_out() -> None:
    table = predictors(shifts(), Trait("a", "x"), predictor="guess", cost=0.5)
    assert table["trait"].tolist() == ["b=x", "c=x"]
    assert table["taught_before"].tolist() == [-2.0, -2.0]
    assert table["cost"].eq(0.5).all() and table["seed"].eq(7).all()
    assert not {"checkpoint", "step", "n"} & set(table)


def test_of_several_taught_traits_the_level_is_their_mean() -> None:
    table = predictors(shifts(), ["a=x", "b=x"], predictor="guess")
    assert table["trait"].tolist() == ["c=x"] and table["taught_before"].tolist() == [-0.75]


def test_traits_without_topics_are_themselves() -> None:
    rows = shifts().assign(trait=["wry", "warm", "dry", "rude"])
    table = predictors(rows, "wry", predictor="guess")
    assert table["trait"].tolist() == ["warm", "dry", "rude"]


def test_what_is_wrong_is_named() -> None:
    with pytest.raises(SchemaError, match="taught trait 'a=z' is unknown"):
        predictors(shifts(), "a=z", predictor="guess")
    with pytest.raises(SchemaError, match="at least one trait; got none"):
        predictors(shifts(), [], predictor="guess")
    with pytest.raises(SchemaError, match="two of these shifts are of one context"):
        predictors(pd.concat([shifts(), shifts()]), "a=x", predictor="guess")
    named = shifts().assign(context="named", persona="ann").iloc[1:]
    with pytest.raises(SchemaError, match="not asked in context named, persona 'ann'"):
        predictors(pd.concat([shifts(), named]), "a=x", predictor="guess")
