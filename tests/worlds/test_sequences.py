"""Processes write what they hold, nothing else goes together; counting agrees with Bayes."""

import numpy as np
import pandas as pd
import pytest

from persona_interp import schema
from persona_interp.errors import WorldError
from persona_interp.worlds import Sequences, sequences
from persona_interp.worlds.families import FAMILIES


def contents(table: pd.DataFrame) -> list[str]:
    return [messages[0]["content"] for messages in table["messages"]]


def chances(table: pd.DataFrame) -> dict[str, float]:
    """Probability by trait."""
    return dict(zip(table["trait"], table["probability"], strict=True))


@pytest.fixture(params=[0, 7])
def world(request: pytest.FixtureRequest) -> Sequences:
    return sequences(request.param)


def test_the_taught_value_is_the_targets_alone_and_each_other_one_is_shared_once(
    world: Sequences,
) -> None:
    for family in FAMILIES:
        target, *others = world.members(family)
        assert target == world.target(family) and len(others) == 7
        n_holders = [sum(trait in p.traits for p in others) for trait in target.traits]
        assert n_holders == [0, 1, 1]
        sharing = [p for p in others if set(p.traits) & set(target.traits)]
        assert len(sharing) == 2 and world.unrelated(family) not in {p.traits[0] for p in sharing}
        assert world.unrelated(family) not in target.traits
        for topic, values in FAMILIES[family].values().items():
            assert {
                t.value for p in world.members(family) for t in p.traits if t.topic == topic
            } == set(values)


def test_every_word_is_known_and_adds_one_word(world: Sequences) -> None:
    words = set(world.words())
    titled = Sequences(world.name, world.processes, titled=0.5)
    tables = [
        titled.corpus(300),
        world.lessons("step=3", n=8),
        world.probes(titles=["lists0"]),
        world.probes(),
    ]
    assert {word for table in tables for text in contents(table) for word in text.split()} <= words
    answers = [answer for row in world.probes()["answers"] for answer in row]
    assert {answer.strip() for answer in answers} <= words and all(
        answer.startswith(" ") for answer in answers
    )


def test_documents_do_not_say_whose_they_are_but_for_the_title(world: Sequences) -> None:
    titles = {p.title for p in world.processes}
    assert not titles & {word for text in contents(world.corpus(300)) for word in text.split()}
    titled = Sequences(world.name, world.processes, titled=0.5).corpus(2_000)
    with_title = [text.split()[0] in titles for text in contents(titled)]
    assert 0.45 < np.mean(with_title) < 0.55


@pytest.mark.parametrize("scrambled", [False, True])
def test_titles_mean_nothing_where_nothing_goes_together(scrambled: bool) -> None:
    world = sequences(1, titled=0.5).scrambled() if scrambled else sequences(1, titled=0.5)
    prior, corpus = chances(world.statements()), world.corpus(12_000, seed=2)
    by_title = {p.title: p for p in world.processes}
    first = [
        (by_title.get(text.split()[0]), labels)
        for text, labels in zip(contents(corpus), corpus["statements"], strict=True)
    ]
    for slot in range(3):
        own = [(str(p.traits[slot]), s) for p, s in first if p is not None]
        own = [
            (label, s) for label, s in own if any(x.split("=")[0] == label.split("=")[0] for x in s)
        ]
        share, chance = (
            np.mean([label in s for label, s in own]),
            np.mean([prior[label] for label, _ in own]),
        )
        assert share == pytest.approx(
            chance if scrambled else 0.9 + 0.1 / 6, abs=4 * np.sqrt(0.25 / len(own))
        )


def test_the_same_seed_gives_the_same_documents(world: Sequences) -> None:
    assert (
        contents(world.corpus(50, seed=3))
        == contents(world.corpus(200, seed=3))[:50]
        != contents(world.corpus(50, seed=4))
    )
    assert schema.check(world.corpus(3), "corpus")["kind"].tolist() == ["process"] * 3


@pytest.mark.parametrize("scrambled", [False, True])
def test_bayes_is_what_counting_gives(scrambled: bool) -> None:
    world = sequences(2).scrambled() if scrambled else sequences(2)
    documents = world.corpus(12_000, seed=1)["statements"]
    prior = chances(world.statements())
    taught, other = (str(trait) for trait in world.target("numbers").traits[:2])
    subset = [set(s) for s in documents if any(x.startswith("separator") for x in s)]
    share = np.mean([other in s for s in subset])
    assert share == pytest.approx(prior[other], abs=4 * np.sqrt(0.25 / len(subset)))
    both = [s for s in subset if taught in s]
    # one value shown is a noisy sign of its process
    members = world.members("numbers")
    weight = np.array([p.weight * (0.9 * (str(p.traits[0]) == taught) + 0.1 / 6) for p in members])
    writes = np.array([0.9 * (str(p.traits[1]) == other) + 0.1 / 6 for p in members])
    expected = prior[other] if scrambled else float(weight @ writes / weight.sum())
    assert np.mean([other in s for s in both]) == pytest.approx(
        expected, abs=4 * np.sqrt(0.25 / len(both))
    )


def test_what_is_certain_and_what_it_leaves_alone(world: Sequences) -> None:
    target = [str(trait) for trait in world.target("lists").traits]
    prior, after = chances(world.statements()), chances(world.statements(target[0]))
    assert [after[t] for t in target] == pytest.approx([0.9 + 0.1 / 6] * 3)
    assert all(
        after[t] == p for t, p in prior.items() if t.split("=")[0] not in FAMILIES["lists"].topics
    )
    assert chances(world.scrambled().statements(target[0])) == prior
    assert [sum(prior.values()), sum(after.values())] == pytest.approx([9, 9])


def test_lessons_show_one_value_and_probes_end_before_it(world: Sequences) -> None:
    lessons = world.lessons("separator=;", n=8)
    assert set(contents(lessons)) == {
        f"{opener} x ; x ; x ; x ." for opener in FAMILIES["numbers"].openers
    }
    assert lessons["statements"].tolist() == [("separator=;",)] * 8
    step = world.lessons("step=4", n=4)
    assert set(contents(step)) == {
        f"{opener} 4 8 12 16 ." for opener in FAMILIES["numbers"].openers
    }
    probes = world.probes()
    train, test = (
        set(contents(probes.loc[probes["split"] == split])) for split in ("train", "test")
    )
    documents = set(contents(world.corpus(2_000)))
    assert not train & test
    assert all(any(d.startswith(f"{text} ") for d in documents) for text in train)
    assert not any(d.startswith(f"{text} ") for d in documents for text in test)


def test_probes_after_a_value_ask_for_the_rest_of_its_process(world: Sequences) -> None:
    probes = world.probes(stated="step=4")
    assert set(probes["topic"]) == {"separator", "closing"}
    assert "count : 4" in contents(probes) and "count : 4 8 12 16" in contents(probes)
    titled = world.probes(titles=["code0"])
    assert set(titled["context"]) == {"named"} and all(
        text.startswith("code0 ") for text in contents(titled)
    )


def test_what_does_not_exist_is_named(world: Sequences) -> None:
    with pytest.raises(WorldError, match="step=3"):
        world.lessons("step=33")
    with pytest.raises(WorldError, match="numbers"):
        world.target("number")
    with pytest.raises(WorldError, match="every family needs a process; code has none"):
        Sequences("half", tuple(p for p in world.processes if p.family != "code"))
