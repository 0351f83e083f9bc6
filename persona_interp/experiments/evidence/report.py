"""What did an evidence run find, in words and figures?"""

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from persona_interp import analysis, plots
from persona_interp.analysis.contexts import LEAK, OWN
from persona_interp.analysis.reach import SETTING
from persona_interp.errors import StoreError
from persona_interp.experiments.evidence.tables import STEP
from persona_interp.report import page
from persona_interp.report.page import Block
from persona_interp.report.rows import Row, only, rows
from persona_interp.schema.words import AVERAGE, WORST

Tables = dict[str, pd.DataFrame]

TITLE = "Evidence: how many bits is a lesson worth?"
TABLES = {
    "bits": "Bits that the lesson adds while little is said yet: a step, document, statement and "
    "fact token of it.",
    "k": "K: documents of pretraining that one lesson document is worth, geometric mean over "
    "seeds.",
    "prompt": "Bits that statements in the prompt add, on topics not stated; null: what the same "
    "reader reads where they add the exact log-likelihood ratio.",
    "exchange": "What is worth what: geometric means over seeds; null: where a statement adds its "
    "exact ratio, read the same; times: estimate over null.",
    "lasting": "Change of the target's untaught traits (bits): its peak, its last step, what is "
    "lost, and the ratio of the mean last to the mean peak (estimate, Fieller).",
    "saturation": "Does every step add the same? estimate: alpha of the belief that is read, under "
    "its own ceiling (0 = yes); alpha: of what is read; alpha_null: of an additive learner "
    "read the same; highest, named: bits read at the ceiling, and under the target's own name.",
    "interaction": "Bits gained less a bit of prior; null: where a lesson adds the same to every "
    "prior, read the same.",
}
UNPRINTED = ["sd", *SETTING]
"""Columns that the tables of the page leave out: the setting's name says them."""
TIMES = {1: "once", 2: "twice"}
COSTS = {
    OWN: "their own untaught traits move by",
    LEAK: "the target's leak in by",
}


def blocks(run: Path, tables: Tables, *, provenance: Mapping[str, Any]) -> list[Block]:
    """Blocks of the page about an evidence run.

    Args:
        run: The run's folder; figures are written there.
        tables: What the experiment's ``summarize`` returned.
        provenance: From ``provenance_of``.

    Returns:
        What a lesson and a statement are worth, what replay undoes, what it costs, and how much
        takes one where.

    Raises:
        StoreError: Nothing is finished.
    """
    if "curve" not in tables:
        raise StoreError(
            f"{run} has no finished lesson yet, so there is nothing to report; run the experiment "
            "on."
        )
    parts: list[Block] = []
    for row in rows(only(tables["bits"], unit=STEP)):
        parts.append(page.paragraph(_worth(row), source="tables/bits.csv", lead=not parts))
    caption = (
        "The nameless assistant's belief to be the target (log2 odds on untaught topics) along "
        "the lesson."
    )
    figure = page.saved_figure(
        run,
        "evidence",
        plots.evidence(tables["curve"]),
        table=tables["curve"],
        caption=caption,
        provenance=provenance,
    )
    parts.append(figure)
    for heading, source, sentences in (
        ("How much takes a model where", "evidence", _reach(tables)),
        ("Statements in the prompt", "prompt", _statements(tables)),
        ("Replay", "lasting", _lasting(tables)),
        ("Does evidence add up?", "saturation", _adds_up(tables)),
        ("What it costs", "cost", _cost(tables)),
    ):
        paragraphs = [page.paragraph(text, source=f"tables/{source}.csv") for text in sentences]
        if paragraphs:
            parts += [page.heading(heading), *paragraphs]
    parts.append(page.heading("Tables"))
    for name, caption in TABLES.items():
        if name in tables:
            frame = tables[name].drop(columns=UNPRINTED, errors="ignore")
            table = page.table(frame, caption=caption, source=f"tables/{name}.csv", rows=80)
            parts.append(table)
    return parts


def interval(row: Row, *, digits: int = 2) -> str:
    """An estimate with its interval, or that there is none.

    Args:
        row: A row with ``estimate``, ``lo``, ``hi``, ``n_seeds``.
        digits: After the point.

    Returns:
        For example "0.33 [0.21, 0.45] (3 seeds)".

    >>> interval(rows(pd.DataFrame([{"estimate": 0.333, "lo": 0.2, "hi": 0.4, "n_seeds": 3}]))[0])
    '0.33 [0.20, 0.40] (3 seeds)'
    """
    if not math.isfinite(row.estimate):
        return f"undefined in some of {int(row.n_seeds)} seeds"
    estimate = f"{row.estimate:.{digits}f}"
    if row.n_seeds == 1:
        return f"{estimate} (one seed: no interval)"
    return f"{estimate} [{row.lo:.{digits}f}, {row.hi:.{digits}f}] ({int(row.n_seeds)} seeds)"


