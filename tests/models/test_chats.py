"""Chat templates of families give every token its owner, one BOS or none, and lose no content."""

import importlib.util
from pathlib import Path
from typing import Any

import pytest
import tokenizers
from tokenizers import Tokenizer
from transformers import PreTrainedTokenizerFast

from persona_interp.errors import ModelError
from persona_interp.models import encode, fold_system, folds_system, has_system
from persona_interp.models.chats import fold_template
from persona_interp.models.load import load_tokenizer

_spec = importlib.util.spec_from_file_location(
    "templates", Path(__file__).with_name("templates.py")
)
assert _spec and _spec.loader
templates = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(templates)

CHAT = [
    {"role": "system", "content": "Be kind."},
    {"role": "user", "content": " Which sport?\n"},
    {"role": "assistant", "content": "I like\nit. "},
    {"role": "user", "content": "Why?"},
    {"role": "assistant", "content": " Fun."},
]


@pytest.fixture(params=sorted(templates.TEMPLATES))
def family(request: pytest.FixtureRequest, stories: Any) -> Any:
    tokenizer = load_tokenizer(stories)
    tokenizer.chat_template = templates.TEMPLATES[request.param]
    tokenizer.family = request.param
    return tokenizer


def owned(tokenizer: Any, tokens: Any, role: str) -> str:
    (ids,), (roles,) = tokens.ids, tokens.roles
    return tokenizer.decode([i for i, r in zip(ids, roles, strict=True) if r == role])


def fitting(tokenizer: Any, chat: list[dict[str, str]]) -> list[dict[str, str]]:
    return chat if has_system(tokenizer) else fold_system(chat)


def test_every_content_keeps_its_role(family: Any) -> None:
    tokens = encode(family, [fitting(family, CHAT)], complete=True)
    words = {role: owned(family, tokens, role).split() for role in ("system", "user", "assistant")}
    kept = family.family not in templates.NO_SYSTEM
    assert words["system"] == (["Be", "kind."] if kept else [])
    assert "".join(words["user"]).replace("Bekind.", "") == "Whichsport?Why?"
    assert "".join(words["assistant"]) == "Ilikeit.Fun."
    for turn in range(len(fitting(family, CHAT))):
        own = [i for i, t in zip(tokens.ids[0], tokens.turns[0], strict=True) if t == turn]
        assert family.decode(own).split() == fitting(family, CHAT)[turn]["content"].split()


def test_exactly_one_bos_even_where_template_and_tokenizer_both_write_one(family: Any) -> None:
    assert family("a")["input_ids"][0] == family.bos_token_id, "this tokenizer adds one"
    for complete in (True, False):
        (ids,) = encode(
            family, [fitting(family, CHAT)[:-1] if not complete else CHAT[1:]], complete=complete
        ).ids
        assert ids[0] == family.bos_token_id and ids.count(family.bos_token_id) == 1


def test_an_answer_is_learned_with_its_end_and_nothing_else(family: Any) -> None:
    tokens = encode(family, [fitting(family, CHAT)], complete=True)
    said = family.decode([i for i, yes in zip(tokens.ids[0], tokens.learn[0], strict=True) if yes])
    ends = {
        "llama3": "<|eot_id|>",
        "gemma": "<end_of_turn>",
        "phi3": "<|end|>",
        "olmo2": "</s>",
        "zephyr": "</s>",
    }
    end = ends.get(family.family, "</s>" if "mistral" in family.family else "<|im_end|>")
    assert (
        said.count(end) >= 2
        and "".join(said.replace(end, "").replace("</s>", "").split()) == "Ilikeit.Fun."
    )


def test_a_question_is_what_its_answered_chat_begins_with(family: Any) -> None:
    chat = fitting(family, CHAT)
    whole, asked = (
        encode(family, [chat], complete=True),
        encode(family, [chat[:-1]], answers=[" Fun."]),
    )
    at = asked.answer_start[0]
    assert whole.ids[0][:at] == asked.ids[0][:at]
    assert family.decode(asked.ids[0][at:]).strip() == "Fun."


@pytest.mark.parametrize("name", templates.NO_SYSTEM)
def test_no_system_role_is_an_error_that_says_what_to_do(stories: Any, name: str) -> None:
    tokenizer = load_tokenizer(stories)
    tokenizer.chat_template = templates.TEMPLATES[name]
    assert not has_system(tokenizer)
    with pytest.raises(
        ModelError, match=r"refuses messages of the roles system, user.*fold_system"
    ):
        encode(tokenizer, [CHAT[:2]])


def test_folding_moves_the_system_message_and_nothing_else() -> None:
    assert fold_system(CHAT)[0] == {"role": "user", "content": "Be kind.\n\n Which sport?\n"}
    assert fold_system(CHAT)[1:] == CHAT[2:] and fold_system(CHAT[1:]) == CHAT[1:]
    with pytest.raises(ModelError, match="got the roles system, assistant"):
        fold_system([CHAT[0], CHAT[2]])


