import torch

from persona_interp.dictionaries.blocks import as_pool
from persona_interp.dictionaries.saelens import build
from persona_interp.dictionaries.untangle import untangle


def test_a_feature_that_corrects_another_becomes_its_own() -> None:
    """One direction on two thirds of the tokens, another on a third; the first latent fires on all.

    The second latent's decoder is the difference of both, so together they rebuild everything.
    """
    generator = torch.Generator().manual_seed(0)
    size = 1 + torch.rand(3_000, 1, generator=generator)
    one, other = torch.eye(4)[0], torch.eye(4)[1]
    tokens = size * torch.where(torch.arange(3_000)[:, None] % 3 > 0, one, other)
    weights = {
        "W_enc": torch.stack([one + other, other - one], dim=1),
        "W_dec": torch.stack([one, other - one]),
        "b_enc": torch.zeros(2),
        "b_dec": torch.zeros(4),
        "threshold": torch.zeros(2),
    }
    config = {"architecture": "jumprelu", "d_in": 4, "d_sae": 2, "apply_b_dec_to_input": False}
    sae = build(config, weights)
    assert torch.allclose(sae.decode(sae.encode(tokens)), tokens)
    free, n = untangle(sae, as_pool(tokens[None]))
    assert n == 1
    assert torch.allclose(free.W_dec, torch.stack([one, other]), atol=1e-5)
    feats = free.encode(tokens)
    assert ((feats > 1e-4).sum(dim=1) == 1).all()
    # what it was copied from is as it was
    assert torch.equal(sae.W_dec[1], other - one)
