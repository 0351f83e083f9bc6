"""An additive learner read by a bounded reader adds up; one whose belief bends does not."""

import numpy as np
import pandas as pd
import pytest

from persona_interp import schema
from persona_interp.analysis import across_seeds, additive_curve, saturation
from persona_interp.analysis.additive import equal_gains
from persona_interp.analysis.nulls import against_null, departures
from persona_interp.analysis.saturation import prior_interaction
from persona_interp.errors import SchemaError
from persona_interp.schema.words import Departure

STEPS = np.array([0, 1, 2, 4, 8, 16, 32, 64])
RATES = {1e-4: 0.11, 3e-4: 0.3, 1e-3: 0.85}
"""Bits a step of the lesson at three learning rates."""
NAMED = 4.45
"""Bits read under the target's own name, on average over personas."""
START = -3.95


def read(belief: np.ndarray, ceiling: float = NAMED) -> np.ndarray:
    """What a bounded reader reads of a belief: nobody is surer than somebody under his name."""
    weight = 1 / (1 + 2.0**-ceiling) / (1 + 2.0**-belief)
    return np.log2(weight / (1 - weight))


def reader() -> pd.DataFrame:
    """The belief_scale table of that reader."""
    belief = np.arange(-12.0, 16.5, 0.5)
    return pd.DataFrame({"belief": belief, "persona_bits": read(belief)})


def lessons(
    rate: float, *, alpha: float = 0.0, ceiling: float = NAMED, sd: float = 0.03, draw: int = 0
) -> pd.DataFrame:
    """Evidence tables of four seeds: rates and readings vary, the start is what is read there."""
    rng, parts = np.random.default_rng(draw), []
    others = [c for c in schema.TABLES["evidence"] if c not in ("step", "persona_bits", "seed")]
    for seed in range(4):
        own = rate * np.exp(rng.normal(0, 0.1))
        noise = rng.normal(0, sd, len(STEPS)) * (STEPS > 0)
        bits = read(START + own * STEPS ** (1 - alpha), ceiling) + noise
        run = pd.DataFrame({"step": STEPS, "persona_bits": bits, "seed": seed})
        parts.append(run.assign(**dict.fromkeys(others, 0.0)))
    return pd.concat(parts, ignore_index=True)


def latent(curve: pd.DataFrame) -> pd.Series:
    """Alpha of the belief, with its interval over seeds and what it says."""
    learners = additive_curve(curve, reader()).drop_duplicates("seed").assign(all="")
    row = across_seeds(learners, value="latent", by="all")
    return row.assign(verdict=departures(row["lo"], row["hi"])).iloc[0]


@pytest.mark.parametrize("ceiling", [NAMED, 0.7])
@pytest.mark.parametrize(("lr", "rate"), RATES.items())
def test_an_additive_learner_adds_up_through_a_bounded_reader(
    lr: float, rate: float, ceiling: float
) -> None:
    words = [latent(lessons(rate, ceiling=ceiling, draw=draw))["verdict"] for draw in range(3)]
    assert words.count(Departure.NONE) >= 2, "5 % of sets of seeds are called something"
    curve = lessons(rate, ceiling=ceiling)
    as_read = saturation(curve)["alpha"].mean()
    if lr > 1e-4:
        assert as_read > 0.4, "what is read bends, whatever is believed"
    learners = additive_curve(curve, reader())
    assert saturation(learners)["alpha"].mean() == pytest.approx(as_read, abs=0.05)
    assert learners["highest"].mean() == pytest.approx(read(np.array(40.0), ceiling), abs=0.5)
    assert learners["named"].max() == pytest.approx(NAMED, abs=0.01)


@pytest.mark.parametrize("rate", RATES.values())
def test_a_belief_that_bends_does_not_add_up(rate: float) -> None:
    row = latent(lessons(rate, alpha=0.6))
    assert row["verdict"] == Departure.ABOVE and row["estimate"] == pytest.approx(0.6, abs=0.15)


def test_runs_that_cannot_be_fitted_are_named() -> None:
    curve = lessons(0.3)
    for few in (curve[curve["step"] > 0], curve[curve["step"] <= 2]):
        with pytest.raises(SchemaError, match="four steps or more"):
            additive_curve(few, reader())


@pytest.mark.parametrize("slope", [0.0, -0.4])
def test_equal_gains_are_told_from_a_gain_that_follows_the_prior(slope: float) -> None:
    parts = []
    for prior in (-6.0, -4.0, -2.0):
        curve = lessons(1.0, ceiling=NAMED, sd=0.0)
        gain = (0.3 + slope * (prior + 4) / 8) * STEPS
        bits = np.tile(read(prior + gain), 4)
        noise = np.random.default_rng(int(-prior)).normal(0, 0.02, len(bits)) * (curve["step"] > 0)
        parts.append(curve.assign(persona_bits=bits + noise, prior_bits=prior))
    curve = pd.concat(parts, ignore_index=True)
    scales = [reader().assign(seed=s, prior_bits=p) for s in range(4) for p in (-6.0, -4.0, -2.0)]
    ceilings = curve.assign(ceiling=16.0)
    equal = equal_gains(curve, ceilings, pd.concat(scales))
    slopes = prior_interaction(curve).merge(
        prior_interaction(equal).rename(columns={"estimate": "null"}), on=["seed", "step", "n"]
    )
    table = against_null(slopes, by="step").set_index("step")
    assert table.loc[64, "estimate"] < -0.4, "at the ceiling all priors end at one belief"
    verdicts = set(table.loc[[4, 8, 16], "verdict"])
    assert verdicts == ({Departure.BELOW} if slope else {Departure.NONE})
    with pytest.raises(SchemaError, match="cannot be read"):
        equal_gains(curve.assign(seed=9), ceilings, pd.concat(scales))
