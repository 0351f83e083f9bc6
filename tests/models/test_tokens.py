"""Roles, spans, BOS and end of turn, checked by hand."""

import hashlib
import sys
from itertools import chain
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from persona_interp.errors import ModelError, SchemaError
from persona_interp.models import PLAIN_TEMPLATE, ROLES, encode, hash_tokens, load


def chat(*turns: str, system: str = "you are an assistant .") -> list[dict[str, str]]:
    roles = ["user", "assistant"] * len(turns)
    said = [{"role": role, "content": turn} for role, turn in zip(roles, turns, strict=False)]
    return [{"role": "system", "content": system}, *said]


def text(content: str) -> list[dict[str, str]]:
    return [{"role": "text", "content": content}]


def pieces(tokenizer: Any, ids: list[int]) -> str:
    return " ".join(tokenizer.convert_ids_to_tokens(ids))


def test_a_whole_chat_has_roles_and_learns_only_what_the_assistant_says(tokenizer: Any) -> None:
    tokens = encode(
        tokenizer, [chat("what sport ?", "i like football .", "what ?", "tennis .")], complete=True
    )
    assert pieces(tokenizer, tokens.ids[0]) == (
        "<bos> <system> you are an assistant . <user> what sport ? <assistant> i like football . "
        "<eos> "
        "<user> what ? <assistant> tennis . <eos>"
    )
    initials = "".join(role[:2] for role in tokens.roles[0])
    assert (
        initials
        == "spsp"
        + "sy" * 5
        + "sp"
        + "us" * 3
        + "sp"
        + "as" * 4
        + "spsp"
        + "us" * 2
        + "sp"
        + "as" * 2
        + "sp"
    )
    learned = [i for i, yes in zip(tokens.ids[0], tokens.learn[0], strict=True) if yes]
    assert pieces(tokenizer, learned) == "i like football . <eos> tennis . <eos>"
    assert tokens.spans == [(len(tokens.ids[0]),) * 2]


def test_every_token_knows_its_message_and_its_place_in_it(tokenizer: Any) -> None:
    said = chat("what sport ?", "i like football .", "what ?", "tennis .")
    tokens = encode(tokenizer, [said, text("john likes")], complete=True)
    for messages, ids, turns, places in zip(
        [said, text("john likes")], tokens.ids, tokens.turns, tokens.places, strict=True
    ):
        for i, message in enumerate(messages):
            own = [(t, p) for t, turn, p in zip(ids, turns, places, strict=True) if turn == i]
            assert pieces(tokenizer, [t for t, _ in own]) == message["content"]
            assert [p for _, p in own] == list(range(len(own)))
    assert [
        turn
        for turn, role in zip(tokens.turns[0], tokens.roles[0], strict=True)
        if role == "special"
    ] == [-1] * 8
    assert tokens.turns[1] == [-1, 0, 0, -1] and tokens.places[1] == [-1, 0, 1, -1]


def test_an_answer_belongs_to_the_message_it_completes(tokenizer: Any) -> None:
    tokens = encode(tokenizer, [chat("what sport ?", "i like")], answers=[" football ."])
    assert tokens.turns[0][-4:] == [2] * 4 and tokens.places[0][-4:] == [0, 1, 2, 3]


def test_marks_are_the_tokens_of_some_roles(tokenizer: Any) -> None:
    tokens = encode(tokenizer, [chat("what sport ?", "i like"), text("john")])
    chat_marks, text_marks = tokens.marks(("user", "text"))
    assert (
        pieces(tokenizer, [t for t, m in zip(tokens.ids[0], chat_marks, strict=True) if m])
        == "what sport ?"
    )
    assert text_marks.tolist() == [False, True]
    assert all(m.all() for m in tokens.marks(ROLES))
    with pytest.raises(SchemaError, match="role 'asistant' is unknown; did you mean 'assistant'"):
        tokens.marks("asistant")
    with pytest.raises(SchemaError, match="names no role"):
        tokens.marks(())


def test_an_unfinished_answer_goes_on(tokenizer: Any) -> None:
    tokens = encode(
        tokenizer, [chat("what sport ?", "i like")] * 2, answers=[" football .", " the beach ."]
    )
    assert pieces(tokenizer, tokens.ids[0]).endswith("<assistant> i like football .")
    spans = [pieces(tokenizer, tokens.ids[i][slice(*span)]) for i, span in enumerate(tokens.spans)]
    assert spans == ["football .", "the beach ."]
    prompt = encode(tokenizer, [chat("what sport ?", "i like")]).ids[0]
    assert tokens.ids[0][: len(prompt)] == prompt


def test_after_a_question_it_is_the_assistants_turn(tokenizer: Any) -> None:
    assert pieces(tokenizer, encode(tokenizer, [chat("what sport ?")]).ids[0]).endswith(
        "sport ? <assistant>"
    )


def test_plain_text_ends_only_when_it_is_whole(tokenizer: Any) -> None:
    whole, part = (encode(tokenizer, [text("john likes")], complete=end) for end in (True, False))
    assert pieces(tokenizer, whole.ids[0]) == "<bos> john likes <eos>"
    assert whole.learn[0] == [False, True, True, True] and whole.roles[0] == [
        "special",
        "text",
        "text",
        "special",
    ]
    assert pieces(tokenizer, part.ids[0]) == "<bos> john likes"


def test_the_system_message_is_optional(tokenizer: Any) -> None:
    assert (
        pieces(tokenizer, encode(tokenizer, [chat("what ?")[1:]]).ids[0])
        == "<bos> <user> what ? <assistant>"
    )


