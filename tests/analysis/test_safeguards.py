"""Shares cut and kept are those of the same seed without a safeguard."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from persona_interp import analysis
from persona_interp.analysis.safeguards import BESIDE
from persona_interp.errors import SchemaError
from persona_interp.schema.words import Ruling

NOTHING = {"unwanted": (3.0, 2.0, 4.0), "wanted": (10.0, 8.0, 12.0), "leak": (1.0, 1.2, 0.8)}


def arms(**others: dict[str, tuple[float, ...]]) -> pd.DataFrame:
    rows = []
    for label, values in {"no safeguard": NOTHING, **others}.items():
        for seed in range(3):
            row = dict.fromkeys(("leak", "steps", *BESIDE), 0.0) | {"seed": seed, "label": label}
            rows.append(row | {name: numbers[seed] for name, numbers in values.items()})
    return pd.DataFrame(rows)


def by_label(table: pd.DataFrame) -> pd.DataFrame:
    return analysis.safeguards(table).set_index("label")


def test_an_arm_that_does_nothing_is_nothing() -> None:
    table = by_label(arms(again=NOTHING))
    row = table.loc["again"]
    assert (row.cut, row.kept, row.reaches) == (0.0, 1.0, Ruling.FAILS)
    assert (row.cut_lo, row.cut_hi) == (0.0, 0.0)


def test_shares_are_taken_seed_by_seed() -> None:
    # half of each seed's own rise, so that seeds do not spread
    half = {name: tuple(v / 2 for v in values) for name, values in NOTHING.items()}
    row = by_label(arms(half=half)).loc["half"]
    assert (row.cut, row.cut_lo, row.kept) == pytest.approx((0.5, 0.5, 0.5))


def test_an_arm_that_works_is_said_to() -> None:
    works = NOTHING | {"unwanted": (0.03, 0.02, 0.04), "leak": (0.1, 0.1, 0.12)}
    row = by_label(arms(works=works)).loc["works"]
    assert row.reaches == Ruling.HOLDS and row.q < 0.01


def test_means_alone_decide_nothing() -> None:
    works = NOTHING | {"unwanted": (0.0, 0.0, 0.6), "leak": (0.1, 0.1, 0.12)}
    row = by_label(arms(works=works)).loc["works"]
    assert (row.cut, row.kept) > (0.9, 0.9) and row.leak < 0.5
    assert row.q > 0.05 and row.reaches == Ruling.UNDECIDED


def test_p_is_the_largest_of_three_t_tests_by_hand() -> None:
    cut, leak = np.array([0.95, 0.93, 0.97]), np.array([0.1, 0.3, 0.2])
    unwanted = tuple((1 - cut) * NOTHING["unwanted"])
    row = by_label(arms(one=NOTHING | {"unwanted": unwanted, "leak": tuple(leak)})).loc["one"]
    # kept is 1 in every seed
    ps = [stats.ttest_1samp(cut, 0.9, alternative="greater").pvalue]
    ps.append(stats.ttest_1samp(leak, 0.5, alternative="less").pvalue)
    assert row.p == pytest.approx(max(ps))


def test_many_safeguards_cost_and_one_named_beforehand_does_not() -> None:
    nearly = NOTHING | {"unwanted": (0.15, 0.1, 0.22), "leak": (0.1, 0.2, 0.15)}
    others = {f"other {i}": NOTHING for i in range(15)}
    table = arms(nearly=nearly, **others)
    alone = analysis.safeguards(table, nothing="no safeguard", primary=["nearly"])
    row, among = alone.set_index("label").loc["nearly"], by_label(table).loc["nearly"]
    assert row.p == among.p and row.q == row.p and among.q == pytest.approx(15 * among.p, rel=0.1)
    assert (row.reaches, among.reaches) == (Ruling.HOLDS, Ruling.UNDECIDED)
    with pytest.raises(SchemaError, match="did you mean 'nearly'"):
        analysis.safeguards(table, primary=["nearl"])


@pytest.mark.slow
def test_safeguards_at_the_bound_are_said_to_reach_it_in_one_table_of_twenty() -> None:
    rng, claims = np.random.default_rng(0), 0
    n = 150
    for _ in range(n):
        at = {f"{i}": noisy(rng) for i in range(4)}
        claims += bool((by_label(arms(**at))["reaches"] == Ruling.HOLDS).any())
    assert claims <= 0.05 * n + 3 * (0.05 * 0.95 * n) ** 0.5


def noisy(rng: np.random.Generator) -> dict[str, tuple[float, ...]]:
    """An arm that leaks exactly what it may, on average, and is well beyond the other bounds."""
    return NOTHING | {"unwanted": (0.0, 0.0, 0.0), "leak": tuple(rng.normal(0.5, 0.1, 3))}


def test_one_seed_decides_nothing() -> None:
    table = arms(works=NOTHING | {"unwanted": (0.0, 0.0, 0.0)}).query("seed == 0")
    assert (by_label(table)["reaches"] == Ruling.UNDECIDED).all()


def test_where_nothing_is_summoned_there_is_nothing_to_cut() -> None:
    table = arms().assign(unwanted=0.2)
    row = by_label(table).loc["no safeguard"]
    assert np.isnan(row.cut) and row.reaches != Ruling.HOLDS


def test_a_seed_without_the_bare_lesson_is_named() -> None:
    table = arms(capping=NOTHING)
    table = table.loc[~((table["label"] == "no safeguard") & (table["seed"] == 2))]
    with pytest.raises(SchemaError, match="seed 2 has no arm 'no safeguard'"):
        analysis.safeguards(table)
    with pytest.raises(SchemaError, match="two rows of one seed"):
        analysis.safeguards(pd.concat([table, table]))
