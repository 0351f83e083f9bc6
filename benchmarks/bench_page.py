"""The table of ``bench.py`` as markdown in a page, between its marks.

python benchmarks/bench_page.py docs/results/bench.csv README.md
"""

import sys
from pathlib import Path

import pandas as pd

from persona_interp.tables import IDS

BEGIN, END = "<!-- bench -->\n", "<!-- end of bench -->\n"
OURS = "ours, "


def write(table: Path, page: Path) -> None:
    """Put the table into a page; the words around it stay."""
    before, mark, rest = page.read_text().partition(BEGIN)
    _, end, after = rest.partition(END)
    if not mark or not end:
        raise SystemExit(f"{page} lacks the marks {BEGIN.strip()} and {END.strip()}")
    versions = pd.read_csv(table.with_stem(f"{table.stem}_versions"), keep_default_na=False)
    text = (
        markdown(pd.read_csv(table, dtype=IDS, keep_default_na=False)) + "\n\n" + sentence(versions)
    )
    page.write_text(f"{before}{mark}\n{text}\n\n{end}{after}")


def markdown(table: pd.DataFrame) -> str:
    """A row for each line of ours, with the medians of peers in the same unit."""
    head = "| work | unit | ours, min / median / max | asked | peers, medians |"
    parts = [head, "|---|---|---|---|---|"]
    for _, rows in table.groupby(["work", "measure"], sort=False):
        work, measure = rows["work"].iloc[0], rows["measure"].iloc[0]
        is_own = rows["contender"].str.startswith("ours")
        peers = "; ".join(peer(row) for row in rows.loc[~is_own].to_dict("records")) or "-"
        for row in rows.loc[is_own].to_dict("records"):
            name = row["contender"].removeprefix(OURS)
            title = work if name in ("ours", work.partition(",")[0]) else f"{work}: {name}"
            asked = f"{row['asked']} {row['verdict']}".strip() or "-"
            parts.append(f"| {title} | {measure} | {triple(row)} | {asked} | {peers} |")
            peers = "see above" if peers != "-" else "-"
    return "\n".join(parts)


def triple(row: dict[str, object]) -> str:
    """Least, median and most."""
    if row["median"] == "":
        return str(row["remark"])
    least, median, most = (number(row[name]) for name in ("least", "median", "most"))
    return f"{least} / **{median}** / {most}"


def peer(row: dict[str, object]) -> str:
    """A peer's median, or why there is none."""
    if row["median"] == "":
        return f"{row['contender']} ({row['remark']})"
    return f"{row['contender']} {number(row['median'])}"


def number(value: object) -> str:
    """Two decimals, or none of what is large."""
    x = float(str(value))
    return f"{x:,.0f}" if abs(x) >= 100 else f"{x:.2f}".replace("0.", ".", 1 if abs(x) < 1 else 0)


def sentence(versions: pd.DataFrame) -> str:
    """What was installed."""
    pairs = zip(versions["what"], versions["version"], strict=True)
    return ", ".join(f"{what} {version}" for what, version in pairs) + "."


if __name__ == "__main__":
    write(Path(sys.argv[1]), Path(sys.argv[2]))
