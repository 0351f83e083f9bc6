"""What carries a finetune's effect: which directions and features are enough, and which missed?

Candidates are *removed* from the tuned model and *added* to the base, each alone, in sets and at
several sites together. One half of the questions chooses (how far a finetune moved along each
candidate, which features matter, how hard a push may be), the other half measures;
``analysis.carriers`` says what may be claimed.
"""

from dataclasses import dataclass, field
from typing import Any

from persona_interp.errors import SchemaError, excerpt
from persona_interp.experiments.material import File, Source
from persona_interp.store import Cell
from persona_interp.worlds import World

PRESETS: dict[str, "Causes"] = {}
"""None: causes are of somebody's models; see ``causes``."""
Cells = dict[tuple[str, ...], Cell]
MOST_SIZE = 16
"""Random directions that are drawn for one random edit; a set has at most so many."""
MOST_OWN = 3
"""Of these, directions of the target at one site, which a set of features is joined with."""


@dataclass(frozen=True)
class CausesSettings:
    """How much is tried and measured.

    Attributes:
        questions: Most questions of a trait in each half.
        prompts: Prompts whose answers are drawn under each candidate, of each half.
        draws: Answers to each.
        max_new_tokens: Longest answer (tokens).
        n_features: Features of each dictionary, those whose mean activation the finetunes moved
            most, that are taken out one by one to rank them by what behavior does.
        sets: Sizes of the sets of features, best first.
        axes: Sizes of the sets of axes along which the finetune moved residuals most.
        n_random: Random edits of either kind beside every size.
        n_spoken: How many of these text is drawn under, where a candidate is removed or added.
        n_matched: Sets of other features, as often active, beside every set of features.
        coherence: Nats a token by which text under an edit may surprise the base more than its own
            text does; the whole 95 % interval over prompts has to lie below.
    """

    questions: int = 20
    prompts: int = 16
    draws: int = 2
    max_new_tokens: int = 32
    n_features: int = 12
    sets: tuple[int, ...] = (1, 3)
    axes: tuple[int, ...] = (1, 6)
    n_random: int = 6
    n_spoken: int = 4
    n_matched: int = 2
    coherence: float = 1.0

    def __post_init__(self) -> None:
        counts = (
            self.questions,
            self.prompts,
            self.draws,
            self.max_new_tokens,
            *self.sets,
            *self.axes,
        )
        most = max(*self.axes, *(size + MOST_OWN for size in self.sets))
        if most > MOST_SIZE:
            raise SchemaError(
                f"beside a set stand random ones of its size, of at most {MOST_SIZE}; give axes of "
                f"at most {MOST_SIZE} and sets of at most {MOST_SIZE - MOST_OWN}, got "
                f"axes={self.axes} and sets={self.sets}."
            )
        if min(counts) < 1 or self.n_random < 2 or self.n_features < 0 or self.n_matched < 0:
            raise SchemaError(
                "causes need at least one question, prompt and new token, sets of at least one, "
                f"and two random edits of either kind; got {excerpt(self)}."
            )


@dataclass(frozen=True)
class Causes:
    """A search for causes whose names have been looked up; ``causes`` makes one.

    Attributes:
        base: The model before.
        tuned: Finetunes, several of one lesson.
        target: The persona or trait whose effect it is; others are controls.
        hooks: Sites where candidates are edited.
        world: The world that wrote the documents; without one there are traits.
        traits: Trait files, the target's among them.
        directions: File of candidate directions; made here where there is none.
        sae: Dictionaries.
        control: Other finetunes: the axes along which they moved are controls.
        settings: How much is tried and measured.
        seeds: Seed of every draw.
    """

    base: Source
    tuned: tuple[Source, ...]
    target: str
    hooks: tuple[str, ...]
    world: World | None = None
    traits: tuple[File, ...] = ()
    directions: File | None = None
    sae: tuple[File, ...] = ()
    control: tuple[Source, ...] = ()
    settings: CausesSettings = field(default_factory=CausesSettings)
    seeds: tuple[int, ...] = (0,)

    def cells(self) -> list[Cell]:
        """Independent units; each names what it needs."""
        return [cell for seed in self.seeds for cell in self.seed_cells(seed).values()]

    def seed_cells(self, seed: int) -> Cells:
        """Cells of one seed, by what they are.

        Args:
            seed: Of every draw.

        Returns:
            ``("questions",)``; ``("moved", label)`` and ``("edits", label)`` of every finetune;
            ``("moved", label)`` of every control.
        """
        settings, base = self.settings, self.base.plain()
        measured = {
            "base": base,
            "target": self.target,
            "hooks": list(self.hooks),
            "world": self.world.to_dict() if self.world else None,
            "max_new_tokens": settings.max_new_tokens,
            "draws": settings.draws,
            "seed": seed,
        }
        asked = {
            **measured,
            "traits": [file.plain() for file in self.traits],
            "directions": self.directions.plain() if self.directions else None,
            "questions": settings.questions,
            "n_random": settings.n_random,
            "prompts": settings.prompts,
        }
        cells: Cells = {("questions",): _cell("questions", asked)}
        for source in self.tuned:
            config = measured | {"tuned": source.plain(), "axes": max(settings.axes)}
            config |= {"sae": self._sae(), "n_features": settings.n_features}
            needs = (cells["questions",],)
            cells["moved", source.label] = _cell("moved", config, needs, of=source.label)
        for source in self.control:  # of which features are not asked
            config = measured | {"tuned": source.plain(), "axes": max(settings.axes)}
            config |= {"sae": [], "n_features": 0}
            needs = (cells["questions",],)
            cells["moved", source.label] = _cell("moved", config, needs, of=source.label)
        others = tuple(cells["moved", source.label] for source in self.control)
        # which features are tried is settled by all finetunes together
        every = tuple(cells["moved", source.label] for source in self.tuned)
        for source in self.tuned:
            config = measured | {"tuned": source.plain(), "sae": self._sae()}
            config |= {"sets": list(settings.sets), "axes": list(settings.axes)}
            config |= {"n_random": settings.n_random, "n_matched": settings.n_matched}
            config |= {"n_spoken": settings.n_spoken}
            config |= {"told_coherent": settings.coherence}
            if others:
                config |= {"controls": [other.label for other in self.control]}
            needs = (cells["questions",], cells["moved", source.label], *every, *others)
            cells["edits", source.label] = _cell("edits", config, needs, of=source.label)
        return cells

    def _sae(self) -> list[dict[str, Any]]:
        return [file.plain() for file in self.sae]


def _cell(task: str, config: dict[str, Any], needs: tuple[Cell, ...] = (), *, of: str = "") -> Cell:
    return Cell(f"causes.{task}", config, needs=needs, label=f"{task} {of}".strip())
