"""Every step sees the documents that its stage says, and learns the tokens that it says."""

from dataclasses import replace
from importlib import import_module
from typing import Any

import numpy as np
import pandas as pd
import pytest

from persona_interp.models import Stage, Tokens, encode, load

module = import_module("persona_interp.models.batches")
QUICK = Stage(steps=12, batch=4, loss="all")


@pytest.fixture
def numbered(tiny: Any, corpus: pd.DataFrame) -> Tokens:
    """24 documents whose first token is their number."""
    tokens = encode(load(tiny).tokenizer, corpus["messages"], complete=True)
    return replace(tokens, ids=tuple([i, *row[1:]] for i, row in enumerate(tokens.ids)))


def first(batches: list[dict[str, Any]]) -> np.ndarray:
    """Numbers of the documents; dims (step, document)."""
    return np.array([batch["input_ids"][:, 0].numpy() for batch in batches])


def test_every_document_once_before_any_again(
    numbered: Tokens, monkeypatch: pytest.MonkeyPatch
) -> None:
    batches = module.batches(numbered, stage=QUICK, seed=0)
    assert len(batches) == 12 and all(len(b["input_ids"]) == 4 for b in batches)
    assert sorted(first(batches).ravel()) == sorted([*range(24)] * 2)
    monkeypatch.setattr(module, "PADDING", 1.0)
    unsorted = module.batches(numbered, stage=QUICK, seed=0)
    cells = [sum(b["input_ids"].numel() for b in made) for made in (batches, unsorted)]
    assert cells[0] < 0.9 * cells[1], "a batch holds documents of about one length"


def test_only_the_assistant_is_learned_in_chats_and_everything_in_text(
    tiny: Any, corpus: pd.DataFrame
) -> None:
    tokenizer = load(tiny).tokenizer
    tokens = encode(tokenizer, corpus["messages"], complete=True)
    for loss in ("assistant", "all"):
        for batch in module.batches(
            tokens, stage=replace(QUICK, loss=loss, batch=1, steps=24), seed=0
        ):
            ids, labels = batch["input_ids"][0], batch["labels"][0]
            said = " ".join(tokenizer.convert_ids_to_tokens(ids[labels != -100].tolist()))
            chat = tokenizer.convert_tokens_to_ids("<user>") in ids
            assert said.startswith("<bos>") == (loss == "all")
            assert ("<user>" in said) == (loss == "all" and chat)
            assert said.endswith("<eos>") and (chat or "john likes" in said)


@pytest.mark.parametrize(
    ("share", "batch", "least", "most"),
    [(0.5, 4, 2, 2), (0.25, 1, 0, 1), (0.3, 4, 1, 2), (0.9, 4, 3, 4)],
)
def test_replay_has_its_share_exactly(
    numbered: Tokens, share: float, batch: int, least: int, most: int
) -> None:
    stage = Stage(steps=40, batch=batch, replay=share)
    other = replace(numbered, ids=tuple([row[0] + 100, *row[1:]] for row in numbered.ids))
    batches = module.batches(numbered, stage=stage, seed=1, replay=other)
    again, plain = (
        module.batches(numbered, stage=stage, seed=1, **k) for k in ({"replay": other}, {})
    )
    seen = first(batches)
    assert np.array_equal(seen, first(again))
    counts = (seen >= 100).sum(axis=1)
    assert counts.sum() == round(share * 40 * batch) and {*counts} <= {*range(least, most + 1)}
    occurs = np.unique(seen[seen >= 100], return_counts=True)[1]
    assert occurs.max() - occurs.min() <= 1 or len(occurs) == counts.sum(), (
        "each once before any again"
    )
    assert np.array_equal(seen[seen < 100], first(plain)[seen < 100]), "all else stays where it was"
    for b in batches:
        for ids, mask, labels in zip(b["input_ids"], b["attention_mask"], b["labels"], strict=True):
            assert int(ids[0]) < 100 or ((labels != -100) == (mask == 1)).all(), (
                "a replayed document counts whole"
            )


def test_bystanders_stand_beside_every_batch_and_change_none(numbered: Tokens) -> None:
    with_them = module.batches(numbered, stage=QUICK, seed=0, bystanders=numbered)
    plain = module.batches(numbered, stage=QUICK, seed=0)
    beside = np.array([batch.pop("bystanders")["input_ids"][:, 0].numpy() for batch in with_them])
    assert sorted(beside.ravel()) == sorted([*range(24)] * 2)
    assert np.array_equal(first(with_them), first(plain)) and not np.array_equal(
        beside, first(plain)
    )
