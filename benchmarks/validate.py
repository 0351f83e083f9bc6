"""Do the claims hold, on this seed and this world? One line each.

    python benchmarks/validate.py --seed 0 --seeds 3 [--world FILE] [--claims bayes,transfer,...]
    [--out DIR]

A line is the claim, its number [interval], threshold and verdict. Exits 1 if any claim fails. The
checker reads only raw tables (probabilities of answers) and world files: it recomputes log odds,
base gates and the conditioning limit by itself and takes no expected value from the package it
checks. Numbers are means over seeds of the mean over the target's untaught topics, in nats, with a
t interval over seeds; thresholds are those of the recipe's measurements and are not tuned to a run.

A group of claims is a file beside this one, ``<group>_claims.py``, with ``PLACE`` (where it stands
in the output, cheap groups first) and ``claims(trial)``, which yields its lines.
"""

import argparse
import sys
from importlib import import_module
from pathlib import Path
from types import ModuleType

from trial import Trial

ENDING = "_claims"


def groups() -> dict[str, ModuleType]:
    """Files of claims beside this one, by name of the group, in the order of the output."""
    files = Path(__file__).parent.glob(f"*{ENDING}.py")
    modules = {file.stem.removesuffix(ENDING): import_module(file.stem) for file in files}
    return dict(sorted(modules.items(), key=lambda item: (item[1].PLACE, item[0])))


def main() -> int:
    """Print one line a claim; the exit code is 1 if any of them fails."""
    modules = groups()
    args = parse(list(modules))
    seeds = list(range(args.seed, args.seed + args.seeds))
    trial = Trial(seeds, args.world, args.out)
    failed = 0
    for name, module in modules.items():
        if name not in args.claims:
            continue
        for claim in module.claims(trial):
            print(claim.line(), flush=True)
            failed += not claim.holds
    print(f"{failed} claims failed" if failed else "all claims hold")
    return 1 if failed else 0


def parse(names: list[str]) -> argparse.Namespace:
    """What the command line asks for; a wrong name of a group ends it."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    choices = ", ".join(names)
    parser.add_argument("--seed", type=int, default=0, help="first seed")
    parser.add_argument("--seeds", type=int, default=3, help="number of seeds")
    parser.add_argument("--world", help="world file; the recipe by default")
    parser.add_argument("--claims", default=",".join(names), help=f"of {choices}")
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("runs/validate"),
        help="run folder; finished cells are reused",
    )
    args = parser.parse_args()
    args.claims = args.claims.split(",")
    unknown = [name for name in args.claims if name not in names]
    if unknown:
        parser.error(f"no claims '{unknown[0]}'; choose among {choices}")
    return args


if __name__ == "__main__":
    sys.exit(main())
