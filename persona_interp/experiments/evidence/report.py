"""What did an evidence run find, in words and figures?"""

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from persona_interp import analysis, plots
from persona_interp.errors import StoreError
from persona_interp.report import page
from persona_interp.report.page import Block
from persona_interp.report.rows import Row, only, rows

Tables = dict[str, pd.DataFrame]

TITLE = "Evidence: how many bits is a lesson worth?"
TABLES = {
    "bits": "Bits that the lesson adds while little is said yet: a step, document, statement and fact token of it.",
    "k": "K: documents of pretraining that one lesson document is worth, geometric mean over seeds.",
    "prompt": "Bits that statements in the prompt add, on topics not stated, beside the exact log-likelihood ratio.",
    "exchange": "What is worth what: geometric means over seeds.",
    "lasting": "Change of the target's untaught traits (bits): its peak, its last step, and their ratio (estimate).",
    "saturation": "alpha of bits = b + c steps^(1 - alpha): 0 where every step adds the same.",
    "interaction": "Bits gained less a bit of prior: 0 where a lesson adds the same to every prior.",
}
SETTING = ["lr", "batch", "optimizer", "replay", "sparing"]
HIDDEN = ["sd", *SETTING]  # said by the setting's name


def blocks(run: Path, tables: Tables, *, provenance: Mapping[str, Any]) -> list[Block]:
    """What did this evidence run find?

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
    found = [
        page.paragraph(_worth(row), source="tables/bits.csv", lead=not i)
        for i, row in enumerate(_steps(tables))
    ]
    text = "The nameless assistant's belief to be the target (log2 odds on untaught topics) along the lesson."
    drawn = plots.evidence(tables["curve"])
    found.append(
        page.saved_figure(
            run, "evidence", drawn, table=tables["curve"], caption=text, provenance=provenance
        )
    )
    for heading, source, sentences in (
        ("How much takes a model where", "evidence", _reached(tables)),
        ("Statements in the prompt", "prompt", _said(tables)),
        ("Replay", "lasting", _lasting(tables)),
        ("Does evidence add up?", "saturation", _adds_up(tables)),
        ("What it costs", "cost", _cost(tables)),
    ):
        said = [page.paragraph(sentence, source=f"tables/{source}.csv") for sentence in sentences]
        found += [page.heading(heading), *said] if said else []
    found.append(page.heading("Tables"))
    for name, text in TABLES.items():
        if name in tables:
            frame = tables[name].drop(columns=HIDDEN, errors="ignore")
            found.append(page.table(frame, caption=text, source=f"tables/{name}.csv", rows=80))
    return found


def interval(row: Row, *, digits: int = 2) -> str:
    """An estimate with its interval, or that there is none?

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
    if row.n_seeds == 1:
        return f"{row.estimate:.{digits}f} (one seed: no interval)"
    return f"{row.estimate:.{digits}f} [{row.lo:.{digits}f}, {row.hi:.{digits}f}] ({int(row.n_seeds)} seeds)"


def _steps(tables: Tables) -> list[Row]:
    return rows(only(tables["bits"], unit="step"))


def _worth(row: Row) -> str:
    return f"{row.setting}: a step of the lesson adds {interval(row)} bits, measured over its first steps."


def _reached(tables: Tables) -> Iterator[str]:
    """How many documents lead to even odds, by setting?"""
    curve = tables["evidence"]
    for _, setting in curve.loc[:, SETTING].drop_duplicates().iterrows():
        asked: dict[str, Any] = setting.to_dict()
        if not asked["replay"]:
            yield analysis.evidence_in_words(analysis.evidence_to_reach(0.0, curve=curve, **asked))


def _said(tables: Tables) -> Iterator[str]:
    for row in rows(tables["prompt"]) if "prompt" in tables else []:
        what = f"{int(row.traits)} different traits" if row.traits > 1 else "the taught trait"
        times = {1: "once", 2: "twice"}.get(int(row.statements), f"{int(row.statements)} times")
        stated = f"{what} stated{'' if row.traits > 1 else f' {times}'} in the prompt"
        yield f"{stated[0].upper()}{stated[1:]}: {interval(row)} bits; exact Bayes expects {row.exact:.2f}."


def _lasting(tables: Tables) -> Iterator[str]:
    for row in rows(tables["lasting"]):
        if row.replay > 0:
            yield (
                f"{row.setting}: the target's untaught traits rise by {row.peak:.2f} bits at most, "
                f"by {row.last:.2f} "
                f"at the end; share kept {interval(row)}. The taught value is said with "
                f"probability {row.p_taught:.2f}."
            )


def _adds_up(tables: Tables) -> Iterator[str]:
    for row in rows(tables["saturation"]) if "saturation" in tables else []:
        edge = "; the best alpha is an end of the range in some seeds" if row.at_bound else ""
        yield f"{row.setting}: alpha {interval(row)}, r2 {row.r2:.2f}{edge}; 0 = every step adds the same."
    for row in rows(tables["interaction"]) if "interaction" in tables else []:
        yield (
            f"After {int(row.step)} steps, a prior one bit higher makes the gain differ by "
            f"{interval(row)} bits, over "
            f"{int(row.n)} priors; 0 = a lesson adds the same to every prior."
        )


def _cost(tables: Tables) -> Iterator[str]:
    """Forgetting and leakage under other names, beside the gain."""
    named = only(tables["cost"], context="named")
    for setting in dict.fromkeys(named["setting"]):
        mine = only(named, setting=setting)
        parts = []
        for quantity, what in (
            ("own", "their own untaught traits move by"),
            ("leak", "the target's leak in by"),
        ):
            average, worst = (
                rows(only(mine, persona=who, quantity=quantity)) for who in ("average", "worst")
            )
            if average and worst:
                parts.append(
                    f"{what} {interval(average[0])} bits on average, {worst[0].estimate:.2f} for "
                    "the worst"
                )
        if parts:
            yield f"{setting}, gain {mine['last'].iloc[0]:.2f} bits; under other names {'; '.join(parts)}."
