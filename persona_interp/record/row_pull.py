"""Which rows of a lesson move which untaught trait? Each row left out of a few long steps.

Rows compete: what one has taught already, another teaches no more. A derivative at the base does
not see that, and neither does one half-way. So the lesson is played through with few steps on all
its distinct rows at once, which leaves no chance in it, and again without each row. The weights
are put back bit for bit.
"""

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import torch
from tqdm import tqdm

from persona_interp.errors import SchemaError
from persona_interp.models import LESSON, Checkpoint, Stage
from persona_interp.models.device import Batch
from persona_interp.models.dtype import AUTO, FULL, resolve_dtype
from persona_interp.record.lesson_gradients import row_gradients
from persona_interp.record.lesson_rows import (
    FORWARD,
    MOST_ROWS,
    LessonRows,
    check_plain,
    lesson_rows,
    path_length,
)
from persona_interp.record.questionnaire import Questionnaire
from persona_interp.record.subjects import Subject, open_subject
from persona_interp.values import check_count

SHARE = 2 / 3
"""Path of the few steps (learning rate times steps), as a share of the stage's."""
CELL = ["context", "persona", "trait"]


def row_pull(
    checkpoint: Checkpoint,
    lesson: Any,
    probes: pd.DataFrame,
    *,
    stage: Stage = LESSON,
    steps: int = 8,
    share: float = SHARE,
    n: int = MOST_ROWS,
    seed: int = 0,
    device: object = None,
    dtype: str = FULL,
    batch: Batch = AUTO,
) -> pd.DataFrame:
    """By how much each row of a lesson raises the log odds of each trait (bits).

    A few steps of Adam on all distinct rows together, and the same without each row; the pull of a
    row is the log odds after the one minus those after the other, as the mean over templates. It is
    the influence of leaving one out (Koh and Liang 2017), retrained rather than approximated, in a
    training so small that it can be repeated for every row.

    Args:
        checkpoint: The base; it stays as it is.
        lesson: A corpus table, or anything that ``readers.read`` takes.
        probes: A probes table, as ``behavior`` takes it.
        stage: The finetune that is forecast: path, betas, clip, loss and the unit of the cost.
        steps: Of the small training, each on all rows.
        share: Its learning rate times its steps, as a share of the stage's.
        n: Most rows; of a lesson with more distinct ones so many are drawn by lot.
        seed: Of that lot.
        device: Where the model computes, "cpu", "cuda" or "cuda:1"; by default "cuda" where there
            is one.
        dtype: Of autocast in training: "float32", "bfloat16", or "auto".
        batch: Tokens a forward pass, padding included.

    Returns:
        One row a distinct chat, context, persona and trait: ``doc`` (the first document with this
        chat), ``pull`` (bits), the largest first within each trait. ``attrs["cost"]`` is in steps
        of the stage by tokens (a forward pass alone counts a third).

    Raises:
        SchemaError: Fewer than two distinct rows, a stage with adapters, or as of ``behavior``.
        ModelError: As of ``models.load``.

    Note:
        Its datamodeling score, and those of cheaper scores, stand in docs/log/forecast.md.

    >>> from tempfile import TemporaryDirectory
    >>> from persona_interp import models, worlds
    >>> world = worlds.john_and_sam()
    >>> with TemporaryDirectory() as folder:
    ...     base = models.resolve("tiny", words=world.words(), out=folder)
    ...     asked = world.probes(contexts=("nameless",)).head(1)
    ...     table = row_pull(base, world.lessons(n=3), asked, steps=1)
    >>> len(table), table["doc"].nunique()
    (24, 3)
    """
    check_plain(stage)
    check_count(steps, "steps")
    questions = Questionnaire(probes)
    subject = open_subject(checkpoint, {}, device=device, dtype=FULL)
    questions.read_by(subject)
    rows = lesson_rows(lesson, subject.tokenizer, stage=stage, n=n, seed=seed)
    if len(rows.docs) < 2:
        raise SchemaError(
            "the pull of a row is seen among others; this lesson has one distinct row."
        )
    small = _Small(subject, rows, stage=stage, steps=steps, rate=share * path_length(stage) / steps)
    reading: dict[str, Any] = {"dtype": resolve_dtype(dtype, device), "batch": batch}

    def odds(counts: np.ndarray) -> pd.Series:
        try:
            small.train(counts, **reading)
            return _log_odds(questions.table(subject, checkpoint=checkpoint, batch=batch))
        finally:
            small.put_back()

    whole = odds(rows.counts)
    tables = []
    for row, doc in enumerate(tqdm(rows.docs, desc="rows", delay=2)):
        counts = rows.counts.copy()
        counts[row] = 0
        pull = (whole - odds(counts)).rename("pull").reset_index()
        tables.append(pull.assign(doc=doc))
    table = pd.concat(tables, ignore_index=True).loc[:, ["doc", *CELL, "pull"]]
    order = [*CELL, "pull"]
    table = table.sort_values(by=order, ascending=[True, True, True, False], kind="stable")
    n_runs = 1 + len(rows.docs)
    n_read = n_runs * questions.n_tokens * FORWARD
    table.attrs["cost"] = rows.steps(n_runs * steps * rows.n_tokens + n_read, stage)
    return table.reset_index(drop=True)


class _Small:
    """A small training in memory, without chance, on as many of the rows as have a weight."""

    def __init__(
        self, subject: Subject, rows: LessonRows, *, stage: Stage, steps: int, rate: float
    ) -> None:
        self._model, self._rows = subject.model, rows
        self._stage, self._steps, self._rate = stage, steps, rate
        self._weights = list(subject.model.parameters())
        self._kept = [weight.detach().clone() for weight in self._weights]

    def train(self, counts: np.ndarray, *, dtype: str, batch: Batch) -> None:
        """Take all steps on rows that occur so often."""
        optimizer = torch.optim.AdamW(
            self._weights, lr=self._rate, betas=self._stage.betas, weight_decay=0.0
        )
        rows = replace(self._rows, counts=counts)
        weights = dict(self._model.named_parameters())
        for _ in range(self._steps):
            for weight in self._weights:
                weight.grad = None
            # parts of the gradient of the mean loss, which add up to it
            parts = row_gradients(self._model, rows, alone=False, dtype=dtype, batch=batch)
            for _, _, grads in parts:
                for name, grad in grads.items():
                    own = weights[name].grad
                    weights[name].grad = grad if own is None else own.add_(grad)
            if self._stage.clip:
                torch.nn.utils.clip_grad_norm_(self._weights, self._stage.clip)
            optimizer.step()

    def put_back(self) -> None:
        """Every weight is what it was, to the last bit."""
        with torch.no_grad():
            for weight, kept in zip(self._weights, self._kept, strict=True):
                weight.copy_(kept)
                weight.grad = None


def _log_odds(behavior: pd.DataFrame) -> pd.Series:
    """Log odds of each trait (bits), the mean over templates."""
    p = 2.0 ** behavior["logprob"]
    others = p.groupby(behavior["prompt"]).transform("sum") - p
    table = behavior[["context", "persona"]].assign(
        trait=behavior["topic"] + "=" + behavior["value"],
        odds=behavior["logprob"] - np.log2(others),
    )
    return pd.Series(table.groupby(CELL)["odds"].mean())
