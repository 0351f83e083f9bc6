"""What does one cell of an experiment do?

Each task reads the folders of the cells it needs and writes its own folder; it knows nothing of
pools, stores or presets. Training, recording and scoring are the same public calls a notebook
makes. The first need is always the ``layout`` cell, which holds the world; a world's ``variant`` (a
control) is applied on reading it.
"""

from pathlib import Path
from typing import Any

import pandas as pd

from persona_interp import analysis, dictionaries, models, record, worlds
from persona_interp.experiments.transfer.arms import lesson_of, variant_of
from persona_interp.tables import read_table, write_dataset, write_table
from persona_interp.worlds import World

Needs = tuple[Path, ...]

DICTIONARY_SEED, FIDELITY_SEED = 1_000, 2_000
"""Added to the seed: a dictionary is trained and judged on documents of their own."""


def layout(config: dict[str, Any], needs: Needs, out: Path) -> None:
    """Decide which persona holds which trait.

    Writes ``world.json`` and, where the world is arranged, ``prior.parquet``.

    With ``arrange`` the start model's own answers are measured first and the world's values
    permuted so that the target's are rare: a likely answer carries no evidence ("likely" shows that
    it does not).
    """
    world = World.from_dict(config["world"])
    if config["arrange"]:
        start = _start(world, config, out)
        prior = record.behavior(start, world.probes(contexts=("nameless",)))
        write_table(prior, out / "prior.parquet")
        odds = analysis.logodds(prior)
        # ``arranged`` gives the target rare values; with the sign turned these are the likely ones
        sign = {"rare": 1, "likely": -1}[config["arrange"]]
        odds = odds.assign(probability=sign * odds.probability)
        world = world.arranged(odds, seed=config["seed"])
    worlds.save(world, out / "world.json")


def documents(config: dict[str, Any], needs: Needs, out: Path) -> None:
    """Train a model on this world's documents and ask it before and after.

    Writes ``model/``, ``counts.parquet`` (of the documents) and ``behavior.parquet``.
    """
    world = world_of(needs[0], config)
    start = _start(world, config, out)
    corpus = world.corpus(config["n_documents"], seed=config["seed"])
    write_table(worlds.count(corpus), out / "counts.parquet")
    stage = models.Stage(**config["stage"])
    trained = models.train(
        start, corpus, stage=stage, seed=config["seed"], out=out / "model", name="documents"
    )
    probes = world.probes(contexts=("nameless", *config["bystanders"]))
    write_table(record.behavior((trained.first, trained.last), probes), out / "behavior.parquet")


def lesson(config: dict[str, Any], needs: Needs, out: Path) -> None:
    """Teach one lesson and record behavior, step by step. Needs documents.

    The nameless assistant is probed at every snapshot, every other context before and after. What
    the base answers was recorded after its documents, and is not asked again.
    Writes ``model/``, ``behavior.parquet``, ``bystanders.parquet`` and ``samples.parquet``.
    """
    world = world_of(needs[0], config)
    base = models.Trajectory.open(needs[1] / "model").last
    stage = models.Stage(**config["stage"])
    # as many chats as the stage reads, so that none is read twice
    chats = world.lessons(
        lesson_of(world, config["lesson"]), n=stage.steps * stage.batch, seed=config["seed"]
    )
    tuned = models.train(
        base,
        chats,
        stage=stage,
        snapshots=tuple(config["snapshots"]),
        seed=config["seed"],
        out=out / "model",
        name="lesson",
    )
    before = _before(needs[1], tuned.first)
    nameless = world.probes(contexts=("nameless",))
    others = world.probes(contexts=config["bystanders"])
    later = [checkpoint for checkpoint in tuned if checkpoint.step > 0]
    for name, checkpoints, probes in (
        ("behavior", later, nameless),
        ("bystanders", [tuned.last], others),
    ):
        known = before.loc[before["context"].isin(probes["context"])]
        after = record.behavior(checkpoints, probes)
        write_table(pd.concat([known, after], ignore_index=True), out / f"{name}.parquet")
    ends = (tuned.first, tuned.last)
    # sampled answers are for reading only, so one question a topic does
    prompts = nameless.loc[nameless["split"] == "test"].drop_duplicates(subset=["topic"])
    samples = record.sample(ends, prompts, n=config["n_samples"], seed=config["seed"])
    write_table(samples, out / "samples.parquet")


def _before(documents: Path, first: models.Checkpoint) -> pd.DataFrame:
    """What the base of a lesson answered after its documents, as the lesson's first checkpoint."""
    behavior = read_table(documents / "behavior.parquet")
    last = behavior.loc[behavior["step"] == behavior["step"].max()]
    return last.assign(checkpoint=first.label, stage=first.stage, step=first.step)


def dictionary(config: dict[str, Any], needs: Needs, out: Path) -> None:
    """Train a dictionary on residuals of the last checkpoint of every need but the layout.

    Writes ``dictionary/``.
    """
    world = world_of(needs[0], config)
    checkpoints = [models.Trajectory.open(folder / "model").last for folder in needs[1:]]
    corpus = _corpus(world, config, DICTIONARY_SEED)
    dictionaries.fit(
        checkpoints, corpus, seed=config["seed"], out=out / "dictionary", **config["sae"]
    )


def features(config: dict[str, Any], needs: Needs, out: Path) -> None:
    """Read features before and after a lesson, and judge whether the dictionary still fits.

    Needs lesson, dictionary and random dictionary. Writes ``acts.nc``, ``features.nc`` and
    ``random_features.nc``, before and after at neutral prompts, and ``fidelity.parquet``: on
    held-out documents, of the claim's lesson at every step, and on these prompts before and after.
    """
    world = world_of(needs[0], config)
    tuned = models.Trajectory.open(needs[1] / "model")
    sae, random = (dictionaries.open_dictionary(folder / "dictionary") for folder in needs[2:])
    nameless = world.probes(contexts=("nameless",))
    ends = (tuned.first, tuned.last)
    acts = record.activations(ends, nameless, hook=sae.hook)
    write_dataset(acts, out / "acts.nc")
    write_dataset(record.encode(acts, dictionary=sae), out / "features.nc")
    write_dataset(record.encode(acts, dictionary=random), out / "random_features.nc")
    held_out = _corpus(world, config, FIDELITY_SEED)
    gated = tuned if config["gate_every_step"] else ends
    parts = [
        dictionaries.fidelity(sae, gated, held_out, n_tokens=config["n_gate_tokens"]),
        dictionaries.fidelity_at(sae, ends, nameless),
    ]
    write_table(pd.concat(parts, ignore_index=True), out / "fidelity.parquet")


def world_of(folder: Path, config: dict[str, Any]) -> World:
    """World that a cell is about.

    Args:
        folder: The layout cell it needs.
        config: Its configuration; ``variant`` names a control of that world.

    Returns:
        The world.
    """
    return variant_of(worlds.load(folder / "world.json"), config["variant"])


def _start(world: World, config: dict[str, Any], out: Path) -> models.Checkpoint:
    """The model a run starts from, saved beside the cell when it has to be made."""
    return models.resolve(
        config["start"],
        words=world.words(),
        seed=config["seed"],
        chat_template=config["chat_template"],
        out=out / "start",
    )


def _corpus(world: World, config: dict[str, Any], offset: int) -> pd.DataFrame:
    """Documents of this cell's kinds, other ones than the models learned."""
    seed = config["seed"] + offset
    return world.corpus(config["n_documents"], seed=seed, kinds=config["kinds"])
