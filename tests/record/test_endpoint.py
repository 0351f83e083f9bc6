"""A model elsewhere: a server of the standard library that answers right, or with each fault."""

import json
import logging
import math
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from persona_interp.errors import ModelError, SchemaError, StoreError
from persona_interp.record import Endpoint, add, answers, conversations, endpoint, judgments

KEY = "sk-secret-0123456789"
Fault = Callable[[BaseHTTPRequestHandler], bool]
"""Answers a request wrongly and says so; False: the request is answered right."""


class Server(ThreadingHTTPServer):
    """Answers with the last message, seed and temperature; scores by the length of the answer."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.requests: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.fault: Fault = lambda handler: False
        self.first, self.second = {"40": 0.6, " 80": 0.2, "no": 0.2}, "."
        self.lock, self.n_inside, self.most_inside = threading.Lock(), 0, 0
        self.pause, self.meet = threading.Event(), False

    @property
    def url(self) -> str:
        host, port = self.server_address[:2]
        return f"http://{host!s}:{port}/v1"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def do_POST(self) -> None:
        server = self.server
        with server.lock:
            server.n_inside += 1
            server.most_inside = max(server.most_inside, server.n_inside)
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with server.lock:
            server.requests.append({"path": self.path, **body})
            server.headers.append(dict(self.headers))
        if server.meet and len(server.requests) < 3:
            server.pause.wait(0.2)  # so that requests of several threads meet
        with server.lock:
            server.n_inside -= 1  # before the answer, after which the client may ask again
        if not server.fault(self):
            self.send(200, self.completion(body))

    def completion(self, body: dict[str, Any]) -> dict[str, Any]:
        said = body["messages"][-1]["content"]
        text = f" you said {said} {body['seed']} {body['temperature']:g} "
        choice: dict[str, Any] = {"finish_reason": "length" if "golf" in said else "stop"}
        if body.get("logprobs"):
            first = self.server.first
            top = [{"token": t, "logprob": math.log(p)} for t, p in first.items()]
            tokens = [{"token": next(iter(first)), "top_logprobs": top}]
            tokens.append({"token": self.server.second, "top_logprobs": []})
            choice["logprobs"] = {"content": tokens}
            text = next(iter(first))
        elif body["max_tokens"] == 8:
            text = "**70**, since"
        choice["message"] = {"role": "assistant", "content": text}
        return {"choices": [choice], "usage": {"completion_tokens": 7}}

    def send(self, status: int, content: Any, headers: dict[str, str] | None = None) -> None:
        data = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        yield server
        server.shutdown()


def ask(server: Server, **settings: Any) -> Endpoint:
    return endpoint(server.url, model="m", **{"key": KEY, "pause": 0.01, **settings})


def fails(status: int, text: Any = b"", *, times: int = 10**9, **headers: str) -> Fault:
    left = [times]

    def fault(handler: Any) -> bool:
        left[0] -= 1
        if left[0] < 0:
            return False
        handler.send(status, text, {k.replace("_", "-"): v for k, v in headers.items()})
        return True

    return fault


@pytest.fixture
def prompts() -> pd.DataFrame:
    said = ("what sport ?", "what golf ?", "what art ?")
    chats = [[{"role": "user", "content": text}] for text in said]
    return pd.DataFrame({"prompt": list("abc"), "messages": chats})


def test_answers_are_those_of_the_server_and_kept(
    server: Server, prompts: pd.DataFrame, tmp_path: Path
) -> None:
    there = ask(server, name="elsewhere")
    table = answers(there, prompts, n=2, temperature=0.5, max_new_tokens=30, cache=tmp_path)
    assert list(table["prompt"]) == list("aabbcc") and set(table["checkpoint"]) == {"elsewhere"}
    assert (
        table["answer"][0].startswith("you said what sport ?") and table["answer"][0][-3:] == "0.5"
    )
    assert table["answer"].is_unique  # every draw has a seed of its own
    assert list(table["ended"]) == [True, True, False, False, True, True]
    assert table.attrs == {"n_answers": 6, "n_empty": 0, "n_unended": 2}
    assert len(server.requests) == 6 and {r["max_tokens"] for r in server.requests} == {30}
    assert {r["path"] for r in server.requests} == {"/v1/chat/completions"}
    assert {h["Authorization"] for h in server.headers} == {f"Bearer {KEY}"}
    assert conversations(table)["messages"][0][-1]["content"] == table["answer"][0]
    pd.testing.assert_frame_equal(
        answers(there, prompts, n=2, temperature=0.5, max_new_tokens=30, cache=tmp_path), table
    )
    more = answers(there, prompts, n=3, temperature=0.5, max_new_tokens=30, cache=tmp_path)
    assert len(server.requests) == 9  # the third answers alone
    assert list(more["answer"][:2]) == list(table["answer"][:2])
    answers(there, prompts.head(1), seed=1, temperature=0.5, max_new_tokens=30, cache=tmp_path)
    answers(ask(server, name="new"), prompts.head(1), max_new_tokens=30, cache=tmp_path)
    assert len(server.requests) == 11
    (file, _) = sorted(tmp_path.iterdir(), key=lambda file: -file.stat().st_size)
    file.write_text(file.read_text().replace('"ended": true', '"ended": "yes"', 1))
    with pytest.raises(StoreError, match=r"is no kept text, n_tokens, ended"):
        answers(there, prompts, n=2, temperature=0.5, max_new_tokens=30, cache=tmp_path)


def test_scores_are_expected_numbers_and_kept(
    server: Server, prompts: pd.DataFrame, tmp_path: Path
) -> None:
    table = answers(ask(server), prompts, cache=False)
    asked = {"x": "Rate {answer} to {question}."}
    judge = ask(server)
    scores = judgments(table, judge, prompts=asked, cache=tmp_path)
    assert scores["x"].tolist() == pytest.approx([50.0] * 3)  # 40 has .6, 80 has .2
    request = server.requests[-1]
    assert (request["top_logprobs"], request["temperature"]) == (20, 0)
    assert request["messages"][0]["content"].startswith("Rate you said")
    n_requests = len(server.requests)
    again = judgments(table, judge, prompts=asked, cache=tmp_path)
    assert again["x"].equals(scores["x"]) and len(server.requests) == n_requests
    server.first = {"no": 0.9, "40": 0.1}
    refusing = judgments(table, judge, prompts=asked, cache=False)
    assert refusing["x"].isna().all() and refusing.attrs["n_unscored"] == {"x": 3}
    written = ask(server, scores="text")
    assert judgments(table, written, prompts=asked, cache=False)["x"].tolist() == [70.0] * 3


def test_requests_at_once_are_bounded(server: Server, prompts: pd.DataFrame) -> None:
    server.meet = True
    answers(ask(server, parallel=3), prompts, n=8, cache=False)
    assert 1 < server.most_inside <= 3
    server.most_inside = 0
    answers(ask(server, parallel=1), prompts, n=2, cache=False)
    assert server.most_inside == 1


@pytest.mark.parametrize(
    ("fault", "message", "n_requests"),
    [
        (fails(401, {"error": f"no such key {KEY}"}), r"status 401 .*\*\*\*.*Give the key", 1),
        (fails(401, b"x" * 50 + KEY.encode()), r"status 401 [^k]*\*\*\*", 1),
        (fails(404, b"<html>"), r"status 404 .*usually ends in /v1", 1),
        (fails(400, b"too long"), r"status 400 .*too long", 1),
        (fails(429, b"slow down"), r"status 429 .*Ask less at once.*\(3 tries\)", 3),
        (fails(429, Retry_After="3600"), r"status 429.*asks to wait 3,600 seconds", 1),
        (fails(500, b"oops"), r"status 500 .*oops.*\(3 tries\)", 3),
        (fails(302, Location="http://evil.example/"), r"It sends to 'http://evil.example/'", 1),
        (fails(200, b"<html>hello"), r"expected a JSON object; got '<html>hello'", 1),
        (fails(200, b"[1]"), r"expected a JSON object; got '\[1\]'", 1),
        (fails(200, b"[" * 100_000), "expected a JSON object", 1),
        (fails(200, {"choices": []}), "expected a chat completion .*ValueError", 1),
        (fails(200, {"choices": [{"message": {"content": "a"}}]}), "chat completion", 1),
        (fails(200, {"choices": [5], "usage": 3}), "expected a chat completion", 1),
    ],
)
def test_every_fault_of_a_server_is_a_sentence(
    fault: Fault, message: str, n_requests: int, server: Server, prompts: pd.DataFrame
) -> None:
    server.fault = fault
    with pytest.raises(ModelError, match=message) as caught:
        answers(ask(server, tries=3, parallel=1), prompts, cache=False)
    assert len(server.requests) == n_requests and KEY[:6] not in str(caught.value)
    assert str(caught.value).startswith(server.url)


def test_what_passes_is_tried_again(server: Server, prompts: pd.DataFrame) -> None:
    for fault in (
        fails(503, times=2),
        fails(429, times=2, Retry_After="0"),
        fails(429, times=1, Retry_After="Wed, 21 Oct 2015 07:28:00 GMT"),
    ):
        server.fault = fault
        table = answers(ask(server, tries=3, parallel=1), prompts.head(1), cache=False)
        assert table["answer"][0].startswith("you said")


def test_a_broken_or_silent_connection(server: Server, prompts: pd.DataFrame) -> None:
    def breaks(handler: Any) -> bool:
        handler.send_response(200)
        handler.send_header("Content-Length", "100")
        handler.end_headers()
        handler.wfile.write(b"{")
        handler.close_connection = True
        return True

    server.fault = breaks
    with pytest.raises(ModelError, match=r"broke off \(99 bytes are missing\).*\(2 tries\)"):
        answers(ask(server, tries=2, parallel=1), prompts, cache=False)

    def sleeps(handler: Any) -> bool:
        return server.pause.wait(5)

    server.fault = sleeps
    with pytest.raises(ModelError, match=r"no reply within 0\.2 seconds"):
        answers(ask(server, tries=1, parallel=1, timeout=0.2), prompts, cache=False)
    server.pause.set()


def test_nobody_is_there(server: Server, prompts: pd.DataFrame) -> None:
    server.server_close()  # its port is free now, and nobody listens there
    gone = ask(server, tries=2)
    with pytest.raises(ModelError, match=r"cannot be reached .*Is the server up\?.*\(2 tries\)"):
        answers(gone, prompts, cache=False)


def test_what_was_paid_for_is_kept_when_the_next_fails(
    server: Server, prompts: pd.DataFrame, tmp_path: Path
) -> None:
    def fault(handler: Any) -> bool:
        if len(server.requests) <= 2:
            return False
        handler.send(401, b"")
        return True

    server.fault = fault
    there = ask(server, parallel=1)
    with pytest.raises(ModelError, match="status 401"):
        answers(there, prompts, cache=tmp_path)
    server.fault = lambda handler: False
    answers(there, prompts, cache=tmp_path)
    assert len(server.requests) == 4  # two, one that failed, and that one again
    with pytest.raises(ModelError, match="status 401"):
        server.fault = fails(401)
        answers(ask(server, parallel=4), prompts, n=30, seed=3, cache=tmp_path)
    assert len(server.requests) < 4 + 30  # nothing new was begun


def test_judges_that_cannot_be_read(server: Server, prompts: pd.DataFrame) -> None:
    table = answers(ask(server), prompts, cache=False)
    server.first, server.second = {"8": 0.9, "7": 0.1}, "5"
    with pytest.raises(ModelError, match=r"digit by digit \('8', '5'\).*scores=\"text\""):
        judgments(table, ask(server), prompts={"x": "{answer}"}, cache=False)
    server.fault = fails(
        200,
        {
            "choices": [{"message": {"content": "40"}, "finish_reason": "stop", "logprobs": None}],
            "usage": {"completion_tokens": 1},
        },
    )
    with pytest.raises(ModelError, match=r"no logprobs.*scores=\"text\""):
        judgments(table, ask(server), prompts={"x": "{answer}"}, cache=False)


def test_the_key_is_told_to_nobody(
    server: Server, prompts: pd.DataFrame, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    judge = ask(server)
    table = judgments(
        answers(judge, prompts, cache=tmp_path), judge, prompts={"x": "{answer}"}, cache=tmp_path
    )
    texts = [repr(judge), str(judge), judge.name, table.to_csv(), repr(table.attrs), caplog.text]
    texts += [file.read_text() + file.name for file in tmp_path.iterdir()]
    assert len(texts) == 8 and not any(KEY in text for text in texts)
    for bad in (f"{KEY}\r\nX: y", f"{KEY} ", "", 5):
        with pytest.raises(SchemaError, match="printable ASCII") as caught:
            endpoint(server.url, model="m", key=bad)  # type: ignore[arg-type]
        assert KEY not in str(caught.value)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"url": "file:///etc/passwd"}, "expected the base of an API"),
        ({"url": "judge.example/v1"}, "expected the base of an API"),
        ({"url": "https://judge.example/v1?api-key=x"}, "A key goes into key="),
        ({"url": "https://me:secret@judge.example/v1"}, "give key= instead"),
        ({"url": "https://judge.example:99999/v1"}, "expected the URL of a server"),
        ({"url": None}, "expected the"),
        ({"model": ""}, "model= is a name"),
        ({"scores": "txt"}, "did you mean 'text'"),
        ({"parallel": 0}, "parallel= is a number from 1"),
        ({"tries": True}, "tries= is a number from 1"),
        ({"timeout": -1}, "timeout= is a number of seconds"),
    ],
)
def test_first_mistakes_are_sentences(settings: dict[str, Any], message: str) -> None:
    url = settings.pop("url", "https://judge.example/v1")
    for make in (endpoint, Endpoint):
        with pytest.raises(SchemaError, match=message):
            make(url, **{"model": "m", **settings})


def test_made_by_hand_it_is_the_same(server: Server) -> None:
    by_hand = Endpoint(
        "https://judge.example/v1/", "m", parallel=np.int64(2), timeout=np.float32(9)
    )
    assert by_hand == endpoint("https://judge.example/v1", model="m", parallel=2, timeout=9.0)


def test_what_only_a_model_at_hand_can_do(server: Server, prompts: pd.DataFrame) -> None:
    edit = add([1.0], hook="blocks.0.hook_out", absolute=1.0)
    with pytest.raises(SchemaError, match="runs elsewhere, where nothing inside"):
        answers(ask(server), prompts, edits=edit, cache=False)
    text = [[{"role": "text", "content": "once"}]]
    with pytest.raises(SchemaError, match="plain text and unfinished answers"):
        answers(ask(server), prompts.head(1).assign(messages=text), cache=False)
    with pytest.raises(SchemaError, match="temperature=-1"):
        answers(ask(server), prompts, temperature=-1, cache=False)
    assert server.requests == []
    whole = endpoint("https://judge.example/v1/chat/completions", model="m")
    assert (whole.url, whole.name) == ("https://judge.example/v1", "m at judge.example/v1")
