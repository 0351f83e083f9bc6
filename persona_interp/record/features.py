"""Which features are active at each prompt, and can the dictionary be believed there?"""

from collections.abc import Iterable

import pandas as pd
import xarray as xr
from torch import Tensor

from persona_interp.dictionaries.dictionary import Dictionary, hash_dictionary
from persona_interp.dictionaries.harvest import SINK
from persona_interp.models import Checkpoint
from persona_interp.record.pooling import WHERE, recorded


def features(
    checkpoints: Checkpoint | Iterable[Checkpoint],
    prompts: pd.DataFrame,
    *,
    dictionary: Dictionary,
    position: str = "last",
    where: Iterable[str] = WHERE,
    outlier: float = SINK,
) -> xr.Dataset:
    """Which features does each prompt activate, in each checkpoint?

    The dictionary is the same for every checkpoint; whether it still describes a finetuned one is what ``fvu`` says.

    Args:
        checkpoints: A checkpoint, a trajectory or any iterable of checkpoints with distinct labels.
        prompts: A probes or prompts table (named by ``prompt``) or a corpus table (named by ``doc``).
        dictionary: Its ``hook`` says where residuals are read.
        position: "last" = last token of the prompt; "mean" = mean of the features over its tokens of some roles.
        where: Roles of these tokens, as in ``activations``.
        outlier: Longest residual among them, as in ``activations``.

    Returns:
        Dataset with ``act``, dims (checkpoint, prompt, feature), float32, in the units of the dictionary, and
        ``fvu``, dims (checkpoint, prompt), a fraction: squared reconstruction error at the positions read over their
        squared distance from ``dictionary.mean``, the mean residual the dictionary was trained on. That origin is the
        same for every checkpoint; fvu is 0 for a perfect dictionary and 1 for one that always answers the mean.
        Coordinates and attributes as in ``activations``, and the attributes dictionary, dictionary_hash.

    Raises:
        SchemaError: An empty table, repeated names or labels, an unknown position or role, a prompt without
            such tokens, an outlier below 1.
        ModelError: The hook does not exist, or the checkpoints do not share a tokenizer.

    >>> import torch
    >>> from tempfile import TemporaryDirectory
    >>> from types import SimpleNamespace
    >>> from persona_interp import models, worlds
    >>> world = worlds.john_and_sam()
    >>> eye = SimpleNamespace(name="eye", hook="blocks.0.hook_out", W_dec=torch.eye(64), mean=torch.zeros(64))
    >>> eye.encode = eye.decode = lambda acts: acts  # every coordinate a feature: nothing is unexplained
    >>> with TemporaryDirectory() as folder:
    ...     start = models.resolve("tiny", words=world.words(), out=folder)
    ...     data = features(start, world.probes(contexts=("nameless",)), dictionary=eye)
    >>> dict(data.sizes), float(data["fvu"].max())
    ({'checkpoint': 1, 'prompt': 50, 'feature': 64}, 0.0)
    """

    def reduce(acts: Tensor) -> dict[str, Tensor]:
        feats = dictionary.encode(acts)
        error = (acts - dictionary.decode(feats)).pow(2).sum()
        return {"act": feats.mean(0), "fvu": error / (acts - dictionary.mean).pow(2).sum()}

    data = recorded(
        checkpoints,
        prompts,
        kind="features",
        hook=dictionary.hook,
        position=position,
        where=where,
        outlier=outlier,
        reduce=reduce,
    )
    return data.assign_attrs(dictionary=dictionary.name, dictionary_hash=hash_dictionary(dictionary))
