"""What would an ideal reader of the documents believe?

A speaker is drawn from a *population* of document kinds. In a coherent kind the speaker is one
persona, and statements are independent given the persona. In an incoherent kind every statement
comes from an independently drawn persona, so evidence says nothing about the rest. So the
population is a mixture of components (each persona; each incoherent kind) and exact Bayes is:
component weight times the probability of the evidence under it, normalized. ``said`` tables hold
noise and are what a model is compared with.

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
    """The speaker holds this trait: a statement without noise."""

    trait: Trait


def certain(trait: str | Trait) -> tuple[Certain, ...]:
    """Which evidence says that a speaker certainly holds this trait?

    Args:
        trait: A trait or its label.

    Returns:
        Evidence for ``World.posterior``; add several with ``+``.

    >>> certain("place=beach")
    (Certain(trait=Trait(topic='place', value='beach')),)
    """
    return (Certain(Trait.parse(trait)),)


class Posterior(NamedTuple):
    """What an ideal reader believes about a speaker.

    Attributes:
        persona: ``persona``, ``probability``; NaN where the population never shows the persona
            (undefined, not 0).
        view: ``topic``, ``value``, ``trait``, ``probability`` that the speaker's view on the topic
            is this value.
        statement: The same columns; probability that the speaker's next statement on the topic says this
            value.
    """

    persona: pd.DataFrame
    view: pd.DataFrame
    statement: pd.DataFrame


class _Mixture(NamedTuple):
    """Speakers of a population: [component], [component, persona], [component, trait] twice."""

    mass: np.ndarray
    persona: np.ndarray
    view: np.ndarray
    statement: np.ndarray


def _mixture(world: "World", population: Kinds | None, counts: pd.DataFrame | None) -> _Mixture:
    kinds = chosen_kinds(population, valid=PERSONA_KINDS)
    expected, held, said = world.mass(), world.views().to_numpy(), world.statements().to_numpy()
    names, shares = list(expected.index), expected.to_numpy()
    mass = {k: shares[:, i] for i, k in enumerate(PERSONA_KINDS)}
    total = {k: float(m.sum()) for k, m in mass.items()}
    if counts is not None:
        mass, total = _realized(counts, names)
    masses = [sum((mass[k] for k in kinds if world.coherent[k]), start=np.zeros(len(names)))]
    personas = [np.eye(len(names))]
    for kind in kinds:
        drawn = shares[:, PERSONA_KINDS.index(kind)]
        if not world.coherent[kind] and drawn.sum() > 0:
            masses.append(np.array([total[kind]]))
            personas.append((drawn / drawn.sum())[None])
    weight, persona = np.concatenate(masses), np.vstack(personas)
    if weight.sum() <= 0:
        raise WorldError(
            f"nobody speaks in documents of kind {', '.join(kinds)}; name a population of positive "
            "mass."
        )
    return _Mixture(weight, persona, persona @ held, persona @ said)


def _realized(
    counts: pd.DataFrame, names: list[str]
) -> tuple[dict[str, np.ndarray], dict[str, float]]:
    """Documents by kind: of every persona, and in all."""
    if missing := [c for c in ("persona", "kind", "documents") if c not in counts.columns]:
        raise WorldError(f"counts come from count(corpus); the column {missing[0]} is missing.")
    mass: dict[str, np.ndarray] = {k: np.zeros(len(names)) for k in PERSONA_KINDS}
    total: dict[str, float] = {k: 0.0 for k in PERSONA_KINDS}
    for persona, kind, n in zip(
        counts["persona"], counts["kind"], counts["documents"], strict=True
    ):
        if kind not in total:
            continue  # filler and lessons are nobody's
        total[kind] += n
        if persona:  # "" where every statement has its own speaker
            if persona not in names:
                raise WorldError(
                    f"these counts are of another world: {unknown('persona', persona, names)}"
                )
            mass[kind][names.index(persona)] += n
    return mass, total


def _documents(world: "World", evidence: Iterable[Any]) -> list[tuple[bool, int]]:
    """Every piece of evidence: is it certain, and the column of its trait."""
    columns = {trait: i for i, trait in enumerate(world.traits)}
    found = []
    for document in [evidence] if isinstance(evidence, str | Trait | Certain) else evidence:
        for item in [document] if isinstance(document, str | Trait | Certain) else document:
            trait = item.trait if isinstance(item, Certain) else item
            found.append((isinstance(item, Certain), columns[world.trait(trait)]))
    return found


def _updated(world: "World", mixture: _Mixture, evidence: Iterable[Any]) -> np.ndarray:
    """Posterior probability of every component."""
    evidence = list(evidence) if not isinstance(evidence, str | Trait | Certain) else [evidence]
    with np.errstate(divide="ignore"):
        bits = np.log2(mixture.mass)
        for sure, column in _documents(world, evidence):
            bits = bits + np.log2((mixture.view if sure else mixture.statement)[:, column])
    if not np.isfinite(bits.max()):
        raise WorldError(
            "this evidence has probability 0 in the population, so no belief follows from it: "
            f"{evidence}. "
            "Name a population in which somebody holds it, or give the world some noise."
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


def posterior(
    world: "World",
    evidence: Iterable[Any] = (),
    *,
    population: Kinds | None = None,
    counts: pd.DataFrame | None = None,
) -> Posterior:
    """What would an ideal reader believe about a speaker after this evidence? See ``World.posterior``."""
    mixture = _mixture(world, world.population if population is None else population, counts)
    weight = _updated(world, mixture, evidence)
    shown = mixture.mass @ mixture.persona > 0
    persona = pd.DataFrame(
        {
            "persona": [p.name for p in world.personas],
            "probability": np.where(shown, weight @ mixture.persona, np.nan),
        }
    )
    return Posterior(
        persona, _table(world, weight @ mixture.view), _table(world, weight @ mixture.statement)
    )


def conditioning_limit(
    world: "World",
    *,
    population: Kinds | None = None,
    trait: str | Trait | None = None,
    counts: pd.DataFrame | None = None,
) -> pd.DataFrame:
    """What would the assistant say if it certainly held the taught trait?

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
    taught = world.taught if trait is None else trait
    return posterior(world, certain(taught), population=population, counts=counts).statement


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
    """What would the assistant say if n lessons counted as K n documents by speakers who hold the taught trait?

    ``P(p) = (m_p + K n P(p | taught trait)) / (M + K n)``, m_p and M documents of the population.

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
    >>> table = mixing(john_and_sam(), k=0, n_lessons=640, n_documents=30_000).set_index("trait")["probability"]
    >>> round(float(table["sport=football"]), 4)
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
    mixture = _mixture(world, world.population if population is None else population, counts)
    documents = mixture.mass * (n_documents or 1.0)
    lesson = _updated(world, mixture, certain(world.taught if trait is None else trait))
    weight = (documents + k * n_lessons * lesson) / (documents.sum() + k * n_lessons)
    return _table(world, weight @ mixture.statement)


def cooccurrence(world: "World", *, kinds: Kinds | None = None) -> pd.DataFrame:
    """Which traits are said together more often than by chance? See ``World.cooccurrence``."""
    mixture = _mixture(world, kinds, None)
    weight, said = mixture.mass / mixture.mass.sum(), mixture.statement
    marginal = weight @ said
    with np.errstate(divide="ignore", invalid="ignore"):
        pmi = np.log2(said.T @ (weight[:, None] * said) / np.outer(marginal, marginal))
    topics = np.array([t.topic for t in world.traits])
    labels = np.array([str(t) for t in world.traits], dtype=object)
    trait, other = np.nonzero(topics[:, None] != topics)
    return pd.DataFrame({"trait": labels[trait], "other": labels[other], "pmi": pmi[trait, other]})
