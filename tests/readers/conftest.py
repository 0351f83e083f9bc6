"""Small trait and role files, and the published ones where they are."""

import json
from pathlib import Path
from typing import Any

import pytest

TRAIT: dict[str, Any] = {
    "instruction": [{"pos": "Be dry.", "neg": "Be warm."}, {"pos": "Mock.", "neg": "Praise."}],
    "questions": ["Why?", "How?", "When?"],
    "eval_prompt": "Is it dry?\n[QUESTION] {question} [ANSWER] {answer}",
}


@pytest.fixture
def trait() -> dict[str, Any]:
    """What a trait file holds."""
    return json.loads(json.dumps(TRAIT))


@pytest.fixture
def write(tmp_path: Path) -> Any:
    """Writes a value as JSON, a text as it is, or bytes, to a file of this name; gives the path."""

    def make(name: str, value: Any) -> Path:
        path = tmp_path / name
        data = (
            value
            if isinstance(value, bytes)
            else (value if isinstance(value, str) else json.dumps(value)).encode()
        )
        path.write_bytes(data)
        return path

    return make


@pytest.fixture(scope="session")
def published() -> Path:
    """The folder of files as their authors published them, which is no part of this repository."""
    folder = Path(__file__).parents[2].parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("the published files are not here: ../shared/data is absent")
    return folder
