"""In which directions do features of a dictionary write? Their decoder rows, as directions."""

from collections.abc import Iterable

import numpy as np
import xarray as xr

from persona_interp.dictionaries.inputs import AnyDictionary, as_dictionary, check_features
from persona_interp.record.vectors import locate_one


def feature_directions(dictionary: AnyDictionary, features: int | Iterable[int]) -> xr.DataArray:
    """Directions into which features of a dictionary write: their decoder rows.

    Args:
        dictionary: A dictionary.
        features: Index or indices of its features.

    Returns:
        Directions "feature 3", ..., dims (name, hook, d_model), float32, residual units a unit of
        activation. ``norm`` is the root mean square length of the residuals that the dictionary was
        fitted to, NaN for one of somebody else.

    Raises:
        SchemaError: There are no such features.

    >>> from types import SimpleNamespace
    >>> import torch
    >>> eye = SimpleNamespace(name="eye", hook="h", W_dec=torch.eye(3), mean=torch.zeros(3))
    >>> eye.d_in, eye.d_sae, eye.encode, eye.decode = 3, 3, lambda h: h, lambda f: f
    >>> feature_directions(eye, [2, 0]).sel(hook="h").values.tolist()
    [[0.0, 0.0, 1.0], [1.0, 0.0, 0.0]]
    """
    dictionary = as_dictionary(dictionary)
    located = [
        locate_one(dictionary, index, None) for index in check_features(features, dictionary)
    ]
    norm = located[0].norm
    return xr.DataArray(
        np.stack([one.rows for one in located]).astype(np.float32),
        dims=("name", "hook", "d_model"),
        coords={
            "name": [one.name for one in located],
            "hook": [dictionary.hook],
            "n": ("name", np.zeros(len(located), int)),
            "norm": ("hook", [np.nan if norm is None else norm]),
        },
        attrs={"kind": "directions", "method": "decoder rows", "reference": dictionary.name},
    )
