"""A push along a feature: its decoder row, at its hook, as long as a share of usual residuals."""

import math
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from persona_interp.errors import SchemaError
from persona_interp.record import ablate, add

HOOK = "blocks.0.hook_out"


@pytest.fixture
def sae() -> Any:
    """Three features in four dimensions; residuals of mean (3, 0, 0, 0) and variance 16."""
    planted = SimpleNamespace(name="planted", hook=HOOK, d_in=4, d_sae=3, variance=16.0)
    planted.W_dec = torch.tensor([[1.0, 0, 0, 0], [0, 2.0, 0, 0], [0, 0, 0, 0]])
    planted.mean = torch.tensor([3.0, 0, 0, 0])
    planted.encode = lambda acts: acts @ planted.W_dec.T
    planted.decode = lambda feats: feats @ planted.W_dec
    return planted


def test_strength_is_a_share_of_the_root_mean_square_residual(sae: Any) -> None:
    edit = add(sae, feature=1, strength=0.3)
    # sqrt(3^2 + 16) = 5 is the length of a usual residual
    np.testing.assert_allclose(edit.vectors, [[0, 0.3 * 5, 0, 0]])
    assert (edit.hook, edit.name) == (HOOK, "add feature 1 +0.3")
    away = add(sae, feature=1, strength=-1, norm=2.0, where=("user", "generated"))
    np.testing.assert_allclose(away.vectors, [[0, -2.0, 0, 0]])
    assert away.name == "add feature 1 -1 on user, generated"
    row = add(sae, feature=1, absolute=2.0, hook=HOOK)
    np.testing.assert_allclose(row.vectors, [[0, 4.0, 0, 0]])


def test_the_norm_is_the_residuals_own(sae: Any) -> None:
    """Of residuals drawn at random, mean and variance give the root mean square length."""
    acts = torch.randn(500, 4, generator=torch.Generator().manual_seed(0)) * 2 + 1
    sae.mean = acts.mean(0)
    sae.variance = float((acts - sae.mean).pow(2).sum(-1).mean())
    edit = add(sae, feature=0, strength=1)
    assert edit.vectors is not None
    expected = float(acts.pow(2).sum(-1).mean().sqrt())
    assert np.linalg.norm(edit.vectors) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"feature": 3, "strength": 1}, "distinct features from 0 to 2 of planted; got"),
        ({"feature": -1, "strength": 1}, "distinct features from 0 to 2"),
        ({"feature": "a", "strength": 1}, "distinct features|whole numbers"),
        ({"feature": 2, "strength": 1}, "'feature 2' is 0 everywhere"),
        ({"strength": 1}, "pushed along one of its features; give feature="),
        ({"feature": 1, "strength": 1, "hook": "blocks.1.hook_out"}, "this dictionary reads"),
        ({"feature": 1}, "one of strength= and absolute="),
        ({"feature": 1, "strength": 1, "norm": 0}, "norm= is the length"),
    ],
)
def test_first_mistakes_are_sentences(settings: Any, message: str, sae: Any) -> None:
    with pytest.raises(SchemaError, match=message):
        add(sae, **settings)


def test_a_foreign_dictionary_does_not_know_the_norm(sae: Any) -> None:
    sae.variance = math.nan
    with pytest.raises(SchemaError, match=r"give norm=.*measure_residuals.*absolute="):
        add(sae, feature=1, strength=1)
    with pytest.raises(SchemaError, match="got a vector, which has no features"):
        add(np.ones(4), feature=1, strength=1)
    with pytest.raises(SchemaError, match="role 'users' is unknown; did you mean 'user'"):
        ablate(sae, features=[1], where="users")
