"""Which features fire about as often as one, and so stand beside it as controls?"""

import numpy as np
import xarray as xr


def matched_features(feats: xr.Dataset, feature: int, *, k: int, without: list[int]) -> list[int]:
    """Other features that fire about as often.

    Args:
        feats: Features at some prompts.
        feature: The feature to be matched.
        k: How many.
        without: Features that are no controls.

    Returns:
        Features, nearest firing rate first.

    >>> act = np.array([[[1.0, 0, 1, 1], [0, 0, 0, 1]]])
    >>> feats = xr.Dataset({"act": (("checkpoint", "prompt", "feature"), act)})
    >>> matched_features(feats, 0, k=2, without=[0])
    [2, 1]
    """
    firing = (feats["act"] > 0).mean(("checkpoint", "prompt")).to_numpy()
    order = np.argsort(np.abs(firing - firing[feature]), kind="stable")
    return [int(j) for j in order if j not in {feature, *without}][:k]
