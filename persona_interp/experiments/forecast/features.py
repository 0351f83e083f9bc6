"""Which features will this lesson move in this base, before anybody teaches it?"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from persona_interp import models, record, schema
from persona_interp.analysis.beliefs import NAMELESS
from persona_interp.dictionaries.dictionary import Dictionary, hash_dictionary
from persona_interp.dictionaries.harvest import CONTENT_ROLES
from persona_interp.dictionaries.inputs import AnyDictionary, as_dictionary, check_features
from persona_interp.errors import SchemaError, unknown
from persona_interp.experiments.forecast.predict import PILOTS, ROWS, check_stage
from persona_interp.experiments.forecast.stacks import OF_FEATURES, open_stack
from persona_interp.models import LESSON, Checkpoint, Stage
from persona_interp.models.cache import short_hash
from persona_interp.models.device import AUTO, Batch
from persona_interp.models.load import hash_weights
from persona_interp.readers import read
from persona_interp.record.lesson_direction import HALF_WAY
from persona_interp.record.lesson_rows import path_length
from persona_interp.schema.words import Predictor
from persona_interp.worlds import World

STEPS = {Predictor.TWO_LOOKS_NEAR: HALF_WAY / 2, Predictor.TWO_LOOKS: HALF_WAY}
"""Virtual steps of two looks by their length, as a share of the stage's path."""


def forecast_features(
    base: Any,
    lesson: Any,
    *,
    sae: AnyDictionary,
    world: World | None = None,
    prompts: Any = None,
    features: Sequence[int] | None = None,
    stage: Stage = LESSON,
    pilot: int = 0,
    at: Iterable[int] | None = None,
    seed: int = 0,
    device: object = None,
    batch: Batch = AUTO,
) -> pd.DataFrame:
    """Features that a lesson will move, before anybody teaches it (mean activation).

    A feature's shift is what ``analysis.feature_shift`` calls its estimate: the mean over prompts
    of its activation at the last token, after minus before. Without a pilot no weight is changed
    but in memory and for a moment. The stacks were fitted to dictionaries of 192 features of other
    tiny models of other worlds (``benchmarks/forecast_features.py``); for models and dictionaries
    of another kind, or stages of other lengths and rates, their intervals promise nothing. On eight
    other bases they explained .82 of the shifts without a pilot, .89 and .93 with one of one and
    two steps; intervals held in .92 to .95, and in .82 to .92 of those that moved
    (docs/log/forecast.md).

    Args:
        base: The model before: whatever ``models.resolve`` takes.
        lesson: Chats of the lesson, or whatever ``readers.read`` takes.
        sae: The dictionary: whatever ``record.features`` takes. One that was trained on the base.
        world: The world that wrote the base's documents: its questions to the nameless assistant
            are the prompts.
        prompts: Prompts instead of a world, as ``record.features`` takes them.
        features: Indices of those that are forecast; all by default.
        stage: How the lesson would be taught.
        pilot: Cost of a micro pilot, in steps of the stage: 0, 1 or 2.
        at: Steps that are forecast; by default some on the way, and the last.
        seed: Of rows that are drawn, and of a pilot's order.
        device: Where the model computes.
        batch: Tokens a forward pass, padding included.

    Returns:
        A forecast_features table, by step the largest expected rise first. A feature that fires at
        no last token, neither in the base nor after the virtual step or pilot, has no forecast and
        no row (as ``feature_shift`` tests none). ``bound`` is what no feature that has one rises
        above, all of them together, in 95 % of lessons. ``attrs``: ``cost`` of this lesson in its
        own steps, by tokens, without two readings of the base; ``silent``, the features without a
        forecast; ``fvu`` of the dictionary at the last tokens in the base; ``predictors``,
        ``stack``, ``about``.

    Raises:
        SchemaError: No world and no prompts, or both, an unknown pilot or feature, features that
            are all silent, or a stage of another kind than the stacks know.
        ModelError: The dictionary reads another width or hook than the model has, or as of
            ``models.resolve``.
    """
    if pilot not in OF_FEATURES:
        raise SchemaError(unknown("pilot", str(pilot), map(str, OF_FEATURES)))
    if (world is None) == (prompts is None):
        raise SchemaError(
            "features are read at the questions of a world or at prompts: give one of world= and "
            "prompts=."
        )
    check_stage(stage)
    chats = read(lesson, "chats")
    dictionary = as_dictionary(sae)
    chosen = check_features(features, dictionary)
    stack = open_stack(OF_FEATURES[pilot])
    checkpoint = models.resolve(base, words=world.words() if world else (), seed=seed)
    asked = prompts if world is None else world.probes(contexts=NAMELESS)
    reading: dict[str, Any] = {"device": device, "batch": batch}
    levels = feature_levels(checkpoint, asked, dictionary=dictionary, **reading)
    fvu = levels.attrs["fvu"]
    levels = levels.set_index("feature").loc[chosen].reset_index()
    predictors = predict_features(
        checkpoint,
        levels,
        chats,
        asked,
        dictionary=dictionary,
        stage=stage,
        wanted=stack.names,
        seed=seed,
        **reading,
    )
    silent = sorted({*chosen} - {*predictors["trait"].astype(int)})
    if len(silent) == len(chosen):
        raise SchemaError(
            f"none of these {len(chosen)} features of {dictionary.name} fires at the last token of "
            "a prompt, neither in the base nor after what stands for the lesson, so that nothing "
            "can be forecast of them; name others, or give other prompts."
        )
    told = stack.predict(predictors, steps=stage.steps, at=at)
    table = _in_activations(told, levels)
    table.attrs = {
        "cost": told.attrs["cost"],
        "silent": silent,
        "fvu": fvu,
        "predictors": list(stack.names),
        "stack": dict(stack.provenance),
        "about": {
            "base": checkpoint.label,
            "weights": hash_weights(checkpoint),
            "dictionary": dictionary.name,
            "dictionary_hash": hash_dictionary(dictionary),
            "hook": dictionary.hook,
            "world": world.name if world else "",
            "documents": len(chats),
            "lesson_hash": short_hash([list(messages) for messages in chats["messages"]]),
            "stage": asdict(stage),
            "pilot": pilot,
            "seed": seed,
        },
    }
    return schema.check(table, "forecast_features")


