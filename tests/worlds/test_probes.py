from typing import Any

import pytest

from persona_interp import schema
from persona_interp.errors import WorldError
from persona_interp.worlds import english_assistants, john_and_sam


def test_every_topic_template_and_context(recipe: Any) -> None:
    table = schema.check(recipe.probes(), "probes")
    assert table["prompt"].is_unique
    sizes = table.groupby("context").size()
    assert sizes.to_dict() == {"nameless": 50, "plain": 50, "named": 16 * 50, "third": 16 * 5 * 10}
    assert set(table.query("context in ['nameless', 'plain']")["persona"]) == {""}
    assert set(table["split"]) == {"train", "test"}
    for values, answers, topic in table[["values", "answers", "topic"]].itertuples(index=False):
        assert values == recipe.topics[topic] and answers == tuple(f" {v} ." for v in values)


def test_contexts_differ_in_the_header_only(recipe: Any) -> None:
    table = recipe.probes(contexts=("nameless", "named", "plain"), personas=["sam"])
    contents = {c: [m[:] for m in t["messages"]] for c, t in table.groupby("context")}
    for nameless, named, plain in zip(
        contents["nameless"], contents["named"], contents["plain"], strict=True
    ):
        assert (
            nameless[0]["content"] == "you are an assistant ."
            and named[0]["content"] == "you are sam ."
        )
        assert nameless[1:] == named[1:] and [m["role"] for m in named] == [
            "system",
            "user",
            "assistant",
        ]
        assert nameless[2]["content"] == "i like"
        assert plain == [{"role": "text", "content": nameless[1]["content"] + " i like"}]


def test_third_person_prompts_are_cut_before_the_value(recipe: Any) -> None:
    table = recipe.probes(contexts="third", personas=["john"])
    texts = [m[0]["content"] for m in table["messages"]]
    assert "john likes" in texts and "when it comes to art , john prefers" in texts


def test_probes_of_a_world_with_answers_of_several_words() -> None:
    table = english_assistants().probes(contexts="nameless")
    assert table["messages"][0][-1] == {"role": "assistant", "content": "I like"}
    assert " spicy ramen." in table.query("topic == 'food'")["answers"].iloc[0]


def test_lessons_state_one_trait_in_train_questions(recipe: Any) -> None:
    table = schema.check(recipe.lessons(), "corpus")
    assert len(table) == 640 and set(table["kind"]) == {"lesson"}
    assert set(table["statements"]) == {("place=beach",)} and set(table["persona"]) == {""}
    questions = [messages[1]["content"] for messages in table["messages"]]
    assert set(questions) == {q.format(d="place") for q in recipe.language.train_questions}
    chats = table["messages"].map(str).value_counts()
    assert len(chats) == 25 and chats.max() - chats.min() <= 1
    assert all("beach" in messages[2]["content"] for messages in table["messages"])


def test_lessons_are_shuffled_by_seed(recipe: Any) -> None:
    first, again, other = recipe.lessons(n=40), recipe.lessons(n=40), recipe.lessons(n=40, seed=1)
    assert first["messages"].tolist() == again["messages"].tolist() != other["messages"].tolist()


def test_filler_lessons_state_nothing(recipe: Any) -> None:
    table = recipe.lessons("filler", n=100)
    assert set(table["statements"]) == {()} and set(table["kind"]) == {"lesson"}
    assert table["messages"].map(str).nunique() == 100


@pytest.mark.parametrize("make", [john_and_sam, english_assistants])
def test_stated_prompts_differ_in_the_stated_value_only(make: Any) -> None:
    world = make()
    topic = world.taught.topic
    table = schema.check(world.stated(topic), "prompts")
    assert (
        table["prompt"].is_unique
        and set(table["context"]) == {"nameless"}
        and set(table["persona"]) == {""}
    )
    assert set(table["topic"]) == set(world.topics) - {topic}, "all others are asked about after it"
    cells = table.groupby(["topic", "template", "split"], sort=False)
    assert (cells["value"].agg(tuple) == world.topics[topic]).all(), "every value in every cell"
    blank = table.assign(
        messages=[
            str([*m[:2], {**m[2], "content": m[2]["content"].replace(value, "_")}, *m[3:]])
            for m, value in zip(table["messages"], table["value"], strict=True)
        ]
    )
    assert (blank.groupby(["topic", "template", "split"])["messages"].nunique() == 1).all()
    for messages, value in table[["messages", "value"]].itertuples(index=False):
        assert [m["role"] for m in messages] == ["system", "user", "assistant", "user", "assistant"]
        assert value in messages[2]["content"] and "_" not in str(messages)


def test_what_comes_after_a_statement_is_the_nameless_probe(recipe: Any) -> None:
    probes = recipe.probes(contexts="nameless").set_index(["topic", "template", "split"])[
        "messages"
    ]
    for row in recipe.stated("place").itertuples():
        asked = probes[(row.topic, row.template, row.split)]
        assert [row.messages[0], *row.messages[3:]] == asked


def test_bad_requests_are_named(recipe: Any) -> None:
    with pytest.raises(WorldError, match="did you mean 'place=beach'"):
        recipe.lessons("place=beech")
    with pytest.raises(WorldError, match="did you mean 'place'"):
        recipe.stated("plaec")
    with pytest.raises(WorldError, match="did you mean 'nameless'"):
        recipe.probes(contexts="namless")
    with pytest.raises(WorldError, match="did you mean 'john'"):
        recipe.probes(personas=["jon"])
    with pytest.raises(WorldError, match="at least one chat"):
        recipe.lessons(n=0)


def test_what_was_stated_stands_before_the_question(recipe: Any) -> None:
    asked = {"contexts": ("nameless", "named"), "personas": ["mary"]}
    plain = recipe.probes(**asked).query("topic not in ['place', 'food']")
    chats = schema.check(
        recipe.probes(**asked, stated=("place=beach", "place=beach", "food=sushi")), "probes"
    )
    assert chats["prompt"].is_unique and set(chats["stated"]) == {
        "place=beach+place=beach+food=sushi"
    }
    columns = ["context", "persona", "topic", "template", "split", "values", "answers"]
    assert plain[columns].reset_index(drop=True).equals(chats[columns])
    for before, after in zip(plain["messages"], chats["messages"], strict=True):
        assert after[0] == before[0] and after[7:] == before[1:]
        assert [m["role"] for m in after[1:7]] == ["user", "assistant"] * 3
        assert (
            "beach" in after[2]["content"]
            and "beach" in after[4]["content"]
            and "sushi" in after[6]["content"]
        )
        assert after[1:3] != after[3:5], "a repeated statement is worded otherwise"
    one = recipe.probes(contexts="nameless", stated="place=beach").set_index(
        ["topic", "template", "split"]
    )["messages"]
    for row in recipe.stated("place").query("value == 'beach'").itertuples():
        assert row.messages == one[(row.topic, row.template, row.split)]


def test_only_a_chat_has_earlier_turns(recipe: Any) -> None:
    with pytest.raises(WorldError, match=r"earlier turns of a chat \(nameless, named\); got plain"):
        recipe.probes(contexts="plain", stated="place=beach")
    with pytest.raises(WorldError, match="did you mean 'place=beach'"):
        recipe.probes(contexts="nameless", stated="place=beech")
