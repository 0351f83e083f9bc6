import pandas as pd
import pytest

from persona_interp.errors import SchemaError
from persona_interp.models import Checkpoint
from persona_interp.record import sample

Pair = tuple[Checkpoint, Checkpoint]


def test_samples_are_named_and_repeatable(pair: Pair, probes: pd.DataFrame) -> None:
    table = sample(pair, probes, n=2, max_new_tokens=5, seed=1)
    assert list(table.columns) == ["checkpoint", "prompt", "text"]
    assert list(table["prompt"][:4]) == ["chat", "chat", "longer", "longer"]
    assert len(table) == 2 * 3 * 2
    assert table["text"].map(lambda text: len(text.split())).max() <= 5
    pd.testing.assert_frame_equal(table, sample(pair, probes, n=2, max_new_tokens=5, seed=1))
    assert not table.equals(sample(pair, probes, n=2, max_new_tokens=5, seed=2))


def test_an_empty_table_is_refused(pair: Pair, probes: pd.DataFrame) -> None:
    with pytest.raises(SchemaError, match="no rows"):
        sample(pair, probes.iloc[:0])
