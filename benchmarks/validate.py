"""Do the claims hold, on this seed and this world? One line each.

    python benchmarks/validate.py --seed 0 --seeds 3 [--world FILE] [--claims bayes,transfer,...]
    [--out DIR] [--table docs/results/validate.csv]

A line is the verdict, the claim, its number [95 % interval], its threshold, and how many seeds
there are and it takes. A claim *holds* when its whole interval meets the threshold, *fails* when
the whole interval is on the wrong side, and is *undecided* otherwise: there are too few seeds,
whatever the mean. How many it takes follows from its own spread: the smallest number at which the
t interval at this mean and standard deviation would exclude the threshold. One seed has no
interval. Identities are exact, shares of simulations have Wilson intervals, "each" asks every seed
(and three of them), and a number without threshold is only reported.

The last line counts all four. Exits 1 if any claim fails or a group breaks; claims that are
undecided, and groups that a world file does not allow, are counted and exit 0.

The checker reads only raw tables (probabilities of answers) and world files: it recomputes log
odds, base gates and the conditioning limit by itself and takes no expected value from the package
it checks. Numbers are means over seeds of the mean over the target's untaught topics, in bits;
thresholds are those of the recipe's measurements and are not tuned to a run. A group that a world
file or the seeds do not reach says so.

A group of claims is a file beside this one, ``<group>_claims.py``, with ``PLACE`` (where it stands
in the output, cheap groups first), ``REACH`` (what of the command line reaches it) and
``claims(trial)``, which yields its lines.
"""

import argparse
import sys
from collections import Counter
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from types import ModuleType

from claim import Claim
from claims_table import store, table
from persona_interp import worlds
from persona_interp.errors import PersonaInterpError, WorldError
from persona_interp.schema.words import Ruling
from trial import Trial

ENDING = "_claims"


def groups() -> dict[str, ModuleType]:
    """Files of claims beside this one, by name of the group, in the order of the output."""
    files = Path(__file__).parent.glob(f"*{ENDING}.py")
    modules = {file.stem.removesuffix(ENDING): import_module(file.stem) for file in files}
    return dict(sorted(modules.items(), key=lambda item: (item[1].PLACE, item[0])))


def main() -> int:
    """Print one line a claim; the exit code is 1 if any fails or a group breaks."""
    modules = groups()
    args = parse(list(modules))
    seeds = list(range(args.seed, args.seed + args.seeds))
    trial = Trial(seeds, args.world, args.out)
    claims: dict[str, list[Claim]] = {}
    untried = []
    broken = False
    for name, module in modules.items():
        if name not in args.claims:
            continue
        claims[name] = []
        try:
            for claim in try_group(name, module, trial):
                claims[name].append(claim)
        except PersonaInterpError as error:
            print(f"{'':9}  {name}: cannot be tried: {error}", flush=True)
            untried.append(name)
            # A world file may not allow a group; every other error is one of the package.
            broken |= not (args.world and isinstance(error, WorldError))
    rulings = Counter(claim.ruling for own in claims.values() for claim in own)
    print(summary(rulings, untried))
    # of no claims there is no table: an empty file could not be read again
    if args.table and rulings:
        store(table(claims, trial), args.table)
    return 1 if rulings[Ruling.FAILS] or broken else 0


def try_group(name: str, module: ModuleType, trial: Trial) -> Iterator[Claim]:
    """The claims of one group; the line of each is printed."""
    own, unreached = trial.reaching(module.REACH)
    if unreached:
        print(f"{'':9}  {name}: {unreached}", flush=True)
    for claim in module.claims(own):
        print(claim.line(), flush=True)
        yield claim


def summary(rulings: Counter[Ruling], untried: list[str]) -> str:
    """How many claims there are of each verdict.

    >>> summary(Counter({Ruling.HOLDS: 2, Ruling.UNDECIDED: 1}), [])
    '3 claims: holds 2, fails 0, undecided 1, reported 0'
    """
    counts = ", ".join(f"{ruling} {rulings[ruling]}" for ruling in Ruling)
    line = f"{rulings.total()} claims: {counts}"
    if untried:
        line += f"; not tried: {', '.join(untried)}"
    return line


def parse(names: list[str]) -> argparse.Namespace:
    """What the command line asks for; a wrong name of a group or a wrong world file ends it."""
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
    parser.add_argument(
        "--table", type=Path, help="CSV file to write; its rows of other groups and seeds stay"
    )
    args = parser.parse_args()
    args.claims = args.claims.split(",")
    unknown = [name for name in args.claims if name not in names]
    if unknown:
        parser.error(f"no claims '{unknown[0]}'; choose among {choices}")
    if args.seeds < 1 or args.seed < 0:
        parser.error("--seed is 0 or more, --seeds 1 or more")
    if args.world:
        try:
            world = worlds.load(args.world)
        except PersonaInterpError as error:
            parser.error(str(error))
        if len(world.topics) < 2:
            parser.error(f"world file {args.world} has no topic beside the taught one to read")
    return args


if __name__ == "__main__":
    sys.exit(main())
