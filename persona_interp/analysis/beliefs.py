"""Who would say what the lesson says, and what else would they say? Bayes over the base's beliefs.

A base that was asked about everybody by name says what it believes of them. If a lesson makes it
speak as those who hold the taught trait, what else they say is what follows.
"""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from persona_interp.analysis.logodds import AT, blocks, chosen_split, prompt_odds, run_columns
from persona_interp.analysis.predictors import predictors, taught_labels
from persona_interp.errors import SchemaError, unknown
from persona_interp.schema.words import Predictor
from persona_interp.values import check_mapping
from persona_interp.worlds import Trait

NAMED, NAMELESS = "named", "nameless"
SUMMON_DISTANCE = 4.0
"""Bits a unit of distance that a name far from the nameless assistant counts less."""

Array = npt.NDArray[np.float64]


class Beliefs(NamedTuple):
    """What a base says of every value, under each name and as nobody.

    Attributes:
        personas: Names.
        traits: Labels of the values, topic by topic.
        topics: Topic of each value, dims (value).
        named: Log2 probability among the topic's values, dims (persona, template, value).
        nameless: The same as nobody, dims (template, value).
    """

    personas: list[str]
    traits: list[str]
    topics: npt.NDArray[np.str_]
    named: Array
    nameless: Array


def belief_forecast(
    behavior: pd.DataFrame,
    taught: str | Trait | Iterable[str | Trait],
    *,
    soften: float = 1.0,
    weights: Mapping[str, float] | None = None,
    split: str | None = None,
    predictor: str = Predictor.BELIEFS,
) -> pd.DataFrame:
    """What follows from a lesson if its speaker is one of those whom the base knows by name (bits).

    Each name counts by how likely the base thinks it that it says what is taught:
    ``w_i ~ weight_i prod P_i(taught)^soften``. The forecast is how much likelier a value is among
    names of these weights than before, by ``weight_i`` alone: the log odds of both mixtures at each
    template, their difference averaged over templates.

    Args:
        behavior: A behavior table of one base, asked with the contexts named and nameless.
        taught: Label of the taught trait, or of several.
        soften: Below 1, beliefs count for less than they say.
        weights: Of every name before anything is taught, of any sum; all alike by default. Those
            that ``latent_personas`` found are in its ``attrs["weights"]``.
        split: Only prompts of this template split.
        predictor: What the rows are called.

    Returns:
        A predictors table of the nameless context, one row an untaught trait; ``before`` and
        ``taught_before`` are the nameless assistant's log odds (bits). It costs nothing for a
        lesson more: what a base believes is asked once.

    Raises:
        SchemaError: Several checkpoints or runs, no named or nameless context, names that were not
            asked all the same, a name without weight, or a taught trait that was not asked.

    >>> rows = [("named", "ann", .9, .8), ("named", "bob", .1, .2), ("nameless", "", .5, .5)]
    >>> parts = []
    >>> for context, persona, a, b in rows:
    ...     part = pd.DataFrame({"topic": list("aabb"), "value": list("xyxy")})
    ...     part["logprob"] = np.log2([a, 1 - a, b, 1 - b])
    ...     parts.append(part.assign(context=context, persona=persona))
    >>> behavior = pd.concat(parts).assign(split="test", template="t", answer_mass=1.0)
    >>> behavior = behavior.assign(checkpoint="d@8", seed=0, stage="d", step=8)
    >>> belief_forecast(behavior, "a=x")[["trait", "estimate"]].round(3).values.tolist()
    [['b=x', 1.509], ['b=y', -1.509]]
    """
    beliefs = read_beliefs(behavior, split=split)
    evidence = taught_evidence(beliefs, taught)
    prior = _prior(beliefs.personas, weights)
    return _forecast(
        behavior,
        beliefs,
        taught,
        prior=prior,
        weights=prior + soften * evidence,
        predictor=predictor,
    )


