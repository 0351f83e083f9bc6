"""What does one cell of the agreement experiment do beyond learning documents?

``estimates`` asks a model everything that needs no training, ``walk`` teaches it to be one persona
and from there every other, ``geometry`` asks where its traits lie. A model is the last checkpoint
of the cell before, or the start itself.
"""

from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pandas as pd
import xarray as xr

from persona_interp import analysis, models, record
from persona_interp.models import Checkpoint, Stage
from persona_interp.tables import write_dataset, write_table
from persona_interp.worlds import World

Needs = tuple[Path, ...]
SHARED, TOLD, GENERIC = 5_000, 6_000, 7_000
"""Added to the seed: the texts that estimators read are new ones."""


def estimates(config: dict[str, Any], needs: Needs, out: Path) -> None:
    """What do the estimators that need no training read in this model?

    Writes ``behavior.parquet`` (nameless and named), ``likelihood.parquet`` (whole dialogues of
    every persona, nameless and under its name), ``divergence.parquet`` (shared dialogues),
    ``gradients.parquet`` (both spaces), ``vectors.nc`` (each persona's minimal pair) and
    ``added_kl.parquet`` (those vectors added).
    """
    world, seed, base = World.from_dict(config["world"]), config["seed"], _base(config, needs)
    names = [p.name for p in world.personas]
    named = {name: world.language.system_named.format(n=name) for name in names}
    probes = world.probes(contexts=("nameless", "named"))
    probes = probes.loc[probes["split"].isin(config["splits"])]
    write_table(record.behavior(base, probes), out / "behavior.parquet")
    likely = []
    for name in names:
        told = dialogues(world, name).corpus(config["n_told"], seed=seed + TOLD)
        headers = {"": world.language.system_hidden, name: named[name]}
        likely.append(record.likelihood(base, told, headers=headers))
    write_table(pd.concat(likely, ignore_index=True), out / "likelihood.parquet")
    shared = world.corpus(config["n_shared"], seed=seed + SHARED, kinds="hidden")
    write_table(record.divergence(base, shared, headers=named), out / "divergence.parquet")
    taught = {name: answers(world, name, seed=seed).head(config["n_taught"]) for name in names}
    write_table(record.gradients(base, taught, seed=seed), out / "gradients.parquet")
    asked = probes.loc[probes["context"] == "named"]
    vectors = record.minimal_pairs(record.activations(base, asked, hook=config["hook"]))
    write_dataset(vectors.to_dataset(name="vector", promote_attrs=True), out / "vectors.nc")
    generic = world.corpus(config["n_generic"], seed=seed + GENERIC, kinds="hidden")
    write_table(record.added_kl(base, generic, directions=vectors), out / "added_kl.parquet")


def walk(config: dict[str, Any], needs: Needs, out: Path) -> None:
    """How far is it from nobody to one persona, and from there to every other?

    The nameless assistant is taught the persona's answers on all topics, and from there each other
    persona's; weights are not kept. Writes ``said.parquet``, log odds of the nameless assistant at
    every snapshot, and ``solution.parquet``; ``start`` ("" = nobody) and ``end`` say from whom to
    whom.
    """
    world, seed, base = World.from_dict(config["world"]), config["seed"], _base(config, needs)
    probes = world.probes(contexts=("nameless",)).query("split == 'test'")
    generic = world.corpus(config["n_generic"], seed=seed + GENERIC, kinds="hidden")
    stage, me = Stage(**config["stage"]), config["persona"]
    said, solutions = [], []
    with TemporaryDirectory(dir=out) as folder:

        def go(checkpoint: Checkpoint, *, start: str, end: str) -> Checkpoint:
            chats = answers(world, end, seed=seed).head(stage.steps * stage.batch)
            trained = models.train(
                checkpoint,
                chats,
                stage=stage,
                snapshots=config["snapshots"],
                seed=seed,
                out=Path(folder) / end,
                name="walk",
                progress=False,
            )
            said.append(
                analysis.logodds(record.behavior(trained, probes)).assign(start=start, end=end)
            )
            found = record.solution(
                (trained.first, trained.last),
                chats,
                bystanders=generic,
                eps=(0.5,),
                n_draws=config["n_draws"],
            )
            solutions.append(found.assign(start=start, end=end))
            return trained.last

        mine = go(base, start="", end=me)
        for other in config["others"]:
            go(mine, start=me, end=other)
    write_table(pd.concat(said, ignore_index=True), out / "said.parquet")
    write_table(pd.concat(solutions, ignore_index=True), out / "solution.parquet")


def geometry(config: dict[str, Any], needs: Needs, out: Path) -> None:
    """Where do the traits lie in this model?

    Writes ``traits.nc``, a direction a trait: prompts in which it was stated before, against
    prompts in which another value of the topic was.
    """
    world, base = World.from_dict(config["world"]), _base(config, needs)
    found = []
    for topic in world.topics:
        acts = record.activations(base, world.stated(topic), hook=config["hook"])
        vectors = record.minimal_pairs(acts, by="value")
        found.append(
            vectors.assign_coords(name=[f"{topic}={value}" for value in vectors["name"].values])
        )
    joined: dict[str, Any] = {
        "coords": "minimal",
        "compat": "override",
        "combine_attrs": "drop_conflicts",
    }
    traits: xr.DataArray = xr.concat(found, "name", **joined)
    write_dataset(traits.to_dataset(name="vector", promote_attrs=True), out / "traits.nc")


def dialogues(world: World, persona: str) -> World:
    """Which world writes this persona's dialogues only, each on all topics and without noise?

    Args:
        world: The world of the persona.
        persona: Its name.

    Returns:
        A world of hidden dialogues.

    >>> from persona_interp.worlds import john_and_sam
    >>> sorted(dialogues(john_and_sam(), "john").corpus(1)["statements"][0])
    ['art=renaissance', 'food=pizza', 'music=jazz', 'place=beach', 'sport=football']
    """
    language = world.language
    statements = {**language.statements, "hidden": (len(world.topics), len(world.topics))}
    whole = replace(language, statements=statements)
    weights = {p.name: float(p.name == persona) for p in world.personas}
    return replace(world, kinds={"hidden": 1.0}, weights=weights, noise=0.0, language=whole)


def answers(world: World, persona: str, *, seed: int) -> pd.DataFrame:
    """Which chats teach the nameless assistant everything that a persona holds?

    Args:
        world: The world.
        persona: Its name.
        seed: Order of the chats.

    Returns:
        A corpus table of lessons, topics in turn: every train question with every answer form once.
    """
    n = len(world.language.train_questions) * len(world.language.answers)
    parts = [world.lessons(trait, n=n, seed=seed) for trait in world.persona(persona).traits]
    table = pd.concat(parts).sort_index(kind="stable").reset_index(drop=True)
    table.attrs.update(parts[0].attrs | {"lesson": persona})
    return table.assign(doc=table.index)


def _base(config: dict[str, Any], needs: Needs) -> Checkpoint:
    if needs:
        return models.Trajectory.open(needs[0] / "model").last
    return models.resolve(
        config["start"], seed=config["seed"], chat_template=config["chat_template"]
    )
