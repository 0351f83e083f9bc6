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
        ({"replay": 1.0}, "replay is a number of at least 0 and below 1; got 1.0"),
        ({"replay": -0.1}, "replay is a number of at least 0 and below 1"),
        ({"kl": -1.0}, "kl is a number of at least 0, finite; got -1.0"),
        ({"kl": float("nan")}, "kl is a number of at least 0, finite; got nan"),
        *(
            ({"lr": lr}, f"lr is a number above 0, finite; got {lr}")
            for lr in (0, -1, float("nan"), float("inf"))
        ),
        ({"lr": "high"}, "lr is a number above 0, finite; got 'high'"),
        ({"steps": 1.5}, "steps is a whole number of at least 1"),
        ({"steps": 5, "warmup": 9}, "at most its steps"),
        ({"clip": float("nan")}, "clip is a number"),
        ({"betas": (0.9, 1.0)}, "betas are two numbers"),
    ],
)
def test_what_is_expected_is_said(bad: dict[str, Any], message: str) -> None:
    with pytest.raises(ModelError, match=message):
        Stage(**bad)
