"""Does every interval cover, and does every test hold its level? Simulated; no model is trained.

    python benchmarks/calibration.py --seed 0 [--rows stats,effects] [--processes 2]
    [--docs docs/calibration.md] [--table docs/results/calibration.csv]

Every row is one public estimator on one kind of data with a known truth (``rows/``). The data come
from generators that do not import ``persona_interp.analysis`` (``planted/``). After a quarter, half
and all of its simulations a row is asked whether every quantity is decided; then it is done. The
same seed gives the same table, whatever the number of processes.
"""

import argparse
import math
import os
import sys
import zlib
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from tqdm import tqdm

from calibration_page import provenance, write_docs
from persona_interp.report.provenance import revision
from persona_interp.schema.words import Calibration
from persona_interp.tables import IDS
from rows.row import Bounds, Outcome, Quantity, Row, judge, share_interval

HERE = Path(__file__).parent
CHUNK = 50
"""Simulations of one task of the pool."""
LOOKS = (0.25, 0.5, 1.0)
"""Shares of a row's simulations after which it is asked whether it is decided."""
STORED = HERE.parent / "docs" / "results" / "calibration.csv"
"""The table that the page shows; another seed is compared with it."""


class Chunk(NamedTuple):
    """Some simulations of a row."""

    row: Row
    number: int
    size: int
    seed: int


def all_rows() -> list[Row]:
    """Every row, by file and in the order of the file."""
    names = sorted(file.stem for file in (HERE / "rows").glob("*.py"))
    modules = [import_module(f"rows.{name}") for name in names if name not in ("__init__", "row")]
    return [row for module in modules for row in module.ROWS]


