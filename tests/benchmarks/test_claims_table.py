"""A table of claims holds what the lines say, and a second run replaces only its own rows."""

from pathlib import Path

import pandas as pd
import pytest

from claim import Claim
from claims_table import store, table
from persona_interp.schema.words import Ruling
from trial import Trial


def trial(tmp_path: Path, *seeds: int) -> Trial:
    return Trial(list(seeds), None, tmp_path)


def test_a_row_says_what_the_line_says(tmp_path: Path) -> None:
    claims = {"planted": [Claim("right", (1.0, 1.1, 0.9), above=0), Claim("none", (), above=0)]}
    right, none = table(claims, trial(tmp_path, 4, 5)).to_dict("records")
    assert right["ruling"] == Ruling.HOLDS and right["seeds"] == "4 5"
    assert right["estimate"] == pytest.approx(1.0) and right["values"] == "1 1.1 0.9"
    assert 0.7 < right["lo"] < 0.9 and right["threshold"] == "> 0"
    assert none["n"] == 0 and none["ruling"] == Ruling.UNDECIDED


def test_rows_of_other_groups_and_seeds_stay(tmp_path: Path) -> None:
    path = tmp_path / "claims.csv"
    one, other = Claim("one", (1.0, 2.0), above=0), Claim("other", (3.0, 4.0), above=0)
    for seed, claims in ((1, {"a": [one]}), (2, {"a": [one]}), (2, {"b": [other]})):
        store(table(claims, trial(tmp_path, seed)), path)
    store(table({"a": [other]}, trial(tmp_path, 2)), path)
    rows = pd.read_csv(path, dtype=str)[["group", "seeds", "claim"]]
    assert sorted(map(tuple, rows.to_numpy())) == [
        ("a", "1", "one"),
        ("a", "2", "other"),
        ("b", "2", "other"),
    ]
