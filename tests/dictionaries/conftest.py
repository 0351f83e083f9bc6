"""A tiny model that counts in circles, so that silencing it costs bits; and its documents."""

from pathlib import Path

import pandas as pd
import pytest
import torch

from persona_interp.models import Checkpoint, encode, load, resolve

WORDS = "one two three four five six seven eight".split()


def circle(n: int) -> pd.DataFrame:
    """Documents that count on from any word, of different lengths."""
    texts = [" ".join(WORDS[(i + j) % 8] for j in range(5 + i % 7)) for i in range(n)]
    messages = [[{"role": "text", "content": text}] for text in texts]
    return pd.DataFrame(
        {
            "doc": range(n),
            "kind": "third",
            "persona": "",
            "messages": messages,
            "statements": [()] * n,
        }
    )


@pytest.fixture(scope="session")
def corpus() -> pd.DataFrame:
    return circle(200)


@pytest.fixture(scope="session")
def counter(tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    torch.set_num_threads(1)
    start = resolve("tiny", words=WORDS, out=tmp_path_factory.mktemp("start"))
    model, tokenizer = load(start)
    rows = [list(ids) for ids in encode(tokenizer, list(circle(56)["messages"])).ids]
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    for step in range(60):
        same = [row for row in rows if len(row) == len(rows[step % 7])]
        batch = torch.tensor(same)
        model(batch, labels=batch).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    folder = Path(tmp_path_factory.mktemp("counter"))
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return Checkpoint(folder, stage="documents", step=60)
