"""What would the whole finetune do if the model were a line? Its gradient flow, played through."""

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from persona_interp.errors import SchemaError, excerpt
from persona_interp.models import LESSON, Checkpoint, Stage
from persona_interp.models.device import Batch
from persona_interp.models.dtype import AUTO, FULL, resolve_dtype
from persona_interp.record.flow import Kernel, Numbers, flow
from persona_interp.record.lesson_gradients import (
    Gradient,
    Weights,
    adam_scale,
    lesson_gradient,
    row_gradients,
)
from persona_interp.record.lesson_rows import (
    FORWARD,
    MOST_ROWS,
    LessonRows,
    check_plain,
    lesson_rows,
)
from persona_interp.record.moved_model import MovedModel, check_sound
from persona_interp.record.questionnaire import Questionnaire
from persona_interp.record.subjects import open_subject
from persona_interp.schema.words import Predictor
from persona_interp.values import check_count

KEPT = 1 << 27
"""Numbers of all rows' gradients that are kept; of more, evenly drawn weights stand for the rest,
and the rows run a second time."""


def kernel_flow(
    checkpoint: Checkpoint,
    lesson: Any,
    probes: pd.DataFrame,
    *,
    steps: Iterable[int] | None = None,
    stage: Stage = LESSON,
    n: int = MOST_ROWS,
    seed: int = 0,
    device: object = None,
    dtype: str = FULL,
    batch: Batch = AUTO,
) -> pd.DataFrame:
    """Behavior where a finetune would end if gradients kept their directions and only shrank.

    The rows' gradients at the base, scaled as the optimizer scales them, say how a step on one row
    raises every other (tangent kernel, Jacot et al. 2018); a row pulls with what is missing to its
    probability. The finetune is played through with one number a row (``flow.flow``), the weights
    are moved in memory by what comes out, asked, and put back bit for bit. Nothing is tuned: how
    far the weights go follows from the stage.

    Args:
        checkpoint: The base.
        lesson: A corpus table, or anything that ``readers.read`` takes.
        probes: A probes table, as ``behavior`` takes it.
        steps: Steps of the stage that are forecast; by default its last.
        stage: The finetune that is forecast.
        n: Most rows of the lesson; of one with more distinct ones so many are drawn by lot.
        seed: Of that lot.
        device: Where the model computes, "cpu", "cuda" or "cuda:1"; by default "cuda" where there
            is one.
        dtype: In which gradients are computed over float32 weights (autocast): "float32",
            "bfloat16", or "auto" for whichever is faster here. Behavior is read in float32.
        batch: Tokens a forward pass of ``behavior``; the rows of the lesson run one by one.

    Returns:
        A behavior table, one checkpoint a step, "kernel flow@40". ``attrs`` has ``cost``, in steps
        of the stage by tokens (a forward pass alone counts a third), and ``costs``, its parts.

    Raises:
        SchemaError: A step outside of the stage, a stage with adapters, or as of ``behavior``.
        ModelError: The stage goes so far that the model computes no numbers, or as of
            ``models.load``.

    >>> from tempfile import TemporaryDirectory
    >>> from persona_interp import models, worlds
    >>> world = worlds.john_and_sam()
    >>> with TemporaryDirectory() as folder:
    ...     base = models.resolve("tiny", words=world.words(), out=folder)
    ...     asked = world.probes(contexts=("nameless",)).head(2)
    ...     table = kernel_flow(base, world.lessons(n=32), asked, steps=(8, 40))
    >>> table["checkpoint"].unique().tolist()
    ['kernel flow@8', 'kernel flow@40']
    """
    check_plain(stage)
    check_count(n, "n")
    check_count(seed, "seed", least=0)
    asked = [stage.steps] if steps is None else sorted({check_count(one, "steps") for one in steps})
    if not asked or asked[-1] > stage.steps:
        raise SchemaError(
            f"steps are steps of the stage, 1 to {stage.steps}; got {excerpt(asked)}."
        )
    questions = Questionnaire(probes)
    subject = open_subject(checkpoint, {}, device=device, dtype=FULL)
    questions.read_by(subject)
    rows = lesson_rows(lesson, subject.tokenizer, stage=stage, n=n, seed=seed)
    pulls = _Pulls(subject.model, rows, stage, dtype=resolve_dtype(dtype, device))
    path = flow(pulls.kernel, stage)
    tables = []
    for step in asked:
        moved = MovedModel(subject.model, pulls.direction(path[step - 1]))
        place = replace(checkpoint, stage=str(Predictor.FLOW), step=step, name="")
        with moved.at(1.0):
            table = questions.table(subject, checkpoint=place, batch=batch)
        tables.append(check_sound(table, moved=f"after {step} steps of the flow"))
    table = pd.concat(tables, ignore_index=True)
    costs = {
        "gradient": rows.steps(pulls.n_passes * rows.n_tokens, stage),
        "readout": rows.steps(len(asked) * questions.n_tokens * FORWARD, stage),
    }
    table.attrs.update(cost=sum(costs.values()), costs=costs)
    return table


