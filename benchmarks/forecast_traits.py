"""What does a lesson in a published trait move in a real chat model, and who foretold it?

Every trait is taught by its own answers, instruction removed, over several seeds, and all traits
are asked before and after (``record.trait_probes``). What foretells the shifts is read from the
base and the lesson's rows, or from a pilot with an order and an adapter of its own.

forecast_traits.py TRAITS --work FOLDER --start MODEL --seeds 0 1 2 [--names wry ...]

Pieces are kept in WORK and not computed again. ``python benchmarks/forecast_traits_scores.py``
scores them.
"""

import argparse
from collections.abc import Callable
from pathlib import Path

import pandas as pd
from tqdm import tqdm

from persona_interp import models, record
from persona_interp.experiments.trait_transfer.config import GENTLE, TOLD_APART
from persona_interp.experiments.trait_transfer.tasks import chats, hook_at
from persona_interp.models import Checkpoint
from persona_interp.models.chats import PLAIN_TEMPLATE
from persona_interp.readers import TraitFile, read_traits, trait_prompts
from persona_interp.record.doses import TAUGHT
from persona_interp.record.inputs import set_system
from persona_interp.tables import read_table, write_directions, write_table

SNAPSHOTS = (0, 1, 2, GENTLE.steps)
STRENGTHS = (1e-5, 3e-5, 1e-4)
"""How far a virtual step moves every weight: all weights, where the lesson has adapters."""
RISES = (4.0, 8.0)
"""Rise of the taught trait's log odds at which a dose-matched step stops (bits an answer)."""
N_INSTRUCTIONS = 2
PILOT_SEED = 1000
"""Added to a lesson's seed: a pilot knows neither its order nor its adapter."""


def draw(base: Checkpoint, traits: dict[str, TraitFile], *, n: int) -> pd.DataFrame:
    """Answers of the base: the lesson's under the traits' instructions, the probes' of both sides."""
    prompts = []
    for trait in traits.values():
        lesson = trait_prompts(trait, side="pos", split="train", instructions="all")
        prompts.append(lesson.loc[lesson["instruction"] < N_INSTRUCTIONS])
        for side in ("pos", "neg"):
            prompts.append(trait_prompts(trait, side=side, split="test").head(n))
    table = pd.concat(prompts, ignore_index=True)
    return record.answers(base, table, max_new_tokens=32, temperature=0.7, cache=False)


def instructed(probes: pd.DataFrame, trait: TraitFile) -> pd.DataFrame:
    """The probes, asked of a base that is told to show a trait."""
    told = [set_system(chat, trait.instructions[0].pos) for chat in probes["messages"]]
    return probes.assign(messages=told)


def main() -> None:
    """Compute what is missing."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("traits", type=Path)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--start", default="HuggingFaceTB/SmolLM2-135M-Instruct")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--names", nargs="+", default=list(TOLD_APART))
    parser.add_argument("--questions", type=int, default=12, help="of each trait, that are asked")
    given = parser.parse_args()
    given.work.mkdir(parents=True, exist_ok=True)
    traits = read_traits(given.traits, given.names)
    base = models.resolve(given.start, chat_template=PLAIN_TEMPLATE, fold_system=True)

    def once(name: str, compute: Callable[[], pd.DataFrame]) -> pd.DataFrame:
        file = given.work / f"{name}.parquet"
        if not file.exists():
            write_table(compute(), file)
        return read_table(file)

    answers = once("answers", lambda: draw(base, traits, n=given.questions))
    said = answers.loc[answers["split"] == "test"].reset_index(drop=True)
    probes = record.trait_probes(said)
    before = once("base", lambda: record.behavior(base, probes))
    vectors = given.work / "vectors.nc"
    if not vectors.exists():
        hook = hook_at(base, depth=0.6)
        write_directions(record.trait_vectors(base, said, hooks=[hook]), vectors)

    def lesson(name: str) -> pd.DataFrame:
        own = (answers["trait"] == name) & (answers["split"] == "train")
        return chats(answers.loc[own].reset_index(drop=True))

    def taught(name: str) -> pd.DataFrame:
        return probes.loc[probes["topic"] == name].assign(**{TAUGHT: "pos"})

    def level(name: str) -> float:
        odds = before.loc[before["topic"] == name].pivot_table(
            index="template", columns="value", values="logprob"
        )
        return float((odds["pos"] - odds["neg"]).mean())

    def teach(name: str, seed: int) -> pd.DataFrame:
        trained = models.train(
            base,
            lesson(name),
            stage=GENTLE,
            seed=seed,
            out=given.work / "models" / f"{name}_{seed}",
            snapshots=SNAPSHOTS,
            progress=False,
        )
        return record.behavior(list(trained)[1:], probes)

    jobs: list[tuple[str, Callable[[], pd.DataFrame]]] = []
    for name, trait in traits.items():
        jobs.append((f"told_{name}", lambda t=trait: record.behavior(base, instructed(probes, t))))
        jobs.append(
            (
                f"prompt_{name}",
                lambda n=name: record.lesson_in_prompt(base, lesson(n), probes, stage=GENTLE),
            )
        )
    for seed in given.seeds:
        for name in traits:
            jobs.append((f"lesson_{name}_{seed}", lambda n=name, s=seed: teach(n, s)))
            for cost in (1, 2):
                jobs.append(
                    (
                        f"pilot{cost}_{name}_{seed}",
                        lambda n=name, s=seed, c=cost: record.pilot(
                            base, lesson(n), probes, stage=GENTLE, n=c, seed=PILOT_SEED + s
                        ),
                    )
                )
        if seed != given.seeds[0]:
            continue
        for name in traits:
            jobs.append(
                (
                    f"virtual_{name}",
                    lambda n=name: record.virtual_step(
                        base,
                        lesson(n),
                        probes,
                        stage=GENTLE,
                        strength=STRENGTHS,
                        match=[level(n) + rise for rise in RISES],
                        taught=taught(n),
                    ),
                )
            )
    for name, compute in tqdm(jobs, desc="pieces"):
        once(name, compute)


if __name__ == "__main__":
    main()
