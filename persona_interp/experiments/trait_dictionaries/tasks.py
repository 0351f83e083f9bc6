"""What does one cell do that compares the features of a trait's finetune?"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pandas as pd

from persona_interp import analysis, dictionaries, models, record
from persona_interp.experiments.dictionaries.config import AFTER, BEFORE
from persona_interp.experiments.dictionaries.tasks import write_statuses
from persona_interp.experiments.trait_dictionaries.config import Life
from persona_interp.experiments.trait_transfer.tasks import chats, hook_at, start_of
from persona_interp.models import Checkpoint, Stage
from persona_interp.tables import concat, read_table, write_dataset, write_table

Needs = tuple[Path, ...]
SPOKEN = ("assistant",)
"""Role of the tokens that say what a trait looks like."""


def learn(config: dict[str, Any], needs: Needs, out: Path) -> None:
    """Teach one side of a trait's answers. Needs answers. Writes ``model/``."""
    answers = read_table(needs[0] / "answers.parquet")
    is_lesson = (answers["side"] == config["side"]) & (answers["split"] == "train")
    models.train(
        start_of(config),
        chats(answers.loc[is_lesson]),
        stage=Stage(**config["stage"]),
        snapshots=tuple(config["steps"]),
        seed=config["seed"],
        out=out / "model",
        name=f"{config['trait']} {config['arm']}",
        progress=False,
    )


def crosscoder(config: dict[str, Any], needs: Needs, out: Path) -> None:
    """Train a crosscoder on the checkpoints of one life, and say what became of its features.

    Needs the finetunes whose checkpoints they are, then the answers of all traits, which are the
    text that is read. Writes what ``dictionaries.tasks.write_statuses`` does.
    """
    n_trained = 2 if config["life"] == Life.AGAIN else 1
    trainings = [models.Trajectory.open(folder / "model") for folder in needs[:n_trained]]
    if config["life"] == Life.AGAIN:
        checkpoints = {f"seed {k}": each.last for k, each in enumerate(trainings)}
    else:
        checkpoints = {c.label: c for c in _steps(trainings[0], config)}
    coder = {**config["coder"], "hook": hook_at(trainings[0].first, depth=config["depth"])}
    same = dictionaries.same_tokens(
        list(checkpoints.values()),
        _corpus(needs[n_trained:]),
        hook=coder["hook"],
        n_tokens=coder.pop("n_tokens"),
        seed=config["seed"],
    )
    same = same._replace(provenance={**same.provenance, "checkpoints": list(checkpoints)})
    write_statuses(same, coder, seed=config["seed"], out=out)


def features(config: dict[str, Any], needs: Needs, out: Path) -> None:
    """Read features on the trait's answers and where nothing was said yet.

    Needs lesson, null finetune, the lesson's crosscoder, which reads each checkpoint alone, and
    answers. The answers are read without the instructions that brought them out. Writes
    ``before.nc`` and ``after.nc`` (features, mean over an answer, at the lesson's ends),
    ``separability.parquet`` (the mean difference's AUROC at both; column ``moment``),
    ``neutral.nc`` (features at the last token of bare questions, step by step), ``null.nc`` (the
    same of the null finetune) and ``fidelity.parquet``.
    """
    lesson, null = (models.Trajectory.open(folder / "model") for folder in needs[:2])
    coder = dictionaries.open_crosscoder(needs[2] / "dictionary")
    answers = read_table(needs[3] / "answers.parquet")
    said = _bare(answers.loc[answers["side"] != "default"])
    parts = []
    for moment, checkpoint in ((BEFORE, lesson.first), (AFTER, lesson.last)):
        alone = coder.at(checkpoint.label)
        feats = record.features(checkpoint, said, dictionary=alone, position="mean", where=SPOKEN)
        write_dataset(feats, out / f"{moment}.nc")
        acts = record.activations(checkpoint, said, hook=coder.hook, position="answer")
        parts.append(analysis.separability(acts).assign(moment=moment))
    write_table(pd.concat(parts, ignore_index=True), out / "separability.parquet")
    questions = _questions(answers)
    steps = _steps(lesson, config)
    read = [record.features(c, questions, dictionary=coder.at(c.label)) for c in steps]
    write_dataset(concat(read, "checkpoint"), out / "neutral.nc")
    base = coder.at(lesson.first.label)
    write_dataset(
        record.features((null.first, null.last), questions, dictionary=base), out / "null.nc"
    )
    fits = [dictionaries.fidelity_at(coder.at(c.label), c, questions) for c in steps]
    write_table(pd.concat(fits, ignore_index=True), out / "fidelity.parquet")


def _steps(trained: models.Trajectory, config: dict[str, Any]) -> list[Checkpoint]:
    """Checkpoints that the experiment asked for."""
    return [checkpoint for checkpoint in trained if checkpoint.step in config["steps"]]


def _corpus(folders: Iterable[Path]) -> pd.DataFrame:
    """All answers of all traits, instructions left out."""
    parts = [read_table(folder / "answers.parquet") for folder in folders]
    return chats(pd.concat(parts, ignore_index=True))


def _bare(answers: pd.DataFrame) -> pd.DataFrame:
    """Conversations without the instruction."""
    table = record.conversations(answers.loc[answers["answer"] != ""].reset_index(drop=True))
    messages = [[m for m in chat if m["role"] != "system"] for chat in table["messages"]]
    return table.assign(messages=messages)


def _questions(answers: pd.DataFrame) -> pd.DataFrame:
    """The questions alone, each once, each its own topic."""
    table = answers.drop_duplicates(subset="question").reset_index(drop=True)
    messages = [[{"role": "user", "content": question}] for question in table["question"]]
    table = table.assign(messages=messages, topic=table["question"], context="nameless")
    columns = ["prompt", "context", "persona", "topic", "split", "question", "messages"]
    return table.loc[:, columns]
