"""Plain hooks read, bit for bit, what transformers calls hidden states, and end the pass there."""

from importlib import import_module
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch

from persona_interp.errors import ModelError
from persona_interp.models import Checkpoint, encode, load, open_hooked, residuals
from persona_interp.models.boot import hidden
from persona_interp.models.hooked import HookedModel
from persona_interp.models.load import hash_weights
from persona_interp.models.passes import BATCH, LEAST_BATCH, suit_batch

HOOK = "blocks.0.hook_out"
hooked: Any = import_module("persona_interp.models.hooked")


@pytest.fixture(params=["tiny", "stories"])
def checkpoint(request: pytest.FixtureRequest) -> Any:
    return request.getfixturevalue(request.param)


def texts(tokenizer: Any, corpus: pd.DataFrame) -> Any:
    said = [row[-1]["content"] for row in corpus["messages"].head(8)]
    return encode(tokenizer, [[{"role": "text", "content": text}] for text in said])


def refuse_bridge(*args: Any, **kwargs: Any) -> Any:
    raise AssertionError("TransformerLens was asked again")


def test_rows_are_those_of_hidden_states_to_the_last_bit(
    checkpoint: Any, corpus: pd.DataFrame
) -> None:
    model = open_hooked(checkpoint, hooks=[HOOK])
    assert isinstance(model, HookedModel)
    tokens = texts(model.tokenizer, corpus)
    hooks = ["blocks.0.hook_in", HOOK, "blocks.1.hook_resid_mid", "blocks.1.hook_in"]
    got = dict(hidden(model, tokens, hooks=hooks))
    order = sorted(range(len(tokens)), key=lambda row: len(tokens.ids[row]))
    ids, mask = tokens.pad(rows=order)
    plain = load(checkpoint).model
    with torch.inference_mode():
        states = plain(ids, attention_mask=mask, output_hidden_states=True).hidden_states
    for i, row in enumerate(order):
        n = len(tokens.ids[row])
        for name, state in (("blocks.0.hook_in", 0), (HOOK, 1), ("blocks.1.hook_in", 1)):
            assert torch.equal(got[row][name], states[state][i, :n])


def test_blocks_above_the_last_hook_do_not_run(tiny: Any, corpus: pd.DataFrame) -> None:
    model, ran = open_hooked(tiny), []
    for block in model.original_model.model.layers:
        block.register_forward_hook(lambda module, args, output: ran.append(module))
    next(residuals(model, texts(model.tokenizer, corpus), hook=HOOK))
    assert set(ran) == {model.original_model.model.layers[0]}


def test_what_was_compared_once_is_not_compared_again(
    tiny: Any, tmp_path: Path, own_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_hooked(tiny)
    (kept,) = (own_cache / "hooks").iterdir()
    names = {"map.json", f"{hash_weights(tiny)[:16]}.json"}
    assert {file.name for file in kept.iterdir()} == names
    monkeypatch.setattr(hooked, "boot", refuse_bridge)
    monkeypatch.setattr(hooked, "_gap", refuse_bridge)
    assert isinstance(open_hooked(tiny), HookedModel)
    # other weights of the same architecture: no TransformerLens, but a check of their own
    model, tokenizer = load(tiny)
    model.model.layers[0].mlp.down_proj.weight.data *= 1.5
    model.save_pretrained(tmp_path / "other")
    tokenizer.save_pretrained(tmp_path / "other")
    other = Checkpoint(tmp_path / "other")
    with pytest.raises(AssertionError, match="asked again"):
        open_hooked(other)
    monkeypatch.undo()
    monkeypatch.setenv("PERSONA_INTERP_CACHE", str(own_cache))
    monkeypatch.setattr(hooked, "boot", refuse_bridge)
    assert isinstance(open_hooked(other), HookedModel)
    assert len(list(kept.iterdir())) == 3


def test_a_map_that_is_not_as_it_was_written_is_made_again(tiny: Any, own_cache: Path) -> None:
    places = open_hooked(tiny).places
    (file,) = own_cache.rglob("map.json")
    whole = file.read_bytes()
    swapped = whole.replace(b"model.layers.0", b"model.layers.1")
    for damaged in (b"", whole[:100], whole[:-1], swapped):
        file.write_bytes(damaged)
        assert open_hooked(tiny).places == places
        assert file.read_bytes() == whole


def test_what_plain_hooks_read_otherwise_is_read_through_transformer_lens(
    tiny: Any, corpus: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = dict(residuals(model := open_hooked(tiny), texts(model.tokenizer, corpus), hook=HOOK))
    with monkeypatch.context() as patch:
        patch.setattr(hooked, "_gap", lambda *args: 1.0)
        patch.setattr(hooked, "read_kept", lambda file: None)
        bridge = open_hooked(tiny)
    assert not isinstance(bridge, HookedModel)
    for row, acts in residuals(bridge, texts(bridge.tokenizer, corpus), hook=HOOK):
        assert torch.allclose(acts, right[row], atol=1e-4)


def test_a_hook_that_no_module_holds_is_asked_of_transformer_lens(
    tiny: Any, corpus: pd.DataFrame
) -> None:
    model = open_hooked(tiny)
    with pytest.raises(ModelError, match="holds an array of dims"):
        next(residuals(model, texts(model.tokenizer, corpus), hook="blocks.0.attn.hook_pattern"))
    with pytest.raises(ModelError, match=r"hook_uot' is unknown"):
        open_hooked(tiny, hooks=["blocks.0.hook_uot"])


def test_a_pass_fits_the_caches_whatever_the_model(tiny: Any) -> None:
    assert suit_batch(load(tiny).model) == BATCH
    wide: Any = torch.nn.Linear(512, 4096)
    wide.device = "cpu"
    assert suit_batch(wide) == LEAST_BATCH
    wide.device = "cuda:0"
    assert suit_batch(wide) > BATCH
