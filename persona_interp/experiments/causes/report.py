"""What did a search for causes find, in words and figures?"""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from persona_interp import plots
from persona_interp.analysis.causal_ranking import ENOUGH_TUNED
from persona_interp.errors import StoreError
from persona_interp.report import page
from persona_interp.report.page import Block
from persona_interp.report.rows import Row, has, only, rows
from persona_interp.schema.words import BEHAVIOR, TEXT, Carries, Group, Ruling, Way

Tables = dict[str, pd.DataFrame]

TITLE = "Causes: what carries the finetune's effect, and what is missed without it?"
SOURCE, STRENGTHS = "tables/carriers.csv", "tables/strengths.csv"
SHOWN = [
    *("candidate", "group", "size", "sites", "how", "effect", "lo", "hi", "share_of_patch"),
    *("share_of_patch_lo", "share_of_patch_hi", "tuned_lo", "tuned_hi", "null_lo", "null_hi"),
    *("q", "family", "strength", "strength_hi", "nats", "excess", "excess_lo", "excess_hi"),
    *("coherence", "verdict"),
]
VERBS = {
    Way.REMOVED: "Taken out of the tuned model",
    Way.ADDED: "Added to the base, as far as the finetune went",
    Way.PUSHED: "Pushed in the base as far as text is told coherent",
}

CONTROLS = {
    Group.OTHER: "Other directions",
    Group.CONTROL: "Axes along which control finetunes moved most",
    Group.MATCHED: "Features that are as active",
}
"""What stands beside the candidates, but for random edits."""


def blocks(run: Path, tables: Tables, *, provenance: Mapping[str, Any]) -> list[Block]:
    """Blocks of the report of a search for causes.

    Args:
        run: The run's folder; figures are written there.
        tables: What the experiment's ``summarize`` returned.
        provenance: From ``provenance_of``.

    Returns:
        What is necessary and sufficient, its controls, text, and the ranking of features.

    Raises:
        StoreError: No finetune's edits are finished.
    """
    if "carriers" not in tables:
        raise StoreError(f"{run} has no finished edits yet, so there is nothing to report; run on.")
    target = str(provenance["target"])
    first, *rest = _of_effect(run, tables, target=target, stem="carriers", provenance=provenance)
    return [{**first, "lead": True}, *rest]


def by_finetune(run: Path, tables: Tables, provenance: Mapping[str, Any]) -> list[Block]:
    """What carries the effect of each finetune of a comparison.

    Args:
        run: The run's folder; figures are written there.
        tables: Of the comparison; ``carriers``, ``ranking`` and ``strengths`` with ``of``, the
            finetune.
        provenance: From ``provenance_of``, with the ``primary`` trait.

    Returns:
        A section a finetune, the first open; none where nothing was searched or is finished.
    """
    if not has(tables, "carriers"):
        return []
    sections, target = [], str(provenance["primary"])
    for place, of in enumerate(map(str, tables["carriers"]["of"].unique())):
        own = {
            name: only(tables[name], of=of).drop(columns="of")
            for name in ("carriers", "ranking", "strengths")
            if has(tables, name)
        }
        own = {name: table for name, table in own.items() if len(table)}
        title = page.heading(f"What carries the effect on {target}: {of}")
        at = {"stem": f"carriers_{place}", "provenance": provenance}
        sections.append([[title, *_of_effect(run, own, target=target, **at)]])
    return page.first_open(sections)


def _of_effect(
    run: Path, tables: Tables, *, target: str, stem: str, provenance: Mapping[str, Any]
) -> list[Block]:
    """What is necessary and sufficient, its controls, text, and the ranking of features."""
    table = tables["carriers"]
    behavior = table.loc[table["measure"] == BEHAVIOR]
    content = [page.paragraph(text, source=SOURCE) for text in sentences(behavior, target=target)]
    if has(tables, "strengths"):
        content.append(page.paragraph(push_sentence(tables["strengths"]), source=STRENGTHS))
    for number, sites in enumerate(behavior["sites"].unique()):
        figure = plots.carriers(behavior, sites=sites)
        caption = f"What goes and what comes with each candidate at {sites}."
        own = behavior.loc[behavior["sites"] == sites]
        about = {"table": own, "caption": caption, "provenance": provenance}
        content.append(page.saved_figure(run, f"{stem}_{number}", figure, **about))
    content += [page.heading("All edits"), _table(behavior, "Behavior under each edit.")]
    text = table.loc[table["measure"] == TEXT]
    if len(text):
        content += [page.heading("What is said"), page.paragraph(text_sentence(text))]
        content.append(_table(text, "Drawn answers, judged by the base (bits a token)."))
    if has(tables, "strengths"):
        caption = (
            "Pushes that were tried, on the questions that choose: nats a token beyond the base's "
            "own text, 95 % over questions."
        )
        content.append(page.heading("How hard a push may be"))
        content.append(page.table(tables["strengths"], caption=caption, source=STRENGTHS))
    if "ranking" in tables:
        caption = (
            "Features by what taking each alone out of the tuned model takes of the effect, on the "
            "half of the questions that chooses."
        )
        content.append(page.heading("Features by their effect on behavior"))
        content.append(page.table(tables["ranking"], caption=caption, source="tables/ranking.csv"))
    return content


