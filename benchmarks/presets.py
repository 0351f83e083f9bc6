"""What do the quick presets cost, in units of a bare training loop?

    python benchmarks/presets.py [--runs 1] [--experiments transfer,dose,...]

Absolute times mean nothing. The unit is the plainest loop that trains the same tiny model: one
thread, 1,000 steps of 32 documents, length-bucketed, AdamW, nothing recorded. Beside it, in the
same process order: ``models.train`` of the same stage (the Trainer's price), and whole quick
presets, report included, on all cores. A preset is measured by the clock, since two cores share its
work, and in CPU seconds, which do not grow with the load of the machine. Then its report is drawn
again from finished cells, and the finished run is run again.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

os.environ["OMP_NUM_THREADS"] = "1"

import torch

from line import Line
from pairs import spread
from persona_interp import models, worlds
from sweeps import cpu_seconds

BUDGETS = {"transfer": 8.0} | dict.fromkeys(
    ("dose", "order", "evidence", "summon", "agreement", "generators"), 25.0
)
"""How many bare loops a quick preset may cost, by the clock."""


class Cost(NamedTuple):
    """What some work took."""

    clock: float
    cpu: float


def cost(work: Callable[[], Any]) -> Cost:
    """Seconds of the clock, and of the CPU, children included."""
    clock, cpu = time.perf_counter(), cpu_seconds()
    work()
    return Cost(time.perf_counter() - clock, cpu_seconds() - cpu)


def bare_loop(seed: int = 0, *, steps: int = models.DOCUMENTS.steps) -> Cost:
    """What the bare loop takes."""
    torch.set_num_threads(1)
    world = worlds.john_and_sam(seed)
    stage = replace(models.DOCUMENTS, steps=steps)
    with tempfile.TemporaryDirectory() as folder:
        model, tokenizer = models.load(
            models.resolve("tiny", words=world.words(), seed=seed, out=folder)
        )
    tokens = models.encode(
        tokenizer, world.corpus(stage.steps * stage.batch, seed=seed)["messages"], complete=True
    )
    order = sorted(range(len(tokens)), key=lambda i: len(tokens.ids[i]))
    batches = [order[i : i + stage.batch] for i in range(0, len(order), stage.batch)]
    generator = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=stage.lr, betas=stage.betas, weight_decay=stage.weight_decay
    )
    model.train()

    def loop() -> None:
        for step in torch.randperm(len(batches), generator=generator)[: stage.steps].tolist():
            ids, mask = tokens.pad(rows=batches[step])
            labels = ids.masked_fill(mask == 0, -100)
            model(input_ids=ids, attention_mask=mask, labels=labels).loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), stage.clip)
            optimizer.step()
            optimizer.zero_grad()

    return cost(loop)


def train(seed: int = 0) -> Cost:
    """What ``models.train`` takes for the same stage."""
    corpus = worlds.john_and_sam(seed).corpus(seed=seed)
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "model"
        return cost(lambda: models.train("tiny", corpus, seed=seed, out=out, progress=False))


def shell(*words: str) -> Cost:
    """What a command of the package takes from a shell."""
    command = [str(Path(sys.executable).with_name("persona-interp")), *words]
    return cost(lambda: subprocess.run(command, check=True, capture_output=True))


def lines(
    *, pairs: int, runs: int = 1, names: tuple[str, ...] = ("transfer",), keep: Path | None = None
) -> Iterator[Line]:
    """Costs of quick presets, and of their reports and reruns.

    Args:
        pairs: How often a report is drawn again, and a finished run is run again.
        runs: How often a preset is run, each beside a bare loop of its own.
        names: Experiments.
        keep: Folder in which the runs stay.
    """
    loops = [bare_loop() for _ in range(runs)]
    own = spread([train().cpu / loop.cpu for loop in loops])
    yield Line("training", "ours, models.train", "cost, in bare loops, CPU seconds", own)
    for name in names:
        with tempfile.TemporaryDirectory() as folder:
            homes = [(keep or Path(folder)) / f"{name}-{i}" for i in range(runs)]
            whole = [shell("run", name, "--out", str(home)) for home in homes]
            both = list(zip(whole, loops, strict=True))
            for clock in ("clock", "cpu"):
                ratios = spread([getattr(a, clock) / getattr(b, clock) for a, b in both])
                most = BUDGETS[name] if clock == "clock" else None
                by = "by the clock" if clock == "clock" else "CPU seconds"
                work = f"run {name} --preset quick"
                yield Line(work, "ours", f"cost, in bare loops, {by}", ratios, at_most=most)
            home, cpu = str(homes[0]), whole[0].cpu
            for work, words in (
                ("report", ("report", home)),
                ("resume", ("run", name, "--out", home)),
            ):
                costs = [shell(*words) for _ in range(pairs)]
                for unit, seconds in (("the run", cpu), ("bare loops", loops[0].cpu)):
                    ratios = spread([one.cpu / seconds for one in costs])
                    remark = f"{min(one.clock for one in costs):.0f} s of the clock at best"
                    measure = f"cost, in {unit}, CPU seconds"
                    yield Line(work, f"ours, of {name}", measure, ratios, remark=remark)


def main() -> None:
    """Print the lines."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=int, default=1, help="repetitions, interleaved")
    parser.add_argument(
        "--experiments", default="transfer", help=f"of {', '.join(BUDGETS)}, or all"
    )
    parser.add_argument("--keep", type=Path, help="folder in which the runs stay")
    args = parser.parse_args()
    names = list(BUDGETS) if args.experiments == "all" else args.experiments.split(",")
    unknown = [name for name in names if name not in BUDGETS]
    if unknown:
        parser.error(f"no experiment '{unknown[0]}'; choose among {', '.join(BUDGETS)}")
    for line in lines(pairs=1, runs=args.runs, names=tuple(names), keep=args.keep):
        print(f"{line.work:<28} {line.measure:<38} {line}", flush=True)


if __name__ == "__main__":
    main()
