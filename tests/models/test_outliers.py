"""A planted sink is left out of every mean, and nothing else is."""

import pytest
import torch

from persona_interp.models.outliers import SINK, ordinary


@pytest.fixture
def residuals() -> torch.Tensor:
    """Residuals of 4 documents with a sink at their first token; dims (document, position, d)."""
    rng = torch.Generator().manual_seed(0)
    acts = torch.randn(4, 12, 16, generator=rng) + 1
    acts[:, 0] *= 100
    return acts


def test_a_planted_sink_is_found_and_nothing_else(residuals: torch.Tensor) -> None:
    mask = ordinary(residuals.norm(dim=-1))
    assert not mask[:, 0].any() and mask[:, 1:].all()
    mean, content = residuals[mask].mean(0), residuals[:, 1:].flatten(0, 1).mean(0)
    assert torch.equal(mean, content), "the mean is that of the content"
    assert (residuals.flatten(0, 1).mean(0) - content).norm() > content.norm()


def test_without_a_sink_all_are_ordinary_in_any_unit(residuals: torch.Tensor) -> None:
    norms = residuals[:, 1:].norm(dim=-1)
    assert ordinary(norms).all() and ordinary(1e-6 * norms).all() and ordinary(1e6 * norms).all()


def test_the_median_is_taken_among_the_tokens_that_count() -> None:
    norms = torch.tensor([[1.0, 1.0, 1.0, 50.0], [1.0, 50.0, 50.0, 50.0]])
    among = torch.zeros_like(norms, dtype=torch.bool)
    among[1, 1:] = True
    assert ordinary(norms)[norms > 1].logical_not().all(), "over all, the long ones are sinks"
    assert ordinary(norms, among).all(), "among the long ones, they are ordinary"
    among[:] = False
    mask = ordinary(norms, among)
    assert mask.shape == norms.shape and not mask.any(), "among none, nothing is"


def test_the_border_belongs_to_the_ordinary() -> None:
    norms = torch.tensor([1.0, 1.0, SINK, SINK + 0.01])
    assert ordinary(norms).tolist() == [True, True, True, False]
    assert ordinary(norms, outlier=20.0).all()