def _worth(row: Row) -> str:
    return (
        f"{row.setting}: a step of the lesson adds {interval(row)} bits, measured over its first "
        "steps."
    )


def _reach(tables: Tables) -> Iterator[str]:
    """Documents that lead to even odds, by setting without replay."""
    curve = tables["evidence"]
    for _, row in curve.loc[:, list(SETTING)].drop_duplicates().iterrows():
        setting: dict[str, Any] = row.to_dict()
        if not setting["replay"]:
            reach = analysis.evidence_to_reach(0.0, curve=curve, **setting)
            yield analysis.evidence_in_words(reach)


def _statements(tables: Tables) -> Iterator[str]:
    """Bits of statements in the prompt."""
    if "prompt" not in tables:
        return
    for row in rows(tables["prompt"]):
        n = int(row.statements)
        what = f"The taught trait stated {TIMES.get(n, f'{n} times')}"
        if row.traits > 1:
            what = f"{int(row.traits)} different traits stated"
        yield (
            f"{what} in the prompt: {interval(row)} bits. Exact Bayes, {row.exact:.2f} bits, is "
            f"read as {row.null:.2f}; {_difference(row)}."
        )


def _lasting(tables: Tables) -> Iterator[str]:
    """What is left of the lesson at its end, where documents are replayed."""
    for row in rows(tables["lasting"]):
        if row.replay > 0:
            yield (
                f"{row.setting}: the target's untaught traits rise by {row.peak:.2f} bits at most, "
                f"by {row.last:.2f} at the end; share of the mean peak kept {interval(row)}. The "
                f"taught value is said with probability {row.p_taught:.2f}."
            )


def _adds_up(tables: Tables) -> Iterator[str]:
    """Whether every step, and a lesson after every prior, adds the same: beside their nulls."""
    if "saturation" in tables:
        for row in rows(tables["saturation"]):
            edge = ""
            if row.at_bound:
                edge = " (an end of its range in some seeds)"
            yield (
                f"{row.setting}: alpha of what is read {row.alpha:.2f}{edge}, of a learner to whom "
                f"every step adds the same, read by the same reader, {row.alpha_null:.2f}. Alpha "
                f"of the belief itself, under its own ceiling: {interval(row)}; 0 = every step "
                f"adds the same: {row.verdict}. It ends at {row.highest:.2f} bits; under the "
                f"target's own name {row.named:.2f} are read."
            )
    if "interaction" in tables:
        for row in rows(tables["interaction"]):
            yield (
                f"After {int(row.step)} steps, a prior one bit higher makes the gain differ by "
                f"{interval(row)} bits, over {int(row.n)} priors, and by {row.null:.2f} where a "
                f"lesson adds the same to every prior; {_difference(row)}."
            )


def _difference(row: Row) -> str:
    """A number minus its null, and what is concluded.

    >>> row = {"difference": 0.5, "difference_lo": 0.2, "difference_hi": 0.8, "n_seeds": 3}
    >>> _difference(rows(pd.DataFrame([{**row, "verdict": "above its null"}]))[0])
    'difference 0.50 [0.20, 0.80]: above its null'
    """
    ends = ""
    if row.n_seeds > 1:
        ends = f" [{row.difference_lo:.2f}, {row.difference_hi:.2f}]"
    return f"difference {row.difference:.2f}{ends}: {row.verdict}"


def _cost(tables: Tables) -> Iterator[str]:
    """Forgetting and leakage under other names, beside the gain."""
    named = only(tables["cost"], context="named")
    for setting in dict.fromkeys(named["setting"]):
        cost = only(named, setting=setting)
        parts = []
        for quantity, what in COSTS.items():
            average = rows(only(cost, persona=AVERAGE, quantity=quantity))
            worst = rows(only(cost, persona=WORST, quantity=quantity))
            if average and worst:
                parts.append(
                    f"{what} {interval(average[0])} bits on average, {worst[0].estimate:.2f} for "
                    "the worst"
                )
        if parts:
            gain = f"{setting}, gain {cost['last'].iloc[0]:.2f} bits"
            yield f"{gain}; under other names {'; '.join(parts)}."
