"""An edit between attention and MLP changes the residual itself, not what one norm reads of it."""

import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
import xarray as xr

from persona_interp.dictionaries import fidelity
from persona_interp.errors import ModelError
from persona_interp.models import Checkpoint, encode, load, residuals
from persona_interp.models.boot import boot, check_cache
from persona_interp.record import add, answers, behavior, patch, project_out, projections
from tests.models.test_families import FAMILIES, made
from tests.record.test_edits_families import CHATS, louder

MID, ATTN = "blocks.1.hook_resid_mid", "blocks.1.hook_attn_out"
V = np.random.default_rng(0).normal(size=32)
UNIT = torch.as_tensor(V / np.linalg.norm(V)).float()
BEHIND_ATTENTION = {"qwen3": "self_attn", "gemma2": "post_attention_layernorm"}
PROMPTS = pd.DataFrame({"prompt": range(len(CHATS)), "messages": CHATS})
PROBES = PROMPTS.assign(answers=[[" a few words", " no sense"]] * len(CHATS))
ALIBI = {"hidden_size": 32, "d_model": 32, "n_heads": 4, "n_layers": 3, "max_seq_len": 64}


def by_hand(checkpoint: Checkpoint, module: str, n: int) -> list[str]:
    """Greedy text without V in the residual between attention and MLP of block 1."""
    model, tokenizer = load(checkpoint, attention="eager")
    block: Any = model.model.layers[1]
    before: list[torch.Tensor] = []

    def enter(_: Any, inputs: Any, kwargs: Any) -> None:
        before[:] = [inputs[0] if inputs else kwargs["hidden_states"]]

    def leave(_: Any, inputs: Any, out: Any) -> Any:
        added = out[0] if isinstance(out, tuple) else out
        middle = before[0] + added
        added = middle - (middle @ UNIT)[..., None] * UNIT - before[0]
        return (added, *out[1:]) if isinstance(out, tuple) else added

    block.register_forward_pre_hook(enter, with_kwargs=True)
    getattr(block, module).register_forward_hook(leave)
    texts = []
    for row in encode(tokenizer, CHATS).ids:
        ids = list(row)
        while len(ids) < len(row) + n and ids[-1] != tokenizer.eos_token_id:
            with torch.inference_mode():
                ids.append(int(model(torch.tensor([ids]), use_cache=False).logits[0, -1].argmax()))
        texts.append(tokenizer.decode(ids[len(row) :], skip_special_tokens=True).strip())
    return texts


@pytest.mark.parametrize("family", BEHIND_ATTENTION)
def test_text_without_a_direction_in_the_middle(family: str, tmp_path: Path) -> None:
    checkpoint = louder(made(tmp_path, family, FAMILIES[family]))
    out = project_out(V, hook=MID, name="out")
    table = answers(checkpoint, PROMPTS, edits=out, temperature=0, max_new_tokens=6, cache=False)
    texts = {edit: list(rows["answer"]) for edit, rows in table.groupby("edit", sort=False)}
    assert texts["out"] == by_hand(checkpoint, BEHIND_ATTENTION[family], 6) != texts["none"]


@pytest.mark.parametrize("family", ["gemma2", "gpt2", "olmo2", "opt"])
def test_what_is_added_in_the_middle_attention_may_as_well_add(family: str, tmp_path: Path) -> None:
    """Also together with a change of what attention adds, which comes first whatever the order."""
    checkpoint = louder(made(tmp_path, family, FAMILIES[family]))
    edits = [add(V, hook=hook, absolute=2.0, name=hook) for hook in (ATTN, MID)]
    out = project_out(V, hook=MID, name="out")
    table = behavior(checkpoint, PROBES, edits=[*edits, (out, edits[0]), out])
    bits = {name: rows["logprob"].to_numpy() for name, rows in table.groupby("edit")}
    # float32: the residual is put together and taken apart again
    np.testing.assert_allclose(bits[MID], bits[ATTN], atol=1e-3)
    np.testing.assert_allclose(bits[f"out + {ATTN}"], bits["out"], atol=1e-3)
    assert np.abs(bits[MID] - bits["none"]).max() > 0.1 < np.abs(bits["out"] - bits["none"]).max()


