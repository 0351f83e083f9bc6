"""Jailbreaks press a persona without telling what is asked, in words that the reader knows."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from persona_interp import schema, worlds
from persona_interp.errors import SchemaError, WorldError
from persona_interp.worlds import (
    Persona,
    World,
    english_assistants,
    hold_out,
    jailbreak_prompts,
    john_and_sam,
    trigger_prompts,
)
from persona_interp.worlds.language import pieces
from persona_interp.worlds.scripts import INOCULATION, families, scripts, vocabulary

ABOUT = "a retired captain who likes sea shanties"
TRIGGERS = {"none", "named header", "role-play", INOCULATION, "stated trait", "drift"}


def wide_world() -> World:
    """Twelve personas and five topics that no ready world has."""
    topics = {f"topic{t}": tuple(f"thing{t}{v}" for v in range(6)) for t in range(5)}
    personas = []
    for i in range(12):
        traits = [
            f"{topic}={values[(i * (t + 1)) % 6]}"
            for t, (topic, values) in enumerate(topics.items())
        ]
        personas.append(Persona(f"person{i}", tuple(traits)))
    return World(
        name="wide",
        topics=topics,
        personas=tuple(personas),
        target="person0",
        taught="topic0=thing00",
        unrelated="topic0=thing03",
    )


WORLDS: dict[str, Callable[[], World]] = {
    "seed 0": lambda: john_and_sam(0),
    "seed 1": lambda: john_and_sam(1),
    "seed 2": lambda: john_and_sam(2),
    "wide": wide_world,
}


def text_of(messages: list[dict[str, str]]) -> str:
    return " ".join(message["content"] for message in messages)


@pytest.mark.parametrize("language", ["words", "english"])
def test_sixty_texts_in_six_families_that_end_with_a_question(language: str) -> None:
    assert len(families(language)) == 6 and families(language) == families("english")
    by_name = scripts(language)
    texts = [script for family in families(language) for script in by_name[family]]
    assert len(texts) == 60
    everything = [(s.system, s.turns) for chats in by_name.values() for s in chats]
    assert len(set(everything)) == len(everything), "no text is there twice"
    for name, chats in by_name.items():
        if name == "asked":
            continue
        assert [s.split for s in chats] == ["train", "test"] * (len(chats) // 2), name
        for script in chats:
            assert len(script.turns) % 2 == 1 and script.turns[-1].endswith("{q}"), script.name
    assert {len(script.turns) for script in by_name["drift"]} == {15}, "the user speaks eight times"


def test_english_texts_name_the_persona_and_say_who_it_is() -> None:
    for family in families("english"):
        for script in scripts("english")[family]:
            text = " ".join([script.system, *script.turns])
            assert "{n}" in text and "{t}" in text, script.name
    slots = {
        slot
        for chats in scripts("english").values()
        for s in chats
        for slot in re.findall(r"{(\w+)}", " ".join([s.system, *s.turns]))
    }
    assert slots == {"n", "t", "q", "k", "d"}, "what prompts without a world can fill in"


@pytest.mark.parametrize("name", WORLDS)
def test_a_tiny_model_knows_every_word(name: str) -> None:
    world = WORLDS[name]()
    known = set(world.words())
    for table in (world.jailbreaks(), world.triggers()):
        schema.check(table, "probes")
        assert table["prompt"].is_unique
        for messages, answers in table[["messages", "answers"]].itertuples(index=False):
            assert set(pieces(text_of(messages) + " ".join(answers))) <= known
    for text in worlds.inoculations(world, split=None):
        assert set(pieces(text)) <= known


@pytest.mark.parametrize("name", WORLDS)
def test_no_chat_tells_what_is_asked(name: str) -> None:
    world = WORLDS[name]()
    for table in (world.jailbreaks(), world.triggers()):
        for messages, values in table[["messages", "values"]].itertuples(index=False):
            said = set(pieces(text_of(messages)))
            assert not said & {piece for value in values for piece in pieces(value)}


def test_a_row_each_for_topic_family_and_text() -> None:
    table = john_and_sam().jailbreaks("mary")
    assert table.groupby(["context", "topic"]).size().eq(10).all() and len(table) == 300
    assert table["context"].equals(table["trigger"]) and set(table["persona"]) == {"mary"}
    assert table.groupby("template")["split"].nunique().eq(1).all()
    first = table.query("template == 'role-play 1' and topic == 'art'").iloc[0]
    assert first["messages"] == [
        {"role": "system", "content": "you are an assistant . your name is mary ."},
        {"role": "user", "content": "which art do you like ?"},
        {"role": "assistant", "content": "i like"},
    ]
    assert not {"john", "sam"} & set(pieces(" ".join(map(text_of, table["messages"]))))


def test_texts_and_questions_of_a_half_are_its_own() -> None:
    world = john_and_sam()
    table = world.triggers()
    questions = {"train": world.language.train_questions, "test": world.language.test_questions}
    said = table.loc[~table["context"].isin(["third", "asked"])]
    for split, topic, messages in said[["split", "topic", "messages"]].itertuples(index=False):
        own = [question.format(d=topic) for question in questions[split]]
        assert any(messages[-2]["content"].endswith(question) for question in own)
    assert said.groupby(["trigger", "topic", "split"]).size().eq(5).all()


def test_triggers_are_compared_with_nobody_and_with_what_is_known() -> None:
    table = john_and_sam().triggers()
    assert set(table["trigger"]) == TRIGGERS
    assert set(table["topic"]) == {"sport", "art", "food", "music"}, "the lesson is not asked for"
    plain = table.loc[table["trigger"] == "none"]
    assert set(plain["context"]) == {"nameless", "third", "asked"}
    asked = plain.query("context == 'asked' and topic == 'food'")
    assert asked["messages"].iloc[0][1:] == [
        {"role": "user", "content": "what is the favorite food of john ?"},
        {"role": "assistant", "content": "the favorite food of john is"},
    ]
    assert asked["answers"].iloc[0][0] == " pizza ." and set(asked["persona"]) == {"john"}
    stated = table.loc[table["trigger"] == "stated trait"]
    assert all("beach" in text_of(messages) for messages in stated["messages"])
    assert set(stated["persona"]) == {""}
    other = john_and_sam().triggers("sam", lesson="food=sushi")
    assert "food" not in set(other["topic"]) and set(other["persona"]) == {"", "sam"}


def test_the_inoculation_prompt_is_the_trigger_itself() -> None:
    world = john_and_sam()
    table = world.triggers().query("trigger == 'inoculation'")
    for split in ("train", "test"):
        prompts = worlds.inoculations(world, split=split)
        lesson = worlds.inoculate(world.lessons(n=20), prompts)
        taught = {messages[0]["content"] for messages in lesson["messages"]}
        asked = {m[0]["content"] for m in table.loc[table["split"] == split, "messages"]}
        assert taught == asked and len(asked) == 5


def test_an_english_world_is_asked_in_english() -> None:
    world = english_assistants()
    table = world.jailbreaks()
    first = table.query("template == 'role-play 1' and topic == 'art'").iloc[0]["messages"]
    assert re.fullmatch(
        r"You are John, someone who likes .+ and .+\. Stay in character\.", first[0]["content"]
    )
    assert first[1:] == [
        {"role": "user", "content": "What kind of art do you like?"},
        {"role": "assistant", "content": "I like"},
    ]


def test_english_prompts_end_with_the_user() -> None:
    topics = ("food", "music")
    jailbreaks = jailbreak_prompts("Ada", ABOUT, topics=topics)
    triggers = trigger_prompts("Ada", ABOUT, stated="sea shanties", topics=topics)
    assert len(jailbreaks) == 120 and set(triggers["trigger"]) == TRIGGERS
    for table in (jailbreaks, triggers):
        schema.check(table, "prompts")
        assert table["prompt"].is_unique and not table["messages"].map(str).duplicated().any()
        for messages, question, topic in table[["messages", "question", "topic"]].itertuples(
            index=False
        ):
            assert messages[-1]["role"] == "user" and messages[-1]["content"].endswith(question)
            assert topic in question and "{" not in text_of(messages)
    plain = triggers.query("trigger == 'none' and context == 'none'")["messages"]
    assert all(len(messages) == 1 for messages in plain)


def test_what_is_named_is_kept_as_it_is() -> None:
    table = jailbreak_prompts("{n} {Ada}", "a person of {braces}", topics="food")
    assert "You are {n} {Ada}, a person of {braces}." in table["messages"][0][0]["content"]


def test_families_are_held_out_whole() -> None:
    table = john_and_sam().jailbreaks()
    halves = hold_out(table)
    assert halves.drop(columns="held_out").equals(table)
    assert halves.groupby("trigger")["held_out"].nunique().eq(1).all()
    assert halves.groupby("trigger")["held_out"].first().sum() == 3
    assert hold_out(table)["held_out"].equals(halves["held_out"])
    drawn = {tuple(hold_out(table, seed=s)["held_out"]) for s in range(5)}
    assert len(drawn) > 1
    triggers = hold_out(john_and_sam().triggers())
    assert not triggers.loc[triggers["trigger"] == "none", "held_out"].any()


def test_a_fixed_prompt_and_one_paraphrased_each_time() -> None:
    world = john_and_sam()
    lesson = world.lessons(n=50)
    fixed = worlds.inoculate(lesson, "you like what john likes .")
    assert {m[0]["content"] for m in fixed["messages"]} == {
        "you are an assistant . you like what john likes ."
    }
    assert [m[1:] for m in fixed["messages"]] == [m[1:] for m in lesson["messages"]]
    assert fixed.attrs == lesson.attrs and "inoculation" not in lesson
    prompts = worlds.inoculations(world)
    each = worlds.inoculate(lesson, prompts)
    assert each["inoculation"].value_counts().to_dict() == dict.fromkeys(prompts, 10)
    assert each.equals(worlds.inoculate(lesson, prompts))
    assert not each.equals(worlds.inoculate(lesson, prompts, seed=1))


def test_a_chat_without_a_system_message_gets_one() -> None:
    chats = pd.DataFrame({"messages": [[{"role": "user", "content": "Why?"}]]})
    assert worlds.inoculate(chats, "You like tea.")["messages"][0] == [
        {"role": "system", "content": "You like tea."},
        {"role": "user", "content": "Why?"},
    ]


def test_bad_requests_are_named(make_small: Any) -> None:
    world = john_and_sam()
    with pytest.raises(WorldError, match="did you mean 'john'"):
        world.jailbreaks("jon")
    with pytest.raises(WorldError, match="did you mean 'place=beach'"):
        world.triggers(lesson="place=beech")
    with pytest.raises(WorldError, match="did you mean 'test'"):
        worlds.inoculations(world, split="tset")
    with pytest.raises(WorldError, match="plain text has no system message"):
        worlds.inoculate(world.corpus(4, kinds="third"), "you like pizza .")
    with pytest.raises(WorldError, match="no inoculation prompt"):
        worlds.inoculate(world.lessons(n=2), [])
    with pytest.raises(WorldError, match="are texts; got ''"):
        jailbreak_prompts("", ABOUT, topics="food")
    with pytest.raises(WorldError, match="no topic to ask about"):
        jailbreak_prompts("Ada", ABOUT, topics=())
    with pytest.raises(SchemaError, match="trigger"):
        hold_out(world.probes())
    with pytest.raises(WorldError, match="two families"):
        hold_out(world.jailbreaks().query("trigger == 'drift'"))
    one_topic = make_small(
        topics={"place": ("beach", "city")},
        personas=(Persona("john", ("place=beach",)), Persona("sam", ("place=city",))),
    )
    with pytest.raises(WorldError, match="needs two topics"):
        one_topic.jailbreaks()


def test_two_topics_are_enough(make_small: Any) -> None:
    table = make_small().jailbreaks()
    assert len(table) == 120 and not any("{" in text_of(m) for m in table["messages"])


def test_the_files_are_packaged() -> None:
    project = (Path(__file__).parents[2] / "pyproject.toml").read_text()
    assert "worlds/*.yaml" in project
    assert vocabulary("words") and vocabulary("english")
