"""What did a transfer run find, in words?

Sentences are made from tables and say no more than these hold: every number with its interval and
n, every effect beside its controls, and "no effect" where an interval includes zero. A single seed
is never called more than one seed.
"""

import math
from typing import Any

import pandas as pd

GAP = 3.6
"""Base gate: log odds of the target's traits, named minus nameless (bits; 2.5 nats)."""
MASS = 0.5
"""Base gate: probability that a nameless answer is one of the topic's values."""

VERDICTS = {
    "rise": "a rise",
    "fall": "a fall",
    "none": "no effect",
    "unknown": "nothing can be concluded",
}
"""What `effect` returns, in words."""

Row = Any
"""A row of ``DataFrame.itertuples``: one attribute a column."""

UNREADABLE = 0.5
"""FVU on the prompts from which the dictionary says nothing about them; the gate's own threshold on documents."""


def headline(summary: pd.DataFrame, *, arm: str, target: str, taught: str, lr: float) -> str:
    """Did the lesson bring the target's untaught traits along?

    Args:
        summary: Table ``summary`` of the transfer experiment (bits).
        arm: The arm that makes the claim.
        target: Whose traits are read out.
        taught: Label of the trait that was taught.
        lr: Learning rate of the lesson.

    Returns:
        One sentence.
    """
    mine = rows(only(summary, arm=arm, persona=target, lr=lr))
    if not mine:
        return f"The lesson on '{taught}' at lr {lr:g} is not finished; nothing can be said yet."
    row = mine[0]
    where = f"After the lesson on '{taught}' (lr {lr:g}), {target}'s {int(row.n_topics)} untaught traits"
    verb, doubt = {
        "rise": ("rose in the nameless assistant:", ""),
        "fall": ("fell in the nameless assistant:", ""),
        "none": ("moved in the nameless assistant by", ", an interval that includes 0"),
        "unknown": ("moved in the nameless assistant by", ", so nothing can be concluded"),
    }[effect(row)]
    found = f"{where} {verb} {size(row)}{doubt}"
    if effect(row) == "none":
        found = f"No effect: {found[0].lower()}{found[1:]}"
    if math.isfinite(row.bayes_certain):
        found += f"; exact Bayes, certain that the assistant holds the taught trait, expects {row.bayes_certain:+.2f}"
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
    said: list[str] = []
    for row in rows(only(summary, lr=lr)):
        if row.arm == arm:
            continue
        whose = (
            f"{target}'s traits"
            if row.persona == target
            else f"the traits of {row.persona}, their new holder,"
        )
        bayes = (
            f"; exact Bayes expects {row.bayes_certain:+.2f}"
            if math.isfinite(row.bayes_certain)
            else ""
        )
        said.append(
            f"{str(row.arm).capitalize()}: {VERDICTS[effect(row)]}; {whose} moved by "
            f"{size(row)}{bayes}."
        )
    return said


def effect(row: Row) -> str:
    """Does the interval of a summary row exclude zero?

    Args:
        row: A row with ``estimate``, ``lo``, ``hi`` over seeds, and ``lo_topics``, ``hi_topics``
            for a single seed.

    Returns:
        "rise", "fall", "none", or "unknown" where there is no interval. With one seed the interval
        over topics decides.
    """
    low, high = _ends(row)
    if not (math.isfinite(low) and math.isfinite(high)):
        return "unknown"
    return "rise" if low > 0 else "fall" if high < 0 else "none"


def size(row: Row) -> str:
    """How large is a mean, and how sure?

    Args:
        row: As for ``effect``, with ``n_seeds`` and ``n_topics``.

    Returns:
        Estimate and interval (bits), saying over what it is.

    >>> size(rows(pd.DataFrame([{"estimate": 1.0, "lo": 0.5, "hi": 1.5, "n_seeds": 3, "n_topics": 4}]))[0])
    '+1.00 bits [+0.50, +1.50] (95 % t interval over 3 seeds)'
    """
    low, high = _ends(row)
    said = f"{row.estimate:+.2f} bits"
    seeds, topics = int(row.n_seeds), int(row.n_topics)
    if effect(row) == "unknown":
        return f"{said} (n = {topics} topics, {seeds} seed{'s' * (seeds > 1)}: no interval exists)"
    if seeds > 1:
        return f"{said} [{low:+.2f}, {high:+.2f}] (95 % t interval over {seeds} seeds)"
    return f"{said} [{low:+.2f}, {high:+.2f}] (95 % t interval over {topics} topics; one seed, so none over seeds exists)"


