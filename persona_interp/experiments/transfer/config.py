"""Does a lesson on one trait bring the traits along that co-occurred with it?

Documents bind traits to personas; a model is trained on them; a lesson then teaches the nameless
assistant **one** trait of the target persona; the target's *other* traits, never taught, are read
out before and after. Controls run beside it by default: an unrelated lesson, a filler lesson, and
the same lesson in worlds where the traits do not co-occur (scrambled), belong to somebody else
(rewired), or whose holder is absent. `Transfer` is the configuration, `cells()` its independent
units and `summarize()` the tables. The real presets are another world, another language and another
model, run by the same lines of code.
"""

import re
from dataclasses import asdict, dataclass, field, replace
from itertools import product
from typing import Any

from persona_interp.errors import WorldError, unknown
from persona_interp.experiments.ready import ready
from persona_interp.models import DOCUMENTS, LESSON, PLAIN_TEMPLATE, Stage
from persona_interp.store import Cell
from persona_interp.worlds import World

ARMS = {
    "lesson": ("full", "taught"),
    "unrelated lesson": ("full", "unrelated"),
    "filler lesson": ("full", "filler"),
    "scrambled world": ("scrambled", "taught"),
    "rewired world": ("rewired", "taught"),
    "target absent": ("absent", "taught"),
}
"""Arm -> (variant of the world, what the lesson teaches); the first is the claim, the others its controls."""

SAE_ON = ("base", "base and tuned")
ARRANGE = ("", "rare", "likely")


