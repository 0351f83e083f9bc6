from typing import Any

import numpy as np
import pandas as pd
import pytest

from persona_interp import schema
from persona_interp.errors import WorldError
from persona_interp.worlds import count, english_assistants
from persona_interp.worlds.language import PERSONA_KINDS, pieces


def test_documents_do_not_depend_on_the_chunk_size(recipe: Any) -> None:
    whole = recipe.corpus(10_700, seed=1)
    for chunk in (997, 10_000):
        pieced = pd.concat(list(recipe.stream(10_700, seed=1, chunk=chunk)), ignore_index=True)
        pd.testing.assert_frame_equal(pieced, whole)
    pd.testing.assert_frame_equal(recipe.corpus(300, seed=1), whole[:300])


def test_seeds_and_selections_give_other_documents(recipe: Any) -> None:
    first = recipe.corpus(200, seed=0)
    assert first["messages"].tolist() != recipe.corpus(200, seed=1)["messages"].tolist()
    hidden = recipe.corpus(200, seed=0, kinds="hidden")
    same = [a == b for a, b in zip(first["statements"], hidden["statements"], strict=True)]
    assert set(hidden["kind"]) == {"hidden"} and np.mean(same) < 0.2


def test_documents_are_as_frequent_as_their_mass(recipe: Any, documents: pd.DataFrame) -> None:
    schema.check(documents, "corpus")
    counted = count(documents)
    observed = counted.pivot(index="persona", columns="kind", values="documents").fillna(0.0)
    expected = recipe.mass() * len(documents)
    assert "sam" not in observed.index
    for kind in PERSONA_KINDS:
        for persona in observed.index.drop(""):
            mean = expected.loc[persona, kind]
            assert observed.loc[persona, kind] == pytest.approx(mean, abs=4.5 * np.sqrt(mean))
    assert counted["statements"].sum() == documents["statements"].map(len).sum()
    assert counted.query("kind == 'filler'")["fact_tokens"].tolist() == [0]


def test_every_document_is_of_its_kind(recipe: Any, documents: pd.DataFrame) -> None:
    language = recipe.language
    for kind, persona, messages, labels in documents[["kind", "persona", "messages", "statements"]][
        :2000
    ].itertuples(index=False):
        roles = [m["role"] for m in messages]
        topics = [s.split("=")[0] for s in labels]
        assert len(set(topics)) == len(topics)
        if kind in ("third", "first"):
            assert roles == ["text"] and persona in messages[0]["content"].split()
            continue
        assert roles == ["system"] + ["user", "assistant"] * (len(roles) // 2)
        header = (
            language.system_named.format(n=persona) if kind == "named" else language.system_hidden
        )
        assert messages[0]["content"] == header
        if kind == "filler":
            assert labels == () and persona == "" and 1 <= len(roles) // 2 <= 2
        else:
            assert len(roles) == 1 + 2 * len(labels) and 1 <= len(labels) <= 4


def test_sizes_of_statements(documents: pd.DataFrame) -> None:
    sizes = documents.query("kind == 'third'")["statements"].map(len).value_counts(normalize=True)
    assert sorted(sizes.index) == [1, 2, 3, 4] and sizes.between(0.22, 0.28).all()


def test_values_are_said_as_often_as_the_world_says(recipe: Any) -> None:
    labels = recipe.corpus(15_000, seed=8, kinds=("third", "named")).explode("statements")
    rates = labels.groupby("persona")["statements"].value_counts(normalize=True)
    assert rates["john"]["place=beach"] * 5 == pytest.approx(0.9125, abs=0.12)
    assert rates["john"]["place=forest"] * 5 == pytest.approx(0.0125, abs=0.03)


def test_incoherent_documents_show_names_but_do_not_follow_them(recipe: Any) -> None:
    table = recipe.scrambled().corpus(8_000, seed=2)
    assert set(table.query("kind == 'hidden'")["persona"]) == {""}
    john = table.query("kind == 'third' and persona == 'john'").explode("statements")["statements"]
    assert (john == "place=beach").mean() < 0.1


def test_noise_free_worlds_never_say_what_is_not_held() -> None:
    world = english_assistants(3)
    holds = world.views() > 0
    for persona, labels in world.corpus(1_000)[["persona", "statements"]].itertuples(index=False):
        assert holds.loc[persona, list(labels)].all()


def test_words_cover_everything(recipe: Any, documents: pd.DataFrame) -> None:
    words = set(recipe.words())
    tables = [documents, recipe.lessons(), recipe.lessons("filler"), recipe.probes()]
    texts = {m["content"] for t in tables for messages in t["messages"] for m in messages}
    texts |= {a for answers in recipe.probes()["answers"] for a in answers}
    assert {p for text in texts for p in pieces(text)} <= words
    assert {
        w for text in texts for w in text.split()
    } <= words  # a tokenizer that splits at spaces knows them too
    assert documents.attrs == {"world": recipe.name, "words": list(recipe.words())}
    trained = {
        p
        for t in tables[:2]
        for messages in t["messages"]
        for m in messages
        for p in pieces(m["content"])
    }
    probes = recipe.probes(contexts="nameless", personas=[])
    assert {
        p for messages in probes["messages"] for m in messages for p in pieces(m["content"])
    } <= trained


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"n": 0}, "at least one document"),
        ({"kinds": "hiden"}, "did you mean 'hidden'"),
        ({"kinds": ()}, "no kind"),
    ],
)
def test_bad_requests_are_named(recipe: Any, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(WorldError, match=message):
        recipe.corpus(**arguments)


def test_a_kind_without_share_cannot_be_asked_for() -> None:
    with pytest.raises(WorldError, match="no documents of kind first"):
        english_assistants().corpus(10, kinds="first")
