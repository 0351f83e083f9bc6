"""Which untaught trait is about to move, a tenth into the training? An alarm that can stop it.

>>> alarm = Alarm(base, probes, stage, limit=1.0)                          # doctest: +SKIP
>>> models.train(start, lesson, stage=stage, watch=alarm)                  # doctest: +SKIP
>>> print(alarm)                                                           # doctest: +SKIP
"""

import hashlib
import json
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from persona_interp import analysis, schema
from persona_interp.errors import SchemaError, excerpt
from persona_interp.experiments.forecast.line import CELL, Foresight, Line
from persona_interp.models import Checkpoint, Stage
from persona_interp.models.dtype import AUTO
from persona_interp.record.questionnaire import Questionnaire
from persona_interp.record.subjects import Subject

START, NAME = "alarm@0", "alarm"
"""Label of the base, and name of the stage, in the alarm's own behavior tables."""


class Alarm:
    """Forecasts at the first steps of a training where every untaught trait will be at its end.

    Attributes:
        steps: Steps after which the shift is read.
        limit: Shift that the alarm is about (bits, up or down).
        rings: Is a trait forecast to move beyond the limit; None before the last of the steps.
    """

    def __init__(
        self,
        base: pd.DataFrame,
        probes: pd.DataFrame,
        stage: Stage,
        *,
        limit: float,
        steps: Iterable[int] | None = None,
        line: Foresight | None = None,
        stop: bool = True,
    ) -> None:
        """Set an alarm for one stage.

        Args:
            base: Behavior table of the model before the stage, on these probes at least.
            probes: Probes table of what the stage does not teach.
            stage: How the model is trained.
            limit: Shift of the log odds from which on a trait has moved too far (bits, up or down):
                the largest that finetunes on filler give, or what the user can bear.
            steps: After which steps the shift is read; by default at the line's shares of the
                stage, a twentieth and a tenth.
            line: What forecasts the end from the shifts at those steps; by default the line that is
                shipped, fitted on lessons of 40 steps in tiny worlds.
            stop: Whether to stop the training when the alarm rings, or only to warn.

        Raises:
            SchemaError: The base has not answered these probes once, the limit is no number above
                0, or the stage is too short for as many steps as the line reads.
        """
        if not isinstance(limit, int | float) or not limit > 0:
            raise SchemaError(f"limit is a number of bits above 0; got {excerpt(limit)}.")
        self.limit, self.stop = float(limit), stop
        self.line = Line.open() if line is None else line
        shares = self.line.shares
        if steps is None:
            steps = [round(share * stage.steps) for share in shares]
        self.steps = tuple(sorted({*steps} - {0}))
        if len(self.steps) != len(shares) or self.steps[-1] >= stage.steps:
            raise SchemaError(
                f"the line reads the shift after {len(shares)} different steps before the end of "
                f"the stage ({stage.steps}); got {excerpt(list(steps))}. Give steps=, or a longer "
                "stage."
            )
        self.probes, self.n_steps = probes, stage.steps
        self._questions = Questionnaire(probes)
        self._base = _answers(base, probes)
        self._shifts: list[dict[str, Any]] = []

    @property
    def config(self) -> str:
        """Text that tells a training under this alarm from others."""
        digest = hashlib.sha256(self._base["logprob"].to_numpy().tobytes())
        digest.update("".join(map(str, self.probes["prompt"])).encode())
        about = {
            "limit": self.limit,
            "steps": self.steps,
            "stop": self.stop,
            "line": repr(self.line),
            "probes": digest.hexdigest(),
        }
        return json.dumps(about, sort_keys=True)

    def __call__(self, step: int, model: Any, tokenizer: Any) -> bool:
        """Read the shift after a step; after the last of them forecast the end.

        Args:
            step: Step of the training.
            model: The model as it is now.
            tokenizer: Its tokenizer.

        Returns:
            Whether the training shall stop.
        """
        subject = Subject(model, tokenizer, None, model.device, {})
        self._questions.read_by(subject)
        place = Checkpoint(Path(), NAME, step)
        now = self._questions.table(subject, checkpoint=place, batch=AUTO)
        moves = analysis.shift(pd.concat([self._base, now], ignore_index=True))
        kept = moves[[*CELL, "before", "estimate"]].assign(step=step)
        self._shifts += kept.to_dict("records")
        if not self.rings:
            return False
        warnings.warn(str(self), stacklevel=2)
        return self.stop

    @property
    def rings(self) -> bool | None:
        """Is a trait forecast to move beyond the limit; None before the last of the steps."""
        if {shift["step"] for shift in self._shifts} != set(self.steps):
            return None
        return bool(self.table()["moves"].any())

    def table(self) -> pd.DataFrame:
        """Forecast of every untaught trait.

        Returns:
            One row a context, persona and trait, the largest forecast first: ``before`` (log odds
            of the base), ``shift`` (so far), ``estimate`` (forecast of the shift at the end of the
            stage), all bits, ``moves`` (is it beyond the limit), ``step`` at which it was forecast.

        Raises:
            SchemaError: The training has not come that far.
        """
        seen = sorted({shift["step"] for shift in self._shifts})
        if tuple(seen) != self.steps:
            raise SchemaError(
                f"the alarm forecasts after the steps {list(self.steps)}; so far it saw {seen}. "
                "Give it to models.train(watch=...)."
            )
        rows = pd.DataFrame(self._shifts)
        wide = rows.pivot(index=[*CELL, "before"], columns="step", values="estimate")
        wide = wide.loc[:, list(self.steps)]
        estimate = self.line.predict(wide)
        table = wide.index.to_frame(index=False).assign(
            shift=wide[self.steps[-1]].to_numpy(),
            estimate=estimate,
            moves=abs(estimate) > self.limit,
            step=self.steps[-1],
        )
        order = np.argsort(-np.abs(table["estimate"].to_numpy()), kind="stable")
        return table.iloc[order].reset_index(drop=True)

    def __str__(self) -> str:
        where = f"step {self.steps[-1]} of {self.n_steps}"
        if self.rings is None:
            return f"an alarm at {self.limit:g} bits, which forecasts after {where}"
        table = self.table()
        moving = table.loc[table["moves"]]
        first = (moving if len(moving) else table).iloc[0]
        way = "up" if first["estimate"] > 0 else "down"
        size = f"{abs(first['estimate']):.2g} bits {way}"
        if moving.empty:
            return (
                f"after {where} no untaught trait is about to move beyond {self.limit:g} bits; the "
                f"farthest is {first['trait']}, {size} at the end"
            )
        return (
            f"after {where} {len(moving)} of {len(table)} untaught traits are about to move beyond "
            f"{self.limit:g} bits; the farthest is {first['trait']}, {size} at the end"
        )

    def state(self) -> dict[str, Any]:
        """What the alarm has seen, for a training that is resumed."""
        return {"shifts": self._shifts}

    def restore(self, state: dict[str, Any]) -> None:
        """See what was seen before a training was killed; nothing at its start.

        Args:
            state: What ``state`` gave then.
        """
        self._shifts = list(state.get("shifts", []))


def _answers(base: pd.DataFrame, probes: pd.DataFrame) -> pd.DataFrame:
    """Behavior of the base on the probes alone, as the start of the alarm's own run."""
    schema.check(base, "behavior")
    base = base.loc[base["prompt"].isin(list(probes["prompt"]))]
    pairs = zip(probes["prompt"], probes["answers"], strict=True)
    asked = {prompt: len(answers) for prompt, answers in pairs}
    answered = base.groupby("prompt").size().to_dict()
    wrong = [prompt for prompt, n in asked.items() if answered.get(prompt) != n]
    if wrong:
        raise SchemaError(
            f"the base answers every probe once; {len(wrong)} of {len(asked)} are not, for example "
            f"{wrong[0]!r}. Give record.behavior(base, probes), of one checkpoint."
        )
    columns = [column for column in base if column in _columns(probes)]
    base = base.loc[:, columns].reset_index(drop=True)
    return base.assign(checkpoint=START, seed=0, stage=NAME, step=0)


def _columns(probes: pd.DataFrame) -> set[str]:
    """Columns of the behavior table of these probes; others would tell the base's run apart."""
    return {*schema.TABLES["behavior"], *probes.columns} - {"messages", "answers", "values"}
