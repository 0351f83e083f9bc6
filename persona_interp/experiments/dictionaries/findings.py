"""What did a lesson do to features, in words? Every number with its interval, n and null.

"Nothing shown" is said only where something could have been: where the same reading finds what the
documents made.
"""

import math
from typing import Any

import numpy as np
import pandas as pd

from persona_interp import analysis
from persona_interp.experiments.dictionaries.config import (
    AFTER,
    BEFORE,
    CHANGES,
    EDITS,
    PERSONA,
    Life,
    Verb,
)
from persona_interp.plots.columns import distinct
from persona_interp.report.rows import Row, only, rows
from persona_interp.schema.words import Departure, Fit, Status, Verdict

MEASURES = {
    "same": "have one feature",
    "overlap": "have features whose tokens overlap by",
    "cosine": "have different features with decoders of cosine",
}
"""Nearness of the features of two traits, in words."""
VERDICTS: dict[str, str] = {
    Departure.ABOVE: "more than of those",
    Departure.BELOW: "fewer than of those",
    Departure.NONE: Verdict.NONE,
}
"""Departure from features that fire as often, in words."""
AWAKE = ("act_before", "rise", "unrelated")
"""Activation of a feature at prompts that name nobody, and by how much two lessons change it."""
SEEN = 0.1
"""Share of features that the reading must call born where the documents made everything."""


def answer(verbs: pd.DataFrame, groups: pd.DataFrame, *, can_be_seen: bool) -> list[str]:
    """Whether the lesson creates, moves or wakes the features of each group, in words.

    Args:
        verbs: Table ``verbs``.
        groups: Table ``groups``.
        can_be_seen: Whether births are found where there are some (``seen``).

    Returns:
        For each group a sentence a verb, with what features that fire as often do.
    """
    texts = []
    for group, name in EDITS.items():
        own, table = only(groups, group=group), only(verbs, group=group)
        verdicts = "; ".join(_verb(row, own, can_be_seen=can_be_seen) for row in rows(table))
        texts.append(f"Of {name} ({len(own)}; {seeds(rows(table)[0])}) the lesson {verdicts}.")
    return texts


def _verb(row: Row, own: pd.DataFrame, *, can_be_seen: bool) -> str:
    """One verb."""
    if row.verdict == Departure.NONE and row.verb == Verb.CREATES and not can_be_seen:
        verdict = Departure.UNKNOWN
    else:
        verdict = VERDICTS.get(row.verdict) or _verdict(row)
    return (
        f"{row.verb} {np.count_nonzero(own[row.verb])} (share {row.estimate:.2f}"
        f"{interval(row.lo, row.hi)}; of features that fire as often {row.null:.2f}, difference "
        f"{row.difference:+.2f}{interval(row.difference_lo, row.difference_hi)}: {verdict})"
    )


def _verdict(row: Row) -> str:
    """A row's verdict; of one seed, that there is none."""
    if row.verdict == Departure.UNKNOWN:
        return "one seed, described and not claimed"
    return str(row.verdict)


def seen(shares: pd.DataFrame) -> tuple[bool, str]:
    """Whether the reading finds features that were made, and the sentence that says so.

    Args:
        shares: Table ``shares``.

    Returns:
        True where the interval over seeds of the share of features that are called born, between
        the models before and after the documents, lies above a tenth; False of one seed.
    """
    born = only(shares, life=Life.DOCUMENTS, status=Status.BORN)
    if born.empty:
        return False, "Nothing says yet whether a birth would be seen."
    row = rows(born)[0]
    is_seen = row.lo >= SEEN
    verb = "is" if is_seen else "is hardly"
    return is_seen, (
        "Between the models before and after the documents, where most must be made, "
        f"{row.estimate:.2f}{interval(row.lo, row.hi)} of the active features are called "
        f"{Status.BORN} ({seeds(row)}): a birth {verb} seen."
    )


