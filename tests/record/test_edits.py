"""Edits do what they say at every token, and nothing else."""

import shutil
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
import xarray as xr
from torch import Tensor

from persona_interp.dictionaries.dictionary import SparseDictionary
from persona_interp.dictionaries.saelens import build
from persona_interp.errors import ModelError, SchemaError
from persona_interp.models import Checkpoint, boot, encode, load
from persona_interp.record import (
    Edit,
    ablate,
    activations,
    add,
    behavior,
    cap,
    clamp,
    mean_difference,
    patch,
    project_out,
)
from persona_interp.record.edit_runs import apply_edit, run_edited
from persona_interp.record.places import Layout, lay_out

HOOK, LAST = "blocks.0.hook_out", "blocks.1.hook_out"
Pair = tuple[Checkpoint, Checkpoint]


class Planted(SimpleNamespace):
    """A linear dictionary: feature j is the projection on row j of W_dec."""

    def __init__(self, rows: Tensor, mean: Tensor) -> None:
        d_sae, d_in = rows.shape
        super().__init__(name="planted", hook=HOOK, W_dec=rows, mean=mean, d_sae=d_sae, d_in=d_in)

    def encode(self, acts: Tensor) -> Tensor:
        return (acts - self.mean) @ self.W_dec.T

    def decode(self, feats: Tensor) -> Tensor:
        return feats @ self.W_dec + self.mean


def orthogonal(d: int) -> Tensor:
    return torch.linalg.qr(torch.randn(d, d, generator=torch.Generator().manual_seed(0)))[0]


V = torch.randn(64, generator=torch.Generator().manual_seed(5)).numpy()
IDS = torch.arange(12).reshape(2, 6) + 7


def grid(rows: int, width: int) -> Layout:
    return lay_out([["user"] * width] * rows, [[False] * width] * rows)


GRID = grid(2, 6)


def residual(checkpoint: Checkpoint, edit: Edit) -> Tensor:
    """What the block after the edited hook reads while the edit is on."""
    bridge, read = boot(checkpoint), []

    def run(model: torch.nn.Module) -> Tensor:
        with torch.inference_mode():
            model(IDS)
        return read.pop()

    # transformers' own hidden_states are taken before the hook and do not show an edit
    with bridge.hooks(
        fwd_hooks=[("blocks.1.hook_in", lambda acts, hook: read.append(acts.clone()))]
    ):
        return run_edited(bridge, edit, run, layouts=[GRID])


def scores(checkpoint: Checkpoint | Pair, probes: pd.DataFrame, *edits: Edit) -> pd.Series:
    table = behavior(checkpoint, probes, edits=edits)
    return table.groupby("edit", sort=False)["logprob"].agg(np.array)


def test_no_edit_is_the_model_itself(pair: Pair, probes: pd.DataFrame) -> None:
    plain = behavior(pair, probes)
    table = behavior(pair, probes, edits=[add(V, hook=HOOK, absolute=1.0)])
    assert list(dict.fromkeys(table["edit"])) == ["none", "add vector 1x"] and "edit" not in plain
    none = table[table["edit"] == "none"]
    np.testing.assert_allclose(none["logprob"], plain["logprob"], rtol=1e-5)
    assert list(table["checkpoint"]) == ["lesson@0"] * 14 + ["lesson@1"] * 14
    assert (table["logprob"].to_numpy()[7:14] != none["logprob"].to_numpy()[:7]).all()


def test_strength_zero_is_no_edit(pair: Pair, probes: pd.DataFrame) -> None:
    logprobs = scores(pair[0], probes, add(V, hook=HOOK, absolute=0.0))
    np.testing.assert_allclose(logprobs["add vector 0x"], logprobs["none"], atol=1e-6)


