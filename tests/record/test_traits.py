from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from persona_interp.errors import ModelError, SchemaError
from persona_interp.models import ROLES, Checkpoint, load
from persona_interp.readers import TraitFile
from persona_interp.record import (
    activations,
    answers,
    continuations,
    conversations,
    minimal_pairs,
    read_vectors,
    trait_bits,
    trait_vectors,
    write_vectors,
)

Pair = tuple[Checkpoint, Checkpoint]
HOOKS = ["blocks.0.hook_out", "blocks.1.hook_in"]


@pytest.fixture(scope="module")
def table(pair: Pair, questions: pd.DataFrame) -> pd.DataFrame:
    rows = answers(pair[0], questions, n=3, max_new_tokens=7, cache=False)
    assert rows["answer"].map(lambda text: len(text.split())).nunique() > 1
    return rows


def published(
    checkpoint: Checkpoint, table: pd.DataFrame, pool: Callable[[Any, int], Any]
) -> np.ndarray:
    """The published recipe by hand, one row at a time: hidden_states[1] = output of block 0."""
    model, tokenizer = load(checkpoint, attention="eager")
    sums: dict[str, list[torch.Tensor]] = {"pos": [], "neg": []}
    for row in table.loc[(table["answer"] != "") & table["side"].isin(["pos", "neg"])].itertuples():
        prompt = tokenizer.apply_chat_template(
            row.messages, tokenize=False, add_generation_prompt=True
        )
        ids = tokenizer(
            prompt + str(row.answer), add_special_tokens=False, return_tensors="pt"
        ).input_ids
        n_prompt = len(tokenizer(prompt, add_special_tokens=False).input_ids)
        with torch.inference_mode():
            states = model(ids, output_hidden_states=True).hidden_states[1][0]
        sums[str(row.side)].append(pool(states, n_prompt))
    return (torch.stack(sums["pos"]).mean(0) - torch.stack(sums["neg"]).mean(0)).numpy()


@pytest.mark.parametrize(
    ("pool", "by_hand"),
    [
        ("response", lambda states, n: states[n:].mean(0)),
        ("prompt", lambda states, n: states[:n].mean(0)),
        ("last", lambda states, n: states[n - 1]),
    ],
)
def test_vectors_are_those_of_the_published_recipe(
    pair: Pair, table: pd.DataFrame, pool: str, by_hand: Callable[[Any, int], Any]
) -> None:
    where = ROLES if pool == "prompt" else None
    vectors = trait_vectors(pair[0], table, hooks=HOOKS, pool=pool, where=where)
    expected = published(pair[0], table, by_hand)
    for hook in HOOKS:  # the output of block 0 is the input of block 1
        direction = vectors.sel(name="sporty", hook=hook).to_numpy()
        assert np.linalg.norm(direction - expected) <= 1e-4 * np.linalg.norm(expected)
    assert vectors["hidden_state"].to_numpy().tolist() == [1, 1]
    assert vectors["n_pos"].item() + vectors["n_neg"].item() == vectors["n"].item()


def test_vectors_are_written_and_read_again(
    pair: Pair, table: pd.DataFrame, tmp_path: Path
) -> None:
    hooks = ["blocks.0.hook_out", "blocks.1.hook_out"]
    vectors = trait_vectors(pair[0], table, hooks=hooks)
    again = read_vectors(
        write_vectors(vectors, tmp_path / "sporty_response_avg_diff.pt", name="sporty")
    )
    same_hooks = again.sel(hook=hooks)
    np.testing.assert_array_equal(same_hooks.to_numpy(), vectors.to_numpy())
    assert vectors["hidden_state"].values.tolist() == [1, 2]
    assert same_hooks["hidden_state"].values.tolist() == [1, 2]


def test_a_prompt_without_its_first_token(pair: Pair, table: pd.DataFrame) -> None:
    vectors = trait_vectors(pair[0], table, hooks=HOOKS[:1], pool="prompt")
    everything = trait_vectors(pair[0], table, hooks=HOOKS[:1], pool="prompt", where=ROLES)
    assert not np.allclose(vectors, everything)
    assert vectors["n_sinks"].item() == everything["n_sinks"].item() == 0


def test_minimal_pairs_work_on_answers(pair: Pair, table: pd.DataFrame) -> None:
    rows = conversations(table.query("side != 'default' and sample == 0"))
    acts = activations(pair[0], rows, hook=HOOKS[0], position="answer", where="assistant")
    vectors = minimal_pairs(acts, by="side", match=("question",))
    whole = trait_vectors(pair[0], table.query("sample == 0"), hooks=HOOKS[:1])
    np.testing.assert_allclose(
        vectors.sel(name="pos"), whole.sel(name="sporty"), rtol=1e-4, atol=1e-5
    )
    assert vectors.sel(name="pos")["n"] == 4


