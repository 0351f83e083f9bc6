"""Which features are active at each prompt, and can the dictionary be believed there?"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, overload

import torch
import xarray as xr
from torch import Tensor

from persona_interp import schema
from persona_interp.dictionaries.dictionary import Dictionary, hash_dictionary
from persona_interp.dictionaries.inputs import (
    AnyDictionary,
    as_dictionary,
    bring,
    check_features,
    check_width,
)
from persona_interp.dictionaries.subset import FeatureEncoder
from persona_interp.errors import SchemaError
from persona_interp.models import Checkpoint
from persona_interp.models.device import Batch, resolve_device
from persona_interp.models.dtype import AUTO, FULL
from persona_interp.models.outliers import SINK
from persona_interp.record.pooling import ALL, ANSWER, MEAN, WHERE, Position, sum_rows
from persona_interp.record.recording import Reduce, reduce_residuals

RowEncoder = Callable[..., dict[str, Tensor]]
MOST = 2**26
"""Most numbers that a dictionary answers at once."""


@overload
def features(  # pyright: ignore[reportOverlappingOverload]  (a dictionary is Any)
    checkpoints: Checkpoint | Iterable[Checkpoint],
    prompts: Any,
    *,
    dictionary: list[AnyDictionary],
    features: Sequence[int] | None = None,
    position: Position = "last",
    where: Iterable[str] = WHERE,
    outlier: float = SINK,
    fvu: bool = True,
    device: object = None,
    dtype: str = FULL,
    batch: Batch = AUTO,
) -> list[xr.Dataset]: ...
@overload
def features(
    checkpoints: Checkpoint | Iterable[Checkpoint],
    prompts: Any,
    *,
    dictionary: AnyDictionary,
    features: Sequence[int] | None = None,
    position: Position = "last",
    where: Iterable[str] = WHERE,
    outlier: float = SINK,
    fvu: bool = True,
    device: object = None,
    dtype: str = FULL,
    batch: Batch = AUTO,
) -> xr.Dataset: ...
def features(
    checkpoints: Checkpoint | Iterable[Checkpoint],
    prompts: Any,
    *,
    dictionary: AnyDictionary | list[AnyDictionary],
    features: Sequence[int] | None = None,
    position: Position = "last",
    where: Iterable[str] = WHERE,
    outlier: float = SINK,
    fvu: bool = True,
    device: object = None,
    dtype: str = FULL,
    batch: Batch = AUTO,
) -> xr.Dataset | list[xr.Dataset]:
    """Features that each prompt activates, in each checkpoint.

    The dictionary is the same for every checkpoint; whether it still describes a finetuned one is
    what ``fvu`` says.

    Args:
        checkpoints: A checkpoint, a trajectory or any iterable of checkpoints with distinct labels.
        prompts: A probes or prompts table (named by ``prompt``), a corpus table (named by
            ``doc``), or anything that ``readers.read`` takes.
        dictionary: Its ``hook`` says where residuals are read. An ``SAE`` of SAELens or the path
            of a folder is one too. Several in a list, of any hooks, are read in one run.
        features: Indices of those that are kept, in each dictionary; all by default.
        position: As in ``activations``; "mean" is the mean of the features over the tokens.
        where: Roles of these tokens, as in ``activations``.
        outlier: Longest residual among them, as in ``activations``.
        fvu: Whether the fraction unexplained is measured. Without it the chosen features alone are
            computed (``encode_features``), and it is NaN: ask ``fidelity_at`` whether the
            dictionary can be believed.
        device: Where to compute; by default "cuda" where there is one.
        dtype: "float32", "bfloat16", or "auto" for whichever is faster here.
        batch: Tokens a forward pass, padding included; "auto": what fits into memory.

    Returns:
        Dataset with ``act``, dims (checkpoint, prompt, feature), float32, in the units of the
        dictionary, and ``fvu``, dims (checkpoint, prompt), a fraction: squared reconstruction error
        at the positions read over their squared distance from ``dictionary.mean``, the mean
        residual the dictionary was trained on. That origin is the same for every checkpoint; fvu is
        0 for a perfect dictionary and 1 for one that always answers the mean. At position "all" dim
        ``token`` takes the place of ``prompt``. Coordinates and attributes as in ``activations``,
        and the attributes dictionary, dictionary_hash. Several dictionaries give a list of these.

    Raises:
        SchemaError: An empty table, repeated names or labels, an unknown position or role, a prompt
            without such tokens, an outlier below 1, a feature that the dictionary does not have, or
            an array of more than 8 GiB.
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
    is_one = not isinstance(dictionary, list)
    several = [as_dictionary(one) for one in ([dictionary] if is_one else dictionary)]
    chosen = [check_features(features, one) for one in several]
    datasets = reduce_residuals(
        checkpoints,
        prompts,
        kind="features",
        reads=[
            feature_read(one, indices, fvu=fvu, position=position)
            for one, indices in zip(several, chosen, strict=True)
        ],
        position=position,
        where=where,
        outlier=outlier,
        device=device,
        dtype=dtype,
        batch=batch,
    )
    datasets = [
        name_features(data, one, indices)
        for data, one, indices in zip(datasets, several, chosen, strict=True)
    ]
    return datasets[0] if is_one else datasets


