"""Which method finds planted features, their statuses and when they changed? A table per condition.

    python benchmarks/recovery.py --preset first --seed 401 --table docs/results/recovery.csv
    python benchmarks/recovery.py --preset grid --seed 401 --methods "crosscoder;SAE"

Truth: ``dictionaries.planted``. Presets: ``small`` (minutes), ``first`` (64 dims, 5 checkpoints, 4
times overcomplete), ``eight`` (8 checkpoints), ``grid`` (overcompleteness, correlation, tokens;
hours), ``copula`` (another generator, ``planted/copula.py``; inside and outside of that regime) and
``nulls`` (20 crosscoders of checkpoints that do not differ, 25 relabelings each).

The table has one row a condition, seed, method and measure. It is written after every method, and
what it holds already is not computed again, so that a run that is stopped goes on where it was.
"""

import argparse
import functools
import itertools
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from tqdm import tqdm

from persona_interp.analysis import statuses
from persona_interp.dictionaries.planted import NO_EFFECT, Plan, Planted, plant
from persona_interp.errors import unknown
from persona_interp.schema.words import Status
from planted.copula import copula
from recovery_findings import judge, share
from recovery_methods import METHODS, Settings, crosscoder_sums
from recovery_peers import ABSENT, PEERS
from recovery_table import SECONDS, Table

FIRST = Plan(n_features=256, correlation=0.3, faint=0.3, composed=0.3)
SMALL = replace(FIRST, n_checkpoints=4, d_model=48, n_features=96, n_tokens=60_000)
EIGHT = replace(FIRST, n_checkpoints=8, n_features=128)
LONG, SHORT = Settings(steps=2400), Settings(steps=1000)
PRESETS: dict[str, list[tuple[str, Plan, Settings]]] = {
    "small": [("small", SMALL, SHORT)],
    "first": [("first", FIRST, LONG)],
    "eight": [("eight", EIGHT, LONG)],
    "grid": [
        (
            f"x{over}-c{correlation}-n{n_tokens}",
            replace(FIRST, n_features=64 * over, correlation=correlation, n_tokens=n_tokens),
            LONG,
        )
        for over, correlation, n_tokens in itertools.product(
            (1, 2, 4, 8), (0.0, 0.3, 0.6), (20_000, 150_000)
        )
    ],
}
COPULA = {
    "copula": {"checkpoints": 5, "width": 64, "features": 256},
    "copula, 8 checkpoints": {"checkpoints": 8, "width": 64, "features": 128},
    "copula, 128 dims": {"checkpoints": 5, "width": 128, "features": 256},
    "copula, 20k tokens": {"checkpoints": 5, "width": 64, "features": 256, "tokens": 20_000},
    "copula, correlation .6": {"checkpoints": 5, "width": 64, "features": 256, "correlation": 0.6},
    "copula, 8 times": {"checkpoints": 5, "width": 64, "features": 512},
}
N_NULLS, N_RELABELINGS = 20, 25
CLAIMS = (
    Status.AMPLIFIED,
    Status.SHRUNK,
    Status.ROTATED,
    Status.BORN,
    Status.DIED,
    Status.SPLIT,
)
ALL = {**METHODS, **PEERS}
NULL = "no effect"


class Condition(NamedTuple):
    """A world, and how dictionaries are trained on it.

    Attributes:
        name: What the table calls it.
        plant: Draws the residuals and their truth.
        settings: How dictionaries are trained.
    """

    name: str
    plant: Callable[[], Planted]
    settings: Settings


def conditions(preset: str, *, seed: int) -> list[Condition]:
    """The conditions of a preset; their residuals are drawn when they are needed."""
    if preset == "copula":
        usual = {"tokens": 150_000, "correlation": 0.3}
        return [
            Condition(name, functools.partial(copula, seed, **{**usual, **shape}), LONG)
            for name, shape in COPULA.items()
        ]
    return [
        Condition(name, functools.partial(plant, plan, seed=seed), settings)
        for name, plan, settings in PRESETS[preset]
    ]


def compare(planted: Planted, settings: Settings, *, method: str) -> list[dict[str, Any]]:
    """What a method finds of a world: one row a measure, its CPU time among them."""
    start = time.process_time()
    findings = ALL[method](planted, settings)
    seconds = time.process_time() - start
    return [*judge(planted, findings), {"measure": SECONDS, "estimate": seconds}]


def relabel(*, seed: int) -> list[dict[str, Any]]:
    """What is claimed of checkpoints that do not differ, as they are and in other orders."""
    plan = replace(SMALL, d_model=32, n_features=64, n_tokens=40_000, shares=NO_EFFECT)
    sums, _ = crosscoder_sums(plant(plan, seed=seed), replace(SHORT, steps=500))
    rng = np.random.default_rng(seed)
    claimed = []
    for _ in range(N_RELABELINGS):
        order = rng.permutation(plan.n_checkpoints)
        status = statuses(sums.isel(checkpoint=order))["status"].to_numpy()
        claimed.append(np.isin(status, CLAIMS).any())
    status = statuses(sums)["status"].to_numpy()
    alive = status != Status.DEAD
    return [
        share("claimed", np.isin(status, CLAIMS)[alive]),
        share(Status.UNDECIDED, (status == Status.UNDECIDED)[alive]),
        share("relabelings with a claim", np.array(claimed)),
    ]


def run_conditions(table: Table, own: list[Condition], *, seed: int, methods: list[str]) -> None:
    """Every method on every condition, but for what the table holds."""
    with tqdm(total=len(own) * len(methods), desc="recovery") as bar:
        for condition in own:
            planted: Planted | None = None
            for method in methods:
                bar.set_description(f"{condition.name}: {method}")
                if not table.of(condition.name, seed, method):
                    planted = condition.plant() if planted is None else planted
                    rows = compare(planted, condition.settings, method=method)
                    table.add(condition.name, seed, method, rows)
                bar.update()


def _choose(kind: str, given: str, valid: list[str]) -> list[str]:
    """The names that were given, or all."""
    names = given.split(";") if given else valid
    for name in names:
        if name not in valid:
            raise SystemExit(unknown(kind, name, valid))
    return names


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--preset", choices=[*PRESETS, "copula", "nulls"], default="first")
    parser.add_argument("--seed", type=int, default=401)
    parser.add_argument("--methods", default="", help="only these, divided by ;")
    parser.add_argument("--conditions", default="", help="only these, divided by ;")
    parser.add_argument("--table", type=Path, default=Path("runs/recovery.csv"))
    given = parser.parse_args()
    methods = _choose("method", given.methods, list(ALL))
    for line in ABSENT:
        print(line, flush=True)
    torch.set_num_threads(1)
    table = Table(given.table)
    seeds = [given.seed]
    if given.preset == "nulls":
        seeds = [given.seed + i for i in range(N_NULLS)]
        for seed in tqdm(seeds, desc=NULL):
            if not table.of(NULL, seed, "crosscoder"):
                table.add(NULL, seed, "crosscoder", relabel(seed=seed))
        names = [NULL]
    else:
        worlds = {one.name: one for one in conditions(given.preset, seed=given.seed)}
        names = _choose("condition", given.conditions, list(worlds))
        own = [worlds[name] for name in names]
        run_conditions(table, own, seed=given.seed, methods=methods)
    print(table.text(names, seeds))


if __name__ == "__main__":
    main()
