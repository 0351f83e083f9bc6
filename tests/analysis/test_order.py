import numpy as np
import pandas as pd
import pytest
from scipy import stats

from persona_interp.analysis import recency
from persona_interp.errors import SchemaError

ORDERS = ("first last", "second last", "mixed")


def planted(effect: list[float], **extra: object) -> pd.DataFrame:
    """By seed: effect/2 with the first persona last, -effect/2 with the second last, 0.25 mixed."""
    rows = [
        {"seed": s, "order": order, "estimate": value}
        for s, e in enumerate(effect)
        for order, value in zip(ORDERS, (e / 2, -e / 2, 0.25), strict=True)
    ]
    return pd.DataFrame(rows).assign(**extra)


def test_the_difference_of_the_orders_is_found() -> None:
    effect = [3.0, 4.0, 5.0]
    (row,) = recency(planted(effect)).to_dict("records")
    half = stats.t.ppf(0.975, 2) / np.sqrt(3)
    assert (row["estimate"], row["lo"], row["hi"]) == pytest.approx((4, 4 - half, 4 + half))
    assert row["least"] == 3.0 and row["mixed"] == 0.25 and row["n_seeds"] == 3


def test_exchanging_the_personas_changes_nothing() -> None:
    """With the other persona first, contrasts change sign and the orders change names."""
    table = planted([3.0, 4.0])
    names = {"first last": "second last", "second last": "first last", "mixed": "mixed"}
    other = table.assign(estimate=-table["estimate"], order=table["order"].map(names))
    assert recency(other)["estimate"].item() == recency(table)["estimate"].item()


def test_groups_are_kept_apart_and_mixed_is_optional() -> None:
    table = pd.concat([planted([1.0, 1.0], sft=False), planted([2.0, 2.0], sft=True)])
    found = recency(table[table["order"] != "mixed"], by=["sft"])
    assert found["estimate"].tolist() == [1.0, 2.0] and found["mixed"].isna().all()


def test_one_seed_has_no_interval() -> None:
    assert recency(planted([1.0]))[["lo", "hi"]].isna().all(axis=None)


def test_bad_tables_are_named() -> None:
    table = planted([1.0, 2.0])
    with pytest.raises(SchemaError, match="seed 1 lacks one"):
        recency(table[~((table["seed"] == 1) & (table["order"] == "first last"))])
    with pytest.raises(SchemaError, match="did you mean 'second last'"):
        recency(table.assign(order="secnd last"))
    with pytest.raises(SchemaError, match="column 'lr' is unknown"):
        recency(table, by=["lr"])
