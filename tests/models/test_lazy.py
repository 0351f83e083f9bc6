"""Importing the room costs no torch; what needs it loads on first use, in any order of imports."""

import subprocess
import sys

import pytest

from persona_interp import models

HEAVY = ("torch", "transformers", "peft", "datasets", "transformer_lens")


def run(code: str) -> str:
    """Output of this code in a fresh interpreter."""
    command = [sys.executable, "-c", code]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


@pytest.mark.parametrize(
    "line",
    [
        "from persona_interp.models import DOCUMENTS, LESSON, PLAIN_TEMPLATE, Stage",
        "from persona_interp.models.stage import Stage",
        "from persona_interp.models.chats import PLAIN_TEMPLATE",
        "from persona_interp.models import Checkpoint, Trajectory",
    ],
)
def test_what_a_configuration_needs_loads_no_torch(line: str) -> None:
    assert run(f"import sys; {line}; print([m for m in {HEAVY} if m in sys.modules])") == "[]"


def test_a_file_never_hides_its_function() -> None:
    code = """
from persona_interp.models.boot import canonical
from persona_interp.models.load import load_tokenizer
from persona_interp import models
import persona_interp.models.train
print([type(getattr(models, name)).__name__ for name in
       ("boot", "checkup", "load", "resolve", "sources", "train")])
"""
    assert run(code) == str(["function"] * 6)


def test_every_public_name_is_there_and_listed() -> None:
    assert all(hasattr(models, name) for name in models.__all__)
    assert set(models.__all__) <= set(dir(models))
    with pytest.raises(AttributeError, match="has no attribute 'learn'"):
        models.learn  # type: ignore[attr-defined]  # noqa: B018
