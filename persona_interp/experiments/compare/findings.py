"""What does a comparison say, in sentences? Each follows from a table and says no more than it holds."""

import math
from collections.abc import Mapping
from typing import Any

import pandas as pd

from persona_interp.report.rows import Row, only, rows

NONE, DIFFERS = "no difference shown", "differs"
UNITS = {
    "behavior": "bits a token",
    "answers": "bits a token",
    "projection": "residual units",
    "feature": "of mean activation",
}
MERGED = "an adapter merged into "
ENOUGH = 3
MOST = 8
"""Claims that are said in words."""


def finding(effects: pd.DataFrame, *, primary: str = "") -> list[str]:
    """What is the main finding?

    Args:
        effects: Table ``effects``.
        primary: The trait named beforehand; "" for none.

    Returns:
        Sentences, the first the main one: of the primary test where there is one, else of
        everything tested.

    >>> row = {"family": "behavior", "hook": "", "quantity": "wry", "checkpoint": "mine", "role": "tuned", "p": 0.4}
    >>> row |= {"estimate": 0.1, "lo": -0.1, "hi": 0.3, "n": 20, "n_controls": 0, "controls": math.nan, "q": 0.4}
    >>> row |= {"range_lo": math.nan, "range_hi": math.nan, "n_tests": 1, "primary": True, "verdict": NONE}
    >>> finding(pd.DataFrame([row]), primary="wry")[0][:64]
    'Wry was named beforehand as the one primary test. mine: no diffe'
    """
    tuned = only(effects, role="tuned")
    found = [_primary(row) for row in rows(tuned.loc[tuned["primary"]])] if primary else []
    if found:
        one = (
            "the one primary test"
            if len(found) == 1
            else f"the primary test of {len(found)} finetunes"
        )
        found[0] = f"{primary.capitalize()} was named beforehand as {one}. {found[0]}"
    rest = tuned.loc[~tuned["primary"]]
    claimed = rest.loc[rest["verdict"] != NONE]
    n = rows(tuned)[0].n_controls
    if len(rest):
        else_said = (
            "Of everything else that was tested" if found else "Of everything that was tested"
        )
        if claimed.empty:
            found.append(f"{else_said} ({_tests(len(rest))}), no difference is shown.")
        else:
            found.append(
                f"{else_said} ({_tests(len(rest))}), {len(claimed)} passed: {_claims(claimed)}."
            )
    if n < ENOUGH:
        beside = "no control finetune" if not n else f"{n} control finetune{'s' if n > 1 else ''}"
        found.append(
            f"There is {beside}, so it cannot be said what the finetune moved, only whether it "
            "differs from the base: "
            f"any finetune, a neutral one too, differs somewhere. Give {ENOUGH} controls or more "
            "to tell."
        )
    return found


def corrected(effects: pd.DataFrame) -> list[str]:
    """What was tested, and how was it corrected?

    Args:
        effects: Table ``effects``.

    Returns:
        One sentence.
    """
    rest = only(effects, role="tuned")
    rest = rest.loc[~rest["primary"]]
    sizes = [f"{family} {len(part)}" for family, part in rest.groupby("family", sort=False)]
    if not sizes:
        return []
    judge = (
        "could one more control finetune go as far (prediction interval), and is it the choice of "
        "questions that it "
        "went farther than the controls, or left the base at all"
        if "controls" in set(rest["judged_by"])
        else "the t interval over questions, and sign flips by question"
    )
    return [
        f"Tests beside the primary: {', '.join(sizes)}; q by Benjamini-Hochberg within each of "
        "these families, times "
        f"their number ({len(sizes)}), held to 0.05. Each p is the largest of: {judge}."
    ]


def sanity(effects: pd.DataFrame) -> list[str]:
    """Would the controls have been claimed, judged by each other?

    Args:
        effects: Table ``effects``.

    Returns:
        One sentence, none without controls.
    """
    controls = only(effects, role="control")
    if controls.empty:
        return []
    passed = sum(controls["verdict"] != NONE)
    n = controls["checkpoint"].nunique()
    how = (
        "by the others in the same way"
        if "controls" in set(controls["judged_by"])
        else "against the base alike"
    )
    return [f"Each of the {n} controls, judged {how}: {passed} of {_tests(len(controls))} pass."]


def floors(effects: pd.DataFrame) -> str:
    """Does the base differ from itself?

    Args:
        effects: Table ``effects``.

    Returns:
        One sentence.
    """
    off = effects.loc[effects["floor"] > 0]
    if off.empty:
        return "The base, recorded twice, differs from itself by exactly 0 in everything that was tested."
    said = [
        f"{part['floor'].max():.2g} {UNITS[str(family)]}"
        for family, part in off.groupby("family", sort=False)
    ]
    return f"The base, recorded twice, differs from itself by up to {', '.join(said)}; nothing smaller is claimed."


def twins(sources: pd.DataFrame) -> list[str]:
    """Which models have the same weights?

    Args:
        sources: Table ``sources``.

    Returns:
        One sentence each.

    >>> row = {"checkpoint": "mine", "role": "tuned", "note": "the same weights as base"}
    >>> twins(pd.DataFrame([row]))
    ['mine (tuned) has the same weights as base.']
    """
    return [
        f"{row.checkpoint} ({row.role}) has {row.note.partition(f'; {MERGED}')[0]}."
        for row in rows(sources.loc[sources["note"].str.startswith("the same")])
    ]