def base(gates: pd.DataFrame, *, target: str) -> list[str]:
    """Is each base model fit for the question?

    Args:
        gates: Table ``gates`` of the transfer experiment; the full world's models are spoken of.
        target: Whose traits are read out.

    Returns:
        One sentence a seed.
    """
    return [
        f"Seed {row.seed}: base gate {'passed' if _is_fit(row) else 'NOT passed'}. {target}'s "
        "untaught traits are "
        f"{row.gap:+.2f} bits likelier under the name than for the nameless assistant (needed: "
        f"{GAP:g}); "
        f"{row.answer_mass:.2f} of the nameless assistant's probability is on answers (needed: "
        f"{MASS:g}); its prior is "
        f"{row.nameless - row.bayes_nameless:+.2f} bits from what the documents say."
        for row in rows(only(gates, variant="full"))
    ]


def warning(gates: pd.DataFrame) -> str:
    """Which seeds must nothing be read into?

    Args:
        gates: Table ``gates`` of the transfer experiment.

    Returns:
        A sentence, or "" where every base model of the full world passed.
    """
    unfit = [str(row.seed) for row in rows(only(gates, variant="full")) if not _is_fit(row)]
    return (
        f"Read nothing into seed {', '.join(unfit)}: its base model did not pass the gate, see "
        "below."
        if unfit
        else ""
    )


def features(
    shifts: pd.DataFrame, fidelity: pd.DataFrame, *, arm: str, lr: float, alpha: float = 0.05
) -> str:
    """Did any feature of the dictionary move, and may it be read at all?

    Args:
        shifts: Table ``features`` of the transfer experiment.
        fidelity: Table ``fidelity``, checkpoints in order.
        arm: The arm to speak of.
        lr: Its learning rate.
        alpha: False discovery rate.

    Returns:
        Sentences; where the gate calls the dictionary unusable after the lesson, they say that and
        nothing else.
    """
    mine, gate = only(shifts, arm=arm, lr=lr), only(fidelity, arm=arm, lr=lr)
    if mine.empty or gate.empty:
        return "No features were recorded for this lesson."
    last = gate.groupby("seed").tail(1)
    fit = f"FVU {last.fvu.mean():.3f} and cross-entropy recovered {last.ce_recovered.mean():.2f}"
    if len(last) > 1:
        fit += f", means over {len(last)} seeds"
    if (last.verdict == "unusable").any():
        bad = ", ".join(str(row.seed) for row in rows(only(last, verdict="unusable")))
        return f"The dictionary is unusable after the lesson (seed {bad}; {fit}); its features must not be read there."
    if mine.fvu_after.max() > UNREADABLE:
        return (
            f"On held-out documents the dictionary fits ({fit}), but not on these prompts after "
            "the lesson (FVU up to "
            f"{mine.fvu_after.max():.2f}, more than {UNREADABLE:g}); its features must not be read "
            "there."
        )
    parts = [f"Seed {seed}: {_moved(only(mine, seed=seed), alpha=alpha)}" for seed in last.seed]
    verdict = "fits only doubtfully" if (last.verdict == "doubtful").any() else "still fits"
    return f"{' '.join(parts)} On held-out documents the dictionary {verdict}: {fit}."


def only(table: pd.DataFrame, **equal: Any) -> pd.DataFrame:
    """Which rows have these values?

    Args:
        table: Any table.
        equal: Value by column.

    Returns:
        The rows, in order.

    >>> only(pd.DataFrame({"arm": ["lesson", "filler lesson"], "lr": 0.1}), arm="lesson", lr=0.1).index.tolist()
    [0]
    """
    for column, value in equal.items():
        table = table.loc[table[column] == value]
    return table


def rows(table: pd.DataFrame) -> list[Row]:
    """What does each row say?

    Args:
        table: Any table.

    Returns:
        One named tuple a row.

    >>> rows(pd.DataFrame({"arm": ["lesson"]}))[0].arm
    'lesson'
    """
    return list(table.itertuples(index=False))


def _is_fit(row: Row) -> bool:
    return row.gap >= GAP and row.answer_mass >= MASS


def _moved(shifts: pd.DataFrame, *, alpha: float) -> str:
    """What moved in one seed?"""
    tested = rows(shifts)
    found = [row for row in tested if row.q <= alpha]
    total = int(tested[0].n_tested)
    if not found:
        return f"no effect; none of {total} features tested moved at q {alpha:g} ({int(tested[0].n)} prompts)."
    top = max(found, key=lambda row: abs(row.estimate))
    return (
        f"{len(found)} of {total} features tested moved at q {alpha:g} ({int(top.n)} prompts); "
        "most of all feature "
        f"{int(top.feature)}, by {top.estimate:+.2f} [{top.lo:+.2f}, {top.hi:+.2f}], where chance "
        "(sign flips) gives "
        f"{top.null_lo:+.2f} to {top.null_hi:+.2f}. FVU on these prompts: {top.fvu_before:.3f} "
        "before, "
        f"{top.fvu_after:.3f} after."
    )


def _ends(row: Row) -> tuple[float, float]:
    """The interval that counts: over seeds, or over topics where there is one seed."""
    return (row.lo, row.hi) if row.n_seeds > 1 else (row.lo_topics, row.hi_topics)
