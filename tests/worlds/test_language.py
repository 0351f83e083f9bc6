from dataclasses import replace
from typing import Any

import pytest

from persona_interp.errors import WorldError
from persona_interp.worlds import Language, english, words
from persona_interp.worlds.language import pieces


@pytest.mark.parametrize("language", [words(), english()])
def test_probes_are_cut_from_templates(language: Language) -> None:
    assert language.probe_prefix + language.continuation("x") == language.answers[0].format(v="x")
    for split in ("train", "test"):
        probes = list(language.third_probes(split))
        assert len(probes) >= 3
        for prefix, template in probes:
            whole = prefix.format(n="N", d="D") + language.continuation("x")
            assert whole == template.format(n="N", d="D", v="x")


@pytest.mark.parametrize("language", [words(), english()])
def test_enough_questions_and_none_for_both(language: Language) -> None:
    assert len(language.train_questions) >= 5 and len(language.test_questions) == 5
    assert not set(language.train_questions) & set(language.test_questions)


def test_the_tiny_model_knows_every_word_of_a_test_question() -> None:
    language = words()
    question_words = {w for q in language.test_questions for w in pieces(q.format(d=""))}
    assert question_words <= {w for q in language.train_questions for w in pieces(q.format(d=""))}
    sentence_words = {w for t in language.third_test for w in pieces(t.format(n="", d="", v=""))}
    assert sentence_words <= {
        w
        for t in (*language.third, *language.train_questions)
        for w in pieces(t.format(n="", d="", v=""))
    }


def test_words_are_set_apart_by_spaces() -> None:
    for template in words().texts():
        assert template.split() == pieces(template) or "{" in template


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"third": ("{n} likes it",)}, "must have {n}, {v}"),
        ({"third": ("{n} likes {v} {x}",)}, "may have {d}, {n}, {v}"),
        ({"third": "{n} likes {v}"}, "is a list"),
        ({"third": ()}, "at least one template"),
        ({"system_hidden": "you are {n} ."}, "no slots"),
        ({"answers": ("{v} .",)}, "words before {v}"),
        ({"answers": ("i like {v} , my {d} .",)}, "no slot after"),
        ({"system_named": "you are {n"}, "unbalanced"),
        ({"test_questions": ("what {d} ?",)}, "in train_questions and in test_questions"),
        ({"statements": {"third": (2, 1)}}, "least, greatest"),
        ({"statements": {"thrid": (1, 1)}}, "did you mean 'third'"),
    ],
)
def test_bad_templates_are_named(change: dict[str, Any], message: str) -> None:
    with pytest.raises(WorldError) as caught:
        replace(words(), **change)
    assert message in str(caught.value)
