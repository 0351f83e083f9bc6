"""What did a forecast run find, in words and figures?"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from persona_interp import plots
from persona_interp.errors import StoreError
from persona_interp.experiments.forecast.stacks import TOGETHER
from persona_interp.report import page
from persona_interp.report.page import Block
from persona_interp.report.rows import has
from persona_interp.schema.words import ForecastScore, Variant

Tables = dict[str, pd.DataFrame]

TITLE = "Forecast: what will a lesson move, before anybody teaches it?"
TABLES = {
    "scores": "Plain lessons: every predictor and stack, at every step.",
    "variants": "At the end of the lesson, by what is different about it.",
    "worlds": "Plain lessons, at the end, by family of worlds.",
    "personas": "Plain lessons, at the end: every persona, the mean of its untaught traits.",
    "costs": "What a forecast costs a lesson, in steps of it; a plain pilot's readout not counted.",
}
READING = (
    "A forecast is of the shift of a trait that the lesson does not teach, in bits. R2 is the "
    "share of the variance of all shifts that it explains; bases are the unit of every interval. "
    "The stacks were fitted to other bases of other seeds; none has seen these. Costs are in steps "
    "of the lesson, counted in tokens."
)


def blocks(run: Path, tables: Tables, *, provenance: Mapping[str, Any]) -> list[Block]:
    """Blocks of the page about a forecast run.

    Args:
        run: The run's folder; figures are written there.
        tables: What the experiment's ``summarize`` returned.
        provenance: From ``provenance_of``.

    Returns:
        How good each stack is, accuracy against cost, what came of each forecast, tables.

    Raises:
        StoreError: No lesson is finished.
    """
    if not has(tables, "scores"):
        raise StoreError(
            f"{run} has no lesson yet that was forecast and taught; run the experiment on."
        )
    source = "tables/scores.csv"
    parts: list[Block] = []
    for place, name in enumerate(TOGETHER):
        parts.append(page.paragraph(sentence(tables, name), source=source, lead=not place))
    parts.append(page.paragraph(READING))
    parts.append(
        page.saved_figure(
            run,
            "costs",
            draw(tables),
            table=numbers(tables),
            caption="How good every forecast is, against what it costs.",
            provenance=provenance,
        )
    )
    parts.append(page.paragraph(changed(tables), source="tables/variants.csv"))
    for name, caption in TABLES.items():
        if has(tables, name):
            parts.append(page.table(tables[name], caption=caption, source=f"tables/{name}.csv"))
    return parts


def sentence(tables: Tables, name: str) -> str:
    """How good one stack is at the end of plain lessons, in words.

    Args:
        tables: With ``scores`` and ``costs``.
        name: Of the stack.

    Returns:
        A sentence with intervals.
    """
    own = _ends(tables["scores"], name)
    costs = dict(zip(tables["costs"]["forecaster"], tables["costs"]["cost"], strict=True))
    n_bases = int(own["n_bases"].iloc[0])
    n_lessons = int(own["n"].to_dict()[ForecastScore.RISER])
    parts = [
        f"R2 {_number(own, ForecastScore.R_SQUARED)}",
        f"worst lesson {own['estimate'].to_dict()[ForecastScore.WORST]:.2f}",
        f"largest riser among three {_number(own, ForecastScore.RISER)}",
        f"{_number(own, ForecastScore.COVERED)} of shifts within their interval",
        f"no trait above its bound in {_number(own, ForecastScore.BOUNDED)} of lessons",
        f"the bound is {_number(own, ForecastScore.SLACK)} times the largest rise",
    ]
    return (
        f"Stack '{name}', {costs[name]:.1f} steps a lesson: {'; '.join(parts)} "
        f"({n_lessons} lessons of {n_bases} bases)."
    )


def changed(tables: Tables) -> str:
    """How good the stack without a pilot is where a lesson is not plain, in words.

    Args:
        tables: With ``variants``.

    Returns:
        A sentence; every variant stands in it.
    """
    first = next(iter(TOGETHER))
    own = tables["variants"]
    own = own.loc[(own["forecaster"] == first) & (own["score"] == ForecastScore.R_SQUARED)]
    own = own.loc[own["variant"] != Variant.PLAIN]
    if own.empty:
        return "Only plain lessons were forecast."
    said = [
        f"{variant} {r2:.2f} [{lo:.2f}, {hi:.2f}]"
        for variant, r2, lo, hi in own[["variant", "estimate", "lo", "hi"]].itertuples(index=False)
    ]
    return (
        f"R2 of '{first}' where a lesson is not plain, which it was fitted on: {'; '.join(said)}."
    )


def numbers(tables: Tables) -> pd.DataFrame:
    """R2 of every predictor and stack at the end of plain lessons, beside its cost.

    Args:
        tables: With ``scores`` and ``costs``.

    Returns:
        Columns as ``plots.forecast_costs`` takes them.
    """
    scores = tables["scores"]
    last = scores["step"] == scores["step"].max()
    own = scores.loc[last & (scores["score"] == ForecastScore.R_SQUARED)]
    own = own.merge(tables["costs"], on="forecaster").rename(columns={"forecaster": "predictor"})
    return own.reset_index(drop=True)


def draw(tables: Tables) -> Figure:
    """Accuracy against cost.

    Args:
        tables: With ``scores`` and ``costs``.

    Returns:
        A point a predictor and stack.
    """
    return plots.forecast_costs(numbers(tables))


def _ends(scores: pd.DataFrame, name: str) -> pd.DataFrame:
    """Scores of a forecaster at the last step, by score."""
    last = scores["step"] == scores["step"].max()
    return scores.loc[last & (scores["forecaster"] == name)].set_index("score")


def _number(own: pd.DataFrame, score: str) -> str:
    row = own.loc[str(score)]
    return f"{row['estimate']:.3f} [{row['lo']:.3f}, {row['hi']:.3f}]"
