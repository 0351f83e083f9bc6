"""What did a run on traits' features find, in words and figures?"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from persona_interp import plots
from persona_interp.errors import StoreError
from persona_interp.experiments.dictionaries import findings
from persona_interp.experiments.dictionaries.config import Verb
from persona_interp.experiments.dictionaries.tables import by_seed
from persona_interp.experiments.trait_dictionaries.config import GROUPS, MATCHED, TRAIT, Life
from persona_interp.experiments.trait_dictionaries.tables import by_trait
from persona_interp.plots.columns import distinct
from persona_interp.report import page
from persona_interp.report.page import Block
from persona_interp.report.rows import Row, has, only, rows
from persona_interp.schema.words import Departure, Fit, Status

Tables = dict[str, pd.DataFrame]
"""Tables by name."""

TITLE = "Traits: which features does a finetune create, move or merely wake?"
TABLES = {
    "groups": "Features that tell a trait best, that rise most, and that fire as often.",
    "changes": "Shares of all active features by verb, the finetune beside its nulls.",
    "shares": "Shares of the active features by life and status.",
    "directions": "AUROC of each trait's mean difference, before and after.",
    "reconstruction": "What each crosscoder leaves unexplained at each checkpoint.",
    "fidelity": "The finetune's crosscoder at each checkpoint alone, at bare questions.",
    "statuses": "Every feature of every crosscoder.",
}


def blocks(run: Path, tables: Tables, *, provenance: Mapping[str, Any]) -> list[Block]:
    """Blocks of the page about a run on traits' features.

    Args:
        run: The run's folder; the figure is written there.
        tables: What the experiment's ``summarize`` returned.
        provenance: From ``provenance_of``.

    Returns:
        The verbs by group, all features beside the nulls, whether the features were there before.

    Raises:
        StoreError: No crosscoder is finished.
    """
    if not has(tables, "statuses"):
        raise StoreError(
            f"{run} has no finished crosscoder yet, so there is nothing to report; run the "
            "experiment on."
        )
    parts: list[Block] = []
    if has(tables, "verbs"):
        for text in answer(tables["verbs"], tables["groups"]):
            parts.append(page.paragraph(text, source="tables/verbs.csv", lead=not parts))
    for text in everything(tables):
        parts.append(page.paragraph(text, source="tables/changes.csv", lead=not parts))
    if has(tables, "verbs"):
        caption = "Share of each group's features that the finetune creates, moves and wakes."
        more: dict[str, Any] = {"caption": caption, "provenance": provenance}
        figure, table = draw(tables), numbers(tables)
        parts.append(page.saved_figure(run, "verbs", figure, table=table, **more))
        parts.append(page.heading("Were the trait's features there before?"))
        for text in before(tables["groups"], tables["directions"]):
            parts.append(page.paragraph(text, source="tables/groups.csv"))
    for name, caption in TABLES.items():
        if has(tables, name):
            parts.append(page.table(tables[name], caption=caption, source=f"tables/{name}.csv"))
    return parts


def answer(verbs: pd.DataFrame, groups: pd.DataFrame) -> list[str]:
    """What the finetunes do to the features of each group, in words.

    Args:
        verbs: Table ``verbs``.
        groups: Table ``groups``.

    Returns:
        For each group a sentence, every verb beside features that fire as often.
    """
    texts = []
    for group, name in GROUPS.items():
        own = only(groups, group=group)
        parts = "; ".join(_verb(row, own) for row in rows(only(verbs, group=group)))
        n = f"{_n_traits(len(distinct(groups['trait'])))}, {len(own)} features"
        texts.append(f"Of {name} ({n}) a finetune on the trait {parts}.")
    return texts


def _verb(row: Row, own: pd.DataFrame) -> str:
    """One verb."""
    n = int(np.count_nonzero(own[row.verb]))
    return (
        f"{row.verb} {n} (share {row.estimate:.2f}{findings.interval(row.lo, row.hi)}; of features "
        f"that fire as often {row.null:.2f}, difference {row.difference:+.2f}"
        f"{findings.interval(row.difference_lo, row.difference_hi)}: {_verdict(row)})"
    )


def everything(tables: Tables) -> list[str]:
    """What becomes of all features beside the nulls, and whether the crosscoders fit, in words.

    Args:
        tables: From ``summarize``.

    Returns:
        A sentence for each verb, one with every status, one about what is left unexplained.
    """
    texts = []
    changes = tables.get("changes", pd.DataFrame(columns=["verb"]))
    for verb, own in changes.groupby("verb", sort=False):
        first = rows(own)[0]
        beside = "; ".join(
            f"{row.life} {row.null:.3f} (difference {row.difference:+.3f}"
            f"{findings.interval(row.difference_lo, row.difference_hi, digits=3)}: "
            f"{_verdict(row)})"
            for row in rows(own)
        )
        texts.append(
            f"Of all active features a finetune {verb} {first.estimate:.3f}"
            f"{findings.interval(first.lo, first.hi, digits=3)} by their vectors "
            f"({_n_traits(first.n_traits)}). Beside it: {beside}."
        )
    lesson = only(tables["shares"], life=Life.LESSON)
    parts = ", ".join(f"{row.status} {row.estimate:.3f}" for row in rows(lesson) if row.estimate)
    fvu = only(tables["reconstruction"], life=Life.LESSON)["fvu"]
    bad = tables["reconstruction"]["verdict"] != Fit.FITS
    return [
        *texts,
        f"Every status, share of the active features: {parts}. The crosscoders leave "
        f"{fvu.min():.3f} to {fvu.max():.3f} of the variance unexplained; at {bad.sum()} of "
        f"{len(bad)} checkpoints one does not fit, and what happened there is {Status.UNDECIDED}.",
    ]


def before(groups: pd.DataFrame, directions: pd.DataFrame) -> list[str]:
    """Whether the feature that tells a trait best was there before, in words.

    Args:
        groups: Table ``groups``.
        directions: Table ``directions``.

    Returns:
        A sentence for each trait and seed, and one with the statuses of the groups.
    """
    texts = []
    best = only(groups, group=TRAIT).drop_duplicates(["trait", "seed"])
    for row in rows(best):
        own = only(directions, trait=row.trait, seed=row.seed)
        beside = ", ".join(
            f"{mean.auroc:.2f}{findings.interval(mean.lo, mean.hi)}" for mean in rows(own)
        )
        texts.append(
            f"{row.trait} (seed {row.seed}): the feature chosen after the finetune tells answers "
            f"to other questions that show the trait from the opposite ones with AUROC "
            f"{row.auroc_before:.2f}{findings.interval(row.lo_before, row.hi_before)} before and "
            f"{row.auroc_after:.2f}{findings.interval(row.lo_after, row.hi_after)} after it (mean "
            f"difference {beside}); it is {row.status}."
        )
    for group, name in GROUPS.items():
        counts = only(groups, group=group)["status"].value_counts()
        texts.append(f"{name}: {', '.join(f'{n} {status}' for status, n in counts.items())}.")
    return texts


def numbers(tables: Tables) -> pd.DataFrame:
    """The numbers in the figure.

    Args:
        tables: From ``summarize``.

    Returns:
        Shares by group and verb, over traits, beside those of features that fire as often; what
        each row is called is in ``name``.
    """
    return _named(tables["verbs"])


def draw(tables: Tables, *, title: str = "") -> Figure:
    """Draw what the finetunes do to the features of both groups, trait by trait.

    Args:
        tables: From ``summarize``.
        title: Above the figure.

    Returns:
        A row a group and verb: a ring a trait, the mean with its interval, features that fire as
        often beside.
    """
    runs = _named(by_seed(by_trait(tables["groups"]), matched=MATCHED))
    table = numbers(tables).rename(columns={"n_traits": "n_seeds"})
    return plots.seeds(table, runs, unit="share of the features", each="trait", title=title)


def _named(table: pd.DataFrame) -> pd.DataFrame:
    """The table with a name for each row: what the finetune does, and to which features."""
    return table.assign(name=[f"{row.verb} {GROUPS[row.group]}" for row in rows(table)])


def _verdict(row: Row) -> str:
    """The word; of births that nothing can be concluded, where nothing shows that they are seen."""
    if row.verdict == Departure.UNKNOWN:
        return "one trait, described and not claimed"
    if row.verdict == Departure.NONE and row.verb == Verb.CREATES:
        return Departure.UNKNOWN
    return row.verdict


def _n_traits(n: float) -> str:
    """Number of traits, and what their interval is."""
    return "one trait: no interval" if n == 1 else f"{int(n)} traits, 95 %"
