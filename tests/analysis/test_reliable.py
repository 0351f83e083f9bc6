import numpy as np
import pandas as pd
import pytest

from persona_interp.analysis import predict_curves, reliable_dose
from persona_interp.analysis.reliable import fit_curves, reliable_level
from persona_interp.errors import SchemaError

LIMITS = {"floor": 0.0125, "ceiling": 0.9125}
DOSES = np.arange(-6.0, 7.0, 2.0)
ODDS = np.log2((0.73 - 0.0125) / (0.9125 - 0.73))
"""At which the probability is 80 % of the ceiling."""


def curve(dose: np.ndarray, intercept: float, slope: float) -> np.ndarray:
    return 0.0125 + 0.9 / (1 + 2.0 ** -(intercept + slope * dose))


def planted(
    fits: list[tuple[float, float]], *, sd: float = 0.0, rng: np.random.Generator | None = None
) -> pd.DataFrame:
    """One seed for each (intercept, slope); points scatter on the scale of log2 odds."""
    parts = []
    for seed, (a, b) in enumerate(fits):
        noise = rng.normal(0, sd, len(DOSES)) if rng is not None else 0.0
        parts.append(
            pd.DataFrame({"seed": seed, "dose": DOSES, "p_first": curve(DOSES, a + noise, b)})
        )
    return pd.concat(parts, ignore_index=True)


def test_exact_curves_are_recovered() -> None:
    fits = [(0.5, 1.0), (-1.0, 0.7), (0.0, 2.0)]
    found = fit_curves(planted(fits), **LIMITS)
    assert found[["intercept", "slope"]].to_numpy() == pytest.approx(np.array(fits), abs=1e-4)
    assert found["rss"].max() < 1e-10 and found["n"].tolist() == [7, 7, 7]


def test_exact_bayes_needs_four_times_as_much() -> None:
    row = reliable_dose(planted([(0.0, 1.0)]), **LIMITS).iloc[0]
    assert row["level"] == pytest.approx(0.73) and row["estimate"] == pytest.approx(ODDS, abs=1e-4)
    assert 2 ** row["estimate"] == pytest.approx(3.93, abs=0.01) and row["where"] == "within"
    level, contrast = reliable_level(**LIMITS)
    assert level == pytest.approx(0.73) and contrast == pytest.approx(
        np.log2(0.73 / (0.925 - 0.73))
    )


@pytest.mark.parametrize(("intercept", "where"), [(-9.0, "above"), (9.0, "below"), (0.0, "within")])
def test_beyond_the_doses_measured_it_says_so(intercept: float, where: str) -> None:
    row = reliable_dose(planted([(intercept, 1.0)]), **LIMITS).iloc[0]
    assert row["where"] == where and row["most"] == 6.0


def test_a_falling_curve_never_gets_there() -> None:
    assert reliable_dose(planted([(3.0, -1.0)]), **LIMITS)["where"].item() == "above"


def test_seeds_make_the_interval() -> None:
    fits = [(0.2, 1.0), (-0.2, 1.1), (0.1, 0.9)]
    row = reliable_dose(planted(fits), **LIMITS).iloc[0]
    a, b = np.array(fits).T
    assert row["estimate"] == pytest.approx((ODDS - a.mean()) / b.mean(), abs=1e-3)
    assert row["lo"] < row["estimate"] < row["hi"] and row["bounded"] and row["n_seeds"] == 3


def test_predictions_hold_new_seeds() -> None:
    rng, held = np.random.default_rng(0), []

    def draw(n: int) -> list[tuple[float, float]]:
        return [(0.1 + rng.normal(0, 0.4), 1.0 + rng.normal(0, 0.15)) for _ in range(n)]

    for _ in range(40):
        row = predict_curves(planted(draw(4), sd=0.3, rng=rng), [2.0], n_new=3, **LIMITS).iloc[0]
        new = planted(draw(3), sd=0.3, rng=rng).query("dose == 2")["p_first"].mean()
        held.append(row["predicted_lo"] <= new <= row["predicted_hi"])
    assert np.mean(held) >= 0.88


def test_a_prediction_is_wider_than_the_curve_and_single_seeds_have_none() -> None:
    table = planted([(0.2, 1.0), (-0.2, 1.1), (0.1, 0.9)])
    found = predict_curves(table, DOSES, n_new=3, **LIMITS)
    assert (found["predicted_lo"] <= found["lo"]).all() and (
        found["predicted_hi"] >= found["hi"]
    ).all()
    assert found[["predicted_lo", "predicted_hi"]].stack().between(0, 1).all()
    assert found["estimate"].to_numpy() == pytest.approx(curve(DOSES, 0.1 / 3, 1.0), abs=1e-3)
    single = predict_curves(planted([(0.0, 1.0)]), [0.0], **LIMITS)
    assert single[["lo", "hi", "predicted_lo", "predicted_hi"]].isna().all(axis=None)


def test_groups_are_kept_apart() -> None:
    table = pd.concat([planted([(a, 1.0)]).assign(arm=str(a)) for a in (0.0, 1.0)])
    found = reliable_dose(table, by=["arm"], **LIMITS)
    assert found["arm"].tolist() == ["0.0", "1.0"]
    assert found["estimate"].tolist() == pytest.approx([ODDS, ODDS - 1], abs=1e-4)
    assert predict_curves(table, [0.0], by=["arm"], **LIMITS)["arm"].tolist() == ["0.0", "1.0"]


def test_bad_tables_are_named() -> None:
    table = planted([(0.0, 1.0)])
    with pytest.raises(SchemaError, match="three doses; seed 0 has 2"):
        reliable_dose(table.head(2), **LIMITS)
    with pytest.raises(SchemaError, match="floor < ceiling"):
        fit_curves(table, floor=0.9, ceiling=0.1)
    with pytest.raises(SchemaError, match="not between the floor"):
        reliable_dose(table, floor=0.5, ceiling=0.6)
    with pytest.raises(SchemaError, match="n_new=0"):
        predict_curves(table, [0.0], n_new=0, **LIMITS)
    with pytest.raises(SchemaError, match="did you mean 'dose'"):
        fit_curves(table, x="doze", **LIMITS)
