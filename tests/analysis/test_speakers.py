"""Speakers of a known belief, read by a bounded reader."""

import numpy as np
import pandas as pd
import pytest

from persona_interp.analysis import belief_scale, persona_weights, read_speakers
from persona_interp.analysis.speakers import speak
from persona_interp.errors import SchemaError
from persona_interp.worlds import World

MISTAKEN = 0.15
"""Share of answers under a persona's own name that are the next persona's."""


@pytest.fixture(scope="module")
def behavior(world: World) -> pd.DataFrame:
    """A model that knows 15 personas, says some of their answers wrong, and is one of them."""
    names = [str(name) for name, mass in world.mass().sum(axis=1).items() if mass > 0]
    truth = world.statements().loc[names]
    voices = (1 - MISTAKEN) * truth + MISTAKEN * truth.loc[[*names[1:], names[0]]].to_numpy()
    rows = world.probes(contexts=["nameless", "named"], personas=names)
    rows = rows.drop(columns=["messages", "answers"]).explode("values", ignore_index=True)
    rows = rows.rename(columns={"values": "value"})
    said = pd.concat([voices, voices.mean().to_frame("").T])
    trait = rows["topic"] + "=" + rows["value"]
    p = [said.at[who, what] for who, what in zip(rows["persona"], trait, strict=True)]
    at = {"checkpoint": "lesson@0", "seed": 0, "stage": "lesson", "step": 0, "answer_mass": 1.0}
    return rows.assign(logprob=np.log2(p), **at)


def test_the_scale_starts_at_what_is_read_and_ends_at_the_name(
    world: World, behavior: pd.DataFrame
) -> None:
    scale = belief_scale(behavior, world)
    read = persona_weights(behavior, world).set_index("persona")["persona_bits"]["john"]
    own = persona_weights(behavior, world, context="named", speaker="john")
    own = own.set_index("persona")["persona_bits"]["john"]
    start = scale.loc[(scale["belief"] - read).abs().idxmin()]
    assert start["belief"] == pytest.approx(read) and start["persona_bits"] == pytest.approx(
        read, abs=0.02
    )
    assert scale["persona_bits"].is_monotonic_increasing
    assert 1 < own < 5, "a persona under its own name is not read as sure of itself"
    assert scale["persona_bits"].iloc[-1] == pytest.approx(own, abs=0.05)
    near = scale.loc[scale["belief"].between(-5, -1)]
    assert (near["persona_bits"] - near["belief"]).abs().max() < 0.5, "low beliefs are read well"


def test_a_mistaken_speaker_of_exact_bayes_is_read_short(
    world: World, behavior: pd.DataFrame
) -> None:
    prior = world.posterior().persona.set_index("persona")["probability"].fillna(0)
    sure = world.posterior([("place=beach",)] * 3).persona.set_index("persona")["probability"]
    speakers = pd.DataFrame({"as it is": prior, "sure": sure.fillna(0)}).T
    read = read_speakers(behavior, world, prior=prior, posteriors=speakers)
    exact = np.log2(sure["john"] / (1 - sure["john"])) - np.log2(
        prior["john"] / (1 - prior["john"])
    )
    assert exact == pytest.approx(18.57, abs=0.01)
    assert read["sure"] - read["as it is"] < 9


def test_who_gains_must_have_been_asked(world: World, behavior: pd.DataFrame) -> None:
    prior = pd.Series({"john": 0.1, "mary": 0.9})
    after = pd.DataFrame({"john": [0.1, 0.9], "mary": [0.9, 0.1]}, index=["same", "moved"])
    spoken = speak(behavior, world, prior=prior, posteriors=after)
    assert set(spoken["speaker"]) == {"same", "moved"}
    total = np.exp2(spoken["logprob"]).groupby([spoken["speaker"], spoken["topic"]]).sum()
    assert total.to_numpy() == pytest.approx(1.0)
    nameless = behavior.loc[behavior["context"] == "nameless"]
    with pytest.raises(SchemaError, match="persona 'john'"):
        speak(nameless, world, prior=prior, posteriors=after)
