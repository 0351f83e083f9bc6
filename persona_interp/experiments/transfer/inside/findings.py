"""What happened inside of the models, in words: towards whom, known and carried by what?

As in ``findings``: sentences are made from tables, every number with its interval and n, every
effect beside its controls. A single seed is never called more than one seed.
"""

import math

import numpy as np
import pandas as pd

from persona_interp import analysis
from persona_interp.experiments.transfer.inside.config import RANDOM, VECTOR
from persona_interp.report.rows import Row, rows

ALPHA = 0.05
"""False discovery rate below which a feature is a discovery."""


def towards(directions: pd.DataFrame, arm: str, *, target: str) -> list[str]:
    """How far the residuals of neutral prompts moved towards the target.

    Args:
        directions: Table ``directions`` at one hook and rate.
        arm: The arm that makes the claim.
        target: The persona.

    Returns:
        A sentence an arm, the claim's first.
    """
    vectors = directions.loc[directions["method"] == VECTOR]
    n_names = vectors["name"].nunique()
    mine = vectors.loc[vectors["name"] == target]
    sentences = []
    for name in sorted(mine["arm"].unique(), key=lambda other: other != arm):
        part = mine.loc[mine["arm"] == name]
        cosine = _number(part, "cosine", "lo", "hi", "prompts")
        along = _number(part, "projection", "projection_lo", "projection_hi", "prompts")
        ranks = ", ".join(str(int(rank)) for rank in part["rank"])
        sentences.append(
            f"{name.capitalize()}: the mean shift of neutral prompts has cosine {cosine} with "
            f"{target}'s vector (rank {ranks} of {n_names} personas; the best other has "
            f"{part['best_other'].mean():.2f}), and went {along} of that vector's length along it."
        )
    return sentences


def knows(scores: pd.DataFrame, *, target: str) -> str:
    """Which feature knows the target's documents, where nobody says whose they are.

    Args:
        scores: Table ``scores`` at one hook and rate.
        target: The persona.

    Returns:
        One sentence.
    """
    best = scores.loc[(scores["name"] == target) & (scores["rank"] == 1)]
    if best.empty:
        return f"No feature is more active in {target}'s documents than in others."
    features = "; ".join(_feature(row) for row in rows(best))
    return (
        f"The feature that knows {target} best in documents by speakers without a name, "
        f"chosen on one half of them and reported on the other: {features}."
    )


def carries(causes: pd.DataFrame, *, target: str) -> str:
    """How much of the effect goes with the target's vector, and how much with its controls.

    Args:
        causes: Table ``causes`` at one hook and rate.
        target: The persona.

    Returns:
        One sentence; seeds whose lesson moved too little for a share are named and in no number.
    """
    undefined = causes.loc[(causes["edit"] == VECTOR) & causes["share"].isna(), "seed"]
    too_little = "the lesson moved the untaught traits too little for a share of it to be removed."
    known = causes.loc[~causes["seed"].isin(undefined)]
    mine = known.loc[known["edit"] == VECTOR]
    if mine.empty:
        return too_little[0].upper() + too_little[1:]
    others = known.loc[known["group"] == "persona"].groupby("seed")["share"]
    # where 95 % of single random directions lie: not an interval of their mean
    lo, hi = np.percentile(known.loc[known["group"] == RANDOM, "share"], [2.5, 97.5])
    text = (
        f"Taking {target}'s vector out of the tuned model removes "
        f"{_number(mine, 'share', 'lo', 'hi', 'templates')} of the untaught traits' shift; "
        f"another persona's {others.mean().mean():.2f} on average "
        f"(largest {others.max().max():.2f}), a random direction {lo:.2f} to {hi:.2f} (95 %)."
    )
    added = known.loc[known["group"] == "added"]
    if len(added):
        share = _number(added, "share", "lo", "hi", "templates")
        text += f" Added to the base model it brings {share} of the shift."
    if len(undefined):
        text += f" In seed {', '.join(map(str, undefined))} {too_little}"
    return text