def test_the_middle_is_read_behind_its_edit_and_patched(tmp_path: Path) -> None:
    base = louder(made(tmp_path / "base", "llama", FAMILIES["llama"]))
    other = made(tmp_path / "other", "llama", FAMILIES["llama"])
    bridge = boot(base)
    tokens = encode(bridge.tokenizer, CHATS)
    name, acts = bridge.hook_dict[MID].name, dict(residuals(bridge, tokens, hook=MID))
    directions = xr.DataArray(V[None, None], dims=("name", "hook", "d_model"))
    directions = directions.assign_coords(name=["v"], hook=[name])
    table = projections(
        base, PROMPTS, directions, position="last", edits=project_out(V, hook=MID, name="out")
    )
    values = table.pivot(index="prompt", columns="edit", values="projection")
    last = [float(acts[row][-1] @ UNIT) for row in range(len(CHATS))]
    np.testing.assert_allclose(values["none"], last, atol=1e-4)
    np.testing.assert_allclose(values["out"], 0, atol=1e-4)
    here, there = (behavior(base, PROBES, edits=patch(one, hook=MID)) for one in (base, other))
    for table, is_same in ((here, True), (there, False)):
        first, second = (rows["logprob"].to_numpy() for _, rows in table.groupby("edit"))
        assert np.allclose(first, second, atol=1e-3) == is_same


def test_a_model_that_forgets_is_not_edited(tmp_path: Path) -> None:
    """TransformerLens's attention for MPT does not look into the cache: its text is another."""
    checkpoint = made(tmp_path, "mpt", ALIBI)
    bridge = boot(checkpoint)  # what whole prompts are read as is right
    with pytest.raises(ModelError, match=r"'mpt'\) without its key-value cache"):
        check_cache(bridge)
    for record in (answers, behavior):
        with pytest.raises(ModelError, match="Nothing that is said under an edit"):
            record(checkpoint, PROBES, edits=add(V, hook="blocks.1.hook_out", absolute=1.0))
    assert len(answers(checkpoint, PROMPTS, max_new_tokens=2, cache=False)) == len(PROMPTS)


def test_fidelity_puts_zeros_into_the_middle_of_a_block(tmp_path: Path) -> None:
    """Not into what the norm before the MLP reads alone, which costs the model much less."""
    checkpoint = louder(made(tmp_path, "llama", FAMILIES["llama"]))
    eye = SimpleNamespace(name="eye", hook=MID, d_in=32, d_sae=32)
    eye.W_dec, eye.mean = torch.eye(32), torch.zeros(32)
    eye.encode = eye.decode = lambda acts: acts
    table = fidelity(eye, checkpoint, PROMPTS.rename(columns={"prompt": "doc"}), where="text")
    model, tokenizer = load(checkpoint, attention="eager")
    block: Any = model.model.layers[1]
    tokens, sums = encode(tokenizer, CHATS, complete=True), []
    on = torch.zeros(0)
    before: list[torch.Tensor] = []
    block.register_forward_pre_hook(lambda _, args: before.append(args[0]))
    block.self_attn.register_forward_hook(
        lambda _, args, out: (torch.where(on[:, None], -before[-1], out[0]), *out[1:])
    )
    for ids, roles in zip(tokens.ids, tokens.roles, strict=True):
        on = torch.tensor([role == "text" for role in roles])
        with torch.inference_mode():
            bits = -model(torch.tensor([ids])).logits[0, :-1].log_softmax(-1) / math.log(2)
        sums += bits[torch.arange(len(ids) - 1), ids[1:]][on[:-1]].tolist()
    row = table.iloc[0]
    assert row["ce_zero"] == pytest.approx(np.mean(sums), abs=1e-3)
    assert row["ce_sae"] == pytest.approx(row["ce"], abs=1e-3)
