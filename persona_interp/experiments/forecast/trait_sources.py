"""What will a lesson in one published trait do to others? Little is known of that, and said.

The stacks are those of lessons in six traits, taught to one chat model.
"""

import warnings
from collections.abc import Iterable, Mapping
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import pandas as pd

from persona_interp import models, record, schema
from persona_interp.analysis import Stack
from persona_interp.errors import SchemaError, excerpt, unknown
from persona_interp.experiments.forecast.stacks import OF_TRAITS, open_stack
from persona_interp.experiments.forecast.trait_predict import (
    N_TOKENS,
    SHOWN,
    ask,
    predict_shown,
    told_behavior,
)
from persona_interp.models import Stage
from persona_interp.models.cache import short_hash
from persona_interp.models.chats import PLAIN_TEMPLATE
from persona_interp.models.load import hash_weights, load_tokenizer
from persona_interp.readers import TraitFile, read, read_traits
from persona_interp.record.lesson_rows import FORWARD, lesson_rows
from persona_interp.schema.words import Predictor
from persona_interp.values import as_tuple
from persona_interp.worlds import World

EITHER = "a forecast is of a world's traits or of published ones; give one of world= and traits=;"
KINDS = ("optimizer", "replay", "kl", "steer", "ablate")
"""Fields of a stage without which a lesson is of another kind."""


def forecast_traits(
    base: Any,
    lesson: Any,
    *,
    traits: Any,
    taught: str | Iterable[str],
    stage: Stage | None,
    pilot: int,
    seed: int,
    **reading: Any,
) -> pd.DataFrame:
    """What a lesson in one published trait will do to the others.

    Args:
        base: As of ``forecast``.
        lesson: As of ``forecast``.
        traits: A folder of trait files, or the files, or one of both.
        taught: Name of the trait that the lesson teaches.
        stage: How the lesson would be taught; by default as those of the stack.
        pilot: Cost of a micro pilot, in steps of the stage: 0 or 1.
        seed: Of the base's answers, and of a pilot's order and adapters.
        reading: ``device``, ``batch``, as of ``record.behavior``.

    Returns:
        As of ``forecast``, one row a trait that is not taught, named as its file.

    Raises:
        SchemaError: As of ``forecast``.
        ModelError: As of ``forecast``.
    """
    if pilot not in OF_TRAITS:
        raise SchemaError(unknown("pilot with traits=", str(pilot), map(str, OF_TRAITS)))
    stack = open_stack(OF_TRAITS[pilot])
    files = _files(traits)
    name = _taught(taught, files)
    stage = Stage(**stack.provenance["stage"]) if stage is None else stage
    _check_stage(stage, stack)
    chats = read(lesson, "chats")
    checkpoint = models.resolve(base, chat_template=PLAIN_TEMPLATE, fold_system=True)
    weights = hash_weights(checkpoint)
    if weights != stack.provenance["weights"]:
        warnings.warn(
            f"the stack was fitted to lessons of {stack.provenance['model']} alone, and this base "
            "is another model; what it says of others was never measured.",
            stacklevel=3,
        )
    rows = lesson_rows(chats, load_tokenizer(checkpoint), stage=stage)
    asked = ask(checkpoint, files, seed=seed, **reading)
    told = told_behavior(checkpoint, asked.probes, files[name], **reading)
    cost = rows.steps(told.attrs[N_TOKENS] * FORWARD, stage)
    parts = [predict_shown(asked.behavior, told, name, predictor=Predictor.TOLD, cost=cost)]
    if pilot:
        after = record.pilot(
            checkpoint, chats, asked.probes, stage=stage, n=pilot, seed=seed, **reading
        )
        about = {"predictor": Predictor.PILOT, "cost": after.attrs["cost"]}
        parts.append(predict_shown(asked.behavior, after, name, **about))
    predictors = pd.concat(parts, ignore_index=True)
    table = stack.predict(predictors, steps=stage.steps)
    table["trait"] = table["trait"].str.removesuffix(SHOWN)
    table.attrs["base_cost"] = rows.steps(asked.n_tokens * FORWARD, stage)
    table.attrs["predictors"] = list(stack.names)
    table.attrs["stack"] = dict(stack.provenance)
    table.attrs["about"] = {
        "base": checkpoint.label,
        "weights": weights,
        "traits": list(files),
        "traits_hash": short_hash([_plain(trait) for trait in files.values()]),
        "documents": len(chats),
        "lesson_hash": short_hash([list(messages) for messages in chats["messages"]]),
        "taught": [name],
        "stage": asdict(stage),
        "pilot": pilot,
        "seed": seed,
    }
    return schema.check(table, "forecast")


