"""What did a transfer run find, in words?

Sentences are made from tables and say no more than these hold: every number with its interval and n, every effect beside
its controls, and "no effect" where an interval includes zero. A single seed is never called more than one seed.
"""

import math
from typing import Any

import pandas as pd

Row = Any


def headline(summary: pd.DataFrame, *, arm: str, target: str, taught: str, lr: float) -> str:
    """Did the lesson bring the target's untaught traits along?

    Args:
        summary: Table ``summary`` of the transfer experiment (bits).
        arm: The arm that makes the claim.
        target: Whose traits are read out.
        taught: Label of the trait that was taught.
        lr: Learning rate of the lesson.

    Returns:
        One or two sentences.
    """
    row = _row(summary, arm=arm, persona=target, lr=lr)
    if row is None:
        return f"The lesson on {taught} at lr {lr:g} is not finished; nothing can be said yet."
    size = f"{row.estimate:+.2f} bits {_interval(row)}"
    verdict = effect(row)
    subject = f"After the lesson on '{taught}' (lr {lr:g}), {target}'s {int(row.n_topics)} untaught traits"
    if verdict == "rise":
        found = f"{subject} rose in the nameless assistant by {size}"
    elif verdict == "fall":
        found = f"{subject} fell in the nameless assistant by {size}"
    else:
        found = f"No effect: {subject[0].lower()}{subject[1:]} moved by {size}, an interval that includes 0"
    if math.isfinite(row.bayes_certain):
        found += f"; an exact Bayesian who is certain that the assistant holds the trait would move by {row.bayes_certain:+.2f}"
    return found + "."


def controls(summary: pd.DataFrame, *, arm: str, target: str, lr: float) -> list[str]:
    """What did the controls do?

    Args:
        summary: Table ``summary`` of the transfer experiment (bits).
        arm: The arm that makes the claim; all others are controls.
        target: Whose traits are read out.
        lr: Learning rate of the lesson.

    Returns:
        One sentence per control, with the exact Bayesian's expectation where there is one.
    """
    said = []
    for row in summary[(summary.lr == lr) & (summary.arm != arm)].itertuples():
        whose = "the same traits" if row.persona == target else f"the traits of {row.persona}, the new holder,"
        words = {"rise": "rose by", "fall": "fell by", "none": "show no effect:"}[effect(row)]
        bayes = f"; Bayes expects {row.bayes_certain:+.2f}" if math.isfinite(row.bayes_certain) else ""
        said.append(f"{str(row.arm).capitalize()}: {whose} {words} {row.estimate:+.2f} bits {_interval(row)}{bayes}.")
    return said


def effect(row: Row) -> str:
    """Does the interval of a summary row exclude zero?

    Args:
        row: A row with ``estimate``, ``lo``, ``hi`` over seeds, and ``lo_topics``, ``hi_topics`` for a single seed.

    Returns:
        "rise", "fall" or "none". With one seed the interval over topics decides.
    """
    low, high = (row.lo, row.hi) if row.n_seeds > 1 else (row.lo_topics, row.hi_topics)
    return "rise" if low > 0 else "fall" if high < 0 else "none"


def features(shifts: pd.DataFrame, fidelity: pd.DataFrame, *, arm: str, lr: float, alpha: float = 0.05) -> str:
    """Did any feature of the dictionary move, and may it be read at all?

    Args:
        shifts: Table ``features`` of the transfer experiment.
        fidelity: Table ``fidelity``.
        arm: The arm to speak of.
        lr: Its learning rate.
        alpha: False discovery rate.

    Returns:
        Sentences; where the gate calls the dictionary unusable after the lesson, they say so first.
    """
    mine = shifts[(shifts.arm == arm) & (shifts.lr == lr)]
    gate = fidelity[(fidelity.arm == arm) & (fidelity.lr == lr)]
    if mine.empty or gate.empty:
        return "No features were recorded for this lesson."
    last = gate[gate.step == gate.step.max()]
    fvu = f"FVU {last.fvu.mean():.3f} after the lesson, cross-entropy recovered {last.ce_recovered.mean():.2f}"
    if (last.verdict == "unusable").any():
        return f"The dictionary does not fit the tuned model ({fvu}); its features must not be read there."
    parts = []
    for seed, rows in mine.groupby("seed"):
        found = rows[rows.q <= alpha].sort_values("estimate", ascending=False)
        total = int(rows.n_tested.iloc[0])
        if found.empty:
            parts.append(f"seed {seed}: no feature of {total} tested moved at q {alpha:g}")
            continue
        top = found.iloc[0]
        parts.append(
            f"seed {seed}: {len(found)} of {total} features tested moved at q {alpha:g}; feature {int(top.feature)} rose "
            f"most, by {top.estimate:.2f} [{top.lo:.2f}, {top.hi:.2f}] (sign-flip null {top.null_lo:.2f} to {top.null_hi:.2f})"
        )
    doubt = " The gate calls this fit doubtful." if (last.verdict == "doubtful").any() else ""
    return f"{'; '.join(parts)}. The dictionary's {fvu}.{doubt}"


def _row(summary: pd.DataFrame, *, arm: str, persona: str, lr: float) -> Row | None:
    rows = summary[(summary.arm == arm) & (summary.persona == persona) & (summary.lr == lr)]
    return None if rows.empty else next(rows.itertuples())


def _interval(row: Row) -> str:
    """The interval in brackets, saying over what it is."""
    if row.n_seeds > 1:
        return f"[{row.lo:+.2f}, {row.hi:+.2f}] (95 % t interval over {int(row.n_seeds)} seeds)"
    return (
        f"[{row.lo_topics:+.2f}, {row.hi_topics:+.2f}] (95 % t interval over {int(row.n_topics)} topics; one seed, "
        "so no interval over seeds exists)"
    )
