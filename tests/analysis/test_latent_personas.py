"""Two planted speakers are found again, and what follows from them is what follows from names."""

import numpy as np
import pandas as pd
import pytest

from persona_interp.analysis import belief_forecast, latent_personas
from persona_interp.errors import SchemaError
from persona_interp.schema.words import Predictor
from tests.analysis.said import behavior, either

ANN, BOB = (0.95, 0.9), (0.05, 0.1)


def stated() -> pd.DataFrame:
    """Answers that are mixtures of Ann and Bob, by what was stated; Ann's share by Bayes."""
    shares = {"": 0.5, "a=x": 0.95, "a=y": 0.05, "b=x": 0.9, "b=y": 0.1}
    parts = []
    for label, share in shares.items():
        a, b = (share * one + (1 - share) * other for one, other in zip(ANN, BOB, strict=True))
        parts.append(behavior({("nameless", ""): either(a, b)}, templates=2).assign(stated=label))
    return pd.concat(parts, ignore_index=True)


def test_answers_are_mixtures_of_what_is_found() -> None:
    found = latent_personas(stated(), n=2)
    says = np.exp2(found.pivot(index="persona", columns=["topic", "value"], values="logprob"))
    x = says.xs("x", axis=1, level="value")
    assert np.allclose(says.T.groupby("topic").sum(), 1, atol=1e-4)
    # mixtures of two span a line between both; the two found lie on it, outside of all answers
    assert np.allclose(x["b"], 0.5 + (x["a"] - 0.5) * 0.8 / 0.9, atol=0.02)
    classes = x.drop(index="")
    assert classes["a"].max() >= 0.9 and classes["a"].min() <= 0.1


def test_what_was_stated_and_not_asked_again_counts_as_said() -> None:
    table = stated()
    own = [
        label.partition("=")[0] == t
        for label, t in zip(table["stated"], table["topic"], strict=True)
    ]
    found = belief_forecast(latent_personas(table[~np.array(own)], n=2), "a=x")
    assert found.set_index("trait").loc["b=x", "estimate"] > 1
    gap = (table["stated"] == "a=x") & (table["topic"] == "b")
    with pytest.raises(SchemaError, match="b=x was not asked after 'a=x' was stated"):
        latent_personas(table[~gap], n=2)


def test_the_same_call_gives_the_same_personas() -> None:
    one, other = (latent_personas(stated(), n=2, seed=3) for _ in range(2))
    pd.testing.assert_frame_equal(one, other)


def test_beliefs_without_names() -> None:
    classes = latent_personas(stated(), n=2)
    weights = classes.attrs["weights"]
    assert sum(weights.values()) == pytest.approx(1) and weights["class 1"] >= weights["class 2"]
    found = belief_forecast(classes, "a=x", weights=weights, predictor=Predictor.CLASSES)
    found = found.set_index("trait")
    assert found.loc["b=x", "estimate"] > 1 and found.loc["b=y", "estimate"] < -1
    assert found.loc["b=x", "before"] == pytest.approx(0, abs=1e-6)
    assert found["predictor"].unique().tolist() == [Predictor.CLASSES]


def test_more_personas_than_statements_are_refused() -> None:
    with pytest.raises(SchemaError, match="5 statements tell at most as many personas apart"):
        latent_personas(stated(), n=6)
