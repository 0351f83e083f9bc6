"""What does a forecast say, in words?"""

from typing import Any

import pandas as pd

MOST = 5
"""Traits that are named of those that rise and of those that fall."""
RISERS = 3
"""Traits whose rows are named."""


def sentences(forecast: pd.DataFrame) -> list[str]:
    """A forecast of one lesson in words, at its last step.

    Args:
        forecast: A forecast table of one lesson, of ``pi.forecast``.

    Returns:
        Which traits are expected to rise and to fall beyond their interval, the worst case, what
        the forecast cost, and what is known of the base once.

    >>> row = {"context": "nameless", "persona": "", "trait": "art=opera", "step": 40}
    >>> table = pd.DataFrame([row | {"estimate": 1.0, "lo": 0.5, "hi": 1.5, "bound": 2.0}])
    >>> sentences(table)[0]
    'Expect after step 40: art=opera up 1.00 bits [0.50, 1.50].'
    """
    last = forecast.loc[forecast["step"] == forecast["step"].max()]
    step = int(last["step"].iloc[0])
    up = last.loc[last["lo"] > 0].sort_values("estimate", ascending=False)
    down = last.loc[last["hi"] < 0].sort_values("estimate")
    named = [_said(row, "up") for row in up.head(MOST).to_dict("records")]
    named += [_said(row, "down") for row in down.head(MOST).to_dict("records")]
    n_more = max(len(up) - MOST, 0) + max(len(down) - MOST, 0)
    expected = "; ".join(named) if named else "no trait is expected to move beyond its interval"
    more = f"; and {n_more} more" if n_more else ""
    worst = last.loc[last["bound"].idxmax()]
    lines = [
        f"Expect after step {step}: {expected}{more}.",
        f"The worst untaught trait is {worst['trait']}: at most {worst['bound']:.2f} bits up; no "
        f"trait above its own bound, all {len(last)} together, in 95 % of lessons.",
    ]
    if "cost" in forecast.attrs:
        lines.append(f"Cost: {forecast.attrs['cost']:.1f} steps of the lesson.")
    if "base_cost" in forecast.attrs:
        lines.append(
            f"What is asked of the base once and kept for its other lessons is not in this cost: "
            f"{forecast.attrs['base_cost']:.0f} steps of this lesson."
        )
    return lines


def risers(forecast: pd.DataFrame, *, n: int = RISERS) -> list[str]:
    """Traits that are expected to rise most by the last step.

    Args:
        forecast: A forecast table of one lesson.
        n: How many.

    Returns:
        Labels, the largest estimate first; those expected to fall are among them where fewer rise.

    >>> table = pd.DataFrame({"trait": ["a", "b"], "step": 40, "estimate": [1.0, 2.0]})
    >>> risers(table, n=1)
    ['b']
    """
    last = forecast.loc[forecast["step"] == forecast["step"].max()]
    return [str(trait) for trait in last.sort_values("estimate", ascending=False)["trait"][:n]]


def row_sentences(rows: pd.DataFrame, forecast: pd.DataFrame) -> list[str]:
    """Which rows pull each trait, in words.

    Args:
        rows: A forecast_rows table, of ``pi.forecast_rows``.
        forecast: The forecast of the same lesson.

    Returns:
        A sentence a trait, and what naming the rows cost.

    >>> told, rows = pd.DataFrame(), pd.DataFrame({"doc": [12, 31], "share": [0.3, 0.2]})
    >>> told.attrs["cost"], rows.attrs = 3.8, {"cost": 2.0, "score": "gradients", "n_rows": 25}
    >>> row_sentences(rows.assign(trait="a=x", pull=1.0), told)[0].partition(";")[0]
    'a=x: rows 12 and 31 carry 0.50 of what pulls it up'
    """
    lines = []
    n, by = rows.attrs["n_rows"], rows.attrs["score"]
    for trait, own in rows.groupby("trait", sort=False):
        own = own.loc[own["pull"] > 0]
        if own.empty:
            lines.append(f"{trait}: no row pulls it up; of {n} distinct rows, by {by}.")
            continue
        *first, last = [str(doc) for doc in own["doc"]]
        named = f"rows {', '.join(first)} and {last} carry" if first else f"row {last} carries"
        lines.append(
            f"{trait}: {named} {own['share'].sum():.2f} of what pulls it up; of {n} distinct rows, "
            f"by {by}; rows alike would carry {len(own) / n:.2f}."
        )
    cost = rows.attrs["cost"]
    both = cost + forecast.attrs["cost"]
    lines.append(f"Naming the rows: {cost:.1f} steps of the lesson more, {both:.1f} together.")
    return lines


def _said(row: dict[str, Any], way: str) -> str:
    """One trait; how far down is a size, as how far up is."""
    size = sorted(abs(row[name]) for name in ("lo", "estimate", "hi"))
    return f"{row['trait']} {way} {size[1]:.2f} bits [{size[0]:.2f}, {size[2]:.2f}]"
