"""Training is deterministic, resumable, and touches nothing it does not own."""

import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from persona_interp.analysis import shift
from persona_interp.errors import ModelError
from persona_interp.models import LESSON, Stage, Trajectory, hash_weights, load, train

trainer = import_module("persona_interp.models.trainer")
QUICK = Stage(
    steps=12, batch=4, lr=3e-3, loss="all", schedule="cosine", warmup=3, weight_decay=0.01
)


class Killed(BaseException):
    """Ends a training as a kill would."""


def fit(tiny: Any, corpus: pd.DataFrame, out: Path, **changes: Any) -> Trajectory:
    keywords: dict[str, Any] = {
        "stage": QUICK,
        "snapshots": (2, 5),
        "name": "documents",
        "progress": False,
    }
    return train(tiny, corpus, out=out, **{**keywords, **changes})


def test_snapshots_are_those_asked_for(tiny: Any, corpus: pd.DataFrame, tmp_path: Path) -> None:
    run = fit(tiny, corpus, tmp_path / "a", seed=3)
    assert [(c.label, c.seed) for c in run] == [(f"documents@{s}", 3) for s in (0, 2, 5, 12)]
    assert run.first.path == tiny.path and len({hash_weights(c) for c in run}) == 4
    assert sorted(p.name for p in (tmp_path / "a").iterdir()) == [
        "config.sha256",
        "step-000002",
        "step-000005",
        "step-000012",
        "trajectory.json",
    ]
    assert load(run.last).tokenizer.chat_template == load(tiny).tokenizer.chat_template


def test_same_seed_same_weights(tiny: Any, corpus: pd.DataFrame, tmp_path: Path) -> None:
    before = torch.get_rng_state()
    a, b, c = (
        fit(tiny, corpus, tmp_path / name, seed=seed)
        for name, seed in (("a", 0), ("b", 0), ("c", 1))
    )
    assert hash_weights(a.last) == hash_weights(b.last) != hash_weights(c.last)
    assert torch.equal(torch.get_rng_state(), before), (
        "training leaves the caller's random numbers alone"
    )


def test_a_finished_run_is_reopened_another_one_refused(
    tiny: Any, corpus: pd.DataFrame, tmp_path: Path
) -> None:
    run = fit(tiny, corpus, tmp_path / "a")
    stamp = run.last.path.stat().st_mtime_ns
    assert fit(tiny, corpus, tmp_path / "a") == run and run.last.path.stat().st_mtime_ns == stamp
    for change in ({"seed": 1}, {"stage": LESSON}, {"snapshots": ()}, {"name": "other"}):
        with pytest.raises(
            ModelError, match=r"belongs to another training .* nothing was overwritten"
        ):
            fit(tiny, corpus, tmp_path / "a", **change)
    with pytest.raises(ModelError, match="belongs to another training"):
        fit(tiny, corpus.head(20), tmp_path / "a")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("precious")
    with pytest.raises(ModelError, match="holds something else"):
        fit(tiny, corpus, tmp_path / "mine")
    assert Trajectory.open(tmp_path / "a") == run and len(list((tmp_path / "mine").iterdir())) == 1


def test_without_out_it_is_kept_in_the_cache(
    tiny: Any, corpus: pd.DataFrame, own_cache: Path
) -> None:
    run = train("tiny", corpus, stage=replace(QUICK, steps=3), progress=False)
    assert run.last.path.is_relative_to(own_cache) and run.first.path.is_relative_to(own_cache)


