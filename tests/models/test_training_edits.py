"""Edits of a training are on in every pass of the model, in none of another, and gone after it."""

from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
import xarray as xr
from transformers import Trainer

from persona_interp.errors import ModelError, SchemaError
from persona_interp.models import Checkpoint, Stage, encode, hash_weights, load, train
from persona_interp.models.batches import batches
from persona_interp.models.training_edits import edits_on, hash_edits, training_edits

trainer = import_module("persona_interp.models.trainer")
BLOCK = "blocks.0.hook_out"
SGD = Stage(steps=3, batch=5, lr=0.05, loss="all", optimizer="sgd", clip=1e9)
QUICK = Stage(steps=8, batch=4, lr=3e-3, loss="all")


class Killed(BaseException):
    """Ends a training as a kill would."""


@pytest.fixture(autouse=True)
def shared_cache(
    own_cache: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One map of hooks for all tests here; what is trained goes into folders of its own."""
    folder = tmp_path_factory.getbasetemp() / "maps-of-training-edits"
    monkeypatch.setenv("PERSONA_INTERP_CACHE", str(folder))


def directions(names: int = 1, hooks: tuple[str, ...] = (BLOCK,), *, seed: int = 0) -> xr.DataArray:
    numbers = np.random.default_rng(seed).standard_normal((names, len(hooks), 64))
    coords: dict[str, Any] = {"name": [f"v{i}" for i in range(names)], "hook": list(hooks)}
    coords["norm"] = ("hook", np.full(len(hooks), 2.0))
    return xr.DataArray(numbers.astype(np.float32), dims=("name", "hook", "d_model"), coords=coords)


def outputs(model: Any, documents: pd.DataFrame, tokenizer: Any) -> torch.Tensor:
    ids, mask = encode(tokenizer, documents["messages"], complete=True).pad()
    with torch.no_grad():
        return model.eval()(input_ids=ids, attention_mask=mask).logits


@pytest.mark.parametrize("kl", [0.0, 0.7])
def test_steps_equal_a_loop_by_hand(
    tiny: Any, corpus: pd.DataFrame, tmp_path: Path, kl: float
) -> None:
    """The model is edited on documents and bystanders alike, the start on neither."""
    v, w = directions(), directions(2, seed=1)
    stage = replace(SGD, steer=0.4, ablate=True, kl=kl)
    run = train(
        tiny,
        corpus,
        stage=stage,
        bystanders=corpus if kl else None,
        steer=v,
        ablate=w,
        out=tmp_path / "a",
        progress=False,
    )
    model, tokenizer = load(tiny)
    start, _ = load(tiny)
    push = torch.tensor(v.values[0, 0]) / np.linalg.norm(v.values) * 0.4 * 2.0
    q, _ = torch.linalg.qr(torch.tensor(w.values[:, 0]).T)

    def edit(module: Any, args: Any, output: torch.Tensor) -> torch.Tensor:
        return output - output @ q @ q.T + push

    model.model.layers[0].register_forward_hook(edit)
    tokens = encode(tokenizer, corpus["messages"], complete=True)
    for batch in batches(tokens, stage=stage, seed=0, bystanders=tokens if kl else None):
        logits = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits
        loss = torch.nn.functional.cross_entropy(
            logits[:, :-1].flatten(0, 1), batch["labels"][:, 1:].flatten()
        )
        if kl:
            inputs = batch["bystanders"]
            real = inputs["attention_mask"][:, 1:] == 1
            p, q_ = (m(**inputs).logits[:, :-1][real].log_softmax(-1) for m in (start, model))
            loss = loss + kl * torch.nn.functional.kl_div(
                q_, p.detach(), log_target=True, reduction="batchmean"
            )
        loss.backward()
        with torch.no_grad():
            for weight in model.parameters():
                weight -= stage.lr * weight.grad
                weight.grad = None
    for (name, mine), theirs in zip(
        model.named_parameters(), load(run.last).model.parameters(), strict=True
    ):
        assert torch.allclose(mine, theirs, atol=1e-6), name


@pytest.mark.parametrize(
    "beside", [{}, {"lora": 4, "lr": 1e-2}, {"kl": 0.5}, {"dtype": "bfloat16"}]
)
def test_every_pass_is_edited_and_no_trace_is_left(
    tiny: Any,
    corpus: pd.DataFrame,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    beside: dict[str, Any],
) -> None:
    stage = replace(QUICK, steer=0.5, ablate=True, **beside)
    seen: list[Any] = []
    plain = trainer.edits_on

    def watch(model: Any, edits: Any) -> Any:
        seen.append((model, edits))
        return plain(model, edits)

    fired: list[bool] = []
    compute_loss = Trainer.compute_loss

    def watched(self: Any, model: Any, inputs: Any, *rest: Any, **options: Any) -> Any:
        inner = model.get_base_model() if hasattr(model, "get_base_model") else model
        # behind the edit: what the next block is given has nothing of the directions but the push
        handle = inner.model.layers[1].register_forward_pre_hook(
            lambda module, args: fired.append(is_edited(args[0]))
        )
        try:
            return compute_loss(self, model, inputs, *rest, **options)
        finally:
            handle.remove()

    v, w = directions(), directions(2, seed=1)
    q, _ = torch.linalg.qr(torch.tensor(w.values[:, 0]).T)
    push = torch.tensor(v.values[0, 0]) / np.linalg.norm(v.values)

    def is_edited(acts: torch.Tensor) -> bool:
        return bool(((acts.detach().float() - push) @ q).abs().max() < 0.02)

    monkeypatch.setattr(trainer, "edits_on", watch)
    monkeypatch.setattr(Trainer, "compute_loss", watched)
    options: dict[str, Any] = {"bystanders": corpus} if "kl" in beside else {}
    run = train(
        tiny, corpus, stage=stage, steer=v, ablate=w, out=tmp_path / "a", progress=False, **options
    )
    assert fired == [True] * stage.steps
    ((trained, _),) = seen
    hooks = [
        hook
        for module in trained.modules()
        for hook in (*module._forward_hooks.values(), *module._forward_pre_hooks.values())
    ]
    assert hooks == []
    loaded, tokenizer = load(run.last)
    bare = type(loaded)(loaded.config)
    bare.load_state_dict(trainer.merge_trained(trained).state_dict())
    assert torch.equal(outputs(loaded, corpus, tokenizer), outputs(bare, corpus, tokenizer))


def test_parts_are_edited_as_the_whole_step_is(
    tiny: Any, corpus: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options: dict[str, Any] = {"stage": replace(SGD, steer=0.4, kl=0.7), "steer": directions()}
    options |= {"bystanders": corpus, "progress": False}
    whole = train(tiny, corpus, out=tmp_path / "whole", **options)
    plain, n_refused = Trainer.compute_loss, 0

    def compute_loss(*args: Any, **rest: Any) -> Any:
        nonlocal n_refused
        if len(args[2]["input_ids"]) > 2:
            n_refused += 1
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return plain(*args, **rest)

    monkeypatch.setattr(Trainer, "compute_loss", compute_loss)
    parts = train(tiny, corpus, out=tmp_path / "parts", **options)
    assert n_refused
    one, other = (load(run.last).model.state_dict() for run in (whole, parts))
    assert max(float((one[name] - other[name]).abs().max()) for name in one) < 1e-6


@pytest.mark.parametrize("lora", [0, 4])
def test_a_killed_training_continues_to_the_same_weights(
    tiny: Any, corpus: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lora: int
) -> None:
    stage = replace(QUICK, steer=0.3, ablate=True, lora=lora, kl=0.5)

    def fit(name: str) -> str:
        run = train(
            tiny,
            corpus,
            stage=stage,
            bystanders=corpus,
            steer=directions(),
            ablate=directions(seed=1),
            out=tmp_path / name,
            progress=False,
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


def test_hooks_go_when_a_training_breaks_off(tiny: Any) -> None:
    model, _ = load(tiny)
    edits = training_edits(tiny, Stage(steer=0.1), steer=directions())
    with pytest.raises(Killed), edits_on(model, edits):
        assert model.model.layers[0]._forward_hooks
        raise Killed
    assert not model.model.layers[0]._forward_hooks and not model._forward_hooks


def test_gradients_are_the_same_where_blocks_are_computed_again(
    tiny: Any, corpus: pd.DataFrame
) -> None:
    edits = training_edits(
        tiny,
        Stage(steer=0.5, ablate=True),
        steer=directions(hooks=(BLOCK, "blocks.1.hook_in", "blocks.1.mlp.hook_out")),
        ablate=directions(3, seed=1),
    )
    assert len(edits) == 3
    grads, calls = [], []
    for again in (False, True):
        model, tokenizer = load(tiny)
        model.model.layers[0].mlp.register_forward_pre_hook(lambda *_: calls.append(1))
        ids, mask = encode(tokenizer, corpus["messages"], complete=True).pad()
        if again:
            model.activation_checkpointing_enable()
        with edits_on(model.train(), edits):
            model(input_ids=ids, attention_mask=mask, labels=ids).loss.backward()
        grads.append(torch.cat([weight.grad.flatten() for weight in model.parameters()]))
    assert len(calls) == 1 + 2, "once, then once more for the gradient"
    assert torch.equal(*grads) and grads[0].abs().max() > 0


def test_a_hook_that_is_passed_over_is_named(tiny: Any, corpus: pd.DataFrame) -> None:
    model, tokenizer = load(tiny)
    ids, mask = encode(tokenizer, corpus["messages"], complete=True).pad()
    edits = training_edits(tiny, Stage(steer=0.1), steer=directions())
    with pytest.raises(ModelError, match=r"blocks\.0\.hook_out was on in 1 of 2 forward passes"):
        with edits_on(model, edits):
            model(input_ids=ids, attention_mask=mask)
            del model.model.layers[0]
            model(input_ids=ids, attention_mask=mask)


def test_directions_and_their_stage_come_together(
    tiny: Any, corpus: pd.DataFrame, tmp_path: Path
) -> None:
    v = directions()
    for stage, given, match in (
        (replace(QUICK, steer=0.1), {}, "without directions to steer: give train steer="),
        (replace(QUICK, ablate=True), {}, "without directions to ablate"),
        (QUICK, {"steer": v}, "with directions to steer"),
        (QUICK, {"ablate": v}, "with directions to ablate"),
        (replace(QUICK, steer=0.1), {"steer": directions(2)}, "one direction, at one hook"),
        (replace(QUICK, steer=0.1), {"steer": v.drop_vars("norm")}, "usual residual's length"),
        (replace(QUICK, steer=0.1), {"steer": v * np.nan}, "finite and not 0"),
        (replace(QUICK, ablate=True), {"ablate": v * 0}, "finite and not 0"),
        (replace(QUICK, ablate=True), {"ablate": v[..., :9]}, "is 64 wide, the directions"),
        (
            replace(QUICK, ablate=True),
            {"ablate": directions(hooks=("blocks.0.hook_resid_mid",))},
            "cannot be edited in training",
        ),
        (
            replace(QUICK, ablate=True),
            {"ablate": directions(hooks=(BLOCK, "blocks.0.hook_resid_post"))},
            "every hook once",
        ),
        (
            replace(QUICK, ablate=True),
            {"ablate": directions(hooks=("blocks.0.hook_outt",))},
            "did you mean",
        ),
    ):
        with pytest.raises(ModelError, match=match):
            train(tiny, corpus, stage=stage, out=tmp_path / "a", progress=False, **given)
    with pytest.raises(SchemaError, match="directions are a DataArray"):
        train(
            tiny,
            corpus,
            stage=replace(QUICK, steer=0.1),
            steer=np.ones(64),  # type: ignore[arg-type]
            out=tmp_path / "a",
        )


def test_other_directions_are_another_training(
    tiny: Checkpoint, corpus: pd.DataFrame, tmp_path: Path
) -> None:
    stage, out = replace(QUICK, steps=1, steer=0.1), tmp_path / "a"
    train(tiny, corpus, stage=stage, steer=directions(), out=out, progress=False)
    renamed = directions().assign_coords(name=["w"], hook=["blocks.0.hook_resid_post"])
    train(tiny, corpus, stage=stage, steer=renamed, out=out, progress=False)
    with pytest.raises(ModelError, match="another training"):
        train(tiny, corpus, stage=stage, steer=directions(seed=1), out=out, progress=False)
    one, other = (
        hash_edits(training_edits(tiny, Stage(steer=s), steer=directions())) for s in (0.1, 0.2)
    )
    assert one != other
