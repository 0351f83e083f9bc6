"""Which features hide behind others, and how are they told apart?

Where two features never co-occur, or one is rarer, sparse training often ends in a state that
explains as much with more features active: one feature fires for both, and a second fires beside
it to correct it (absorption: Chanin et al. 2024, arXiv 2409.14507). The second's decoder is then a
difference and has no meaning of its own. Such pairs are seen by their firing, since the second
never goes without the first, and are rewritten: the second takes over what the two were together,
and the first is told to stay silent there. Training then goes on from it.
"""

from typing import Any

import torch

from persona_interp.dictionaries.saelens import build
from persona_interp.dictionaries.saelens_training import Rows

NEVER_ALONE = 0.8
"""Share of a feature's rows on which another fires too, from which on it hides behind it."""
SELDOM = 20
"""Rows of the sample on which a feature must fire."""
SAMPLE = 20_000
"""Rows that are looked at."""


@torch.no_grad()
def untangle(sae: Any, rows: Rows) -> tuple[Any, int]:
    """Give features that never fire alone what they and their companion are together.

    Args:
        sae: Inference module of SAELens that takes raw rows, with one encoder.
        rows: What it was trained on.

    Returns:
        Another SAE to train on, and how many features were rewritten.
    """
    sample = rows.read(torch.arange(0, rows.n, max(1, rows.n // SAMPLE)))
    feats = sae.encode(sample)
    fires = (feats > 0).float()
    n = fires.sum(dim=0)
    together = (fires.T @ fires).fill_diagonal_(0)
    share, companion = (together / n.clamp(min=1)[:, None]).max(dim=1)
    hides = (n >= SELDOM) & (share >= NEVER_ALONE) & (n[companion] > n)
    # a companion that hides itself is rewritten first, and this one when it is looked at again
    hides &= ~hides[companion]
    products = feats.T @ feats
    own = products.diagonal().clamp(min=torch.finfo(products.dtype).tiny)
    parts = products.gather(1, companion[:, None])[:, 0] / own
    decoder, encoder, bias = sae.W_dec.clone(), sae.W_enc.clone(), sae.b_enc.clone()
    for feature in torch.nonzero(hides).flatten().tolist():
        other, part = int(companion[feature]), parts[feature]
        decoder[feature] += part * sae.W_dec[other]
        encoder[:, other] -= part * sae.W_enc[:, feature]
        bias[other] -= part * sae.b_enc[feature]
    weights = dict(sae.state_dict()) | {"W_dec": decoder, "W_enc": encoder, "b_enc": bias}
    return build(sae.cfg.to_dict(), weights), int(hides.sum())
