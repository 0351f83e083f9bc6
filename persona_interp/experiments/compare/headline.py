"""What does a comparison say first: do they answer differently, and what could be said beyond that?

How far a finetune is from its base stands on its own: it takes no trait, no dictionary and no
control. Finer claims are counted before they are made, because a test that could not have passed
says nothing when it does not.
"""

import math
from collections.abc import Mapping
from typing import Any

import pandas as pd

from persona_interp.analysis.verdicts import BY_CONTROLS
from persona_interp.report.rows import Row, only, rows
from persona_interp.schema.words import ALPHA, CLAIMS, Family, Requests, Role, Unit, Verdict

MOST_FINETUNES = 4
"""Finetunes that the first sentence names."""
MANY_TESTS = 100
"""Tests from which on the number of prompts is no limit worth a word."""
NOUNS = {
    Family.BEHAVIOR: "traits in behavior",
    Family.ANSWERS: "traits in answers",
    Family.PROJECTION: "projections",
    Family.FEATURE: "features",
}
"""What the quantities of a family are called."""
UNITS_OF = {
    Family.BEHAVIOR: "questions",
    Family.ANSWERS: "questions",
    Family.PROJECTION: "prompts",
    Family.FEATURE: "prompts",
}
"""What they are measured at."""


def headline(
    distance: pd.DataFrame, effects: pd.DataFrame, *, provenance: Mapping[str, Any]
) -> str:
    """The first sentence: whether the finetunes answer differently, and what else could be claimed.

    Args:
        distance: Table ``distance``.
        effects: Table ``effects``; no rows where nothing finer was tested.
        provenance: With the configuration.

    Returns:
        One sentence.

    >>> row = {"checkpoint": "arr@20", "role": "tuned", "requests": str(Requests.PROMPTS), "n": 60}
    >>> row |= {"estimate": 3.97, "lo": 3.1, "hi": 4.84}
    >>> again = {**row, "role": str(Role.AGAIN), "estimate": 0.0, "lo": 0.0, "hi": 0.0}
    >>> options = {"traits": [], "sae": []}
    >>> text = headline(pd.DataFrame([row, again]), pd.DataFrame(), provenance=options)
    >>> text.partition(" from the base")[0]
    'arr@20 answers differently: KL 3.97 bits a token [3.10, 4.84]'
    >>> text.rpartition("; ")[2]
    'nothing finer could have been claimed: no trait and no dictionary was named.'
    """
    of_requests = only(distance, requests=Requests.PROMPTS)
    (floor,) = rows(only(of_requests, role=Role.AGAIN))
    tuned = rows(only(of_requests, role=Role.TUNED))
    parts = [_answer(row, floor) for row in tuned[:MOST_FINETUNES]]
    parts[0] += f" from the base, on the base's own answers to {floor.n} prompts {_twice(floor)}"
    if len(tuned) > MOST_FINETUNES:
        parts.append(f"{len(tuned) - MOST_FINETUNES} more are in the table of distances")
    if effects.empty:
        parts.append(_untested(int(floor.n), provenance))
    else:
        parts.append(_finer(only(effects, role=Role.TUNED)))
    return "; ".join(parts) + "."


def on_neutral_requests(distance: pd.DataFrame) -> str:
    """Sentence on how far everybody is from the base on neutral requests.

    Args:
        distance: Table ``distance``.

    Returns:
        One sentence.
    """
    of_requests = only(distance, requests=Requests.NEUTRAL)
    if of_requests.empty:
        return "The prompts are neutral themselves (--neutral), so no others were asked."
    (floor,) = rows(only(of_requests, role=Role.AGAIN))
    others = rows(of_requests.loc[of_requests["role"] != Role.AGAIN])
    sizes = [f"{row.checkpoint} ({row.role}) {_kl(row)}" for row in others]
    return (
        f"On the base's own answers to {floor.n} requests that have to do with no trait: "
        f"{', '.join(sizes)} {_twice(floor)}."
    )


def comparable(effects: pd.DataFrame) -> list[str]:
    """Sentences on whether the controls went as far from the base as the finetunes.

    Args:
        effects: Table ``effects``.

    Returns:
        One sentence a finetune; none where distances or controls are missing.
    """
    sentences = []
    tuned = only(effects, role=Role.TUNED).drop_duplicates("checkpoint")
    for row in rows(tuned.loc[tuned["ratio"].map(math.isfinite)]):
        start = (
            f"{row.checkpoint} is {_number(row.distance)} {Unit.BITS_A_TOKEN} from the base, its "
            f"controls ({row.n_controls}) {_number(row.distance_controls)}: it went "
            f"{row.ratio:.2f} times as far, as the root of KL goes"
        )
        if row.judged_by != BY_CONTROLS:
            sentences.append(f"{start}.")
        elif row.ratio <= 1:
            sentences.append(f"{start}. They are controls of comparable distance.")
        else:
            sentences.append(
                f"{start}. Each test is therefore made once more as if the controls had gone as "
                f"far; what passes only without that '{Verdict.FARTHER}'."
            )
    return sentences


