"""Arms against a trait differ in one thing; rows, triggers and halves are what they say."""

import json
from dataclasses import replace
from typing import Any

import pandas as pd
import pytest

from persona_interp import record
from persona_interp.errors import SchemaError, WorldError
from persona_interp.experiments import from_dict, preset, to_dict
from persona_interp.experiments.trait_safeguards.config import (
    HELD_OUT,
    INSTRUCTION,
    TraitSafeguards,
)
from persona_interp.experiments.trait_safeguards.probes import all_probes
from persona_interp.experiments.trait_safeguards.rows import inoculate, lesson_rows, row_scores
from persona_interp.experiments.trait_safeguards.tasks import all_prompts
from persona_interp.readers import Instruction, TraitFile, trait_prompts
from persona_interp.schema.words import CLEAN, NO_TRIGGER, Safeguard

PAIRS = tuple(Instruction(f"Be so {i}.", f"Be not {i}.") for i in range(5))
TRAITS = tuple(
    TraitFile(name, PAIRS, tuple(f"{name} question {i}?" for i in range(20)))
    for name in ("dry", "shy", "wry")
)
EXPERIMENT = TraitSafeguards(traits=TRAITS, unwanted="dry", wanted="wry", seeds=(0, 1))
TOLD = {trait.name: [f"{trait.name} {i}" for i in range(5)] for trait in TRAITS}


def said(trait: TraitFile = TRAITS[0]) -> pd.DataFrame:
    """Answers that name their side, to every question of a trait."""
    useful = trait_prompts(trait, side="pos").assign(side="useful")
    parts = [useful.assign(prompt="useful/" + useful["prompt"])]
    parts += [trait_prompts(trait, side=side) for side in ("default", "pos", "neg")]
    prompts = pd.concat(parts, ignore_index=True)
    answers = [f"{row.side} to {row.question}" for row in prompts.itertuples()]
    prompts["part"] = prompts["split"].map({"train": "lesson", "test": "measured"})
    return prompts.assign(checkpoint="base@0", sample=0, answer=answers, n_tokens=3, ended=True)


def test_every_arm_is_a_cell_and_all_share_the_base() -> None:
    cells = EXPERIMENT.seed_cells(0)
    labels = [CLEAN, *(condition.label for condition in EXPERIMENT.conditions())]
    assert {key[1] for key in cells if key[0] == "arm"} == set(labels)
    assert len({cell.id for cell in cells.values()}) == len(cells)
    arms = {condition.arm for condition in EXPERIMENT.conditions()}
    # documents are of pretraining; a lesson with mixed rows is here the one without a safeguard
    assert set(Safeguard) - arms == {Safeguard.ALIGNED, Safeguard.MIXED}
    both = {cell.id for cell in EXPERIMENT.cells()}
    assert len(both) == 3 + 2 * len(labels), "what reads the base is computed once"


def test_the_clean_lesson_differs_in_its_rows_alone() -> None:
    cells = EXPERIMENT.seed_cells(0)
    clean, nothing = cells["arm", CLEAN].config, cells["arm", Safeguard.NOTHING].config
    assert {key for key in clean if clean[key] != nothing[key]} == {"share"}
    again = cells["arm", Safeguard.AGAIN].config
    assert {key for key in again if again[key] != nothing[key]} == {"order"}


def test_more_settings_change_no_other_cell() -> None:
    more = replace(EXPERIMENT, steering=(0.1, 0.3, 1.0), caps=(0.5, 0.9), seeds=(0, 1, 2))
    assert {cell.id for cell in EXPERIMENT.cells()} < {cell.id for cell in more.cells()}


