"""A few features alone are what they are among all."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from persona_interp.dictionaries import encode_features
from persona_interp.dictionaries.dictionary import SparseDictionary
from persona_interp.dictionaries.saelens import build
from persona_interp.dictionaries.subset import FeatureEncoder
from persona_interp.errors import ModelError, SchemaError

WIDTH, N = 24, 500
CHOSEN = [7, 499, 0, 123]


def dictionary(architecture: str, **settings: Any) -> SparseDictionary:
    """Random weights of an architecture, biases and thresholds included."""
    generator = torch.Generator().manual_seed(0)

    def draw(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator)

    weights = {
        "W_enc": draw(WIDTH, N),
        "b_enc": draw(N),
        "W_dec": draw(N, WIDTH),
        "b_dec": draw(WIDTH),
    }
    if architecture == "jumprelu":
        weights["threshold"] = 5 * draw(N).abs()
    if architecture == "gated":
        del weights["b_enc"]
        weights |= {name: draw(N) for name in ("r_mag", "b_mag", "b_gate")}
    config = {"architecture": architecture, "d_in": WIDTH, "d_sae": N, **settings}
    sae = build(config, weights)
    return SparseDictionary(sae, architecture, "blocks.0.hook_out", torch.zeros(WIDTH), 1.0)


@pytest.mark.parametrize(
    ("architecture", "settings"),
    [
        ("standard", {}),
        ("jumprelu", {}),
        ("jumprelu", {"apply_b_dec_to_input": False}),
        ("standard", {"normalize_activations": "layer_norm"}),
        ("gated", {}),
    ],
)
def test_a_few_are_what_they_are_among_all(architecture: str, settings: dict[str, Any]) -> None:
    own = dictionary(architecture, **settings)
    acts = torch.randn(3, 700, WIDTH, generator=torch.Generator().manual_seed(1))
    whole = own.encode(acts)[..., CHOSEN]
    few = encode_features(own, acts, features=CHOSEN)
    assert few.shape == (3, 700, 4) and few.dtype == torch.float32
    flipped = (few > 0) != (whole > 0)
    assert (few - whole).abs()[~flipped].max() < 1e-5
    assert 0 < (few > 0).float().mean() < 1
    # flipped only where an activation is as near to its threshold as rounding reaches
    threshold = own.sae.threshold[CHOSEN] if architecture == "jumprelu" else torch.zeros(4)
    assert ((few + whole - threshold)[flipped].abs() < 1e-5).all()
    one = encode_features(own, acts[0, :1], features=7)
    assert one.shape == (1, 1) and torch.allclose(one, few[0, :1, :1], atol=1e-5)


def test_columns_are_read_once_and_in_the_dtype_of_the_weights() -> None:
    own = dictionary("jumprelu")
    own.sae.to(dtype=torch.bfloat16)
    acts = torch.randn(20, WIDTH, generator=torch.Generator().manual_seed(1))
    encoder = FeatureEncoder(own, CHOSEN)
    few = encoder.encode(acts)
    assert few.dtype == torch.float32
    assert torch.allclose(few, own.encode(acts)[:, CHOSEN], rtol=0.02, atol=0.1)
    own.sae.W_enc.data.zero_()
    assert torch.equal(encoder.encode(acts), few)


def test_any_dictionary_has_features() -> None:
    double = SimpleNamespace(hook="h", W_dec=torch.eye(3), mean=torch.zeros(3), name="double")
    double.encode, double.decode = (lambda acts: 2 * acts), (lambda feats: feats / 2)
    found = encode_features(double, torch.tensor([[1.0, 2.0, 3.0]]), features=(2, 0))
    assert found.tolist() == [[6.0, 2.0]]


def test_features_of_a_topk_sae_cannot_be_had_alone() -> None:
    own, acts = dictionary("topk", k=5), torch.ones(2, WIDTH)
    with pytest.raises(
        ModelError, match=r"decided among all of them.*encode\(acts\)\[\.\.\., feat"
    ):
        encode_features(own, acts, features=CHOSEN)
    # where features are named the whole is computed instead
    assert torch.equal(FeatureEncoder(own, CHOSEN).encode(acts), own.encode(acts)[:, CHOSEN])


def test_what_there_is_not_is_refused() -> None:
    own = dictionary("standard")
    with pytest.raises(SchemaError, match="distinct features from 0 to 499"):
        encode_features(own, torch.ones(2, WIDTH), features=[500])
    with pytest.raises(ModelError, match="reads width 24"):
        encode_features(own, torch.ones(2, 5), features=[0])
