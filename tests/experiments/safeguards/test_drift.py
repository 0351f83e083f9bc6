"""Drift by turn of an arm: of nothing it is nothing, and what is planted is found."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from persona_interp import models, record
from persona_interp.experiments.safeguards import tasks
from persona_interp.experiments.safeguards.config import Condition, Safeguards
from persona_interp.experiments.safeguards.report import drift_sentences
from persona_interp.experiments.safeguards.tables import drift
from persona_interp.schema.words import Moment, Safeguard
from persona_interp.tables import read_directions, read_table
from tests.experiments.toys import TINY


def projections(seed: int, slope: float = 0.0) -> pd.DataFrame:
    """Six chats of three templates, three turns of a role; the assistant drifts by ``slope``."""
    rng = np.random.default_rng(seed)
    rows = []
    for chat in range(6):
        for turn in range(6):
            role, value = ("user", "assistant")[turn % 2], rng.normal()
            rows.append(
                (f"chat {chat}", f"drift {chat // 2}", turn, role, value + slope * turn / 2)
            )
    table = pd.DataFrame(rows, columns=["prompt", "template", "turn", "role", "projection"])
    return table.assign(checkpoint="a", name="assistant", hook="blocks.1.hook_out", n_tokens=3)


def test_an_arm_that_changes_nothing_has_drifted_by_nothing() -> None:
    before = projections(0)
    table = drift(before, before)
    assert (
        table["turn"].tolist() == [1, 2, 3] and not table[["change", "lo", "hi"]].to_numpy().any()
    )
    assert table["before"].equals(table["after"]) and (table["n_clusters"] == 3).all()


def test_a_planted_drift_is_the_change_chat_by_chat() -> None:
    table = drift(projections(0), projections(0, slope=-0.5))
    assert table["change"].tolist() == pytest.approx([0.0, -0.5, -1.0])
    assert (table["after"] - table["before"]).tolist() == pytest.approx([0.0, -0.5, -1.0])


def test_each_arm_has_a_sentence_with_an_interval_over_seeds() -> None:
    parts = [
        drift(projections(seed), projections(seed, slope=-0.5 - 0.1 * seed)).assign(
            seed=seed, label="no safeguard"
        )
        for seed in range(3)
    ]
    (text,) = drift_sentences(pd.concat(parts))
    assert text.startswith("no safeguard: ") and "by turn 3" in text
    assert "change -1.20 [-1.70, -0.70]" in text
    (alone,) = drift_sentences(parts[0])
    assert "change -1.00 [-1.00, -1.00]" in alone


def test_every_arm_is_read_and_only_a_cap_edits() -> None:
    experiment = Safeguards()
    cells = experiment.seed_cells(0)
    for condition in experiment.conditions():
        cell = cells["drift", Moment.AFTER, condition]
        is_capped = condition.arm == Safeguard.CAPPED
        assert (cells["directions",] in cell.needs) == is_capped == bool(cell.config["cap"])
        assert cell.needs[:2] == (cells["learned", condition], cells["axis",])
    other = Condition(Safeguard.NOTHING)
    assert cells["drift", Moment.BEFORE, 0.25] != cells["drift", Moment.AFTER, other]


def test_the_axis_points_to_who_has_no_name_and_seven_whole_answers_are_read(
    tmp_path: Path,
) -> None:
    world = Safeguards().world_of(0)
    config = {"world": world.to_dict(), "hook": "blocks.1.hook_out", "cap": 0.0, "seed": 0}
    learned, axis, read = (tmp_path / name for name in ("learned", "axis", "read"))
    for folder in (axis, read):
        folder.mkdir()
    corpus = world.corpus(20, seed=0)
    models.train("tiny", corpus, stage=TINY, out=learned / "model", progress=False)
    tasks.axis(config, (learned,), axis)
    tasks.drift(config, (learned, axis), read)
    vector = read_directions(axis / "axis.nc")
    assert vector.sizes["name"] == 1 and vector["hook"].values.tolist() == [config["hook"]]
    assert vector["n"].values.tolist() == [len(world.personas)]
    probes = world.probes(contexts=("nameless", "named")).query("split == 'train'")
    start = models.Trajectory.open(learned / "model").last
    along = record.projections(
        start, probes.drop(columns="answers"), vector, position="last"
    ).set_index("prompt")["projection"]
    is_nameless = probes.set_index("prompt")["context"] == "nameless"
    assert along[is_nameless[is_nameless].index].mean() > along.mean()
    table = read_table(read / "drift.parquet")
    turns = table.loc[table["role"] == "assistant"].groupby("prompt").size()
    assert set(turns) == {7} and table["template"].nunique() == 10