def test_several_hooks_in_one_run_are_those_of_one_each(pair: Pair, table: pd.DataFrame) -> None:
    rows = conversations(table)
    together = activations(pair, rows, hook=HOOKS, position="answer")
    for hook, acts in zip(HOOKS, together, strict=True):
        assert acts.identical(activations(pair, rows, hook=hook, position="answer"))


def test_continuations_are_log_probabilities_without_the_instruction(
    pair: Pair, table: pd.DataFrame
) -> None:
    scores = continuations(pair, table)
    nonempty = table.loc[table["answer"] != ""].reset_index(drop=True)
    assert len(scores) == 2 * len(nonempty)
    assert scores.attrs["n_empty"] == len(table) - len(nonempty)
    model, tokenizer = load(pair[1])
    mine = scores.loc[scores["checkpoint"] == pair[1].label].reset_index(drop=True)
    for i in (0, len(nonempty) // 2, len(nonempty) - 1):
        prompt = f"<bos><user> {nonempty['question'][i]} <assistant>"
        before = tokenizer(prompt, add_special_tokens=False).input_ids
        ids = before + tokenizer(nonempty["answer"][i], add_special_tokens=False).input_ids
        with torch.inference_mode():
            logs = model(torch.tensor([ids])).logits[0].double().log_softmax(-1)
        expected = sum(float(logs[j - 1, ids[j]]) for j in range(len(before), len(ids))) / np.log(2)
        assert mine["bits"][i] == pytest.approx(expected, rel=1e-5)
        assert mine["n_tokens"][i] == len(ids) - len(before)


def test_bits_do_not_depend_on_the_batch(pair: Pair, table: pd.DataFrame) -> None:
    one, many = (continuations(pair[0], table, batch=batch)["bits"] for batch in (1, 4096))
    np.testing.assert_allclose(one, many, rtol=1e-5)


def test_swapping_the_sides_of_a_trait_changes_the_sign(
    pair: Pair, table: pd.DataFrame, sporty: TraitFile
) -> None:
    turned = TraitFile(
        "turned", tuple(type(i)(i.neg, i.pos) for i in sporty.instructions), sporty.questions
    )
    both = trait_bits(pair[0], table, {"sporty": sporty, "turned": turned}, pairs=2)
    there, back = (
        both.loc[both["trait"] == name].reset_index(drop=True) for name in ("sporty", "turned")
    )
    assert there["bits_pos"].equals(back["bits_neg"]) and there["bits_neg"].equals(back["bits_pos"])
    assert set(both["own_trait"]) == {"sporty"} and (both["bits_pos"] < 0).all()
    one = trait_bits(pair[0], table, {"sporty": sporty})
    nonempty = table.loc[table["answer"] != ""].reset_index(drop=True)
    alone = trait_bits(pair[0], table.iloc[::-1].head(7), {"sporty": sporty})
    shared = one.merge(alone, on=["prompt", "sample"])  # the other answers do not matter
    np.testing.assert_allclose(shared["bits_neg_x"], shared["bits_neg_y"], rtol=1e-5)
    # an answer that is judged under the instruction it was given under
    same_instruction = (nonempty["side"] == "pos") & (nonempty["instruction"] == 1)
    row = nonempty.index[same_instruction][0]
    model, tokenizer = load(pair[0])
    text = tokenizer.apply_chat_template(
        nonempty["messages"][row], tokenize=False, add_generation_prompt=True
    )
    before = tokenizer(text, add_special_tokens=False).input_ids
    ids = before + tokenizer(nonempty["answer"][row], add_special_tokens=False).input_ids
    with torch.inference_mode():
        logs = model(torch.tensor([ids])).logits[0].double().log_softmax(-1)
    expected = sum(float(logs[j - 1, ids[j]]) for j in range(len(before), len(ids))) / np.log(2)
    assert one["bits_pos"][row] == pytest.approx(expected, rel=1e-5)


def test_bad_input_is_named(
    pair: Pair, table: pd.DataFrame, sporty: TraitFile, tmp_path: Path
) -> None:
    with pytest.raises(SchemaError, match="pool 'respons' is unknown; did you mean 'response'"):
        trait_vectors(pair[0], table, hooks=HOOKS, pool="respons")
    with pytest.raises(SchemaError, match="no answers of side 'neg'"):
        trait_vectors(pair[0], table.query("side == 'pos'"), hooks=HOOKS)
    with pytest.raises(ModelError, match=r"hook 'blocks\.7\.hook_out' is unknown"):
        trait_vectors(pair[0], table, hooks=["blocks.7.hook_out"])
    with pytest.raises(SchemaError, match="lack the column 'trait'"):
        continuations(pair[0], table.drop(columns="trait"))
    with pytest.raises(SchemaError, match="distinct labels"):
        continuations([pair[0], pair[0]], table)
    with pytest.raises(SchemaError, match="has 2 pairs of instructions; got pairs=3"):
        trait_bits(pair[0], table, {"sporty": sporty}, pairs=3)
    with pytest.raises(SchemaError, match="no trait to judge by"):
        trait_bits(pair[0], table, {})
