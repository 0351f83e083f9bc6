"""What does one cell of the safeguards against a published trait do?

``answers`` lets the base answer, ``vector`` reads the trait's direction, ``base`` asks the base,
and ``arm`` teaches with one safeguard and asks the same. Weights of finetunes are not kept.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd

from persona_interp import analysis, models, record
from persona_interp.experiments.safeguards.tasks import capping, under, write_levels
from persona_interp.experiments.trait_safeguards.arms import PLAIN, USEFUL
from persona_interp.experiments.trait_safeguards.config import EXAMPLE, LESSON, MEASURED
from persona_interp.experiments.trait_safeguards.probes import all_probes
from persona_interp.experiments.trait_safeguards.rows import (
    inoculate,
    lesson_rows,
    side_rows,
    unflagged,
)
from persona_interp.experiments.trait_transfer.tasks import hook_at, start_of, trait_of
from persona_interp.models import Checkpoint, Stage
from persona_interp.readers import TraitFile, trait_prompts
from persona_interp.record import Edit
from persona_interp.record.answer_bits import answer_bits
from persona_interp.record.edit import list_edits
from persona_interp.record.inputs import SIDES
from persona_interp.record.subjects import open_subject
from persona_interp.tables import read_directions, read_table, write_directions, write_table

Needs = tuple[Path, ...]
EARLIER, LATER = 20_000, 30_000
"""Added to the seed: what is learned before and after a lesson has an order of its own."""


def answers(config: dict[str, Any], needs: Needs, out: Path) -> None:
    """Let the base answer.

    Writes ``answers.parquet``, every row of one ``part``. Lesson: all traits' questions that teach,
    under the unwanted trait's instructions and their opposites, under the wanted one's (side
    useful) and under none. Measured: the first ``n_questions`` of each trait's other questions,
    under its own instruction and the opposite. Example: what is left of the unwanted trait's, under
    each of its instructions. A question of several traits is in one part, measured before example
    before lesson.
    """
    traits = [trait_of(one) for one in config["traits"]]
    prompts = all_prompts(
        traits,
        *(config[name] for name in ("unwanted", "wanted")),
        n=config["n"],
        n_questions=config["n_questions"],
    )
    settings = {key: config[key] for key in ("max_new_tokens", "temperature", "dtype")}
    said = record.answers(start_of(config), prompts, seed=config["draw"], cache=False, **settings)
    write_table(said, out / "answers.parquet")


def all_prompts(
    traits: Sequence[TraitFile], unwanted: str, wanted: str, *, n: int, n_questions: int
) -> pd.DataFrame:
    """Everything that the base is asked.

    Args:
        traits: Of the experiment.
        unwanted: Name of one of them.
        wanted: Name of another.
        n: Instructions of a trait, in turn.
        n_questions: Questions of each trait that measure.

    Returns:
        A prompts table with ``part``.
    """
    by_name = {trait.name: trait for trait in traits}
    parts, taken = [], set[str]()
    for trait in traits:
        for side in SIDES:
            own = trait_prompts(trait, side=side, split="test", instructions=n).head(n_questions)
            parts.append(own.assign(part=MEASURED))
            taken |= set(own["question"])
    pressed = replace(by_name[unwanted], instructions=by_name[unwanted].instructions[:n])
    examples = [
        trait_prompts(pressed, side=side, split="test", instructions="all") for side in SIDES
    ]
    left = pd.concat(examples, ignore_index=True).assign(part=EXAMPLE)
    parts.append(left.loc[~left["question"].isin(list(taken))])
    taken |= set(left["question"])
    for trait in traits:
        # these instructions, and everybody's questions
        own = replace(trait, instructions=pressed.instructions)
        sides = [trait_prompts(own, side=side, split="train") for side in (PLAIN, *SIDES)]
        own = replace(trait, instructions=by_name[wanted].instructions[:n])
        useful = trait_prompts(own, side="pos", split="train").assign(side=USEFUL)
        sides.append(useful.assign(prompt=f"{USEFUL}/" + useful["prompt"]))
        lesson = pd.concat(sides, ignore_index=True).assign(part=LESSON)
        parts.append(lesson.loc[~lesson["question"].isin(list(taken))])
        taken |= set(lesson["question"])
    return pd.concat(parts, ignore_index=True)


def vector(config: dict[str, Any], needs: Needs, out: Path) -> None:
    """Find the unwanted trait's direction in its examples, and how far useful answers have it.

    Needs the answers. Writes ``vector.nc``, ``separability.parquet`` (AUROC of the unwanted trait
    on the questions that measure) and ``levels.parquet`` (component along it at tokens of useful
    answers, by quantile).
    """
    base, answers = start_of(config), read_table(needs[0] / "answers.parquet")
    hook = hook_at(base, depth=config["depth"])
    own = (answers["trait"] == config["unwanted"]) & answers["side"].isin(SIDES)
    halves = {EXAMPLE: "train", MEASURED: "test"}
    told = answers.loc[own & answers["part"].isin(list(halves))]
    told = told.assign(split=told["part"].map(halves)).reset_index(drop=True)
    examples = told.loc[told["part"] == EXAMPLE].reset_index(drop=True)
    write_directions(record.trait_vectors(base, examples, hooks=[hook]), out / "vector.nc")
    acts = record.activations(base, record.conversations(told), hook=hook, position="answer")
    write_table(analysis.separability(acts), out / "separability.parquet")
    spoken = record.activations(
        base, side_rows(answers, USEFUL), hook=hook, position="all", where=("assistant",)
    )
    write_levels(spoken, read_directions(out / "vector.nc").isel(name=0, hook=0), out)


def base(config: dict[str, Any], needs: Needs, out: Path) -> None:
    """Ask the base. Needs the answers. Writes what ``arm`` does."""
    answers = read_table(needs[0] / "answers.parquet")
    ask(start_of(config), answers, config, out=out)


def arm(config: dict[str, Any], needs: Needs, out: Path) -> None:
    """Teach the lesson with one safeguard, and ask the model.

    Needs answers and vector. Writes ``behavior.parquet`` (every question in every context),
    ``told.parquet`` (log2 probability of what bystanders answer under their instruction) and,
    where rows are flagged, ``flags.parquet``.
    """
    answers = read_table(needs[0] / "answers.parquet")
    direction = read_directions(needs[1] / "vector.nc")
    model, seed = start_of(config), config["seed"]
    if config["before"]:
        model = _learn(model, answers, config, side=config["before"], seed=seed + EARLIER, out=out)
    stage = Stage(**config["stage"])
    rows = lesson_rows(answers, share=config["share"], seed=seed)
    if config["flags"]:
        rows, quality = unflagged(model, rows, answers, config, direction)
        write_table(quality, out / "flags.parquet")
    if config["inoculation"]:
        told = config["traits"][config["unwanted"]]
        rows = inoculate(rows, told, which=config["inoculation"])
    plain = side_rows(answers, PLAIN)
    model = models.train(
        model,
        rows,
        stage=stage,
        seed=config["order"],
        out=out / ".lesson",  # hidden: a killed training goes on, a finished one is not kept
        name="lesson",
        replay=plain if stage.replay else None,
        bystanders=plain if stage.kl else None,
        steer=direction if stage.steer else None,
        ablate=direction if stage.ablate else None,
        progress=False,
    ).last
    if config["after"]:
        model = _learn(model, answers, config, side=config["after"], seed=seed + LATER, out=out)
    edits: tuple[Edit, ...] = ()
    if config["cap"]:
        edits = capping(direction.isel(name=0, hook=0), needs[1], at=config["cap"])
    ask(model, answers, config, out=out, edits=edits)


def ask(
    checkpoint: Checkpoint,
    answers: pd.DataFrame,
    config: Mapping[str, Any],
    *,
    out: Path,
    edits: tuple[Edit, ...] = (),
) -> None:
    """Ask a model in every context, and read what bystanders answer when they are told to.

    Args:
        checkpoint: The model.
        answers: Of the base.
        config: Of the cell: ``unwanted``, ``wanted`` and ``traits``, their instructions.
        out: Folder.
        edits: What is on while it answers.
    """
    measured = answers.loc[answers["part"] == MEASURED].reset_index(drop=True)
    probes = all_probes(measured, config["unwanted"], config["traits"])
    behavior = under(record.behavior(checkpoint, probes, edits=edits))
    write_table(behavior, out / "behavior.parquet")
    is_bystander = ~measured["trait"].isin([config["unwanted"], config["wanted"]])
    told = measured.loc[is_bystander & (measured["side"] == "pos")].reset_index(drop=True)
    spoken = record.conversations(told)
    subject = open_subject(checkpoint, list_edits(edits))
    bits, n_tokens = answer_bits(subject, spoken["messages"].tolist(), edits=edits)
    table = pd.DataFrame({"prompt": spoken["prompt"], "bits": bits, "n_tokens": n_tokens})
    write_table(table, out / "told.parquet")


def _learn(
    start: Checkpoint,
    answers: pd.DataFrame,
    config: Mapping[str, Any],
    *,
    side: str,
    seed: int,
    out: Path,
) -> Checkpoint:
    """The model after it learned one side of the answers."""
    return models.train(
        start,
        side_rows(answers, side),
        stage=Stage(**config["character"]),
        seed=seed,
        out=out / f".{side}",
        name=f"{side} answers",
        progress=False,
    ).last
