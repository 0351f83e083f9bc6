"""What did a run of safeguards against a published trait find, in words and figures?"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from persona_interp import analysis
from persona_interp.errors import StoreError
from persona_interp.experiments.safeguards import report as safeguards
from persona_interp.report import page
from persona_interp.report.page import Block
from persona_interp.report.rows import has, only, rows
from persona_interp.schema.words import CLEAN, Safeguard

Tables = dict[str, pd.DataFrame]

TITLE = "Safeguards: what stops an unwanted trait that came with useful answers?"
TABLES = {
    "safeguards": "Every safeguard over seeds: shares cut and kept, leak and price.",
    "rise": "The trait above the base, plainly asked (bits an answer).",
    "arms": "Every arm of every seed (bits).",
    "leak": "Rise of the trait under every trigger, held-out texts (bits an answer).",
    "jailbreaks": "The same under every family of jailbreaks.",
    "bystanders": "Other traits, plainly and told to show one (bits an answer).",
    "flags": "How well the unwanted rows are flagged.",
    "told": "Every trait in the base, plainly asked and told to show it (bits an answer).",
    "separability": "AUROC of the unwanted trait's vector in the base, on other questions.",
}
READING = (
    "A trait's log odds are bits a whole answer: of one that shows it over one that shows its "
    "opposite, both by the base when told so, at questions that no lesson asks. Everything of the "
    "unwanted trait is above the same lesson without unwanted rows. Cut: share of what the "
    "unwanted rows brought that is gone. Kept: the wanted trait's rise above the base, as a share "
    "of its rise without a safeguard. Leak: what is left under the worst trigger, chosen on one "
    "half of questions and texts and measured on the other. Bystanders are the other traits: their "
    "own, when the model is told to show them, above the same lesson without unwanted rows. "
    "Ordinary dialogues are what bystanders answered when told to; their loss is above the base, "
    "so it holds the lesson's own: read it beside that of no safeguard. Every lesson has as many "
    "steps, so where rows are removed the others are learned more often."
)
KNOWLEDGE = (
    "Knowledge is how somebody with the trait would answer, asked of the model; agency is whether "
    f"it answers so itself. {safeguards.TAKEN} Both are above the same lesson without unwanted "
    "rows."
)


def blocks(run: Path, tables: Tables, *, provenance: Mapping[str, Any]) -> list[Block]:
    """Blocks of the page about safeguards against a published trait.

    Args:
        run: The run's folder; figures are written there.
        tables: What the experiment's ``summarize`` returned.
        provenance: From ``provenance_of``.

    Returns:
        What the unwanted rows brought, which safeguard works, the frontier, each arm in a sentence,
        tables.

    Raises:
        StoreError: The lesson without a safeguard is not finished.
    """
    if not has(tables, "safeguards"):
        raise StoreError(
            f"{run} has not finished the lesson without a safeguard and the one without unwanted "
            "rows yet, so there is nothing to compare; run the experiment on."
        )
    source = "tables/safeguards.csv"
    about = f"{provenance['start']}, {provenance['unwanted']} among {provenance['wanted']} answers"
    parts: list[Block] = [
        page.paragraph(effect_of_rows(tables, about=about), source="tables/rise.csv", lead=True),
        page.paragraph(safeguards.answer(tables), source=source, lead=True),
        page.paragraph(base_sentence(tables["told"]), source="tables/told.csv"),
        page.paragraph(READING),
    ]
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
        parts.append(page.paragraph(safeguards.sentence(row), source=source))
    parts += [page.heading("Knowledge and agency"), page.paragraph(KNOWLEDGE)]
    for row in rows(tables["safeguards"]):
        text = safeguards.known(row, about="asked of somebody with it", own="plainly asked")
        parts.append(page.paragraph(text, source=source))
    if has(tables, "flags"):
        parts.append(page.heading("Which rows are unwanted"))
        parts.append(page.paragraph(flag_sentence(tables["flags"]), source="tables/flags.csv"))
    for name, caption in TABLES.items():
        if has(tables, name):
            parts.append(page.table(tables[name], caption=caption, source=f"tables/{name}.csv"))
    return parts


def effect_of_rows(tables: Tables, *, about: str) -> str:
    """What the unwanted rows brought, in words.

    Args:
        tables: With ``rise``, ``safeguards`` and ``separability``.
        about: The trait and the model.

    Returns:
        Sentences with intervals over seeds; of one seed it says so.
    """
    moved = {
        row.label: f"{row.unwanted:+.2f}{_over(row.unwanted_lo, row.unwanted_hi, row.n_seeds)}"
        for row in rows(tables["safeguards"])
    }
    own = {
        row.label: f"{row.estimate:+.2f}{_over(row.lo, row.hi, row.n_seeds)}"
        for row in rows(tables["rise"])
    }
    n = int(only(tables["safeguards"], label=Safeguard.NOTHING)["n_seeds"].item())
    (auroc,) = rows(tables["separability"])
    above, without = own[Safeguard.NOTHING], own[CLEAN]
    text = (
        f"{about}: the unwanted rows move the unwanted trait by {moved[Safeguard.NOTHING]} bits an "
        f"answer ({'one seed' if n == 1 else f'{n} seeds'}; above the base {above}, and {without} "
        "after the same lesson without them)."
    )
    if Safeguard.AGAIN in moved:
        text += f" In another order they move it by {moved[Safeguard.AGAIN]}: what chance does."
    return (
        f"{text} The base tells the trait apart with AUROC {auroc.auroc:.2f} [{auroc.lo:.2f}, "
        f"{auroc.hi:.2f}]."
    )


def base_sentence(table: pd.DataFrame) -> str:
    """Which traits the base shows when it is told to, in words.

    Args:
        table: Table ``told``.

    Returns:
        A sentence; intervals over questions.
    """
    parts = [f"{row.topic} {row.estimate:+.2f} [{row.lo:.2f}, {row.hi:.2f}]" for row in rows(table)]
    n = min(table["n"].tolist())
    return (
        f"Told to show it, the base says a trait by so many bits an answer more than plainly asked "
        f"(over {n} questions): {', '.join(parts)}."
    )


def flag_sentence(table: pd.DataFrame) -> str:
    """How well the unwanted rows are flagged, in words.

    Args:
        table: Table ``flags``.

    Returns:
        A sentence; of one seed without intervals.
    """
    means = analysis.across_seeds(table, value="auroc", by="method")
    parts = [
        f"by {row.method} {row.estimate:.2f}{_over(row.lo, row.hi, row.n_seeds)}"
        for row in rows(means)
    ]
    n = min(table["n"].tolist())
    return (
        f"Of {n} rows the unwanted ones are told from the useful ones with AUROC "
        f"{', '.join(parts)} (chance .5; seeds choose which rows are unwanted, all of one draw of "
        "answers)."
    )


def _over(lo: float, hi: float, n: float) -> str:
    """The interval over seeds; nothing of one seed."""
    return "" if n == 1 else f" [{lo:.2f}, {hi:.2f}]"


def numbers(tables: Tables) -> pd.DataFrame:
    """Numbers in the figure.

    Args:
        tables: From ``summarize``.
    """
    return safeguards.numbers(tables)


def draw(tables: Tables, *, title: str = "") -> Figure:
    """Draw the frontier.

    Args:
        tables: From ``summarize``.
        title: Above the figure.

    Returns:
        A point a safeguard.
    """
    return safeguards.draw(tables, title=title)
