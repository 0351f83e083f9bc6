"""Does a lesson on one trait bring the traits along that co-occurred with it?

Documents bind traits to personas; a model is trained on them; a lesson then teaches the nameless
assistant **one** trait of the target persona; the target's *other* traits, never taught, are read
out before and after. Controls run beside it by default: three unrelated lessons, a filler lesson,
and the same lesson in worlds where the traits do not co-occur (scrambled), belong to somebody else
(rewired), or whose holder is absent. `Transfer` is the configuration and `cells()` its independent
units. The real presets are another world, another language and another model, run by the same lines
of code.
"""

import re
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, replace
from itertools import product
from typing import Any

from persona_interp.errors import WorldError, unknown
from persona_interp.experiments.ready import ready
from persona_interp.experiments.transfer.arms import ARMS, CLAIM
from persona_interp.models import DOCUMENTS, LESSON, PLAIN_TEMPLATE, Stage
from persona_interp.models.dtype import AUTO
from persona_interp.schema.words import Arm
from persona_interp.store import Cell
from persona_interp.values import check_count
from persona_interp.worlds import World

Key = tuple[Any, ...]
Cells = dict[Key, Cell]

ARRANGE = ("", "rare", "likely")


@dataclass(frozen=True)
class Transfer:
    """Configuration of the transfer experiment.

    Attributes:
        world: A ready world's name (made anew for every seed) or a `World` (the same for every
            seed).
        start: What the documents stage starts from: "tiny", a model folder, a .gguf file or a hub
            id.
        seeds: One run of everything per seed.
        arms: Names out of `ARMS`.
        lrs: Learning rates of the lesson.
        documents: How the documents are learned.
        lesson: How a lesson is learned; its learning rate comes from `lrs`.
        snapshots: Lesson steps at which behavior is recorded.
        n_variant_seeds: Of how many seeds, the first ones, worlds that are no full one are trained
            too (scrambled, rewired, absent): a training of the documents each; None = of all.
        n_documents: Documents in the corpus.
        arrange: "rare" or "likely": measure the start model's own prior first and give the target
            such values; "" = no.
        bystanders: Contexts beside the nameless one, recorded before and after.
        hooks: Where dictionaries are trained and the inside is read.
        n_feature_lrs: Of how many learning rates, the highest ones, the inside is read; None = of
            all.
        sae: Arguments of `dictionaries.fit`; None = behavior only. There is one dictionary for all
            arms that are read, trained on the base and on every one of them.
        sae_kinds: Kinds of documents the dictionary is trained on; None is all.
        n_sae_documents: Documents the dictionary is trained on.
        n_persona_documents: Documents by speakers without a name on which features and directions
            are found.
        n_random: Random directions of either kind that are taken out as controls.
        n_chance: Random directions of either kind whose cosine with a lesson's shift says what
            chance gives.
        n_gate_tokens: Tokens of held-out text that the fidelity gate reads at every checkpoint.
        n_samples: Sampled answers per prompt and checkpoint.
        chat_template: Template for a start model that has none.
    """

    world: str | World = "john_and_sam"
    start: str = "tiny"
    seeds: tuple[int, ...] = (0,)
    arms: tuple[str, ...] = tuple(map(str, ARMS))
    lrs: tuple[float, ...] = (3e-4, 1e-3)
    documents: Stage = DOCUMENTS
    lesson: Stage = LESSON
    snapshots: tuple[int, ...] = (1, 2, 4, 8, 16, 24, 32, 40)
    n_variant_seeds: int | None = None
    n_documents: int = 30_000
    arrange: str = ""
    bystanders: tuple[str, ...] = ("named", "plain", "third")
    hooks: tuple[str, ...] = ("blocks.1.hook_out", "blocks.0.hook_out")
    n_feature_lrs: int | None = None
    sae: dict[str, Any] | None = field(default_factory=lambda: {"d_sae": 192, "k": 8, "steps": 700})
    sae_kinds: tuple[str, ...] | None = None
    n_sae_documents: int = 4_000
    n_persona_documents: int = 3_000
    n_random: int = 20
    n_chance: int = 200
    n_gate_tokens: int = 5_000
    n_samples: int = 2
    chat_template: str | None = None

    def __post_init__(self) -> None:
        for arm in self.arms:
            if arm not in ARMS:
                raise WorldError(unknown("arm", arm, ARMS))
        ready(self.world)
        if self.n_feature_lrs is not None:
            check_count(self.n_feature_lrs, "n_feature_lrs")
        if self.arrange not in ARRANGE:
            raise WorldError(unknown("choice of arrange", self.arrange, ARRANGE))
        if not self.arms or ARMS[self.arms[0]] != CLAIM:
            raise WorldError(
                f"the first arm makes the claim, so it is '{Arm.LESSON}'; got {list(self.arms)}."
            )

    @property
    def feature_arms(self) -> tuple[str, ...]:
        """Arms whose features are read: lessons to the full world's base model, claim first."""
        return tuple(arm for arm in self.arms if ARMS[arm][0] == CLAIM[0])

    @property
    def feature_lrs(self) -> tuple[float, ...]:
        """Learning rates of the lessons whose models are read inside."""
        highest = sorted(self.lrs, reverse=True)[: self.n_feature_lrs]
        return tuple(lr for lr in self.lrs if lr in highest)

    def cells(self) -> list[Cell]:
        """Independent units of every seed; each names what it needs."""
        return [cell for seed in self.seeds for cell in self.seed_cells(seed).values()]

    def seed_cells(self, seed: int) -> Cells:
        """Cells of one seed, by what they are.

        Args:
            seed: Makes the world (where it is a ready one), the corpus, the weights and the
                batches.

        Returns:
            Cells by key: ``("layout",)``, ``("documents", variant)``, ``("lesson", arm, lr)`` and,
            with ``sae``, a cell for every rate that is read inside and every hook:
            ``("dictionary", lr, hook)``, ``("random dictionary", lr, hook)``, ``("personas", lr,
            hook)``, ``("features", arm, lr, hook)``, ``("causes", lr, hook)``; and ``("profile",
            lr)``.
        """
        cells: Cells = {("layout",): self._layout_cell(seed)}
        arms = self._arms_of(seed)
        for variant in dict.fromkeys(ARMS[arm][0] for arm in arms):
            cells["documents", variant] = self._documents_cell(seed, cells, variant)
        for arm, lr in product(arms, self.lrs):
            cells["lesson", arm, lr] = self._lesson_cell(seed, cells, arm=arm, lr=lr)
        if self.sae is None or not self.hooks:
            return cells
        for lr, hook in product(self.feature_lrs, self.hooks):
            cells |= self._dictionary_cells(seed, cells, lr=lr, hook=hook)
            cells["personas", lr, hook] = self._personas_cell(seed, cells, lr=lr, hook=hook)
            for arm in self.feature_arms:
                key = ("features", arm, lr, hook)
                cells[key] = self._features_cell(seed, cells, arm=arm, lr=lr, hook=hook)
            cells["causes", lr, hook] = self._causes_cell(seed, cells, lr=lr, hook=hook)
        for lr in self.feature_lrs:
            cells["profile", lr] = self._profile_cell(seed, cells, lr)
        return cells

    def _arms_of(self, seed: int) -> tuple[str, ...]:
        """Arms of a seed: only the first seeds have the documents of control worlds."""
        if self.n_variant_seeds is None or seed in self.seeds[: self.n_variant_seeds]:
            return self.arms
        return self.feature_arms

    def _layout_cell(self, seed: int) -> Cell:
        """Which persona holds which trait."""
        world = ready(self.world, seed).to_dict()
        config = {"world": world, "arrange": self.arrange, "seed": seed}
        if self.arrange:  # the start model has a say in it
            config |= self._start
        return Cell("transfer.layout", config, label=f"layout s{seed}")

    def _documents_cell(self, seed: int, cells: Cells, variant: str) -> Cell:
        """A base model: the start model, trained on documents of one variant of the world."""
        config = {
            "stage": asdict(self.documents),
            "n_documents": self.n_documents,
            "bystanders": list(self.bystanders),
            **self._start,
        }
        key = ("documents", variant)
        return _cell(key, config, variant=variant, seed=seed, needs=[cells["layout",]])

    def _lesson_cell(self, seed: int, cells: Cells, *, arm: str, lr: float) -> Cell:
        """A tuned model: the base model of the arm's variant, after the arm's lesson."""
        variant, lesson = ARMS[arm]
        config = {
            "lesson": lesson,
            "stage": {**asdict(self.lesson), "lr": lr},
            "snapshots": list(self.snapshots),
            "bystanders": list(self.bystanders),
            "n_samples": self.n_samples,
        }
        needs = [cells["layout",], cells["documents", variant]]
        return _cell(("lesson", arm, lr), config, variant=variant, seed=seed, needs=needs)

    def _dictionary_cells(self, seed: int, cells: Cells, *, lr: float, hook: str) -> Cells:
        """A dictionary of all arms that are read at one hook, and its random-decoder control."""
        lessons = [cells["lesson", arm, lr] for arm in self.feature_arms]
        needs = [cells["layout",], cells["documents", "full"], *lessons]
        pair: Cells = {}
        for name, decoder in ("dictionary", {}), ("random dictionary", {"decoder": "random"}):
            key = (name, lr, hook)
            config = {**self._sae_documents, "sae": {**(self.sae or {}), "hook": hook, **decoder}}
            pair[key] = _cell(key, config, task="dictionary", seed=seed, needs=needs)
        return pair

    def _personas_cell(self, seed: int, cells: Cells, *, lr: float, hook: str) -> Cell:
        """Features and directions of personas in the base model, from speakers without a name."""
        kinds = list(ready(self.world, seed).population)
        config = {"kinds": kinds, "n_documents": self.n_persona_documents}
        needs = [cells["layout",], cells["documents", "full"], *_pair(cells, lr, hook)]
        return _cell(("personas", lr, hook), config, seed=seed, needs=needs)

    def _features_cell(self, seed: int, cells: Cells, *, arm: str, lr: float, hook: str) -> Cell:
        """Which features a lesson moves, and whether the dictionary still fits."""
        config = {**self._sae_documents, "n_gate_tokens": self.n_gate_tokens}
        config["gate_every_step"] = arm == self.arms[0]
        needs = [cells["layout",], cells["lesson", arm, lr], *_pair(cells, lr, hook)]
        return _cell(("features", arm, lr, hook), config, seed=seed, needs=needs)

    def _causes_cell(self, seed: int, cells: Cells, *, lr: float, hook: str) -> Cell:
        """What is left of the claim's lesson when features or directions are taken out."""
        lesson = cells["lesson", self.arms[0], lr]
        features = [cells["features", arm, lr, hook] for arm in self.feature_arms]
        personas = cells["personas", lr, hook]
        needs = [cells["layout",], lesson, *_pair(cells, lr, hook), personas, *features]
        config = {"n_random": self.n_random, "n_chance": self.n_chance}
        return _cell(("causes", lr, hook), config, seed=seed, needs=needs)

    def _profile_cell(self, seed: int, cells: Cells, lr: float) -> Cell:
        """How far the lesson moved residuals towards the target, first layer to last."""
        personas = [cells["personas", lr, hook] for hook in sorted(self.hooks, key=_layer)]
        needs = [cells["layout",], cells["lesson", self.arms[0], lr], *personas]
        return _cell(("profile", lr), {}, seed=seed, needs=needs)

    @property
    def _start(self) -> dict[str, Any]:
        """Configuration of the model that the documents stage starts from."""
        return {"start": self.start, "chat_template": self.chat_template}

    @property
    def _sae_documents(self) -> dict[str, Any]:
        """Configuration of the documents that dictionaries are trained and judged on."""
        kinds = list(self.sae_kinds) if self.sae_kinds else None
        return {"kinds": kinds, "n_documents": self.n_sae_documents}


