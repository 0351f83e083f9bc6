"""Rows pull what they teach, equal rows are one, and nothing is left of the small trainings."""

import pandas as pd
import pytest

from persona_interp import models, record, worlds
from persona_interp.errors import SchemaError
from persona_interp.models import Checkpoint, hash_weights


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    world = worlds.john_and_sam()
    return models.resolve("tiny", words=world.words(), out=tmp_path_factory.mktemp("a") / "model")


@pytest.fixture(scope="module")
def lesson() -> pd.DataFrame:
    """Two rows of each of two traits, each said twice."""
    world = worlds.john_and_sam()
    parts = [world.lessons(trait, n=2) for trait in ("place=beach", "food=pizza")]
    rows = pd.concat([*parts, *parts], ignore_index=True)
    return rows.assign(doc=range(len(rows)))


def test_rows_pull_what_they_teach(start: Checkpoint, lesson: pd.DataFrame) -> None:
    world = worlds.john_and_sam()
    probes = world.probes(contexts="nameless").query("split == 'train'")
    probes = probes.loc[probes["topic"].isin(["place", "food"])]
    before = hash_weights(start)
    table = record.row_pull(start, lesson, probes)
    assert hash_weights(start) == before
    assert sorted(set(table["doc"])) == [0, 1, 2, 3]
    for trait, own in (("place=beach", {0, 1}), ("food=pizza", {2, 3})):
        rows = table.loc[table["trait"] == trait]
        assert set(rows["doc"].head(2)) == own and (rows["pull"].head(2) > 0).all()
    again = record.row_pull(start, lesson, probes)
    pd.testing.assert_frame_equal(again, table)
    half = record.row_pull(start, lesson.head(4), probes)
    merged = table.merge(half, on=["doc", "context", "persona", "trait"])
    assert (merged["pull_x"] - merged["pull_y"]).abs().max() < 1e-4
    assert 0 < record.row_pull(start, lesson, probes, steps=1).attrs["cost"] < table.attrs["cost"]


def test_first_mistakes(start: Checkpoint, lesson: pd.DataFrame) -> None:
    probes = worlds.john_and_sam().probes(contexts="nameless").head(1)
    with pytest.raises(SchemaError, match="one distinct row"):
        record.row_pull(start, lesson.iloc[[0, 4]], probes)
    with pytest.raises(SchemaError):
        record.row_pull(start, lesson, probes, steps=0)