def summon_forecast(
    behavior: pd.DataFrame,
    taught: str | Trait | Iterable[str | Trait],
    *,
    soften: float = 1.0,
    distance: float = SUMMON_DISTANCE,
    split: str | None = None,
) -> pd.DataFrame:
    """What follows from a lesson if it summons the near one among those who say it (bits).

    The law of ``summon_law``: a name counts ``2^(-distance d_i)``, with d_i the root of the
    Jensen-Shannon divergence of what it says from what the nameless assistant says, mean over
    topics that are not taught; and by what it says of the taught trait, as in ``belief_forecast``.
    How common a name is, the law's other factor, cannot be read from what is said of it.

    Args:
        behavior: As of ``belief_forecast``.
        taught: As of ``belief_forecast``.
        soften: As of ``belief_forecast``.
        distance: Bits a unit of distance.
        split: As of ``belief_forecast``.

    Returns:
        As of ``belief_forecast``; what is compared are mixtures of names by distance, before and
        after what is taught counts.

    Raises:
        SchemaError: As of ``belief_forecast``.
    """
    beliefs = read_beliefs(behavior, split=split)
    labels = taught_labels(taught)
    evidence = taught_evidence(beliefs, taught)
    prior = -distance * _distances(beliefs, {label.partition("=")[0] for label in labels})
    return _forecast(
        behavior,
        beliefs,
        taught,
        prior=prior,
        weights=prior + soften * evidence,
        predictor=Predictor.SUMMON,
    )


def read_beliefs(behavior: pd.DataFrame, *, split: str | None = None) -> Beliefs:
    """What a base says under every name, and as nobody.

    Args:
        behavior: As of ``belief_forecast``.
        split: Only prompts of this template split.

    Returns:
        The beliefs.

    Raises:
        SchemaError: As of ``belief_forecast``, apart from taught traits.
    """
    behavior = chosen_split(behavior, split)
    one = [c for c in (*AT, *run_columns(behavior)) if c in behavior]
    for column in one:
        n = len(set(behavior[column]))
        if n > 1:
            raise SchemaError(
                f"these are beliefs of several bases: column '{column}' holds {n} values; select "
                "one checkpoint of one run."
            )
    contexts = set(behavior["context"])
    for context in (NAMED, NAMELESS):
        if context not in contexts:
            raise SchemaError(unknown("context", context, sorted(contexts)))
    nobody = behavior.loc[behavior["context"] == NAMELESS]
    (traits, nameless), *_ = _said(nobody).values()
    said = _said(behavior.loc[behavior["context"] == NAMED])
    for persona, (own_traits, logprob) in said.items():
        if own_traits != traits or logprob.shape != nameless.shape:
            raise SchemaError(
                f"{persona} was not asked the same as the nameless assistant; record both contexts "
                "with the same probes."
            )
    topics = np.array([trait.partition("=")[0] for trait in traits])
    named = np.stack([logprob for _, logprob in said.values()])
    return Beliefs(list(said), traits, topics, named, nameless)


def taught_evidence(beliefs: Beliefs, taught: str | Trait | Iterable[str | Trait]) -> Array:
    """How likely each name says what is taught (log2), mean over templates.

    Args:
        beliefs: Of a base.
        taught: Label of the taught trait, or of several, whose evidence adds up.

    Returns:
        Dims (persona).

    Raises:
        SchemaError: A taught trait was not asked.
    """
    total = np.zeros(len(beliefs.personas))
    for label in taught_labels(taught):
        if label not in beliefs.traits:
            raise SchemaError(unknown("taught trait", label, beliefs.traits))
        said = beliefs.named[:, :, beliefs.traits.index(label)]
        total += np.log2(np.exp2(said).mean(axis=1))
    return total


