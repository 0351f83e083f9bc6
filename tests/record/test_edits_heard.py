"""Text drawn under edits is what hand-written hooks on plain transformers make of it."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor

from persona_interp.errors import ModelError, SchemaError
from persona_interp.models import Checkpoint, Tokens, encode, load
from persona_interp.record import (
    Edit,
    ablate,
    add,
    answers,
    cap,
    continuations,
    patch,
    read_capping,
    sample,
    trait_bits,
    write_capping,
)
from persona_interp.record.answer_bits import answer_bits
from persona_interp.record.edit_runs import run_edited
from persona_interp.record.generation import generate
from persona_interp.record.places import lay_out
from persona_interp.record.subjects import open_subject

HOOK, LAST = "blocks.0.hook_out", "blocks.1.hook_out"
V, W = np.random.default_rng(0).normal(size=(2, 64))
N = 6  # tokens drawn
Pair = tuple[Checkpoint, Checkpoint]
Change = Callable[[Tensor, Tensor], Tensor]
"""From a residual, dims (position, d_model), and which of its tokens are drawn, to another one."""


def by_hand(
    checkpoint: Checkpoint, chats: Sequence[Any], changes: dict[int, Change], n: int = N
) -> list[str]:
    """Greedy text of plain transformers, row by row without a cache, by hooks of PyTorch."""
    model, tokenizer = load(checkpoint)
    drawn = torch.zeros(0, dtype=torch.bool)

    def hooked(change: Change) -> Callable[..., Tensor]:
        return lambda block, inputs, out: change(out[0], drawn)[None]

    for block, change in changes.items():
        model.model.layers[block].register_forward_hook(hooked(change))
    texts = []
    for row in encode(tokenizer, list(chats)).ids:
        ids = list(row)
        while len(ids) < len(row) + n and ids[-1] != tokenizer.eos_token_id:
            drawn = torch.arange(len(ids)) >= len(row)
            with torch.inference_mode():
                ids.append(int(model(torch.tensor([ids])).logits[0, -1].argmax()))
        texts.append(tokenizer.decode(ids[len(row) :], skip_special_tokens=True).strip())
    return texts


def heard(checkpoint: Checkpoint, prompts: pd.DataFrame, *edits: Any, n: int = N) -> pd.Series:
    """Greedy texts by edit."""
    table = answers(
        checkpoint, prompts, edits=list(edits), temperature=0, max_new_tokens=n, cache=False
    )
    return table.groupby("edit", sort=False)["answer"].agg(list)


def push(vector: np.ndarray) -> Change:
    return lambda acts, drawn: acts + torch.as_tensor(vector).float()


def floor(vector: np.ndarray, at: float) -> Change:
    unit = torch.as_tensor(vector / np.linalg.norm(vector)).float()
    return lambda acts, drawn: acts - ((acts @ unit) - at).clamp(min=0)[:, None] * unit


def test_a_published_capping_file_is_heard_as_hooks_by_hand_say_it(
    pair: Pair, questions: pd.DataFrame, tmp_path: Path
) -> None:
    """Two layers, prompts of different lengths in one batch, token by token."""
    caps = {"floor": [cap(V, hook=HOOK, at=-3.0), cap(W, hook=LAST, at=-2.0)]}
    read = read_capping(write_capping(caps, tmp_path / "capping_config.pt"))
    table = answers(
        pair[0], questions, edits=read, temperature=0, max_new_tokens=N, cache=False
    ).set_index("edit")["answer"]
    changes = {0: floor(V, -3.0), 1: floor(W, -2.0)}
    assert list(table["floor"]) == by_hand(pair[0], questions["messages"], changes)
    assert list(table["none"]) == by_hand(pair[0], questions["messages"], {})
    assert (table["floor"] != table["none"].to_numpy()).sum() > len(questions) / 2


def test_caps_of_a_real_checkpoint(stories: Checkpoint, tmp_path: Path) -> None:
    model, _ = load(stories)
    rng, width = np.random.default_rng(1), model.config.hidden_size
    vectors = {block: rng.normal(size=width) for block in (1, 3)}
    edits = [cap(v, hook=f"blocks.{block}.hook_out", at=-1.0) for block, v in vectors.items()]
    read = read_capping(write_capping({"floor": edits}, tmp_path / "capping_config.pt"))
    texts = ["Once upon a time", "Lily and Tom", "The cat was very"]
    prompts = pd.DataFrame({"prompt": texts})
    prompts["messages"] = [[{"role": "text", "content": text}] for text in texts]
    table = answers(stories, prompts, edits=read, temperature=0, max_new_tokens=24, cache=False)
    changes = {block: floor(v, -1.0) for block, v in vectors.items()}
    expected = by_hand(stories, prompts["messages"], changes, n=24)
    assert list(table.query("edit == 'floor'")["answer"]) == expected
    assert list(table.query("edit == 'none'")["answer"]) != expected


def test_two_edits_together_at_two_hooks(pair: Pair, questions: pd.DataFrame) -> None:
    v, w = add(V, hook=HOOK, absolute=1.0, name="v"), add(W, hook=LAST, absolute=1.0, name="w")
    texts = heard(pair[0], questions, v, (v, w))
    assert list(texts.index) == ["none", "v", "v + w"]
    chats = questions["messages"]
    assert texts["v"] == by_hand(pair[0], chats, {0: push(V)})
    assert texts["v + w"] == by_hand(pair[0], chats, {0: push(V), 1: push(W)})


def test_a_push_towards_a_token_says_it(pair: Pair, questions: pd.DataFrame) -> None:
    model, tokenizer = load(pair[0])
    golf = model.lm_head.weight[tokenizer.convert_tokens_to_ids("golf")]
    edit = add(golf, hook=LAST, absolute=1e4, name="golf")
    table = sample(pair, questions.head(3), edits=edit, max_new_tokens=4)
    assert list(table.columns) == ["checkpoint", "edit", "prompt", "text"]
    first = table[(table["checkpoint"] == "lesson@0") & (table["edit"] == "golf")]
    assert set(first["text"]) == {"golf golf golf golf"}
    assert not table.loc[table["edit"] == "none", "text"].str.contains("golf golf golf").any()


def test_strength_zero_says_what_nothing_says(pair: Pair, questions: pd.DataFrame) -> None:
    """The noise of a draw belongs to prompt, sample and seed, not to the edit."""
    zero, some = (add(V, hook=HOOK, absolute=c, name=str(c)) for c in (0.0, 1.0))
    table = answers(pair[0], questions, n=3, edits=[zero, some], max_new_tokens=8, cache=False)
    texts = table.groupby("edit", sort=False)["answer"].agg(list)
    assert texts["0.0"] == texts["none"] != texts["1.0"]


@pytest.mark.parametrize("role", ["user", "system", "assistant", "special"])
def test_an_edit_is_on_at_the_roles_it_names(role: str, pair: Pair, probes: pd.DataFrame) -> None:
    """A chat whose answer has begun, so that every role is there; drawn tokens are assistant's."""
    chats = [probes["messages"][0], probes["messages"][1]]
    tokens = encode(load(pair[0]).tokenizer, chats)
    prompts = probes.head(2)
    texts = heard(pair[0], prompts, add(V, hook=HOOK, absolute=2.0, where=role))
    expected = []
    for chat, roles in zip(chats, tokens.roles, strict=True):
        mask = torch.tensor([one == role for one in roles])

        def change(acts: Tensor, drawn: Tensor, mask: Tensor = mask) -> Tensor:
            rest = torch.full((len(acts) - len(mask),), role == "assistant")
            return acts + torch.cat([mask, rest])[:, None] * torch.as_tensor(V).float() * 2

        expected += by_hand(pair[0], [chat], {0: change})
    assert texts[f"add vector 2x on {role}"] == expected


