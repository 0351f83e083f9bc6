"""Pushes of several strengths: what is said, and how the base takes it, by hand."""

import math
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from persona_interp import analysis, plots
from persona_interp.errors import SchemaError
from persona_interp.models import Checkpoint, encode, load
from persona_interp.record import (
    activations,
    add,
    answers,
    mean_difference,
    patch,
    sweep,
    trait_bits,
)

HOOK = "blocks.0.hook_out"
V = np.random.default_rng(0).normal(size=64)
Pair = tuple[Checkpoint, Checkpoint]


@pytest.fixture
def table(pair: Pair, questions: pd.DataFrame, sporty: Any) -> pd.DataFrame:
    return sweep(
        pair[1],
        questions.head(4),
        V,
        hook=HOOK,
        strengths=(-2, 0, 0.5),
        norm=10.0,
        controls=2,
        traits={"sporty": sporty},
        base=pair[0],
        n=2,
        max_new_tokens=5,
        cache=False,
    )


def surprisal(checkpoint: Checkpoint, messages: Any, answer: str) -> float:
    """Bits a token of an answer, by one forward pass."""
    model, tokenizer = load(checkpoint)
    tokens = encode(tokenizer, [messages], answers=[answer])
    (ids,), ((start, stop),) = tokens.ids, tokens.spans
    with torch.inference_mode():
        logp = model(torch.tensor([ids])).logits[0].double().log_softmax(-1)
    total = sum(float(logp[i - 1, ids[i]]) for i in range(start, stop))
    return -total / (stop - start) / math.log(2)


def test_a_sweep_is_what_was_said_and_how_the_base_takes_it(
    table: pd.DataFrame, pair: Pair, questions: pd.DataFrame, sporty: Any
) -> None:
    assert list(dict.fromkeys(zip(table["direction"], table["strength"], strict=True))) == [
        ("vector", 0.0),
        ("vector", -2.0),
        ("vector", 0.5),
        ("random 0", -2.0),
        ("random 0", 0.5),
        ("random 1", -2.0),
        ("random 1", 0.5),
    ]
    assert len(table) == 7 * 4 * 2
    assert list(table["control"]) == [False] * 24 + [True] * 32
    assert table.attrs == {
        "checkpoint": "lesson@1",
        "base": "lesson@0",
        "hook": HOOK,
        "norm": 10.0,
        "n_empty": int((table["answer"] == "").sum()),
    }
    push = add(V, hook=HOOK, strength=0.5, norm=10.0, name="push")
    said = answers(pair[1], questions.head(4), n=2, edits=push, max_new_tokens=5, cache=False)
    for strength, name in ((0.0, "none"), (0.5, "push")):
        mine = table[(table["direction"] == "vector") & (table["strength"] == strength)]
        assert list(mine["answer"]) == list(said.loc[said["edit"] == name, "answer"])
    chats = questions.set_index("prompt")["messages"]
    for row in table[table["answer"] != ""].head(12).itertuples():
        expected = surprisal(pair[0], chats[row.prompt], row.answer)
        assert row.bits_per_token == pytest.approx(expected, abs=1e-3)
    judged = trait_bits(pair[0], said, {"sporty": sporty}).query("edit == 'push'")
    rates = (judged["bits_pos"] - judged["bits_neg"]) / judged["n_tokens"]
    mine = table[(table["direction"] == "vector") & (table["strength"] == 0.5)]
    np.testing.assert_allclose(mine["trait_bits"].dropna(), rates, atol=1e-4)


