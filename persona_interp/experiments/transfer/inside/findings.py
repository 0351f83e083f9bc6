"""What happened inside of the models, in words: towards whom, known and carried by what?

As in ``findings``: sentences are made from tables, every number with its interval and n, every
effect beside all its controls, those that speak against it too. A single seed is described and
claims nothing.
"""

import math

import pandas as pd

from persona_interp import analysis
from persona_interp.experiments.transfer.findings import stands
from persona_interp.experiments.transfer.inside.config import (
    ADDED_PATCH,
    GROUPS,
    NO_RIVALS,
    PATCH,
    TOP,
    VECTOR,
)
from persona_interp.plots.columns import distinct
from persona_interp.report.rows import Row, rows
from persona_interp.schema.words import ALPHA, Unit

MEASURES = {
    "share": ("Of the shift, edits of the tuned model remove", ""),
    "share_net": ("Net of what the same edits do to the base they remove", ", net of the base"),
}
"""Number of an edit that is compared with those of its rivals, and how that is said."""
BESIDE = ["difference", "held_out"]
"""Columns of a rivals table that say how the edit stands beside them."""


def towards(directions: pd.DataFrame, chance: pd.DataFrame, *, arm: str, target: str) -> list[str]:
    """How far the residuals of neutral prompts moved towards the target, beside everybody else.

    Args:
        directions: Table ``directions`` at one hook and rate.
        chance: Table ``chance`` there; may be empty, where causes are not finished.
        arm: The arm that makes the claim; all others are controls.
        target: The persona.

    Returns:
        Sentences: the claim's arm, every control lesson, and what may be claimed.
    """
    vectors = directions.loc[directions["method"] == VECTOR]
    mine = vectors.loc[vectors["name"] == target]
    lesson = mine.loc[mine["arm"] == arm]
    along = _number(lesson, "projection", "projection_lo", "projection_hi", "prompts")
    random = _random(chance.loc[chance["arm"] == arm]) if len(chance) else ""
    sentences = [
        f"{arm.capitalize()}: the mean shift of neutral prompts has cosine "
        f"{_number(lesson, 'cosine', 'lo', 'hi', 'prompts')} with {target}'s vector "
        f"({_place(vectors, arm, target)}){random}, "
        f"and went {along} of that vector's length along it."
    ]
    controls = [name for name in distinct(mine["arm"]) if name != arm]
    parts = []
    for name in controls:
        cosine = _number(mine.loc[mine["arm"] == name], "cosine", "lo", "hi", "prompts")
        parts.append(f"{name} {cosine} ({_place(vectors, name, target)})")
    if parts:
        sentences.append(f"The same after control lessons: {'; '.join(parts)}.")
    own = lesson.set_index("seed")["cosine"]
    differences = {
        "that with the best other persona's": own - lesson.set_index("seed")["best_other"]
    }
    if controls:
        most = mine.loc[mine["arm"] != arm].groupby("seed")["cosine"].max()
        differences["that after the control lesson with the largest"] = own - most
    if len(chance):
        ends = chance.loc[chance["arm"] == arm].groupby("seed")["hi"].max()
        differences["97.5 % of random directions of either kind"] = own - ends
    return [*sentences, stands(f"the cosine with {target}'s vector", differences)]


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
        f"The feature that knows {target} best in documents by speakers without a name, chosen on "
        f"train documents about some topics, reported on test documents about others: {features}."
    )


def knows_beside(pairs: pd.DataFrame) -> str:
    """How much better or worse the top feature knows the target's documents than other readouts.

    Args:
        pairs: Table ``pairs`` at one hook and rate.

    Returns:
        One sentence that names every other readout.
    """
    mine = pairs.loc[pairs["method"] == TOP]
    parts = []
    for other, part in mine.groupby("other", sort=False):
        estimate, lo, hi = part[["estimate", "lo", "hi"]].iloc[0]
        if len(part) > 1:
            estimate, lo, hi, _ = analysis.stats.t_interval(part["estimate"])
        parts.append(f"{other} {estimate:+.2f} [{lo:+.2f}, {hi:+.2f}]")
    over = "documents, paired" if mine["seed"].nunique() == 1 else "seeds"
    return (
        f"On the same documents its AUROC minus that of other readouts is: {', '.join(parts)} "
        f"({seeds_of(mine)}, 95 % intervals over {over})."
    )


