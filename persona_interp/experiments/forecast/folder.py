"""What does the forecast of one lesson leave behind? Tables, provenance, and a page in words."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from persona_interp import plots, report
from persona_interp.errors import StoreError
from persona_interp.experiments.forecast.findings import (
    feature_sentence,
    level_of,
    limits,
    persona_sentence,
    row_sentences,
    sentences,
)
from persona_interp.files import write_text
from persona_interp.report import page
from persona_interp.report.page import Block
from persona_interp.schema.words import Unit
from persona_interp.tables import write_table

FORECAST = "forecast.parquet"
PROVENANCE = "provenance.json"
CURVES = 3
"""Traits whose curve is drawn of those that rise most, and as many of those that fall most."""
READING = (
    "A shift is of the log odds of a trait, as the nameless assistant says it, from the base to "
    "the lesson's step; in bits. lo and hi are the ends of its 95 % interval, a new base as the "
    "unit of chance; every trait stays below its own bound, all of them together, in 95 % of "
    "lessons. Both were set on other tiny models and their lessons, and promise nothing for "
    "models of another kind: of four lessons of one chat model of 135M parameters, whose shifts "
    "were forecast at R2 .74 (with a pilot .83), they held .45 (.49) of the shifts, and the bound "
    "one lesson (two)."
)
TRAIT_READING = (
    "A shift is of the log odds of an answer that shows a trait against one that shows its "
    "opposite, both drawn from the base and said when nobody asks for them, from the base to the "
    "lesson's last step; in bits a whole answer. lo and hi are the ends of its {level} interval, a "
    "taught trait as the unit of chance; every trait stays below its own bound, all of them "
    "together, in {level} of lessons. Both were set on one model and its lessons, and promise "
    "nothing for other models and stages."
)
PERSONA_READING = (
    "The mean over untaught topics of what each persona holds, as the nameless assistant says it. "
    "A persona's interval is as wide as those of its traits on average, and too wide where their "
    "errors cancel; no persona rises above its own bound where no trait rises above its own."
)
FEATURE_READING = (
    "A feature's shift is of its mean activation at the last token of the world's questions to the "
    "nameless assistant. Features that fire there neither in the base nor after what stands for "
    "the lesson have no forecast and no row. Intervals (95 %) and bounds were set on dictionaries "
    "of 192 features of other tiny models (docs/log/forecast.md), and promise nothing for models "
    "and dictionaries of another kind."
)
ATTRIBUTION = (
    "A row is a distinct chat, named by the first of its documents; count says how many documents "
    "have it. Its share is of what all rows that raise the trait pull together. Retraining on "
    "halves of a lesson agrees with pulls by gradient at a correlation of about .5, with those of "
    "each row left out at about .7; where some rows occur four times as often as others, at .2 and "
    ".7 on the one lesson that was tried (docs/log/forecast.md)."
)


def write_forecast(
    table: pd.DataFrame,
    out: str | Path,
    *,
    rows: pd.DataFrame | None = None,
    personas: pd.DataFrame | None = None,
    features: pd.DataFrame | None = None,
) -> Path:
    """Write a forecast as a folder with a page that says it in words.

    Args:
        table: Of ``pi.forecast``, one lesson.
        out: The folder: a new or empty one, or one that holds such a forecast, which is replaced.
        rows: Of ``pi.forecast_rows``, or none.
        personas: Of ``analysis.forecast_personas``, or none.
        features: Of ``pi.forecast_features``, or none.

    Returns:
        Path of ``report.html``. Beside it lie ``forecast.parquet``, ``rows.parquet``,
        ``personas.parquet``, ``features.parquet``, ``provenance.json``, the tables as CSV and the
        figure.

    Raises:
        StoreError: The folder holds something else.
    """
    out = check_folder(out)
    out.mkdir(parents=True, exist_ok=True)
    provenance = _provenance(table, rows, features)
    write_text(json.dumps(provenance, indent=1) + "\n", out / PROVENANCE)
    write_table(table, out / FORECAST)
    ends = _last(table)[["trait", "estimate", "lo", "hi", "bound"]]
    tables = {"forecast": ends, "curves": table, "costs": _costs(table, rows, features)}
    added = {"rows": rows, "personas": personas, "features": features}
    for name, more in added.items():
        file = f"{name}.parquet"
        if more is None:
            # those of an earlier forecast in this folder are of another one
            (out / file).unlink(missing_ok=True)
            (out / "tables" / f"{name}.csv").unlink(missing_ok=True)
        else:
            write_table(more, out / file)
            tables[name] = more
    return report.write_page(
        out,
        tables,
        title=f"What will {', '.join(table.attrs['about']['taught'])} move?",
        blocks=_blocks(out, table, tables, provenance=provenance),
        provenance=provenance,
        source=PROVENANCE,
    )


def check_folder(out: str | Path) -> Path:
    """Refuse a place that holds something else than the forecast of one lesson.

    Args:
        out: A folder that may not be there yet.

    Returns:
        Its path.

    Raises:
        StoreError: It is a file, or a folder of something else.
    """
    out = Path(out)
    is_free = not out.exists() or (out.is_dir() and not any(out.iterdir()))
    if not is_free and not ((out / FORECAST).is_file() and (out / PROVENANCE).is_file()):
        raise StoreError(
            f"{out} holds something else than a forecast, and nothing was written; choose a new or "
            "empty folder."
        )
    return out


def _blocks(
    out: Path,
    table: pd.DataFrame,
    tables: Mapping[str, pd.DataFrame],
    *,
    provenance: Mapping[str, Any],
) -> list[Block]:
    """What is said: the forecast in words, then its numbers."""
    rows, personas, features = (tables.get(name) for name in ("rows", "personas", "features"))
    is_published = "traits" in table.attrs["about"]
    expected, worst, *costs = sentences(table)
    blocks = [
        page.paragraph(text, source="tables/forecast.csv", lead=True) for text in (expected, worst)
    ]
    if personas is not None:
        said = persona_sentence(personas)
        blocks.append(page.paragraph(said, source="tables/personas.csv", lead=True))
    if features is not None:
        said = feature_sentence(features)
        blocks.append(page.paragraph(said, source="tables/features.csv", lead=True))
    if is_published:
        blocks += [page.paragraph(text, source=PROVENANCE, lead=True) for text in limits(table)]
    if rows is not None:
        *said, cost = row_sentences(rows, table)
        blocks += [page.paragraph(text, source="tables/rows.csv", lead=True) for text in said]
        costs.insert(1, cost)
    blocks.append(page.paragraph(" ".join(costs), source="tables/costs.csv"))
    blocks.append(page.paragraph(_about(table)))
    reading = TRAIT_READING.format(level=level_of(table)) if is_published else READING
    last = tables["forecast"]
    blocks += _ends("forecast", last, reading, title="Every trait that is not taught")
    if personas is not None:
        ends = _last(personas)
        blocks += _ends("personas", ends, PERSONA_READING, title="Every persona")
    if features is not None:
        ends = _last(features).sort_values("estimate", key=abs, ascending=False)
        caption = f"After the last step, the largest expected shift first ({Unit.ACTIVATION})."
        source = "tables/features.csv"
        blocks += [page.heading("Features"), page.paragraph(FEATURE_READING)]
        blocks.append(page.table(ends, caption=caption, source=source))
    if not is_published:  # of which nothing is known before the last step
        blocks += _curves(out, table, last, provenance=provenance)
    if rows is not None:
        blocks.append(page.heading("Rows that pull the traits expected to rise most"))
        blocks.append(page.paragraph(ATTRIBUTION))
        caption = f"Pulls are by {rows.attrs['score']}."
        blocks.append(page.table(rows, caption=caption, source="tables/rows.csv"))
    blocks.append(page.heading("Costs"))
    caption = "In steps of this lesson, counted in tokens; a forward pass alone counts a third."
    blocks.append(page.table(tables["costs"], caption=caption, source="tables/costs.csv"))
    return blocks


def _ends(name: str, ends: pd.DataFrame, reading: str, *, title: str) -> list[Block]:
    """Where a forecast ends, with how to read it."""
    caption = f"After the last step, the largest expected rise first ({Unit.BITS})."
    source = f"tables/{name}.csv"
    table = page.table(ends, caption=caption, source=source, rows=len(ends))
    return [page.heading(title), page.paragraph(reading), table]


def _curves(
    out: Path, table: pd.DataFrame, last: pd.DataFrame, *, provenance: Mapping[str, Any]
) -> list[Block]:
    """Traits that are expected to move most, step by step."""
    drawn = [*last["trait"].head(CURVES), *last["trait"].tail(CURVES)]
    curves = table.loc[table["trait"].isin(drawn)]
    figure = plots.trajectory(
        curves, line="trait", label="expected shift", unit=Unit.BITS, start=0.0
    )
    caption = f"The {CURVES} traits expected to rise most and to fall most."
    drawing = page.saved_figure(
        out, "curves", figure, table=curves, caption=caption, provenance=provenance
    )
    return [page.heading("Along the lesson"), drawing]


def _about(table: pd.DataFrame) -> str:
    """Which lesson this is, of which base."""
    about = table.attrs["about"]
    stage = about["stage"]
    where = f"asked of {len(about['traits'])} traits" if "traits" in about else ""
    where = where or f"of the world {about['world']}"
    return (
        f"The lesson: {about['documents']} documents on {', '.join(about['taught'])}, "
        f"{stage['steps']} steps of {stage['batch']} at a learning rate of {stage['lr']:g}. The "
        f"base: {about['base']}, {where}."
    )


def _last(table: pd.DataFrame) -> pd.DataFrame:
    """What is forecast of the last step, the largest expected rise first."""
    last = table.loc[table["step"] == table["step"].max()].drop(columns="step")
    return last.sort_values("estimate", ascending=False, ignore_index=True)


def _costs(
    table: pd.DataFrame, rows: pd.DataFrame | None, features: pd.DataFrame | None
) -> pd.DataFrame:
    """What the forecast, the rows, the features and the base's answers cost."""
    costs = {"forecast of this lesson": table.attrs["cost"]}
    if rows is not None:
        costs["rows of this lesson"] = rows.attrs["cost"]
    if features is not None:
        costs["features of this lesson"] = features.attrs["cost"]
    costs["this lesson together"] = sum(costs.values())
    costs["asked of the base once, kept for its other lessons"] = table.attrs["base_cost"]
    return pd.DataFrame({"what": list(costs), "steps": list(costs.values())})


def _provenance(
    table: pd.DataFrame, rows: pd.DataFrame | None, features: pd.DataFrame | None
) -> dict[str, Any]:
    """How the forecast was made."""
    stack = dict(table.attrs["stack"])
    return {
        **table.attrs["about"],
        "cost": table.attrs["cost"],
        "base_cost": table.attrs["base_cost"],
        **({} if rows is None else {f"rows_{name}": value for name, value in rows.attrs.items()}),
        **({} if features is None else {"features": features.attrs}),
        "predictors": list(table.attrs["predictors"]),
        **{f"stack_{name}": value for name, value in stack.items()},
        **report.versions(),
    }
