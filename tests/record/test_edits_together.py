"""Edits that are on together: a tuple is one entry, as published caps of several layers need it."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from persona_interp.errors import SchemaError
from persona_interp.models import Checkpoint, encode, load
from persona_interp.record import (
    ablate,
    add,
    behavior,
    cap,
    clamp,
    patch,
    project_out,
    read_capping,
    write_capping,
)
from persona_interp.record.edit import list_edits

HOOK, LAST = "blocks.0.hook_out", "blocks.1.hook_out"
V, W = np.random.default_rng(0).normal(size=(2, 64))


def plain(checkpoint: Checkpoint, probes: pd.DataFrame, *vectors: Any) -> list[float]:
    """Log probabilities (bits) with a vector added to each block by a hook of PyTorch."""
    model, tokenizer = load(checkpoint)
    for block, vector in zip(model.model.layers, vectors, strict=True):
        push = torch.as_tensor(vector).float()
        block.register_forward_hook(lambda block, inputs, out, push=push: out + push)
    logprobs = []
    for row in probes.itertuples():
        for answer in row.answers:
            tokens = encode(tokenizer, [row.messages], answers=[answer])
            (ids,), ((start, stop),) = tokens.ids, tokens.spans
            with torch.inference_mode():
                logp = model(torch.tensor([ids])).logits[0].log_softmax(-1)
            logprobs.append(sum(float(logp[i - 1, ids[i]]) for i in range(start, stop)) / np.log(2))
    return logprobs


def test_edits_at_two_hooks_are_both_on(pair: Any, probes: pd.DataFrame) -> None:
    one, two = add(V, hook=HOOK, absolute=1.0, name="v"), add(W, hook=LAST, absolute=1.0, name="w")
    table = behavior(pair[0], probes, edits=[one, (one, two)])
    logprobs = table.groupby("edit", sort=False)["logprob"].agg(np.array)
    assert list(logprobs.index) == ["none", "v", "v + w"]
    expected = plain(pair[0], probes, V, W)
    np.testing.assert_allclose(logprobs["v + w"], expected, atol=1e-3, rtol=1e-4)
    assert np.abs(logprobs["v + w"] - logprobs["v"]).max() > 1e-2


def test_edits_at_one_hook_follow_each_other(pair: Any, probes: pd.DataFrame) -> None:
    """Pushed far and then capped at 0, nothing along the vector is left."""
    far, bound = add(V, hook=HOOK, absolute=50.0), cap(V, hook=HOOK, at=0.0)
    edits = {"in": (far, bound), "out": (bound, far), "none left": project_out(V, hook=HOOK)}
    table = behavior(pair[0], probes, edits=edits)
    logprobs = table.groupby("edit", sort=False)["logprob"].agg(np.array)
    np.testing.assert_allclose(logprobs["in"], logprobs["none left"], atol=1e-2)
    assert np.abs(logprobs["out"] - logprobs["none left"]).max() > 1


def test_a_capping_file_is_given_as_it_is_read(
    pair: Any, probes: pd.DataFrame, tmp_path: Path
) -> None:
    caps = {"floor": [cap(V, hook=HOOK, at=-1.0), cap(W, hook=LAST, at=-1.0)]}
    read = read_capping(write_capping(caps, tmp_path / "capping_config.pt"))
    table = behavior(pair[0], probes, edits=read)
    assert list(dict.fromkeys(table["edit"])) == ["none", "floor"]
    alone = behavior(pair[0], probes, edits=list(read["floor"]))
    assert list(dict.fromkeys(alone["edit"]))[1:] == [e.name for e in read["floor"]]
    same = table["logprob"].to_numpy()[7:]
    assert all(
        np.abs(part["logprob"].to_numpy() - same).max() > 1e-3
        for _, part in alone.groupby("edit", sort=False)
    )


def test_patches_of_two_sources_keep_apart(pair: Any, probes: pd.DataFrame) -> None:
    """Both are named alike: each still brings its own checkpoint's residual."""
    base, tuned = pair
    first, second = (patch(c, hook=h, name="p") for c, h in ((tuned, HOOK), (base, LAST)))
    table = behavior(base, probes, edits={"both": (first, second)})
    logprobs = table.groupby("edit", sort=False)["logprob"].agg(np.array)
    np.testing.assert_allclose(logprobs["both"], logprobs["none"], atol=1e-5)


@pytest.mark.parametrize(
    "edits", ["cap", ["cap"], [()], [5], 5, [(5,)], [None], {"a": "x"}, [[[]]]]
)
def test_what_is_no_edit_is_refused_in_a_sentence(
    edits: Any, pair: Any, probes: pd.DataFrame
) -> None:
    with pytest.raises(SchemaError, match=r"expected edits of record\.add, .*; got"):
        behavior(pair[0], probes, edits=edits)


def test_names_are_taken_once() -> None:
    edit = add(V, hook=HOOK, absolute=1.0, name="v")
    for edits in ([edit, edit], [(edit, edit), (edit, edit)], {"none": edit}):
        with pytest.raises(SchemaError, match="is taken"):
            list_edits(edits)
    assert list(list_edits(edit)) == ["v"] and list_edits(()) == {}


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: add("evil", hook=HOOK, absolute=1.0), "expected numbers of one shape; got 'evil'"),
        (lambda: add(V, hook=HOOK, absolute=np.nan), "finite numbers; got nan"),
        (lambda: add(V, hook=HOOK, absolute="2"), "finite numbers; got '2'"),
        (lambda: add(V, absolute=1.0), "do not say where they belong; give hook="),
        (lambda: add(V, hook=3, absolute=1.0), "give hook=.* not 3"),  # type: ignore[arg-type]
        (lambda: cap(V, hook=HOOK, at="high"), "a finite bound; got .* at='high'"),  # type: ignore[arg-type]
        (lambda: project_out(None, hook=HOOK), "expected finite vectors|expected numbers"),  # type: ignore[arg-type]
        (lambda: patch(3, hook=HOOK), r"patch takes a checkpoint, .*got 3"),  # type: ignore[arg-type]
        (lambda: clamp("nowhere", features=1, value=1.0), "there is no folder nowhere"),
        (lambda: ablate(5, features=1), "expected a dictionary"),
    ],
)
def test_first_mistakes_end_in_a_sentence(call: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()


def test_tensors_are_vectors(pair: Any) -> None:
    row = torch.nn.Parameter(torch.as_tensor(V)).bfloat16()
    expected = row.detach().double().numpy()
    for edit in (
        add(row, hook=HOOK, absolute=1.0),
        add(list(expected), hook=HOOK, absolute=1.0),
    ):
        assert edit.vectors is not None
        np.testing.assert_array_equal(edit.vectors[0], expected)
    assert project_out(torch.stack([row, row]), hook=HOOK).vectors.shape == (1, 64)  # type: ignore[union-attr]
    assert cap(row, hook=HOOK, at=1.0).values == (1.0,)