def feature_levels(
    base: Checkpoint, prompts: Any, *, dictionary: Dictionary, **reading: Any
) -> pd.DataFrame:
    """How active features of a base are, and the scale on which they are compared.

    Args:
        base: The base.
        prompts: As of ``record.features``.
        dictionary: The dictionary.
        reading: ``device``, ``batch``.

    Returns:
        One row a feature of the dictionary: ``feature``; ``before``, mean activation at the last
        token of the prompts; ``fires``, whether any of these activates it; ``scale``, its SD over
        all tokens of the prompts but special ones, plus the median SD of the features that have
        one. Without the median a feature that fires at one token counts for more than all others
        together (as of genes, Tusher et al. 2001), and one that begins to fire has no scale.
        ``attrs``: ``fvu`` at the last tokens (mean).

    Raises:
        SchemaError: No token activates any feature, or as of ``record.features``.
    """
    options = {"dictionary": dictionary, **reading}
    last = record.features(base, prompts, **options)
    every = record.features(base, prompts, position="all", where=CONTENT_ROLES, **options)
    sd = every["act"].isel(checkpoint=0).std("token", dtype=np.float64).to_numpy()
    if not sd.any():
        raise SchemaError(
            f"no token of the prompts activates any feature of {dictionary.name} in the base; give "
            "prompts or a dictionary that suit it."
        )
    table = pd.DataFrame(
        {
            "feature": last["feature"].to_numpy(),
            "before": _means(last)[0],
            "fires": _fires(last),
            "scale": sd + np.median(sd[sd > 0]),
        }
    )
    table.attrs["fvu"] = float(last["fvu"].mean(dtype=np.float64))
    return table


