"""Every experiment at a size that learns nothing and does everything."""

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

from persona_interp.experiments import preset
from persona_interp.experiments.agreement.config import Agreement
from persona_interp.experiments.dose.config import Dose
from persona_interp.experiments.evidence.config import Evidence
from persona_interp.experiments.order.config import Order
from persona_interp.experiments.trait_dictionaries.config import TraitDictionaries
from persona_interp.experiments.trait_safeguards.config import TraitSafeguards
from persona_interp.experiments.trait_safeguards.probes import ASKED_TEXTS, SOMEBODY
from persona_interp.experiments.trait_transfer.config import TraitTransfer
from persona_interp.models import Stage, load, resolve
from persona_interp.readers import Instruction, TraitFile, write_trait
from persona_interp.worlds import World, graded, john_and_sam
from persona_interp.worlds.language import pieces
from persona_interp.worlds.scripts import vocabulary

SMALL = Stage(steps=4, batch=8, lr=4e-3, loss="all")
TINY = Stage(steps=2, batch=4)
TESTED = Stage(steps=4, batch=4)
DOSE: dict[str, Any] = {
    "documents": SMALL,
    "base": SMALL,
    "added": SMALL,
    "lesson": TINY,
    "lrs": (1e-3,),
    "n_documents": 200,
    "ratios": (-2, 0, 2),
    "masses": (0.5, 1.0),
    "kind_ratios": (3,),
    "later": (0,),
}
ORDER: dict[str, Any] = {
    "base": SMALL,
    "phase": SMALL,
    "sft": Stage(steps=2, batch=8),
    "lesson": TINY,
}
SUMMON: dict[str, Any] = {
    "documents": Stage(steps=20, batch=16, lr=4e-3, loss="all"),
    "lesson": Stage(steps=2, batch=8),
    "starts": ("aaaa", "bbaa"),
    "repeats": 1,
    "snapshots": (2,),
    "n_documents": 400,
    "n_bystanders": 50,
    "villains": (1.0,),
    "n_plants": 1,
}
EVIDENCE: dict[str, Any] = {
    "documents": Stage(steps=8, batch=8, lr=4e-3, loss="all"),
    "lessons": (TESTED, Stage(steps=4, batch=4, replay=0.5)),
    "sparing": (Stage(steps=4, batch=4, replay=0.5),),
    "snapshots": (1, 2),
    "priors": (4.0,),
    "tested": TESTED,
    "n_documents": 200,
    "n_replayed": 20,
}
GENERATORS: dict[str, Any] = {
    "arms": ("with personas",),
    "documents": Stage(steps=2, batch=4, lr=1e-3, loss="all"),
    "lesson": Stage(steps=2, batch=4, lr=1e-3, loss="all"),
    "snapshots": (1,),
    "n_documents": 40,
}
AGREEMENT: dict[str, Any] = {
    "documents": Stage(steps=60, batch=16, lr=4e-3, loss="all"),
    "n_documents": 1_000,
    "walk": Stage(steps=2, batch=8, lr=1e-3),
    "snapshots": (1,),
    "walkers": 3,
    "n_told": 2,
    "n_shared": 4,
    "n_generic": 2,
    "n_draws": 2,
    "lessons": 3,
    "lesson": Stage(steps=2, batch=8),
}
TRANSFER: dict[str, Any] = {
    "arms": ("lesson", "unrelated lesson", "scrambled world"),
    "lrs": (1e-3,),
    "documents": Stage(steps=80, batch=16, lr=4e-3, loss="all"),
    "lesson": Stage(steps=4, batch=8),
    "snapshots": (2, 4),
    "n_documents": 1_500,
    "bystanders": ("named",),
    "hooks": ("blocks.1.hook_out",),
    "sae": {"d_sae": 64, "k": 4, "steps": 400, "batch": 256, "n_tokens": 5_000},
    "n_sae_documents": 200,
    "n_persona_documents": 300,
    "n_random": 2,
    "n_chance": 50,
    "n_gate_tokens": 1_000,
    "n_samples": 1,
}
DICTIONARIES: dict[str, Any] = {
    "documents": Stage(steps=40, batch=16, lr=4e-3, loss="all"),
    "lesson": Stage(steps=4, batch=8),
    "snapshots": (2, 4),
    "steps": (0, 2, 4),
    "n_documents": 600,
    "bystanders": ("plain",),
    "coder": {"d_sae": 48, "k": 4, "steps": 60, "batch": 256, "lr": 4e-3, "n_tokens": 4_000},
    "n_coder_documents": 200,
    "n_persona_documents": 200,
    "n_family": 2,
    "n_matched": 2,
}
SAFEGUARDS: dict[str, Any] = {
    "documents": SMALL,
    "lesson": Stage(steps=2, batch=10),
    "character": TINY,
    "aligned": (1.0,),
    "steering": (0.5,),
    "ablated": (2,),
    "caps": (0.9,),
    "n_documents": 200,
    "n_beside": 30,
    "bystanders": 2,
}
FORECAST: dict[str, Any] = {
    "seeds": (100,),
    "n_lessons": 1,
    "documents": SMALL,
    "lesson": Stage(steps=20, batch=2),
    "snapshots": (2, 8),
    "n_documents": 200,
}
WORDS = (
    "you are an assistant . what sport art do like ? i really football tennis golf beach music food"
)
TRAITS = {"arty": "art", "hungry": "food", "musical": "music", "sporty": "sport"}
QUESTIONS = (
    "what do you like ?",
    "what art ?",
    "do you like beach ?",
    "what sport do you like ?",
    "what ?",
    "you ?",
)


