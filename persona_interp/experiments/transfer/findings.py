"""What did a transfer run find, in words?

Sentences are made from tables and say no more than these hold: every number with its interval and
n, every effect beside its controls, and "no effect shown" where an interval includes zero. A single
seed is never called more than one seed.
"""

import math
from collections.abc import Mapping
from typing import Any

import pandas as pd

from persona_interp import analysis
from persona_interp.report.rows import Row, effect, only, rows, size
from persona_interp.schema.words import ALPHA, Effect, Fit, Place, Role, Standing, Unit, Verdict

GAP = 3.6
"""Base gate: log odds of the target's traits, named minus nameless (bits; 2.5 nats)."""
MASS = 0.5
"""Base gate: probability that a nameless answer is one of the topic's values."""
UNREADABLE = 0.5
"""FVU on the prompts from which the dictionary says nothing about them.

The gate's own threshold on documents.
"""
ENOUGH = 3
"""Control lessons from which on anything can be said of one more."""


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
    text = f"{start}, {traits} {verb} {size(row)}{doubt}{_bayes_certain(row)}."
    if row.n_seeds > 1:
        return text
    return f"{text} {Standing.DESCRIBED.capitalize()}."


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


def distances(table: pd.DataFrame, *, arm: str) -> str:
    """How far each lesson moved what the nameless assistant answers.

    Args:
        table: Table ``distances`` at one rate.
        arm: The arm that makes the claim.

    Returns:
        One sentence; "" where nothing was measured.
    """
    means: Any = table.groupby("arm", sort=False)["estimate"].mean()
    if arm not in means:
        return ""
    others = "; ".join(f"{name} {mean:.2f}" for name, mean in means.drop(arm).items())
    return (
        "Divergence of the nameless assistant's answers from those before (KL, bits an answer, all "
        f"topics): {arm} {means[arm]:.2f}; {others}. A control that moved less far says less."
    )


def rarity(table: pd.DataFrame, *, target: str) -> str:
    """Whether the target's values rose, or whatever was as rare.

    Args:
        table: Table ``rarity`` at one rate.
        target: The persona.

    Returns:
        A question and its answers, one a lesson.
    """
    answers = []
    for arm, part in table.groupby("arm", sort=False):
        row = part.iloc[0]
        estimate, lo, hi, over = row["estimate"], row["lo"], row["hi"], f"{row['n']:.0f} topics"
        if len(part) > 1:
            estimate, lo, hi, n = analysis.stats.t_interval(part["estimate"])
            over = f"{n} seeds"
        answers.append(
            f"{arm} {part['own'].mean():+.2f} against {part['others'].mean():+.2f}, difference "
            f"{estimate:+.2f} [{lo:+.2f}, {hi:+.2f}] (over {over})"
        )
    return (
        f"Do rare values rise, whoever holds them? Untaught values of {target} against values of "
        f"others in the same topics that were as rare before (bits): {'; '.join(answers)}."
    )


def features(
    effects: pd.DataFrame,
    roles: pd.DataFrame,
    *,
    shifts: pd.DataFrame,
    fidelity: pd.DataFrame,
    target: str,
) -> list[str]:
    """What the lesson does to the features that know personas, beside control lessons.

    Args:
        effects: Table ``features`` of the transfer experiment, at one rate and hook.
        roles: Table ``roles`` there.
        shifts: Table ``feature_shift`` there, for how well the prompts are described.
        fidelity: Table ``fidelity`` there, checkpoints in order.
        target: Whose feature the claim is about.

    Returns:
        Sentences: the fit, a description of every seed, and over seeds what may be claimed. Where
        the dictionary does not fit after one of the lessons they say that and nothing else.
    """
    if effects.empty or fidelity.empty:
        return ["No features were recorded for this lesson."]
    reason = unreadable(shifts, fidelity)
    if reason:
        return [reason]
    sentences = [_fit(shifts, fidelity)]
    for seed, part in roles.groupby("seed"):
        sentences.append(_seed(part, only(effects, seed=seed), target=target))
    contrast = analysis.role_contrast(roles, persona=target)
    if any(contrast["own"].notna()):
        runs = contrast.set_index("seed")
        differences = {
            "0": runs["own"],
            "the mean of other personas' best features": runs["minus_mean"],
            "the most of other personas' best features": runs["minus_most"],
        }
        what = f"the rise over control lessons of the feature that knows {target} best"
        sentences.append(stands(what, differences))
    return sentences


def stands(what: str, differences: Mapping[str, Any]) -> str:
    """How a number stands beside its rivals, over seeds; one seed is described.

    Args:
        what: The number, in words.
        differences: Rival in words -> the number minus the rival's, by seed: a Series, or columns
            ``difference`` (from the largest of several) and ``held_out`` (``analysis.rivals``).

    Returns:
        A sentence that names every rival.

    >>> two = {"mary": pd.Series([0.5, 0.75], index=[0, 1])}
    >>> stands("what john brings", two)
    'Over 2 seeds, what john brings is +0.62 [-0.96, +2.21] above mary (not told apart).'
    >>> stands("what john brings", {"mary": pd.Series([0.5]), "sam": pd.Series([-0.25])})
    'One seed: described, not claimed. What john brings is above mary; it is not above sam.'
    """
    tables = []
    for rival, values in differences.items():
        # a seed without a number makes no mean over seeds
        table = pd.DataFrame(values)
        if isinstance(values, pd.Series):
            table = pd.DataFrame({"difference": values, "held_out": values})
        tables.append(table.rename_axis("seed").reset_index().assign(rival=rival))
    standing = analysis.standings(
        pd.concat(tables), value="difference", held_out="held_out", by="rival"
    )
    if max(standing["n_seeds"]) < 2:
        above = standing.loc[standing["estimate"] > 0, "rival"]
        below = standing.loc[~(standing["estimate"] > 0), "rival"]
        parts = [f"is above {', '.join(above)}"] if len(above) else []
        if len(below):
            parts.append(f"{'it ' if parts else ''}is not above {', '.join(below)}")
        text = f"{what[0].upper()}{what[1:]} {'; '.join(parts)}."
        return f"{Standing.DESCRIBED.capitalize()}. {text}"
    n_seeds = max(standing["n_seeds"])
    clauses = "; ".join(
        f"{row.estimate:+.2f} [{row.lo:+.2f}, {row.hi:+.2f}] above {row.rival} ({row.standing})"
        for row in rows(standing)
    )
    return f"Over {n_seeds} seeds, {what} is {clauses}."


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


