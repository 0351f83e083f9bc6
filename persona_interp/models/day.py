"""Which day is it for a chat template that prints today?

One day a run: ids, answers and caches that change at midnight are another experiment. A run folder
keeps its day; without one it is the day on which this process was first asked.
"""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, datetime
from typing import Any

from persona_interp.errors import ModelError, excerpt

DAY = "PERSONA_INTERP_DAY"
"""Variable of the environment that holds the day ("2026-11-29"), so that workers share it."""
ASKS = re.compile(r"\bstrftime_now\b")
DIRECTIVES = (*"aAbBcdeGHIjmMpSuUVwWxXyYZ", "-d", "-m", "-H", "-I", "-M", "-S", "-j")
"""What a template may ask of a moment, as of ``strftime``."""
MARK = "\ue002"


def day() -> datetime:
    """Day that chat templates print; its first moment.

    Returns:
        What ``PERSONA_INTERP_DAY`` says; where it says nothing, today, from now on.

    Raises:
        ModelError: The variable holds no day.

    >>> with on_day("2026-11-29"):
    ...     day().strftime("%d %B %Y")
    '29 November 2026'
    """
    text = os.environ.setdefault(DAY, date.today().isoformat())
    try:
        return datetime.combine(date.fromisoformat(text), datetime.min.time())
    except ValueError as error:
        raise ModelError(f"{DAY} is a day such as 2026-11-29; got {excerpt(text)}.") from error


@contextmanager
def on_day(text: str) -> Iterator[None]:
    """Let it be this day inside the block, here and in processes that begin there.

    Args:
        text: As ``date.isoformat`` writes it; "" for the day it is anyhow.

    Yields:
        Nothing.
    """
    before = os.environ.get(DAY)
    if text:
        os.environ[DAY] = text
    try:
        yield
    finally:
        if before is None:
            os.environ.pop(DAY, None)
        else:
            os.environ[DAY] = before


def with_day(template: str) -> str:
    """Chat template that prints the day of the run where it asks for today.

    Args:
        template: A chat template.

    Returns:
        The same after a definition of ``strftime_now`` that knows one moment; itself where it never
        asks.

    >>> with_day("{{ messages }}")
    '{{ messages }}'
    """
    if not ASKS.search(template):
        return template
    moment = day()
    calls = "".join(f".replace('%{c}', '{moment.strftime(f'%{c}')}')" for c in DIRECTIVES)
    # a doubled per cent is one that begins nothing, so it is out of the way meanwhile
    text = f"format.replace('%%', '{MARK}'){calls}.replace('{MARK}', '%')"
    return f"{{%- macro strftime_now(format) -%}}{{{{ {text} }}}}{{%- endmacro %}}\n{template}"


def asks_day(tokenizer: Any) -> bool:
    """Whether a chat template prints today.

    Args:
        tokenizer: A tokenizer.

    Returns:
        Whether any of its templates calls ``strftime_now``.
    """
    template = tokenizer.chat_template or ""
    texts = template.values() if isinstance(template, dict) else [template]
    return any(ASKS.search(text) for text in texts)