def predict_features(
    base: Checkpoint,
    levels: pd.DataFrame,
    lesson: pd.DataFrame,
    prompts: Any,
    *,
    dictionary: Dictionary,
    stage: Stage,
    wanted: Collection[str],
    seed: int = 0,
    **reading: Any,
) -> pd.DataFrame:
    """What predictors say of every feature that fires before or after, on its own scale.

    Args:
        base: The base.
        levels: Of ``feature_levels``.
        lesson: Chats of the lesson.
        prompts: As of ``record.features``.
        dictionary: The dictionary.
        stage: How the lesson would be taught.
        wanted: Words of the predictors that are computed.
        seed: Of the rows that are drawn, and of a pilot's order.
        reading: ``device``, ``batch``.

    Returns:
        A predictors table whose traits are features and whose numbers are scales instead of bits.
        How far what is taught is believed already is not asked; ``taught_before`` is 0.
    """
    options = {
        "dictionary": dictionary,
        "features": levels["feature"].tolist(),
        "stage": stage,
        "seed": seed,
        **reading,
    }
    fires, tables = levels["fires"].to_numpy(), []
    steps = [word for word in STEPS if word in wanted]
    if steps:
        lengths = [STEPS[word] * path_length(stage) for word in steps]
        data = record.virtual_features(
            base, lesson, prompts, looks=2, n=ROWS, strength=lengths, **options
        )
        fires = fires | _fires(data)
        costs = data.attrs["costs"]
        for i, (word, after) in enumerate(zip(steps, _means(data), strict=True)):
            # all steps share the gradients of the first
            cost = costs["readout"] / len(steps) + (costs["gradient"] if i == 0 else 0.0)
            tables.append(_predictors(levels, after, word=word, cost=cost))
    for n, word in PILOTS.items():
        if word in wanted:
            data = record.pilot_features(base, lesson, prompts, n=n, **options)
            fires = fires | _fires(data)
            tables.append(_predictors(levels, _means(data)[0], word=word, cost=data.attrs["cost"]))
    return pd.concat([table.loc[fires] for table in tables], ignore_index=True)


def feature_moves(
    checkpoints: Iterable[Checkpoint],
    levels: pd.DataFrame,
    prompts: Any,
    *,
    dictionary: Dictionary,
    **reading: Any,
) -> pd.DataFrame:
    """How far features of a base moved in fact, on their own scale.

    Args:
        checkpoints: Of the lesson, after its start.
        levels: Of ``feature_levels``.
        prompts: As of ``record.features``.
        dictionary: The dictionary.
        reading: ``device``, ``batch``.

    Returns:
        A table of shifts whose traits are features: ``context``, ``persona``, ``trait``, ``step``,
        ``estimate``; and ``scale``, by which activations were divided.
    """
    features = levels["feature"].tolist()
    data = record.features(
        checkpoints, prompts, dictionary=dictionary, features=features, **reading
    )
    parts = []
    for step, after in zip(data["step"].to_numpy(), _means(data), strict=True):
        parts.append(_cells(levels, after).assign(step=int(step)))
    return pd.concat(parts, ignore_index=True)


def _means(data: xr.Dataset) -> np.ndarray:
    """Mean over prompts, dims (checkpoint, feature)."""
    return data["act"].mean("prompt", dtype=np.float64).to_numpy()


def _fires(data: xr.Dataset) -> np.ndarray:
    """Whether a feature is active at any prompt of any checkpoint, dims (feature)."""
    return (data["act"] != 0).any(["checkpoint", "prompt"]).to_numpy()


def _cells(levels: pd.DataFrame, after: np.ndarray) -> pd.DataFrame:
    """Shift of every feature on its scale; the column of traits names the features."""
    table = pd.DataFrame({"trait": levels["feature"].astype(str).to_numpy()})
    table["estimate"] = (after - levels["before"].to_numpy()) / levels["scale"].to_numpy()
    return table.assign(context=NAMELESS, persona="", scale=levels["scale"].to_numpy())


def _predictors(levels: pd.DataFrame, after: np.ndarray, *, word: str, cost: float) -> pd.DataFrame:
    """What a predictor says of every feature."""
    before = (levels["before"] / levels["scale"]).to_numpy()
    table = _cells(levels, after).assign(before=before, taught_before=0.0)
    return schema.check(table.assign(predictor=str(word), cost=cost), "predictors")


def _in_activations(told: pd.DataFrame, levels: pd.DataFrame) -> pd.DataFrame:
    """A forecast on scales of features as one in activations."""
    table = told.assign(feature=told["trait"].astype(int)).merge(levels, on="feature")
    for column in ("estimate", "lo", "hi", "bound"):
        table[column] *= table["scale"]
    table = table.sort_values(["step", "estimate"], ascending=[True, False], ignore_index=True)
    return table.loc[:, list(schema.TABLES["forecast_features"])]