def stays(refit: pd.DataFrame, *, target: str) -> str:
    """Whether the target's vector is still the same when it is found anew in the tuned model.

    Args:
        refit: Table ``refit`` at one hook and rate.
        target: The persona.

    Returns:
        One sentence.
    """
    mine, others = refit.loc[refit["name"] == target], refit.loc[refit["name"] != target, "cosine"]
    return (
        f"Found anew after the lesson, {target}'s vector has cosine {mine['cosine'].mean():.2f} "
        f"with the one found before, and is {mine['norm_ratio'].mean():.2f} times as long; "
        f"another persona's has {others.mean():.2f} on average, {others.min():.2f} at least "
        f"({seeds_of(refit)}, {len(others)} vectors)."
    )


def points(stated: pd.DataFrame) -> str:
    """Whether the vector of a stated value points at the personas who hold it.

    Args:
        stated: Table ``stated`` at one hook and rate.

    Returns:
        A question and its answers, one a seed.
    """
    # values are paired: each has its own mean over holders and over others
    means = stated.pivot_table(index=["seed", "name"], columns="holds", values="cosine").dropna()
    answers = []
    for seed, part in means.groupby("seed"):
        difference, lo, hi, n = analysis.stats.t_interval(part[True] - part[False])
        answers.append(
            f"seed {seed}: cosine {part[True].mean():.2f} with those who do, "
            f"{part[False].mean():.2f} with others, "
            f"difference {difference:+.2f} [{lo:+.2f}, {hi:+.2f}] (interval over {n} values)"
        )
    question = "Does the vector of a stated value point at the personas who hold it?"
    return f"{question} {'; '.join(answers)}."


def together(cooccurrence: pd.DataFrame) -> str:
    """Whether directions lie together whose names go together in the documents.

    Args:
        cooccurrence: Table ``cooccurrence`` at one hook and rate.

    Returns:
        A question and its answers, one a method and seed.
    """
    question = (
        "Do directions lie together whose names go together in the documents "
        "(Spearman, Mantel null)?"
    )
    answers = "; ".join(_correlation(row) for row in rows(cooccurrence))
    return f"{question} {answers}."


def seeds_of(table: pd.DataFrame) -> str:
    """Number of seeds behind a table, in words.

    Args:
        table: Has ``seed``.

    Returns:
        "one seed" or "3 seeds".

    >>> seeds_of(pd.DataFrame({"seed": [0, 0, 1]}))
    '2 seeds'
    """
    n = len(set(table["seed"]))
    return f"{n} seeds" if n > 1 else "one seed"


def _feature(row: Row) -> str:
    """Clause on the best feature of one seed."""
    verdict = "found" if row.q <= ALPHA else "no discovery"
    return (
        f"seed {row.seed}: feature {int(row.feature)}, "
        f"AUROC {row.auroc:.2f} [{row.lo:.2f}, {row.hi:.2f}], "
        f"q {row.q:.2g} ({verdict} among {int(row.n_tested)} tests), fvu {row.fvu:.2g}"
    )


def _correlation(row: Row) -> str:
    """Clause on one method and seed."""
    pairs = "pairs of traits" if row.against == "pmi" else "pairs of personas"
    if math.isnan(row.rho):
        rho = "undefined, since all pairs share equally much"
    else:
        null = f"null {row.null_lo:.2f} to {row.null_hi:.2f}"
        rho = f"rho {row.rho:.2f} ({null}, n {int(row.n)})"
    return f"{row.method} ({pairs}), seed {row.seed}: {rho}"


def _number(table: pd.DataFrame, value: str, lo: str, hi: str, unit: str) -> str:
    """Mean and interval: over seeds, or that of the only seed."""
    if len(table) > 1:
        estimate, low, high, n = analysis.stats.t_interval(table[value])
        return f"{estimate:.2f} [{low:.2f}, {high:.2f}] (n = {n} seeds)"
    row = table.iloc[0]
    interval = f"[{row[lo]:.2f}, {row[hi]:.2f}]"
    return f"{row[value]:.2f} {interval} (one seed, interval over {row['n']:.0f} {unit})"