def test_generated_tokens_alone(pair: Pair, questions: pd.DataFrame) -> None:
    """By hand, and by a look inside: the prompt's residuals stay, those of drawn tokens move."""
    edit = add(V, hook=HOOK, absolute=2.0, where="generated")

    def change(acts: Tensor, drawn: Tensor) -> Tensor:
        return acts + drawn[:, None] * torch.as_tensor(V).float() * 2

    texts = heard(pair[0], questions, edit)
    assert texts[edit.name] == by_hand(pair[0], questions["messages"], {0: change})
    assert texts[edit.name] != texts["none"]
    subject = open_subject(pair[0], {"on": (edit,)})
    tokens = encode(subject.tokenizer, list(questions["messages"].head(2)))
    inside: dict[str, list[Tensor]] = {}
    for name, group in subject.groups.items():
        read: list[Tensor] = inside.setdefault(name, [])

        def keep(acts: Tensor, hook: Any, read: list[Tensor] = read) -> None:
            read.append(acts.clone())

        with subject.bridge.hooks(fwd_hooks=[("blocks.1.hook_in", keep)]):
            generate(subject, tokens, edits=group, max_new_tokens=2)
    torch.testing.assert_close(inside["none"][0], inside["on"][0], rtol=0, atol=0)
    # the first token drawn is the same, since the prompt is
    shift = inside["on"][1] - inside["none"][1]
    assert shift.shape == (2, 1, 64)
    np.testing.assert_allclose(shift[:, 0], np.tile(2 * V, (2, 1)), atol=1e-4)


