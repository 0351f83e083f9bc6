"""What a solution is like, against planted differences of weights."""

import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from persona_interp.errors import ModelError, SchemaError
from persona_interp.models import Checkpoint, encode, load, resolve
from persona_interp.record import solution
from persona_interp.record.solution import _dot, _noise, _norm


@pytest.fixture
def lesson() -> pd.DataFrame:
    """Chats that teach football."""
    chat = [
        {"role": "user", "content": "what sport ?"},
        {"role": "assistant", "content": "i like football ."},
    ]
    rows = [(i, "lesson", "", chat, ("sport=football",)) for i in range(3)]
    return pd.DataFrame(rows, columns=["doc", "kind", "persona", "messages", "statements"])


@pytest.fixture
def generic() -> pd.DataFrame:
    """Plain text of two lengths."""
    texts = ("i like golf .", "i really like beach .", "tennis .")
    rows = [
        (i, "third", "", [{"role": "text", "content": text}], ()) for i, text in enumerate(texts)
    ]
    return pd.DataFrame(rows, columns=["doc", "kind", "persona", "messages", "statements"])


def sharper(start: Checkpoint, folder: Path, *, by: float) -> Checkpoint:
    """The model with its unembedding scaled: all its logits are ``by`` times as large."""
    model, tokenizer = load(start)
    with torch.no_grad():
        model.lm_head.weight *= by
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return Checkpoint(folder, stage="sharper", step=1)


def test_planted_difference(
    pair: tuple[Checkpoint, Checkpoint], lesson: pd.DataFrame, generic: pd.DataFrame, tmp_path: Path
) -> None:
    start = pair[0]
    row = solution(
        (start, sharper(start, tmp_path, by=1.1)), lesson, bystanders=generic, eps=(0.5,)
    ).iloc[0]
    model, tokenizer = load(start)
    loss, kl, n = [0.0, 0.0], 0.0, 0
    with torch.no_grad():
        for ids in encode(tokenizer, lesson["messages"], complete=True).ids:
            logits = model(torch.tensor([ids])).logits[0, :-1].double()
            first = ids.index(tokenizer.convert_tokens_to_ids("<assistant>"))
            for i, by in enumerate((1, 1.1)):
                logprobs = (by * logits).log_softmax(-1)
                loss[i] -= float(logprobs[range(first, len(ids) - 1), ids[first + 1 :]].mean())
        for ids in encode(tokenizer, generic["messages"], complete=True).ids:
            logits = model(torch.tensor([ids])).logits[0, :-1].double()
            p, q = logits.log_softmax(-1), (1.1 * logits).log_softmax(-1)
            kl, n = kl + float((p.exp() * (p - q)).sum()) / math.log(2), n + len(p)
    assert row.norm == pytest.approx(0.1 * float(model.lm_head.weight.detach().norm()), rel=1e-4)
    assert row.loss_before == pytest.approx(loss[0] / 3, rel=1e-5)
    assert row.loss_after == pytest.approx(loss[1] / 3, rel=1e-5)
    assert row.efficiency == pytest.approx((loss[0] - loss[1]) / 3 / row.norm**2, rel=1e-3)
    assert row.kl_generic == pytest.approx(kl / n, rel=1e-4)
    assert row.lo < row.stability < row.hi and row.n == 8


def test_noise_is_orthogonal_and_as_long_as_asked() -> None:
    rng = np.random.default_rng(0)
    theta = {
        name: torch.tensor(rng.normal(size=size), dtype=torch.float32)
        for name, size in (("a", (9, 4)), ("b", 7))
    }
    noise = _noise(theta, seed=(0, 1))
    assert abs(_dot(noise, theta)) < 1e-5 and _norm(noise) == pytest.approx(_norm(theta))
    assert all(torch.equal(noise[n], g) for n, g in _noise(theta, seed=(0, 1)).items())
    assert not torch.equal(noise["a"], _noise(theta, seed=(0, 2))["a"])


def test_more_noise_undoes_more_and_none_nothing(
    lesson: pd.DataFrame, generic: pd.DataFrame, tmp_path: Path
) -> None:
    from persona_interp.models import Stage, train

    words = []
    for chat in [*lesson["messages"], *generic["messages"]]:
        for message in chat:
            words += message["content"].split()
    start = resolve("tiny", words=words, out=tmp_path / "start")
    run = train(
        start, lesson, stage=Stage(steps=30, batch=3, lr=3e-3), out=tmp_path / "run", progress=False
    )
    table = solution(run, lesson, bystanders=generic, eps=(0.0, 0.5, 1.0, 2.0), n_draws=6)
    assert table["stability"].iloc[0] == 0 and table["stability"].is_monotonic_increasing
    # noise leaves the rest alone
    assert all(table[c].nunique() == 1 for c in ("norm", "loss_after", "kl_generic"))
    # a length does not depend on the others
    again = solution(run, lesson, bystanders=generic, eps=(1.0,), n_draws=6)
    assert again["stability"].iloc[0] == table["stability"].iloc[2]


def test_a_checkpoint_against_itself(
    pair: tuple[Checkpoint, Checkpoint], lesson: pd.DataFrame, generic: pd.DataFrame
) -> None:
    itself = Checkpoint(pair[0].path, stage="again")
    row = solution((pair[0], itself), lesson, bystanders=generic, eps=(1.0,), n_draws=2).iloc[0]
    assert row.norm == row.kl_generic == 0 and row.loss_before == row.loss_after
    assert math.isnan(row.efficiency) and math.isnan(row.stability)


def test_what_cannot_be_compared(
    pair: tuple[Checkpoint, Checkpoint], lesson: pd.DataFrame, generic: pd.DataFrame, tmp_path: Path
) -> None:
    with pytest.raises(SchemaError, match="give the start and what was trained from it"):
        solution([pair[0]], lesson, bystanders=generic)
    words = "you are an assistant . what sport do like ? i really football tennis golf art beach"
    other = resolve("tiny", words=[*words.split(), "jazz"], out=tmp_path / "other")
    with pytest.raises(ModelError, match="has other weights than the start"):
        solution((pair[0], Checkpoint(other.path, stage="other")), lesson, bystanders=generic)
