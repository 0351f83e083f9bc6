"""Teach a chat model published traits, as `run transfer --traits` does, and keep the finetunes.

    python benchmarks/finetunes.py MODEL --traits FOLDER --trait sardonic --trait wry --out DIR

Prints the base, as the finetunes were taught it, and every finetune: what `persona-interp causes`
and `compare` take. `run transfer --traits` itself keeps no weights. A killed call goes on.
"""

import argparse
from dataclasses import replace
from pathlib import Path

from persona_interp import models
from persona_interp.experiments import run
from persona_interp.experiments.trait_transfer.config import ARMS, GENTLE, TraitTransfer
from persona_interp.experiments.trait_transfer.tasks import chats, start_of
from persona_interp.schema.words import Arm
from persona_interp.store import Store
from persona_interp.tables import read_table


def main() -> None:
    """Print the folders of the base and of one finetune a trait and seed."""
    args = parse()
    experiment = TraitTransfer(traits=str(args.traits), names=tuple(args.trait), start=args.model)
    stage = replace(experiment.lesson, steps=args.steps)
    start = start_of({"start": experiment.start, "chat_template": experiment.chat_template})
    print(start.path, flush=True)
    cells = experiment.base_cells()
    for name in experiment.names:
        cell = cells["answers", name]
        store = run([cell], Store(args.out / "answers"), workers=0)
        answers = read_table(store.path(cell, "answers.parquet"))
        is_taught = (answers["side"] == ARMS[Arm.LESSON]) & (answers["split"] == "train")
        lesson = chats(answers.loc[is_taught])
        for seed in range(args.seeds):
            out = args.out / f"{name}_{seed}"
            taught = models.train(
                start, lesson, stage=stage, seed=seed, out=out, name=f"{name} {seed}"
            )
            print(taught.last.path, flush=True)


def parse() -> argparse.Namespace:
    """What the command line asks for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", help="model folder, .gguf file or hub id")
    parser.add_argument("--traits", type=Path, required=True, help="folder of trait files")
    parser.add_argument("--trait", action="append", required=True, help="name; repeat")
    parser.add_argument("--seeds", type=int, default=1, help="finetunes of each trait")
    parser.add_argument("--steps", type=int, default=GENTLE.steps, help="of each finetune")
    parser.add_argument("--out", type=Path, required=True, help="folder of answers and finetunes")
    return parser.parse_args()


if __name__ == "__main__":
    main()
