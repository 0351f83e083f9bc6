"""Where are the weights of a model, and of the same model later in its training?"""

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from persona_interp.card import card
from persona_interp.errors import LONGEST, ModelError, excerpt, quote_path
from persona_interp.files import read_object, write_text
from persona_interp.models.weight_files import hash_weight_files

INDEX = "trajectory.json"
ROW = {"path": str, "stage": str, "step": int, "seed": int}
"""What an index says of every checkpoint."""


@dataclass(frozen=True)
class Checkpoint:
    """Place of a model's weights, with the training and the step that made them.

    Args:
        path: A saved Hugging Face folder: config, safetensors and tokenizer.
        stage: Name of the training stage that made it; "" for a start.
        step: Optimizer step within the stage; 0 = before it.
        seed: Seed of the run.
        name: What tables and figures call it, where stage and step do not say it: a hub id, an
            adapter's folder. Two sources of one name are told apart by
            ``dataclasses.replace(checkpoint, name="other")``.
        trusted: Whether code in the folder may run; only ``resolve`` with ``trust`` says so.

    >>> Checkpoint(Path("model"), stage="lesson", step=8).label
    'lesson@8'
    """

    path: Path
    stage: str = ""
    step: int = 0
    seed: int = 0
    name: str = ""
    trusted: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "path", Path(self.path))

    @property
    def label(self) -> str:
        """Name in tables and figures."""
        return self.name or f"{self.stage or self.path.name}@{self.step}"

    def _repr_html_(self) -> str:
        path = quote_path(self.path)[1:-1]
        rows = {"label": self.label, "stage": self.stage, "step": self.step, "seed": self.seed}
        return card("Checkpoint", {**rows, "path": path})