def simulate(chunk: Chunk) -> list[Outcome]:
    """Outcomes of some simulations; the row's name, the seed and the number say which."""
    key = zlib.crc32(chunk.row.name.encode())
    rng = np.random.default_rng([chunk.seed, key, chunk.number])
    return [chunk.row.draw(rng) for _ in range(-(-chunk.size // chunk.row.at_once))]


def chunks(row: Row, before: float, look: float, *, seed: int) -> list[Chunk]:
    """A row's simulations from one share of them until another, in tasks of the pool."""
    first, until = (math.ceil(share * row.simulations) for share in (before, look))
    starts = range(first, until, CHUNK)
    return [Chunk(row, start, min(CHUNK, until - start), seed) for start in starts]


def outcomes(
    tasks: list[Chunk], pool: ProcessPoolExecutor, bar: tqdm
) -> Iterator[tuple[Chunk, list[Outcome]]]:
    """Tasks and what came out of them, as they are done."""
    bar.total = (bar.total or 0) + sum(task.size for task in tasks)
    futures = {pool.submit(simulate, task): task for task in tasks}
    for future in as_completed(futures):
        task = futures[future]
        bar.update(task.size)
        bar.set_postfix_str(task.row.estimator)
        yield task, future.result()


def calibrate(rows: list[Row], *, seed: int, processes: int) -> pd.DataFrame:
    """The calibration table: one line a row and quantity."""
    results: dict[str, dict[int, list[Outcome]]] = {row.name: {} for row in rows}
    undecided = rows
    before = 0.0
    with ProcessPoolExecutor(processes) as pool, tqdm(unit="sim", smoothing=0.02) as bar:
        for look in LOOKS:
            tasks = [c for row in undecided for c in chunks(row, before, look, seed=seed)]
            for task, drawn in outcomes(tasks, pool, bar):
                results[task.row.name][task.number] = drawn
            undecided = [row for row in undecided if is_undecided(row, results[row.name])]
            before = look
    return pd.DataFrame([line for row in rows for line in lines(row, results[row.name])])


def is_undecided(row: Row, drawn: dict[int, list[Outcome]]) -> bool:
    """Whether any quantity of a row is undecided."""
    return any(line["verdict"] == Calibration.UNDECIDED for line in lines(row, drawn))


def lines(row: Row, drawn: dict[int, list[Outcome]]) -> list[dict[str, object]]:
    """Lines of the table that belong to a row; in the order of its chunks, whoever was first."""
    ordered = [outcome for number in sorted(drawn) for outcome in drawn[number]]
    rows = []
    for quantity in ordered[0]:
        values = np.concatenate([np.atleast_1d(outcome[quantity]) for outcome in ordered])
        rows.append(line(row, quantity, values))
    return rows


def line(row: Row, quantity: Quantity, values: np.ndarray) -> dict[str, object]:
    """One line of the table: the share among data sets with an answer, its interval, verdict."""
    answered = values[~np.isnan(values)]
    bounds = row.bound(quantity)
    share, lo, hi = (np.nan, 0.0, 1.0)
    if len(answered):
        share, lo, hi = share_interval(answered)
    return {
        "estimator": row.estimator,
        "setting": row.setting,
        "quantity": str(quantity),
        "simulations": len(values),
        "unanswered": len(values) - len(answered),
        "share": share,
        "lo": lo,
        "hi": hi,
        "bound": in_words(bounds),
        "verdict": str(judge(quantity, lo, hi, bounds)),
    }


def in_words(bounds: Bounds) -> str:
    """Bounds as the table prints them."""
    if np.isnan(bounds.least) and np.isnan(bounds.most):
        return ""
    if np.isnan(bounds.least):
        return f"<= {bounds.most:g}"
    if np.isnan(bounds.most):
        return f">= {bounds.least:g}"
    return f"{bounds.least:g} to {bounds.most:g}"


def changed(table: pd.DataFrame, stored: pd.DataFrame) -> pd.DataFrame:
    """Lines whose verdict is another one than in a stored table, with both."""
    key = ["estimator", "setting", "quantity"]
    both = table.merge(stored[[*key, "share", "verdict"]], on=key, suffixes=("", "_stored"))
    columns = [*key, "share_stored", "share", "verdict_stored", "verdict"]
    return both.loc[both["verdict"] != both["verdict_stored"], columns]


def beside(others: pd.DataFrame) -> str:
    """Verdicts that differ from the stored ones: how many are decided the other way, and which."""
    is_decided = others[["verdict", "verdict_stored"]].to_numpy() != Calibration.UNDECIDED
    opposed = int(is_decided.all(axis=1).sum())
    words = f"Beside {STORED.name}: {len(others)} other verdicts, {opposed} of them decided in both"
    return words + (f"\n{others.round(4).to_string(index=False)}" if len(others) else "")


def parse() -> argparse.Namespace:
    """What the command line asks for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--rows", default="", help="parts of names of estimators, comma separated")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--share", type=float, default=1.0, help="of the simulations, for a try")
    parser.add_argument("--table", type=Path, help="CSV file to write")
    parser.add_argument("--docs", type=Path, help="page whose tables are replaced")
    return parser.parse_args()


def main() -> int:
    """Print every line. A line that misses its bounds is a result, no failure of the run."""
    args = parse()
    rows = [row for row in all_rows() if any(part in row.name for part in args.rows.split(","))]
    if args.share != 1.0:
        rows = [fewer(row, args.share) for row in rows]
    table = calibrate(rows, seed=args.seed, processes=args.processes)
    with pd.option_context("display.width", 250, "display.max_colwidth", 70):
        print(table.round(4).to_string(index=False))
    source = provenance()
    print(source)
    print(f"{core_minutes():.0f} core-minutes")
    if STORED.exists():
        print(beside(changed(table, pd.read_csv(STORED, dtype=IDS))))
    table = table.round(4).assign(seed=args.seed, commit=revision())
    if args.table:
        table = with_others(table, args.table)
        table.to_csv(args.table, index=False)
    if args.docs:
        write_docs(table, args.docs, source=source)
    return 0


def with_others(table: pd.DataFrame, path: Path) -> pd.DataFrame:
    """A table with the stored lines that were not simulated anew, in the order of the rows."""
    if path.exists():
        stored = pd.read_csv(path, dtype=IDS).fillna({"bound": ""})
        table = pd.concat([table, stored]).drop_duplicates(["estimator", "setting", "quantity"])
    places = {row.name: place for place, row in enumerate(all_rows())}
    names = table["estimator"] + ": " + table["setting"]
    # a line whose row is gone has no place
    table = table.assign(place=[places.get(name) for name in names]).dropna(subset="place")
    return table.sort_values("place", kind="stable").drop(columns="place")


def core_minutes() -> float:
    """Time that the processors worked for this table, whatever else they did beside it."""
    return sum(os.times()[:4]) / 60


def fewer(row: Row, share: float) -> Row:
    """The same row with a share of its simulations."""
    n = max(20, round(share * row.simulations))
    return replace(row, simulations=n)


if __name__ == "__main__":
    sys.exit(main())