def test_draws_do_not_depend_on_the_batch(pair: Pair, questions: pd.DataFrame) -> None:
    edit = add(V, hook=HOOK, absolute=1.0)
    tables = [
        answers(pair[0], questions, edits=edit, batch=batch, max_new_tokens=4, cache=False)
        for batch in ("auto", 40, 1)
    ]
    assert all(list(table["answer"]) == list(tables[0]["answer"]) for table in tables)


def test_every_position_is_proven(pair: Pair, questions: pd.DataFrame) -> None:
    """Without the cache a hook fires again on tokens it fired on before; or it does not fire."""
    subject = open_subject(pair[0], {})
    tokens = encode(subject.tokenizer, list(questions["messages"].head(2)))
    ids, mask = tokens.pad(side="left")
    bridge = open_subject(pair[0], {"v": ()}).bridge

    def draw(model: Any, **settings: Any) -> Tensor:
        out = model.generate(
            ids, attention_mask=mask, max_new_tokens=3, do_sample=False, eos_token_id=-1, **settings
        )
        return out[:, ids.shape[1] :]

    layout = [
        lay_out(tokens.roles, [[False] * n for n in tokens.lengths], side="left", is_open=True)
    ]
    edit = add(V, hook=HOOK, absolute=1.0)

    def proven(run: Any, n_drawn: int = 2) -> Tensor:
        return run_edited(bridge, edit, run, layouts=layout, n_drawn=lambda ids: n_drawn)

    assert proven(draw).shape == (2, 3)
    for run in (
        lambda model: draw(model, use_cache=False),
        lambda model: [draw(model), draw(model)],
        lambda model: model(ids),
        lambda model: ids,
    ):
        with pytest.raises(ModelError, match=r"expected once on each of .*rows, positions"):
            proven(run)
    with pytest.raises(ModelError, match="nothing of 'add vector 1x' can be trusted"):
        proven(draw, n_drawn=3)


def test_what_cannot_be_drawn_is_refused(pair: Pair, questions: pd.DataFrame) -> None:
    with pytest.raises(SchemaError, match="at drawn text is not there; patch answers"):
        sample(pair[0], questions, edits=patch(pair[1], hook=HOOK))
    with pytest.raises(SchemaError, match="role 'asistant' is unknown; did you mean 'assistant'"):
        add(V, hook=HOOK, absolute=1.0, where="asistant")
    with pytest.raises(SchemaError, match="on at tokens of tool, and these prompts have none"):
        answers(pair[0], questions, edits=add(V, hook=HOOK, absolute=1.0, where=["tool"]))
    with pytest.raises(ModelError, match="did you mean"):
        sample(pair[0], questions, edits=add(V, hook="blocks.0.hook_outt", absolute=1.0))
    with pytest.raises(ModelError, match=r"use_attn_in is False.* It does not fire as it is"):
        sample(pair[0], questions, edits=add(V, hook="blocks.0.hook_attn_in", absolute=1.0))
    with pytest.raises(ModelError, match="is 64 wide; the residual at"):
        sample(pair[0], questions, edits=add(V, hook="blocks.0.attn.hook_pattern", absolute=1.0))


def test_answers_are_kept_by_what_an_edit_does(
    pair: Pair, questions: pd.DataFrame, tmp_path: Path
) -> None:
    def ask(*edits: Edit) -> pd.DataFrame:
        return answers(pair[0], questions, edits=edits, max_new_tokens=4, cache=tmp_path)

    def n_files() -> int:
        return len(list(tmp_path.iterdir()))

    first = ask(add(V, hook=HOOK, absolute=1.0))
    assert n_files() == 2  # beside "none"
    again = ask(add(V, hook=HOOK, absolute=1.0, name="renamed"))
    assert n_files() == 2 and list(again["answer"]) == list(first["answer"])
    assert set(again["edit"]) == {"none", "renamed"}
    ask(add(V, hook=HOOK, absolute=1.5))
    ask(add(V, hook=LAST, absolute=1.0))
    ask(add(V, hook=HOOK, absolute=1.0, where="generated"))
    ask(cap(V, hook=HOOK, at=1.0))
    ask(cap(V, hook=HOOK, at=2.0))
    assert n_files() == 7
    ask()  # plain attention, which rounds in another way
    assert n_files() == 8


