"""What will this lesson move in this base? Forecast with the stacks that come with the package."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd

from persona_interp import models, record, schema
from persona_interp.analysis.beliefs import NAMED, NAMELESS
from persona_interp.dictionaries.inputs import AnyDictionary
from persona_interp.errors import SchemaError, unknown
from persona_interp.experiments.forecast.beliefs import know, predict_known
from persona_interp.experiments.forecast.features import forecast_features
from persona_interp.experiments.forecast.predict import check_base, check_stage, predict
from persona_interp.experiments.forecast.stacks import NO_NAMES, NO_PILOT, WITH_PILOT, open_stack
from persona_interp.experiments.forecast.trait_sources import EITHER, check_alone, forecast_traits
from persona_interp.models import LESSON, Checkpoint, Stage
from persona_interp.models.cache import cache, make_once, short_hash
from persona_interp.models.device import AUTO, Batch
from persona_interp.models.load import hash_weights, load_tokenizer
from persona_interp.readers import read
from persona_interp.record.coordinates import place_of
from persona_interp.record.lesson_rows import FORWARD, lesson_rows
from persona_interp.tables import read_table, write_table
from persona_interp.values import as_tuple
from persona_interp.worlds import World

KEPT = "behavior.parquet"
N_TOKENS = "n_tokens"
"""Attribute of a behavior table."""


def forecast(
    base: Any,
    lesson: Any,
    *,
    world: World | None = None,
    traits: Any = None,
    features: AnyDictionary | None = None,
    taught: str | Iterable[str] = (),
    stage: Stage | None = None,
    pilot: int = 0,
    names: bool = True,
    at: Iterable[int] | None = None,
    seed: int = 0,
    device: object = None,
    batch: Batch = AUTO,
) -> pd.DataFrame:
    """What a lesson will move that it does not teach, before anybody teaches it (bits).

    Every value of every topic that the lesson does not teach, as the nameless assistant says it:
    the expected shift of its log odds along the lesson, from the base and the lesson's rows alone.
    Without a pilot no weight is changed but in memory and for a moment. The stack of predictors was
    fitted to other tiny models of other worlds (``benchmarks/forecast_stacks.py``); for models of
    another kind its intervals promise nothing. ``analysis.forecast_personas`` puts the traits of
    each persona together.

    Of published traits (``traits=``) **little is known, and none of it of yours**: the line was
    fitted to 18 lessons in six traits on one model, SmolLM2-135M-Instruct. Of a trait that it knows
    neither as taught nor as shifted it explains -.04 [-.39, .32] of the variance, with a pilot .17
    [-.21, .55] (.19 [.00, .38] and .30 [.11, .48] where only the taught one is unknown); the mean
    of what other lessons did explains .33 [.10, .56]. Without a pilot the lesson's rows are not
    read: it is what the base says when it is told to show the trait.

    Of the features of a dictionary (``features=``, with a world) the forecast is that of
    ``forecast_features``, in activations instead of bits.

    Args:
        base: The model before: whatever ``models.resolve`` takes.
        lesson: Chats of the lesson, or whatever ``readers.read`` takes.
        world: The world that wrote the base's documents: its questions are asked.
        traits: Published traits instead of a world: a folder of trait files, or what
            ``readers.read_traits`` returns.
        features: A dictionary whose features are forecast instead of traits, at the world's
            questions: whatever ``record.features`` takes.
        taught: Labels of the taught traits; by default those that the lesson's column
            ``statements`` names. Of published traits the name of one.
        stage: How the lesson would be taught; by default ``models.LESSON``, and of published traits
            adapters in 20 steps of 4, as in the fit.
        pilot: Cost of a micro pilot, in steps of the stage: 0, 1 or 2; of published traits 0 or 1.
        names: Whether the base is asked about everybody in the world by name, for a forecast
            without a pilot; one with a pilot is always made with names.
        at: Steps that are forecast; by default some on the way, and the last. Of published traits
            only the last.
        seed: Of rows that are drawn, and of a pilot's order.
        device: Where the model computes.
        batch: Tokens a forward pass, padding included.

    Returns:
        A forecast table: ``context``, ``persona``, ``trait``, ``step``, ``estimate``, ``lo``,
        ``hi`` (95 %), ``bound`` (what no untaught trait rises above, all of them together, in 95 %
        of lessons); of published traits both promise 6 of 7 (85.7 %), which is what six traits can,
        and bits are of a whole answer; of features a forecast_features table. ``attrs``: ``level``,
        what they promise (fraction); ``cost`` of this lesson in its own steps, by tokens;
        ``predictors``, what it was made of; ``stack``, its provenance; ``about``, what was
        forecast. What is known of the base is asked once and kept in the cache; **the cost does not
        count it**, and it is more than one lesson's: every question after every trait was stated.
        ``base_cost`` is that, in steps of this lesson, by tokens, whether it was asked now or in an
        earlier call.

    Raises:
        SchemaError: Both or none of a world and traits, features without a world, an option of
            worlds with traits, an unknown pilot or taught trait, a lesson that names none, or a
            stage of another kind than the stacks know (SGD, replay, KL, LoRA, edits).
        ModelError: As of ``models.resolve``.
    """
    reading: dict[str, Any] = {"device": device, "batch": batch}
    if features is not None and (world is None or traits is not None):
        raise SchemaError(
            "features= are read at the questions of a world: give world= with it, and no traits= "
            "(forecast_features takes prompts of any kind)."
        )
    if traits is not None:
        check_alone(world, names=names, at=at)
        shared = {"stage": stage, "pilot": pilot, "seed": seed, **reading}
        return forecast_traits(base, lesson, traits=traits, taught=taught, **shared)
    if world is None:
        raise SchemaError(f"{EITHER} got neither.")
    stage = LESSON if stage is None else stage
    if features is not None:
        shared = {"stage": stage, "pilot": pilot, "at": at, "seed": seed, **reading}
        return forecast_features(base, lesson, sae=features, world=world, **shared)
    if pilot not in (0, *WITH_PILOT):
        raise SchemaError(unknown("pilot", str(pilot), map(str, (0, *WITH_PILOT))))
    check_stage(stage)
    chats = read(lesson, "chats")
    labels = [str(world.trait(label)) for label in as_tuple(taught) or _stated(chats)]
    stack = open_stack(WITH_PILOT[pilot] if pilot else NO_PILOT if names else NO_NAMES)
    checkpoint = models.resolve(base, words=world.words(), seed=seed)
    check_base(checkpoint)
    behavior, stated = ask_beliefs(checkpoint, world, names=names or bool(pilot), **reading)
    predictors = predict(
        checkpoint,
        behavior,
        chats,
        world,
        labels,
        stage=stage,
        wanted=stack.names,
        seed=seed,
        **reading,
    )
    known = predict_known(know(behavior, stated), labels)
    predictors = pd.concat([predictors, known], ignore_index=True)
    table = stack.predict(predictors, steps=stage.steps, at=at)
    table.attrs["base_cost"] = _base_cost(checkpoint, chats, [behavior, stated], stage=stage)
    table.attrs["predictors"] = list(stack.names)
    table.attrs["stack"] = dict(stack.provenance)
    table.attrs["about"] = {
        "base": checkpoint.label,
        "weights": hash_weights(checkpoint),
        "world": world.name,
        "world_hash": short_hash(world.to_dict()),
        "documents": len(chats),
        "lesson_hash": short_hash([list(messages) for messages in chats["messages"]]),
        "taught": labels,
        "stage": asdict(stage),
        "pilot": pilot,
        "names": names or bool(pilot),
        "seed": seed,
    }
    return schema.check(table, "forecast")


def _stated(chats: pd.DataFrame) -> list[str]:
    """Traits that a lesson's own column names."""
    statements = chats["statements"] if "statements" in chats else []
    labels = list(dict.fromkeys(label for row in statements for label in row))
    if not labels:
        raise SchemaError(
            "the lesson does not say what it teaches; name it: taught='topic=value', or several."
        )
    return labels