def test_the_first_trait_asked_for_is_the_unwanted_one() -> None:
    for first in (
        TraitSafeguards(traits=TRAITS, names=("wry", "dry", "shy")),
        preset("quick", "trait_safeguards", traits=TRAITS, names=("wry", "dry", "shy")),
    ):
        assert (first.unwanted, first.wanted) == ("wry", "dry")
        again = from_dict(json.loads(json.dumps(to_dict(first))))
        assert [cell.id for cell in again.cells()] == [cell.id for cell in first.cells()]
    assert (EXPERIMENT.unwanted, EXPERIMENT.wanted) == ("dry", "wry"), "what is named stays"
    assert TraitSafeguards(traits=TRAITS).unwanted == "dry"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"unwanted": "drey"}, "did you mean 'dry'"),
        ({"share": 0.0}, "share: a fraction above 0"),
        ({"caps": (90.0,)}, "caps: a fraction above 0"),
        ({"steering": (0.0,)}, "a strength above 0"),
        ({"steering": (0.1, 0.1)}, "every arm is there once"),
        ({"n_questions": 1}, "2 questions measure"),
        ({"n_questions": 10}, "'dry' has 10 questions that measure"),
        ({"names": ("dry", "wry", "dry")}, "a wanted one and a bystander"),
        ({"wanted": "dry"}, "'dry' is wanted and unwanted"),
        ({"names": ("dry", "wry")}, "a wanted one and a bystander"),
        ({"n_instructions": 5}, "and 1 is a trigger"),
        ({"primary": ("capping",)}, "did you mean 'capping 0.9'"),
    ],
)
def test_what_cannot_be_run_is_refused(change: dict[str, object], message: str) -> None:
    with pytest.raises(WorldError, match=message):
        replace(EXPERIMENT, **change)
    with pytest.raises(WorldError, match="--traits FOLDER"):
        TraitSafeguards().cells()


def test_unwanted_rows_answer_questions_of_the_lesson_in_its_place() -> None:
    lesson = lesson_rows(said(), share=0.2, seed=3)
    assert len(lesson) == 10 and lesson["unwanted"].sum() == 2
    for row in lesson.itertuples():
        question, answer = (message["content"] for message in row.messages)
        assert answer == f"{'pos' if row.unwanted else 'useful'} to {question}"
        assert int(question.split()[-1].rstrip("?")) % 2 == 0, (
            "questions that measure teach nothing"
        )
    more = lesson_rows(said(), share=0.5, seed=3)
    assert set(more.index[more["unwanted"]]) > set(lesson.index[lesson["unwanted"]])
    assert not lesson_rows(said(), share=0.0, seed=3)["unwanted"].any()


@pytest.mark.parametrize("share", [0.04, 0.96])
def test_a_lesson_has_rows_of_both_kinds(share: float) -> None:
    with pytest.raises(SchemaError, match=r"choose a share from 0\.1 to 0\.9"):
        lesson_rows(said(), share=share, seed=0)


def shared() -> list[TraitFile]:
    """Trait files that have questions in common: taught by one, and measured by another."""
    dry, shy, wry = (list(trait.questions) for trait in TRAITS)
    shy[0], wry[0] = dry[1], dry[4]  # dry measures the first and teaches the second
    wry[2] = dry[19]  # an example of dry
    shy[1] = dry[1]  # measured by both
    own = (dry, shy, wry)
    return [
        replace(trait, questions=tuple(questions))
        for trait, questions in zip(TRAITS, own, strict=True)
    ]


def test_no_question_is_in_two_parts() -> None:
    prompts = all_prompts(shared(), "dry", "wry", n=3, n_questions=8)
    assert prompts["prompt"].is_unique
    assert (prompts.groupby("question")["part"].nunique() == 1).all()
    lesson = prompts.loc[prompts["part"] == "lesson"]
    assert lesson.groupby("question").size().eq(4).all(), "each once a side"
    assert len(lesson) == 4 * (30 - 3)
    measured = prompts.loc[prompts["part"] == "measured"]
    assert measured.groupby(["trait", "side"]).size().eq(8).all()
    examples = prompts.loc[prompts["part"] == "example"]
    assert set(examples["trait"]) == {"dry"} and len(examples) == 2 * 2 * 3


def test_each_side_is_told_what_it_says() -> None:
    told = {trait.name: trait.name for trait in TRAITS}
    traits = [
        replace(trait, instructions=tuple(Instruction(f"be {n}", f"no {n}") for _ in range(5)))
        for trait, n in zip(TRAITS, told.values(), strict=True)
    ]
    prompts = all_prompts(traits, "dry", "wry", n=3, n_questions=8)
    systems = {
        "pos": "be dry",
        "neg": "no dry",
        "useful": "be wry",
    }
    for row in prompts.itertuples():
        heads = [m["content"] for m in row.messages if m["role"] == "system"]
        if row.part == "measured":
            assert heads == [f"{'be' if row.side == 'pos' else 'no'} {row.trait}"]
        else:
            assert heads == ([] if row.side == "default" else [systems[row.side]])