def feature_read(
    dictionary: Dictionary, chosen: list[int], *, fvu: bool, position: Position
) -> tuple[str, Reduce]:
    """Where features of a dictionary are read, and how.

    Args:
        dictionary: The dictionary.
        chosen: Indices of the features that are kept.
        fvu: As of ``features``.
        position: As of ``features``.

    Returns:
        One of the ``reads`` of ``reduce_residuals``.
    """
    encode_rows = row_encoder(dictionary, chosen, fvu=fvu)

    def reduce(acts: Tensor, sizes: Tensor) -> dict[str, Tensor]:
        return encode_rows(acts, None if position == ALL else sizes)

    return dictionary.hook, reduce


def name_features(data: xr.Dataset, dictionary: Dictionary, chosen: list[int]) -> xr.Dataset:
    """The features that were read, with their indices and whose they are.

    Args:
        data: What ``reduce_residuals`` gave.
        dictionary: The dictionary.
        chosen: Indices of the features that were kept.

    Returns:
        A Dataset as of ``features``.
    """
    return data.assign_coords(feature=chosen).assign_attrs(_dictionary_attrs(dictionary))


def encode(
    acts: xr.Dataset,
    *,
    dictionary: AnyDictionary,
    features: Sequence[int] | None = None,
    fvu: bool = True,
    device: object = None,
) -> xr.Dataset:
    """Features that recorded residuals activate; no model is run again.

    Args:
        acts: Dataset of ``activations`` at the dictionary's hook, of single tokens: position
            "last", an index or "all".
        dictionary: Any dictionary; another one of the same hook reads the same residuals.
        features: Indices of those that are kept; all by default.
        fvu: As in ``features``.
        device: Where to compute; by default "cuda" where there is one.

    Returns:
        What ``features`` gives on the same prompts.

    Raises:
        SchemaError: No activations, another hook, a position that is a mean, or a feature that the
            dictionary does not have.

    >>> import numpy as np
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
    unit = "token" if "token" in getattr(acts, "dims", ()) else "prompt"
    kind = "heads" if "head" in getattr(acts, "dims", ()) else "activations"
    schema.check(acts, kind if unit == "prompt" else f"token_{kind}")
    dictionary = as_dictionary(dictionary)
    chosen = check_features(features, dictionary)
    _check_origin(acts, dictionary)
    shape = (acts.sizes["checkpoint"], acts.sizes[unit])
    rows = torch.as_tensor(acts["act"].to_numpy()).reshape(shape[0] * shape[1], -1)
    rows = rows.to(resolve_device(device))
    values = row_encoder(dictionary, chosen, fvu=fvu)(rows)
    own = "features" if unit == "prompt" else "token_features"
    data = {}
    for name, dims in schema.DATASETS[own].items():
        array = values[name].cpu().numpy()
        data[name] = (dims, array.reshape(*shape, *array.shape[1:]))
    widths = {"d_model", "head", "d_head"}
    coords = {name: c for name, c in acts.coords.items() if not widths & {*c.dims}}
    table = xr.Dataset(data, coords=coords).assign_coords(feature=chosen)
    attrs = {**acts.attrs, "kind": own, **_dictionary_attrs(dictionary)}
    return table.assign_attrs(attrs)


def _check_origin(acts: xr.Dataset, dictionary: Dictionary) -> None:
    """Refuse activations of another hook than the dictionary's, and means."""
    hook, position = str(acts.attrs.get("hook", "")), acts.attrs.get("position")
    # what an older name means only the model can tell: they stand beside the activations
    names = {hook, *str(acts.attrs.get("older_names", "")).split()}
    if dictionary.hook not in names or position in (None, MEAN, ANSWER):
        raise SchemaError(
            f"{dictionary.name} reads {dictionary.hook} at single tokens; these activations are "
            f"of {hook} at {position!r}. Record them alike, or use features()."
        )


