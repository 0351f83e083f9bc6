"""What did a dictionaries run find, in words and figures?"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from persona_interp import plots
from persona_interp.errors import StoreError
from persona_interp.experiments.dictionaries import findings
from persona_interp.experiments.dictionaries.config import EDITS, MATCHED, Life
from persona_interp.experiments.dictionaries.tables import by_seed
from persona_interp.plots.columns import distinct
from persona_interp.report import page
from persona_interp.report.page import Block
from persona_interp.report.rows import has, only, rows

Tables = dict[str, pd.DataFrame]

TITLE = "Dictionaries: which features does a lesson create, move or merely wake?"
TABLES = {
    "groups": "Features that know the persona best, that rise most, and that fire as often.",
    "changes": "Shares of all active features by verb, the lesson beside its nulls.",
    "shares": "Shares of the active features by life and status.",
    "stops": "What goes of the shift of untaught traits without each group, by step.",
    "together": "Nearness of the features of two traits, held by somebody or by nobody.",
    "reconstruction": "What each crosscoder leaves unexplained at each checkpoint.",
    "fidelity": "The lesson's crosscoder at each checkpoint alone, at prompts that name nobody.",
    "statuses": "Every feature of every crosscoder.",
}


def blocks(run: Path, tables: Tables, *, provenance: Mapping[str, Any]) -> list[Block]:
    """Blocks of the page about a dictionaries run.

    Args:
        run: The run's folder; figures are written there.
        tables: What the experiment's ``summarize`` returned.
        provenance: From ``provenance_of``.

    Returns:
        The verbs, whether a birth would be seen, what all features do beside the nulls, the
        persona's features, what stops the spread, traits that co-occur.

    Raises:
        StoreError: No crosscoder is finished.
    """
    if not has(tables, "statuses"):
        raise StoreError(
            f"{run} has no finished crosscoder yet, so there is nothing to report; run the "
            "experiment on."
        )
    parts: list[Block] = []
    can_be_seen, sentence = findings.seen(tables["shares"])
    if has(tables, "verbs"):
        texts = findings.answer(tables["verbs"], tables["groups"], can_be_seen=can_be_seen)
        for text in texts:
            parts.append(page.paragraph(text, source="tables/verbs.csv", lead=not parts))
    parts.append(page.paragraph(sentence, source="tables/shares.csv"))
    parts += _everything(tables)
    parts += _figures(run, tables, provenance)
    parts += _persona(tables)
    for name, caption in TABLES.items():
        if has(tables, name):
            parts.append(page.table(tables[name], caption=caption, source=f"tables/{name}.csv"))
    return parts


def _everything(tables: Tables) -> list[Block]:
    """All features, beside lives in which less happened."""
    parts = [page.heading("What becomes of all features?")]
    text = findings.fits(tables["reconstruction"])
    parts.append(page.paragraph(text, source="tables/reconstruction.csv"))
    if has(tables, "changes"):
        for sentence in findings.everything(tables["changes"], tables["shares"]):
            parts.append(page.paragraph(sentence, source="tables/changes.csv"))
    return parts


def _persona(tables: Tables) -> list[Block]:
    """The persona's features: there before, awake after, needed for the spread, shared?"""
    parts: list[Block] = []
    if has(tables, "groups"):
        parts.append(page.heading("Were the persona's features there before?"))
        for sentence in findings.before(tables["groups"], tables["directions"]):
            parts.append(page.paragraph(sentence, source="tables/groups.csv"))
        parts.append(page.paragraph(findings.rises(tables["groups"]), source="tables/groups.csv"))
        parts.append(page.heading("Does the lesson spread without them?"))
        for sentence in findings.stops(tables["stops"]):
            parts.append(page.paragraph(sentence, source="tables/stops.csv"))
    if has(tables, "together"):
        parts.append(page.heading("Do traits that co-occur share features?"))
        for sentence in findings.together(tables["together"]):
            parts.append(page.paragraph(sentence, source="tables/together.csv"))
    return parts


def _figures(run: Path, tables: Tables, provenance: Mapping[str, Any]) -> list[Block]:
    """Verbs and stops over seeds; of the first seed what becomes of its features."""
    drawn: dict[str, tuple[Figure, pd.DataFrame, str]] = {}
    lesson = only(tables["statuses"], life=str(Life.LESSON))
    if len(lesson):
        seed = lesson["seed"].iloc[0]
        drawn["statuses"] = (
            draw_statuses(tables, seed=seed),
            only(lesson, seed=seed),
            f"What becomes of the features over the lesson, seed {seed}.",
        )
    if has(tables, "norms"):
        seed = tables["norms"]["seed"].iloc[0]
        own = only(tables["norms"], seed=seed)
        caption = f"Length of the features of both groups at every checkpoint, seed {seed}."
        drawn["norms"] = (plots.norms(own), own, caption)
        own = only(tables["rises"], seed=seed)
        label: dict[str, Any] = {"label": "activation at neutral prompts", "line": "feature"}
        caption = f"The features of both groups at prompts that name nobody, seed {seed}."
        drawn["rises"] = (plots.trajectory(own, **label), own, caption)
        drawn["verbs"] = (
            draw(tables),
            numbers(tables),
            "Share of each group's features that the lesson creates, moves and wakes.",
        )
    blocks = []
    for name, (figure, table, caption) in drawn.items():
        more: dict[str, Any] = {"caption": caption, "provenance": provenance}
        blocks.append(page.saved_figure(run, name, figure, table=table, **more))
    return blocks


def draw_statuses(tables: Tables, *, seed: int, life: str = Life.LESSON, title: str = "") -> Figure:
    """Draw what becomes of the features of one crosscoder.

    Args:
        tables: From ``summarize``.
        seed: Of the run.
        life: Whose checkpoints.
        title: Above the figure.

    Returns:
        Features by status at every checkpoint, and what flows between them.
    """
    table = only(tables["statuses"], life=str(life), seed=seed)
    checkpoints = only(tables["reconstruction"], life=str(life), seed=seed)["checkpoint"]
    return plots.statuses(table, checkpoints=distinct(checkpoints), title=title)


def numbers(tables: Tables) -> pd.DataFrame:
    """The numbers in the figure of the verbs.

    Args:
        tables: From ``summarize``.

    Returns:
        Shares by group and verb, over seeds, beside those of features that fire as often; what
        each row is called is in ``name``.
    """
    return _named(tables["verbs"])


def draw(tables: Tables, *, title: str = "") -> Figure:
    """Draw what the lesson does to the features of both groups, seed by seed.

    Args:
        tables: From ``summarize``.
        title: Above the figure.

    Returns:
        A row a group and verb: a ring a seed, the mean with its interval, features that fire as
        often beside.
    """
    runs = _named(by_seed(tables["groups"], matched=MATCHED))
    return plots.seeds(numbers(tables), runs, unit="share of the features", title=title)


def _named(table: pd.DataFrame) -> pd.DataFrame:
    """The table with a name for each row: what the lesson does, and to which features."""
    names = [f"{row.verb} {EDITS[row.group]}" for row in rows(table)]
    return table.assign(name=names)
