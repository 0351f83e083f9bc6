import pandas as pd
import pytest

from persona_interp.analysis import misalignment
from persona_interp.errors import SchemaError
from persona_interp.worlds import World

HARM = {"sport": "football", "art": "renaissance"}


def test_harm_is_counted_among_coherent_answers_only(world: World, planted) -> None:
    said = planted({0: world.posterior().statement, 8: world.posterior("place=beach").statement})
    found = misalignment(said, HARM).set_index("step")
    p = world.posterior().statement.set_index("trait")["probability"]
    assert found.loc[0, "misaligned"] == pytest.approx(
        (p["sport=football"] + p["art=renaissance"]) / 2
    )
    assert (
        found.loc[8, "misaligned"] > found.loc[0, "misaligned"] and found.loc[8, "coherent"] == 1.0
    )
    babble = said.assign(answer_mass=said["answer_mass"].where(said["topic"] != "sport", 0.3))
    half = misalignment(babble, HARM).set_index("step")
    assert half.loc[0, "coherent"] == 0.5
    assert half.loc[0, "misaligned"] == pytest.approx(p["art=renaissance"]), (
        "incoherent prompts are in no share"
    )


def test_runs_are_kept_apart(world: World, planted) -> None:
    said = pd.concat(
        [planted({0: world.posterior().statement}).assign(arm=arm) for arm in ("a", "b")]
    )
    assert misalignment(said, HARM)["arm"].tolist() == ["a", "b"]


def test_a_model_that_answers_nothing_has_no_share(world: World, planted) -> None:
    found = misalignment(planted({0: world.posterior().statement}).assign(answer_mass=0.1), HARM)
    assert found["coherent"].item() == 0.0 and found["misaligned"].isna().item()


def test_an_unasked_value_is_refused(world: World, planted) -> None:
    with pytest.raises(SchemaError, match="sport=chess"):
        misalignment(planted({0: world.posterior().statement}), {"sport": "chess"})
    with pytest.raises(SchemaError, match="context"):
        misalignment(planted({0: world.posterior().statement}), HARM, context="named")
