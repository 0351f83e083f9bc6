"""What did a transfer run find, in words?

Sentences are made from tables and say no more than these hold: every number with its interval and
n, every effect beside its controls, and "no effect" where an interval includes zero. A single seed
is never called more than one seed.
"""

import math

import pandas as pd

from persona_interp.report.rows import Row, effect, only, rows, size
from persona_interp.schema.words import Effect, Fit

GAP = 3.6
"""Base gate: log odds of the target's traits, named minus nameless (bits; 2.5 nats)."""
MASS = 0.5
"""Base gate: probability that a nameless answer is one of the topic's values."""
UNREADABLE = 0.5
"""FVU on the prompts from which the dictionary says nothing about them.

The gate's own threshold on documents.
"""


def headline(summary: pd.DataFrame, *, arm: str, target: str, taught: str, lr: float) -> str:
    """Whether the lesson brought the target's untaught traits along.

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
    verb, doubt = {
        Effect.RISE: ("rose in the nameless assistant:", ""),
        Effect.FALL: ("fell in the nameless assistant:", ""),
        Effect.NONE: ("moved in the nameless assistant by", ", an interval that includes 0"),
        Effect.UNKNOWN: ("moved in the nameless assistant by", f", so {Effect.UNKNOWN}"),
    }[effect(row)]
    lesson = f"the lesson on '{taught}' (lr {lr:g})"
    start = f"After {lesson}"
    if effect(row) == Effect.NONE:
        start = f"{Effect.NONE.capitalize()}: after {lesson}"
    traits = f"{target}'s {int(row.n_topics)} untaught traits"
    return f"{start}, {traits} {verb} {size(row)}{doubt}{_bayes_certain(row)}."


def controls(summary: pd.DataFrame, *, arm: str, target: str, lr: float) -> list[str]:
    """What the controls did.

    Args:
        summary: Table ``summary`` of the transfer experiment (bits).
        arm: The arm that makes the claim; all others are controls.
        target: Whose traits are read out.
        lr: Learning rate of the lesson.

    Returns:
        One sentence per control, with the exact Bayesian's expectation where there is one.
    """
    others = only(summary.loc[summary["arm"] != arm], lr=lr)
    return [_control(row, target) for row in rows(others)]


def base(gates: pd.DataFrame, *, target: str) -> list[str]:
    """Whether each base model is fit for the question.

    Args:
        gates: Table ``gates`` of the transfer experiment; the full world's models are spoken of.
        target: Whose traits are read out.

    Returns:
        One sentence a seed.
    """
    return [_gate(row, target) for row in rows(only(gates, variant="full"))]


def warning(gates: pd.DataFrame) -> str:
    """Seeds that nothing must be read into.

    Args:
        gates: Table ``gates`` of the transfer experiment.

    Returns:
        A sentence, or "" where every base model of the full world passed.
    """
    unfit = [str(row.seed) for row in rows(only(gates, variant="full")) if not _is_fit(row)]
    if not unfit:
        return ""
    seeds = ", ".join(unfit)
    return f"Read nothing into seed {seeds}: its base model did not pass the gate, see below."


def features(
    shifts: pd.DataFrame, fidelity: pd.DataFrame, *, arm: str, lr: float, alpha: float = 0.05
) -> str:
    """Which features of the dictionary moved, if they may be read at all.

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
    if (last.verdict == Fit.UNUSABLE).any():
        seeds = ", ".join(str(row.seed) for row in rows(only(last, verdict=Fit.UNUSABLE)))
        return (
            f"The dictionary is {Fit.UNUSABLE} after the lesson (seed {seeds}; {fit}); "
            "its features must not be read there."
        )
    # a dictionary may fit documents and still not the few prompts that features are compared on
    if mine.fvu_after.max() > UNREADABLE:
        return (
            f"On held-out documents the dictionary fits ({fit}), but not on these prompts after "
            f"the lesson (FVU up to {mine.fvu_after.max():.2f}, more than {UNREADABLE:g}); "
            "its features must not be read there."
        )
    parts = [f"Seed {seed}: {_shifts(only(mine, seed=seed), alpha=alpha)}" for seed in last.seed]
    verdict = "still fits"
    if (last.verdict == Fit.DOUBTFUL).any():
        verdict = "fits only doubtfully"
    return f"{' '.join(parts)} On held-out documents the dictionary {verdict}: {fit}."


def _bayes_certain(row: Row) -> str:
    """Clause on what exact Bayes expects, where it does."""
    if not math.isfinite(row.bayes_certain):
        return ""
    return (
        "; exact Bayes, certain that the assistant holds the taught trait, expects "
        f"{row.bayes_certain:+.2f}"
    )


def _control(row: Row, target: str) -> str:
    """Sentence on one control."""
    whose = f"{target}'s traits"
    if row.persona != target:
        whose = f"the traits of {row.persona}, their new holder,"
    bayes = ""
    if math.isfinite(row.bayes_certain):
        bayes = f"; exact Bayes expects {row.bayes_certain:+.2f}"
    return f"{str(row.arm).capitalize()}: {effect(row)}; {whose} moved by {size(row)}{bayes}."


def _gate(row: Row, target: str) -> str:
    """Sentence on the base model of one seed."""
    verdict = "passed" if _is_fit(row) else "NOT passed"
    prior = row.nameless - row.bayes_nameless
    return (
        f"Seed {row.seed}: base gate {verdict}. {target}'s untaught traits are "
        f"{row.gap:+.2f} bits likelier under the name than for the nameless assistant "
        f"(needed: {GAP:g}); {row.answer_mass:.2f} of the nameless assistant's probability is on "
        f"answers (needed: {MASS:g}); its prior is {prior:+.2f} bits from what the documents say."
    )


def _is_fit(row: Row) -> bool:
    return row.gap >= GAP and row.answer_mass >= MASS


def _shifts(shifts: pd.DataFrame, *, alpha: float) -> str:
    """Sentence on the features of one seed that moved."""
    tested = rows(shifts)
    total = int(tested[0].n_tested)
    discoveries = [row for row in tested if row.q <= alpha]
    if not discoveries:
        return (
            f"{Effect.NONE}; none of {total} features tested moved at q {alpha:g} "
            f"({int(tested[0].n)} prompts)."
        )
    top = max(discoveries, key=lambda row: abs(row.estimate))
    return (
        f"{len(discoveries)} of {total} features tested moved at q {alpha:g} "
        f"({int(top.n)} prompts); most of all feature {int(top.feature)}, "
        f"by {top.estimate:+.2f} [{top.lo:+.2f}, {top.hi:+.2f}], where chance (sign flips) gives "
        f"{top.null_lo:+.2f} to {top.null_hi:+.2f}. FVU on these prompts: {top.fvu_before:.3f} "
        f"before, {top.fvu_after:.3f} after."
    )
