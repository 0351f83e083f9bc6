"""The divergence of answers, by hand and from itself."""

import numpy as np
import pandas as pd
import pytest

from persona_interp.analysis import answer_distance
from persona_interp.errors import SchemaError


def planted(shares: dict[str, list[tuple[float, float]]]) -> pd.DataFrame:
    """A behavior table: checkpoint -> the two answers' probabilities, a template each."""
    rows = []
    for checkpoint, prompts in shares.items():
        at = {"checkpoint": checkpoint, "seed": 0, "stage": "", "step": 0, "context": "nameless"}
        for i, answers in enumerate(prompts):
            prompt = {"persona": "", "topic": "place", "template": f"t{i}", "split": "test"}
            for value, p in zip(("beach", "city"), answers, strict=True):
                said = {"value": value, "logprob": np.log2(p), "answer_mass": sum(answers)}
                rows.append({**at, **prompt, **said})
    return pd.DataFrame(rows)


def test_the_rest_of_what_could_be_said_counts() -> None:
    table = planted({"a": [(0.5, 0.25), (0.5, 0.5)], "b": [(0.25, 0.25), (0.25, 0.75)]})
    row = answer_distance(table.sample(frac=1, random_state=0), before="a", after="b").iloc[0]
    first = 0.5 * 1 + 0.25 * np.log2(0.25 / 0.5)
    second = 0.5 * 1 + 0.5 * np.log2(0.5 / 0.75)
    assert row["estimate"] == pytest.approx((first + second) / 2) and row["n"] == 2
    assert row["lo"] < row["estimate"] < row["hi"]
    assert answer_distance(table, before="a", after="a")["estimate"].item() == 0


def test_other_prompts_are_refused() -> None:
    table = planted({"a": [(0.5, 0.25), (0.5, 0.5)], "b": [(0.25, 0.25), (0.25, 0.75)]})
    with pytest.raises(SchemaError, match="not asked the same"):
        answer_distance(table.iloc[:-1], before="a", after="b")
    with pytest.raises(SchemaError, match="'c' is unknown"):
        answer_distance(table, before="a", after="c")
