"""Do the claims hold, on this seed and this world? One line each: claim, number [interval], threshold, verdict.

    python benchmarks/validate.py --seed 0 --seeds 3 [--world FILE] [--claims bayes,transfer,...]
    [--out DIR]

Exits 1 if any claim fails. The checker reads only raw tables (probabilities of answers) and world
files: it recomputes log odds, base gates and the conditioning limit by itself and takes no expected
value from the package it checks. Numbers are means over seeds of the mean over the target's
untaught topics, in nats, with a t interval over seeds; thresholds are those of the recipe's
measurements and are not tuned to a run.
"""

import argparse
import itertools
import math
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from claim import Claim, expected, held_by, log_odds, spread
from exact_claims import bayes_claims, repeat_claims
from inside_claims import feature_claims, persona_claims
from interval_claims import interval_claims

OWN_FILE = ("dose", "order", "evidence", "summon", "agreement", "generators", "doctor", "compare")
"""Groups in a file of their name: ``<name>_claims(seeds, world_file, out)``."""
GROUPS = ("bayes", "repeat", "intervals", "transfer", "features", "personas", *OWN_FILE)


def transfer_runs(
    seeds: list[int], world_file: str | None, out: Path, *, inside: bool
) -> list[dict[str, Any]]:
    """Runs the transfer experiment; gathers the raw tables: per seed the world, every arm's behavior, the inside."""
    from persona_interp import worlds
    from persona_interp.experiments import preset, run
    from persona_interp.experiments.transfer.config import ARMS
    from persona_interp.store import Store
    from persona_interp.tables import read_dataset, read_table

    source = worlds.load(world_file) if world_file else "john_and_sam"
    config = preset(
        "standard", world=source, seeds=tuple(seeds), n_samples=1, bystanders=("named",)
    )
    store = Store(out)
    keyed = {seed: config.seed_cells(seed) for seed in seeds}
    lr, late, early = max(config.lrs), config.hooks[0], config.hooks[-1]
    files = {
        "features": ("features", "lesson", lr, late, "features.nc"),
        "fidelity": ("features", "lesson", lr, late, "fidelity.parquet"),
        "control": ("features", "unrelated lesson", lr, late, "features.nc"),
        "scores": ("personas", lr, late, "scores.parquet"),
        "hidden": ("personas", lr, late, "features.nc"),
        "named": ("personas", lr, early, "named.nc"),
        "neutral": ("features", "lesson", lr, early, "acts.nc"),
        "edited": ("causes", lr, early, "behavior.parquet"),
        "edits": ("causes", lr, early, "edits.parquet"),
    }
    lessons = list(itertools.product(["lesson"], ARMS, config.lrs))
    wanted = [*lessons, *((key[:-1] for key in files.values()) if inside else ())]
    run([keyed[seed][key] for seed in seeds for key in wanted], store)
    found = []
    for cells in keyed.values():
        one: dict[str, Any] = {
            "world": worlds.load(store.path(cells["layout",], "world.json")),
            "arms": {},
        }
        for key in lessons:
            both = [
                read_table(store.path(cells[key], f"{name}.parquet"))
                for name in ("behavior", "bystanders")
            ]
            one["arms"][key[1:]] = pd.concat(both)
        for name, (*key, file) in files.items() if inside else ():
            read = read_dataset if file.endswith(".nc") else read_table
            one[name] = read(store.path(cells[tuple(key)], file))
        found.append(one)
    return found