def test_an_edit_reaches_every_token_of_prompt_and_answer(pair: Pair, probes: pd.DataFrame) -> None:
    """Against one forward pass without a cache, with the vector added by a plain PyTorch hook."""
    model, tokenizer = load(pair[0])
    push = torch.as_tensor(V)
    handle = model.model.layers[0].register_forward_hook(lambda block, inputs, out: out + push)
    expected = []
    for row in probes.itertuples():
        for answer in row.answers:
            tokens = encode(tokenizer, [row.messages], answers=[answer])
            (ids,), ((start, stop),) = tokens.ids, tokens.spans
            with torch.inference_mode():
                logp = model(torch.tensor([ids])).logits[0].log_softmax(-1)
            expected.append(sum(float(logp[i - 1, ids[i]]) for i in range(start, stop)) / np.log(2))
    handle.remove()
    logprobs = scores(pair[0], probes, add(V, hook=HOOK, absolute=1.0))
    np.testing.assert_allclose(logprobs["add vector 1x"], expected, atol=1e-3, rtol=1e-4)


def test_a_hook_that_misses_tokens_is_an_error(pair: Pair) -> None:
    edit, bridge = add(V, hook=HOOK, absolute=1.0), boot(pair[0])
    message = r"fired on tokens \[\(2, 6\)\], expected once on each of \[\(2, 6\), \(2, 1\)\]"
    with pytest.raises(ModelError, match=message):
        run_edited(bridge, edit, lambda model: model(IDS), layouts=[GRID, grid(2, 1)])
    for layout in (GRID, grid(2, 7), grid(2, 5), grid(1, 6)):
        with pytest.raises(ModelError, match="expected once on each"):
            run_edited(bridge, edit, lambda model: [model(IDS), model(IDS)], layouts=[layout])
    with pytest.raises(ModelError, match=r"'add vector 1x' is 64 wide.* is 192"):
        run_edited(
            bridge,
            add(V, hook="blocks.0.mlp.out.hook_in", absolute=1.0),
            lambda m: m(IDS),
            layouts=[GRID],
        )
    with pytest.raises(ModelError, match="did you mean"):
        run_edited(
            bridge,
            add(V, hook="blocks.0.hook_outt", absolute=1.0),
            lambda m: m(IDS),
            layouts=[GRID],
        )


def test_a_bridge_is_clean_after_an_edit_even_a_failed_one(pair: Pair) -> None:
    bridge = boot(pair[0])
    with torch.inference_mode():
        before = bridge.original_model(IDS).logits
        with pytest.raises(ModelError):
            run_edited(bridge, add(V, hook=HOOK, absolute=9.0), lambda m: m(IDS), layouts=[])
        assert torch.equal(bridge.original_model(IDS).logits, before)


def test_strength_is_in_units_of_the_mean_residual_norm(pair: Pair, probes: pd.DataFrame) -> None:
    acts = activations(pair[0], probes, hook=HOOK).assign_coords(
        persona=("prompt", ["john", "sam", "sam"])
    )
    john = mean_difference(acts).sel(name="john")
    edit = add(john, hook=HOOK, strength=-0.5)
    norm = np.linalg.norm(acts["act"].values[0], axis=-1).mean()
    assert edit.name == "add john -0.5" and edit.vectors is not None
    assert np.linalg.norm(edit.vectors) == pytest.approx(0.5 * norm, rel=1e-5)
    assert float(edit.vectors[0] @ john.sel(hook=HOOK).values) < 0
    shift = residual(pair[0], edit) - residual(pair[0], add(V, hook=HOOK, absolute=0.0))
    np.testing.assert_allclose(shift, np.broadcast_to(edit.vectors, shift.shape), atol=1e-4)


def test_adding_a_decoder_row_moves_features_by_its_cosines(pair: Pair) -> None:
    rows = torch.randn(8, 64, generator=torch.Generator().manual_seed(1))
    planted = Planted(rows / rows.norm(dim=-1, keepdim=True), torch.zeros(64))
    clean, pushed = (
        residual(pair[0], add(planted.W_dec[5].numpy(), hook=HOOK, absolute=c)) for c in (0.0, 30.0)
    )
    shift = planted.encode(pushed) - planted.encode(clean)
    predicted = 30.0 * (planted.W_dec @ planted.W_dec[5])
    assert (shift - predicted).abs().max() < 1e-4 * 30


