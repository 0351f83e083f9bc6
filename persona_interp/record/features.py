"""Which features are active at each prompt, and can the dictionary be believed there?"""

from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
import xarray as xr
from einops import rearrange
from torch import Tensor

from persona_interp import schema
from persona_interp.dictionaries.dictionary import Dictionary, hash_dictionary
from persona_interp.dictionaries.hooks import same_hook
from persona_interp.dictionaries.inputs import AnyDictionary, as_dictionary, check_width
from persona_interp.errors import SchemaError
from persona_interp.models import Checkpoint
from persona_interp.models.outliers import SINK
from persona_interp.record.pooling import WHERE, reduce_residuals


def features(
    checkpoints: Checkpoint | Iterable[Checkpoint],
    prompts: Any,
    *,
    dictionary: AnyDictionary,
    position: str = "last",
    where: Iterable[str] = WHERE,
    outlier: float = SINK,
) -> xr.Dataset:
    """Features that each prompt activates, in each checkpoint.

    The dictionary is the same for every checkpoint; whether it still describes a finetuned one is
    what ``fvu`` says.

    Args:
        checkpoints: A checkpoint, a trajectory or any iterable of checkpoints with distinct labels.
        prompts: A probes or prompts table (named by ``prompt``), a corpus table (named by
            ``doc``), or anything that ``readers.read`` takes.
        dictionary: Its ``hook`` says where residuals are read. An ``SAE`` of SAELens or the path
            of a folder is one too.
        position: "last" = last token of the prompt; "mean" = mean of the features over its tokens
            of some roles.
        where: Roles of these tokens, as in ``activations``.
        outlier: Longest residual among them, as in ``activations``.

    Returns:
        Dataset with ``act``, dims (checkpoint, prompt, feature), float32, in the units of the
        dictionary, and ``fvu``, dims (checkpoint, prompt), a fraction: squared reconstruction error
        at the positions read over their squared distance from ``dictionary.mean``, the mean
        residual the dictionary was trained on. That origin is the same for every checkpoint; fvu is
        0 for a perfect dictionary and 1 for one that always answers the mean. Coordinates and
        attributes as in ``activations``, and the attributes dictionary, dictionary_hash.

    Raises:
        SchemaError: An empty table, repeated names or labels, an unknown position or role, a prompt
            without such tokens, an outlier below 1.
        ModelError: The hook does not exist, or the checkpoints do not share a tokenizer.

    >>> import torch
    >>> from tempfile import TemporaryDirectory
    >>> from types import SimpleNamespace
    >>> from persona_interp import models, worlds
    >>> world = worlds.john_and_sam()
    >>> eye = SimpleNamespace(name="eye", hook="blocks.0.hook_out", W_dec=torch.eye(64))
    >>> eye.mean = torch.zeros(64)
    >>> eye.encode = eye.decode = lambda acts: acts  # every coordinate a feature: all is explained
    >>> with TemporaryDirectory() as folder:
    ...     start = models.resolve("tiny", words=world.words(), out=folder)
    ...     data = features(start, world.probes(contexts=("nameless",)), dictionary=eye)
    >>> dict(data.sizes), float(data["fvu"].max())
    ({'checkpoint': 1, 'prompt': 50, 'feature': 64}, 0.0)
    """
    dictionary = as_dictionary(dictionary)
    (data,) = reduce_residuals(
        checkpoints,
        prompts,
        kind="features",
        hooks=[dictionary.hook],
        position=position,
        where=where,
        outlier=outlier,
        reduce=lambda acts: _reduce(acts, dictionary),
    )
    return data.assign_attrs(_dictionary_attrs(dictionary))


def encode(acts: xr.Dataset, *, dictionary: AnyDictionary) -> xr.Dataset:
    """Features that recorded residuals activate; no model is run again.

    Args:
        acts: Dataset of ``activations`` with position "last", at the dictionary's hook.
        dictionary: Any dictionary; another one of the same hook reads the same residuals.

    Returns:
        What ``features`` gives on the same prompts.

    Raises:
        SchemaError: No activations, another hook or position.

    >>> import torch
    >>> from types import SimpleNamespace
    >>> ones = np.ones((1, 2, 3), np.float32)
    >>> acts = xr.Dataset({"act": (("checkpoint", "prompt", "d_model"), ones)})
    >>> acts = acts.assign_coords(checkpoint=["base@0"], prompt=["a", "b"])
    >>> acts = acts.assign_attrs(hook="h", position="last")
    >>> eye = SimpleNamespace(name="eye", hook="h", W_dec=torch.eye(3), mean=torch.zeros(3))
    >>> eye.encode = eye.decode = lambda acts: acts
    >>> encode(acts, dictionary=eye)["act"].shape
    (1, 2, 3)
    """
    schema.check(acts, "activations")
    dictionary = as_dictionary(dictionary)
    hook, position = str(acts.attrs.get("hook", "")), acts.attrs.get("position")
    if not same_hook(hook, dictionary.hook) or position != "last":
        raise SchemaError(
            f"{dictionary.name} reads {dictionary.hook} at the last token; these activations are "
            f"of {hook} at {position!r}. Record them alike, or use features()."
        )
    residuals = torch.as_tensor(acts["act"].to_numpy())
    # one residual after the other, as features() reads them: a batch would round otherwise
    rows = rearrange(residuals, "checkpoint prompt d_model -> (checkpoint prompt) 1 d_model")
    values = [_reduce(row, dictionary) for row in rows]
    data = {}
    for name, dims in schema.DATASETS["features"].items():
        stack = np.stack([value[name].numpy() for value in values])
        data[name] = (
            dims,
            rearrange(
                stack,
                "(checkpoint prompt) ... -> checkpoint prompt ...",
                checkpoint=acts.sizes["checkpoint"],
            ),
        )
    coords = {name: c for name, c in acts.coords.items() if "d_model" not in c.dims}
    table = xr.Dataset(data, coords=coords)
    table = table.assign_coords(feature=np.arange(table.sizes["feature"]))
    attrs = {**acts.attrs, "kind": "features", **_dictionary_attrs(dictionary)}
    return table.assign_attrs(attrs)


@torch.inference_mode()
def _reduce(acts: Tensor, dictionary: Dictionary) -> dict[str, Tensor]:
    """Mean features of one prompt's positions, dims (position, d_model), and their fvu."""
    check_width(dictionary, acts, dictionary.hook)
    feats = dictionary.encode(acts)
    error = (acts - dictionary.decode(feats)).pow(2).sum()
    return {"act": feats.mean(0), "fvu": error / (acts - dictionary.mean).pow(2).sum()}


def _dictionary_attrs(dictionary: Dictionary) -> dict[str, str]:
    return {"dictionary": dictionary.name, "dictionary_hash": hash_dictionary(dictionary)}