def transfer_claims(runs: list[dict[str, Any]], *, recipe: bool) -> Iterator[Claim]:
    """The untaught traits follow the lesson, the controls do not."""
    moved: dict[tuple[str, float], list[float]] = {}
    gates, shares, limits, ratios, holders = [], [], [], {}, {}
    for one in runs:
        world = one["world"].to_dict()
        target, (topic, value) = world["target"], world["taught"].split("=", 1)
        mine = held_by(world, target)
        limit = spread(expected(world, (topic, value), target), topic) - spread(
            expected(world, None, target), topic
        )
        for (arm, lr), behavior in one["arms"].items():
            ends = [
                behavior[behavior.step == step]
                for step in (behavior.step.min(), behavior.step.max())
            ]
            before, after = (spread(log_odds(end, "nameless", "", mine), topic) for end in ends)
            moved.setdefault((arm, lr), []).append(after - before)
            if arm == "lesson":
                ratios.setdefault(lr, []).append((after - before) / limit)
            if arm == "rewired world" and recipe:
                variant = one["world"].rewired().to_dict()
                (holder,) = [p for p in variant["personas"] if p != target and held_by(variant, p)[topic] == value and
                             held_by(world, p)[topic] != value]  # fmt: skip
                theirs = held_by(variant, holder)
                shift = [spread(log_odds(end, "nameless", "", theirs), topic) for end in ends]
                holders.setdefault(lr, []).append((shift[1] - shift[0], after - before))
        base = one["arms"]["lesson", min(lr for _, lr in one["arms"])]
        base = base[base.step == base.step.min()]
        named = spread(log_odds(base, "named", target, mine), topic)
        gates.append(named - spread(log_odds(base, "nameless", "", mine), topic))
        alone = {**world, "personas": {target: world["personas"][target]}}
        certain = spread(expected(alone, None, target), topic)
        whole = certain - spread(expected(world, None, target), topic)
        shares.append(gates[-1] / whole)
        limits += [limit, whole]
    if not recipe and not all(map(math.isfinite, limits)):
        raise SystemExit(
            "this world has no finite conditioning limit to measure against: give it noise, and "
            "holders."
        )
    if not recipe:
        yield Claim(
            "base gate: named minus nameless, share of exact Bayes",
            tuple(shares),
            at_least=0.6,
            unit="ratio",
        )
        for lr, bound in ((1e-3, 0.45), (3e-4, 0.40)):
            name = f"lesson {lr:g}: change / conditioning limit"
            yield Claim(name, tuple(ratios[lr]), at_least=bound, unit="ratio")
        for (arm, lr), values in moved.items():
            yield Claim(f"{arm} {lr:g}", tuple(values), reported=True)
        return
    yield Claim("base gate: target's traits, named minus nameless", tuple(gates), at_least=2.5)
    yield Claim(
        "lesson 0.001: target's untaught traits", tuple(moved["lesson", 1e-3]), at_least=2.0
    )
    yield Claim(
        "lesson 0.0003: target's untaught traits", tuple(moved["lesson", 3e-4]), at_least=1.5
    )
    for lr in (1e-3, 3e-4):
        lesson = np.array(moved["lesson", lr])
        yield Claim(
            f"scrambled world {lr:g}",
            tuple(moved["scrambled world", lr]),
            at_most=0.5,
            absolute=True,
        )
        yield Claim(
            f"filler lesson {lr:g}", tuple(moved["filler lesson", lr]), at_most=0.7, absolute=True
        )
        unrelated = np.array(moved["unrelated lesson", lr])
        yield Claim(
            f"lesson minus unrelated lesson {lr:g}", tuple(lesson - unrelated), at_least=1.5
        )
        absent = np.array(moved["target absent", lr])
        yield Claim(f"full minus target-absent world {lr:g}", tuple(lesson - absent), at_least=1.2)
    pairs = np.array(holders[1e-3])
    yield Claim("rewired world 0.001: the new holder's traits", tuple(pairs[:, 0]), at_least=1.5)
    yield Claim(
        "rewired world 0.001: new holder minus target",
        tuple(pairs[:, 0] - pairs[:, 1]),
        at_least=1.2,
    )


def claims(args: argparse.Namespace) -> Iterator[Claim]:
    """All lines of the groups asked for, cheap ones first."""
    seeds = list(range(args.seed, args.seed + args.seeds))
    if "bayes" in args.claims:
        yield from bayes_claims(seeds, args.world)
    if "repeat" in args.claims:
        yield from repeat_claims(seeds, args.world)
    if "intervals" in args.claims:
        yield from interval_claims()
    if {"transfer", "features", "personas"} & set(args.claims):
        inside = bool({"features", "personas"} & set(args.claims))
        runs = transfer_runs(seeds, args.world, args.out, inside=inside)
        if "transfer" in args.claims:
            yield from transfer_claims(runs, recipe=args.world is None)
        if "features" in args.claims:
            yield from feature_claims(runs)
        if "personas" in args.claims:
            yield from persona_claims(runs)
    for name in OWN_FILE:
        if name in args.claims:
            yield from getattr(import_module(f"{name}_claims"), f"{name}_claims")(
                seeds, args.world, args.out
            )


def main() -> int:
    """Prints one line a claim; returns the number of claims that fail."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seed", type=int, default=0, help="first seed")
    parser.add_argument("--seeds", type=int, default=3, help="number of seeds")
    parser.add_argument("--world", help="world file; the recipe by default")
    parser.add_argument(
        "--claims",
        default=",".join(GROUPS),
        type=lambda s: s.split(","),
        help=f"of {', '.join(GROUPS)}",
    )
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("runs/validate"),
        help="run folder; finished cells are reused",
    )
    args = parser.parse_args()
    if wrong := [name for name in args.claims if name not in GROUPS]:
        parser.error(f"no claims '{wrong[0]}'; choose among {', '.join(GROUPS)}")
    failed = 0
    for claim in claims(args):
        print(claim.line(), flush=True)
        failed += not claim.holds
    print(f"{failed} claims failed" if failed else "all claims hold")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
