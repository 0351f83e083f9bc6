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


SCORES = {
    "80": 80,
    "80, since": 80,
    "80.5/100": 80.5,
    "80 out of 100": 80,
    "85%": 85,
    "85 %, because": 85,
    "85.": 85,
    "85.\nThe answer is sardonic.": 85,
    "85 - it is sardonic": 85,
    "85 (sardonic)": 85,
    "Score: 85.": 85,
    "**Score:** 85/100": 85,
    "My score is 85.": 85,
    "The final rating: **85**": 85,
    "0": 0,
    "100": 100,
}
"""A number of a hundred, alone, labeled, on its own scale, or before what explains it."""
NO_SCORES = (
    *("7/10", "7.5/10", "8 out of 10", "8 of 10", "8 on a scale of 10"),  # of another scale
    *("80-90", "80–90", "80 - 90", "80 to 90", "80 or 90", "80, 90"),  # ranges
    *("1. The answer is", "1) The answer", "2 reasons:", "85. The answer"),  # lists and counts
    *("10 000", "1,000", "1000", "101", "10\u00a0000"),  # of no hundred
    *("-5", "Score: -5", "0x50", "8e1", "\uff18\uff10", "about 80", "The answer", ""),
)


@pytest.mark.parametrize("text", [*SCORES, *NO_SCORES])
def test_what_is_a_score(server: Server, text: str) -> None:
    choice = {"message": {"content": text}, "finish_reason": "stop"}
    server.fault = fails(200, {"choices": [choice], "usage": {"completion_tokens": 3}})
    assert ask(server, scores="text")("q", "a", "{answer}") == SCORES.get(text)


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