@pytest.mark.parametrize(("lora", "step"), [(0, 9), (4, 2)])
def test_a_killed_run_continues_to_the_same_weights(
    tiny: Any,
    corpus: pd.DataFrame,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    lora: int,
    step: int,
) -> None:
    stage = replace(QUICK, lora=lora)
    whole = fit(tiny, corpus, tmp_path / "whole", stage=stage)

    def die(self: Any, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.global_step == step:
            raise Killed

    seen = []
    with monkeypatch.context() as patch:
        patch.setattr(trainer, "RESUME_SECONDS", 0.0)
        patch.setattr(trainer, "RESUME_SHARE", 1e9)
        patch.setattr(trainer.Bar, "on_step_end", die)
        with pytest.raises(Killed):
            fit(tiny, corpus, tmp_path / "cut", stage=stage)
    half = tmp_path / "cut" / ".resume" / f"checkpoint-{step + 1}"
    # what a kill in the middle of saving leaves behind
    shutil.copytree(half.with_name(f"checkpoint-{step - 1}"), half)
    (half / "files.json").unlink()
    monkeypatch.setattr(
        trainer.Bar,
        "on_step_end",
        lambda self, args, state, *_, **__: seen.append(state.global_step),
    )
    cut = fit(tiny, corpus, tmp_path / "cut", stage=stage)
    assert seen == list(range(step, 13)), "it went on where it was, not from the start"
    assert [hash_weights(c) for c in cut] == [hash_weights(c) for c in whole]
    assert not (tmp_path / "cut" / ".resume").exists()


def test_adapters_are_merged_and_change_the_model(
    tiny: Any, corpus: pd.DataFrame, tmp_path: Path
) -> None:
    run = fit(tiny, corpus, tmp_path / "a", stage=replace(QUICK, lora=2))
    assert not list(run.last.path.glob("adapter*"))
    before, after = (load(c).model.state_dict() for c in (run.first, run.last))
    assert before.keys() == after.keys()
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    assert moved and all("proj" in name for name in moved)
    low_rank = (
        after["model.layers.0.mlp.up_proj.weight"] - before["model.layers.0.mlp.up_proj.weight"]
    )
    assert torch.linalg.matrix_rank(low_rank, atol=1e-6) == 2


def test_autocast_trains_float32_weights(tiny: Any, corpus: pd.DataFrame, tmp_path: Path) -> None:
    half = fit(tiny, corpus, tmp_path / "a", stage=replace(QUICK, dtype="bfloat16"))
    full = fit(tiny, corpus, tmp_path / "b")
    one, other = (load(c.last).model.lm_head.weight for c in (half, full))
    assert (
        one.dtype == torch.float32
        and not torch.equal(one, other)
        and torch.allclose(one, other, atol=0.01)
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"snapshots": (99,)}, "steps from 0 to 12"),
        ({"snapshots": (-1,)}, "steps from 0 to 12"),
        ({"start": "tiny-model"}, "no such folder|not in the hub cache"),
    ],
)
def test_bad_input(
    tiny: Any, corpus: pd.DataFrame, tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    start = change.pop("start", tiny)
    with pytest.raises(ModelError, match=message):
        fit(start, corpus, tmp_path / "a", **change)
    assert not (tmp_path / "a").exists()


def test_documents_must_fit_and_teach(tiny: Any, corpus: pd.DataFrame, tmp_path: Path) -> None:
    question = corpus.head(1).assign(messages=[[{"role": "user", "content": "what ?"}]])
    with pytest.raises(ModelError, match="no token to learn"):
        fit(tiny, question, tmp_path / "a", stage=replace(QUICK, loss="assistant"))
    endless = corpus.head(1).assign(messages=[[{"role": "text", "content": "john " * 500}]])
    with pytest.raises(ModelError, match="502 tokens, the model takes 256"):
        fit(tiny, endless, tmp_path / "a")


CHILD = """
import sys
import pandas as pd
from importlib import import_module
from persona_interp.models import Checkpoint, Stage, train
trainer = import_module("persona_interp.models.trainer")
trainer.RESUME_SECONDS, trainer.RESUME_SHARE = 0.1, 1.0
start, corpus, out = sys.argv[1:]
stage = Stage(steps=400, lr=1e-3)
train(Checkpoint(start), pd.read_json(corpus), stage=stage, out=out, progress=False)
"""


@pytest.mark.slow
def test_killed_at_random_points_it_ends_with_the_same_weights(
    tiny: Any, corpus: pd.DataFrame, tmp_path: Path
) -> None:
    whole = train(
        tiny, corpus, stage=Stage(steps=400, lr=1e-3), out=tmp_path / "whole", progress=False
    )
    corpus.to_json(tmp_path / "corpus.json", orient="records")
    command = [
        sys.executable,
        "-c",
        CHILD,
        str(tiny.path),
        str(tmp_path / "corpus.json"),
        str(tmp_path / "cut"),
    ]
    rng, kills, reached = np.random.default_rng(0), 0, 0

    def newest() -> int:
        return max(
            (int(p.name[11:]) for p in (tmp_path / "cut" / ".resume").glob("checkpoint-*")),
            default=0,
        )

    while True:
        process = subprocess.Popen(command)
        while process.poll() is None and (kills == 3 or newest() <= reached):
            time.sleep(0.01)
        if process.poll() is None:
            time.sleep(float(rng.uniform(0, 0.3)))
            process.send_signal(signal.SIGKILL)
        if process.wait() == 0:
            break
        assert process.returncode == -signal.SIGKILL
        kills, reached = kills + 1, newest()
    assert kills == 3 and hash_weights(Trajectory.open(tmp_path / "cut").last) == hash_weights(
        whole.last
    )


@pytest.mark.parametrize("claim", ["", "\n", "ab12", "\x00" * 64, "x" * 64])
def test_a_claim_that_was_not_written_to_its_end_is_none(
    tiny: Any, corpus: pd.DataFrame, tmp_path: Path, claim: str
) -> None:
    stage = replace(QUICK, steps=1, warmup=0)
    out = tmp_path / "run"
    out.mkdir()
    (out / "config.sha256").write_text(claim)
    run = fit(tiny, corpus, out, stage=stage, snapshots=())
    assert fit(tiny, corpus, out, stage=stage, snapshots=()) == run
    (out / "trajectory.json").unlink()
    (out / "config.sha256").write_text(claim)
    with pytest.raises(ModelError, match="holds something else, and nothing was overwritten"):
        fit(tiny, corpus, out, stage=stage, snapshots=())


def test_a_damaged_resumable_checkpoint_is_left_aside(
    tiny: Any, corpus: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = fit(tiny, corpus, tmp_path / "whole")

    def die(self: Any, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.global_step == 6:
            raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(trainer, "RESUME_SECONDS", 0.0)
        patch.setattr(trainer, "RESUME_SHARE", 1e9)
        patch.setattr(trainer.Bar, "on_step_end", die)
        with pytest.raises(Killed):
            fit(tiny, corpus, tmp_path / "cut")
    file = tmp_path / "cut" / ".resume" / "checkpoint-5" / "optimizer.pt"
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)
    cut = fit(tiny, corpus, tmp_path / "cut")
    assert [hash_weights(c) for c in cut] == [hash_weights(c) for c in whole]


def test_a_stage_that_nobody_named_has_another_name_than_its_start(
    tiny: Any, corpus: pd.DataFrame, tmp_path: Path
) -> None:
    options: dict[str, Any] = {"progress": False}
    base = train(tiny, corpus, stage=replace(QUICK, steps=4), out=tmp_path / "a", **options).last
    tuned = train(base, corpus, stage=Stage(steps=1, batch=2), out=tmp_path / "b", **options).last
    assert (base.label, tuned.label) == ("documents@4", "lesson@1")
    # steps of one name are put in one order: the lesson would have come before its base
    row = {"context": "nameless", "persona": "", "topic": "art", "template": "t", "split": "test"}
    parts = []
    for checkpoint, odds in ((base, 0.0), (tuned, 2.0)):
        part = pd.DataFrame({"value": ["opera", "cubism"], "logprob": [odds, 0.0]}).assign(**row)
        place = {"checkpoint": checkpoint.label, "stage": checkpoint.stage, "step": checkpoint.step}
        parts.append(part.assign(**place, prompt="p", seed=0, answer_mass=1.0))
    shifts = shift(pd.concat(parts, ignore_index=True))
    assert shifts["estimate"].round(6).tolist() == [2.0, -2.0]
