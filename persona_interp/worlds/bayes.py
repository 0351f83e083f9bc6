"""What would an ideal reader of the documents believe?

A speaker is drawn from a *population* of document kinds. In a coherent kind the speaker is one
persona, and statements are independent given the persona. In an incoherent kind every statement
comes from an independently drawn persona, so evidence says nothing about the rest. So the
population is a mixture of components (each persona; each incoherent kind) and exact Bayes is:
component weight times the probability of the evidence under it, normalized. The ``statement``
tables hold noise and are what a model is compared with.

Two predictions stand beside every finetune: ``conditioning_limit`` (the speaker certainly holds the
taught trait) and ``mixing`` (n lessons count as K n further documents by speakers who hold it).
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd

from persona_interp.errors import WorldError, unknown
from persona_interp.worlds.corpus import chosen_kinds
from persona_interp.worlds.language import PERSONA_KINDS
from persona_interp.worlds.trait import Trait

if TYPE_CHECKING:
    from persona_interp.worlds.world import World

Kinds = str | Iterable[str]


@dataclass(frozen=True)
class Certain:
    """Evidence that the speaker holds this trait: a statement without noise."""

    trait: Trait


def certain(trait: str | Trait) -> tuple[Certain, ...]:
    """Evidence that a speaker certainly holds a trait.

    Args:
        trait: A trait or its label.

    Returns:
        Evidence for ``World.posterior``; add several with ``+``.

    >>> certain("place=beach")
    (Certain(trait=Trait(topic='place', value='beach')),)
    """
    return (Certain(Trait.parse(trait)),)


class Posterior(NamedTuple):
    """Belief of an ideal reader about a speaker.

    Attributes:
        persona: ``persona``, ``probability``; NaN where the population never shows the persona
            (undefined, not 0).
        view: ``topic``, ``value``, ``trait``, ``probability`` that the speaker's view on the topic
            is this value.
        statement: The same columns; ``probability`` that the speaker's next statement on the topic
            says this value.
    """

    persona: pd.DataFrame
    view: pd.DataFrame
    statement: pd.DataFrame


class _Mixture(NamedTuple):
    """Components of a population, each a kind of speaker, with their mass."""

    mass: np.ndarray  # [component]
    persona: np.ndarray  # [component, persona]: probability of being this persona
    view: np.ndarray  # [component, trait]: probability of holding it, within its topic
    statement: np.ndarray  # [component, trait]: probability of saying it, within its topic


def _mixture(world: "World", population: Kinds | None, counts: pd.DataFrame | None) -> _Mixture:
    kinds = chosen_kinds(population, valid=PERSONA_KINDS)
    expected = world.mass()
    names, shares = list(expected.index), expected.to_numpy()
    if counts is None:
        mass = {kind: shares[:, i] for i, kind in enumerate(PERSONA_KINDS)}
        totals = {kind: float(m.sum()) for kind, m in mass.items()}
    else:
        mass, totals = _count_documents(counts, names)
    # Over all coherent kinds together a persona is one component: a document shows who speaks in
    # it, not of which kind the speaker is.
    coherent = [mass[kind] for kind in kinds if world.coherent[kind]]
    masses = [sum(coherent, start=np.zeros(len(names)))]
    personas = [np.eye(len(names))]
    # An incoherent kind is one component: each statement draws its own speaker, so a statement
    # says nothing about the next, and all of them have the mean probabilities.
    for kind in kinds:
        share = shares[:, PERSONA_KINDS.index(kind)]
        if not world.coherent[kind] and share.sum() > 0:
            masses.append(np.array([totals[kind]]))
            personas.append((share / share.sum())[None])
    weight, persona = np.concatenate(masses), np.vstack(personas)
    if weight.sum() <= 0:
        raise WorldError(
            f"nobody speaks in documents of kind {', '.join(kinds)}; name a population of positive "
            "mass."
        )
    view, statement = world.views().to_numpy(), world.statements().to_numpy()
    return _Mixture(weight, persona, persona @ view, persona @ statement)


def _count_documents(
    counts: pd.DataFrame, names: list[str]
) -> tuple[dict[str, np.ndarray], dict[str, float]]:
    """Documents by kind: of every persona, and in all."""
    if missing := [c for c in ("persona", "kind", "documents") if c not in counts.columns]:
        raise WorldError(f"counts come from count(corpus); the column {missing[0]} is missing.")
    mass: dict[str, np.ndarray] = {kind: np.zeros(len(names)) for kind in PERSONA_KINDS}
    totals: dict[str, float] = dict.fromkeys(PERSONA_KINDS, 0.0)
    rows = zip(counts["persona"], counts["kind"], counts["documents"], strict=True)
    for persona, kind, n in rows:
        if kind not in totals:
            continue  # filler and lessons are nobody's
        totals[kind] += n
        if not persona:
            continue  # every statement has its own speaker
        if persona not in names:
            raise WorldError(
                f"these counts are of another world: {unknown('persona', persona, names)}"
            )
        mass[kind][names.index(persona)] += n
    return mass, totals


def _as_list(evidence: Any) -> list[Any]:
    """Evidence, or one document of it, as a list; a single statement is a list of one."""
    if isinstance(evidence, str | Trait | Certain):
        return [evidence]
    return list(evidence)


def _condition(world: "World", mixture: _Mixture, evidence: Any) -> np.ndarray:
    """Posterior probability of every component."""
    documents = _as_list(evidence)
    columns = {trait: i for i, trait in enumerate(world.traits)}
    # Bayes in log2, where a product of many small probabilities does not underflow. Statements
    # are independent given the component, so it does not matter how documents group them.
    with np.errstate(divide="ignore"):
        bits = np.log2(mixture.mass)
        for document in documents:
            for item in _as_list(document):
                if isinstance(item, Certain):
                    trait, probability = item.trait, mixture.view
                else:
                    trait, probability = item, mixture.statement
                bits = bits + np.log2(probability[:, columns[world.trait(trait)]])
    if not np.isfinite(bits.max()):
        raise WorldError(
            "this evidence has probability 0 in the population, so no belief follows from it: "
            f"{documents}. Name a population in which somebody holds it, or give the world some "
            "noise."
        )
    odds = np.exp2(bits - bits.max())
    return odds / odds.sum()


def _table(world: "World", probability: np.ndarray) -> pd.DataFrame:
    traits = world.traits
    return pd.DataFrame(
        {
            "topic": [t.topic for t in traits],
            "value": [t.value for t in traits],
            "trait": [str(t) for t in traits],
            "probability": probability,
        }
    )


def _speakers(mixture: _Mixture, weight: np.ndarray) -> np.ndarray:
    """Probability of every persona; NaN where the population never shows the persona."""
    speaks = mixture.mass @ mixture.persona > 0
    return np.where(speaks, weight @ mixture.persona, np.nan)


def speakers(
    world: "World", documents: Iterable[Iterable[Any]], *, population: Kinds | None = None
) -> np.ndarray:
    """Belief of an ideal reader about the speaker of every document, each on its own.

    Args:
        world: The world that wrote the documents.
        documents: Statements of each, traits or labels.
        population: Kinds of documents that they are of; ``world.population`` by default.

    Returns:
        Probability, dims (document, persona); NaN where the population never shows the persona.

    Raises:
        WorldError: Statements that nobody of the population makes.

    >>> from persona_interp.worlds import john_and_sam
    >>> speakers(john_and_sam(), [["sport=football"], ["place=beach"]]).shape
    (2, 16)
    """
    if population is None:
        population = world.population
    mixture = _mixture(world, population, None)
    rows = [_speakers(mixture, _condition(world, mixture, [said])) for said in documents]
    return np.stack(rows)


def posterior(
    world: "World",
    evidence: str | Trait | Certain | Iterable[Any] = (),
    *,
    population: Kinds | None = None,
    counts: pd.DataFrame | None = None,
) -> Posterior:
    """Belief of an ideal reader about a speaker after some evidence. See ``World.posterior``."""
    if population is None:
        population = world.population
    mixture = _mixture(world, population, counts)
    weight = _condition(world, mixture, evidence)
    persona = pd.DataFrame(
        {"persona": [p.name for p in world.personas], "probability": _speakers(mixture, weight)}
    )
    view = _table(world, weight @ mixture.view)
    statement = _table(world, weight @ mixture.statement)
    return Posterior(persona, view, statement)


def conditioning_limit(
    world: "World",
    *,
    population: Kinds | None = None,
    trait: str | Trait | None = None,
    counts: pd.DataFrame | None = None,
) -> pd.DataFrame:
    """Probability of each statement of the assistant if it certainly held the taught trait.

    Args:
        world: The world.
        population: Kinds of documents the assistant is thought to be drawn from; by default
            ``world.population``.
        trait: What was taught; the world's taught trait by default.
        counts: Realized counts from ``count``; expected masses by default.

    Returns:
        ``topic``, ``value``, ``trait``, ``probability`` of being said.

    >>> from persona_interp.worlds import john_and_sam
    >>> table = conditioning_limit(john_and_sam()).set_index("trait")["probability"]
    >>> round(float(table["sport=football"]), 4)
    0.9125
    """
    evidence = certain(world.taught if trait is None else trait)
    return posterior(world, evidence, population=population, counts=counts).statement


def mixing(
    world: "World",
    *,
    k: float,
    n_lessons: float,
    population: Kinds | None = None,
    trait: str | Trait | None = None,
    counts: pd.DataFrame | None = None,
    n_documents: int | None = None,
) -> pd.DataFrame:
    """Probability of each statement of the assistant if n lessons counted as K n documents.

    The documents are by speakers who hold the taught trait: ``P(p) = (m_p + K n P(p | taught
    trait)) / (M + K n)``, with m_p and M documents of the population.

    Args:
        world: The world.
        k: Weight K of one lesson against one document.
        n_lessons: Number of lessons n.
        population: Kinds of documents the assistant is thought to be drawn from; by default
            ``world.population``.
        trait: What was taught; the world's taught trait by default.
        counts: Realized counts from ``count``.
        n_documents: Documents of the whole corpus, where there are no counts: expected masses are
            used.

    Returns:
        ``topic``, ``value``, ``trait``, ``probability`` of being said.

    Raises:
        WorldError: Not exactly one of counts and n_documents is given, or k or n_lessons is
            negative.

    >>> from persona_interp.worlds import john_and_sam
    >>> table = mixing(john_and_sam(), k=0, n_lessons=640, n_documents=30_000)
    >>> round(float(table.set_index("trait").loc["sport=football", "probability"]), 4)
    0.1325
    """
    if (counts is None) == (n_documents is None):
        raise WorldError(
            "mixing needs the size of the corpus: give either counts, from count(corpus), or "
            "n_documents."
        )
    if k < 0 or n_lessons < 0:
        raise WorldError(
            f"K and the number of lessons are zero or more; got k={k}, n_lessons={n_lessons}."
        )
    if population is None:
        population = world.population
    mixture = _mixture(world, population, counts)
    # Realized counts are documents already; expected masses are shares of n_documents.
    documents = mixture.mass * (n_documents or 1.0)
    evidence = certain(world.taught if trait is None else trait)
    lesson = _condition(world, mixture, evidence)
    weight = (documents + k * n_lessons * lesson) / (documents.sum() + k * n_lessons)
    return _table(world, weight @ mixture.statement)


def cooccurrence(world: "World", *, kinds: Kinds | None = None) -> pd.DataFrame:
    """Pointwise mutual information of traits, in bits. See ``World.cooccurrence``."""
    mixture = _mixture(world, kinds, None)
    weight, statement = mixture.mass / mixture.mass.sum(), mixture.statement
    marginal = weight @ statement
    # Statements are independent given the component: the joint is the mean of the products.
    with np.errstate(divide="ignore", invalid="ignore"):
        joint = statement.T @ (weight[:, None] * statement)
        pmi = np.log2(joint / np.outer(marginal, marginal))
    topics = np.array([t.topic for t in world.traits])
    labels = np.array([str(t) for t in world.traits], dtype=object)
    trait, other = np.nonzero(topics[:, None] != topics)
    return pd.DataFrame({"trait": labels[trait], "other": labels[other], "pmi": pmi[trait, other]})