def reach(effects: pd.DataFrame) -> str:
    """Sentence on what could have been claimed, counted by family.

    Args:
        effects: Table ``effects``.

    Returns:
        One sentence.
    """
    counts = []
    for part in _families(only(effects, role=Role.TUNED)):
        row = rows(part)[0]
        name = NOUNS[Family(row.family)]
        if row.primary:
            name = f"{name} (the primary)"
        n_possible = len(part.loc[part["possible"]])
        count = f"{n_possible} of {len(part)} {name}"
        if n_possible < len(part):
            count = f"{count} ({_limit(part)})"
        counts.append(count)
    return (
        f"What could have been claimed, counted before any claim: a lone difference could have "
        f"reached q {ALPHA} for {', '.join(counts)}."
    )


def _answer(row: Row, floor: Row) -> str:
    """Whether one finetune answers differently, and its distance."""
    label = row.checkpoint
    if row.estimate == 0:
        return f"{label} answers exactly as the base does: KL {_kl(row)}"
    if math.isnan(row.lo):
        return f"{label} answers this one prompt differently: KL {_kl(row)} (no interval)"
    # the intervals decide, not the estimates
    if row.lo <= floor.hi:
        return f"so few prompts leave open how differently {label} answers: KL {_kl(row)}"
    return f"{label} answers differently: KL {_kl(row)}"


def _untested(n_prompts: int, provenance: Mapping[str, Any]) -> str:
    """Why nothing finer was tested, and how many tests the prompts would have allowed."""
    why = "no trait and no dictionary was named"
    if provenance["traits"]:
        why = "the traits are not measured yet"
    elif provenance["sae"]:
        why = "no trait was named, and no dictionary can be read in all checkpoints"
    p_min = min(2 * 0.5**n_prompts, 1.0)
    n_tests = math.floor(ALPHA / p_min)
    text = f"nothing finer could have been claimed: {why}"
    if n_tests >= MANY_TESTS:
        return text
    most = {0: "no test", 1: "1 test at most"}.get(n_tests, f"{n_tests} tests at most")
    return f"{text}, and {n_prompts} prompts allow {most} (p cannot fall below {p_min:.2g})"


def _finer(tuned: pd.DataFrame) -> str:
    """What is shown beyond the distance, or why nothing could have been."""
    n_claims = len(tuned.loc[tuned["verdict"].isin(CLAIMS)])
    n_possible = len(tuned.loc[tuned["possible"]])
    if n_claims:
        return f"of {len(tuned)} finer tests {n_claims} passed"
    if not n_possible:
        families = _families(tuned)
        units = " and ".join(dict.fromkeys(map(_units, families)))
        reasons = [f"none of {len(p)} {_name(p)} alone ({_limit(p)})" for p in families]
        return (
            f"nothing finer could have been claimed from {units}, for q {ALPHA} could be reached "
            f"by {', '.join(reasons)}"
        )
    text = f"no finer difference is shown among the {n_possible} tests that could have shown one"
    if n_possible < len(tuned):
        text = f"{text} ({len(tuned) - n_possible} more could not)"
    return text


def _limit(part: pd.DataFrame) -> str:
    """What keeps a lone difference of a family from being claimed, and what it takes."""
    row = rows(part.loc[~part["possible"]])[0]
    if row.judged_by == BY_CONTROLS:
        return "the controls do not vary there, and nothing can be judged by them"
    return (
        f"p cannot fall below {row.p_min:.2g}; it takes {row.n_needed} "
        f"{UNITS_OF[Family(row.family)]}"
    )


def _families(tuned: pd.DataFrame) -> list[pd.DataFrame]:
    """Tests that are corrected together."""
    return [part for _, part in tuned.groupby(["family", "primary"], sort=False)]


def _name(part: pd.DataFrame) -> str:
    return NOUNS[Family(part["family"].iloc[0])]


def _units(part: pd.DataFrame) -> str:
    return f"{part['n'].iloc[0]} {UNITS_OF[Family(part['family'].iloc[0])]}"


def _twice(floor: Row) -> str:
    return f"(the base recorded twice: {_number(floor.estimate)})"


def _kl(row: Row) -> str:
    """A KL with its unit and interval, which leaves nothing below 0."""
    size = f"{_number(row.estimate)} {Unit.BITS_A_TOKEN}"
    if row.estimate == 0 or math.isnan(row.lo):
        return size
    return f"{size} [{_number(max(row.lo, 0))}, {_number(row.hi)}]"


def _number(bits: float) -> str:
    """A distance with its hundredths; one below a tenth with two digits."""
    if bits == 0:
        return "0"
    return f"{bits:.2f}" if bits >= 0.1 else f"{bits:.2g}"
