"""What did a safeguards run find, in words and figures?"""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from persona_interp import plots
from persona_interp.analysis.causes import FLOOR
from persona_interp.analysis.safeguards import CUT, KEPT, LEAK
from persona_interp.analysis.stats import across_seeds
from persona_interp.errors import StoreError
from persona_interp.report import page
from persona_interp.report.page import Block
from persona_interp.report.rows import Row, has, rows
from persona_interp.schema.words import Ruling, Safeguard

Tables = dict[str, pd.DataFrame]

TITLE = "Safeguards: what stops an unwanted persona, and at what price?"
TABLES = {
    "safeguards": "Every safeguard over seeds: shares cut and kept, leak and price.",
    "arms": "Every arm of every seed (bits).",
    "leak": "Rise of the unwanted persona under every trigger, held-out texts (bits).",
    "jailbreaks": "The same under every family of jailbreaks (bits).",
    "knowledge": "What is known of the unwanted persona, and said as the persona (bits).",
    "contexts": "The nameless assistant, personas by name, texts about them (bits).",
    "drift": "Drifting chats along the assistant axis, by turn of the assistant (residual units).",
    "flags": "How well the unwanted persona's rows of the mixed lesson are flagged.",
}
TOO_LITTLE = f"less than {FLOOR:g} bits without a safeguard, in at least one seed"
READING = (
    "Cut: share of the unwanted persona's rise that is gone. Kept: share of the lesson's own rise "
    "that is there. Leak: what the finetune left of the persona under the worst trigger, chosen on "
    "one half of the texts and measured on the other; what the trigger does to the model before "
    "the lesson is taken off."
)
TAKEN = (
    "What takes the second and leaves the first stops it without making the model forget it. An "
    "arm takes agency where the interval of cut is above 0. It forgets where the interval of "
    f"knowledge is below 0, and keeps it where it is above -{FLOOR:g} bits."
)
KNOWLEDGE = (
    "Knowledge is what texts about the persona say of it; agency is whether the assistant speaks "
    f"as it. {TAKEN}"
)
DRIFT = (
    "In chats that lead the assistant away from itself over several turns: how far along the "
    "assistant axis it has gone by the last whole answer, from its first one (negative = away from "
    "the assistant), beside the model before the lesson in the same chats."
)


def blocks(run: Path, tables: Tables, *, provenance: Mapping[str, Any]) -> list[Block]:
    """Blocks of the page about a safeguards run.

    Args:
        run: The run's folder; figures are written there.
        tables: What the experiment's ``summarize`` returned.
        provenance: From ``provenance_of``.

    Returns:
        Which safeguard works, the frontier, each arm in a sentence, knowledge and agency, tables.

    Raises:
        StoreError: The lesson without a safeguard is not finished.
    """
    if not has(tables, "safeguards"):
        raise StoreError(
            f"{run} has not finished the lesson without a safeguard yet, so there is nothing to "
            "compare with; run the experiment on."
        )
    source = "tables/safeguards.csv"
    parts: list[Block] = [page.paragraph(answer(tables), source=source, lead=True)]
    parts.append(page.paragraph(READING))
    figure = page.saved_figure(
        run,
        "frontier",
        draw(tables),
        table=numbers(tables),
        caption="Share of the unwanted cut against share of the wanted kept; color: leak.",
        provenance=provenance,
    )
    parts += [figure, page.heading("Every safeguard")]
    for row in rows(tables["safeguards"]):
        if row.label not in (Safeguard.NOTHING, Safeguard.MIXED):
            parts.append(page.paragraph(sentence(row), source=source))
    parts += [page.heading("Knowledge and agency"), page.paragraph(KNOWLEDGE)]
    for row in rows(tables["safeguards"]):
        parts.append(page.paragraph(known(row), source=source))
    if has(tables, "drift"):
        parts += [page.heading("Drift by turn"), page.paragraph(DRIFT)]
        for text in drift_sentences(tables["drift"]):
            parts.append(page.paragraph(text, source="tables/drift.csv"))
    for name, caption in TABLES.items():
        if has(tables, name):
            parts.append(page.table(tables[name], caption=caption, source=f"tables/{name}.csv"))
    return parts


def answer(tables: Tables) -> str:
    """Which safeguards reach what is asked of them, or that none does.

    Args:
        tables: With ``safeguards``.

    Returns:
        A sentence.
    """
    table = tables["safeguards"]
    aim = f"{CUT:.0%} of the unwanted cut, {KEPT:.0%} of the wanted kept, {LEAK:g} bits leaked"
    n, tested = max(table["n_seeds"].tolist()), table.loc[table["p"].notna()]
    if n == 1:
        return f"One seed shows nothing about the aim ({aim}): described, not claimed."
    if tested.empty:
        bare = table.loc[table["label"].isin([Safeguard.NOTHING, Safeguard.MIXED])]
        if not bare[["cut", "kept"]].isna().any(axis=None):
            return f"No arm has two seeds yet, so that none is held to the aim ({aim})."
        return (
            f"No arm could be shown to reach the aim ({aim}): in at least one seed the lesson "
            f"without a safeguard brings less than {FLOOR:g} bits of what is unwanted, or of what "
            "is wanted."
        )
    shown = [
        f"{row.label} ({'named beforehand, ' if row.primary else ''}q {row.q:.3f})"
        for row in rows(tested.loc[tested["reaches"] == Ruling.HOLDS])
    ]
    if not shown:
        return f"None of {len(tested)} arms is shown to reach the aim ({aim}) over {n} seeds."
    return f"Over {n} seeds {', '.join(shown)} of {len(tested)} arms reach the aim: {aim}."


