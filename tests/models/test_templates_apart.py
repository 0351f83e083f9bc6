"""No chat template takes more time, memory or text than its messages need, whatever it does."""

import json
import os
import resource
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from persona_interp.errors import ModelError
from persona_interp.models import PLAIN_TEMPLATE, apart, encode
from persona_interp.models.apart import render_apart
from persona_interp.models.chats import fold_template
from persona_interp.models.plain_templates import LONGEST, is_plain
from persona_interp.models.slots import render
from persona_interp.models.tiny import TEMPLATE, tiny_tokenizer
from tests.models import templates

CHAT = [{"role": "user", "content": "why"}, {"role": "assistant", "content": "so"}]
SAID = "{{ messages[0].content }}"
FAMILIES = {
    name: text for name, text in vars(templates).items() if name.isupper() and isinstance(text, str)
}
ENDLESS = {
    "a text doubled over and over": "{% set x = 'ha' %}" + "{% set x = x ~ x %}" * 60 + "{{ x }}",
    "by a sum": "{% set x = 'ha' %}" + "{% set x = x + x %}" * 60 + "{{ x }}",
    "by two texts": "{% set a = 'a' %}{% set b = 'b' %}"
    + "{% set a = a ~ b %}{% set b = b ~ a %}" * 40
    + "{{ b }}",
    "in a loop": "{% set s = namespace(x='ha') %}{% for i in range(60) %}"
    "{% set s.x = s.x ~ s.x %}{% endfor %}{{ s.x }}",
    "as a block": "{% set x = 'ha' %}" + "{% set x %}{{ x }}{{ x }}{% endset %}" * 60 + "{{ x }}",
    "lists in lists": "{% set x = ['ha'] %}" + "{% set x = [x, x] %}" * 60 + "{{ x }}",
    "lists compared": "{% set x = [1] %}{% set y = [1] %}"
    + "{% set x = [x, x] %}{% set y = [y, y] %}" * 60
    + "{{ x == y }}",
    "what is said": "{% set s = namespace(x=messages[0].content) %}{% for i in range(60) %}"
    "{% set s.x = s.x + s.x %}{% endfor %}{{ s.x }}",
    "times": "{{ 'a' * 10 ** 6 }}",
    "times a billion": SAID + "{{ 'a' * 1000000000 }}",
    "power": "{{ 10 ** (10 ** 10) }}",
    "power of a length": "{{ (messages | length + 8) ** (10 ** 10) }}",
    "range": "{% for i in range(10 ** 12) %}a{% endfor %}",
    "nested ranges": "{% for i in range(99999) %}" * 2 + "{% endfor %}" * 2,
    "nested loops": "{% for a in messages %}" * 40 + "{% endfor %}" * 40,
    "a text letter by letter": ("{% for a in '" + "x" * 9999 + "' %}") * 2 + "{% endfor %}" * 2,
    "a macro in itself": "{% macro f(n) %}{{ f(n + 1) }}{% endmacro %}{{ f(0) }}",
    "a macro twice in itself": "{% macro f(n) %}{% if n %}{{ f(n - 1) }}{{ f(n - 1) }}{% endif %}"
    "{% endmacro %}{{ f(99) }}",
    "a loop in itself": "{% for m in messages recursive %}{{ loop(messages) }}{% endfor %}",
    "a join": "{% set x = 'ab' * 2000 %}{{ x | join(x) | join(x) }}",
    "a replacement": "{% set x = 'a' * 999 %}" + "{% set x = x.replace('a', x) %}" * 9 + "{{ x }}",
    "a replacement in a row": "{% set x = 'a' %}" + "{% set x = x | replace('a', 'aa') %}" * 60,
    "a width": "{{ '%999999999d' % 1 }}",
    "a format": "{{ '{:999999999}'.format(1) }}",
    "a centre": "{{ 'a' | center(999999999) }}",
    "a margin": "{{ 'a'.ljust(999999999) }}",
    "zeros": "{{ '1'.zfill(999999999) }}",
    "an indent": "{{ 'a\n' | indent(999999999) }}",
    "bytes": "{{ (1).to_bytes(999999999, 'big') }}",
    "words": "{{ lipsum(99999) }}",
    "quotes": "{{ '\"' " + "| tojson " * 60 + "}}",
    "slices": "{{ [1] | slice(999999999) | list }}",
}
BY_TIME = (
    *("nested ranges", "nested loops", "a text letter by letter", "a macro twice in itself"),
    *("a join", "lists in lists", "lists compared", "quotes", "slices", "a replacement in a row"),
    *("power of a length", "words", "a loop in itself"),
)
"""Ended by the system after a second or two, like "power"."""


