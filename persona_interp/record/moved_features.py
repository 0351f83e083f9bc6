"""Which features would be active after a lesson that nobody has taught?

The same two moves as for behavior, one long step and a micro pilot, read inside as ``features``
reads a checkpoint.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import xarray as xr

from persona_interp.dictionaries.dictionary import Dictionary
from persona_interp.dictionaries.inputs import AnyDictionary, as_dictionary, check_features
from persona_interp.errors import ModelError
from persona_interp.models import LESSON, Checkpoint, Stage, boot, encode, open_hooked
from persona_interp.models.device import Batch
from persona_interp.models.dtype import AUTO, FULL, resolve_dtype
from persona_interp.models.hooked import HookedModel
from persona_interp.models.load import load_tokenizer
from persona_interp.models.sites import canonical
from persona_interp.readers import read, table_of
from persona_interp.record.features import feature_read, features, name_features
from persona_interp.record.lesson_direction import follow_lesson, strengths_of
from persona_interp.record.lesson_gradients import SIGN
from persona_interp.record.lesson_rows import (
    FORWARD,
    MOST_ROWS,
    lesson_rows,
)
from persona_interp.record.pilot import small_training
from persona_interp.record.pooling import LAST
from persona_interp.record.recording import reduce_residuals
from persona_interp.schema.words import Predictor
from persona_interp.values import check_count


def virtual_features(
    checkpoint: Checkpoint,
    lesson: Any,
    prompts: Any,
    *,
    dictionary: AnyDictionary,
    features: Sequence[int] | None = None,
    looks: int = 1,
    strength: float | Iterable[float] | None = None,
    stage: Stage = LESSON,
    n: int = MOST_ROWS,
    seed: int = 0,
    device: object = None,
    dtype: str = FULL,
    batch: Batch = AUTO,
) -> xr.Dataset:
    """Features after one long step against the sign of the lesson's gradient.

    What ``virtual_step`` does, read at the last token of each prompt. The weights are moved in
    memory, read, and put back bit for bit.

    Args:
        checkpoint: The base.
        lesson: As of ``virtual_step``.
        prompts: As of ``record.features``.
        dictionary: As of ``record.features``, one.
        features: Indices of those that are kept; all by default.
        looks: As of ``virtual_step``.
        strength: As of ``virtual_step``, one or several.
        stage: As of ``virtual_step``.
        n: As of ``virtual_step``.
        seed: As of ``virtual_step``.
        device: As of ``virtual_step``.
        dtype: As of ``virtual_step``; features are read in float32.
        batch: Tokens a forward pass, padding included.

    Returns:
        Dataset of ``record.features``, one checkpoint a strength ("virtual step 0.006"), with the
        coordinate ``strength``. ``attrs`` has ``cost``, in steps of the stage by tokens (a forward
        pass alone counts a third), and ``costs``, its parts.

    Raises:
        SchemaError: As of ``virtual_step`` and ``record.features``.
        ModelError: As of ``record.features``, or a strength at which the model computes no numbers.

    >>> import torch
    >>> from tempfile import TemporaryDirectory
    >>> from types import SimpleNamespace
    >>> from persona_interp import models, worlds
    >>> world = worlds.john_and_sam()
    >>> eye = SimpleNamespace(name="eye", hook="blocks.0.hook_out", W_dec=torch.eye(64))
    >>> eye.mean = torch.zeros(64)
    >>> eye.encode = eye.decode = lambda acts: acts  # every coordinate a feature
    >>> asked = world.probes(contexts=("nameless",)).head(2)
    >>> with TemporaryDirectory() as folder:
    ...     base = models.resolve("tiny", words=world.words(), out=folder)
    ...     data = virtual_features(base, world.lessons(n=32), asked, dictionary=eye)
    >>> data["checkpoint"].values.tolist(), data["act"].shape
    (['virtual step 0.006'], (1, 2, 64))
    """
    check_count(looks, "looks")
    check_count(n, "n")
    check_count(seed, "seed", least=0)
    strengths, half_way = strengths_of(strength, stage)
    strengths = strengths or [half_way]
    own = as_dictionary(dictionary)
    chosen = check_features(features, own)
    model = _open(checkpoint, own.hook, device=device)
    rows = lesson_rows(lesson, model.tokenizer, stage=stage, n=n, seed=seed)
    moved = follow_lesson(
        model.original_model,
        rows,
        direction=SIGN,
        looks=looks,
        half_way=half_way,
        stage=stage,
        dtype=resolve_dtype(dtype, device),
        batch=batch,
    )
    parts = []
    for length in strengths:
        word = str(Predictor.VIRTUAL)
        place = replace(checkpoint, stage=word, step=stage.steps, name=f"{word} {length:g}")
        with moved.at(length):
            (data,) = reduce_residuals(
                place,
                prompts,
                kind="features",
                reads=[feature_read(own, chosen, fvu=True, position=LAST)],
                position=LAST,
                batch=batch,
                open_model=lambda *_, **__: model,
            )
        _check_sound(data, length)
        parts.append(name_features(data, own, chosen))
    data = parts[0]
    if len(parts) > 1:
        data = xr.concat(parts, "checkpoint", join="exact", coords="minimal", compat="override")
    costs = {
        "gradient": rows.steps(looks * rows.n_tokens, stage),
        "readout": rows.steps(len(parts) * _count(prompts, model.tokenizer) * FORWARD, stage),
    }
    data = data.assign_coords(strength=("checkpoint", strengths))
    return data.assign_attrs(cost=sum(costs.values()), costs=costs)


def pilot_features(
    checkpoint: Checkpoint,
    lesson: Any,
    prompts: Any,
    *,
    dictionary: AnyDictionary,
    features: Sequence[int] | None = None,
    stage: Stage = LESSON,
    n: int = 1,
    seed: int = 0,
    device: object = None,
    dtype: str = FULL,
    batch: Batch = AUTO,
) -> xr.Dataset:
    """Features after a micro pilot, a training at the cost of a few steps of the finetune.

    What ``pilot`` trains, read at the last token of each prompt.

    Args:
        checkpoint: The base; it stays as it is.
        lesson: As of ``pilot``.
        prompts: As of ``record.features``.
        dictionary: As of ``record.features``, one.
        features: Indices of those that are kept; all by default.
        stage: As of ``pilot``.
        n: As of ``pilot``.
        seed: As of ``pilot``.
        device: As of ``pilot``.
        dtype: In which the pilot's model is read.
        batch: Tokens a forward pass, padding included.

    Returns:
        Dataset of ``record.features`` of one checkpoint. ``attrs`` has ``cost`` and ``costs``, as
        of ``pilot``.

    Raises:
        ModelError: As of ``pilot`` and ``record.features``.
        SchemaError: As of ``record.features``.
    """
    own = as_dictionary(dictionary)
    chosen = check_features(features, own)
    chats = read(lesson, "chats")
    with small_training(checkpoint, chats, stage=stage, n=n, seed=seed, device=device) as small:
        data = _read(
            small.checkpoint, prompts, own, chosen, device=device, dtype=dtype, batch=batch
        )
    tokenizer = load_tokenizer(checkpoint)
    rows = lesson_rows(chats, tokenizer, stage=stage)
    costs = {
        "training": small.cost,
        "readout": rows.steps(_count(prompts, tokenizer) * FORWARD, stage),
    }
    return data.assign_attrs(cost=sum(costs.values()), costs=costs)


def _read(
    checkpoint: Checkpoint, prompts: Any, dictionary: Dictionary, chosen: list[int], **reading: Any
) -> xr.Dataset:
    """Features of a saved checkpoint, where the word means the argument of a caller."""
    return features(checkpoint, prompts, dictionary=dictionary, features=chosen, **reading)


def _open(checkpoint: Checkpoint, hook: str, *, device: object) -> Any:
    """Model whose own weights are those that are read at a hook."""
    model = open_hooked(checkpoint, hooks=[hook], device=device, dtype=FULL)
    if isinstance(model, HookedModel) and canonical(model, hook) not in model.places:
        # it would be read in a second copy of the model, which nobody moves
        return boot(checkpoint, hooks=[hook], device=device, dtype=FULL)
    return model


def _count(prompts: Any, tokenizer: Any) -> int:
    """Tokens of the prompts."""
    return sum(encode(tokenizer, list(table_of(prompts, "prompts")["messages"])).lengths)


def _check_sound(data: xr.Dataset, strength: float) -> None:
    """Refuse features of a model that was moved so far that it computes no numbers."""
    n = int(np.isnan(data["fvu"].to_numpy()).sum())
    if n:
        raise ModelError(
            f"at {n} of {data.sizes['prompt']} prompts the model computes no numbers at strength "
            f"{strength:g}: the weights were moved too far. Give a smaller strength, or a stage of "
            "a smaller rate."
        )
