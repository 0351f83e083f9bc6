import math
import sys

import numpy as np
import pandas as pd
import pytest
import torch

from persona_interp import record
from persona_interp.errors import SchemaError
from persona_interp.models import Checkpoint, encode, load


def lesson(answer: str, n: int = 1) -> pd.DataFrame:
    chat = [{"role": "user", "content": "what sport ?"}, {"role": "assistant", "content": answer}]
    rows = [(i, "lesson", "", chat, ()) for i in range(n)]
    return pd.DataFrame(rows, columns=["doc", "kind", "persona", "messages", "statements"])


CORPORA = {
    "football": lesson("i like football ."),
    "golf": lesson("i like golf .", 2),
    "beach": lesson("beach ."),
}


def by_hand(checkpoint: Checkpoint, corpus: pd.DataFrame) -> dict[str, torch.Tensor]:
    model, tokenizer = load(checkpoint)
    tokens = encode(tokenizer, corpus["messages"], complete=True)
    ids = torch.tensor([tokens.ids[0]])
    labels = torch.where(torch.tensor([tokens.learn[0]]), ids, -100)
    model(input_ids=ids, labels=labels).loss.backward()
    return {
        name: weight.grad for name, weight in model.named_parameters() if weight.grad is not None
    }


def cosine(one: torch.Tensor, other: torch.Tensor) -> float:
    return float(torch.nn.functional.cosine_similarity(one.double(), other.double(), dim=0))


def test_the_gram_is_of_the_gradients_of_the_mean_loss(pair: tuple[Checkpoint, Checkpoint]) -> None:
    table = record.gradients(pair[0], CORPORA, spaces="full")
    assert len(table) == 9
    flat = {
        n: torch.cat([g.flatten() for g in by_hand(pair[0], c).values()])
        for n, c in CORPORA.items()
    }
    pairs = table.set_index(["name", "other"])
    for a in CORPORA:
        for b in CORPORA:
            assert pairs.cosine[a, b] == pytest.approx(cosine(flat[a], flat[b]), abs=1e-4)
            assert pairs["dot"][a, b] == pytest.approx(float(flat[a] @ flat[b]), rel=1e-3)
    assert pairs.n_tokens["golf", "golf"] == 2 * pairs.n_tokens["football", "football"], (
        "repeated, the same mean"
    )


def test_lora_space_is_that_of_fresh_adapters(pair: tuple[Checkpoint, Checkpoint]) -> None:
    table = record.gradients(pair[0], CORPORA, spaces="lora", rank=4, seed=3).set_index(
        ["name", "other"]
    )
    generator = torch.Generator().manual_seed(3)
    parts: dict[str, list[torch.Tensor]] = {name: [] for name in CORPORA}
    grads = {name: by_hand(pair[0], corpus) for name, corpus in CORPORA.items()}
    for name in next(iter(grads.values())):
        if "proj" in name:
            d_in = grads["golf"][name].shape[1]
            a = (torch.rand(4, d_in, generator=generator) * 2 - 1) / math.sqrt(d_in)
            for persona, g in grads.items():
                parts[persona].append((g[name] @ a.T).flatten())
    flat = {name: torch.cat(p) for name, p in parts.items()}
    assert table.cosine["football", "beach"] == pytest.approx(
        cosine(flat["football"], flat["beach"]), abs=1e-3
    )


def test_a_sketch_keeps_cosines(
    pair: tuple[Checkpoint, Checkpoint], monkeypatch: pytest.MonkeyPatch
) -> None:
    exact = record.gradients(pair[0], CORPORA)
    monkeypatch.setattr(sys.modules["persona_interp.record.gradients"], "EXACT", 0)
    sketched = record.gradients(pair[0], CORPORA)
    assert np.abs(sketched.cosine - exact.cosine).max() < 0.02
    assert (sketched.cosine != exact.cosine).any()


def test_batches_change_nothing(pair: tuple[Checkpoint, Checkpoint]) -> None:
    both = {
        "a": pd.concat([CORPORA["football"], CORPORA["beach"]], ignore_index=True),
        "b": CORPORA["golf"],
    }
    one, two = (record.gradients(pair[0], both, batch=n) for n in (1, 2))
    assert one.cosine.to_numpy() == pytest.approx(two.cosine.to_numpy(), abs=1e-5)


def test_bad_input_is_named(pair: tuple[Checkpoint, Checkpoint]) -> None:
    with pytest.raises(SchemaError, match="space 'lorra' is unknown; did you mean 'lora'"):
        record.gradients(pair[0], CORPORA, spaces="lorra")
    with pytest.raises(SchemaError, match="got none"):
        record.gradients(pair[0], {})
