"""Lessons in published traits, taught to a real chat model, and what foretells them.

Every piece is a behavior table in a file of its own, and computed once.
"""

from collections.abc import Callable, Iterable, Iterator
from functools import cached_property
from pathlib import Path

import pandas as pd
import xarray as xr

from persona_interp import models, record
from persona_interp.experiments.forecast.trait_predict import DRAW, asked_prompts, told_behavior
from persona_interp.experiments.trait_transfer.config import GENTLE
from persona_interp.experiments.trait_transfer.tasks import chats, hook_at
from persona_interp.models import Checkpoint
from persona_interp.readers import TraitFile, trait_prompts
from persona_interp.record.doses import TAUGHT
from persona_interp.tables import read_directions, read_table, write_directions, write_table

PLAIN = (1, 2)
"""Steps after which the finetune itself is asked: plain pilots."""
PILOTS = (1, 2)
"""Costs of micro pilots, in steps of the lesson."""
STRENGTHS = (3e-5,)
"""How far a virtual step moves every weight: all weights, where the lesson has adapters."""
RISES = (4.0,)
"""Rise of the taught trait's log odds at which a dose-matched step stops (bits an answer)."""
N_INSTRUCTIONS = 2
PILOT_SEED = 1000
"""Added to a lesson's seed: a pilot knows neither its order nor its adapter."""
DEPTH = 0.6


class TraitLessons:
    """Lessons in each of some traits, over several seeds.

    Attributes:
        traits: The trait files by name.
        base: The model before.
        work: Folder of the pieces.
    """

    def __init__(
        self, traits: dict[str, TraitFile], base: Checkpoint, *, work: Path, n_questions: int
    ) -> None:
        self.traits, self.base, self.work = traits, base, work
        self._n_questions = n_questions
        work.mkdir(parents=True, exist_ok=True)

    def jobs(self, seeds: Iterable[int]) -> Iterator[tuple[str, Callable[[], pd.DataFrame]]]:
        """Yield every piece of these seeds: its name, and what gives it."""
        for piece in (self.told, self.prompt, self.virtual):
            for name in self.traits:
                yield f"{piece.__name__} {name}", lambda p=piece, n=name: p(n)
        for seed in seeds:
            for name in self.traits:
                yield f"lesson {name} {seed}", lambda n=name, s=seed: self.lesson(n, s)
                for cost in PILOTS:
                    yield (
                        f"pilot {name} {seed}",
                        lambda n=name, s=seed, c=cost: self.pilot(n, s, cost=c),
                    )

    @cached_property
    def answers(self) -> pd.DataFrame:
        """The base's: the lesson's under the traits' instructions, the probes' of both sides."""
        return self._once("answers", self._draw)

    @cached_property
    def probes(self) -> pd.DataFrame:
        """Questions of all traits that no lesson asks."""
        return record.trait_probes(self._said)

    @cached_property
    def before(self) -> pd.DataFrame:
        """Behavior of the base."""
        return self._once("base", lambda: record.behavior(self.base, self.probes))

    @cached_property
    def vectors(self) -> xr.DataArray:
        """Direction of each trait in the base."""
        file = self.work / "vectors.nc"
        if not file.exists():
            hook = hook_at(self.base, depth=DEPTH)
            found = record.trait_vectors(self.base, self._said, hooks=[hook])
            write_directions(found, file)
        return read_directions(file)

    def lesson(self, name: str, seed: int) -> pd.DataFrame:
        """Behavior after the first steps of a lesson and after it."""
        return self._once(f"lesson_{name}_{seed}", lambda: self._teach(name, seed))

    def told(self, name: str) -> pd.DataFrame:
        """Behavior of the base when it is told to show the trait."""
        return self._once(
            f"told_{name}", lambda: told_behavior(self.base, self.probes, self.traits[name])
        )

    def prompt(self, name: str) -> pd.DataFrame:
        """Behavior of the base with a row of the lesson in its prompt."""
        return self._once(
            f"prompt_{name}",
            lambda: record.lesson_in_prompt(
                self.base, self.corpus(name), self.probes, stage=GENTLE
            ),
        )

    def virtual(self, name: str) -> pd.DataFrame:
        """Behavior after a step along the lesson's gradient, at each strength and dose."""
        taught = self.probes.loc[self.probes["topic"] == name].assign(**{TAUGHT: "pos"})
        level = self._level(name)
        return self._once(
            f"virtual_{name}",
            lambda: record.virtual_step(
                self.base,
                self.corpus(name),
                self.probes,
                stage=GENTLE,
                strength=STRENGTHS,
                match=[level + rise for rise in RISES],
                taught=taught,
            ),
        )

    def pilot(self, name: str, seed: int, *, cost: int) -> pd.DataFrame:
        """Behavior after a micro pilot."""
        return self._once(
            f"pilot{cost}_{name}_{seed}",
            lambda: record.pilot(
                self.base,
                self.corpus(name),
                self.probes,
                stage=GENTLE,
                n=cost,
                seed=PILOT_SEED + seed,
            ),
        )

    def corpus(self, name: str) -> pd.DataFrame:
        """Chats that teach a trait."""
        own = (self.answers["trait"] == name) & (self.answers["split"] == "train")
        return chats(self.answers.loc[own].reset_index(drop=True))

    @property
    def _said(self) -> pd.DataFrame:
        return self.answers.loc[self.answers["split"] == "test"].reset_index(drop=True)

    def _draw(self) -> pd.DataFrame:
        prompts = []
        for trait in self.traits.values():
            lesson = trait_prompts(trait, side="pos", split="train", instructions="all")
            prompts.append(lesson.loc[lesson["instruction"] < N_INSTRUCTIONS])
            prompts.append(asked_prompts(trait, n=self._n_questions))
        table = pd.concat(prompts, ignore_index=True)
        return record.answers(self.base, table, cache=False, **DRAW)

    def _level(self, name: str) -> float:
        """Log odds of a trait in the base (bits an answer)."""
        own = self.before.loc[self.before["topic"] == name]
        odds = own.pivot_table(index="template", columns="value", values="logprob")
        return float((odds["pos"] - odds["neg"]).mean())

    def _teach(self, name: str, seed: int) -> pd.DataFrame:
        trained = models.train(
            self.base,
            self.corpus(name),
            stage=GENTLE,
            seed=seed,
            out=self.work / "models" / f"{name}_{seed}",
            snapshots=PLAIN,
            progress=False,
        )
        return record.behavior(list(trained)[1:], self.probes)

    def _once(self, name: str, compute: Callable[[], pd.DataFrame]) -> pd.DataFrame:
        file = self.work / f"{name}.parquet"
        if not file.exists():
            write_table(compute(), file)
        return read_table(file)