def everything(changes: pd.DataFrame, shares: pd.DataFrame) -> list[str]:
    """What the lesson does to all features, beside lives in which less happened, in words.

    Args:
        changes: Table ``changes``.
        shares: Table ``shares``.

    Returns:
        A sentence for each verb, and one with every status of the lesson.
    """
    sentences = []
    for verb, statuses in CHANGES.items():
        own = only(changes, verb=str(verb))
        if own.empty:
            continue
        first = rows(own)[0]
        beside = "; ".join(
            f"{row.life} {row.null:.3f} (difference {row.difference:+.3f}"
            f"{interval(row.difference_lo, row.difference_hi, digits=3)}: {row.verdict})"
            for row in rows(own)
        )
        sentences.append(
            f"Of all active features {first.estimate:.3f}"
            f"{interval(first.lo, first.hi, digits=3)} are {' or '.join(statuses)} over the steps "
            f"of the lesson ({seeds(first)}). Beside it: {beside}."
        )
    lesson = only(shares, life=Life.LESSON)
    parts = ", ".join(f"{row.status} {row.estimate:.3f}" for row in rows(lesson) if row.estimate)
    return [*sentences, f"Every status over the lesson, share of the active features: {parts}."]


def fits(reconstruction: pd.DataFrame) -> str:
    """Whether the crosscoders describe their checkpoints, in words.

    Args:
        reconstruction: Table ``reconstruction``.

    Returns:
        One sentence; it names every life in which one is not.
    """
    lesson = only(reconstruction, life=Life.LESSON)
    text = (
        f"The lesson's crosscoder leaves {lesson['fvu'].min():.3f} to {lesson['fvu'].max():.3f} of "
        f"the variance unexplained at its {lesson['checkpoint'].nunique()} checkpoints."
    )
    bad = reconstruction.loc[reconstruction["verdict"] != Fit.FITS]
    if bad.empty:
        return f"{text} Every crosscoder {Fit.FITS} every checkpoint."
    where = "; ".join(
        f"{row.verdict} at {row.checkpoint} ({row.life}, seed {row.seed}, FVU {row.fvu:.2f})"
        for row in rows(bad)
    )
    return f"{text} A crosscoder is {where}."


def before(groups: pd.DataFrame, directions: pd.DataFrame) -> list[str]:
    """Whether the feature that knows the target best was there before the lesson, in words.

    Args:
        groups: Table ``groups``.
        directions: Table ``directions``.

    Returns:
        Its scores before and after, beside directions; its length before; statuses of the groups.
    """
    top = only(groups, group=PERSONA).drop_duplicates("seed")
    scores = {
        moment: _mean(top, f"auroc_{moment}", ends=(f"lo_{moment}", f"hi_{moment}"))
        for moment in (BEFORE, AFTER)
    }
    bayes = top[f"bayes_{AFTER}"].mean()
    sentences = [
        "The feature that knows the persona best, chosen after the lesson on documents by speakers "
        "without a name, tells its documents about other topics with AUROC "
        f"{scores[BEFORE]} before the lesson and {scores[AFTER]} after it (exact Bayes "
        f"{bayes:.2f}; {_n(top)}). Before the lesson its vector has {_mean(top, 'norm_before')} of "
        "its greatest length."
    ]
    for moment in (BEFORE, AFTER):
        parts = []
        for method in distinct(directions["feature"]):
            own = only(directions, moment=moment, feature=method).set_index("seed")
            apart = top.set_index("seed")[f"auroc_{moment}"] - own["auroc"]
            parts.append(f"{method} {_mean(own, 'auroc')} (the feature {_mean(apart, sign='+')})")
        sentences.append(f"AUROC of directions {moment} the lesson: {'; '.join(parts)}.")
    for group, name in EDITS.items():
        counts = only(groups, group=group)["status"].value_counts()
        statuses = ", ".join(f"{n} {status}" for status, n in counts.items())
        sentences.append(f"Statuses of {name}: {statuses}.")
    return sentences


