"""What do a few steps of the finetune do already? A small training, in a folder that goes again.

Evidence is counted by steps of the optimizer and not by documents, so eight steps of two documents
tell more of a lesson than one step of sixteen, at the same cost.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import pandas as pd

from persona_interp import models
from persona_interp.errors import ModelError, excerpt
from persona_interp.models import LESSON, Checkpoint, Stage
from persona_interp.models.device import Batch
from persona_interp.models.dtype import AUTO, FULL
from persona_interp.models.load import load_tokenizer
from persona_interp.readers import read
from persona_interp.record.lesson_rows import FORWARD, lesson_rows, path_length
from persona_interp.record.questionnaire import Questionnaire
from persona_interp.record.subjects import open_subject
from persona_interp.values import check_count

PARTS = 8
"""Steps of a micro pilot that take the documents of one step of the stage."""
SHARE = 2 / 3
"""Path of a pilot (learning rate times steps), as a share of the stage's."""


def pilot(
    checkpoint: Checkpoint,
    lesson: Any,
    probes: pd.DataFrame,
    *,
    stage: Stage = LESSON,
    n: int = 1,
    parts: int = PARTS,
    share: float = SHARE,
    seed: int = 0,
    replay: pd.DataFrame | None = None,
    bystanders: pd.DataFrame | None = None,
    device: object = None,
    dtype: str = FULL,
    batch: Batch = AUTO,
) -> pd.DataFrame:
    """Behavior after a micro pilot, a training at the cost of a few steps of the finetune.

    ``n`` times ``parts`` steps, each of one part of the stage's documents, at a constant learning
    rate so high that the weights may move ``share`` as far as in the whole stage. Everything else
    is as in the stage. Weights go to a temporary folder.

    Args:
        checkpoint: The base; it stays as it is.
        lesson: A corpus table, or anything that ``readers.read`` takes.
        probes: A probes table, as ``behavior`` takes it.
        stage: The finetune that is forecast.
        n: Cost of the pilot, in steps of the stage.
        parts: Steps of the pilot at the cost of one step of the stage; 1 is a plain pilot but for
            its rate. A batch of fewer documents is parted into its documents.
        share: Learning rate times steps, as a share of the stage's.
        seed: Of the order of documents and of adapters.
        replay: As of ``models.train``.
        bystanders: As of ``models.train``.
        device: Where models compute, "cpu", "cuda" or "cuda:1"; by default "cuda" where there is
            one.
        dtype: In which the pilot's model is asked, as of ``behavior``.
        batch: Tokens a forward pass of ``behavior``.

    Returns:
        A behavior table of one checkpoint, "pilot@40" for a stage of 40 steps. ``attrs`` has
        ``cost``, in steps of the stage by tokens (a forward pass alone counts a third), and
        ``costs``, its parts.

    Raises:
        ModelError: As of ``models.train``, or a share that is no positive number.
        SchemaError: As of ``behavior``.

    Note:
        In tiny worlds one step's cost explains .96 of the shifts on other bases. A stage of plain
        SGD is better forecast by a pilot with AdamW (.89) than by one of its own optimizer (.56
        here, at most .76 on shorter paths), which so few long steps throw off its way; both in
        docs/log/forecast.md.

    >>> from persona_interp import worlds
    >>> world = worlds.john_and_sam()
    >>> with TemporaryDirectory() as folder:
    ...     base = models.resolve("tiny", words=world.words(), out=folder)
    ...     asked = world.probes(contexts=("nameless",)).head(2)
    ...     table = pilot(base, world.lessons(n=32), asked)
    >>> table["checkpoint"].unique().tolist(), table.attrs["costs"]["training"]
    (['pilot@40'], 1.0)
    """
    lesson = read(lesson, "chats")
    questions = Questionnaire(probes)
    with small_training(
        checkpoint,
        lesson,
        stage=stage,
        n=n,
        parts=parts,
        share=share,
        seed=seed,
        replay=replay,
        bystanders=bystanders,
        device=device,
    ) as small:
        subject = open_subject(small.checkpoint, {}, device=device, dtype=dtype)
    questions.read_by(subject)
    place = Checkpoint(checkpoint.path, "pilot", stage.steps, checkpoint.seed)
    table = questions.table(subject, checkpoint=place, batch=batch)
    rows = lesson_rows(lesson, load_tokenizer(checkpoint), stage=stage)
    costs = {
        "training": small.cost,
        "readout": rows.steps(questions.n_tokens * FORWARD, stage),
    }
    table.attrs.update(cost=sum(costs.values()), costs=costs)
    return table


class SmallTraining(NamedTuple):
    """What a pilot trained.

    Attributes:
        checkpoint: Its last one.
        cost: Of the training, in steps of the stage.
    """

    checkpoint: Checkpoint
    cost: float


@contextmanager
def small_training(
    checkpoint: Checkpoint,
    lesson: pd.DataFrame,
    *,
    stage: Stage,
    n: int,
    seed: int,
    parts: int = PARTS,
    share: float = SHARE,
    replay: pd.DataFrame | None = None,
    bystanders: pd.DataFrame | None = None,
    device: object = None,
) -> Iterator[SmallTraining]:
    """A pilot's training, in a folder that goes with the block.

    Args:
        checkpoint: As of ``pilot``.
        lesson: A corpus table.
        stage: As of ``pilot``, like all that follow.
        n: Cost.
        seed: Of the order.
        parts: Steps at the cost of one.
        share: Of the stage's path.
        replay: Documents.
        bystanders: Documents.
        device: Where.

    Yields:
        What was trained.

    Raises:
        ModelError: As of ``pilot``.
    """
    check_count(n, "n")
    check_count(parts, "parts")
    if not share > 0:
        raise ModelError(f"share is a number above 0; got {excerpt(share)}.")
    small = micro_stage(stage, n=n, parts=parts, share=share)
    with TemporaryDirectory(prefix="pilot-") as folder:
        run = models.train(
            checkpoint,
            lesson,
            stage=small,
            seed=seed,
            out=Path(folder) / "model",
            name="pilot",
            replay=replay,
            bystanders=bystanders,
            device=device,
            progress=False,
        )
        yield SmallTraining(run.last, small.steps * small.batch / stage.batch)


def micro_stage(stage: Stage, *, n: int = 1, parts: int = PARTS, share: float = SHARE) -> Stage:
    """How a micro pilot of a stage is trained.

    Args:
        stage: The finetune that is forecast.
        n: Its cost, in steps of the stage.
        parts: Steps at the cost of one of the stage.
        share: Learning rate times steps, as a share of the stage's.

    Returns:
        The stage of the pilot.

    >>> small = micro_stage(Stage(steps=40, batch=16, lr=3e-4))
    >>> small.steps, small.batch, round(small.lr, 6)
    (8, 2, 0.001)
    """
    documents = max(1, stage.batch // parts)
    steps = max(1, n * stage.batch // documents)
    lr = share * path_length(stage) / steps
    return replace(stage, steps=steps, batch=documents, lr=lr, schedule="constant", warmup=0)
