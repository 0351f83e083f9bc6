"""How is a question posted to a server that somebody named? With retries, and without redirects."""

import email.utils
import http.client
import json
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from typing import Any, NamedTuple

from persona_interp.errors import ModelError, excerpt

AGAIN = (408, 409, 425, 429, 500, 502, 503, 504)
"""Statuses that may pass."""
MOST_BYTES = 2**24
"""Longest reply that is read."""
LONGEST_WAIT = 120.0
"""Longest wait that a server may ask for (seconds); who asks for more is not waited for."""
HINTS = {
    401: "Give the key of this server, key=.",
    403: "The key may not ask this model.",
    404: "url= is the base of the API, which usually ends in /v1, and model= a name it serves.",
    429: "Ask less at once (parallel=), or later.",
}


class _Fault(NamedTuple):
    """Why a post failed.

    Attributes:
        words: What went wrong.
        may_pass: Whether it is worth another try.
        wait: Seconds that the server asks to wait.
    """

    words: str
    may_pass: bool
    wait: float = 0.0


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A server that sends somewhere else is refused: the key was given for this one."""

    def redirect_request(self, *args: Any, **kwargs: Any) -> None:
        return None


def post(
    url: str,
    body: Mapping[str, Any],
    *,
    key: str | None = None,
    timeout: float,
    tries: int,
    pause: float,
) -> dict[str, Any]:
    """Reply of a server to a JSON object.

    Args:
        url: Where to.
        body: The object.
        key: Sent as a bearer token, and never repeated in an error.
        timeout: Seconds without a byte after which a try has failed.
        tries: Tries in all, where a fault may pass: no connection, a timeout, a busy or failing
            server.
        pause: Seconds before the second try, twice as long before each further one; longer where
            the server asks for it (``Retry-After``).

    Returns:
        The JSON object that it replied.

    Raises:
        ModelError: It cannot be reached, refuses, or replies something else.
    """
    headers = {"Content-Type": "application/json", "Accept": "application/json"}
    if key is not None:
        headers["Authorization"] = f"Bearer {key}"
    data = json.dumps(body).encode()
    for attempt in range(1, tries + 1):
        request = urllib.request.Request(url, data=data, headers=headers, method="POST")
        outcome = _try(request, timeout=timeout, key=key)
        if not isinstance(outcome, _Fault):
            return _object(url, outcome, key=key)
        if not outcome.may_pass or attempt == tries:
            times = f" ({attempt} tries)" if attempt > 1 else ""
            raise ModelError(f"{url}: {outcome.words}{times}")
        time.sleep(max(outcome.wait, pause * 2 ** (attempt - 1)))
    raise ModelError(f"{url}: {tries} tries allow none; give at least one.")


def hide(text: str, key: str | None) -> str:
    """Start of what a server said, without the key that it may repeat.

    Args:
        text: What it said.
        key: The key.

    Returns:
        The start, as ``excerpt`` gives it.

    >>> hide("no such key: sk-1", "sk-1")
    "'no such key: ***'"
    """
    return excerpt(text if key is None else text.replace(key, "***"))


def _try(request: urllib.request.Request, *, timeout: float, key: str | None) -> bytes | _Fault:
    """What the server replied, or why it did not."""
    opener = urllib.request.build_opener(_NoRedirect)
    try:
        with opener.open(request, timeout=timeout) as response:
            content = response.read(MOST_BYTES + 1)
            n_missing = response.length or 0
    except urllib.error.HTTPError as error:
        with error:
            return _refusal(error, key)
    except urllib.error.URLError as error:
        # a name that nobody knows or a bad certificate does not pass
        may_pass = isinstance(error.reason, ConnectionError | TimeoutError)
        return _Fault(f"it cannot be reached ({error.reason}). Is the server up?", may_pass)
    except TimeoutError:
        return _Fault(
            f"no reply within {timeout:g} seconds; give a longer timeout=.", may_pass=True
        )
    except (ConnectionError, http.client.HTTPException) as error:
        return _Fault(f"the reply broke off ({type(error).__name__}).", may_pass=True)
    if len(content) > MOST_BYTES:
        return _Fault(f"the reply is longer than {MOST_BYTES >> 20} MiB.", may_pass=False)
    if n_missing:
        return _Fault(f"the reply broke off ({n_missing} bytes are missing).", may_pass=True)
    return content


def _refusal(error: urllib.error.HTTPError, key: str | None) -> _Fault:
    """What a status says that is no success."""
    try:
        text = error.read(2_000).decode(errors="replace").strip()
    except (OSError, http.client.HTTPException):
        text = ""
    words = f"status {error.code} {hide(str(error.reason), key)[1:-1]}"
    words += f", {hide(text, key)}" if text else ""
    wait = _seconds(error.headers.get("Retry-After", ""))
    if wait > LONGEST_WAIT:
        return _Fault(f"{words}; it asks to wait {wait:,.0f} seconds. Ask later.", may_pass=False)
    hint = HINTS.get(error.code, "")
    if 300 <= error.code < 400:
        hint = f"It sends to {hide(error.headers.get('Location', ''), key)}; give that as url=."
    return _Fault(f"{words}. {hint}".strip(), error.code in AGAIN, wait)


def _seconds(text: str) -> float:
    """Seconds that a ``Retry-After`` means, a number or a date; 0 for anything else."""
    if text.strip().isdecimal():
        return float(text)
    try:
        moment = email.utils.parsedate_to_datetime(text)
    except ValueError:
        return 0.0
    return max(0.0, moment.timestamp() - time.time())


def _object(url: str, content: bytes, *, key: str | None) -> dict[str, Any]:
    try:
        value = json.loads(content)
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        start = content[:200].decode(errors="replace")
        raise ModelError(
            f"{url}: expected a JSON object; got {hide(start, key)}. Is this the base of an "
            "OpenAI-compatible API (it usually ends in /v1)?"
        )
    return value
