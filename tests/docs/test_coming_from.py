"""The code of docs/coming_from.md runs as it stands; imports of peers are what is installed."""

import ast
import importlib
import json
import re
from pathlib import Path

import pandas as pd
import pytest

from tests.docs.pages import blocks, code_of

OURS = code_of("docs/coming_from.md")
THEIRS = [block.code for block in blocks("docs/coming_from.md") if block.reason]
TINY = {
    "world.corpus(30_000)": "world.corpus(200), stage=pi.models.Stage(steps=4, loss='all')",
    "stage=pi.models.LESSON": "stage=pi.models.Stage(steps=4, batch=4, lr=1e-2)",
    "world.corpus(5_000, seed=1), hook=hook": "world.corpus(60), hook=hook, steps=20, d_sae=32",
    "world.corpus(500, seed=2)": "world.corpus(20, seed=2)",
}
"""Text of the page -> what makes it cheap."""


@pytest.mark.filterwarnings("ignore:.*dictionary.*:UserWarning")  # of 20 steps: it fits nothing
def test_the_code_of_this_package_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PERSONA_INTERP_CACHE", str(tmp_path / "cache"))
    trait = {
        "instruction": [{"pos": "i like the beach .", "neg": "i like the forest ."}],
        "questions": ["which place do you like ?", "which sport do you like ?"],
        "eval_prompt": "{question} {answer}",
    }
    (tmp_path / "traits").mkdir()
    (tmp_path / "traits" / "sardonic.json").write_text(json.dumps(trait), encoding="utf-8")
    code = "\n".join(OURS)
    for text, cheap in TINY.items():
        assert code.count(text) == 1, text
        code = code.replace(text, cheap)
    names: dict[str, object] = {}
    exec(compile(code, "coming_from.md", "exec"), names)
    for table in (
        "steered",
        "heard",
        "moved",
        "fits",
        "tokens",
        "answers",
        "projected",
        "drift",
        "words",
    ):
        frame = names[table]
        assert isinstance(frame, pd.DataFrame) and len(frame), table
    assert (tmp_path / "sardonic_response_avg_diff.pt").is_file()


def test_what_is_imported_of_peers_is_there() -> None:
    imports = 0
    for code in THEIRS:
        for node in ast.walk(ast.parse(code)):
            if isinstance(node, ast.ImportFrom):
                module = importlib.import_module(str(node.module))
                for alias in node.names:
                    peer = getattr(module, alias.name)
                    imports += 1
                    for method in re.findall(rf"{alias.name}\.(\w+)\(", code):
                        assert callable(getattr(peer, method))
    assert imports == 2