def carries(causes: pd.DataFrame, *, target: str) -> list[str]:
    """How much of the effect goes with the target's vector, and with everything else.

    Every group of edits in the table is spoken of, with its smallest and its largest member: no
    row that speaks against the vector can be left out.

    Args:
        causes: Table ``causes`` at one hook and rate.
        target: The persona.

    Returns:
        Sentences: the vector, its rivals, what may be claimed, and the same net of what the edits
        do to the base. Seeds whose lesson moved too little for a share are named and in no number.
    """
    undefined = causes.loc[(causes["edit"] == VECTOR) & causes["share"].isna(), "seed"]
    too_little = "the lesson moved the untaught traits too little for a share of it to be removed."
    known = causes.loc[~causes["seed"].isin(undefined)]
    mine = known.loc[known["edit"] == VECTOR]
    if mine.empty:
        return [too_little[0].upper() + too_little[1:]]
    share = _number(mine, "share", "lo", "hi", "templates")
    sentences = [
        f"Taking {target}'s {VECTOR} vector out of the tuned model removes {share} of the untaught "
        f"traits' shift. {_of_patch(known, mine)} {_of_base(mine)}"
    ]
    rivals = known.loc[~known["group"].isin(NO_RIVALS)]
    for measure, (beside, net) in MEASURES.items():
        table = analysis.rivals(rivals, edit=VECTOR, measure=measure)
        if table.empty:
            continue
        groups = "; ".join(_group(part) for _, part in table.groupby("group", sort=False))
        sentences.append(f"{beside}: {groups}.")
        differences = {
            f"the most of {GROUPS.get(str(group), str(group))}": part.set_index("seed")[BESIDE]
            for group, part in table.groupby("group", sort=False)
        }
        sentences.append(stands(f"what {target}'s {VECTOR} vector removes{net}", differences))
    if len(undefined):
        sentences.append(f"In seed {', '.join(map(str, undefined))} {too_little}")
    return sentences