class _Pulls:
    """Gradients of a lesson's rows at a model, scaled as the optimizer scales them.

    Attributes:
        kernel: Their inner products.
        n_passes: How often all rows ran forward and backward.
    """

    def __init__(self, model: Any, rows: LessonRows, stage: Stage, *, dtype: str) -> None:
        self._model, self._rows, self._dtype = model, rows, dtype
        n_weights = sum(weight.numel() for weight in model.parameters())
        self._every = -(-n_weights * len(rows.docs) // KEPT)
        self._share = rows.counts / rows.counts.sum()
        kept: list[Tensor] = [torch.empty(0)] * len(rows.docs)

        def keep(row: int, grads: Weights) -> None:
            kept[row] = self._numbers(grads) / float(self._share[row])

        gradient = lesson_gradient(model, rows, spread=True, dtype=dtype, batch=1, keep=keep)
        self.n_passes = 1
        self._scale = _scale(gradient, stage)
        self._rows_kept = torch.stack(kept)
        scaled = self._rows_kept * self._numbers(self._scale)
        products = self._every * (scaled @ self._rows_kept.T).double().numpy()
        self.kernel = Kernel(products, self._share, np.array(gradient.logprob), rows.n_learned)

    def direction(self, moved: Numbers) -> Weights:
        """What the weights are moved against, by name, if each row has moved them so far."""
        if self._every == 1:
            flat = torch.from_numpy(moved).float() @ self._rows_kept
            shapes = {name: scale.shape for name, scale in self._scale.items()}
            parts = flat.split([shape.numel() for shape in shapes.values()])
            grads = {
                name: part.view(shape)
                for (name, shape), part in zip(shapes.items(), parts, strict=True)
            }
        else:
            self.n_passes += 1
            grads = self._weighted(moved / self._share)
        return {
            name: grad.to(self._scale[name]) * self._scale[name] for name, grad in grads.items()
        }

    def _weighted(self, weights: Numbers) -> Weights:
        """Gradient of the lesson, each row's part times its weight."""
        total: Weights = {}
        parts = row_gradients(self._model, self._rows, alone=True, dtype=self._dtype, batch=1)
        for (row,), _, grads in parts:
            for name, grad in grads.items():
                part = grad.mul_(float(weights[row]))
                total[name] = total[name].add_(part) if name in total else part
        return total

    def _numbers(self, weights: Weights) -> Tensor:
        """Numbers of the weights that are kept, one after the other."""
        if self._every == 1:
            return torch.cat([part.flatten() for part in weights.values()]).float().cpu()
        return (
            torch.cat([part.flatten()[:: self._every] for part in weights.values()]).float().cpu()
        )


def _scale(gradient: Gradient, stage: Stage) -> Weights:
    """What the optimizer multiplies gradients by."""
    if stage.optimizer == "sgd":
        return {name: torch.ones_like(grad) for name, grad in gradient.mean.items()}
    return adam_scale(gradient, stage=stage)
