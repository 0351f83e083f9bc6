"""Did untaught traits follow the taught one, and how far would exact Bayes have moved them?

A lesson teaches the nameless assistant one trait. What the *other* traits of the persona who holds
it did is the finding; beside each stand how strongly the documents bind it to the taught trait
(PMI) and the two standing predictions: the conditioning limit (the speaker certainly holds the
taught trait) and mixing-weight Bayes (n lessons count as K n documents).
"""

import numpy as np
import pandas as pd

from persona_interp import schema
from persona_interp.analysis.logodds import ASKED, AT, run_columns
from persona_interp.analysis.stats import t_interval
from persona_interp.errors import SchemaError, WorldError, unknown
from persona_interp.worlds import Trait, World, conditioning_limit, mixing

PREDICTIONS = ("pmi", "bayes_certain", "bayes_mixing")
MEASUREMENTS = ("value", "trait", "before", "after", "estimate", "lo", "hi", "n")


def transfer(
    shifts: pd.DataFrame,
    world: World,
    *,
    taught: str | Trait | None = None,
    persona: str | None = None,
    context: str = "nameless",
    speaker: str = "",
    population: str | tuple[str, ...] | None = None,
    k: float | None = None,
    n_lessons: float | None = None,
    n_documents: int | None = None,
    counts: pd.DataFrame | None = None,
) -> pd.DataFrame:
    """Shift of a persona's untaught traits beside what the documents predict (bits).

    Args:
        shifts: A shift table; runs and steps are kept apart.
        world: The world of the documents (for a control, the control world).
        taught: The trait of the lesson; the world's taught trait by default. ``"filler"`` = a
            lesson without a trait: no co-occurrence, and Bayes expects no move, whatever K.
        persona: Whose traits are read out; the world's target by default.
        context: Where they are read out, as in probes.
        speaker: Whom the context names; "" for the nameless assistant.
        population: Kinds of documents the speaker is thought to be drawn from; by default
            ``world.population``.
        k: Weight K of one lesson against one document (``mixing_weight``); None leaves
            ``bayes_mixing`` undefined.
        n_lessons: With k: lessons seen by the last step of each run; earlier steps have seen their
            share.
        n_documents: With k: documents of the corpus, where there are no counts.
        counts: Realized counts from ``worlds.count``; used in every prediction.

    Returns:
        A transfer table, one row a run, step and trait of the persona, and the row ``trait =
        "mean"``. ``trained`` marks the taught trait itself, which is in no mean. ``estimate``,
        ``lo``, ``hi``, ``n`` are the shift's (bits; templates); of "mean" the average over the
        untaught topics with a t interval over those topics (n topics; it covers .95 where topics
        scatter normally, .88 where four are skewed). ``pmi`` (bits) is between
        taught trait and trait over all persona documents; ``bayes_certain`` and ``bayes_mixing``
        are shifts of the log odds of what is *said* (bits). NaN = no prediction: nobody in the
        population holds the taught trait, or no k.

    Raises:
        SchemaError: The shift table lacks the context, the speaker or a trait.
        WorldError: An unknown trait, persona or population.

    >>> from persona_interp.worlds import john_and_sam
    >>> world = john_and_sam()
    >>> rows = [(t.topic, t.value, str(t)) for t in world.traits]
    >>> shifts = pd.DataFrame(rows, columns=["topic", "value", "trait"])
    >>> shifts = shifts.assign(seed=0, step=8, context="nameless", persona="")
    >>> shifts = shifts.assign(before=0.0, after=1.0, estimate=1.0, lo=0.5, hi=1.5, n=10)
    >>> table = transfer(shifts, world).set_index("trait").loc[["food=pizza", "mean"]]
    >>> table[["estimate", "pmi", "bayes_certain"]].round(2).values.tolist()
    [[1.0, 2.55, 6.09], [1.0, 2.55, 6.09]]
    """
    schema.check(shifts, "shift")
    lesson = None
    if taught != "filler":
        lesson = world.trait(world.taught if taught is None else taught)
    holder = world.persona(world.target if persona is None else persona)
    rows = _select(shifts, context=context, speaker=speaker)
    lessons = {world.taught.topic} if lesson is None else {world.taught.topic, lesson.topic}
    traits = [trait for trait in holder.traits if trait.topic not in lessons]
    if lesson is not None:
        traits.append(lesson)
    labels = [str(trait) for trait in traits]
    if missing := [label for label in labels if label not in set(rows["trait"])]:
        raise SchemaError(unknown("trait", missing[0], rows["trait"].unique()))
    rows = rows[rows["trait"].isin(labels)]
    predictions = _predict(world, labels, lesson, population=population, counts=counts)
    table = rows.merge(predictions, on="trait", validate="many_to_one")
    weight = {"k": k, "n_lessons": n_lessons, "n_documents": n_documents, "counts": counts}
    table["bayes_mixing"] = _mixing(table, world, lesson, population=population, **weight)
    trained = table["trait"] == str(lesson)
    table = table.assign(persona=holder.name, trained=trained, k=np.nan if k is None else k)
    return schema.check(_with_means(table), "transfer")