def reader(template: str) -> Any:
    tokenizer = tiny_tokenizer(["why", "so"])
    tokenizer.chat_template = template
    return tokenizer


def used() -> float:
    """Seconds that this process, the renderer and those before it computed."""
    both = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    seconds = sum(usage.ru_utime + usage.ru_stime for usage in both)
    for renderer in apart._renderers.values():
        fields = Path(f"/proc/{renderer.pid}/stat").read_text().rpartition(")")[2].split()
        seconds += sum(map(int, fields[11:13])) / os.sysconf("SC_CLK_TCK")
    return seconds


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=pytest.mark.slow) if n in BY_TIME else n for n in ENDLESS]
)
def test_a_template_without_an_end_is_refused_in_time(name: str) -> None:
    tokenizer = reader(ENDLESS[name])
    render(reader("{{ [] }}"), [CHAT], prompt=False)  # there is a renderer
    start, before = used(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(ModelError, match="chat template"):
        encode(tokenizer, [CHAT], complete=True)
    assert used() - start < 2.5  # at most 2 of them in the renderer
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 20_000


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("in a loop", r"asks for more than 200 MB of memory, far more than it takes"),
        ("power", r"asks for more than 1 s of computing, far more"),
        ("times", r"asks for a text of 1,000,000 characters"),
        ("a macro in itself", r"cannot be used: maximum recursion depth"),
        ("range", r"cannot be used: OverflowError: Range too big"),
    ],
)
def test_the_bound_is_named(name: str, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        render(reader(ENDLESS[name]), [CHAT], prompt=False)


def test_the_next_one_is_rendered_as_if_nothing_had_been() -> None:
    for name in ("power", "in a loop", "times"):
        with pytest.raises(ModelError):
            render(reader(ENDLESS[name]), [CHAT], prompt=False)
        assert render(reader("{{ ['a'] + ['b'] }}"), [CHAT], prompt=False) == ["['a', 'b']"]


def test_a_long_conversation_may_be_long() -> None:
    chat = [{"role": "user", "content": "why " * 100_000}]
    text = render(reader("{% set s = namespace(x=1) %}" + SAID * 2), [chat], prompt=False)[0]
    assert text == "why " * 200_000


@pytest.mark.parametrize("name", [*FAMILIES, "PLAIN", "TINY", "FOLD"])
def test_apart_and_here_are_the_same(name: str) -> None:
    own = {"PLAIN": PLAIN_TEMPLATE, "TINY": TEMPLATE, "FOLD": fold_template(templates.CHATML)}
    tokenizer = reader((FAMILIES | own)[name])
    chats = [CHAT, CHAT * 2, CHAT[:1], [*CHAT, {"role": "user", "content": "né 😀 <b>"}]]
    if name not in ("GEMMA", "MISTRAL"):
        chats.append([{"role": "system", "content": " Be kind. "}, *CHAT])
    for prompt in (False, True):
        options = {"add_generation_prompt": prompt, "enable_thinking": False}
        here = tokenizer.apply_chat_template(chats, tokenize=False, **options)
        options |= {"chat_template": tokenizer.chat_template, **tokenizer.special_tokens_map}
        assert render_apart(chats, **options) == here == render(tokenizer, chats, prompt=prompt)


def test_what_templates_of_families_refuse_is_said_the_same_apart() -> None:
    chat, messages = [{"role": "system", "content": "Be kind."}, *CHAT], []
    for template in (templates.GEMMA, "{% set a = [] %}" + templates.GEMMA):
        with pytest.raises(ModelError, match=r"refuses messages .* System role not sup") as caught:
            render(reader(template), [chat], prompt=False)
        messages.append(str(caught.value))
    assert messages[0] == messages[1]


PLAIN = [
    *(text for name, text in FAMILIES.items() if name not in ("QWEN25", "QWEN3", "ZEPHYR")),
    PLAIN_TEMPLATE,
    TEMPLATE,
    fold_template(templates.CHATML),
    "{{ strftime_now('%d %b') }}{% set a = messages %}{% for m in a[1:] %}{{ m.x }}{% endfor %}",
    "{% for m in messages %}{% for t in m.tools %}{% for a in t.list %}{{ a }}{% endfor %}"
    "{% endfor %}{% endfor %}",
]


@pytest.mark.parametrize("template", PLAIN)
def test_plain_ones_start_nothing(template: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert is_plain(template)
    monkeypatch.setattr("persona_interp.models.slots.render_apart", None)
    assert render(reader(template), [CHAT], prompt=True)


@pytest.mark.parametrize(
    "template",
    [
        *ENDLESS.values(),
        "{% set a = 'a' %}{% set a = a ~ messages[0].content ~ a %}",
        "{% for m in messages %}{% for n in messages %}{% endfor %}{% endfor %}",
        "{% for m in messages %}{% set m = messages %}{% for n in m %}{% endfor %}{% endfor %}",
        "{{ messages[0].content % 1 }}",
        "{% set loop = messages[0] %}{{ loop.index % 1 }}",
        "{{ messages[0].content.join(messages) }}",
        SAID * 101,
        "a" * (LONGEST + 1),
        "{% if %}",
        "{% generation %}{% endgeneration %}",
        "{{ " + "(" * 5000 + ")" * 5000 + " }}",
        "{{ strftime_now(messages[0].content) }}",
        "{{ messages[0].content | tojson }}",
    ],
)
def test_whatever_may_grow_is_not_plain(template: str) -> None:
    assert not is_plain(template)


def test_nothing_set_in_a_loop_is_kept_for_its_next_round() -> None:
    # what is_plain rests on
    template = "{% set x = 'a' %}{% for m in messages %}{% set x = x ~ 'b' %}{{ x }}{% endfor %}"
    assert is_plain(template)
    assert render(reader(template), [CHAT * 3], prompt=False) == ["ab" * 6]


def test_a_question_that_is_broken_off_leaves_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    assert render_apart([CHAT], chat_template="{{ 1 }}") == ["1"]
    with monkeypatch.context() as patch:
        patch.setattr(apart.json, "loads", lambda _: 1 / 0)  # after the question, before its end
        with pytest.raises(ZeroDivisionError):
            render_apart([CHAT], chat_template="{{ 2 }}")
    assert render_apart([CHAT], chat_template="{{ 3 }}") == ["3"]


def test_threads_take_turns() -> None:
    answers: dict[int, list[str]] = {}

    def ask(i: int) -> None:
        answers[i] = render_apart([CHAT] * 50, chat_template=f"{{{{ [{i}] }}}}")

    threads = [threading.Thread(target=ask, args=(i,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == {i: [f"[{i}]"] * 50 for i in range(8)}


def test_it_ends_with_this_process_and_imports_nothing_that_lies_about(tmp_path: Any) -> None:
    (tmp_path / "transformers.py").write_text("1 / 0")
    code = (
        "import sys; sys.path[:] = [p for p in sys.path if p]\n"
        "from persona_interp.models.apart import _renderers, render_apart\n"
        "print(render_apart([[]], chat_template='{{ [1] }}'))\n"
        "print(*[renderer.pid for renderer in _renderers.values()])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    text, number = done.stdout.rsplit(maxsplit=1)
    assert text == "['[1]']" and done.stderr == ""
    for _ in range(100):
        if not _is_running(int(number)):
            return
        time.sleep(0.1)
    pytest.fail("the renderer is still there")


def _is_running(process: int) -> bool:
    try:
        return "renderer" in Path(f"/proc/{process}/cmdline").read_text()
    except FileNotFoundError:
        return False


def test_a_request_is_what_the_template_sees() -> None:
    odd = [{"role": "user", "content": "a", "n": None, "x": {"k": [1, True, "é"]}, "o": object()}]
    template = "{{ messages[0].keys() | list | tojson }}{{ messages[0].x | tojson }}"
    text = render(reader(template), [odd], prompt=False)[0]
    assert text == json.dumps(["role", "content", "x", "o"]) + '{"k": [1, true, "é"]}'
