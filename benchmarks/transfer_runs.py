"""What is read of a transfer run? Raw tables of every arm, and of the inside where it is asked."""

import itertools
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pandas as pd

from persona_interp.errors import WorldError
from persona_interp.experiments.transfer.arms import ARMS
from persona_interp.schema.words import Arm
from trial import Trial

if TYPE_CHECKING:
    from persona_interp.worlds import World


@dataclass(frozen=True)
class TransferRun:
    """Raw results of one seed.

    Attributes:
        world: The world.
        behavior: Probabilities of answers by arm and learning rate.
        inside: Datasets and tables by name, see ``inside_files``.
    """

    world: "World"
    behavior: dict[tuple[str, float], pd.DataFrame]
    inside: dict[str, Any] = field(default_factory=dict)

    @property
    def lrs(self) -> list[float]:
        """Learning rates of the lesson, each once."""
        return list(dict.fromkeys(lr for _, lr in self.behavior))


def transfer_runs(trial: Trial, *, inside: bool = False) -> list[TransferRun]:
    """Run the transfer experiment and read what claims are about, one item a seed."""
    from persona_interp import worlds
    from persona_interp.tables import read_dataset, read_table

    arms = possible_arms(trial)
    experiment = trial.preset(
        "transfer", world=trial.world, arms=arms, n_samples=1, bystanders=("named",)
    )
    lessons = list(itertools.product(["lesson"], arms, experiment.lrs))
    files = inside_files(experiment) if inside else {}
    keys = [*lessons, *(key for key, _ in files.values())]
    cells = {seed: experiment.seed_cells(seed) for seed in trial.seeds}
    store = trial.run(cells[seed][key] for seed in trial.seeds for key in keys)
    runs = []
    for seed in trial.seeds:
        own = cells[seed]
        behavior = {}
        for _, arm, lr in lessons:
            folder = store.path(own["lesson", arm, lr])
            tables = [read_table(folder / f"{name}.parquet") for name in ("behavior", "bystanders")]
            behavior[arm, lr] = pd.concat(tables)
        contents = {}
        for name, (key, file) in files.items():
            read = read_dataset if file.endswith(".nc") else read_table
            contents[name] = read(store.path(own[key], file))
        world = worlds.load(store.path(own["layout",], "world.json"))
        runs.append(TransferRun(world, behavior, contents))
    return runs


def possible_arms(trial: Trial) -> tuple[str, ...]:
    """Arms that the world allows: a small one may have nobody who could take the target's place."""
    world = trial.world_of(trial.seeds[0])
    makes = {Arm.REWIRED: world.rewired, Arm.ABSENT: lambda: world.without(world.target)}
    impossible = []
    for arm, make in makes.items():
        try:
            make()
        except WorldError as error:
            print(f"{'':9}  without the arm '{arm}': {error}", flush=True)
            impossible.append(arm)
    return tuple(arm for arm in ARMS if arm not in impossible)


def inside_files(experiment: Any) -> dict[str, tuple[tuple[Any, ...], str]]:
    """Key of the cell and name of the file, by what is read of the inside."""
    lr, late, early = max(experiment.lrs), experiment.hooks[0], experiment.hooks[-1]
    lesson = ("features", Arm.LESSON, lr)
    personas = ("personas", lr)
    return {
        "features": ((*lesson, late), "features.nc"),
        "fidelity": ((*lesson, late), "fidelity.parquet"),
        "control": (("features", Arm.UNRELATED, lr, late), "features.nc"),
        "scores": ((*personas, late), "scores.parquet"),
        "hidden": ((*personas, late), "features.nc"),
        "named": ((*personas, early), "named.nc"),
        "neutral": ((*lesson, early), "acts.nc"),
        "edited": (("causes", lr, early), "behavior.parquet"),
        "edits": (("causes", lr, early), "edits.parquet"),
    }