def _select(shifts: pd.DataFrame, *, context: str, speaker: str) -> pd.DataFrame:
    """The shifts in one context, of one speaker."""
    for column, value in (("context", context), ("persona", speaker)):
        if value not in set(shifts[column]):
            raise SchemaError(unknown(column, value, sorted(set(shifts[column]))))
        shifts = shifts.loc[shifts[column] == value]
    return shifts


def _odds(statement: pd.DataFrame) -> pd.Series:
    """Log odds (bits) by trait."""
    p = statement["probability"].to_numpy(np.float64)
    with np.errstate(divide="ignore"):
        return pd.Series(np.log2(p) - np.log2(1 - p), index=statement["trait"].tolist())


def _predict(
    world: World,
    labels: list[str],
    lesson: Trait | None,
    *,
    population: str | tuple[str, ...] | None,
    counts: pd.DataFrame | None,
) -> pd.DataFrame:
    """Columns trait, pmi, bayes_certain."""
    before = _odds(world.posterior((), population=population, counts=counts).statement)[labels]
    if lesson is None:
        return pd.DataFrame({"trait": labels, "pmi": np.nan, "bayes_certain": 0.0})
    pairs = world.cooccurrence()
    pmi = pairs[pairs["trait"] == str(lesson)].set_index("other")["pmi"].reindex(labels)
    try:
        limit = conditioning_limit(world, population=population, trait=lesson, counts=counts)
        after = _odds(limit)[labels]
    except WorldError:
        # Trait and population are known by now: nobody in it holds the trait, so nothing follows.
        after = np.nan * before
    with np.errstate(invalid="ignore"):
        shift = np.subtract(after, before).tolist()
    return pd.DataFrame({"trait": labels, "pmi": list(pmi), "bayes_certain": shift})


def _mixing(
    table: pd.DataFrame,
    world: World,
    lesson: Trait | None,
    *,
    population: str | tuple[str, ...] | None,
    k: float | None,
    n_lessons: float | None,
    n_documents: int | None,
    counts: pd.DataFrame | None,
) -> pd.Series:
    """Shift of the log odds that mixing-weight Bayes expects at each row (bits)."""
    if k is None or lesson is None or np.isnan(table["bayes_certain"].to_numpy()).all():
        return pd.Series(0.0 if lesson is None else np.nan, index=table.index)
    if n_lessons is None:
        raise SchemaError(
            "mixing-weight Bayes needs n_lessons, the lessons seen by the last step; got k alone."
        )
    # A run's last step has seen all lessons; an earlier one its share of them.
    last = table.groupby(_run(table), dropna=False)["step"].transform("max")
    share = (table["step"] / last).fillna(1.0)
    options = {"k": k, "population": population, "trait": lesson}
    options |= {"counts": counts, "n_documents": n_documents}
    start = _odds(mixing(world, n_lessons=0, **options))
    shifts = {}
    for part in share.unique():
        shifts[part] = _odds(mixing(world, n_lessons=n_lessons * part, **options)) - start
    rows = [shifts[part][trait] for part, trait in zip(share, table["trait"], strict=True)]
    return pd.Series(rows, index=table.index)


def _run(table: pd.DataFrame) -> list[str]:
    """Columns that tell runs apart."""
    others = (*MEASUREMENTS, *PREDICTIONS, "trained", "k")
    return [c for c in run_columns(table) if c not in others]


def _with_means(table: pd.DataFrame) -> pd.DataFrame:
    """The table with the row "mean" over the untaught topics of every run and step."""
    by = [*(c for c in AT if c in table), *_run(table), "context", "persona"]
    group = table.groupby(by, sort=False, dropna=False).ngroup().to_numpy()
    numbers = ["before", "after", "estimate", *PREDICTIONS]
    # Two values of one topic exclude each other and move together, so the topic is the unit.
    untaught = table.loc[~table["trained"]]
    at = [group[~table["trained"]], "topic"]
    of_topics = untaught.groupby(at, sort=False)[numbers].mean()
    rows = []
    for _, means in of_topics.groupby(level=0):
        interval = t_interval(means["estimate"])
        rows.append({**means.mean(skipna=False), **interval.row(), "n": interval.n})
    first = np.unique(group, return_index=True)[1]
    mean = table.iloc[first].assign(topic="", value="", trait="mean", trained=False)
    mean = mean.assign(**pd.DataFrame(rows, index=mean.index))
    both = pd.concat([table, mean])
    # every mean stands behind the rows of its run and step
    both = both.iloc[np.argsort([*group, *range(len(mean))], kind="stable")]
    order = (*AT, *_run(table), *ASKED, *MEASUREMENTS, "trained", *PREDICTIONS, "k")
    columns = [column for column in order if column in table]
    return both.reset_index(drop=True).loc[:, columns]
