"""A process that renders chat templates within bounds; ``models/apart.py`` starts it.

It reads a request a line and writes a reply a line, both JSON. A template that asks for too much
memory is refused; one that takes too long ends the process, whatever it is at.
"""

import json
import resource
import sys
import time
from pathlib import Path
from typing import Any

from jinja2 import TemplateError

from persona_interp.errors import ModelError
from persona_interp.models.guard import guard, reason

MOST_BYTES = 200 * 2**20
"""Memory that rendering may take beside what the process has at its start."""
MOST_SECONDS = 1
"""Of computing, for one chat; the system counts in whole seconds, so it may be almost 2."""
MOST_CHARACTERS = 100_000
"""By which a text may be longer than ``MOST_TIMES`` what it is made of."""
MOST_TIMES = 10
MEMORY = Path("/proc/self/statm")
"""Size of this process in pages, on Linux; elsewhere its memory cannot be bounded."""


def main() -> None:
    """Answer requests until there are no more."""
    from transformers.utils.chat_template_utils import render_jinja_template

    render_jinja_template([[]], chat_template="{{ 'imports what it needs' | tojson }}")
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if MEMORY.is_file():
        size = int(MEMORY.read_text().split()[0]) * resource.getpagesize()
        _bound(resource.RLIMIT_AS, size + MOST_BYTES)
    for line in sys.stdin.buffer:
        reply = _reply(render_jinja_template, **json.loads(line))
        sys.stdout.buffer.write(json.dumps(reply).encode() + b"\n")
        sys.stdout.buffer.flush()


def _reply(render: Any, chats: list[Any], options: dict[str, Any]) -> dict[str, Any]:
    """Texts of chats, or why there are none."""
    texts = []
    try:
        with guard("a chat template"):
            for chat in chats:
                _bound(resource.RLIMIT_CPU, int(time.process_time()) + 1 + MOST_SECONDS)
                text = render([chat], **options)[0][0]
                most = MOST_CHARACTERS + MOST_TIMES * len(json.dumps(chat))
                if len(text) > most:
                    return {"excess": f"a text of {len(text):,} characters"}
                texts.append(text)
    except ModelError as error:
        cause = error.__cause__ or error
        if isinstance(cause, MemoryError):
            return {"excess": f"more than {MOST_BYTES // 2**20} MB of memory"}
        return {"reason": reason(cause), "refuses": isinstance(cause, TemplateError)}
    finally:
        _bound(resource.RLIMIT_CPU, resource.RLIM_INFINITY)
    return {"texts": texts}


def _bound(kind: int, most: int) -> None:
    """Set the limit, or the lower one that is set for this process anyhow."""
    _, hard = resource.getrlimit(kind)
    bounds = [bound for bound in (most, hard) if bound != resource.RLIM_INFINITY]
    resource.setrlimit(kind, (min(bounds, default=resource.RLIM_INFINITY), hard))


if __name__ == "__main__":
    main()
