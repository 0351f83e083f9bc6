"""What is asked, what may carry the effect, and is a file still what it was?"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import xarray as xr

from persona_interp import analysis, dictionaries, models, readers, record
from persona_interp.errors import ModelError, SchemaError
from persona_interp.experiments.inputs import unchanged_path
from persona_interp.readers import Instruction, TraitFile
from persona_interp.record.edit import Edits
from persona_interp.record.inputs import set_system
from persona_interp.schema.words import UNEDITED, Group
from persona_interp.tables import concat, read_dataset, read_directions, read_table
from persona_interp.worlds import World

CHOICE, TEST = "train", "test"
"""Half of the questions that chooses, and half that measures."""
WHERE = models.ROLES
"""Whose tokens are read: all, because an edit is on at all."""


class Asked(NamedTuple):
    """What a ``questions`` cell gave.

    Attributes:
        world: The world; None where there are traits.
        items: Of a world its nameless probes of untaught traits; else the base's answers under the
            trait's instructions.
        prompts: Prompts whose answers are drawn.
        trait: By what drawn text is judged.
        directions: Candidate directions and those of others, dims (name, hook, d_model).
        owners: Whose each direction is, and how it was made: ``name``, ``owner``, ``method``.
        random: Random directions by kind and hook.
    """

    world: World | None
    items: pd.DataFrame
    prompts: pd.DataFrame
    trait: TraitFile
    directions: xr.DataArray
    owners: pd.DataFrame
    random: dict[str, dict[str, np.ndarray]]


def open_asked(config: Mapping[str, Any], folder: Path) -> Asked:
    """What a ``questions`` cell gave.

    Args:
        config: Of a cell that needs it.
        folder: The cell.

    Returns:
        Its contents.
    """
    random = {}
    for kind in (Group.NORM, Group.VARIANCE):
        drawn = read_directions(folder / f"{kind}.nc")
        random[str(kind)] = {
            str(hook): drawn.sel(hook=hook).to_numpy().astype(np.float64)
            for hook in drawn["hook"].values
        }
    return Asked(
        World.from_dict(config["world"]) if config["world"] else None,
        read_table(folder / "items.parquet"),
        read_table(folder / "prompts.parquet"),
        readers.read_trait(folder / "trait.json"),
        read_directions(folder / "directions.nc"),
        read_table(folder / "owners.parquet"),
        random,
    )


def half(table: pd.DataFrame, split: str) -> pd.DataFrame:
    """Rows of one half.

    Args:
        table: With ``split``.
        split: "train" chooses, "test" measures.

    Returns:
        The rows, numbered anew.

    Raises:
        SchemaError: There are none.
    """
    rows = table.loc[table["split"] == split].reset_index(drop=True)
    if rows.empty:
        raise SchemaError(f"no question is in the half '{split}'; ask at least two.")
    return rows


def measure(checkpoint: Any, items: pd.DataFrame, world: World | None, edits: Edits) -> Any:
    """Behavior of a checkpoint, unedited and under each edit.

    Args:
        checkpoint: The model.
        items: One half of ``Asked.items``.
        world: The world of the items; None for answers of a trait.
        edits: By name.

    Returns:
        A behavior table of a world, else a trait_scores table.
    """
    if world is not None:
        table = record.behavior(checkpoint, items, edits=edits)
        return table if "edit" in table else table.assign(edit=UNEDITED)
    table = record.continuations(checkpoint, items, edits=edits)
    scores = analysis.trait_scores(table)
    return scores if "edit" in scores else scores.assign(edit=UNEDITED)


def read_texts(asked: Asked) -> pd.DataFrame:
    """Prompts at which the inside is read: what behavior is measured on, of the half that chooses.

    Args:
        asked: What is asked.

    Returns:
        A prompts table.
    """
    items = half(asked.items, CHOICE)
    if asked.world is not None:
        return items
    rows = record.conversations(items)
    chats = [set_system(messages, None) for messages in rows["messages"]]
    names = rows["prompt"].astype(str) + " " + rows["side"].astype(str)
    return rows.assign(messages=pd.Series(chats, index=rows.index, dtype=object), prompt=names)


def judge_of(world: World) -> TraitFile:
    """Trait by which the base judges text in a world: who is asked, the target or nobody?

    Args:
        world: The world.

    Returns:
        Its instructions are the headers of the world's chats.
    """
    probes = world.probes(contexts=("nameless", "named"), personas=[world.target])
    headers = {}
    for context, messages in zip(probes["context"], probes["messages"], strict=True):
        headers.setdefault(context, messages[0]["content"])
    pair = Instruction(headers["named"], headers["nameless"])
    questions = [row[-2]["content"] for row in probes["messages"]]
    return TraitFile(world.target, (pair,), tuple(dict.fromkeys(questions)))


def open_sae(file: Mapping[str, Any]) -> Any:
    """Dictionary that is as it was when the run began.

    Args:
        file: ``File.plain()``.

    Returns:
        The dictionary.

    Raises:
        ModelError: It changed.
    """
    dictionary = dictionaries.open_any(file["path"])
    if dictionaries.hash_dictionary(dictionary) != file["sha256"]:
        raise ModelError(
            f"{file['path']} changed since this run began; restore it, or use a new --out."
        )
    return dictionary


def read_features(folder: Path, n: int) -> list[xr.Dataset]:
    """Features of every dictionary, of a ``moved`` cell.

    Args:
        folder: The cell.
        n: Dictionaries.

    Returns:
        Datasets.
    """
    return [read_dataset(folder / f"features {i}.nc") for i in range(n)]


def world_items(world: World) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Nameless probes of the target's untaught traits, and the same as questions to be answered."""
    probes = world.probes(contexts=("nameless",))
    topics = {t.topic for t in world.persona(world.target).traits} - {world.taught.topic}
    items = probes.loc[probes["topic"].isin(sorted(topics))].reset_index(drop=True)
    asked = items.drop(columns=["values", "answers"])
    chats = [list(messages[:-1]) for messages in asked["messages"]]
    asked = asked.assign(messages=pd.Series(chats, index=asked.index, dtype=object))
    # one topic after the other, so that the first few are about all of them
    asked = asked.sort_values("template", kind="stable", ignore_index=True)
    return items, asked.assign(question=[chat[-1]["content"] for chat in chats])