@pytest.mark.parametrize("architecture", ["jumprelu", "topk"])
def test_features_of_an_sae_are_set_as_all_of_them_say(architecture: str) -> None:
    """An edit reads its own features alone, where they can be had alone."""
    generator = torch.Generator().manual_seed(0)
    shapes = {"W_enc": (8, 40), "b_enc": (40,), "W_dec": (40, 8), "b_dec": (8,)}
    if architecture == "jumprelu":
        shapes["threshold"] = (40,)
    weights = {name: torch.randn(*shape, generator=generator) for name, shape in shapes.items()}
    config = {"architecture": architecture, "d_in": 8, "d_sae": 40}
    if architecture == "topk":
        config["k"] = 25
    sae = SparseDictionary(build(config, weights), "sae", HOOK, torch.zeros(8), 1.0)
    acts = torch.randn(2, 6, 8, generator=generator)
    edited = apply_edit(clamp(sae, features=[3, 30], value=2.0), acts, patch=lambda: acts)
    shift = 2.0 - sae.encode(acts)[..., [3, 30]]
    assert (shift != 2.0).any()
    np.testing.assert_allclose(edited, acts + shift @ sae.W_dec[[3, 30]], atol=1e-4)


def test_projecting_out_twice_is_projecting_out_once(pair: Pair) -> None:
    center = np.full(64, 0.25)
    edit = project_out(np.stack([V, 2 * V, np.arange(64)]), hook=HOOK, center=center)
    assert edit.vectors is not None
    assert edit.vectors.shape == (2, 64)  # two of the three are parallel
    acts = residual(pair[0], add(V, hook=HOOK, absolute=0.0)).double()
    once = apply_edit(edit, acts, patch=lambda: acts)
    np.testing.assert_allclose(apply_edit(edit, once, patch=lambda: acts), once, atol=1e-12)
    for v in (V, np.arange(64)):
        np.testing.assert_allclose(
            once @ torch.as_tensor(v).double(), np.full((2, 6), center @ v), atol=1e-9
        )
    side = np.linalg.svd(np.stack([V, np.arange(64)]))[2][2:]  # everything else stays
    np.testing.assert_allclose((once - acts) @ torch.as_tensor(side).T, 0, atol=1e-12)
    np.testing.assert_allclose(residual(pair[0], edit), once, atol=1e-4)


def test_clamped_and_ablated_features_are_what_they_should_be(pair: Pair) -> None:
    # 8 of 64 directions: most of the residual is error
    planted = Planted(orthogonal(64)[:8], torch.ones(64))
    clean = residual(pair[0], add(V, hook=HOOK, absolute=0.0))
    means = np.arange(8.0)
    edits = {
        7.0: clamp(planted, features=[1, 3], value=7.0),
        0.0: ablate(planted, features=[1, 3]),
        None: ablate(planted, features=[1, 3], to="mean", means=means),
    }
    for value, edit in edits.items():
        new = residual(pair[0], edit)
        feats, old = planted.encode(new), planted.encode(clean)
        expected = torch.tensor(
            means[[1, 3]] if value is None else [value] * 2, dtype=torch.float32
        )
        np.testing.assert_allclose(feats[..., [1, 3]], expected.expand(2, 6, 2), atol=1e-4)
        others = [0, 2, 4, 5, 6, 7]
        np.testing.assert_allclose(feats[..., others], old[..., others], atol=1e-4)
        error, rest = clean - planted.decode(old), new - planted.decode(feats)
        np.testing.assert_allclose(rest, error, atol=1e-4)
    assert [e.kind for e in edits.values()] == ["clamp", "ablate_zero", "ablate_mean"]


@pytest.fixture(scope="module")
def twins(pair: Pair, tmp_path_factory: pytest.TempPathFactory) -> Pair:
    """Two checkpoints that differ in everything below the final norm and head."""
    folder = tmp_path_factory.mktemp("twin")
    shutil.copytree(pair[1].path, folder, dirs_exist_ok=True)
    model, other = load(pair[0]).model, load(pair[1]).model
    other.lm_head.weight.data = model.lm_head.weight.data
    other.model.norm.weight.data = model.model.norm.weight.data
    other.save_pretrained(folder)
    return pair[0], Checkpoint(Path(folder), stage="lesson", step=1)