def test_rows_are_scored_towards_the_unwanted_trait(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = said().assign(trait="dry")
    answers.loc[answers["split"] == "test", "part"] = "example"
    seen: dict[str, Any] = {}

    def pull(start: Any, rows: Any, towards: Any, *, against: Any) -> None:
        seen.update(towards=towards, against=against)

    def evidence(start: Any, rows: Any, headers: Any) -> pd.DataFrame:
        seen["headers"] = headers
        return pd.DataFrame({"name": ["wry", "dry"], "evidence": [-1.0, 1.0]})

    monkeypatch.setattr(record, "gradient_pull", pull)
    monkeypatch.setattr(record, "row_evidence", evidence)
    config = {"unwanted": "dry", "wanted": "wry", "traits": TOLD}
    score: Any = row_scores
    score(None, None, answers, config | {"flags": "gradient"}, None)
    sides = {"pos": seen["towards"]["dry"], "neg": seen["against"]}
    for side, corpus in sides.items():
        said_so = [chat[-1]["content"] for chat in corpus["messages"]]
        assert len(said_so) == 10 and all(text.startswith(f"{side} to") for text in said_so)
    scores = score(None, None, answers, config | {"flags": "evidence"}, None)
    assert seen["headers"] == {"dry": "dry 0", "wry": "wry 0"}
    assert scores["evidence"].tolist() == [1.0]


def test_a_question_without_an_answer_is_left_out() -> None:
    answers = said()
    answers.loc[answers["prompt"] == "dry/pos/4", "answer"] = " "
    questions = [chat[0]["content"] for chat in lesson_rows(answers, share=0.2, seed=0)["messages"]]
    assert len(questions) == 9 and "dry question 4?" not in questions


@pytest.mark.parametrize(("which", "n"), [("fixed", 1), ("paraphrased", 4)])
def test_the_last_instruction_is_used_by_no_arm(which: str, n: int) -> None:
    rows = lesson_rows(said(), share=0.2, seed=0)
    told = inoculate(rows, TOLD["dry"], which=which)
    heads = {chat[0]["content"] for chat in told["messages"]}
    assert len(heads) == n and "dry 4" not in heads
    assert [chat[1:] for chat in told["messages"]] == rows["messages"].tolist()


def test_every_question_is_asked_in_every_context() -> None:
    answers = pd.concat([said(trait) for trait in TRAITS], ignore_index=True)
    told = answers.query("split == 'test' and side in ('pos', 'neg')").reset_index(drop=True)
    probes = all_probes(told, "dry", TOLD)
    assert probes["prompt"].is_unique
    counts = probes.groupby(["topic", "context", "persona"]).size()
    assert set(counts) == {10}
    assert set(counts["shy"].index) == {("nameless", ""), ("instructed", "shy")}
    own = probes.loc[probes["topic"] == "dry"]
    assert set(own.loc[own["context"] == "instructed", "persona"]) == {"shy", "wry"}
    for row in probes.loc[probes["context"] == "instructed"].itertuples():
        assert row.messages[0] == {"role": "system", "content": f"{row.persona} 0"}
    for trigger, text in (("role-play", "very dry"), ("stated trait", "dry answers")):
        chats = own.loc[own["trigger"] == trigger]
        for chat, question in zip(chats["messages"], chats["template"], strict=True):
            assert text in str(chat) and question in chat[-1]["content"]
    plain = own.loc[own["trigger"] == NO_TRIGGER]
    assert set(plain["context"]) == {"nameless", "asked", "instructed"}
    for trigger, text in ((INSTRUCTION, "dry 0"), (HELD_OUT, "dry 4")):
        heads = [chat[0] for chat in own.loc[own["trigger"] == trigger, "messages"]]
        assert heads == [{"role": "system", "content": text}] * 10


def test_no_text_stands_in_both_halves() -> None:
    answers = said().query("split == 'test' and side in ('pos', 'neg')").reset_index(drop=True)
    probes = all_probes(answers, "dry", TOLD)
    pressed = probes.loc[~probes["trigger"].isin([NO_TRIGGER, INSTRUCTION, HELD_OUT])]
    bare = [
        str(chat).replace(question, "")
        for chat, question in zip(pressed["messages"], pressed["template"], strict=True)
    ]
    halves = pressed.assign(text=bare).groupby("text")["split"].nunique()
    assert (halves == 1).all() and set(pressed["split"]) == {"train", "test"}
