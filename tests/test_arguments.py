"""Doors of the rooms: what they say, and what they leave alone."""

import math
import pickle
from typing import Any

import numpy as np
import pandas as pd
import pytest

from persona_interp import analysis, models, worlds
from persona_interp.arguments import door, permits
from persona_interp.errors import SchemaError, WorldError
from persona_interp.worlds import World

ROOM = "persona_interp.analysis"


def total(table: pd.DataFrame, *, column: str = "x", n_rows: int = 1, scale: float = 1.0) -> float:
    return float(table[column].iloc[:n_rows].sum() * scale / n_rows)


TABLE = pd.DataFrame({"x": [1.0, 2.0]})


def test_a_call_that_is_answered_is_left_alone() -> None:
    assert door(total, ROOM)(TABLE, n_rows=np.int64(2)) == 1.5


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"table": "x.csv"}, "table= is a table, a pandas DataFrame; got 'x.csv'"),
        ({"n_rows": "2"}, "n_rows= is a whole number; got '2'"),
        ({"n_rows": 0}, "n_rows= is a whole number of at least 1; got 0"),
        ({"scale": None}, "scale= is a number; got None"),
        ({"column": "y"}, "column of table= 'y' is unknown"),
    ],
)
def test_the_argument_that_broke_it_is_named(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(SchemaError, match=message) as caught:
        door(total, ROOM)(**{"table": TABLE, **arguments})
    assert caught.value.__cause__ is not None


def test_what_is_no_mistake_of_the_caller_stays_as_it_is() -> None:
    def broken(n: int) -> float:
        return math.sqrt(-n)

    with pytest.raises(ValueError, match=r"math domain|expected a nonnegative") as caught:
        door(broken, ROOM)(3)
    assert not isinstance(caught.value, SchemaError)
    with pytest.raises(TypeError, match="unexpected keyword argument 'm'"):
        door(broken, ROOM)(3, m=1)


def test_errors_are_those_of_the_room() -> None:
    with pytest.raises(WorldError, match="world= is a World; got 'john'"):
        worlds.overlaps("john")  # type: ignore[arg-type]
    with pytest.raises(WorldError, match="seed= is a whole number of at least 0; got -1"):
        worlds.john_and_sam(seed=-1)


def test_functions_behind_doors_are_pickled() -> None:
    for function in (analysis.shift, models.load, worlds.john_and_sam):
        assert pickle.loads(pickle.dumps(function)) is function


@pytest.mark.parametrize(
    ("kind", "good", "bad"),
    [
        (int, np.int64(1), True),
        (float, 1, "1"),
        (tuple[str, ...], ["a"], "a"),
        (tuple[str, str], ("a", "b"), ("a",)),
        (World | None, None, "john"),
        (bool, np.True_, 1),
    ],
)
def test_kinds(kind: Any, good: object, bad: object) -> None:
    assert permits(kind, good) and not permits(kind, bad)