def row_encoder(dictionary: Dictionary, chosen: list[int], *, fvu: bool) -> RowEncoder:
    """What reads features of residuals, and how much of these the dictionary leaves unexplained.

    Args:
        dictionary: The dictionary.
        chosen: Indices of the features that are kept.
        fvu: Whether the latter is measured, which takes all features; else it is NaN.

    Returns:
        A function of residuals, dims (token, d_model), and of the tokens of each prompt, prompt
        behind prompt, dims (prompt,), over which numbers are means; without them each token has
        its own. It returns act, dims (token or prompt, feature), and fvu, dims (token or prompt),
        and raises ModelError where the dictionary reads another width.
    """
    encoder = FeatureEncoder(dictionary, chosen)

    @torch.inference_mode()
    def read(acts: Tensor, sizes: Tensor | None = None) -> dict[str, Tensor]:
        if fvu:
            return _encode_all(acts, dictionary, chosen, sizes)
        check_width(dictionary, acts, dictionary.hook)
        feats = encoder.encode(acts)
        if sizes is not None:
            own = sizes.to(feats.device)
            feats = sum_rows(feats, own) / own.to(feats)[:, None]
        return {"act": feats, "fvu": feats.new_full(feats.shape[:-1], float("nan"))}

    return read


def _encode_all(
    acts: Tensor, dictionary: Dictionary, chosen: list[int], sizes: Tensor | None
) -> dict[str, Tensor]:
    """Chosen features, and what all of them leave unexplained."""
    acts, sums = bring(acts, dictionary), []
    stops = None if sizes is None else sizes.to(acts.device).cumsum(0)
    most = max(1, MOST // len(dictionary.W_dec))
    for start in range(0, len(acts), most):
        rows = acts[start : start + most]
        check_width(dictionary, rows, dictionary.hook)
        feats = dictionary.encode(rows)
        error = (rows - dictionary.decode(feats)).pow(2).sum(-1)
        total = (rows - dictionary.mean).pow(2).sum(-1)
        if len(chosen) < feats.shape[-1]:
            feats = feats[:, chosen]
        columns = (feats, error, total)
        if stops is not None:
            # the tokens of each prompt among these rows, for most prompts none
            own = (stops - start).clamp(0, len(rows)).diff(prepend=stops.new_zeros(1))
            columns = tuple(sum_rows(column, own) for column in columns)
        sums.append(columns)
    if sizes is None:
        feats, error, total = (torch.cat(column) for column in zip(*sums, strict=True))
        return {"act": feats, "fvu": error / total}
    feats, error, total = (torch.stack(column).sum(0) for column in zip(*sums, strict=True))
    return {"act": feats / sizes.to(feats)[:, None], "fvu": error / total}


def _dictionary_attrs(dictionary: Dictionary) -> dict[str, str]:
    return {"dictionary": dictionary.name, "dictionary_hash": hash_dictionary(dictionary)}
