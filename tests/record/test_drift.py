"""Drift is KL(base || checkpoint) of the next token, by hand; of a base against itself 0."""

import numpy as np
import pandas as pd
import pytest
import torch

from persona_interp.models import Checkpoint, encode, load
from persona_interp.record import drift


@pytest.fixture
def conversations() -> pd.DataFrame:
    """Two conversations of different lengths."""
    turns = [
        ["what sport do you like ?", "i like football ."],
        ["what ?", "i really really like tennis ."],
    ]
    chats = [
        [{"role": "user", "content": q}, {"role": "assistant", "content": a}] for q, a in turns
    ]
    table = pd.DataFrame({"prompt": ["a", "b"], "messages": chats})
    return table.assign(context="nameless", persona="", topic="", split="test")


def test_it_is_the_divergence_by_role(
    pair: tuple[Checkpoint, Checkpoint], conversations: pd.DataFrame
) -> None:
    one, two = pair
    table = drift(one, two, conversations)
    tokens = encode(load(one).tokenizer, list(conversations["messages"]), complete=True)
    for row, name in enumerate(conversations["prompt"]):
        ids = torch.tensor([tokens.ids[row]])
        with torch.inference_mode():
            p, q = (
                load(c).model(ids).logits[0, :-1].double().log_softmax(-1).numpy() for c in pair
            )
        kl = (np.exp(p) * (p - q)).sum(-1) / np.log(2)
        roles = np.array(tokens.roles[row][1:])
        mine = table.loc[table["prompt"] == name].set_index("role")
        assert set(mine.index) == set(roles) and mine["n_tokens"].sum() == len(roles)
        for role in mine.index:
            assert mine.loc[role, "kl"] == pytest.approx(kl[roles == role].mean(), rel=1e-4)


def test_a_base_does_not_drift_from_itself(
    pair: tuple[Checkpoint, Checkpoint], conversations: pd.DataFrame
) -> None:
    assert (drift(pair[0], pair[0], conversations)["kl"] == 0).all()


def test_new_tokens_are_left_out(
    pair: tuple[Checkpoint, Checkpoint],
    conversations: pd.DataFrame,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    folder = tmp_path_factory.mktemp("grown")
    model, tokenizer = load(pair[1])
    model.resize_token_embeddings(len(tokenizer) + 5, mean_resizing=False)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    table = drift(pair[0], Checkpoint(folder, stage="grown"), conversations)
    assert (table["kl"] > 0).all() and set(table["checkpoint"]) == {"grown@0"}
