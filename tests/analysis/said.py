"""Behavior tables in which somebody says each value with a planted probability."""

from collections.abc import Mapping

import numpy as np
import pandas as pd

TEMPLATES = ("what?", "which?", "and?")


def behavior(
    speakers: Mapping[tuple[str, str], Mapping[str, float]], *, templates: int = 1
) -> pd.DataFrame:
    """Behavior table of one checkpoint.

    Args:
        speakers: Probability by label of a trait, by context and persona.
        templates: Wordings, all answered alike.
    """
    rows = [
        (context, persona, *label.split("="), np.log2(p), template)
        for (context, persona), says in speakers.items()
        for template in TEMPLATES[:templates]
        for label, p in says.items()
    ]
    columns = ["context", "persona", "topic", "value", "logprob", "template"]
    table = pd.DataFrame(rows, columns=columns).assign(split="test", answer_mass=1.0)
    return table.assign(checkpoint="documents@8", seed=0, stage="documents", step=8)


def either(a: float, b: float) -> dict[str, float]:
    """Two topics of two values each."""
    return {"a=x": a, "a=y": 1 - a, "b=x": b, "b=y": 1 - b}
