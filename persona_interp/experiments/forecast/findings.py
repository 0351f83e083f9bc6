"""What does a forecast say, in words?"""

from typing import Any

import pandas as pd

from persona_interp.analysis.stats import LEVEL
from persona_interp.schema.words import ForecastScore

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
        f"trait above its own bound, all {len(last)} together, in {level_of(forecast)} of lessons.",
    ]
    if "cost" in forecast.attrs:
        lines.append(f"Cost: {forecast.attrs['cost']:.1f} steps of the lesson.")
    if "base_cost" in forecast.attrs:
        lines.append(
            f"What is asked of the base once and kept for its other lessons is not in this cost: "
            f"{forecast.attrs['base_cost']:.0f} steps of this lesson."
        )
    return lines


def limits(forecast: pd.DataFrame) -> list[str]:
    """How little a forecast of published traits knows, in words.

    Args:
        forecast: A forecast table of ``pi.forecast(traits=...)``.

    Returns:
        Sentences: what its stack was fitted to and promises, what it explains of traits that it
        does not know beside what needs no forecast, and what it read of the lesson.
    """
    stack, about = forecast.attrs["stack"], forecast.attrs["about"]
    n = len(stack["bases"])
    r2 = str(ForecastScore.R_SQUARED)
    unknown = stack["both_left_out"]
    one, both = stack["left_out"][r2], unknown[r2]
    lines = [
        f"Fitted to {stack['n_lessons']} lessons in {n} traits ({', '.join(stack['bases'])}) on "
        f"one model, {stack['model']}: {n} traits cannot promise 95 %, so intervals and bounds "
        f"promise {n} of {n + 1} ({level_of(forecast)}). Bits are of a whole answer.",
        "Of shifts of traits that it knew neither as taught nor as shifted such a line explained "
        f"{_range(both)} of the variance; {_range(one)} where it knew the shifted one. The mean of "
        f"what other lessons did explained {_range(stack['mean_of_others'])}: nothing shows that "
        "this forecast is better.",
        f"Where it knew neither, {n - 2} traits promised {n - 2} of {n - 1}: "
        f"{_range(unknown[str(ForecastScore.COVERED)])} of shifts were within their intervals, and "
        f"no trait above its bound in {_range(unknown[str(ForecastScore.BOUNDED)])} of lessons.",
    ]
    if known := [name for name in about["traits"] if name in stack["bases"]]:
        lines.append(
            f"It was fitted to traits of these names ({', '.join(known)}): on its own model what "
            "it says of them is a fit, and no forecast."
        )
    if not about["pilot"]:
        lines.append(
            "No row of the lesson was read: this is what the base says when it is told to show "
            f"{about['taught'][0]}."
        )
    return lines


def persona_sentence(personas: pd.DataFrame) -> str:
    """Which persona is expected to rise most and to fall most, in words, at the last step.

    Args:
        personas: A forecast_personas table of one lesson.

    Returns:
        A sentence.

    >>> row = {"persona": "john", "step": 40, "estimate": 0.8, "lo": 0.5, "hi": 1.1, "bound": 1.5}
    >>> persona_sentence(pd.DataFrame([row | {"n": 4}])).partition(", at most")[0]
    'The persona expected to rise most is john, up 0.80 bits [0.50, 1.10]'
    """
    last = personas.loc[personas["step"] == personas["step"].max()]
    last = last.sort_values("estimate", ascending=False).rename(columns={"persona": "trait"})
    up, down = (last.iloc[i].to_dict() for i in (0, -1))
    held = f"in the mean of what it holds on {up['n']} untaught topics"
    if up["lo"] <= 0:
        moved = f"{up['estimate']:.2f} bits [{up['lo']:.2f}, {up['hi']:.2f}]"
        line = (
            f"No persona is expected to rise beyond its interval; highest is {up['trait']}, {moved}"
        )
        line += f", at most {up['bound']:.2f}, {held}"
    else:
        line = f"The persona expected to rise most is {_said(up, 'up', sep=', ')}"
        line += f", at most {up['bound']:.2f}, {held}"
    if down["hi"] < 0:
        line += f"; to fall most is {_said(down, 'down', sep=', ')}"
    return f"{line}."


def feature_sentence(features: pd.DataFrame) -> str:
    """Which features are expected to rise and to fall most, in words, at the last step.

    Args:
        features: A forecast_features table of one lesson.

    Returns:
        Sentences, with how many have a forecast, how well their dictionary fits, and the cost.

    >>> row = {"feature": 7, "step": 40, "estimate": 0.8, "lo": 0.5, "hi": 1.1, "bound": 1.5}
    >>> table = pd.DataFrame([row])
    >>> table.attrs |= {"silent": [1, 2], "fvu": 0.03, "cost": 3.6}
    >>> feature_sentence(table).partition(";")[0]
    'Features expected to move beyond their interval: 7 up 0.80 [0.50, 1.10] (mean activation)'
    """
    last = features.loc[features["step"] == features["step"].max()]
    last = last.rename(columns={"feature": "trait"})
    up = last.loc[last["lo"] > 0].nlargest(RISERS, "estimate")
    down = last.loc[last["hi"] < 0].nsmallest(RISERS, "estimate")
    named = [_said(row, "up", unit="") for row in up.to_dict("records")]
    named += [_said(row, "down", unit="") for row in down.to_dict("records")]
    moved = f"{', '.join(named)} (mean activation)" if named else "none"
    n = len(last) + len(features.attrs["silent"])
    return (
        f"Features expected to move beyond their interval: {moved}; {len(last)} of {n} have a "
        f"forecast, the others fire at no question (fvu {features.attrs['fvu']:.2f}). It cost "
        f"{features.attrs['cost']:.1f} steps of the lesson more."
    )


def level_of(forecast: pd.DataFrame) -> str:
    """What intervals and bounds of a forecast promise, in percent.

    Args:
        forecast: A forecast table.

    Returns:
        The level.

    >>> level_of(pd.DataFrame())
    '95 %'
    """
    return f"{100 * forecast.attrs.get('level', LEVEL):.3g} %"


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


def _range(numbers: list[float]) -> str:
    """A number and its interval."""
    estimate, lo, hi = numbers
    return f"{estimate:.2f} [{lo:.2f}, {hi:.2f}]"


def _said(row: dict[str, Any], way: str, *, sep: str = " ", unit: str = " bits") -> str:
    """One trait; how far down is a size, as how far up is."""
    size = sorted(abs(row[name]) for name in ("lo", "estimate", "hi"))
    return f"{row['trait']}{sep}{way} {size[1]:.2f}{unit} [{size[0]:.2f}, {size[2]:.2f}]"