def brings(causes: pd.DataFrame, *, target: str) -> list[str]:
    """How much of the effect comes when the target's vector is added to the base, beside others'.

    Args:
        causes: Table ``causes`` at one hook and rate.
        target: The persona.

    Returns:
        Sentences, none where nothing was added or the lesson moved too little.
    """
    known = causes.loc[causes["share"].notna()]
    added, others = (known.loc[known["group"] == group] for group in ("added", "added persona"))
    if added.empty:
        return []
    share = _number(added, "share", "lo", "hi", "templates")
    net = _number(added, "share_net", "share_net_lo", "share_net_hi", "templates")
    most = _mean(known.loc[known["edit"] == ADDED_PATCH], "share")
    text = (
        f"Added to the base model, {target}'s vector brings {share} of the shift (the tuned "
        f"model's whole residual {most}); net of what it adds to the tuned model {net}."
    )
    name = str(added["edit"].iloc[0])
    table = analysis.rivals(pd.concat([added, others]), edit=name)
    if table.empty:
        return [text]
    difference = {"the most of other personas' vectors": table.set_index("seed")[BESIDE]}
    beside = f"Other personas' vectors bring {_group(table).removeprefix('added persona ')}."
    return [f"{text} {beside}", stands(f"what {target}'s vector brings", difference)]


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
    verdict = "" if row.q <= ALPHA else ": no discovery"
    return (
        f"seed {row.seed}: feature {int(row.feature)}, "
        f"AUROC {row.auroc:.2f} [{row.lo:.2f}, {row.hi:.2f}] (about the topics chosen on "
        f"{row.auroc_same:.2f}; exact Bayes {row.bayes:.2f}), "
        f"q {row.q:.2g} among {int(row.n_tested)} tests{verdict}, fvu {row.fvu:.2g}"
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


def _place(vectors: pd.DataFrame, arm: str, target: str) -> str:
    """Rank of the target among all personas after one arm's lesson, and who is next or before."""
    rows_of_arm = vectors.loc[vectors["arm"] == arm]
    ranks = rows_of_arm.loc[rows_of_arm["name"] == target, "rank"]
    others = rows_of_arm.loc[rows_of_arm["name"] != target].sort_values("rank", kind="stable")
    best = others.drop_duplicates("seed").sort_values("seed")
    names = ", ".join(f"{row.name} {row.cosine:.2f}" for row in rows(best))
    place = f"rank {', '.join(str(int(rank)) for rank in ranks)}"
    return f"{place} of {rows_of_arm['name'].nunique()} personas; best other {names}"


def _random(chance: pd.DataFrame) -> str:
    """Clause on where random directions lie, of every kind that was drawn."""
    clauses = []
    for match, part in chance.groupby("match", sort=False):
        ends = f"{part['lo'].mean():.2f} to {part['hi'].mean():.2f}"
        clauses.append(f"95 % of {max(part['n'])} {GROUPS[str(match)]} lie at {ends}")
    return f", where {' and '.join(clauses)}"


def _of_patch(causes: pd.DataFrame, mine: pd.DataFrame) -> str:
    """Sentence on what patching the whole residual removes, and the vector's share of that."""
    patch = _mean(causes.loc[causes["edit"] == PATCH], "share")
    text = f"Putting the base's whole residual back at this hook removes {patch}"
    if any(mine["share_of_patch"].isna()):
        return f"{text}."
    share = _number(mine, "share_of_patch", "share_of_patch_lo", "share_of_patch_hi", "templates")
    return f"{text}: it is {share} of that."


def _of_base(mine: pd.DataFrame) -> str:
    """Sentence on what the same edit does to the base."""
    if any(mine["share_net"].isna()):
        return "The base was not edited."
    change = (mine["other_edited"] - mine["base"]).mean()
    net = _number(mine, "share_net", "share_net_lo", "share_net_hi", "templates")
    return (
        f"The same edit moves the base by {change:+.2f} {Unit.BITS}; net of that {net} of the "
        "shift is removed."
    )


def _group(rivals: pd.DataFrame) -> str:
    """Clause on one group of edits: its smallest, its largest, its mean, and the vector's rank."""
    label = GROUPS.get(str(rivals["group"].iloc[0]), str(rivals["group"].iloc[0]))
    n = max(rivals["n"])
    least, most = rivals.loc[rivals["least"].idxmin()], rivals.loc[rivals["most"].idxmax()]
    ranks = ", ".join(str(int(rank)) for rank in rivals["rank"])
    ends = (
        f"{least['least']:.2f} ({least['least_edit']}) to {most['most']:.2f} ({most['most_edit']})"
    )
    if n == 1 and len(rivals) == 1:
        ends = f"{most['most']:.2f} ({most['most_edit']})"
    return f"{label} {ends}, mean {rivals['mean'].mean():.2f} (rank {ranks} of {n + 1})"


def _mean(table: pd.DataFrame, value: str) -> str:
    """Mean of a column over seeds, or that it is not known."""
    return f"{table[value].mean():.2f}" if len(table) else "an unknown share"


def _number(table: pd.DataFrame, value: str, lo: str, hi: str, unit: str) -> str:
    """Mean and interval: over seeds, or that of the only seed."""
    if len(table) > 1:
        estimate, low, high, n = analysis.stats.t_interval(table[value])
        return f"{estimate:.2f} [{low:.2f}, {high:.2f}] (n = {n} seeds)"
    row = table.iloc[0]
    interval = f"[{row[lo]:.2f}, {row[hi]:.2f}]"
    return f"{row[value]:.2f} {interval} (one seed, interval over {row['n']:.0f} {unit})"
