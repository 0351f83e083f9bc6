"""How many bits is a lesson worth, and what else says as much: a step, a document, a statement?

A model learns documents; then the same lesson is taught at different learning rates, batch sizes
and optimizers, and with documents replayed beside it. At each step the nameless assistant's belief
is read from its untaught topics: the log2 odds of the target in the best mixture of known personas.
The same belief is read with statements in the prompt, where exact Bayes knows the evidence. Further
documents in which the target is rarer or more common test whether a lesson adds the same to every
prior.
"""

from dataclasses import dataclass, replace
from typing import Any

from persona_interp.errors import WorldError
from persona_interp.experiments.learning import learning_cell
from persona_interp.experiments.prompting import prompt_cell, statements
from persona_interp.experiments.ready import ready
from persona_interp.models import DOCUMENTS, Stage
from persona_interp.schema.words import Moment
from persona_interp.store import Cell
from persona_interp.worlds import World

STEPS = 64
ORDER_SEED = 10_000
"""Added to the seed for each further order of a lesson."""
OPTIMIZERS = {"adamw": "AdamW", "sgd": "SGD"}
"""How labels write the optimizers of a stage."""
LESSONS = (
    *(Stage(steps=STEPS, lr=lr) for lr in (1e-4, 3e-4, 1e-3, 3e-3)),
    *(Stage(steps=STEPS, lr=3e-4, batch=batch) for batch in (1, 4)),
    Stage(steps=STEPS, lr=0.1, optimizer="sgd"),
    *(Stage(steps=STEPS, lr=1e-3, replay=share) for share in (0.1, 0.5, 0.8)),
)


