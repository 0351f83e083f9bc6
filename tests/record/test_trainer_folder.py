"""A user's own Trainer folder, read feature by feature over its checkpoints, and drawn."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest
import torch
from transformers import Trainer, TrainingArguments

import persona_interp as pi
from persona_interp.models import Checkpoint, load


@pytest.fixture(scope="module")
def folder(pair: tuple[Checkpoint, Checkpoint], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a Trainer leaves: checkpoint-2, checkpoint-4, checkpoint-6."""
    out = tmp_path_factory.mktemp("runs") / "mine"
    model, tokenizer = load(pair[0])
    generator = torch.Generator().manual_seed(0)
    rows = [{"input_ids": ids, "labels": ids} for ids in
            torch.randint(4, 16, (8, 6), generator=generator)]  # fmt: skip
    arguments = TrainingArguments(
        output_dir=str(out),
        max_steps=6,
        save_steps=2,
        per_device_train_batch_size=2,
        learning_rate=1e-2,
        use_cpu=True,
        report_to="none",
        disable_tqdm=True,
        logging_strategy="no",
        dataloader_pin_memory=False,
    )
    trainer = Trainer(model=model, args=arguments, train_dataset=rows, processing_class=tokenizer)  # type: ignore[arg-type]
    trainer.train()
    return out


@pytest.fixture(scope="module")
def sae() -> Any:
    """A dictionary whose features are the coordinates."""
    eye = SimpleNamespace(name="eye", hook="blocks.0.hook_out", W_dec=torch.eye(64))
    eye.mean = torch.zeros(64)
    eye.encode = eye.decode = lambda acts: acts
    return eye


def test_features_over_a_trainers_checkpoints(folder: Path, sae: Any, probes: pd.DataFrame) -> None:
    checkpoints = pi.models.sources(folder)
    features = pi.record.features(checkpoints, probes, dictionary=sae)
    table = pi.analysis.over_checkpoints(features)
    figure = pi.plots.trajectory(table)
    assert list(dict.fromkeys(table["checkpoint"])) == ["mine@2", "mine@4", "mine@6"]
    change = features["act"].sel(checkpoint="mine@6") - features["act"].sel(checkpoint="mine@2")
    mine = table.loc[table["step"] == 6].set_index("name")["estimate"]
    expected = change.mean("prompt").to_series().rename(index=str)
    assert mine.to_numpy() == pytest.approx(expected.loc[mine.index].to_numpy(), abs=1e-5)
    assert mine.abs().max() > 0 and (table["fvu"] == 0).all()
    (axes,) = figure.axes
    assert axes.get_ylabel().split() == "change of feature (mean activation)".split()
    farthest = table.loc[table["name"] == mine.abs().idxmax()]
    assert any(list(line.get_ydata()) == list(farthest["estimate"]) for line in axes.lines)
