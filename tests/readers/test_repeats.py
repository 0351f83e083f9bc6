import logging

import pytest

from persona_interp.readers import distinct, read


def test_each_chat_is_kept_once_and_the_others_are_counted(
    caplog: pytest.LogCaptureFixture,
) -> None:
    told = [{"system": "Be dry.", "question": "Why?"}, {"system": "", "question": "Why?"}]
    table = read([*told, *told, *told], "prompts")
    caplog.clear()
    once = distinct(table)
    assert once["messages"].tolist() == table["messages"][:2].tolist()
    assert "4 of 6 prompts repeat another word for word" in caplog.text
    assert caplog.records[0].levelno == logging.WARNING
    caplog.clear()
    assert distinct(once).equals(once) and not caplog.text
