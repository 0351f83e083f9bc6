"""How is a chat template rendered that may know no end? In a process of its own, within bounds.

Only a process can be ended in the middle of one multiplication, and only in one of its own does a
bound on memory hit nobody else. It starts with the first such template, waits for others, and ends
with this process.
"""

import atexit
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from persona_interp.errors import ModelError
from persona_interp.models.guard import reason
from persona_interp.models.renderer import MOST_SECONDS

COMMAND = ("-P", "-c", "from persona_interp.models.renderer import main; main()")
"""Without the folder that this process is in (-P), which may hold modules of any name."""
TOO_MUCH = (
    "the chat template asks for {}, far more than it takes to write down the messages. Use another "
    "chat_template (compare --chat-template FILE)."
)

_lock = threading.Lock()
_renderers: dict[int, subprocess.Popen[bytes]] = {}
"""By the process that started it: one that was forked has none yet."""


class TemplateRefusalError(ModelError):
    """A template says itself that it does not take the messages."""


def render_apart(chats: Sequence[Sequence[Mapping[str, Any]]], **options: Any) -> list[str]:
    """Text that a chat template makes of each chat, within bounds of time, memory and length.

    Args:
        chats: Lists of messages.
        **options: As of ``render_jinja_template`` of transformers: chat_template,
            add_generation_prompt and what the template may use.

    Returns:
        One text a chat.

    Raises:
        ModelError: The template cannot be used, or a bound was hit (``models/renderer.py``).
        TemplateRefusalError: It refuses the messages.

    >>> template = "{% for i in range(2) %}{{ messages[0].content * 2 }};{% endfor %}"
    >>> render_apart([[{"role": "user", "content": "ha"}]], chat_template=template)
    ['haha;haha;']
    """
    # transformers shows a template only plain values, and the name of the type of any other
    request = json.dumps(
        {"chats": chats, "options": options}, default=lambda value: f"<{type(value).__name__}>"
    )
    reply = _ask(request.encode() + b"\n")
    if "excess" in reply:
        raise ModelError(TOO_MUCH.format(reply["excess"]))
    if "reason" in reply:
        if reply["refuses"]:
            raise TemplateRefusalError(reply["reason"])
        raise ModelError(f"the chat template cannot be used: {reply['reason']}")
    return reply["texts"]


def _ask(request: bytes) -> dict[str, Any]:
    """Reply of the renderer, which is started where there is none."""
    with _lock:
        renderer = _renderers.get(os.getpid()) or _start()
        assert renderer.stdin is not None and renderer.stdout is not None
        try:
            renderer.stdin.write(request)
            renderer.stdin.flush()
            line = renderer.stdout.readline()
        except BrokenPipeError:
            line = b""
        except BaseException:  # the reply to a question that was broken off is nobody's
            renderer.kill()
            _end()
            raise
        if line:
            return json.loads(line)
        status = _end()
    if status == -signal.SIGXCPU:
        raise ModelError(TOO_MUCH.format(f"more than {MOST_SECONDS} s of computing"))
    raise ModelError(
        f"the chat template cannot be used: the process that renders it ended with status {status}."
    )


def _start() -> subprocess.Popen[bytes]:
    path = [*filter(None, sys.path), str(Path(__file__).parents[2])]
    try:
        renderer = subprocess.Popen(
            [sys.executable, *COMMAND],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(path)},
            start_new_session=True,  # an interrupt of this process is no concern of it
        )
    except OSError as error:
        raise ModelError(
            "the chat template is rendered in a process of its own, which cannot be started: "
            f"{reason(error)}"
        ) from error
    _renderers[os.getpid()] = renderer
    return renderer


@atexit.register
def _end() -> int | None:
    """Let the renderer end, and say its status."""
    renderer = _renderers.pop(os.getpid(), None)
    if renderer is None:
        return None
    with renderer:  # closes its pipes and waits
        pass
    return renderer.returncode