def unreadable(shifts: pd.DataFrame, fidelity: pd.DataFrame) -> str:
    """Why no feature may be read after these lessons.

    Args:
        shifts: Table ``feature_shift`` at one rate and hook.
        fidelity: Table ``fidelity`` there, checkpoints in order.

    Returns:
        A sentence; "" where features may be read.
    """
    # the gate is passed on held-out documents and where features are read, or it is not passed
    last = fidelity.groupby(["arm", "seed", "where"], sort=False).tail(1)
    unusable = only(last, verdict=Fit.UNUSABLE)
    if len(unusable):
        where = ", ".join(f"{row.arm}, seed {row.seed}, {row.where}" for row in rows(unusable))
        return (
            f"The dictionary is {Fit.UNUSABLE} after a lesson ({where}; FVU up to "
            f"{unusable.fvu.max():.3f}); its features must not be read there."
        )
    # the mean over prompts of their own FVU, which a few of them can make large
    if shifts.fvu_after.max() > UNREADABLE:
        return (
            "The dictionary passes its gate, but not every one of these prompts after every "
            f"lesson (FVU up to {shifts.fvu_after.max():.2f}, more than {UNREADABLE:g}); its "
            "features must not be read there."
        )
    return ""


def _fit(shifts: pd.DataFrame, fidelity: pd.DataFrame) -> str:
    """Sentence on how well the dictionary describes what is read after the worst lesson."""
    last = fidelity.groupby(["arm", "seed", "where"], sort=False).tail(1)
    verdict = str(Fit.FITS)
    if (last.verdict == Fit.DOUBTFUL).any():
        verdict = f"{Fit.FITS} only doubtfully"
    texts, prompts = (only(last, where=where) for where in (Place.TEXTS, Place.PROMPTS))
    return (
        f"After every lesson the dictionary {verdict}: FVU at most {texts.fvu.max():.3f} on "
        f"held-out documents (cross-entropy recovered {texts.ce_recovered.min():.2f} at least) and "
        f"{prompts.fvu.max():.3f} on the prompts read ({prompts.ce_recovered.min():.2f} "
        f"recovered), where it is {shifts.fvu_before.max():.3f} before."
    )


def _seed(roles: pd.DataFrame, effects: pd.DataFrame, *, target: str) -> str:
    """Sentences on the features of one seed: the target's, the other personas', all of them."""
    start = f"Seed {roles['seed'].iloc[0]}:"
    mine = only(roles, name=target)
    if mine.empty:
        return f"{start} no feature is more active in {target}'s documents than in others."
    row, others = rows(mine)[0], roles.loc[roles["name"] != target].dropna(subset=["excess"])
    text = (
        f"{start} feature {row.feature}, which knows {target} best, moves by {row.estimate:+.2f} "
        f"[{row.lo:+.2f}, {row.hi:+.2f}] {Unit.ACTIVATION} (interval over {row.n} prompts) after "
        "the lesson"
    )
    if not row.n_controls:
        return f"{text}; no control lesson was read, so nothing can be said of the lesson."
    text += (
        f", and after {row.n_controls} control lessons by {row.least:+.2f} ({row.least_control}) "
        f"to {row.most:+.2f} ({row.most_control}); minus their mean {row.excess:+.2f} "
        f"[{row.excess_lo:+.2f}, {row.excess_hi:+.2f}], rank {row.rank} of {row.n_tested} features."
    )
    if len(others):
        most = others.loc[others["excess"].idxmax()]
        text += (
            f" The same of {len(others)} other personas' best features: mean "
            f"{others['excess'].mean():+.2f}, most {most['excess']:+.2f} ({most['name']})."
        )
    return f"{text} {_beyond(only(effects, role=Role.TUNED), row.n_controls)}"


def _beyond(effects: pd.DataFrame, n_controls: int) -> str:
    """Sentence on how many features of one seed differ from what one more control would do."""
    if n_controls < ENOUGH:
        return (
            f"{n_controls} of the {ENOUGH} control lessons that it takes were read, so nobody can "
            "say how far one more would move a feature."
        )
    verdicts = effects["verdict"]
    n_moved = sum(verdicts.isin([Verdict.UP, Verdict.DOWN]))
    text = (
        f"{n_moved} of {len(effects)} features moved more than one more control would (q {ALPHA:g})"
    )
    n_farther = sum(verdicts == Verdict.FARTHER)
    if n_farther:
        ratio = effects["ratio"].iloc[0]
        text += (
            f"; {n_farther} more did, but the lesson went {ratio:.1f} times as far as its controls"
        )
    return f"{text}."