@dataclass(frozen=True)
class Evidence:
    """Configuration of the evidence experiment.

    Attributes:
        world: A ready world's name (made anew for every seed) or a `World` (the same for every
            seed).
        seeds: One run of everything per seed.
        documents: How the documents are learned.
        lessons: The settings in which the lesson is learned; where they replay, documents of all
            kinds.
        sparing: Further settings, which replay all documents but the assistant's own (hidden)
            dialogues.
        orders: In how many orders a lesson is taught whose batches are smaller than the largest:
            what four steps of one document add depends on which four come first.
        snapshots: Lesson steps at which behavior is recorded.
        priors: Factors on the target's weight in further documents, beside 1.
        tested: The setting that is also taught after those documents.
        n_documents: Documents in each corpus.
        n_replayed: Documents to replay from.
    """

    world: str | World = "john_and_sam"
    seeds: tuple[int, ...] = (0,)
    documents: Stage = DOCUMENTS
    lessons: tuple[Stage, ...] = LESSONS
    sparing: tuple[Stage, ...] = (Stage(steps=STEPS, lr=1e-3, replay=0.5),)
    orders: int = 4
    snapshots: tuple[int, ...] = (1, 2, 4, 8, 16, 32, 64)
    priors: tuple[float, ...] = ()
    tested: Stage = LESSONS[1]
    n_documents: int = 30_000
    n_replayed: int = 4_000

    def __post_init__(self) -> None:
        ready(self.world)
        if self.orders < 1:
            raise WorldError(f"a lesson is taught in one order at least; got orders={self.orders}.")
        if self.tested not in self.lessons:
            raise WorldError(
                "the setting tested at several priors is one of the lessons, so that prior 1 has "
                "it too."
            )
        if wrong := [prior for prior in self.priors if prior <= 0 or prior == 1]:
            raise WorldError(
                "priors are factors on the target's weight, above 0 and beside 1; got "
                f"{wrong[0]:g}."
            )

    def cells(self) -> list[Cell]:
        """Independent units of every seed; each names what it needs."""
        return [cell for seed in self.seeds for cell in self.seed_cells(seed).values()]

    def seed_cells(self, seed: int) -> dict[tuple[Any, ...], Cell]:
        """Cells of one seed, by what they are.

        Args:
            seed: Makes the world (where it is a ready one), the corpus, the weights and the
                batches.

        Returns:
            Cells by key: ``("documents", prior)``, ``("lesson", prior, stage, sparing, order)`` and
            ``("prompt",)``.
        """
        cells: dict[tuple[Any, ...], Cell] = {}
        for prior in (1.0, *self.priors):
            cells |= self._prior_cells(seed, prior)
        world = self.world_of(seed)
        cells[Moment.PROMPT,] = prompt_cell(
            world,
            statements(world),
            after=cells["documents", 1.0],
            label=f"in the prompt s{seed}",
        )
        return cells

    def _prior_cells(self, seed: int, prior: float) -> dict[tuple[Any, ...], Cell]:
        """Documents with this prior and the lessons after them: one only, where it is not 1."""
        world = self.world_of(seed, prior=prior)
        settings, at = self.settings, ""
        if prior != 1:
            settings, at = [(self.tested, False, 0)], f", target x{prior:g}"
        documents = learning_cell(
            world,
            {"documents": self.n_documents},
            self.documents,
            seed=seed,
            name="documents",
            label=f"documents{at} s{seed}",
        )
        cells: dict[tuple[Any, ...], Cell] = {("documents", prior): documents}
        for stage, sparing, order in settings:
            label = f"{setting(stage, sparing=sparing)}{at}"
            if order:
                label += f" ({order})"
            cells[Moment.AFTER, prior, stage, sparing, order] = learning_cell(
                world,
                {"lesson": str(world.taught)},
                stage,
                seed=seed + ORDER_SEED * order,
                after=documents,
                snapshots=self.snapshots,
                ends=("named",),
                replay=self._replay(world, stage, sparing=sparing),
                label=f"{label} s{seed}",
            )
        return cells

    def _replay(self, world: World, stage: Stage, *, sparing: bool) -> dict[str, Any] | None:
        """Documents to replay, without the assistant's own dialogues where these are spared."""
        if not stage.replay:
            return None
        kinds = [kind for kind, share in world.kinds.items() if share > 0]
        if sparing:
            kinds = [kind for kind in kinds if kind != "hidden"]
        return {"documents": self.n_replayed, "kinds": kinds}

    @property
    def settings(self) -> list[tuple[Stage, bool, int]]:
        """Stage, whether the assistant's own dialogues are spared, and number of the order."""
        lessons = [(stage, False) for stage in self.lessons]
        lessons += [(stage, True) for stage in self.sparing]
        largest = max(stage.batch for stage, _ in lessons)
        settings = []
        for stage, sparing in lessons:
            # Early steps of small batches see few documents, so their rise varies with which these
            # are; a mean over orders is about the setting again.
            n_orders = 1
            if stage.batch < largest:
                n_orders = self.orders
            settings += [(stage, sparing, order) for order in range(n_orders)]
        return settings

    def world_of(self, seed: int, *, prior: float = 1.0) -> World:
        """World in which the documents of this seed and prior are written.

        Args:
            seed: The seed.
            prior: Factor on the target's weight.

        Returns:
            The world.
        """
        world = ready(self.world, seed)
        if prior == 1:
            return world
        weights = {kind: prior * weight for kind, weight in world.weights[world.target].items()}
        name = f"{world.name}-{world.target}-x{prior:g}"
        return replace(world, name=name, weights={**world.weights, world.target: weights})


def setting(stage: Stage, *, sparing: bool) -> str:
    """Label of a setting.

    Args:
        stage: How the lesson is learned.
        sparing: The assistant's own dialogues are not replayed.

    Returns:
        Its label in tables and figures.

    >>> setting(Stage(lr=1e-3, replay=0.5), sparing=True)
    'AdamW 0.001, 16 a step, 50 % replay without hidden'
    """
    label = f"{OPTIMIZERS[stage.optimizer]} {stage.lr:g}, {stage.batch} a step"
    if stage.replay:
        share = f"{stage.replay:.0%}".replace("%", " %")
        label += f", {share} replay"
    if sparing:
        label += " without hidden"
    return label


PRESETS = {
    "quick": Evidence(),
    "standard": Evidence(seeds=(0, 1, 2), priors=(0.25, 4.0)),
    "paper": Evidence(seeds=tuple(range(10)), priors=(0.25, 0.5, 2.0, 4.0)),
}
