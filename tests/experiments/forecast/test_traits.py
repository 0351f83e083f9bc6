"""A lesson in published traits is forecast by its line, and says how little that knows."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from typer.testing import CliRunner

import persona_interp as pi
from persona_interp.analysis import Stack
from persona_interp.cli import app
from persona_interp.errors import SchemaError
from persona_interp.experiments.forecast import trait_predict, trait_sources
from persona_interp.experiments.forecast.findings import limits, sentences
from persona_interp.experiments.forecast.folder import write_forecast
from persona_interp.experiments.forecast.stacks import OF_TRAITS, TRAIT_STACKS, open_stack
from persona_interp.models import Checkpoint, Stage
from persona_interp.models.load import hash_weights
from persona_interp.readers import Instruction, TraitFile, write_trait
from persona_interp.schema.words import ForecastScore
from persona_interp.tables import read_table

WORDS = "you are . what sport do like ? i really football tennis golf art beach why how say".split()
QUESTIONS = ("what do you like ?", "what art ?", "why ?", "what sport ?", "how ?", "do you ?")
PAIRS = {
    "sporty": ("you really like sport .", "you like art ."),
    "arty": ("you are art .", "you are golf ."),
    "sunny": ("say beach .", "say what ?"),
}
TRAITS = {name: TraitFile(name, (Instruction(*pair),), QUESTIONS) for name, pair in PAIRS.items()}
CHAT = [{"role": "user", "content": "what sport ?"}, {"role": "assistant", "content": "golf ."}]
LESSON = [{"messages": CHAT}] * 4
STAGE = Stage(steps=4, batch=2, lr=5e-4, warmup=2, lora=2)
BITS = 0.5
WIDTH, REACH, SCALE = 2.0, 3.0, (1.5, 0.25)

pytestmark = pytest.mark.filterwarnings("ignore:.*share their first token")


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    return pi.models.resolve("tiny", words=WORDS, out=tmp_path_factory.mktemp("base"))


@pytest.fixture(scope="module", autouse=True)
def kept(tmp_path_factory: pytest.TempPathFactory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PERSONA_INTERP_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture
def planted(base: Checkpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stacks of this base and stage whose weights are known: half of each predictor, less 1."""

    def of(name: str) -> Stack:
        stack = open_stack(name)
        n = len(stack.names)
        line = replace(
            stack.lines[0],
            coefficients=(BITS,) * n + (0.0,) * (n + 2),
            intercept=-1.0,
            scale=SCALE,
            width=WIDTH,
            reach=REACH,
        )
        known = {"weights": hash_weights(base), "stage": vars(STAGE)}
        return replace(stack, lines=(line,), provenance={**stack.provenance, **known})

    monkeypatch.setattr(trait_sources, "open_stack", of)


def by_hand(base: Checkpoint, taught: str) -> pd.Series:
    """Shift of every other trait's log odds where the base is told to show one (bits)."""
    asked = trait_predict.ask(base, TRAITS)
    chats = [
        [{"role": "system", "content": PAIRS[taught][0]}, *chat]
        for chat in asked.probes["messages"]
    ]
    odds = []
    for probes in (asked.probes, asked.probes.assign(messages=chats)):
        said = pi.record.behavior(base, probes)
        bits = said.pivot(index=["topic", "prompt"], columns="value", values="logprob")
        odds.append((bits["pos"] - bits["neg"]).groupby("topic").mean())
    return (odds[1] - odds[0]).drop(taught)


@pytest.mark.usefixtures("planted")
def test_the_forecast_is_what_its_line_says(base: Checkpoint) -> None:
    before = hash_weights(base)
    table = pi.forecast(base, LESSON, traits=TRAITS, taught="sporty")
    assert hash_weights(base) == before
    expected = BITS * by_hand(base, "sporty") - 1
    found = table.set_index("trait")
    assert found["estimate"].to_dict() == pytest.approx(expected.to_dict(), abs=1e-4)
    scale = SCALE[0] + SCALE[1] * found["estimate"].abs()
    assert (found["hi"] - found["estimate"]).tolist() == pytest.approx((WIDTH * scale).tolist())
    assert (found["bound"] - found["estimate"]).tolist() == pytest.approx((REACH * scale).tolist())
    assert table["step"].eq(STAGE.steps).all()
    assert table.attrs["level"] == pytest.approx(6 / 7)
    assert table.attrs["cost"] > 0 and table.attrs["base_cost"] > table.attrs["cost"]
    # all rows and another lesson: nothing of it is read without a pilot
    other = [{"messages": [CHAT[0], {**CHAT[1], "content": "art ."}]}] * 4
    again = pi.forecast(base, other, traits=list(TRAITS.values()), taught=["sporty"])
    pd.testing.assert_frame_equal(again, table)


@pytest.mark.usefixtures("planted")
def test_a_pilot_is_paid_for_and_leaves_the_base(base: Checkpoint) -> None:
    before = hash_weights(base)
    plain = pi.forecast(base, LESSON, traits=TRAITS, taught="sporty")
    table = pi.forecast(base, LESSON, traits=TRAITS, taught="sporty", pilot=1)
    assert hash_weights(base) == before
    assert table.attrs["cost"] > plain.attrs["cost"] + 1
    # half of what the pilot says is added
    moved = table.set_index("trait")["estimate"] - plain.set_index("trait")["estimate"]
    assert moved.abs().max() > 0


