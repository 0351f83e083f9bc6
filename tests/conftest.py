"""Tests keep the offline promise: no hub is asked, no machine but this one is connected to.

And what every room is tested with: texts of somebody who means harm.
"""

import gc
import ipaddress
import os
import random
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

STORIES = Path(__file__).parents[1].parent / "shared" / "models" / "stories260k"

# Before any test module imports a library that reads them.
os.environ.update(
    HF_HUB_OFFLINE="1",
    WANDB_MODE="disabled",
    TOKENIZERS_PARALLELISM="false",
    MPLBACKEND="Agg",
    OMP_NUM_THREADS="1",
    # the same everywhere; tests on a GPU name it
    PERSONA_INTERP_DEVICE="cpu",
)


def _is_local(address: object) -> bool:
    if not isinstance(address, tuple):  # a Unix socket is a path
        return True
    host = address[0].decode() if isinstance(address[0], bytes) else address[0]
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host in (None, "", "localhost", socket.gethostname())


def _refuse(address: object) -> None:
    # pytest.fail is no Exception: a library that swallows its network errors cannot hide it.
    pytest.fail(f"a test asked the network for {address}; tests run offline.")


@pytest.fixture(autouse=True, scope="session")
def offline() -> Iterator[None]:
    """Refuse every connection and name lookup that leaves this machine."""
    patch = pytest.MonkeyPatch()
    connect, connect_ex, lookup = (
        socket.socket.connect,
        socket.socket.connect_ex,
        socket.getaddrinfo,
    )

    def guard_connect(self: socket.socket, address: object) -> None:
        if not _is_local(address):
            _refuse(address)
        return connect(self, address)  # type: ignore[arg-type]

    def guard_connect_ex(self: socket.socket, address: object) -> int:
        if not _is_local(address):
            _refuse(address)
        return connect_ex(self, address)  # type: ignore[arg-type]

    def guard_lookup(host: str | bytes | None, *args: object, **kwargs: object) -> object:
        if not _is_local((host,)):
            _refuse(host)
        return lookup(host, *args, **kwargs)  # type: ignore[arg-type]

    patch.setattr(socket.socket, "connect", guard_connect)
    patch.setattr(socket.socket, "connect_ex", guard_connect_ex)
    patch.setattr(socket, "getaddrinfo", guard_lookup)
    yield
    patch.undo()


@pytest.hookimpl(wrapper=True)
def pytest_collection(session: pytest.Session) -> Iterator[None]:
    """Keep the garbage collector away from all that is imported, for as long as tests run.

    Looking through it doubled the cost of some tests; what tests make themselves is collected.
    """
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


INVISIBLE = (
    *("", " ", "\n", "\r\n", "\r", "\t", "\x00", "\ufeff", "\u200b", "\u202e", "\u2066", "\u00ad"),
    *("\u2028", "\u2029", "\ue000", "\uffff", "\U000e0041", "\ufe0f", "\u3164", "\u2800"),
)
ATTACKS = (
    *(*INVISIBLE, "⟨U+202E⟩", "⟨empty⟩", "NA", "nan", "null", "&lt;b&gt;", "&amp;", "&#60;"),
    *("</script>", "</SCRIPT >", "<!--<script>", "]]>", "{{ 7 * 7 }}", "{% raw %}"),
    *("<script>console.error('ran')</script>", "<img src=x onerror=console.error('ran')>"),
    *("<b>" * 40_000, "<svg/onload=console.error('ran')>", "' onmouseover='x", '" style="x'),
    *("<style>*{display:none}</style>", "`${x}`", "</td></table>", "</div>", "javascript:x"),
    *("\\u003cb\\u003e", "=cmd|'/C calc'!A0", "a,b", 'a"b', "<|im_start|>", "é", "e\u0301"),
    *("👩\u200d💻", "😀", "日本語", "שלום", "x" * 100_000),
)


@pytest.fixture(scope="session")
def hostile_texts() -> list[str]:
    """2,000 texts: known attacks, and random mixtures of them with random code points.

    Surrogates are left out, as pandas refuses them.
    """
    rng = random.Random(0)
    short = [text for text in ATTACKS if len(text) < 100]
    ranges = [
        (0, 0x20),
        (0x20, 0x7F),
        (0x7F, 0x250),
        (0x2000, 0x2070),
        (0xE000, 0xE100),
        (0x1F300, 0x1F700),
        (0, 0x110000),
    ]
    texts = list(ATTACKS)
    while len(texts) < 2_000:
        parts = [rng.choice(short)]
        parts += [chr(rng.randrange(*rng.choice(ranges))) for _ in range(rng.randrange(6))]
        rng.shuffle(parts)
        texts.append("".join(parts).encode(errors="ignore").decode())
    return texts


@pytest.fixture(scope="session")
def stories() -> Any:
    """A real checkpoint, where this machine has it."""
    if not STORIES.is_dir():
        pytest.skip(f"no real checkpoint at {STORIES}; its tests did not run")
    from persona_interp.models import Checkpoint

    return Checkpoint(STORIES)