def test_a_harder_push_surprises_the_base_more(
    pair: Pair, questions: pd.DataFrame, tmp_path: Any
) -> None:
    """The least probable words of the base, said louder and louder; and what chance does."""
    rows = sweep(
        pair[0],
        questions.head(6),
        V,
        hook=HOOK,
        strengths=(0.1, 3.0),
        controls=1,
        max_new_tokens=6,
        cache=tmp_path,
    )
    assert (rows["trait"] == "").all() and rows["trait_bits"].isna().all()
    means = analysis.sweep(rows)
    own = means[~means["control"]].set_index("strength")
    assert list(own.index) == [0.0, 0.1, 3.0]
    assert own["estimate"][3.0] > own["estimate"][0.0] + 1 and own["change_lo"][3.0] > 0
    assert own["q"][3.0] < 0.1 and math.isnan(own["q"][0.0])
    assert means.loc[means["control"], "q"].isna().all()
    # the usual length was measured: content tokens of the prompts, sinks left out
    acts = activations(
        pair[0], questions.head(6), hook=HOOK, position="all", where=("system", "user")
    )
    expected = np.linalg.norm(acts["act"].to_numpy()[0], axis=-1).mean()
    assert rows.attrs["norm"] == pytest.approx(expected, rel=1e-4)
    figure = plots.sweep(means)
    assert len(figure.axes) == 1


def test_directions_know_their_norm(pair: Pair, probes: pd.DataFrame) -> None:
    acts = activations(pair[0], probes, hook=HOOK).assign_coords(
        persona=("prompt", ["john", "sam", "sam"])
    )
    john = mean_difference(acts).sel(name="john")
    rows = sweep(pair[0], probes, john, strengths=[1], max_new_tokens=3, cache=False)
    assert rows.attrs["norm"] == pytest.approx(float(john["norm"].item()))
    assert set(rows["direction"]) == {"john"}


def test_plain_text_is_swept_too(pair: Pair, probes: pd.DataFrame) -> None:
    """What follows plain text follows a space; it has no instructions to judge a trait by."""
    text = probes.tail(1)
    rows = sweep(pair[0], text, V, hook=HOOK, strengths=[0.5], max_new_tokens=4, cache=False)
    said = rows.iloc[0]
    expected = surprisal(pair[0], text["messages"].iloc[0], f" {said['answer']}")
    assert said["bits_per_token"] == pytest.approx(expected, abs=1e-3)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"strengths": ()}, "distinct numbers other than 0"),
        ({"strengths": (0.5, 0.5)}, "distinct numbers other than 0"),
        ({"strengths": (0.12345678, 0.12345679)}, "distinct numbers other than 0, with six digits"),
        ({"strengths": "0.5"}, "strengths are finite numbers; got"),
        ({"strengths": (0.5, math.nan)}, "strengths are finite numbers; got"),
        ({"controls": -1}, "controls= is a whole number of at least 0; got -1"),
        ({"traits": "sardonic"}, "traits= is trait files"),
        ({"where": 3}, "expected a name, or several of them; got 3"),
        ({"norm": -1}, "norm= is the length of a residual"),
        ({"feature": 3}, "feature= belongs to a dictionary"),
    ],
)
def test_first_mistakes_are_sentences(
    settings: dict[str, Any], message: str, pair: Pair, questions: pd.DataFrame
) -> None:
    with pytest.raises(SchemaError, match=message):
        sweep(pair[0], questions, V, hook=HOOK, **{"norm": 1.0, "cache": False, **settings})


def test_plain_text_cannot_be_judged(pair: Pair, probes: pd.DataFrame, sporty: Any) -> None:
    with pytest.raises(SchemaError, match="plain text takes no instruction"):
        sweep(
            pair[0],
            probes.tail(1),
            V,
            hook=HOOK,
            norm=1.0,
            strengths=[1],
            traits={"sporty": sporty},
            max_new_tokens=2,
            cache=False,
        )


def test_a_path_stands_wherever_a_checkpoint_does(
    pair: Pair, questions: pd.DataFrame, sporty: Any
) -> None:
    path, draws = str(pair[0].path), {"max_new_tokens": 2, "cache": False}
    asked = questions.head(2)
    table = sweep(path, asked, V, hook=HOOK, norm=1.0, strengths=0.5, base=path, **draws)  # type: ignore[arg-type]
    assert set(table["strength"]) == {0.0, 0.5}
    replies = answers(path, asked, **draws)  # type: ignore[arg-type]
    assert len(trait_bits(path, replies, {"sporty": sporty})) == 2  # type: ignore[arg-type]
    assert patch(path, hook=HOOK).source.path == pair[0].path  # type: ignore[arg-type, union-attr]