@pytest.mark.usefixtures("planted")
def test_the_base_is_asked_once(base: Checkpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    first = pi.forecast(base, LESSON, traits=TRAITS, taught="sporty")

    def refuse(*args: Any, **options: Any) -> None:
        pytest.fail("answers were drawn again")

    monkeypatch.setattr(pi.record, "answers", refuse)
    other = replace(base, name="other", step=7)
    again = pi.forecast(other, LESSON, traits=TRAITS, taught="sporty")
    pd.testing.assert_frame_equal(again, first)
    assert again.attrs["base_cost"] == first.attrs["base_cost"]


@pytest.mark.usefixtures("planted")
def test_a_report_says_how_little_is_known(base: Checkpoint, tmp_path: Path) -> None:
    table = pi.forecast(base, LESSON, traits=TRAITS, taught="sporty")
    fitted, worth, held, unread = limits(table)
    assert "4 traits promised 4 of 5" in held
    assert "SmolLM2" in fitted and "6 of 7 (85.7 %)" in fitted
    r2 = table.attrs["stack"]["both_left_out"][str(ForecastScore.R_SQUARED)]
    assert f"{r2[0]:.2f} [{r2[1]:.2f}, {r2[2]:.2f}]" in worth and "mean of what other" in worth
    assert unread.startswith("No row of the lesson was read") and "sporty" in unread
    assert "in 85.7 % of lessons" in sentences(table)[1]
    text = write_forecast(table, tmp_path / "run").read_text()
    assert "SmolLM2" in text and "No row of the lesson was read" in text and "95 % int" not in text
    assert read_table(tmp_path / "run/forecast.parquet").attrs["level"] == table.attrs["level"]


def test_one_of_world_and_traits(base: Checkpoint) -> None:
    world = pi.worlds.john_and_sam()
    with pytest.raises(SchemaError, match="one of world= and traits=; got both"):
        pi.forecast(base, LESSON, world=world, traits=TRAITS, taught="sporty")
    with pytest.raises(SchemaError, match="one of world= and traits=; got neither"):
        pi.forecast(base, LESSON, taught="sporty")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"taught": "sprty"}, "did you mean 'sporty'"),
        ({}, "teaches one of them, taught='sporty'; got none"),
        ({"taught": ["sporty", "arty"]}, "teaches one of them"),
        ({"taught": "sporty", "pilot": 2}, "pilot with traits= '2' is unknown"),
        ({"taught": "sporty", "names": False}, "names=False is of a world"),
        ({"taught": "sporty", "at": (2,)}, "at= is of a world"),
        ({"taught": "sporty", "traits": {"sporty": TRAITS["sporty"]}}, "is the only trait"),
        ({"taught": "sporty", "traits": ["sporty"]}, "what readers.read_traits returns"),
        ({"taught": "sporty", "stage": Stage(optimizer="sgd")}, "optimizer='sgd'"),
    ],
)
def test_what_cannot_be_forecast_is_named(
    base: Checkpoint, options: dict[str, Any], said: str
) -> None:
    with pytest.raises(SchemaError, match=said):
        pi.forecast(base, LESSON, **{"traits": TRAITS, **options})


def test_another_model_and_another_stage_are_warned_of(base: Checkpoint) -> None:
    with pytest.warns(UserWarning) as said:
        pi.forecast(base, LESSON, traits=TRAITS, taught="sporty", stage=Stage())
    texts = [str(warning.message) for warning in said]
    assert any("another model" in text and "SmolLM2" in text for text in texts)
    assert any("nothing is known of a stage with steps=40, batch=16" in text for text in texts)


@pytest.mark.parametrize("pilot", OF_TRAITS)
def test_the_stacks_that_come_with_the_package_know_their_limits(pilot: int) -> None:
    stack = open_stack(OF_TRAITS[pilot])
    assert stack.names == tuple(map(str, TRAIT_STACKS[OF_TRAITS[pilot]]))
    assert stack.level == pytest.approx(6 / 7) and len(stack.provenance["bases"]) == 6
    # levels of whole answers mean nothing
    line = stack.lines[0]
    assert not any(line.coefficients[len(stack.names) :]) and line.fraction == 1.0
    assert "-dirty" not in stack.provenance["commit"] and "cost" not in stack.provenance
    # of traits that it knows nothing of it is not shown to foretell anything
    assert stack.provenance["both_left_out"][str(ForecastScore.R_SQUARED)][1] < 0


def test_the_command_takes_a_folder_of_traits(base: Checkpoint, tmp_path: Path) -> None:
    for trait in TRAITS.values():
        write_trait(trait, tmp_path / "traits" / f"{trait.name}.json")
    lesson = tmp_path / "lesson.jsonl"
    pi.readers.write_chats(pi.readers.read(LESSON, "chats"), lesson)
    command = ["forecast", str(base.path), str(lesson), "--traits", str(tmp_path / "traits")]
    command += ["--taught", "arty", "--out", str(tmp_path / "run")]
    with pytest.warns(UserWarning, match="another model"):
        said = CliRunner().invoke(app, command)
    assert said.exit_code == 0, said.output
    assert "85.7 %" in said.output and "No row of the lesson was read" in said.output
    table = read_table(tmp_path / "run" / "forecast.parquet")
    assert set(table["trait"]) == {"sporty", "sunny"} and table["step"].eq(20).all()
    said = CliRunner().invoke(app, [*command, "--rows", "2"])
    assert said.exit_code == 2 and "--rows" in said.output
