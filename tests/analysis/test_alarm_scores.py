"""Alarms of planted forecasts: perfect, useless, shy and loud."""

import numpy as np
import pandas as pd
import pytest

from persona_interp import analysis
from persona_interp.errors import SchemaError


def planted() -> pd.DataFrame:
    rng = np.random.default_rng(0)
    actual = rng.normal(size=400)
    forecasts = {
        "perfect": actual,
        "down": -actual,
        "chance": rng.normal(size=400),
        "shy": 0.5 * actual,
        "loud": 2.0 * actual,
    }
    tables = [
        pd.DataFrame({"predictor": name, "estimate": estimate, "actual": actual})
        for name, estimate in forecasts.items()
    ]
    base = np.tile(np.repeat(np.arange(8), 50), len(forecasts))
    return pd.concat(tables, ignore_index=True).assign(base=base, bound=1.0)


def test_planted_forecasts() -> None:
    table = analysis.alarm_scores(planted())
    wide = table.pivot(index="predictor", columns="score", values="estimate")
    for name in ("perfect", "down"):  # up or down is the same alarm
        assert wide.loc[name].to_dict() == {"auroc": 1.0, "false_alarms": 0.0, "misses": 0.0}
    assert 0.4 < wide.loc["chance", "auroc"] < 0.6
    assert wide.loc["shy", "auroc"] == wide.loc["loud", "auroc"] == 1.0
    assert wide.loc["shy", "misses"] > 0.5 and wide.loc["shy", "false_alarms"] == 0
    assert wide.loc["loud", "false_alarms"] > 0.2 and wide.loc["loud", "misses"] == 0
    assert (table["n"] == 8).all()
    rounding = 1e-9
    inside = (table["lo"] - rounding <= table["estimate"]) & (
        table["estimate"] <= table["hi"] + rounding
    )
    assert inside.all()


def test_bounds_are_each_bases_own() -> None:
    rows = planted().query("predictor == 'perfect'")
    large = rows.assign(
        bound=1.0 + rows["base"],
        estimate=rows["estimate"] * (1 + rows["base"]),
        actual=rows["actual"] * (1 + rows["base"]),
    )
    pd.testing.assert_frame_equal(analysis.alarm_scores(large), analysis.alarm_scores(rows))


def test_first_mistakes() -> None:
    rows = planted()
    with pytest.raises(SchemaError, match="above 0 bits"):
        analysis.alarm_scores(rows.assign(bound=0.0))
    with pytest.raises(SchemaError, match="end beyond the bound and others"):
        analysis.alarm_scores(rows.assign(actual=0.0))
    with pytest.raises(SchemaError):
        analysis.alarm_scores(rows.drop(columns="bound"))
