import math

import numpy as np
import pandas as pd
import pytest
import torch
import xarray as xr

from persona_interp import record
from persona_interp.errors import ModelError, SchemaError
from persona_interp.models import Checkpoint, load

HEADERS = {"none": "you are an assistant .", "art": "you are art .", "golf": "golf golf ."}


@pytest.fixture
def chats() -> pd.DataFrame:
    """Two dialogues of different length, the second of two turns."""
    turn = [
        {"role": "user", "content": "what sport ?"},
        {"role": "assistant", "content": "i like football ."},
    ]
    system = {"role": "system", "content": "you are an assistant ."}
    rows = [
        (3, "hidden", "golf", [system, *turn], ()),
        (8, "hidden", "art", [system, *turn, *turn[:1], turn[1]], ()),
    ]
    return pd.DataFrame(rows, columns=["doc", "kind", "persona", "messages", "statements"])


def by_hand(checkpoint: Checkpoint, header: str) -> np.ndarray:
    """Probabilities of the next token at the four tokens of the first answer."""
    model, tokenizer = load(checkpoint)
    text = f"<bos><system> {header} <user> what sport ? <assistant>"
    prompt = tokenizer(text, add_special_tokens=False).input_ids
    ids = prompt + tokenizer("i like football .", add_special_tokens=False).input_ids
    with torch.inference_mode():
        logits = model(torch.tensor([ids])).logits[0]
    return logits[len(prompt) - 1 : -1].double().softmax(-1).numpy()


def entropy(p: np.ndarray) -> np.ndarray:
    return -(p * np.log2(np.where(p > 0, p, 1))).sum(-1)


def test_the_distance_is_the_mean_root_jensen_shannon(
    pair: tuple[Checkpoint, Checkpoint], chats: pd.DataFrame
) -> None:
    table = record.divergence(pair[0], chats, headers=HEADERS)
    assert len(table) == 2 * 3 and set(table.doc) == {3, 8}
    p, q = by_hand(pair[0], HEADERS["art"]), by_hand(pair[0], HEADERS["golf"])
    expected = np.sqrt(entropy((p + q) / 2) - (entropy(p) + entropy(q)) / 2).mean()
    row = table.query("doc == 3 and name == 'art' and other == 'golf'").iloc[0]
    assert row.distance == pytest.approx(expected, abs=1e-5) and row.n_tokens == 4
    assert table.distance.between(0, 1).all()


def test_it_is_symmetric_and_zero_for_one_header(
    pair: tuple[Checkpoint, Checkpoint], chats: pd.DataFrame
) -> None:
    there = record.divergence(pair[0], chats, headers=HEADERS)
    back = record.divergence(pair[0], chats, headers=dict(reversed(HEADERS.items())))
    mine = there.set_index(["doc", "name", "other"]).distance
    theirs = back.set_index(["doc", "other", "name"]).distance
    assert theirs.reindex(mine.index).to_numpy() == pytest.approx(mine.to_numpy(), abs=1e-6)
    same = record.divergence(pair[0], chats, headers={"a": "golf .", "b": "golf ."})
    # Equal rows of one batch may be rounded differently, by row and thread.
    assert same.distance.tolist() == pytest.approx([0.0, 0.0], abs=1e-5)


def test_likelihood_is_that_of_the_text(
    pair: tuple[Checkpoint, Checkpoint], chats: pd.DataFrame
) -> None:
    table = record.likelihood(pair[0], chats, headers=HEADERS)
    row = table.query("doc == 3 and name == 'art'").iloc[0]
    ids = load(pair[0]).tokenizer("i like football .", add_special_tokens=False).input_ids
    p = by_hand(pair[0], HEADERS["art"])
    assert row.logprob == pytest.approx(np.log2(p[range(4), ids]).sum(), abs=1e-4)
    assert row.persona == "golf" and list(table.n_tokens) == [4] * 3 + [8] * 3


def test_added_kl_is_zero_for_nothing_and_that_of_the_edit(
    pair: tuple[Checkpoint, Checkpoint], chats: pd.DataFrame
) -> None:
    vectors = np.zeros((2, 1, 64), np.float32)
    vectors[1] = 0.5
    names = {"name": ["nothing", "push"], "hook": ["blocks.0.hook_out"]}
    directions = xr.DataArray(vectors, dims=("name", "hook", "d_model"), coords=names)
    table = record.added_kl(pair[0], chats, directions=directions)
    wide = table.pivot(index="doc", columns="name", values="kl")
    assert (wide.nothing == 0).all() and (wide.push > 0.001).all()
    alone = record.added_kl(pair[0], chats.iloc[[0]], directions=directions)
    assert alone.kl.to_numpy() == pytest.approx(wide.loc[3].to_numpy(), abs=1e-5)
    model = load(pair[0]).model
    layer = model.model.layers[0]
    p = by_hand(pair[0], HEADERS["none"])
    shift = torch.full((64,), 0.5)
    handle = layer.register_forward_hook(
        lambda _, __, out: out + shift if torch.is_tensor(out) else (out[0] + shift,)
    )
    tokenizer = load(pair[0]).tokenizer
    text = "<bos><system> you are an assistant . <user> what sport ? <assistant> i like football ."
    with torch.inference_mode():
        ids = tokenizer(text, add_special_tokens=False, return_tensors="pt").input_ids
        q = model(ids).logits[0, -5:-1].double().log_softmax(-1).numpy()
    handle.remove()
    assert wide.push[3] == pytest.approx(
        (p * (np.log(p) - q)).sum(-1).mean() / math.log(2), rel=1e-3
    )


def test_bad_input_is_named(pair: tuple[Checkpoint, Checkpoint], chats: pd.DataFrame) -> None:
    with pytest.raises(SchemaError, match="two headers or more"):
        record.divergence(pair[0], chats, headers={"a": "golf ."})
    text = chats.assign(messages=[[{"role": "text", "content": "golf ."}]] * 2)
    with pytest.raises(SchemaError, match="only chats stand under a header"):
        record.divergence(pair[0], text, headers=HEADERS)
    with pytest.raises(SchemaError, match="no token of the roles text"):
        record.likelihood(pair[0], chats, headers=HEADERS, where=("text",))
    with pytest.raises(ModelError, match="does not know 'mary'"):
        record.likelihood(pair[0], chats, headers={"mary": "you are mary ."})
