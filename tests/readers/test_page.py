"""The files shown on the page about bringing a finetune are read as they stand there."""

import re
from pathlib import Path
from typing import Any

from persona_interp.readers import read_prompts, read_trait

PAGE = Path(__file__).parents[2] / "docs" / "bring_your_own.md"


def blocks(kind: str) -> list[str]:
    return re.findall(rf"```{kind}\n(.*?)```", PAGE.read_text(encoding="utf-8"), flags=re.S)


def test_the_trait_file_and_the_prompts_are_read(write: Any) -> None:
    (trait,), (prompts,) = blocks("json"), blocks("text")
    assert read_trait(write("sarcastic.json", trait)).name == "sarcastic"
    assert len(read_prompts(write("prompts.txt", prompts))) == 6


def test_the_scripts_compile() -> None:
    scripts = blocks("python")
    assert len(scripts) >= 4
    for script in scripts:
        compile(script, "page", "exec")