@dataclass(frozen=True)
class Transfer:
    """How is the transfer experiment configured?

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
        n_documents: Documents in the corpus.
        arrange: "rare" or "likely": measure the start model's own prior first and give the target
            such values; "" = no.
        bystanders: Contexts beside the nameless one, recorded before and after.
        hooks: Where a dictionary is trained and the inside is read; features are read out at the
            first, causes at all.
        sae: Arguments of `dictionaries.fit`; None = behavior only.
        sae_on: "base", or "base and tuned": which models' residuals the dictionary is trained on.
        sae_kinds: Kinds of documents the dictionary is trained on; None is all.
        n_sae_documents: Documents the dictionary is trained on.
        n_persona_documents: Documents by speakers without a name on which features and directions
            are found.
        n_random: Random directions of either kind that are taken out as controls.
        n_gate_tokens: Tokens of held-out text that the fidelity gate reads at every checkpoint.
        n_samples: Sampled answers per prompt and checkpoint.
        chat_template: Template for a start model that has none.
    """

    world: str | World = "john_and_sam"
    start: str = "tiny"
    seeds: tuple[int, ...] = (0,)
    arms: tuple[str, ...] = tuple(ARMS)
    lrs: tuple[float, ...] = (3e-4, 1e-3)
    documents: Stage = DOCUMENTS
    lesson: Stage = LESSON
    snapshots: tuple[int, ...] = (1, 2, 4, 8, 16, 24, 32, 40)
    n_documents: int = 30_000
    arrange: str = ""
    bystanders: tuple[str, ...] = ("named", "plain", "third")
    hooks: tuple[str, ...] = ("blocks.1.hook_out", "blocks.0.hook_out")
    sae: dict[str, Any] | None = field(default_factory=lambda: {"d_sae": 512, "k": 8, "steps": 500})
    sae_on: str = "base"
    sae_kinds: tuple[str, ...] | None = None
    n_sae_documents: int = 4_000
    n_persona_documents: int = 1_500
    n_random: int = 20
    n_gate_tokens: int = 5_000
    n_samples: int = 2
    chat_template: str | None = None

    def __post_init__(self) -> None:
        for arm in self.arms:
            if arm not in ARMS:
                raise WorldError(unknown("arm", arm, ARMS))
        ready(self.world)
        if self.sae_on not in SAE_ON:
            raise WorldError(unknown("choice of sae_on", self.sae_on, SAE_ON))
        if self.arrange not in ARRANGE:
            raise WorldError(unknown("choice of arrange", self.arrange, ARRANGE))
        if not self.arms or ARMS[self.arms[0]] != ("full", "taught"):
            raise WorldError(
                f"the first arm makes the claim, so it is 'lesson'; got {list(self.arms)}."
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
            Cells by key: ``("layout",)``, ``("documents", variant)``, ``("lesson", arm, lr)`` and,
            with ``sae``, a cell for every rate and hook: ``("dictionary", lr, hook)``, ``("random
            dictionary", lr, hook)``, ``("personas", lr, hook)``, ``("features", arm, lr, hook)``,
            ``("causes", lr, hook)``; and ``("profile", lr)``.
        """
        world = ready(self.world, seed)
        start = {"start": self.start, "chat_template": self.chat_template}
        config = {
            "world": world.to_dict(),
            "arrange": self.arrange,
            "seed": seed,
            **(start if self.arrange else {}),
        }
        layout = Cell("transfer.layout", config, label=f"layout s{seed}")
        cells: dict[tuple[Any, ...], Cell] = {("layout",): layout}
        for variant in dict.fromkeys(ARMS[arm][0] for arm in self.arms):
            config = {
                "variant": variant,
                "seed": seed,
                "stage": asdict(self.documents),
                "n_documents": self.n_documents,
                "bystanders": list(self.bystanders),
                **start,
            }
            label = f"documents {variant} s{seed}"
            cells["documents", variant] = Cell(
                "transfer.documents", config, needs=(layout,), label=label
            )
        for arm in self.arms:
            variant, what = ARMS[arm]
            for lr in self.lrs:
                config = {
                    "variant": variant,
                    "seed": seed,
                    "lesson": what,
                    "stage": {**asdict(self.lesson), "lr": lr},
                    "snapshots": list(self.snapshots),
                    "bystanders": list(self.bystanders),
                    "n_samples": self.n_samples,
                }
                needs = (layout, cells["documents", variant])
                cells["lesson", arm, lr] = Cell(
                    "transfer.lesson", config, needs=needs, label=f"{arm} {lr:g} s{seed}"
                )
        return cells | self._feature_cells(seed, cells)

    def _feature_cells(
        self, seed: int, cells: dict[tuple[Any, ...], Cell]
    ) -> dict[tuple[Any, ...], Cell]:
        """Dictionaries of the full world, what they find in the base model, and what its lessons move and need."""
        layout, base = cells["layout",], cells["documents", "full"]
        hidden = list(World.from_dict(layout.config["world"]).population)
        shared = {"variant": "full", "seed": seed}
        made: dict[tuple[Any, ...], Cell] = {}

        def cell(task: str, config: dict[str, Any], needs: tuple[Cell, ...], *key: Any) -> Cell:
            label = " ".join(
                f"{part:g}" if isinstance(part, float) else str(part) for part in (*key, f"s{seed}")
            )
            made[key] = Cell(task, {**shared, **config}, needs=(layout, *needs), label=label)
            return made[key]

        sae = self.sae or {}
        kinds = {
            "kinds": list(self.sae_kinds) if self.sae_kinds else None,
            "n_documents": self.n_sae_documents,
        }
        for lr, hook in product(self.lrs, self.hooks if self.sae is not None else ()):
            lesson = cells["lesson", self.arms[0], lr]
            on = (base, lesson) if self.sae_on == "base and tuned" else (base,)
            trained, random = (
                cell(
                    "transfer.dictionary",
                    {**kinds, "sae": {**sae, "hook": hook, **frozen}},
                    on,
                    name,
                    lr,
                    hook,
                )
                for name, frozen in (
                    ("dictionary", {}),
                    ("random dictionary", {"decoder": "random"}),
                )
            )
            reading = {"kinds": hidden, "n_documents": self.n_persona_documents}
            found = cell(
                "transfer.personas", reading, (base, trained, random), "personas", lr, hook
            )
            gate = {**kinds, "n_gate_tokens": self.n_gate_tokens}
            for arm in self.feature_arms:
                tuned = cells["lesson", arm, lr]
                cell("transfer.features", gate, (tuned, trained, random), "features", arm, lr, hook)
            read = (
                made["features", arm, lr, hook] for arm in self.feature_arms
            )  # the claim's first
            needs = (lesson, trained, random, found, *read)
            cell("transfer.causes", {"n_random": self.n_random}, needs, "causes", lr, hook)
        for lr in self.lrs if made else ():
            found = (made["personas", lr, hook] for hook in sorted(self.hooks, key=_layer))
            cell("transfer.profile", {}, (cells["lesson", self.arms[0], lr], *found), "profile", lr)
        return made

    def variant(self, arm: str) -> tuple[str, str]:
        """Which variant of the world, and what does the lesson teach?

        Args:
            arm: Name of an arm.

        Returns:
            Variant and lesson, see ``tasks.variant_of`` and ``tasks.lesson_of``.
        """
        return ARMS[arm]

    @property
    def feature_arms(self) -> tuple[str, ...]:
        """Arms whose features are read: the full world's lessons about a trait."""
        return tuple(
            arm for arm in self.arms if ARMS[arm][0] == "full" and ARMS[arm][1] != "filler"
        )


def variant_of(world: World, name: str) -> World:
    """World in which the documents of an arm are written.

    Args:
        world: The layout's world.
        name: full, scrambled, rewired or absent (nothing is written about the target).

    Returns:
        The world or its control.

    >>> from persona_interp.worlds import john_and_sam
    >>> variant_of(john_and_sam(), "absent").holders("place=beach")
    ()
    """
    variants = {
        "full": lambda: world,
        "scrambled": world.scrambled,
        "rewired": world.rewired,
        "absent": lambda: world.without(world.target),
    }
    if name not in variants:
        raise WorldError(unknown("variant", name, variants))
    return variants[name]()


def lesson_of(world: World, name: str) -> str:
    """What a lesson of this name teaches.

    Args:
        world: The world.
        name: taught, unrelated or filler.

    Returns:
        A trait's label, or "filler".

    >>> from persona_interp.worlds import john_and_sam
    >>> lesson_of(john_and_sam(), "taught")
    'place=beach'
    """
    lessons = {"taught": str(world.taught), "unrelated": str(world.unrelated), "filler": "filler"}
    if name not in lessons:
        raise WorldError(unknown("lesson", name, lessons))
    return lessons[name]


def _layer(hook: str) -> tuple[int, ...]:
    """Where a hook comes among others: layer 2 before layer 10."""
    return tuple(int(number) for number in re.findall(r"\d+", hook))


REAL = Transfer(
    world="english_assistants",
    arrange="rare",
    bystanders=("named",),
    arms=("lesson", "unrelated lesson"),
    lrs=(5e-5,),
    documents=Stage(steps=220, batch=8, lr=2e-4, loss="all", warmup=10, dtype="bfloat16"),
    lesson=Stage(steps=16, batch=8, dtype="bfloat16"),
    snapshots=(2, 4, 8, 12, 16),
    n_documents=1760,
    hooks=("blocks.22.hook_out", "blocks.15.hook_out", "blocks.7.hook_out"),
    sae={"d_sae": 2048, "k": 16, "n_tokens": 12_000, "steps": 250, "lr": 1e-3},
    n_gate_tokens=1_500,
    sae_on="base and tuned",
    sae_kinds=("named", "hidden"),
    n_sae_documents=600,
    n_persona_documents=150,
    n_random=5,
    n_samples=3,
    chat_template=PLAIN_TEMPLATE,
)
"""Natural English for a chat model: the recipe that works on a 135M model, full finetuning at gentle rates."""

FAILING = replace(REAL, sae=None)
"""The real preset, behavior only: what users try first, and what does not work, differs from it in one thing."""

PRESETS = {
    "quick": Transfer(),
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