def merged(sources: pd.DataFrame) -> list[str]:
    """Which adapters were merged into another base than they name?

    Args:
        sources: Table ``sources``.

    Returns:
        One sentence each.

    >>> row = {"checkpoint": "mine", "role": "tuned", "note": "an adapter merged into base, because it names none"}
    >>> merged(pd.DataFrame([row]))
    ['mine (tuned) is an adapter merged into base, because it names none.']
    """
    return [
        f"{row.checkpoint} ({row.role}) is {MERGED}{row.note.partition(MERGED)[2]}."
        for row in rows(sources.loc[sources["note"].str.contains(MERGED, regex=False)])
    ]


def made_of(novelty: pd.DataFrame) -> list[str]:
    """How much of the mean shift lies along the traits' vectors?

    Args:
        novelty: Table ``novelty``.

    Returns:
        One sentence a checkpoint and hook where it moved.
    """
    found = []
    for row in rows(novelty):
        if not math.isfinite(row.share):
            continue
        more = "no more than" if row.share <= row.null_hi else "more than"
        found.append(
            f"{row.checkpoint}, {layer(row.hook)}: of the mean shift ({row.relative_norm:.1%} of a "
            "residual's length) "
            f"{row.share:.1%} [{max(row.lo, 0):.1%}, {min(row.hi, 1):.1%}] lies in the span of the "
            f"{row.n_vectors} "
            f"trait vectors, {more} in spans of as many random directions ({row.null_lo:.1%} to "
            f"{row.null_hi:.1%}); "
            "the rest is along no trait that was given."
        )
    return found


def fits(fidelity: pd.DataFrame) -> str:
    """Do the dictionaries still describe the checkpoints?

    Args:
        fidelity: Table ``fidelity`` with ``sae``.

    Returns:
        One sentence a dictionary, together.
    """
    said = []
    for sae, part in fidelity.groupby("sae", sort=False):
        base = part.loc[part["checkpoint"] == "base", "fvu"].iloc[0]
        others = part.loc[~part["checkpoint"].isin(["base", "base again"])]
        worst = rows(others.sort_values("fvu", ascending=False))[0]
        bad = part.loc[part["verdict"] == "unusable", "checkpoint"].tolist()
        text = f"{sae} leaves {base:.1%} of the variance unexplained in the base, {worst.fvu:.1%} in {worst.checkpoint}."
        said.append(
            text
            + (
                f" It is unusable in {', '.join(bad)}, so none of its features is read."
                if bad
                else ""
            )
        )
    return " ".join(said)


def not_asked(provenance: Mapping[str, Any]) -> list[str]:
    """What was left out because nobody asked?

    Args:
        provenance: From ``provenance_of``, with the configuration.

    Returns:
        Sentences.
    """
    lines = {
        "traits": "No trait files (--traits): behavior, projections and novelty were not measured.",
        "sae": "No dictionary (--sae): features were not read.",
        "control": "No control finetunes (--control): what any finetune does cannot be told from what this one does.",
        "primary": "No trait was named beforehand (--primary): every test is corrected for all others.",
    }
    return [text for key, text in lines.items() if not provenance[key]] or ["Everything was asked."]


def layer(hook: str) -> str:
    """Which layer is this, in both conventions?

    Args:
        hook: Canonical name.

    Returns:
        The name, and the index of transformers' hidden states where it is a block's output.

    >>> layer("blocks.7.hook_out")
    'blocks.7.hook_out (hidden_states[8])'
    """
    parts = hook.split(".")
    if len(parts) == 3 and parts[0] == "blocks" and parts[2] == "hook_out":
        return f"{hook} (hidden_states[{int(parts[1]) + 1}])"
    return hook


def _primary(row: Row) -> str:
    beside = ""
    if math.isfinite(row.range_lo):
        beside = (
            f"; {row.n_controls} controls changed by {row.controls:+.3f} on average, one more "
            "would by "
            f"{row.range_lo:+.3f} to {row.range_hi:+.3f}"
        )
    corrected = "" if row.n_tests == 1 else f", q = {_p(row.q)} over {row.n_tests}"
    return (
        f"{row.checkpoint}: {row.verdict}; {row.estimate:+.3f} [{row.lo:+.3f}, {row.hi:+.3f}] "
        f"{UNITS[row.family]} over "
        f"{row.n} held-out questions{beside} (p = {_p(row.p)}{corrected})."
    )


def _claims(claimed: pd.DataFrame) -> str:
    said = []
    for row in rows(claimed.sort_values("q", kind="stable").head(MOST)):
        at = f" at {layer(row.hook)}" if row.hook else ""
        size = f"{row.estimate:+.3g} [{row.lo:+.3g}, {row.hi:+.3g}] {UNITS[row.family]}"
        said.append(
            f"{row.family} {row.quantity}{at}, {row.checkpoint}: {row.verdict} ({size}, q = "
            f"{_p(row.q)})"
        )
    more = f"; and {len(claimed) - MOST} more in the table" if len(claimed) > MOST else ""
    return "; ".join(said) + more


def _tests(n: int) -> str:
    return f"{n} test{'s' * (n != 1)}"


def _p(value: float) -> str:
    return f"{value:.2g}" if value >= 1e-4 else "< 0.0001"
