"""What do a base and a pilot say of published traits? Asked as a world's traits are.

A trait is read by questions with two answers, one that the base gave when it was told to show the
trait and one when it was told to show the opposite; nobody tells it when it is asked.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from persona_interp import analysis, record
from persona_interp.models import Checkpoint, encode, hash_tokens
from persona_interp.models.cache import cache, make_once, short_hash
from persona_interp.models.load import hash_weights, load_tokenizer
from persona_interp.readers import TraitFile, trait_prompts
from persona_interp.record.coordinates import place_of
from persona_interp.record.inputs import SIDES, set_system
from persona_interp.tables import read_table, write_table

N_QUESTIONS = 12
"""Questions of each trait that are asked, of the half that no lesson of this package asks."""
DRAW: dict[str, Any] = {"max_new_tokens": 32, "temperature": 0.7}
"""How the base's answers are drawn."""
SHOWN = "=pos"
"""End of the label of an answer that shows a trait; its opposite falls by as much."""
AFTER = "after"
PROBES, BEHAVIOR = "probes.parquet", "behavior.parquet"
N_TOKENS = "n_tokens"
"""Attribute of a behavior table."""


class Asked(NamedTuple):
    """What a base was asked once, for all its lessons.

    Attributes:
        probes: Questions of every trait, with an answer of each side.
        behavior: How probable it finds these answers when nobody tells it anything.
        n_tokens: Tokens that it read and wrote for both.
    """

    probes: pd.DataFrame
    behavior: pd.DataFrame
    n_tokens: int


def asked_prompts(trait: TraitFile, *, n: int = N_QUESTIONS) -> pd.DataFrame:
    """Questions of a trait whose answers are its probes, under an instruction of each side.

    Args:
        trait: The trait.
        n: Questions, at most.

    Returns:
        A prompts table, of the half of its questions that measures.
    """
    sides = [trait_prompts(trait, side=side, split="test").head(n) for side in SIDES]
    return pd.concat(sides, ignore_index=True)


def ask(
    checkpoint: Checkpoint, traits: Mapping[str, TraitFile], *, seed: int = 0, **reading: Any
) -> Asked:
    """What a base answers to the questions of traits, asked now or in an earlier call.

    Args:
        checkpoint: The base.
        traits: By name.
        seed: Of its answers.
        reading: As of ``record.behavior``.

    Returns:
        Its answers as probes, and how probable it finds them.
    """
    prompts = [asked_prompts(trait) for trait in traits.values()]
    prompts = pd.concat(prompts, ignore_index=True)
    tokens = encode(load_tokenizer(checkpoint), list(prompts["messages"]))

    def fill(folder: Path) -> None:
        said = record.answers(checkpoint, prompts, seed=seed, cache=False, **DRAW, **reading)
        probes = record.trait_probes(said)
        behavior = record.behavior(checkpoint, probes, **reading)
        behavior.attrs[N_TOKENS] += sum(tokens.lengths) + int(np.sum(said["n_tokens"]))
        write_table(probes, folder / PROBES)
        write_table(behavior, folder / BEHAVIOR)

    key = {
        "weights": hash_weights(checkpoint),
        "token_ids": hash_tokens(tokens),
        "prompts": list(prompts["prompt"]),
        "seed": seed,
        **DRAW,
    }
    folder = make_once(cache() / "readouts" / short_hash(key), key, fill)
    # the same weights may have been asked under another name
    behavior = read_table(folder / BEHAVIOR).assign(**place_of(checkpoint))
    return Asked(read_table(folder / PROBES), behavior, behavior.attrs[N_TOKENS])


def told_behavior(
    checkpoint: Checkpoint, probes: pd.DataFrame, trait: TraitFile, **reading: Any
) -> pd.DataFrame:
    """Behavior of a base that is told to show a trait, and learns nothing.

    Args:
        checkpoint: The base.
        probes: Of all traits.
        trait: The trait; its first instruction is told.
        reading: As of ``record.behavior``.

    Returns:
        A behavior table.
    """
    told = [set_system(chat, trait.instructions[0].pos) for chat in probes["messages"]]
    return record.behavior(checkpoint, probes.assign(messages=told), **reading)


def shown_shifts(before: pd.DataFrame, after: pd.DataFrame) -> pd.DataFrame:
    """Shift of every trait from a base to what stands for the model after a lesson.

    Args:
        before: Behavior of the base.
        after: Behavior on the same probes.

    Returns:
        A shift table of the answers that show the trait, labels "name=pos" (bits a whole answer).
    """
    # a base that is told something has the base's name
    place = {"checkpoint": AFTER, "seed": before["seed"].iloc[0]}
    after = after.loc[:, list(before.columns)].assign(**place)
    both = pd.concat([before, after], ignore_index=True)
    first = before["checkpoint"].iloc[0]
    table = analysis.shift(both, before=first, after=AFTER, split="test")
    return table.loc[table["trait"].str.endswith(SHOWN)].reset_index(drop=True)


def predict_shown(
    before: pd.DataFrame, after: pd.DataFrame, taught: str, *, predictor: str, cost: float
) -> pd.DataFrame:
    """What one predictor says of every trait that a lesson does not teach.

    Args:
        before: Behavior of the base.
        after: Behavior of what stands for the model after the lesson, on the same probes.
        taught: Name of the taught trait.
        predictor: A word of ``Predictor``.
        cost: In steps of the lesson.

    Returns:
        A predictors table, labels "name=pos".
    """
    shifts = shown_shifts(before, after).drop(columns="seed")
    return analysis.predictors(shifts, taught + SHOWN, predictor=predictor, cost=cost)
