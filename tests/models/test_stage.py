"""A stage that makes no sense is refused."""

from typing import Any

import pytest

from persona_interp.errors import ModelError
from persona_interp.models import Stage


@pytest.mark.parametrize(
    "bad", [{"loss": "al"}, {"steps": 0}, {"lr": 0.0}, {"warmup": 99}, {"dtype": "float16"}]
)
def test_a_stage_that_makes_no_sense(bad: dict[str, Any]) -> None:
    with pytest.raises(ModelError):
        Stage(**bad)


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ({"optimizer": "adam"}, "adamw"),
        ({"replay": 1.0}, "0 <= replay < 1"),
        ({"replay": -0.1}, "0 <= replay < 1"),
        ({"kl": -1.0}, "kl >= 0"),
        ({"kl": float("nan")}, "kl >= 0"),
    ],
)
def test_what_is_expected_is_said(bad: dict[str, Any], message: str) -> None:
    with pytest.raises(ModelError, match=message):
        Stage(**bad)