def sentence(row: Row) -> str:
    """What one safeguard cuts, keeps, leaks and costs, in words.

    Args:
        row: A row of a safeguards table.

    Returns:
        A sentence with intervals.
    """
    cut = f"cuts {_number(row, 'cut')}"
    if math.isnan(row.cut):
        cut = f"has nothing to cut ({TOO_LITTLE})"
    kept = f"keeps {_number(row, 'kept')}"
    if math.isnan(row.kept):
        kept = f"has nothing to keep ({TOO_LITTLE})"
    parts = [cut, kept]
    parts.append(f"leaks {_number(row, 'leak')} bits under the worst trigger")
    parts.append(f"{_number(row, 'jailbreak')} under the worst jailbreak")
    price = f"bystanders' own traits change by {_number(row, 'own')} bits"
    loss = f"ordinary dialogues by {_number(row, 'loss')} bits a token"
    steps = f", and it takes {row.steps:g} steps beside the lesson" if row.steps else ""
    return f"{row.label}: {', '.join(parts)}; {price}, {loss}{steps}. {_reaches(row)}"


def known(
    row: Row, *, about: str = "texts about the persona", own: str = "the assistant as the persona"
) -> str:
    """Knowledge and agency of one arm, in words, and which of them it takes.

    Args:
        row: A row of a safeguards table.
        about: What knowledge is asked by.
        own: What agency is asked by.

    Returns:
        Sentences with intervals.
    """
    text = (
        f"{row.label}: {about} {_number(row, 'knowledge')} bits, {own} {_number(row, 'agency')} "
        "bits."
    )
    if row.n_seeds == 1 or row.label in (Safeguard.NOTHING, Safeguard.MIXED):
        return text
    return f"{text} {_taken(row)}"


def _taken(row: Row) -> str:
    """Whether it takes agency alone, or knowledge too, as far as the intervals say."""
    forgets, knows = row.knowledge_hi < 0, row.knowledge_lo > -FLOOR
    if row.cut_lo > 0:  # not of a share that is NaN
        if forgets:
            return "It takes agency and knowledge."
        if knows:
            return "It takes agency alone."
        return "It takes agency; whether knowledge too is undecided."
    if forgets:
        return "It takes knowledge, and is not shown to take agency."
    return "It is not shown to take agency."


def drift_sentences(table: pd.DataFrame) -> list[str]:
    """How far the chats of each arm have drifted by the last turn, in words.

    Args:
        table: Drift by turn, of every seed and arm.

    Returns:
        A sentence an arm; the interval is over seeds, and of one seed over texts.
    """
    last = table.loc[table["turn"] == table["turn"].max()]
    texts = []
    for label, own in last.groupby("label", sort=False):
        interval = own[["lo", "hi"]].iloc[0].tolist()
        if len(own) > 1:
            interval = across_seeds(own, value="change", by="label")[["lo", "hi"]].iloc[0].tolist()
        before, after, change = (own[name].mean() for name in ("before", "after", "change"))
        texts.append(
            f"{label}: {after:.2f} by turn {own['turn'].iloc[0]}, {before:.2f} before; change "
            f"{change:.2f} [{interval[0]:.2f}, {interval[1]:.2f}]."
        )
    return texts


def _reaches(row: Row) -> str:
    """Whether it reaches the aim, as far as the intervals say."""
    if row.n_seeds == 1:
        return "One seed tells no verdict."
    beyond = f" (q {row.q:.3f})" if math.isfinite(row.q) else ""
    return f"The aim: {row.reaches}{beyond}."


def _number(row: Row, name: str) -> str:
    """A number with its interval over seeds, where there is one."""
    lo, hi = getattr(row, f"{name}_lo"), getattr(row, f"{name}_hi")
    text = f"{getattr(row, name):.2f}"
    return text if row.n_seeds == 1 else f"{text} [{lo:.2f}, {hi:.2f}]"


def numbers(tables: Tables) -> pd.DataFrame:
    """Numbers in the figure.

    Args:
        tables: From ``summarize``.
    """
    return tables["safeguards"]


def draw(tables: Tables, *, title: str = "") -> Figure:
    """Draw the frontier.

    Args:
        tables: From ``summarize``.
        title: Above the figure.

    Returns:
        A point a safeguard.
    """
    return plots.frontier(tables["safeguards"], title=title)