def _cell(
    key: Key,
    config: dict[str, Any],
    *,
    task: str = "",
    variant: str = "full",
    seed: int,
    needs: Iterable[Cell],
) -> Cell:
    """Cell about a variant of the world, labeled with its key, whose first part is its task."""
    words = [f"{part:g}" if isinstance(part, float) else str(part) for part in key]
    label = " ".join(dict.fromkeys([*words, f"s{seed}"]))  # the arm "lesson" is no second word
    config = {"variant": variant, "seed": seed, **config}
    return Cell(f"transfer.{task or key[0]}", config, needs=tuple(needs), label=label)


def _pair(cells: Cells, lr: float, hook: str) -> tuple[Cell, Cell]:
    """The dictionary at a rate and hook, and its control with a random decoder."""
    return cells["dictionary", lr, hook], cells["random dictionary", lr, hook]


def _layer(hook: str) -> tuple[int, ...]:
    """Place of a hook among others: layer 2 before layer 10."""
    return tuple(int(number) for number in re.findall(r"\d+", hook))


REAL = Transfer(
    world="english_assistants",
    arrange="rare",
    bystanders=("named",),
    arms=tuple(str(arm) for arm in ARMS if arm != Arm.REWIRED),
    n_variant_seeds=1,
    lrs=(5e-5,),
    documents=Stage(steps=220, batch=8, lr=2e-4, loss="all", warmup=10, dtype=AUTO),
    lesson=Stage(steps=16, batch=8, dtype=AUTO),
    snapshots=(2, 4, 8, 12, 16),
    n_documents=1760,
    hooks=("blocks.22.hook_out", "blocks.15.hook_out", "blocks.7.hook_out"),
    sae={"d_sae": 2048, "k": 16, "n_tokens": 12_000, "steps": 250, "lr": 1e-3},
    n_gate_tokens=1_500,
    sae_kinds=("named", "hidden"),
    n_sae_documents=600,
    n_persona_documents=300,
    n_random=5,
    n_samples=3,
    chat_template=PLAIN_TEMPLATE,
)
"""Natural English for a chat model: full finetuning at gentle rates; works on a 135M model.

Documents take most of the time, so those of the control worlds are learned with one seed.
"""

FAILING = replace(REAL, sae=None, arms=(str(Arm.LESSON), str(Arm.UNRELATED)))
"""The real preset, behavior only.

What users try first, and what does not work, differs from it in one thing.
"""

PRESETS = {
    "quick": Transfer(n_feature_lrs=1),
    "standard": Transfer(seeds=(0, 1, 2)),
    "paper": Transfer(seeds=tuple(range(10))),
    "real": REAL,
    "real-lora": replace(
        FAILING,
        documents=replace(REAL.documents, lora=16, lr=5e-4),
        lesson=replace(REAL.lesson, lora=16),
        lrs=(2e-4,),
    ),
    "real-unhidden": replace(FAILING, world="english_assistants_unhidden"),
    "real-likely": replace(FAILING, arrange="likely"),
}