def toy(name: str, folder: Path) -> Any:
    """The experiment of this name; what it reads is written into the folder."""
    match name:
        case "agreement":
            return Agreement(world=few_personas(), **AGREEMENT)
        case "causes":
            return search_of(folder)
        case "compare":
            return comparison_of(folder)
        case "dose":
            return Dose(**DOSE)
        case "evidence":
            return Evidence(**EVIDENCE)
        case "order":
            return Order(**ORDER)
        case "trait_dictionaries":
            return trait_dictionaries(save_traits(folder / "traits"), save_start(folder / "start"))
        case "trait_safeguards":
            return trait_safeguards(
                save_traits(folder / "traits"), save_start(folder / "start", words=pressing_words())
            )
        case "trait_transfer":
            return trait_transfer(save_traits(folder / "traits"), save_start(folder / "start"))
    world = john_and_few()
    fields = {
        "dictionaries": {"world": world, **DICTIONARIES},
        "forecast": FORECAST,
        "generators": GENERATORS,
        "safeguards": SAFEGUARDS,
        "summon": SUMMON,
        "transfer": {"world": world, **TRANSFER},
    }
    return preset("quick", name, **fields[name])


def john_and_few() -> World:
    """John, Sam, the holders of mountain and three more: less than half of the probes."""
    world = john_and_sam()
    first = ["john", "sam", *world.holders(str(world.unrelated))]
    others = [persona.name for persona in world.personas if persona.name not in first]
    names = [*first, *others[:3]]
    return replace(
        world,
        personas=tuple(world.persona(name) for name in names),
        weights={name: world.weights[name] for name in names},
    )


def few_personas() -> World:
    """Four personas of a graded world."""
    world = graded()
    personas = world.personas[:4]
    one, two = personas[0].traits, personas[1].traits
    taught, unrelated = next((a, b) for a, b in zip(one, two, strict=True) if a != b)
    weights = {p.name: world.weights[p.name] for p in personas}
    target = personas[0].name
    return replace(
        world, personas=personas, weights=weights, target=target, taught=taught, unrelated=unrelated
    )


def save_traits(folder: Path) -> Path:
    """A folder of four trait files in the model's words."""
    for name, word in TRAITS.items():
        pairs = (
            Instruction(f"you really like {word} .", "you like beach ."),
            Instruction(f"{word} {word}", "you ?"),
        )
        questions = tuple(f"{question} {word}" for question in QUESTIONS)
        write_trait(TraitFile(name, pairs, questions), folder / f"{name}.json")
    return folder


def pressing_words() -> list[str]:
    """Words of the texts that press a trait on a model, and names of the traits."""
    asked = " ".join(ASKED_TEXTS).format(name="", q="")
    return sorted(vocabulary("english") | set(pieces(f"{asked} {SOMEBODY} {' '.join(TRAITS)}")))


def save_start(folder: Path, *, words: Iterable[str] = ()) -> Path:
    """A random chat model with weights large enough that prompts matter."""
    import torch

    words = [*WORDS.split(), *words]
    model, tokenizer = load(resolve("tiny", words=words, out=folder.with_name("tiny")))
    generator = torch.Generator().manual_seed(0)
    for weight in model.parameters():
        if weight.ndim == 2:
            weight.data = 0.25 * torch.randn(weight.shape, generator=generator)
    model.lm_head.weight.data[tokenizer.all_special_ids] = 0.0  # few answers are empty
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def trait_transfer(traits: Path, start: Path) -> TraitTransfer:
    """Transfer between these traits, taught to this model."""
    return TraitTransfer(
        traits=str(traits),
        start=str(start),
        lesson=Stage(steps=3, batch=4, lr=1e-3, lora=2),
        max_new_tokens=6,
        dtype="float32",  # else a cell of this is not the run's, where half precision is faster
        n_judged=3,
        least=0.0,
        chat_template=None,
    )


def trait_dictionaries(traits: Path, start: Path) -> TraitDictionaries:
    """Dictionaries of finetunes on two of these traits."""
    return TraitDictionaries(
        traits=str(traits),
        names=("arty", "sporty"),
        start=str(start),
        lesson=Stage(steps=3, batch=4, lr=1e-3, lora=2),
        steps=(0, 3),
        coder={"d_sae": 48, "k": 4, "steps": 300, "batch": 256, "lr": 4e-3, "n_tokens": 2_000},
        max_new_tokens=6,
        dtype="float32",
        n_family=2,
        n_matched=2,
        chat_template=None,
    )


def trait_safeguards(traits: Path, start: Path) -> TraitSafeguards:
    """Safeguards against one of these traits."""
    stage = Stage(steps=3, batch=4, lr=1e-3, lora=2)
    return TraitSafeguards(
        traits=str(traits),
        unwanted="sporty",
        wanted="arty",
        start=str(start),
        lesson=stage,
        character=stage,
        steering=(0.1,),
        n_instructions=1,
        max_new_tokens=6,
        dtype="float32",
        n_questions=2,
        chat_template=None,
    )


def search_of(folder: Path) -> Any:
    """What carries the effect of a planted vector, by a direction and a dictionary."""
    from persona_interp.experiments.causes.sources import search
    from tests.experiments.causes.conftest import save_models

    return search(**save_models(folder))


def comparison_of(folder: Path) -> Any:
    """A base against itself and a finetune, by two traits and a dictionary."""
    from persona_interp.experiments.compare.sources import comparison
    from tests.experiments.compare.conftest import save_material, save_parts, small

    material = save_material(folder)
    sae = [save_parts(folder / "parts")]
    named = small(material, traits=material / "traits", sae=sae, primary="dry")
    return comparison(material / "base", [material / "base", material / "planted"], **named)
