import numpy as np
import pandas as pd
import pytest

from persona_interp.analysis import saturation
from persona_interp.analysis.saturation import prior_interaction
from persona_interp.errors import SchemaError

STEPS = np.array([0, 1, 2, 4, 8, 16, 32, 64])


def curve(bits: np.ndarray, **extra: object) -> pd.DataFrame:
    others = dict.fromkeys(
        ("weight", "misfit", "effect", "p_taught", "documents", "statements", "fact_tokens"), 0.0
    )
    table = pd.DataFrame({"step": STEPS[: len(bits)], "persona_bits": bits})
    return table.assign(checkpoint=table["step"].astype(str), **{"seed": 0, **others, **extra})


@pytest.mark.parametrize("alpha", [-0.5, 0.0, 0.4, 0.8])
def test_planted_powers_are_recovered(alpha: float) -> None:
    (row,) = saturation(curve(-4 + 0.7 * STEPS ** (1 - alpha))).to_dict("records")
    assert (row["alpha"], row["b"], row["c"]) == pytest.approx((alpha, -4, 0.7), abs=1e-3)
    assert row["r2"] == pytest.approx(1) and not row["at_bound"] and row["n"] == 8


def test_a_step_function_is_no_power() -> None:
    assert saturation(curve(np.where(STEPS > 0, 0.0, -4.0)))["at_bound"].item()


def test_only_steps_asked_for_are_fitted() -> None:
    bits = np.where(STEPS <= 8, 0.5 * STEPS, 4.0)
    assert saturation(curve(bits), until=8)["alpha"].item() == pytest.approx(0, abs=1e-3)
    assert saturation(curve(bits))["alpha"].item() > 0.3
    with pytest.raises(SchemaError, match="at least four steps; got 3"):
        saturation(curve(bits), until=2)


@pytest.mark.parametrize("slope", [0.0, -0.6])
def test_planted_interactions_are_recovered(slope: float) -> None:
    runs = [
        curve(prior + STEPS * (0.5 + slope * (prior + 4)), prior_bits=prior, seed=seed)
        for seed in (0, 1)
        for prior in (-6.0, -4.0, -2.0)
    ]
    table = prior_interaction(pd.concat(runs)).set_index(["seed", "step"])
    assert len(table) == 14 and set(table["n"]) == {3}
    assert table.loc[(0, 1), "estimate"] == pytest.approx(slope) and table.loc[
        (1, 4), "estimate"
    ] == pytest.approx(4 * slope)


def test_bad_input_is_named() -> None:
    with pytest.raises(SchemaError, match="column 'prior_bits'"):
        prior_interaction(curve(STEPS))
    with pytest.raises(SchemaError, match="at least two priors"):
        prior_interaction(curve(STEPS, prior_bits=-4.0))
    late = curve(STEPS, prior_bits=-4.0)
    with pytest.raises(SchemaError, match="step 0"):
        prior_interaction(late[late["step"] > 0])