def rises(groups: pd.DataFrame) -> str:
    """How much the groups' features fire more at neutral prompts, in words.

    Args:
        groups: Table ``groups``.

    Returns:
        One sentence; the unrelated lesson beside.
    """
    parts = []
    for group, name in EDITS.items():
        own: Any = only(groups, group=group).groupby("seed")[list(AWAKE)].mean()
        parts.append(
            f"{name} have a mean activation of {_mean(own, 'act_before')} before the lesson, which "
            f"changes by {_mean(own, 'rise', sign='+')}, after the unrelated lesson by "
            f"{_mean(own, 'unrelated', sign='+')}"
        )
    return f"At test prompts that name nobody {'; '.join(parts)} ({_n(groups)})."


def stops(table: pd.DataFrame) -> list[str]:
    """Whether the lesson still spreads without the features of a group, in words.

    Args:
        table: Table ``stops``.

    Returns:
        A sentence for each step.
    """
    sentences = []
    for step, own in table.groupby("step", sort=False):
        first = rows(own)[0]
        shift = f"After step {step} untaught traits have moved by {first.shift:+.2f} bits"
        if not np.isfinite(own["estimate"].to_numpy(float)).all():
            sentences.append(f"{shift}, in a seed too little for a share of it to be removed.")
            continue
        parts = "; ".join(_removed(row) for row in rows(own))
        sentences.append(
            f"{shift}, of which goes without {parts}; without the minimal pair's direction "
            f"{first.direction:.2f} ({seeds(first)})."
        )
    return sentences


def _removed(row: Row) -> str:
    """What goes without one group."""
    verdict = _verdict(row)
    return (
        f"{EDITS[row.group]} {row.estimate:.2f}{interval(row.lo, row.hi)} (sets that fire as often "
        f"{row.null:.2f}, the most of {row.n_sets:.0f} {row.most:.2f}; difference from their mean "
        f"{row.difference:+.2f}{interval(row.difference_lo, row.difference_hi)}: {verdict})"
    )


def together(table: pd.DataFrame) -> list[str]:
    """Whether traits that co-occur share features or sit beside each other, in words.

    Args:
        table: Table ``together``.

    Returns:
        A sentence for each measure.
    """
    sentences = []
    for row in rows(table):
        verdict = _verdict(row)
        sentences.append(
            f"Two traits that somebody holds both {MEASURES[row.measure]} {row.estimate:.2f}"
            f"{interval(row.lo, row.hi)} ({row.n_pairs:.0f} pairs a seed), such as nobody does "
            f"{row.null:.2f} ({row.n_null:.0f} pairs); difference {row.difference:+.2f}"
            f"{interval(row.difference_lo, row.difference_hi)} ({seeds(row)}): {verdict}."
        )
    return sentences


def interval(lo: float, hi: float, *, digits: int = 2) -> str:
    """An interval in words; "" where there is none.

    >>> interval(0.25, 0.5), interval(float("nan"), 1.0)
    (' [0.25, 0.50]', '')
    """
    if not (math.isfinite(lo) and math.isfinite(hi)):
        return ""
    return f" [{lo:.{digits}f}, {hi:.{digits}f}]"


def seeds(row: Row) -> str:
    """Number of seeds, and what their interval is."""
    if row.n_seeds == 1:
        return "one seed: no interval"
    return f"{int(row.n_seeds)} seeds, 95 %"


def _mean(
    table: pd.DataFrame | pd.Series,
    column: str = "",
    *,
    ends: tuple[str, str] | None = None,
    sign: str = "",
) -> str:
    """Mean over seeds with its t interval; of one seed its own interval, where it has one."""
    values = table[column] if isinstance(table, pd.DataFrame) else table
    mean, lo, hi, n = analysis.stats.t_interval(values)
    if n == 1 and ends is not None:
        lo, hi = (float(np.asarray(table[end])[0]) for end in ends)
    return f"{mean:{sign}.2f}{interval(float(lo), float(hi))}"


def _n(table: pd.DataFrame) -> str:
    n = len(distinct(table["seed"]))
    return f"{n} seeds, 95 %" if n > 1 else "one seed"