def test_patching_the_last_residual_gives_the_sources_behavior(
    twins: Pair, probes: pd.DataFrame
) -> None:
    base, tuned = twins
    logprobs = scores(base, probes, patch(tuned, hook=LAST), patch(base, hook=HOOK))
    expected = behavior(tuned, probes)["logprob"]
    np.testing.assert_allclose(logprobs["patch lesson@1 at blocks.1.hook_out"], expected, rtol=1e-4)
    np.testing.assert_allclose(
        logprobs["patch lesson@0 at blocks.0.hook_out"], logprobs["none"], atol=1e-6
    )
    assert np.abs(logprobs["none"] - expected).min() > 1e-3
    small = behavior(base, probes, edits=[patch(tuned, hook=LAST)], batch=2)
    np.testing.assert_allclose(small["logprob"][7:], expected, rtol=1e-4)


def test_a_source_of_another_shape_is_named(pair: Pair) -> None:
    edit, acts = patch(pair[1], hook=LAST), torch.zeros(2, 6, 64)
    message = r"the source gives \(2, 6, 32\), this model has \(2, 6, 64\)"
    with pytest.raises(ModelError, match=message):
        apply_edit(edit, acts, patch=lambda: torch.zeros(2, 6, 32))


def test_bad_edits_are_refused(pair: Pair, probes: pd.DataFrame) -> None:
    edit, planted = add(V, hook=HOOK, absolute=1.0), Planted(orthogonal(64), torch.zeros(64))
    with pytest.raises(SchemaError, match="'add vector 1x' is taken"):
        behavior(pair[0], probes, edits=[edit, edit])
    with pytest.raises(SchemaError, match="one of strength= and absolute="):
        add(V, hook=HOOK)
    with pytest.raises(SchemaError, match="give absolute= instead"):
        add(V, hook=HOOK, strength=1.0)
    with pytest.raises(SchemaError, match="rank 0"):
        project_out(0 * V, hook=HOOK)
    with pytest.raises(SchemaError, match="features from 0 to 63"):
        clamp(planted, features=64, value=1.0)
    with pytest.raises(SchemaError, match="did you mean 'mean'"):
        ablate(planted, features=1, to="means")
    with pytest.raises(SchemaError, match="one number for each of 64"):
        ablate(planted, features=1, to="mean")
    elsewhere = xr.DataArray(
        V[None], dims=("hook", "d_model"), coords={"hook": [LAST], "d_model": np.arange(64)}
    )
    with pytest.raises(SchemaError, match=r"hook of the directions 'blocks.0.hook_out'"):
        add(elsewhere, hook=HOOK, absolute=1.0)


def test_numbers_of_numpy_are_numbers_and_truth_values_are_none() -> None:
    hook = "blocks.0.hook_out"
    eye = SimpleNamespace(name="eye", hook=hook, d_in=3, d_sae=3, W_dec=torch.eye(3))
    eye.mean, eye.encode, eye.decode = torch.zeros(3), lambda acts: acts, lambda acts: acts
    v = [0.0, 3.0, 4.0]
    for number in (np.float32(1), np.float64(1), np.int64(1), np.float16(1)):
        assert clamp(eye, features=np.int64(2), value=number).values == (1.0,)
        assert cap(v, at=number, hook=hook).values == (1.0,)
        assert add(v, hook=hook, absolute=number).vectors.tolist() == [v]  # type: ignore[union-attr]
        pushed = add(v, hook=hook, strength=number, norm=number)
        assert pushed.vectors is not None and np.linalg.norm(pushed.vectors) == pytest.approx(1)
    with pytest.raises(SchemaError, match="indices of features, whole numbers; got True"):
        add(eye, feature=True, absolute=1.0)
    for edit in (partial(ablate, eye), partial(clamp, eye, value=1.0)):
        with pytest.raises(SchemaError, match="indices of features, whole numbers; got"):
            edit(features=True)
    with pytest.raises(SchemaError, match="finite activation, value="):
        clamp(eye, features=0, value=True)
    for edit in (
        partial(add, v, hook=hook, absolute=1.0),
        partial(ablate, eye, features=0),
        partial(project_out, v, hook=hook),
    ):
        with pytest.raises(SchemaError, match="expected a name, or several of them; got 3"):
            edit(where=3)
