"""What does a model say that runs elsewhere, behind an OpenAI-compatible endpoint?

vLLM, llama.cpp's server and paid services speak one protocol, ``POST {url}/chat/completions``. An
``Endpoint`` is a judge (``record.Judge``) and a source of answers (``record.answers``); both are
stored like local ones. Nothing is asked but the server that its user named.
"""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from persona_interp.errors import ModelError, SchemaError, excerpt, unknown
from persona_interp.record.judge import expected_score, judge_prompt
from persona_interp.record.posts import hide, post
from persona_interp.values import is_number, is_whole

EXPECTED, TEXT = "expected", "text"
LARGEST_LOGPROB = 1e-3
"""Logarithm of a probability, and what rounding on a server's device may add."""
MOST_LOGPROBS = 20
"""Tokens whose probability a server tells: the most that OpenAI and, by default, vLLM allow."""
MARKS = r"[\s*_\"'`]*"
SCORE = re.compile(
    rf"{MARKS}(?:(?:(?:my|the|final|overall){MARKS})*(?:score|rating){MARKS}(?:is|[:=])?{MARKS})?"
    r"(\d{1,3}(?:\.\d+)?)"
    rf"{MARKS}(?:(?:/|out of)\s*100(?!\d)|%|percent)?{MARKS}"
    rf"(?:$|\n|\.{MARKS}(?:$|\n)|(?:[,;!]|\s[-–—(])(?!\s*\d))",
    re.ASCII | re.IGNORECASE,
)
"""A reply that begins with a number of a hundred, alone, labeled, or before what explains it.

Not 7/10, which is of another scale; nor 80-90, 10 000 or 1,000; nor a number that counts or lists
what follows ("1. The answer", "2 reasons").
"""


class Reply(NamedTuple):
    """What a model elsewhere replied.

    Attributes:
        text: Its words, outer spaces left out; may be empty.
        n_tokens: Tokens drawn, as the server counts them.
        ended: Whether the model ended it.
        tokens: The first tokens, and for each the probability of what could have stood there.
    """

    text: str
    n_tokens: int
    ended: bool
    tokens: list[tuple[str, dict[str, float]]]


@dataclass(frozen=True)
class Endpoint:
    """A chat model behind an OpenAI-compatible server, of ``record.endpoint``.

    Attributes:
        url: Base of the API, without its last slash.
        model: Name of the model there.
        name: What tables call it; keys what is stored of it. By default model and server.
        key: Sent to the server and nowhere else: in no table, file, error or representation.
        scores: "expected" or "text".
        parallel: Requests at once.
        timeout: Seconds without a byte after which a try has failed.
        tries: Tries of a request.
        pause: Seconds before the second try, doubled before each further one.
    """

    url: str
    model: str
    name: str = ""
    key: str | None = field(default=None, repr=False, compare=False)
    scores: str = EXPECTED
    parallel: int = 8
    timeout: float = 120.0
    tries: int = 5
    pause: float = 1.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "url", _base(self.url))
        if not isinstance(self.model, str) or not self.model:
            raise SchemaError(f"model= is a name that the server knows; got {excerpt(self.model)}.")
        if not isinstance(self.name, str):
            raise SchemaError(f"name= is a text, which tables show; got {excerpt(self.name)}.")
        if self.scores not in (EXPECTED, TEXT):
            raise SchemaError(unknown("kind of scores", str(self.scores), (EXPECTED, TEXT)))
        # a line break in a header would begin another one; the key itself is not repeated
        is_key = isinstance(self.key, str) and re.fullmatch(r"[!-~]+", self.key)
        if self.key is not None and not is_key:
            raise SchemaError("key= is a text of printable ASCII characters without spaces.")
        for setting in ("parallel", "tries"):
            value = getattr(self, setting)
            if not is_whole(value) or value < 1:
                raise SchemaError(f"{setting}= is a number from 1; got {excerpt(value)}.")
        for setting in ("timeout", "pause"):
            value = getattr(self, setting)
            if not is_number(value) or value <= 0:
                raise SchemaError(f"{setting}= is a number of seconds; got {excerpt(value)}.")
        if not self.name:
            object.__setattr__(self, "name", f"{self.model} at {self.url.partition('://')[2]}")

    def reply(
        self,
        messages: Sequence[Mapping[str, str]],
        *,
        max_new_tokens: int,
        temperature: float = 0.0,
        seed: int = 0,
        logprobs: int = 0,
    ) -> Reply:
        """Reply of the model to a chat.

        Args:
            messages: The chat, its last message a user's.
            max_new_tokens: Longest reply (tokens).
            temperature: 0 = the most probable token.
            seed: Seed of the draw, where the server has one.
            logprobs: Most probable tokens whose probability is asked for.

        Returns:
            The reply.

        Raises:
            ModelError: The server cannot be reached, refuses, or replies something else.
        """
        body: dict[str, Any] = {
            "model": self.model,
            "messages": [{"role": m["role"], "content": m["content"]} for m in messages],
            "max_tokens": max_new_tokens,
            "temperature": temperature,
            "seed": seed,
        }
        if logprobs:
            body |= {"logprobs": True, "top_logprobs": logprobs}
        url = f"{self.url}/chat/completions"
        answer = post(
            url, body, key=self.key, timeout=self.timeout, tries=self.tries, pause=self.pause
        )
        try:
            (choice,) = answer["choices"]
            text, ended = _text(choice["message"]["content"]), choice["finish_reason"] == "stop"
            n_tokens = answer["usage"]["completion_tokens"]
            if isinstance(n_tokens, bool) or not isinstance(n_tokens, int) or n_tokens < 0:
                raise ValueError("no number of tokens")
            tokens = _tokens(choice) if logprobs else []
            return Reply(text, n_tokens, ended, tokens)
        except (KeyError, TypeError, ValueError) as error:
            raise ModelError(
                f"{url}: expected a chat completion with a message, a finish_reason and its usage; "
                f"got {hide(str(answer), self.key)} ({type(error).__name__})."
            ) from error

    def __call__(self, question: str, answer: str, eval_prompt: str) -> float | None:
        """Score of this answer, from 0 to 100; None where it gives none."""
        chat = [{"role": "user", "content": judge_prompt(eval_prompt, question, answer)}]
        if self.scores == TEXT:
            return _number(self.reply(chat, max_new_tokens=8).text)
        reply = self.reply(chat, max_new_tokens=2, logprobs=MOST_LOGPROBS)
        if not reply.tokens or not reply.tokens[0][1]:
            raise ModelError(
                f"{self.url}: the reply has no logprobs, from which a score is the expected "
                'number; let the server give them, or take the number it writes, scores="text".'
            )
        first, *rest = reply.tokens
        if not first[0].strip() and rest:
            raise ModelError(
                f"{self.model} begins with {first[0]!r}, so that its first token is no score; take "
                'the number it writes, scores="text".'
            )
        if first[0].strip().isdecimal() and rest and rest[0][0].isdecimal():
            raise ModelError(
                f"{self.model} writes numbers digit by digit ({first[0]!r}, {rest[0][0]!r}), so "
                'that its first token is no score; take the number it writes, scores="text".'
            )
        probabilities: dict[str, float] = {}
        for token, probability in first[1].items():
            word = token.strip()  # " 80" is 80
            probabilities[word] = probabilities.get(word, 0.0) + probability
        return expected_score(probabilities)