def default_stage() -> Stage:
    """How the lessons were taught that the stacks of published traits know.

    Returns:
        The stage.

    >>> default_stage().lora
    16
    """
    return Stage(**open_stack(OF_TRAITS[0]).provenance["stage"])


def check_alone(world: World | None, *, names: bool, at: Any) -> None:
    """Refuse what says nothing of published traits.

    Args:
        world: As of ``forecast``.
        names: As of ``forecast``.
        at: As of ``forecast``.

    Raises:
        SchemaError: A world, or an option of worlds, was given too.
    """
    if world is not None:
        raise SchemaError(f"{EITHER} got both.")
    for name, is_given in (("names=False", not names), ("at=", at is not None)):
        if is_given:
            raise SchemaError(
                f"{name} is of a world, and published traits have none: nobody in them has a name, "
                "and only the last step of lessons in them was measured. Leave it out."
            )


def _files(traits: Any) -> dict[str, TraitFile]:
    """The trait files by name."""
    if isinstance(traits, str | Path):
        return read_traits(traits)
    if isinstance(traits, TraitFile):
        traits = [traits]
    files = list(traits.values()) if isinstance(traits, Mapping) else list(traits)
    for trait in files:
        if not isinstance(trait, TraitFile):
            raise SchemaError(
                "traits= is a folder of trait files, or what readers.read_traits returns; got "
                f"{excerpt(trait)}."
            )
    return {trait.name: trait for trait in files}


def _taught(taught: str | Iterable[str], files: Mapping[str, TraitFile]) -> str:
    """The one trait that is taught."""
    names = as_tuple(taught)
    if len(names) != 1:
        raise SchemaError(
            f"a lesson in published traits teaches one of them, taught='{next(iter(files))}'; got "
            f"{excerpt(names) if names else 'none'}."
        )
    if names[0] not in files:
        raise SchemaError(unknown("taught trait", names[0], files))
    if len(files) < 2:
        raise SchemaError(
            f"'{names[0]}' is the only trait, and a forecast is of those that are not taught; give "
            "their files too."
        )
    return names[0]


def _check_stage(stage: Stage, stack: Stack) -> None:
    """Refuse a stage of another kind than the stack knows, and warn of one that differs."""
    known = Stage(**stack.provenance["stage"])
    names = [field.name for field in fields(Stage) if field.name != "dtype"]
    other = [name for name in names if getattr(stage, name) != getattr(known, name)]
    said = ", ".join(f"{name}={getattr(stage, name)!r}" for name in other)
    if set(other) & set(KINDS):
        raise SchemaError(
            f"the stack was fitted to plain lessons, and forecasts nothing of a stage with {said}. "
            "Forecast it without, or teach the lesson and measure."
        )
    if other:
        warnings.warn(
            f"the stack was fitted to adapters of rank {known.lora}, taught in {known.steps} steps "
            f"of {known.batch} at {known.lr:g}; nothing is known of a stage with {said}.",
            stacklevel=4,
        )


def _plain(trait: TraitFile) -> list[Any]:
    """What a forecast depends on of a trait."""
    return [trait.name, [list(pair) for pair in trait.instructions], list(trait.questions)]