@dataclass(frozen=True)
class Trajectory:
    """Checkpoints of one stage of training, in order of step.

    Args:
        checkpoints: In order of step, distinct labels; the first is the state before the stage.
        stopped: Step at which a watch ended the training before its stage was over; None where it
            came to its end.

    Raises:
        ModelError: No checkpoint, steps that do not rise, several stages or seeds, or stopped
            elsewhere than at the last step.

    >>> run = Trajectory((Checkpoint(Path("a"), "lesson", 0), Checkpoint(Path("b"), "lesson", 8)))
    >>> [c.label for c in run], run.last.step
    (['lesson@0', 'lesson@8'], 8)
    """

    checkpoints: tuple[Checkpoint, ...]
    stopped: int | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "checkpoints", tuple(self.checkpoints))
        steps = [c.step for c in self.checkpoints]
        if not steps or steps != sorted(set(steps)):
            raise ModelError(
                "a trajectory holds checkpoints in rising order of step; got the steps "
                f"{excerpt(steps)}."
            )
        if len({(c.stage, c.seed) for c in self.checkpoints}) > 1:
            names = sorted(
                {f"stage '{c.stage[:LONGEST]}', seed {c.seed}" for c in self.checkpoints}
            )
            raise ModelError(
                f"a trajectory is one stage of one run; got {'; '.join(names)}. Make one for each."
            )
        if self.stopped not in (None, steps[-1]):
            raise ModelError(
                f"a trajectory that was stopped ends there; got stopped={self.stopped} and the "
                f"steps {excerpt(steps)}."
            )

    def __repr__(self) -> str:
        stopped = "" if self.stopped is None else ", stopped by its watch"
        return f"Trajectory({self._steps()}, {self.first.label!r} to {self.last.label!r}{stopped})"

    def _repr_html_(self) -> str:
        rows = {"first": self.first.label, "last": self.last.label, "seed": self.first.seed}
        if self.stopped is not None:
            rows["stopped"] = self.stopped
        return card("Trajectory", {"checkpoints": self._steps(), **rows})

    def _steps(self) -> str:
        return f"{len(self)} checkpoint{'s' if len(self) > 1 else ''}"

    def __iter__(self) -> Iterator[Checkpoint]:
        return iter(self.checkpoints)

    def __len__(self) -> int:
        return len(self.checkpoints)

    def __getitem__(self, index: int) -> Checkpoint:
        return self.checkpoints[index]

    @property
    def first(self) -> Checkpoint:
        """The state before the stage."""
        return self.checkpoints[0]

    @property
    def last(self) -> Checkpoint:
        """The state after the stage."""
        return self.checkpoints[-1]

    def save(self, folder: Path | str, *, config: str = "") -> Path:
        """Write the index that ``open`` reads.

        Args:
            folder: Folder to write ``trajectory.json`` into; paths in it are relative to this
                folder.
            config: Hash of the configuration that made the trajectory.

        Returns:
            The index file.
        """
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        rows = [
            {
                "path": os.path.relpath(c.path.absolute(), folder.absolute()),
                "stage": c.stage,
                "step": c.step,
                "seed": c.seed,
                "weights": hash_weight_files(c.path),
            }
            for c in self.checkpoints
        ]
        # the index says that the training is complete, so it must never be seen half written
        index: dict[str, Any] = {"config": config, "checkpoints": rows}
        if self.stopped is not None:
            index["stopped"] = self.stopped
        text = json.dumps(index, indent=1) + "\n"
        return write_text(text, folder / INDEX)

    @classmethod
    def open(cls, folder: Path | str) -> "Trajectory":
        """Read the trajectory that was saved in a folder.

        Args:
            folder: A folder that ``save`` or ``train`` wrote.

        Returns:
            The trajectory.

        Raises:
            ModelError: There is none, it cannot be read, or a checkpoint of it is gone or has other
                weights than it had.
        """
        index = read_index(folder)
        if index is None:
            raise ModelError(
                f"{folder} holds no {INDEX}: the training did not finish. Train again with this "
                "out."
            )
        checkpoints = []
        for row in index["checkpoints"]:
            path = Path(os.path.normpath(Path(folder) / row["path"]))
            checkpoint = Checkpoint(path, row["stage"], row["step"], row["seed"])
            label = checkpoint.label[:LONGEST]
            if not _holds_model(path):
                raise ModelError(
                    f"checkpoint {label} of {folder} is gone: {quote_path(path)} holds no "
                    "config.json. Move a run together with the start it was trained from, or "
                    "train again into a new folder."
                )
            if row.get("weights") not in (None, hash_weight_files(path)):
                raise ModelError(
                    f"checkpoint {label} of {folder} has other weights than when the training "
                    f"ended: {quote_path(path)} was damaged or written again. Train again "
                    "into a new folder."
                )
            checkpoints.append(checkpoint)
        return cls(tuple(checkpoints), stopped=index.get("stopped"))


def _holds_model(path: Path) -> bool:
    """Whether a model is here; a name that no file can have holds none."""
    try:
        return (path / "config.json").is_file()
    except OSError:
        return False


def read_index(folder: Path | str) -> dict[str, Any] | None:
    """Read the index of a trained folder.

    Args:
        folder: Any folder.

    Returns:
        ``config`` (hash), ``checkpoints`` and, of a training that its watch ended, ``stopped``
        (step); None when there is no index.

    Raises:
        ModelError: The index cannot be read.
    """
    index = Path(folder) / INDEX
    if not index.is_file():
        return None
    content = read_object(index, error=ModelError)
    rows = content.get("checkpoints")
    if not isinstance(content.get("config"), str) or not isinstance(rows, list):
        raise ModelError(
            f"{index} is corrupt: it has no config and list of checkpoints. Remove the folder and "
            "train again."
        )
    for row in rows:
        for key, kind in ROW.items():
            value = row.get(key) if isinstance(row, dict) else None
            if type(value) is not kind or (kind is str and "\0" in str(value)):
                raise ModelError(
                    f"{index} is corrupt: every checkpoint has {', '.join(ROW)}; got "
                    f"{excerpt(row)}. Remove the folder and train again."
                )
    return content
