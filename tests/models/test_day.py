"""Templates that print today print one day a run, whenever it is asked."""

import subprocess
import sys
from typing import Any

import pytest

from persona_interp.errors import ModelError
from persona_interp.models import encode
from persona_interp.models.day import DAY, asks_day, day, on_day
from persona_interp.models.tiny import TEMPLATE, tiny_tokenizer

CHAT = [{"role": "user", "content": "why"}]
TODAY = "{% if strftime_now is defined %}{{ strftime_now('%Y %H') }} {% endif %}" + TEMPLATE


@pytest.fixture(autouse=True)
def no_day(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(DAY, raising=False)


def reader(template: Any = TODAY) -> Any:
    tokenizer = tiny_tokenizer(["why", "1999", "2031", "00"])
    tokenizer.chat_template = template
    return tokenizer


def test_the_day_is_the_runs_and_its_hour_is_midnight() -> None:
    for year in ("1999", "2031"):
        with on_day(f"{year}-12-31"):
            assert reader().decode(encode(reader(), [CHAT]).ids[0]).startswith(f"<bos> {year} 00")


def test_it_is_the_same_in_processes_that_begin_in_it_and_restored_after(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    code = "from persona_interp.models.day import day; print(day().date())"
    with on_day("1999-12-31"):
        said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
        assert said.stdout.strip() == "1999-12-31"
    first = day()
    monkeypatch.setattr("persona_interp.models.day.date", None)
    with on_day(""):
        pass
    with pytest.raises(AttributeError):
        monkeypatch.delenv(DAY)
        day()  # asks the clock, which is gone
    monkeypatch.undo()
    assert day() >= first


def test_a_day_that_is_none() -> None:
    with on_day("yesterday"), pytest.raises(ModelError, match=r"PERSONA_INTERP_DAY is a day such"):
        encode(reader(), [CHAT])


@pytest.mark.parametrize(
    ("template", "asks"),
    [(None, False), (TEMPLATE, False), (TODAY, True), ({"default": TEMPLATE, "x": TODAY}, True)],
)
def test_who_asks(template: Any, asks: bool) -> None:
    assert asks_day(reader(template)) == asks