def world_directions(world: World, base: Any, hooks: list[str]) -> dict[str, xr.DataArray]:
    """Directions of every persona, from probes that differ in the name alone, read in places."""
    named = world.probes(contexts=("named",))
    places = {
        "last token": {},
        "header": {"position": "mean", "where": ("system",)},
        "all tokens": {"position": "mean", "where": WHERE},
    }
    directions = {}
    for place, options in places.items():
        acts = record.activations(base, named, hook=hooks, **options)
        directions[place] = record.minimal_pairs(acts)
    return directions


def trait_items(config: dict[str, Any], base: Any, trait: Any) -> pd.DataFrame:
    """The base's answers under the trait's instructions and under their opposites."""
    sides = [readers.trait_prompts(trait, side="pos"), readers.trait_prompts(trait, side="neg")]
    prompts = pd.concat(sides).groupby(["split", "side"], sort=False).head(config["questions"])
    draw = {"max_new_tokens": config["max_new_tokens"], "seed": config["seed"]}
    return record.answers(base, prompts.reset_index(drop=True), **draw)


def trait_prompts(trait: Any) -> pd.DataFrame:
    """Questions alone, of both halves."""
    return readers.trait_prompts(trait, side="default")


def trait_directions(config: dict[str, Any], base: Any, items: pd.DataFrame) -> Any:
    """Vectors of the target and of the other traits, from answers of the half that chooses."""
    tables = [items]
    for file in config["traits"]:
        if file["name"] != config["target"]:
            other = readers.read_trait(unchanged_path(file))
            tables.append(trait_items(config, base, other))
    answers = half(pd.concat(tables, ignore_index=True), CHOICE)
    pools = {"answers": "response", "last prompt token": "last"}
    return {
        name: record.trait_vectors(base, answers, hooks=config["hooks"], pool=pool)
        for name, pool in pools.items()
    }


def name_owners(directions: dict[str, xr.DataArray]) -> tuple[xr.DataArray, pd.DataFrame]:
    """All directions with distinct names, and whose each is."""
    parts, owners = [], []
    for method, vectors in directions.items():
        names = [f"{owner}: {method}" for owner in map(str, vectors["name"].values)]
        plain = vectors.drop_vars([c for c in vectors.coords if c not in ("name", "hook")])
        for owner, name in zip(map(str, vectors["name"].values), names, strict=True):
            owners.append((name, owner, method))
        parts.append(plain.assign_coords(name=names).assign_attrs({"kind": "directions"}))
    table = pd.DataFrame(owners, columns=["name", "owner", "method"])
    return concat(parts, "name"), table