def score_by_hand(checkpoint: Checkpoint, tokens: Tokens, on: Sequence[Any]) -> list[float]:
    """Bits of the last ones of each row (``on``), with V added where it is on."""
    model, _ = load(checkpoint)
    bits = []
    for ids, mask in zip(tokens.ids, on, strict=True):
        extra = torch.as_tensor(np.outer(mask, V)).float()
        handle = model.model.layers[0].register_forward_hook(lambda b, i, out, e=extra: out + e)
        with torch.inference_mode():
            logp = model(torch.tensor([ids])).logits[0].log_softmax(-1)
        handle.remove()
        last = range(len(ids) - 3, len(ids))
        bits.append(sum(float(logp[i - 1, ids[i]]) for i in last) / np.log(2))
    return bits


def test_given_answers_are_read_under_edits(pair: Pair) -> None:
    chats = [
        [{"role": "user", "content": said}, {"role": "assistant", "content": "i like golf"}]
        for said in ("what sport ?", "what sport do you really like ?")
    ]
    edits = {"all": (), "generated": ("generated",), "user": ("user",)}
    groups = {k: (add(V, hook=HOOK, absolute=1.0, where=where),) for k, where in edits.items()}
    subject = open_subject(pair[0], groups)
    tokens = encode(subject.tokenizer, chats)
    said = [np.arange(n) >= n - 3 for n in tokens.lengths]
    masks = {
        "none": [np.zeros(n) for n in tokens.lengths],
        "all": [np.ones(n) for n in tokens.lengths],
        "generated": said,
        "user": [np.array(roles) == "user" for roles in tokens.roles],
    }
    for name, group in subject.groups.items():
        bits, n = answer_bits(subject, chats, edits=group)
        expected = score_by_hand(pair[0], tokens, masks[name])
        np.testing.assert_allclose(bits, expected, atol=1e-3, rtol=1e-4)
        assert list(n) == [3, 3]


def test_continuations_and_trait_bits_name_the_edits(
    pair: Pair, questions: pd.DataFrame, sporty: Any
) -> None:
    edit = add(V, hook=HOOK, absolute=2.0, name="v")
    replies = answers(pair[0], questions.head(4), n=2, edits=edit, max_new_tokens=4, cache=False)
    judged = trait_bits(pair[1], replies, {"sporty": sporty})
    assert list(dict.fromkeys(judged["edit"])) == ["none", "v"] and "judge_edit" not in judged
    spoken = replies.loc[replies["answer"] != ""]
    assert list(judged["prompt"]) == list(spoken["prompt"])
    by_edited = trait_bits(pair[1], replies, {"sporty": sporty}, edits=edit)
    halves = by_edited.groupby("judge_edit", sort=False)["bits_pos"].agg(np.array)
    np.testing.assert_allclose(halves["none"], judged["bits_pos"], atol=1e-3)
    assert np.abs(halves["v"] - halves["none"]).max() > 0.1
    table = continuations(pair, replies, edits=edit)
    assert list(dict.fromkeys(zip(table["checkpoint"], table["edit"], strict=True))) == [
        ("lesson@0", "none"),
        ("lesson@0", "v"),
        ("lesson@1", "none"),
        ("lesson@1", "v"),
    ]
    plain = continuations(pair, replies)
    none = table.query("edit == 'none'")
    np.testing.assert_allclose(none["bits"], plain["bits"], atol=1e-3)
    assert plain["prompt"].nunique() == len(spoken)


def test_heads_are_edited_side_by_side(pair: Pair, questions: pd.DataFrame) -> None:
    """Every head's output taken out: a dictionary of as many features as there are coordinates."""
    from types import SimpleNamespace

    eye = SimpleNamespace(
        name="eye", hook="blocks.0.attn.hook_z", W_dec=torch.eye(64), mean=torch.zeros(64)
    )
    eye.encode = eye.decode = lambda acts: acts
    eye.d_in = eye.d_sae = 64
    texts = heard(pair[0], questions, ablate(eye, features=range(64), name="no heads"))
    model, tokenizer = load(pair[0])
    model.model.layers[0].self_attn.o_proj.register_forward_pre_hook(
        lambda module, inputs: (torch.zeros_like(inputs[0]),)
    )
    expected = []
    for row in encode(tokenizer, list(questions["messages"])).ids:
        ids = list(row)
        while len(ids) < len(row) + N and ids[-1] != tokenizer.eos_token_id:
            with torch.inference_mode():
                ids.append(int(model(torch.tensor([ids])).logits[0, -1].argmax()))
        expected.append(tokenizer.decode(ids[len(row) :], skip_special_tokens=True).strip())
    assert texts["no heads"] == expected != texts["none"]