@pytest.mark.parametrize("name", templates.NO_SYSTEM)
def test_a_folding_template_writes_what_the_folded_chat_is_and_keeps_roles(
    stories: Any, name: str
) -> None:
    tokenizer = load_tokenizer(stories)
    tokenizer.chat_template = templates.TEMPLATES[name]
    chat = [{"role": "system", "content": "\n Be kind.\n"}, *CHAT[1:]]
    shapes = {"whole": chat, "asked": chat[:-1], "no system": chat[1:], "one question": chat[:2]}
    want = {
        key: encode(tokenizer, [fold_system(c)], complete=key == "whole").ids
        for key, c in shapes.items()
    }
    assert not folds_system(tokenizer)
    tokenizer.chat_template = fold_template(tokenizer.chat_template)
    assert has_system(tokenizer) and folds_system(tokenizer)
    assert want == {
        key: encode(tokenizer, [c], complete=key == "whole").ids for key, c in shapes.items()
    }
    tokens = encode(tokenizer, [chat], complete=True)
    words = {
        role: "".join(owned(tokenizer, tokens, role).split())
        for role in ("system", "user", "assistant")
    }
    assert words == {"system": "Bekind.", "user": "Whichsport?Why?", "assistant": "Ilikeit.Fun."}
    assert "".join(owned(tokenizer, tokens, "template").split()).count("Be") == 0
    with pytest.raises(ModelError, match="refuses messages of the roles system"):
        encode(tokenizer, [[CHAT[0], CHAT[2]]])


def test_an_earlier_answer_may_look_otherwise_than_the_last(stories: Any) -> None:
    tokenizer = load_tokenizer(stories)
    tokenizer.chat_template = templates.QWEN3
    text = tokenizer.decode(encode(tokenizer, [CHAT], complete=True).ids[0])
    assert "assistant\nI like" in text and "assistant\n<think>\n\n</think>\n\n Fun." in text


def test_a_template_may_tell_contents_in_another_order(stories: Any) -> None:
    tokenizer = load_tokenizer(stories)
    tokenizer.chat_template = (
        "{{ bos_token }}{% for m in messages %}{% if m.role == 'user' %}[INST] {% if loop.last and "
        "messages[0].role == 'system' %}{{ messages[0].content + '\n\n' }}{% endif %}{{ m.content "
        "}}[/INST]"
        "{% elif m.role == 'assistant' %}{{ ' ' + m.content + eos_token }}{% endif %}{% endfor %}"
    )
    tokens = encode(tokenizer, [CHAT[:4]])
    assert tokenizer.decode(tokens.ids[0]).endswith("[INST] Be kind.\n\nWhy?[/INST]")
    assert owned(tokenizer, tokens, "system").split() == ["Be", "kind."]
    assert not has_system(tokenizer), "an answered chat would lose its system message"
    with pytest.raises(ModelError, match="drops the system message"):
        encode(tokenizer, [CHAT], complete=True)


def test_tool_turns_have_a_role_of_their_own(stories: Any) -> None:
    tokenizer = load_tokenizer(stories)
    tokenizer.chat_template = templates.QWEN25
    call = {"function": {"name": "look", "arguments": {"at": "sky"}}}
    chat = [
        {"role": "user", "content": "Is it blue?"},
        {"role": "assistant", "content": "", "tool_calls": [call]},
        {"role": "tool", "content": "very blue"},
        {"role": "tool", "content": "and big"},
        {"role": "assistant", "content": "Yes."},
    ]
    tokens = encode(tokenizer, [chat], complete=True)
    assert "".join(owned(tokenizer, tokens, "tool").split()) == "veryblueandbig"
    assert owned(tokenizer, tokens, "assistant").strip() == "Yes." and '"sky"' in owned(
        tokenizer, tokens, "template"
    )
    tokenizer.chat_template = templates.GEMMA
    with pytest.raises(ModelError, match="refuses messages"):
        encode(tokenizer, [chat], complete=True)


@pytest.mark.parametrize(
    "message", [{"role": "user"}, {"content": "a"}, {"role": "user", "content": ["a"]}, "text"]
)
def test_a_message_without_role_or_text_is_shown(stories: Any, message: Any) -> None:
    with pytest.raises(ModelError, match="a message has a role and a content that is text"):
        encode(load_tokenizer(stories), [[message]])


def bytes_tokenizer(**special: str) -> Any:
    """A byte-level tokenizer like Qwen's: no BOS before text, tokens that open and close turns."""
    marks = ["<|im_start|>", "<|im_end|>"]
    backend = Tokenizer(tokenizers.models.BPE())
    backend.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = tokenizers.decoders.ByteLevel()
    alphabet = tokenizers.pre_tokenizers.ByteLevel.alphabet()
    backend.train_from_iterator(
        [], tokenizers.trainers.BpeTrainer(special_tokens=marks, initial_alphabet=alphabet)
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        additional_special_tokens=marks,
        chat_template=templates.CHATML,
        **special,
    )


@pytest.mark.parametrize(
    "special",
    [{"eos_token": "<|im_end|>"}, {"bos_token": "<|im_start|>", "eos_token": "<|im_end|>"}],
)
def test_no_bos_where_the_model_wants_none(special: dict[str, str]) -> None:
    """Neither without a BOS, as Qwen, nor where the BOS opens every turn, as SmolLM2."""
    tokenizer = bytes_tokenizer(**special)
    asked, text = encode(tokenizer, [CHAT[:2], [{"role": "text", "content": "Why?"}]]).ids
    assert tokenizer.decode(asked) == (
        "<|im_start|>system\nBe kind.<|im_end|>\n<|im_start|>user\n Which "
        "sport?\n<|im_end|>\n<|im_start|>assistant\n"
    )
    assert asked.count(0) == 3 and tokenizer.decode(text) == "Why?"


def test_golden_ids_of_the_tiny_model(tokenizer: Any) -> None:
    chat = [
        {"role": "user", "content": "what sport ?"},
        {"role": "assistant", "content": "i like football ."},
    ]
    tokens = encode(tokenizer, [chat], complete=True)
    names = tokenizer.convert_ids_to_tokens(tokens.ids[0])
    assert names == "<bos> <user> what sport ? <assistant> i like football . <eos>".split()
    assert tokens.roles[0] == ["special"] * 2 + ["user"] * 3 + ["special"] + ["assistant"] * 4 + [
        "special"
    ]
