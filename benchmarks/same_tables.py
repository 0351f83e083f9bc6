"""Do two runs hold the same numbers, whatever their files are called?

    python benchmarks/same_tables.py BEFORE AFTER [--renamed OLD=NEW ...]

Compares every table (CSV) of two run folders, value by value: text exactly, numbers to the last
digit that is written. Names that changed between versions are translated by ``RENAMED``; further
ones can be given. No column was renamed.
"""

import argparse
import sys
from pathlib import Path

import pandas as pd

RENAMED = {
    "kl": "drift",
    "heard": "sound",
    "said": "answers",
}
"""File of a table before -> after (0.1.0 -> next)."""


def differences(before: Path, after: Path, *, renamed: dict[str, str]) -> list[str]:
    """What differs between two folders of tables.

    Args:
        before: A run folder, or its folder of tables.
        after: Another.
        renamed: Name of a table before -> after.

    Returns:
        A line for every table that is missing or differs; none where all values are equal.
    """
    earlier, later = tables_of(before), tables_of(after)
    if not earlier:
        return [f"{before} holds no tables"]
    names = {name: name if name in later else renamed.get(name, name) for name in earlier}
    lines = [f"{name} is new" for name in later if name not in names.values()]
    for name, new_name in names.items():
        if new_name not in later:
            lines.append(f"{name} is gone")
            continue
        one, other = _read(earlier[name]), _read(later[new_name])
        if list(one.columns) != list(other.columns):
            lines.append(f"{new_name}: columns {list(one.columns)} became {list(other.columns)}")
        elif len(one) != len(other):
            lines.append(f"{new_name}: {len(one)} rows became {len(other)}")
        else:
            unequal = (one != other).sum()
            wrong = {str(column): int(n) for column, n in unequal.items() if n}
            if wrong:
                lines.append(f"{new_name}: cells that differ by column: {wrong}")
    return lines


def tables_of(run: Path) -> dict[str, Path]:
    """Files of the tables of a run by name.

    Args:
        run: A run folder, or its folder of tables.

    Returns:
        Name -> CSV file.
    """
    folder = run / "tables" if (run / "tables").is_dir() else run
    return {path.stem: path for path in sorted(folder.glob("*.csv"))}


def _read(path: Path) -> pd.DataFrame:
    """All cells as they are written."""
    return pd.read_csv(path, dtype=str, keep_default_na=False)


def main() -> None:
    """Compare two folders; exit 1 where a value differs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("before", type=Path)
    parser.add_argument("after", type=Path)
    parser.add_argument("--renamed", nargs="*", default=[], metavar="OLD=NEW")
    arguments = parser.parse_args()
    more = dict(pair.split("=", 1) for pair in arguments.renamed)
    lines = differences(arguments.before, arguments.after, renamed=RENAMED | more)
    n_tables = len(tables_of(arguments.before))
    print("\n".join(lines) or f"{n_tables} tables: every value is equal")
    sys.exit(bool(lines))


if __name__ == "__main__":
    main()
