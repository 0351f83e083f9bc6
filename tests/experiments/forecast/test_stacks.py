"""The stacks that come with the package are whole, and know where they come from."""

import numpy as np
import pytest

from persona_interp.errors import SchemaError
from persona_interp.experiments.forecast.stacks import NO_PILOT, STACKS, TOGETHER, open_stack


@pytest.mark.parametrize("name", STACKS)
def test_every_stack_reads_what_it_is_said_to_read(name: str) -> None:
    stack = open_stack(name)
    assert stack.names == tuple(map(str, STACKS[name]))
    assert [line.fraction for line in stack.lines] == [0.05, 0.1, 0.2, 0.4, 1.0]
    assert all(np.isfinite(line.reach) for line in stack.lines)
    assert len(stack.provenance["bases"]) >= 20
    assert max(map(int, stack.provenance["bases"])) < 100


def test_several_predictors_explain_more_than_each_alone() -> None:
    r2 = {name: open_stack(name).lines[-1].r2 for name in STACKS}
    for name, words in TOGETHER.items():
        assert r2[name] > max(r2[str(word)] for word in words)


def test_an_unknown_stack_names_the_nearest() -> None:
    with pytest.raises(SchemaError, match=NO_PILOT):
        open_stack("no pilots")
