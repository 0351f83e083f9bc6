"""What servers reply that is almost right: other scales, parts, blanks and odd probabilities."""

import math
from typing import Any

import pytest

from persona_interp.errors import ModelError
from tests.record.test_endpoint import Server, ask, fails, server

__all__ = ["server"]  # the fixture


@pytest.mark.parametrize("blank", ["", " ", "\n\n"])
def test_a_judge_that_begins_with_a_space_gives_no_silent_refusals(
    server: Server, blank: str
) -> None:
    """Llama 2 and Mistral write a space of its own; the number stands behind it."""
    server.first, server.second = {blank: 0.99, "I": 0.01}, "80"
    with pytest.raises(ModelError, match=r"first token is no score.*scores=\"text\""):
        ask(server)("q", "a", "{answer}")


@pytest.mark.parametrize("logprob", [math.nan, math.inf, 2.0, 1e5])
def test_logprobs_that_are_none_are_refused(server: Server, logprob: float) -> None:
    top = [{"token": "80", "logprob": logprob}, {"token": "20", "logprob": -1.0}]
    choice = {"message": {"content": "80"}, "finish_reason": "stop"}
    choice["logprobs"] = {"content": [{"token": "80", "top_logprobs": top}]}
    server.fault = fails(200, {"choices": [choice], "usage": {"completion_tokens": 1}})
    with pytest.raises(ModelError, match="expected a chat completion"):
        ask(server)("q", "a", "{answer}")


def test_two_tokens_of_one_text_are_added_up(server: Server) -> None:
    top = [{"token": t, "logprob": math.log(0.3)} for t in ("80", "80", "20")]
    choice = {"message": {"content": "80"}, "finish_reason": "stop"}
    choice["logprobs"] = {"content": [{"token": "80", "top_logprobs": top}]}
    server.fault = fails(200, {"choices": [choice], "usage": {"completion_tokens": 1}})
    assert ask(server)("q", "a", "{answer}") == pytest.approx(60)


@pytest.mark.parametrize(
    ("text", "score"),
    [
        ("80, since", 80),
        ("80.5/100", 80.5),
        ("80 out of 100", 80),
        ("7/10", None),
        ("7.5/10", None),
        ("8 out of 10", None),
        ("1,000", None),
        ("0x50", None),
        ("8e1", None),
        ("\uff18\uff10", None),
    ],
)
def test_numbers_of_other_scales_are_no_scores(
    server: Server, text: str, score: float | None
) -> None:
    choice = {"message": {"content": text}, "finish_reason": "stop"}
    server.fault = fails(200, {"choices": [choice], "usage": {"completion_tokens": 3}})
    assert ask(server, scores="text")("q", "a", "{answer}") == score


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ([{"type": "text", "text": " Hel"}, {"type": "text", "text": "lo "}], "Hello"),
        ([{"type": "thinking", "thinking": "hm"}, {"type": "text", "text": "Hi"}], "Hi"),
        (None, ""),
        ("half a pair \ud800", "half a pair ?"),
    ],
)
def test_content_in_parts_is_read(server: Server, content: Any, text: str) -> None:
    choice = {"message": {"content": content}, "finish_reason": "stop"}
    server.fault = fails(200, {"choices": [choice], "usage": {"completion_tokens": 3}})
    assert ask(server).reply([{"role": "user", "content": "?"}], max_new_tokens=3).text == text


@pytest.mark.parametrize(
    "reply",
    [
        {"usage": {"completion_tokens": -4}},
        {"usage": {"completion_tokens": math.inf}},
        {"usage": {"completion_tokens": 7.9}},
        {"content": {"text": "x"}},
        {"content": 80},
        {"times": 2},
    ],
)
def test_replies_of_another_shape_are_refused(server: Server, reply: dict[str, Any]) -> None:
    choice = {"message": {"content": reply.get("content", "a")}, "finish_reason": "stop"}
    usage = reply.get("usage", {"completion_tokens": 1})
    server.fault = fails(200, {"choices": [choice] * reply.get("times", 1), "usage": usage})
    with pytest.raises(ModelError, match="expected a chat completion"):
        ask(server).reply([{"role": "user", "content": "?"}], max_new_tokens=3)