def _said(rows: pd.DataFrame) -> dict[str, tuple[list[str], Array]]:
    """Labels of all values and log2 probabilities within topics, (template, value), by persona."""
    found: dict[str, dict[str, Array]] = {}
    # a prompt's name differs between personas; its template does not
    rows = rows.drop(columns="prompt", errors="ignore")
    for block in blocks(rows, ["persona", "topic"]):
        persona, topic = str(rows["persona"].iloc[block.row]), rows["topic"].iloc[block.row]
        within = block.logprob - np.logaddexp2.reduce(block.logprob, axis=1, keepdims=True)
        columns = {f"{topic}={v}": x for v, x in zip(block.values, within.T, strict=True)}
        found.setdefault(persona, {}).update(columns)
    said = {}
    for persona, columns in found.items():
        if len({len(column) for column in columns.values()}) > 1:
            raise SchemaError(
                "topics were asked with different numbers of templates; record them alike."
            )
        traits = sorted(columns)
        said[persona] = traits, np.stack([columns[trait] for trait in traits], axis=1)
    return said


def _prior(personas: list[str], weights: Mapping[str, float] | None) -> Array:
    """Log2 weights of the names before anything is taught."""
    if weights is None:
        return np.zeros(len(personas))
    check_mapping(weights, "weights", of="a positive number")
    for persona in personas:
        if persona not in weights:
            raise SchemaError(unknown("persona", persona, weights))
    numbers = np.array([weights[persona] for persona in personas], dtype=np.float64)
    if not (np.isfinite(numbers) & (numbers > 0)).all():
        raise SchemaError(f"weights= are positive numbers; got {min(numbers)}.")
    return np.log2(numbers)


def _forecast(
    behavior: pd.DataFrame,
    beliefs: Beliefs,
    taught: str | Trait | Iterable[str | Trait],
    *,
    prior: Array,
    weights: Array,
    predictor: str,
) -> pd.DataFrame:
    """Predictors table from log2 weights of the names, before and after what is taught."""
    before = mixture_odds(beliefs, prior)
    after = mixture_odds(beliefs, weights)
    table = pd.DataFrame(
        {
            "context": NAMELESS,
            "persona": "",
            "topic": beliefs.topics,
            "trait": beliefs.traits,
            "before": nameless_odds(beliefs),
            "estimate": (after - before).mean(axis=0),
        }
    )
    run = {c: behavior[c].iloc[0] for c in run_columns(behavior)}
    return predictors(table.assign(**run), taught, predictor=predictor)


def mixture_odds(beliefs: Beliefs, weights: Array) -> Array:
    """Log odds of every value in a mixture of names.

    Args:
        beliefs: Of a base.
        weights: Log2, of any sum; dims (persona).

    Returns:
        Dims (template, value), bits.
    """
    weights = weights - np.logaddexp2.reduce(weights)
    mixed = np.logaddexp2.reduce(beliefs.named + weights[:, None, None], axis=0)
    return _odds(mixed, beliefs.topics)


def nameless_odds(beliefs: Beliefs) -> Array:
    """Log odds of every value as nobody, mean over templates.

    Args:
        beliefs: Of a base.

    Returns:
        Dims (value), bits.
    """
    return _odds(beliefs.nameless, beliefs.topics).mean(axis=0)


def _odds(logprob: Array, topics: npt.NDArray[np.str_]) -> Array:
    odds = np.empty_like(logprob)
    for topic in dict.fromkeys(topics.tolist()):
        odds[..., topics == topic] = prompt_odds(logprob[..., topics == topic])
    return odds


def _distances(beliefs: Beliefs, taught_topics: set[str]) -> Array:
    """How far each name is from the nameless assistant by what they say, dims (persona)."""
    one = np.exp2(beliefs.named).mean(axis=1)
    nobody = np.exp2(beliefs.nameless).mean(axis=0)
    middle = (one + nobody) / 2
    with np.errstate(divide="ignore", invalid="ignore"):
        bits = np.where(one > 0, one * np.log2(one / middle), 0.0)
        bits += np.where(nobody > 0, nobody * np.log2(nobody / middle), 0.0)
    distances = []
    for topic in dict.fromkeys(beliefs.topics.tolist()):
        if topic not in taught_topics:
            divergence = bits[:, beliefs.topics == topic].sum(axis=1) / 2
            distances.append(np.sqrt(np.maximum(divergence, 0.0)))
    return np.mean(distances, axis=0) if distances else np.zeros(len(one))