def sentences(table: pd.DataFrame, *, target: str) -> list[str]:
    """What is necessary and what is enough, beside the controls.

    Args:
        table: A carriers table of behavior.
        target: Whose effect it is.

    Returns:
        Sentences: one a way of editing, what others do, and how far the claims reach.
    """
    texts = []
    claims = table.loc[table["group"] == Group.CANDIDATE]
    for way, verb in VERBS.items():
        own = claims.loc[claims["how"] == way]
        if own.empty:
            continue
        known = own.loc[own["share_of_patch"].notna()]
        if known.empty:
            why = str(own["note"].iloc[0]) or "the whole residual does too little"
            texts.append(f"{verb}, nothing can be shared out: {why}.")
            continue
        # the first, not the best: the best of those reported would be chosen on what is reported
        first, shares = rows(known)[0], known["share_of_patch"]
        carrying = own.loc[own["verdict"].isin([Carries.CARRIES, Carries.HERE])]
        named = f" ({', '.join(carrying['candidate'].unique())})" if len(carrying) else ""
        texts.append(
            f"{verb}, {first.candidate} at {first.sites} gives {_share(first)} of what the whole "
            f"residual there does to {target}'s effect (random edits {first.null_lo:.2f} to "
            f"{first.null_hi:.2f}); verdict: {first.verdict}. All {len(own)} candidates: "
            f"{shares.min():.2f} to {shares.max():.2f}; {len(carrying)} carry it{named}."
        )
    for group, name in CONTROLS.items():
        own = table.loc[(table["group"] == group) & (table["how"] == Way.REMOVED)]
        shares = own["share_of_patch"].dropna()
        if len(shares):
            texts.append(
                f"{name}, taken out the same way, take {shares.mean():.2f} on average "
                f"({shares.min():.2f} to {shares.max():.2f}, {len(shares)} edits)."
            )
    n = int(claims["n_tuned"].max())
    reach = f"The interval over {n} finetunes is a t interval."
    if n < ENOUGH_TUNED:
        reach = (
            f"{n} finetune(s): there is no interval over finetunes, which takes {ENOUGH_TUNED}, so "
            "this is said of these alone."
        )
    half = "Candidates, doses and strengths were chosen on other questions than those reported."
    families = claims["family"].unique()
    return [*texts, f"{half} q is corrected over one family ({', '.join(families)}). {reach}"]


def push_sentence(table: pd.DataFrame) -> str:
    """How many candidates could be pushed, and where text was not told apart from broken text.

    Args:
        table: A strengths table.

    Returns:
        One sentence.
    """
    by = [name for name in ("of", "candidate", "sites") if name in table]
    searches = [set(own["coherence"]) for _, own in table.groupby(by, sort=False)]
    pushed = sum(Ruling.HOLDS in words for words in searches)
    open_ends = sum(Ruling.UNDECIDED in words for words in searches)
    n = max(map(int, table["n"]))
    return (
        f"{pushed} of {len(searches)} searches found a push whose text is told coherent (its whole "
        f"interval over {n} questions lies below the limit); in {open_ends} "
        "some stronger push is neither told coherent nor told broken, and the strength may be "
        "larger (strength_hi)."
    )


def text_sentence(table: pd.DataFrame) -> str:
    """What the drawn answers say.

    Args:
        table: A carriers table of text.

    Returns:
        One sentence.
    """
    claims = table.loc[table["group"] == Group.CANDIDATE]
    known = claims.loc[claims["share"].notna()]
    if known.empty:
        return f"Of text nothing can be shared out: {claims['note'].iloc[0]}."
    parts = []
    for way, own in known.groupby("how", sort=False):
        first = rows(own)[0]
        parts.append(
            f"{way}: {first.candidate} {first.share:.2f} "
            f"[{first.share_lo:.2f}, {first.share_hi:.2f}] ({int(first.n)} questions; "
            f"{first.verdict or 'a control'}), {_nats(first)}"
        )
    listed = "; ".join(parts)
    return f"Share of the difference between the tuned model's text and the base's; {listed}."


def _nats(row: Row) -> str:
    beyond = f"{row.excess:+.2f} [{row.excess_lo:.2f}, {row.excess_hi:.2f}] beyond own text"
    return f"{row.nats:.2f} nats a token, {beyond}"


def _share(row: Row) -> str:
    text = (
        f"{row.share_of_patch:.2f} [{row.share_of_patch_lo:.2f}, {row.share_of_patch_hi:.2f}] "
        f"(95 %, {int(row.n)} prompts)"
    )
    if math.isfinite(row.tuned_lo):
        text += f", [{row.tuned_lo:.2f}, {row.tuned_hi:.2f}] over {int(row.n_tuned)} finetunes"
    return text


def _table(table: pd.DataFrame, caption: str) -> Block:
    return page.table(table.loc[:, SHOWN], caption=caption, source=SOURCE, rows=60)
