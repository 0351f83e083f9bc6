"""What happened inside of the models, in words: towards whom, known by which feature, carried by what?

As in ``findings``: sentences are made from tables, every number with its interval and n, every
effect beside its controls. A single seed is never called more than one seed.
"""

import numpy as np
import pandas as pd

from persona_interp import analysis
from persona_interp.experiments.transfer.inside.config import VECTOR
from persona_interp.report.rows import rows

ALPHA = 0.05


def towards(directions: pd.DataFrame, arm: str, *, target: str) -> list[str]:
    """Towards whom did the residuals of neutral prompts move?

    Args:
        directions: Table ``directions`` at one hook and rate.
        arm: The arm that makes the claim.
        target: The persona.

    Returns:
        A sentence an arm, the claim's first.
    """
    said = []
    mine = directions.loc[(directions["method"] == VECTOR) & (directions["name"] == target)]
    n_names = directions.loc[directions["method"] == VECTOR, "name"].nunique()
    for name in sorted(mine["arm"].unique(), key=lambda a: a != arm):
        part = mine.loc[mine["arm"] == name]
        cosine = _number(part, "cosine", "lo", "hi", "prompts")
        along = _number(part, "projection", "projection_lo", "projection_hi", "prompts")
        ranks = ", ".join(str(int(r)) for r in part["rank"])
        said.append(
            f"{name.capitalize()}: the mean shift of neutral prompts has cosine {cosine} with "
            f"{target}'s vector "
            f"(rank {ranks} of {n_names} personas; the best other has "
            f"{part['best_other'].mean():.2f}), and went "
            f"{along} of that vector's length along it."
        )
    return said


def knows(scores: pd.DataFrame, *, target: str) -> str:
    """Which feature knows the target's documents, where nobody says whose they are?

    Args:
        scores: Table ``scores`` at one hook and rate.
        target: The persona.

    Returns:
        One sentence.
    """
    best = scores.loc[(scores["name"] == target) & (scores["rank"] == 1)]
    if best.empty:
        return f"No feature is more active in {target}'s documents than in others."
    found = "; ".join(
        f"seed {row.seed}: feature {int(row.feature)}, AUROC {row.auroc:.2f} [{row.lo:.2f}, "
        f"{row.hi:.2f}], "
        f"q {row.q:.2g} ({'found' if row.q <= ALPHA else 'no discovery'} among {int(row.n_tested)} "
        "tests), "
        f"fvu {row.fvu:.2g}"
        for row in rows(best)
    )
    return (
        f"The feature that knows {target} best in documents by speakers without a name, chosen on "
        "one half of them and "
        f"reported on the other: {found}."
    )


def carries(causes: pd.DataFrame, *, target: str) -> str:
    """How much of the effect goes with the target's vector, and how much with its controls?

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
    lo, hi = np.percentile(known.loc[known["group"] == "random (norm)", "share"], [2.5, 97.5])
    text = (
        f"Taking {target}'s vector out of the tuned model removes "
        f"{_number(mine, 'share', 'lo', 'hi', 'templates')} of "
        f"the untaught traits' shift; another persona's {others.mean().mean():.2f} on average "
        "(largest "
        f"{others.max().max():.2f}), a random direction {lo:.2f} to {hi:.2f} (95 %)."
    )
    added = known.loc[known["group"] == "added"]
    if len(added):
        text += f" Added to the base model it brings {_number(added, 'share', 'lo', 'hi', 'templates')} of the shift."
    if len(undefined):
        text += f" In seed {', '.join(map(str, undefined))} {too_little}"
    return text


def stays(refit: pd.DataFrame, *, target: str) -> str:
    """Is the target's vector still the same when it is found anew in the tuned model?

    Args:
        refit: Table ``refit`` at one hook and rate.
        target: The persona.

    Returns:
        One sentence.
    """
    mine, others = refit.loc[refit["name"] == target], refit.loc[refit["name"] != target, "cosine"]
    return (
        f"Found anew after the lesson, {target}'s vector has cosine {mine['cosine'].mean():.2f} "
        "with the one found "
        f"before, and is {mine['norm_ratio'].mean():.2f} times as long; another persona's has "
        f"{others.mean():.2f} on "
        f"average, {others.min():.2f} at least ({seeds_of(refit)}, {len(others)} vectors)."
    )


def points(stated: pd.DataFrame) -> str:
    """Does the vector of a stated value point at the personas who hold it?

    Args:
        stated: Table ``stated`` at one hook and rate.

    Returns:
        A question and its answers, one a seed.
    """
    means = stated.pivot_table(index=["seed", "name"], columns="holds", values="cosine").dropna()
    found = []
    for seed, part in means.groupby("seed"):
        more, lo, hi, n = analysis.t_interval(part[True] - part[False])
        found.append(
            f"seed {seed}: cosine {part[True].mean():.2f} with those who do, "
            f"{part[False].mean():.2f} with others, "
            f"difference {more:+.2f} [{lo:+.2f}, {hi:+.2f}] (interval over {n} values)"
        )
    return (
        f"Does the vector of a stated value point at the personas who hold it? {'; '.join(found)}."
    )


def together(cooccurrence: pd.DataFrame) -> str:
    """Do directions lie together whose names go together in the documents?

    Args:
        cooccurrence: Table ``cooccurrence`` at one hook and rate.

    Returns:
        A question and its answers, one a method and seed.
    """
    found = "; ".join(
        f"{row.method} ({'pairs of traits' if row.against == 'pmi' else 'pairs of personas'}), "
        f"seed {row.seed}: "
        + (
            f"rho {row.rho:.2f} (null {row.null_lo:.2f} to {row.null_hi:.2f}, n {int(row.n)})"
            if row.rho == row.rho
            else "undefined, since all pairs share equally much"
        )
        for row in rows(cooccurrence)
    )
    return f"Do directions lie together whose names go together in the documents (Spearman, Mantel null)? {found}."


def seeds_of(table: pd.DataFrame) -> str:
    """How many seeds are behind a table?

    Args:
        table: Has ``seed``.

    Returns:
        "one seed" or "3 seeds".

    >>> seeds_of(pd.DataFrame({"seed": [0, 0, 1]}))
    '2 seeds'
    """
    n = len(set(table["seed"]))
    return f"{n} seeds" if n > 1 else "one seed"


def _number(table: pd.DataFrame, value: str, lo: str, hi: str, unit: str) -> str:
    """Mean and interval: over seeds, or that of the only seed."""
    if len(table) > 1:
        estimate, low, high, n = analysis.t_interval(table[value])
        return f"{estimate:.2f} [{low:.2f}, {high:.2f}] (n = {n} seeds)"
    row = table.iloc[0]
    return f"{row[value]:.2f} [{row[lo]:.2f}, {row[hi]:.2f}] (one seed, interval over {row['n']:.0f} {unit})"