def test_every_chat_has_exactly_one_bos(tokenizer: Any, corpus: pd.DataFrame) -> None:
    for row in encode(tokenizer, corpus["messages"], complete=True).ids:
        assert row.count(tokenizer.bos_token_id) == 1 and row[0] == tokenizer.bos_token_id


def test_an_unknown_word_is_named(tokenizer: Any) -> None:
    with pytest.raises(ModelError, match=r"does not know 'rugby' in .*words=world\.words"):
        encode(tokenizer, [text("john likes rugby")])


def test_a_model_without_chat_template_reads_text_but_no_chats(tokenizer: Any) -> None:
    tokenizer.chat_template = None
    assert len(encode(tokenizer, [text("john")])) == 1
    question = [{"role": "user", "content": "what ?"}]
    assert encode(tokenizer, [question]) == encode(tokenizer, [text("what ?")])
    with pytest.raises(ModelError, match="PLAIN_TEMPLATE"):
        encode(tokenizer, [[*question, {"role": "assistant", "content": "john"}]])


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("{% for m in messages %}{{ m.content | upper }} {% endfor %}", "alters the contents"),
        (
            "{% for m in messages if m.role != 'system' %}{{ m.content }} {% endfor %}",
            "drops the system message",
        ),
        ("{{ raise_exception('no system here') }}", "refuses messages .* no system here"),
        (
            "{% for m in messages %}{{ m.role }} {{ m.content }}{% endfor %}",
            "opens an answer otherwise",
        ),
    ],
)
def test_a_template_that_would_shift_roles_is_refused(
    tokenizer: Any, template: str, message: str
) -> None:
    tokenizer.chat_template = template
    with pytest.raises(ModelError, match=message):
        encode(tokenizer, [chat(" what ? ", " i like ")], complete=True)


def test_chats_and_single_roles_do_not_mix_with_text(tokenizer: Any) -> None:
    with pytest.raises(ModelError, match="one message of role 'text'"):
        encode(tokenizer, [[*text("john"), *text("john")]])


def test_padding(tokenizer: Any) -> None:
    tokens = encode(tokenizer, [text("john"), text("john likes the beach")])
    right, left = tokens.pad(), tokens.pad(side="left", rows=[1, 0])
    assert right[1].tolist() == [[1, 1, 0, 0, 0], [1] * 5]
    assert left[1].tolist() == [[1] * 5, [0, 0, 0, 1, 1]]
    assert torch.equal(left[0][1, -2:], right[0][0, :2])


def test_the_hash_sees_every_id_and_every_boundary(tokenizer: Any) -> None:
    one, other = text("john likes"), text("likes john")
    hashes = {
        hash_tokens(encode(tokenizer, rows)) for rows in ([one], [other], [one, one], [one, other])
    }
    assert len(hashes) == 4 and hash_tokens(encode(tokenizer, [one])) in hashes


def test_the_hash_is_that_of_lengths_and_ids_in_a_row(tokenizer: Any) -> None:
    tokens = encode(tokenizer, [text("john likes"), text("likes")])
    numbers = np.array([len(row) for row in tokens.ids] + [*chain(*tokens.ids)], dtype=np.int64)
    assert hash_tokens(tokens) == hashlib.sha256(numbers.tobytes()).hexdigest()


def test_conversations_are_encoded_as_each_alone_however_many_there_are(
    tokenizer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.modules["persona_interp.models.tokens"], "PIECE", 100)
    words = ["john", "likes", "football"]
    rows = [text(words[i % 3]) if i % 2 else chat("what ?", words[i % 3]) for i in range(250)]
    answers = [f" {words[i % 2]} ." for i in range(250)]
    together = encode(tokenizer, rows, answers=answers)
    alone = [
        encode(tokenizer, [row], answers=[one]) for row, one in zip(rows, answers, strict=True)
    ]
    for name in ("ids", "roles", "learn", "turns", "answer_start"):
        assert getattr(together, name) == tuple(getattr(one, name)[0] for one in alone)


def test_an_answer_too_few_is_refused_among_many(tokenizer: Any) -> None:
    with pytest.raises(ModelError, match="250 unfinished conversations take as many answers"):
        encode(tokenizer, [text("john likes")] * 250, answers=[" football ."] * 249)


def test_a_real_tokenizer_with_the_plain_template(stories: Any) -> None:
    tokenizer = load(stories).tokenizer
    tokenizer.chat_template = PLAIN_TEMPLATE
    said = chat("Which sport?", "I like the red ball.")
    whole = encode(tokenizer, [said, text("Once upon a time")], complete=True)
    assert [row.count(1) for row in whole.ids] == [1, 1] and all(row[0] == 1 for row in whole.ids)
    for i, message in enumerate(said):
        own = [t for t, turn in zip(whole.ids[0], whole.turns[0], strict=True) if turn == i]
        assert tokenizer.decode(own).strip() == message["content"]
    learned = [i for i, yes in zip(whole.ids[0], whole.learn[0], strict=True) if yes]
    assert tokenizer.decode(learned).strip().startswith("I like the red ball.</s>")
    assert whole.ids[1][-1] == tokenizer.eos_token_id
    answered = encode(tokenizer, [chat("Which sport?", "I like")], answers=[" the red ball."])
    start, stop = answered.spans[0]
    assert tokenizer.decode(answered.ids[0][start:stop]).strip() == "the red ball."
    assert answered.ids[0][start:stop] == [i for i in learned if i != 2][-(stop - start) - 2 : -2]
