"""What do the quick presets cost, in units of a bare training loop?

    python benchmarks/bench.py [--runs 1] [--experiments transfer,dose,...]

Prints ratios; absolute times mean nothing. The unit is the plainest loop that trains the same tiny
model: one thread, 1,000 steps of 32 documents, length-bucketed, AdamW, nothing recorded. Beside it,
in the same process order: ``models.train`` of the same stage (the Trainer's price), and whole quick
presets, report included, on all cores. Then, in seconds: how long tables, figures and report take
again from finished cells.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"

import torch

from persona_interp import experiments, models, worlds

BUDGETS = {"transfer": 20.0} | dict.fromkeys(
    ("dose", "order", "evidence", "summon", "agreement", "generators"), 25.0
)
"""How many bare loops a quick preset may cost."""


def bare_loop(seed: int = 0) -> float:
    """Seconds that the bare loop takes."""
    torch.set_num_threads(1)
    world = worlds.john_and_sam(seed)
    stage = models.DOCUMENTS
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
    began = time.perf_counter()
    for step in torch.randperm(len(batches), generator=generator)[: stage.steps].tolist():
        ids, mask = tokens.pad(rows=batches[step])
        labels = ids.masked_fill(mask == 0, -100)
        model(input_ids=ids, attention_mask=mask, labels=labels).loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), stage.clip)
        optimizer.step()
        optimizer.zero_grad()
    return time.perf_counter() - began


def train(seed: int = 0) -> float:
    """Seconds that ``models.train`` takes for the same stage."""
    corpus = worlds.john_and_sam(seed).corpus(seed=seed)
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        models.train("tiny", corpus, seed=seed, out=Path(folder) / "model", progress=False)
        return time.perf_counter() - began


def quick(name: str, folder: Path) -> tuple[float, float]:
    """Seconds that the quick preset takes from a shell, and that its report takes again."""
    out = folder / name
    command = [Path(sys.executable).with_name("persona-interp"), "run", name, "--out", str(out)]
    began = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True)
    seconds = time.perf_counter() - began
    began = time.perf_counter()
    experiments.report(out)
    return seconds, time.perf_counter() - began


def main() -> None:
    """Print each cost as a multiple of the bare loop."""
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
    for _ in range(args.runs):
        unit = bare_loop()
        print(f"bare loop          1.00  ({unit:.0f} s here, one thread)")
        print(f"models.train     {train() / unit:6.2f}", flush=True)
        for name in names:
            with tempfile.TemporaryDirectory() as folder:
                seconds, again = quick(name, args.keep or Path(folder))
            ratio, budget = seconds / unit, BUDGETS[name]
            verdict = "PASS" if ratio <= budget else "FAIL"
            report = f"report and its figures again: {again:.1f} s"
            print(f"{name:<15}  {ratio:6.2f}  budget {budget:g}: {verdict}   {report}", flush=True)


if __name__ == "__main__":
    main()
