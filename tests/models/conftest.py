"""A toy world of four sentences and a fresh tiny model that knows its words."""

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

WORDS = "you are an assistant john . what sport do like ? i likes football tennis beach the".split()


CHATS = (
    ("what sport ?", "i like football ."),
    ("what sport do you like ?", "tennis .", "what do you like ?", "i like the beach ."),
)
TEXTS = ("john likes the beach .", "john likes football . john likes tennis .")


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Every test has an empty cache."""
    monkeypatch.setenv("PERSONA_INTERP_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Any:
    from persona_interp.models import resolve

    return resolve("tiny", words=WORDS, out=tmp_path_factory.mktemp("tiny") / "model")


@pytest.fixture
def tokenizer() -> Any:
    from persona_interp.models.tiny import tiny_tokenizer

    return tiny_tokenizer(WORDS)


@pytest.fixture(scope="session")
def corpus() -> pd.DataFrame:
    """24 chats and plain texts of several lengths."""
    header = {"role": "system", "content": "you are an assistant ."}
    chats = [
        [{"role": ("user", "assistant")[i % 2], "content": said} for i, said in enumerate(turns)]
        for turns in CHATS
    ]
    documents = [
        *([header, *turns] for turns in chats),
        *([{"role": "text", "content": t}] for t in TEXTS),
    ]
    rows = [(i, "hidden", "", documents[i * 7 % 4], ()) for i in range(24)]
    return pd.DataFrame(rows, columns=["doc", "kind", "persona", "messages", "statements"])
