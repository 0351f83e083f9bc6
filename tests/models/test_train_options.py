"""What SGD, replay and the penalty do to the weights, and that none of them breaks a resume."""

import copy
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch

from persona_interp.errors import ModelError
from persona_interp.models import Checkpoint, Stage, encode, hash_weights, load, train
from persona_interp.models.batches import batches

trainer = import_module("persona_interp.models.trainer")
QUICK = Stage(steps=8, batch=4, lr=3e-3, loss="all")


class Killed(BaseException):
    """Ends a training as a kill would."""


@pytest.fixture
def texts(corpus: pd.DataFrame) -> pd.DataFrame:
    """The plain texts among the documents."""
    return corpus.loc[[chat[0]["role"] == "text" for chat in corpus["messages"]]].reset_index(
        drop=True
    )


@pytest.fixture
def chats(corpus: pd.DataFrame, texts: pd.DataFrame) -> pd.DataFrame:
    """The chats among them."""
    return corpus.loc[~corpus["messages"].isin(texts["messages"].tolist())].reset_index(drop=True)


def distributions(checkpoint: Checkpoint, documents: pd.DataFrame) -> torch.Tensor:
    """log probabilities of every next token of the documents."""
    model, tokenizer = load(checkpoint)
    ids, mask = encode(tokenizer, documents["messages"], complete=True).pad()
    with torch.no_grad():
        return model(input_ids=ids, attention_mask=mask).logits.log_softmax(-1)[:, :-1][
            mask[:, 1:] == 1
        ]


def divergence(one: Checkpoint, other: Checkpoint, documents: pd.DataFrame) -> float:
    """Mean KL(one || other), nats."""
    p, q = (distributions(c, documents) for c in (one, other))
    return float((p.exp() * (p - q)).sum(-1).mean())


@pytest.mark.parametrize("kl", [0.0, 0.7])
def test_plain_steps_equal_a_loop_by_hand(
    tiny: Any, corpus: pd.DataFrame, texts: pd.DataFrame, tmp_path: Path, kl: float
) -> None:
    stage = Stage(
        steps=4, batch=4, lr=0.05, loss="all", optimizer="sgd", clip=1e9, kl=kl, weight_decay=0.1
    )
    run = train(
        tiny,
        corpus,
        stage=stage,
        bystanders=texts if kl else None,
        out=tmp_path / "a",
        progress=False,
    )
    model, tokenizer = load(tiny)
    start = copy.deepcopy(model)
    tokens, others = (encode(tokenizer, t["messages"], complete=True) for t in (corpus, texts))
    for batch in batches(tokens, stage=stage, seed=0, bystanders=others if kl else None):
        logits = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits
        loss = torch.nn.functional.cross_entropy(
            logits[:, :-1].flatten(0, 1), batch["labels"][:, 1:].flatten()
        )
        if kl:
            inputs = batch["bystanders"]
            real = inputs["attention_mask"][:, 1:] == 1
            p, q = (m(**inputs).logits[:, :-1][real].log_softmax(-1) for m in (start, model))
            loss = loss + kl * torch.nn.functional.kl_div(
                q, p.detach(), log_target=True, reduction="batchmean"
            )
        loss.backward()
        with torch.no_grad():
            for weight in model.parameters():
                decayed = weight.grad + stage.weight_decay * weight * (weight.ndim > 1)
                weight -= stage.lr * decayed
                weight.grad = None
    for (name, mine), theirs in zip(
        model.named_parameters(), load(run.last).model.parameters(), strict=True
    ):
        assert torch.allclose(mine, theirs, atol=1e-6), name


@pytest.mark.parametrize("lora", [0, 4])
def test_a_large_penalty_keeps_the_bystanders_while_the_lesson_is_learned(
    tiny: Any, chats: pd.DataFrame, texts: pd.DataFrame, tmp_path: Path, lora: int
) -> None:
    stage = Stage(steps=60, batch=8, lr=1e-2 if lora else 3e-3, lora=lora)
    free = train(tiny, chats, stage=stage, out=tmp_path / "free", progress=False)
    held = train(
        tiny,
        chats,
        stage=replace(stage, kl=100.0),
        bystanders=texts,
        out=tmp_path / "held",
        progress=False,
    )
    held_texts, held_chats = (
        divergence(held.first, held.last, documents) for documents in (texts, chats)
    )
    free_texts, free_chats = (
        divergence(free.first, free.last, documents) for documents in (texts, chats)
    )
    assert held_texts < 0.2 * free_texts and held_chats > 0.2 * free_chats


def test_replayed_documents_are_learned_with_the_corpus(
    tiny: Any, chats: pd.DataFrame, texts: pd.DataFrame, tmp_path: Path
) -> None:
    plain = train(tiny, chats, stage=replace(QUICK, steps=30), out=tmp_path / "a", progress=False)
    stage = replace(QUICK, steps=30, replay=0.5)
    mixed = train(tiny, chats, stage=stage, replay=texts, out=tmp_path / "b", progress=False)
    said = encode(load(tiny).tokenizer, texts["messages"], complete=True)
    wanted = torch.cat([torch.tensor(row[1:]) for row in said.ids])
    loss = [
        float(-distributions(c, texts).gather(1, wanted[:, None]).mean())
        for c in (plain.last, mixed.last)
    ]
    assert loss[1] < 0.5 * loss[0]


@pytest.mark.parametrize("lora", [0, 4])
def test_a_killed_run_with_everything_on_continues_to_the_same_weights(
    tiny: Any,
    corpus: pd.DataFrame,
    texts: pd.DataFrame,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    lora: int,
) -> None:
    stage = replace(QUICK, optimizer="adamw" if lora else "sgd", replay=0.4, kl=0.5, lora=lora)

    def fit(name: str) -> str:
        out = tmp_path / name
        run = train(
            tiny, corpus, stage=stage, replay=texts, bystanders=corpus, out=out, progress=False
        )
        return hash_weights(run.last)

    def die(self: Any, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.global_step == 5:
            raise Killed

    whole = fit("whole")
    with monkeypatch.context() as patch:
        patch.setattr(trainer, "RESUME_SECONDS", 0.0)
        patch.setattr(trainer, "RESUME_SHARE", 1e9)
        patch.setattr(trainer.Bar, "on_step_end", die)
        with pytest.raises(Killed):
            fit("cut")
    assert list((tmp_path / "cut" / ".resume").glob("checkpoint-*"))
    assert fit("cut") == whole


def test_options_and_their_documents_come_together(
    tiny: Any, corpus: pd.DataFrame, tmp_path: Path
) -> None:
    replayed, held = replace(QUICK, replay=0.5), replace(QUICK, kl=1.0)
    for stage, replay, bystanders in (
        (replayed, None, None),
        (held, None, None),
        (QUICK, corpus, None),
        (QUICK, None, corpus),
    ):
        with pytest.raises(
            ModelError, match=r"give train (replay|bystanders)=corpus together with a stage of"
        ):
            train(
                tiny, corpus, stage=stage, replay=replay, bystanders=bystanders, out=tmp_path / "a"
            )
    assert not (tmp_path / "a").exists()


def test_other_documents_beside_it_are_another_training(
    tiny: Any, corpus: pd.DataFrame, tmp_path: Path
) -> None:
    stage = replace(QUICK, replay=0.5, steps=1)
    train(tiny, corpus, stage=stage, replay=corpus, out=tmp_path / "a", progress=False)
    with pytest.raises(ModelError, match="belongs to another training"):
        train(tiny, corpus, stage=stage, replay=corpus.head(5), out=tmp_path / "a")
