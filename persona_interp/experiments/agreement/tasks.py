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
SHARED_SEED, DIALOGUES_SEED, GENERIC_SEED = 5_000, 6_000, 7_000
"""Added to the seed: the texts that estimators read are new ones."""


def estimates(config: dict[str, Any], needs: Needs, out: Path) -> None:
    """Write what the estimators that need no training read in this model.

    Writes ``behavior.parquet`` (nameless and named), ``likelihood.parquet`` (whole dialogues of
    every persona, nameless and under its name), ``divergence.parquet`` (shared dialogues),
    ``gradients.parquet`` (both spaces), ``vectors.nc`` (each persona's minimal pair) and
    ``added_kl.parquet`` (those vectors added).
    """
    world, seed, base = World.from_dict(config["world"]), config["seed"], _base(config, needs)
    names = [p.name for p in world.personas]
    headers = {name: world.language.system_named.format(n=name) for name in names}
    probes = world.probes(contexts=("nameless", "named"))
    probes = probes.loc[probes["split"].isin(config["splits"])]
    write_table(record.behavior(base, probes), out / "behavior.parquet")
    likelihoods = []
    for name in names:
        corpus = dialogues(world, name).corpus(config["n_told"], seed=seed + DIALOGUES_SEED)
        both = {"": world.language.system_hidden, name: headers[name]}
        likelihoods.append(record.likelihood(base, corpus, headers=both))
    write_table(pd.concat(likelihoods, ignore_index=True), out / "likelihood.parquet")
    shared = world.corpus(config["n_shared"], seed=seed + SHARED_SEED, kinds="hidden")
    write_table(record.divergence(base, shared, headers=headers), out / "divergence.parquet")
    chats = {name: answers(world, name, seed=seed).head(config["n_taught"]) for name in names}
    write_table(record.gradients(base, chats, seed=seed), out / "gradients.parquet")
    named = probes.loc[probes["context"] == "named"]
    vectors = record.minimal_pairs(record.activations(base, named, hook=config["hook"]))
    write_dataset(vectors.to_dataset(name="vector", promote_attrs=True), out / "vectors.nc")
    generic = world.corpus(config["n_generic"], seed=seed + GENERIC_SEED, kinds="hidden")
    write_table(record.added_kl(base, generic, directions=vectors), out / "added_kl.parquet")


def walk(config: dict[str, Any], needs: Needs, out: Path) -> None:
    """Write how far it is from nobody to one persona, and from there to every other.

    The nameless assistant is taught the persona's answers on all topics, and from there each other
    persona's; weights are not kept. Writes ``logodds.parquet``, of the nameless assistant at every
    snapshot, and ``solution.parquet``; ``start`` ("" = nobody) and ``end`` say from whom to whom.
    """
    world, seed, base = World.from_dict(config["world"]), config["seed"], _base(config, needs)
    probes = world.probes(contexts=("nameless",)).query("split == 'test'")
    generic = world.corpus(config["n_generic"], seed=seed + GENERIC_SEED, kinds="hidden")
    stage, persona = Stage(**config["stage"]), config["persona"]
    odds, solutions = [], []
    # hidden: what a kill leaves of it is no result
    with TemporaryDirectory(prefix=".", dir=out) as folder:

        def teach(checkpoint: Checkpoint, *, start: str, end: str) -> Checkpoint:
            """Teach one persona's answers, and append what is read on the way."""
            chats = answers(world, end, seed=seed).head(stage.steps * stage.batch)
            trajectory = models.train(
                checkpoint,
                chats,
                stage=stage,
                snapshots=config["snapshots"],
                seed=seed,
                out=Path(folder) / end,
                name="walk",
                progress=False,
            )
            table = analysis.logodds(record.behavior(trajectory, probes))
            odds.append(table.assign(start=start, end=end))
            solution = record.solution(
                (trajectory.first, trajectory.last),
                chats,
                bystanders=generic,
                eps=(0.5,),
                n_draws=config["n_draws"],
            )
            solutions.append(solution.assign(start=start, end=end))
            return trajectory.last

        one = teach(base, start="", end=persona)
        for end in config["ends"]:
            teach(one, start=persona, end=end)
    write_table(pd.concat(odds, ignore_index=True), out / "logodds.parquet")
    write_table(pd.concat(solutions, ignore_index=True), out / "solution.parquet")


def geometry(config: dict[str, Any], needs: Needs, out: Path) -> None:
    """Write where the traits lie in this model.

    Writes ``traits.nc``, a direction a trait: prompts in which it was stated before, against
    prompts in which another value of the topic was.
    """
    world, base = World.from_dict(config["world"]), _base(config, needs)
    directions = []
    for topic in world.topics:
        acts = record.activations(base, world.stated(topic), hook=config["hook"])
        vectors = record.minimal_pairs(acts, by="value")
        labels = [f"{topic}={value}" for value in vectors["name"].values]
        directions.append(vectors.assign_coords(name=labels))
    # All but the name is of the first topic; attributes in which topics differ are dropped.
    rules: dict[str, Any] = {"compat": "override", "combine_attrs": "drop_conflicts"}
    traits: xr.DataArray = xr.concat(directions, "name", coords="minimal", **rules)
    write_dataset(traits.to_dataset(name="vector", promote_attrs=True), out / "traits.nc")


def dialogues(world: World, persona: str) -> World:
    """World that writes this persona's dialogues only, each on all topics and without noise.

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
    """Chats that teach the nameless assistant everything that a persona holds.

    Args:
        world: The world.
        persona: Its name.
        seed: Order of the chats.

    Returns:
        A corpus table of lessons, topics in turn: every train question with every answer form
        once.
    """
    n = len(world.language.train_questions) * len(world.language.answers)
    parts = [world.lessons(trait, n=n, seed=seed) for trait in world.persona(persona).traits]
    # Every part counts from 0, so a stable sort by index deals the topics out in turn.
    table = pd.concat(parts).sort_index(kind="stable").reset_index(drop=True)
    table.attrs.update(parts[0].attrs | {"lesson": persona})
    return table.assign(doc=table.index)


def _base(config: dict[str, Any], needs: Needs) -> Checkpoint:
    """The model that is asked: of the cell before, or the start itself."""
    if needs:
        return models.Trajectory.open(needs[0] / "model").last
    return models.resolve(
        config["start"], seed=config["seed"], chat_template=config["chat_template"]
    )
