import numpy as np
import pandas as pd
import pytest

from persona_interp.analysis import projection_shift
from persona_interp.errors import SchemaError


def table(shift: float, *, names: list[str], n: int = 30, seed: int = 0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    rows = []
    for name in names:
        start = rng.standard_normal(n)
        for checkpoint, value in (
            ("base@0", start),
            ("tuned@8", start + shift + 0.1 * rng.standard_normal(n)),
        ):
            where = {
                "checkpoint": checkpoint,
                "prompt": [f"p{i}" for i in range(n)],
                "name": name,
                "hook": "h",
            }
            rows.append(pd.DataFrame({**where, "projection": value, "n_tokens": 5}))
    return pd.concat(rows, ignore_index=True)


def test_a_planted_shift_is_found_beside_its_null() -> None:
    random = table(0.0, names=[f"random {i}" for i in range(50)], seed=1)
    (row,) = projection_shift(
        table(2.0, names=["wry"]), before="base@0", after="tuned@8", random=random
    ).itertuples()
    assert row.lo < 2 < row.hi and row.hi - row.lo < 0.2 and row.n == row.n_clusters == 30
    assert row.null_lo < 0 < row.null_hi and row.null_hi < 0.1 and row.n_random == 50


def test_a_checkpoint_against_itself_and_clusters() -> None:
    rows = table(1.0, names=["wry"])
    (row,) = projection_shift(rows, before="base@0", after="base@0").itertuples()
    assert row.estimate == row.lo == row.hi == 0 and np.isnan(row.null_lo)
    clusters = {f"p{i}": f"q{i // 3}" for i in range(30)}
    (row,) = projection_shift(
        rows, before="base@0", after="tuned@8", clusters=clusters
    ).itertuples()
    assert row.n == 30 and row.n_clusters == 10


def test_order_of_rows_does_not_matter() -> None:
    rows = table(1.0, names=["wry", "dry"])
    mixed = rows.sample(frac=1, random_state=0)
    one, two = (
        projection_shift(t, before="base@0", after="tuned@8").set_index("name")["estimate"]
        for t in (rows, mixed)
    )
    pd.testing.assert_series_equal(one.sort_index(), two.sort_index())


def test_bad_tables_are_named() -> None:
    rows = table(1.0, names=["wry"])
    with pytest.raises(SchemaError, match="checkpoint 'tuned' is unknown; did you mean 'tuned@8'"):
        projection_shift(rows, before="base@0", after="tuned")
    with pytest.raises(SchemaError, match="different conversations"):
        projection_shift(rows.iloc[1:], before="base@0", after="tuned@8")
    with pytest.raises(SchemaError, match="'p0' has no cluster"):
        projection_shift(rows, before="base@0", after="tuned@8", clusters={"p1": "q"})
