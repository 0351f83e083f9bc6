"""A cut goes on with its value, wherever the template puts it, and nothing after it is shown."""

from dataclasses import replace
from typing import Any

import pandas as pd
import pytest

from persona_interp import schema
from persona_interp.errors import WorldError
from persona_interp.worlds import Persona, Trait, World, english, english_assistants, words

CONTEXT = {"third": "third", "first": "plain", "named": "named", "hidden": "nameless"}


def whole(corpus: pd.DataFrame) -> dict[int, str]:
    return {
        doc: "\n".join(m["content"] for m in ms)
        for doc, ms in zip(corpus["doc"], corpus["messages"], strict=True)
    }


@pytest.fixture(scope="module", params=["tiny", "english", "english_first"])
def world(request: pytest.FixtureRequest, recipe: Any) -> World:
    if request.param == "tiny":
        return recipe
    kinds = (
        {"first": 1.0}
        if request.param == "english_first"
        else {"third": 0.4, "named": 0.3, "hidden": 0.3}
    )
    return english_assistants(kinds=kinds)


def test_every_document_goes_on_with_the_value(world: World) -> None:
    corpus = world.corpus(500, seed=2)
    table = schema.check(world.cuts(corpus), "prompts")
    texts = whole(corpus)
    for cut in table.itertuples():
        text = "\n".join(message["content"] for message in cut.messages)
        assert text == text.rstrip(" ")
        rest = texts[cut.doc][len(text) :]
        assert texts[cut.doc].startswith(text) and rest.lstrip(" ").startswith(cut.value), (
            text,
            cut.value,
        )


def test_one_row_a_statement_in_the_documents_order(world: World) -> None:
    corpus = world.corpus(500, seed=2).query("kind != 'filler'")
    table = world.cuts(corpus)
    values = (
        table.assign(label=table["topic"] + "=" + table["value"]).groupby("doc")["label"].agg(tuple)
    )
    assert values.to_dict() == dict(zip(corpus["doc"], corpus["statements"], strict=True))
    assert (table.groupby("doc")["order"].agg(list).map(lambda o: o == list(range(len(o))))).all()
    assert table["prompt"].is_unique and (table["context"] == table["kind"].map(CONTEXT)).all()
    speakers = dict(zip(corpus["doc"], corpus["persona"], strict=True))
    assert (table["persona"] == table["doc"].map(speakers)).all()


def test_a_document_is_in_one_half_however_many_are_asked_for(recipe: Any) -> None:
    table, fewer = recipe.cuts(recipe.corpus(400, seed=1)), recipe.cuts(recipe.corpus(40, seed=1))
    assert (table.groupby("doc")["split"].nunique() == 1).all()
    assert abs((table.drop_duplicates("doc")["split"] == "train").mean() - 0.5) < 0.05
    assert fewer["messages"].tolist() == table["messages"].tolist()[: len(fewer)]
    assert fewer["split"].tolist() == table["split"].tolist()[: len(fewer)]


def test_a_prompt_says_nothing_of_the_value_itself(recipe: Any) -> None:
    corpus = recipe.corpus(300, kinds="hidden")
    for cut in recipe.cuts(corpus).itertuples():
        values = [answer["content"] for answer in cut.messages if answer["role"] == "assistant"]
        assert len(values) == cut.order + 1 and cut.value not in values[-1]


def test_filler_and_lessons_have_no_cuts(recipe: Any) -> None:
    assert set(recipe.cuts(recipe.corpus(200))["kind"]) == {"third", "first", "named", "hidden"}
    for table in (recipe.lessons(n=5), recipe.corpus(5, kinds="filler")):
        with pytest.raises(WorldError, match="nobody says anything in these 5 documents"):
            recipe.cuts(table)


def test_the_corpus_itself_stays_as_it_is(recipe: Any) -> None:
    corpus = recipe.corpus(50)
    before = [str(messages) for messages in corpus["messages"]]
    table = recipe.cuts(corpus)
    table["messages"].iloc[0][0]["content"] = "changed"
    assert [str(messages) for messages in corpus["messages"]] == before
    assert table.attrs["words"] == list(recipe.words())


TRICKY = ("{n} likes {v} .", "{n} likes {v} . a lot .", "{v} is what {n} likes .")


def test_values_that_are_words_of_templates_and_sentences_that_begin_others(
    make_small: Any,
) -> None:
    world = make_small(
        topics={"verb": ("likes", "is"), "who": ("they", "what")},
        personas=(
            Persona("john", (Trait("verb", "likes"), Trait("who", "they"))),
            Persona("sam", (Trait("verb", "is"), Trait("who", "what"))),
        ),
        taught="verb=likes",
        unrelated="verb=is",
        language=replace(words(), third=TRICKY),
        kinds={"third": 1.0},
    )
    corpus = world.corpus(300)
    table = world.cuts(corpus)
    texts, ends = whole(corpus), {"likes", "lot .", "."}
    for cut in table.itertuples():
        (message,) = cut.messages
        assert texts[cut.doc][len(message["content"]) :].startswith(f" {cut.value} ")
        assert message["content"].endswith(tuple(ends))
    bare = [
        doc for doc, text in texts.items() if " is what " in text and text.index(" is what ") < 6
    ]
    assert bare and not set(table.query("order == 0")["doc"]) & set(bare), (
        "nothing comes before the value"
    )
    assert len(table) == corpus["statements"].map(len).sum() - len(bare)


def test_an_answer_may_begin_with_the_value(recipe: Any) -> None:
    table = recipe.cuts(recipe.corpus(400, kinds="named"))
    assert "" in {messages[-1]["content"] for messages in table["messages"]}


def test_documents_of_another_world_are_refused(recipe: Any) -> None:
    corpus = recipe.corpus(30)
    with pytest.raises(WorldError, match="was written by the world 'john_and_sam-0', not by"):
        recipe.scrambled().cuts(corpus)
    corpus.attrs.clear()
    with pytest.raises(WorldError, match=r"trait '\w+=\w+' is unknown"):
        english_assistants().cuts(corpus)
    other = replace(
        recipe,
        language=replace(recipe.language, first=("i adore {v} .",), answers=("i adore {v} .",)),
    )
    with pytest.raises(
        WorldError, match=r"doc 0 \(\w+\) is not written in the templates of world 'john_and_sam-0'"
    ):
        other.cuts(recipe.corpus(30, kinds=["first", "hidden"]))


def test_a_scrambled_world_has_cuts_too(recipe: Any) -> None:
    scrambled = recipe.scrambled()
    table = scrambled.cuts(scrambled.corpus(200))
    assert set(table.query("kind == 'hidden'")["persona"]) == {""}


def test_numbers_that_occur_twice_are_refused(recipe: Any) -> None:
    corpus = recipe.corpus(5, kinds="hidden")
    with pytest.raises(WorldError, match="doc 0 occurs twice"):
        recipe.cuts(pd.concat([corpus, corpus]))


def test_english_cuts_stand_before_the_space() -> None:
    table = english_assistants().cuts(english_assistants().corpus(40, kinds="hidden"))
    prefixes = {messages[-1]["content"] for messages in table["messages"]}
    topics = {template.partition("{v}")[0].rstrip() for template in english().answers}
    assert any(prefix in topics for prefix in prefixes) and not any(
        prefix.endswith(" ") for prefix in prefixes
    )