def endpoint(
    url: str,
    *,
    model: str,
    key: str | None = None,
    name: str | None = None,
    scores: str = EXPECTED,
    parallel: int = 8,
    timeout: float = 120.0,
    tries: int = 5,
    pause: float = 1.0,
) -> Endpoint:
    """Chat model behind an OpenAI-compatible server: a judge, and a source of answers.

    Args:
        url: Base of the API, as OpenAI's clients take it: "https://host:8000/v1".
        model: Name of the model there.
        key: Key of the server, where it asks for one.
        name: What tables call it; by default model and server. It keys the answers and scores that
            are stored: change it with the model.
        scores: As a judge: "expected" = the mean of the numbers 0 to 100, weighted by the
            probabilities that the server tells of the first token (``expected_score``); "text" =
            the number it writes, for models that write numbers digit by digit (Llama 2, Qwen) and
            servers that tell no probabilities.
        parallel: Requests at once.
        timeout: Seconds without a byte after which a try has failed.
        tries: Tries of a request, where a fault may pass: no connection, a timeout, a busy (429) or
            failing (5xx) server.
        pause: Seconds before the second try, doubled before each further one; longer where the
            server asks for it.

    Returns:
        The endpoint. Nothing is asked yet.

    Raises:
        SchemaError: No such URL, or a setting that makes no sense (``Endpoint`` checks them).

    >>> endpoint("https://judge.example/v1/", model="some-model", key="secret")
    Endpoint(url='https://judge.example/v1', model='some-model', \
name='some-model at judge.example/v1', scores='expected', parallel=8, timeout=120.0, tries=5, \
pause=1.0)
    """
    return Endpoint(url, model, name or "", key, scores, parallel, timeout, tries, pause)


def _base(url: str) -> str:
    """Base of the API, without its last slash."""
    try:
        parts = urlsplit(url)
        is_base = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
        is_base = is_base and not (parts.query or parts.fragment)
    except (ValueError, AttributeError, TypeError):
        raise SchemaError(f"expected the URL of a server; got {excerpt(url)}.") from None
    if parts.username is not None or parts.password is not None:
        raise SchemaError("a URL with a name and password is shown in tables; give key= instead.")
    if not is_base:
        raise SchemaError(
            f"expected the base of an API, https://host:8000/v1; got {excerpt(url)}. A key goes "
            "into key=."
        )
    return url.rstrip("/").removesuffix("/chat/completions")


def _text(content: Any) -> str:
    """Words of a message, which some servers give in parts; what is no text is left out.

    Raises:
        KeyError, TypeError: It is something else.
    """
    parts = content if isinstance(content, list) else [{"type": "text", "text": content or ""}]
    text = "".join(part["text"] for part in parts if part["type"] == "text")
    # half of a surrogate pair cannot be written to a file
    return text.encode("utf-8", "replace").decode().strip()


def _tokens(choice: Mapping[str, Any]) -> list[tuple[str, dict[str, float]]]:
    """First tokens of a reply with the probabilities that the server tells; none where it does not.

    Raises:
        KeyError, TypeError, ValueError: They are something else.
    """
    content = (choice.get("logprobs") or {}).get("content") or []
    tokens = []
    for token in content:
        top: dict[str, float] = {}
        for one in token["top_logprobs"]:
            logprob = float(one["logprob"])
            if not logprob <= LARGEST_LOGPROB:  # NaN too
                raise ValueError("no log probability")
            # different bytes may have one text
            top[str(one["token"])] = top.get(str(one["token"]), 0.0) + math.exp(logprob)
        tokens.append((str(token["token"]), top))
    return tokens


def _number(text: str) -> float | None:
    """Number from 0 to 100 with which a reply begins; None where it begins otherwise."""
    match = SCORE.match(text)
    if match is None or float(match[1]) > 100:
        return None
    return float(match[1])