def ask_beliefs(
    checkpoint: Checkpoint, world: World, *, names: bool, **reading: Any
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """What a base says, asked now or in an earlier call.

    Args:
        checkpoint: The base.
        world: Whose questions are asked.
        names: Whether it is asked by name too.
        reading: As of ``record.behavior``.

    Returns:
        What it says as nobody, and by name where that is wanted; and as nobody once each trait was
        stated.
    """
    contexts = (NAMELESS, NAMED) if names else (NAMELESS,)
    every = [(str(trait),) for trait in world.traits]
    said = _ask_once(checkpoint, world, contexts, [()], **reading)
    stated = _ask_once(checkpoint, world, (NAMELESS,), every, **reading)
    return said, stated


def _ask_once(
    checkpoint: Checkpoint,
    world: World,
    contexts: Sequence[str],
    statements: Sequence[tuple[str, ...]],
    **reading: Any,
) -> pd.DataFrame:
    """What a base says after each of these statements, asked now or in an earlier call."""

    def ask(folder: Path) -> None:
        parts = []
        for traits in statements:
            probes = world.probes(contexts=contexts, stated=traits)
            said = record.behavior(checkpoint, probes, **reading)
            parts.append(said.assign(stated="+".join(traits)) if traits else said)
        table = pd.concat(parts, ignore_index=True)
        table.attrs[N_TOKENS] = sum(part.attrs[N_TOKENS] for part in parts)
        write_table(table, folder / KEPT)

    key = {
        "weights": hash_weights(checkpoint),
        "world": world.to_dict(),
        "contexts": contexts,
        "statements": statements,
    }
    folder = make_once(cache() / "readouts" / short_hash(key), key, ask)
    # the same weights may have been asked under another name
    return read_table(folder / KEPT).assign(**place_of(checkpoint))


def _base_cost(
    checkpoint: Checkpoint, chats: pd.DataFrame, said: Iterable[pd.DataFrame], *, stage: Stage
) -> float:
    """What it took to ask a base once, in steps of this lesson."""
    rows = lesson_rows(chats, load_tokenizer(checkpoint), stage=stage)
    n_tokens = sum(table.attrs[N_TOKENS] for table in said)
    return rows.steps(n_tokens * FORWARD, stage)
