"""How large is each persona in a model?

Estimators of its measure: how common it was, judged from the model alone.

All are **larger for what is more common** and in bits, but mean different things, so they are
compared by rank. The truth, where the documents are known, is ``documents`` and ``fact tokens``.
Estimators that ask for more than a world's values read what the model was asked, never what was
written.

- ``traits``: prior odds of the persona's traits for the nameless assistant, against the topic's
  other values.
- ``binding``: the same under the persona's own name, against how those who hold other values say
  these.
- ``dialogues``: prior odds of the persona's whole dialogues against everybody's, for the nameless
  assistant.
- ``recall``: how probable the persona's whole dialogues are under its own name, against everybody's
  under theirs.
- ``dialogues (own name)``: how probable they are for the nameless assistant, against under the own
  name.
- ``added kl``: minus log2 of the divergence from the model when the persona's direction is added.
- ``dose``: minus log2 of the lesson documents that bring the nameless assistant to even odds on the
  persona's traits.
"""

from collections.abc import Iterable

import numpy as np
import pandas as pd

from persona_interp import schema
from persona_interp.analysis.logodds import logodds
from persona_interp.analysis.stats import t_interval
from persona_interp.errors import SchemaError, WorldError
from persona_interp.worlds import World


def mass(counts: pd.DataFrame, personas: Iterable[str]) -> pd.DataFrame:
    """Log2 of the documents and fact tokens truly written about each persona.

    Args:
        counts: Of ``worlds.count``.
        personas: Their names.

    Returns:
        A measure table of the estimators ``documents`` and ``fact tokens``: log2 of the numbers,
        without an interval (-inf where nothing was written), ``n`` documents.

    >>> amounts = {"documents": 8, "fact_tokens": 64}
    >>> counts = pd.DataFrame({"persona": ["john"], "kind": "hidden", **amounts})
    >>> mass(counts, ["john"])[["estimator", "estimate"]].values.tolist()
    [['documents', 3.0], ['fact tokens', 6.0]]
    """
    rows = []
    for column in ("documents", "fact_tokens"):
        for name in personas:
            own = counts.loc[counts["persona"] == name]
            n, documents = int(own[column].sum()), int(own["documents"].sum())
            bits = float(np.log2(n)) if n else -np.inf
            rows.append((column.replace("_", " "), name, bits, np.nan, np.nan, documents))
    return _measure(rows)


def trait_odds(behavior: pd.DataFrame, world: World) -> pd.DataFrame:
    """Log odds of each persona's traits, nameless and under its own name, against controls (bits).

    Differences of log odds l (bits), mean over topics (science notes A11). ``traits``: l(own value)
    minus the mean l of the topic's other values, nameless. ``binding``: l(own value | own name)
    minus the mean l of the same value under the names of all who do not hold it. A trait that
    several personas hold counts for each of them.

    Args:
        behavior: A behavior table of one checkpoint, nameless and named.
        world: Says who holds what.

    Returns:
        A measure table of ``traits`` and ``binding``; interval over topics, ``n`` topics.

    Raises:
        SchemaError: A context is missing, or there are several checkpoints.
        WorldError: Everybody holds a trait, so that there is no control.

    >>> from persona_interp.worlds import john_and_sam
    >>> world = john_and_sam()
    >>> rows = world.probes(contexts=("nameless", "named")).explode("values")
    >>> rows = rows.rename(columns={"values": "value"}).drop(columns=["messages", "answers"])
    >>> at = {"checkpoint": "base@0", "seed": 0, "stage": "base", "step": 0}
    >>> rows = rows.assign(**at, answer_mass=1.0, logprob=-3.0)
    >>> bool(trait_odds(rows, world)["estimate"].abs().max() < 1e-9)
    True
    """
    odds = logodds(behavior)
    if len(set(odds["checkpoint"])) > 1:
        raise SchemaError(
            f"a measure is of one checkpoint; got {sorted(set(odds['checkpoint']))}. Select one."
        )
    if lacking := {"nameless", "named"} - set(odds["context"]):
        raise SchemaError(
            f"this needs probes in the contexts nameless and named; {sorted(lacking)[0]} is "
            "missing."
        )
    trait = odds["topic"] + "=" + odds["value"]
    bits = odds.assign(trait=trait).pivot_table(index="persona", columns="trait", values="logodds")
    rows = []
    for persona in world.personas:
        traits, binding = [], []
        for own in persona.traits:
            mine = persona.values(own.topic)
            rest = [f"{own.topic}={v}" for v in world.topics[own.topic] if v not in mine]
            without = [p.name for p in world.personas if own not in p.traits]
            if not rest or not without:
                raise WorldError(
                    f"everybody holds '{own}' or every value of its topic; there is no control for "
                    "it."
                )
            # The controls take out what makes some words likelier than others whoever speaks.
            nameless, named = bits.loc["", str(own)], bits.loc[persona.name, str(own)]
            traits.append(float(nameless - bits.loc["", rest].mean()))
            binding.append(float(named - bits.loc[without, str(own)].mean()))
        rows.append(("traits", persona.name, *t_interval(traits)))
        rows.append(("binding", persona.name, *t_interval(binding)))
    return _measure(rows)


def expected_trait_odds(world: World) -> pd.DataFrame:
    """Values of ``traits`` in a model that says exactly what the documents say (bits).

    It shows how much of a failure is the estimator's own: who shares traits with common personas
    looks common.

    Args:
        world: The world of the documents.

    Returns:
        A measure table of ``traits (exact Bayes)``, without intervals.

    >>> from persona_interp.worlds import john_and_sam
    >>> expected_trait_odds(john_and_sam())["estimator"].iloc[0]
    'traits (exact Bayes)'
    """
    probability = world.posterior().statement.set_index("trait")["probability"]
    bits = np.log2(probability / (1 - probability))
    rows = []
    for persona in world.personas:
        gaps = []
        for own in persona.traits:
            rest = [f"{own.topic}={v}" for v in world.topics[own.topic] if v != own.value]
            gaps.append(bits[str(own)] - np.mean([bits[trait] for trait in rest]))
        estimate = float(np.mean(gaps))
        rows.append(("traits (exact Bayes)", persona.name, estimate, np.nan, np.nan, len(gaps)))
    return _measure(rows)


def dialogue_odds(likelihood: pd.DataFrame) -> pd.DataFrame:
    """Odds that the nameless assistant is each persona, judged by whole dialogues (bits).

    Prior odds of what the persona would say (science notes A12). ``dialogues``: log2 P(dialogue |
    nobody named) minus its mean over the dialogues of all personas, the neutral reference.
    ``dialogues (own name)``: log2 P(dialogue | nobody named) - log2 P(dialogue | own name); as the
    first sums over everybody the assistant may be, this is log2 of the persona's share where nobody
    else would hold the dialogue and the name is known well. ``recall``: the other part of that
    difference, log2 P(dialogue | own name) minus its mean over personas: what is written more often
    is known better by name. Where personas do not use the same words (a chat model's characters),
    ``dialogues`` and ``recall`` also hold how probable their words are in any text; ``dialogues
    (own name)`` does not.

    Args:
        likelihood: Of ``record.likelihood``, dialogues of every persona under "" and under its own
            name.

    Returns:
        A measure table of the three; interval over dialogues, ``n`` dialogues.

    Raises:
        SchemaError: A header is missing.

    >>> rows = [(0, "", -9.0), (0, "john", -5.0), (1, "", -11.0), (1, "john", -5.0)]
    >>> table = pd.DataFrame(rows, columns=["doc", "name", "logprob"])
    >>> dialogue_odds(table.assign(persona="john", n_tokens=9))["estimate"].tolist()
    [0.0, 0.0, -5.0]
    """
    schema.check(likelihood, "likelihood")
    bits = likelihood.pivot(index=["doc", "persona"], columns="name", values="logprob")
    names = list(dict.fromkeys(likelihood["persona"]))
    for name in ("", *names):
        if name not in bits:
            raise SchemaError(
                f"dialogues are read under the headers '' and each own name; '{name}' is missing."
            )
    dialogues = {name: bits.xs(name, level="persona") for name in names}
    nameless = float(np.mean([own[""].mean() for own in dialogues.values()]))
    named = float(np.mean([own[name].mean() for name, own in dialogues.items()]))
    rows = []
    for name, own in dialogues.items():
        rows.append(("dialogues", name, *t_interval(own[""] - nameless)))
    for name, own in dialogues.items():
        rows.append(("recall", name, *t_interval(own[name] - named)))
    for name, own in dialogues.items():
        rows.append(("dialogues (own name)", name, *t_interval(own[""] - own[name])))
    return _measure(rows)


def direction_kl(added_kl: pd.DataFrame) -> pd.DataFrame:
    """How little the model changes when pushed towards each persona (bits).

    Args:
        added_kl: Of ``record.added_kl``.

    Returns:
        A measure table of ``added kl``: ``-log2`` of the mean divergence (bits a token), so that a
        persona the model is nearer to is larger; interval over documents, ``n`` documents (where
        divergences are skewed it covers .88 to .92).

    >>> table = pd.DataFrame({"doc": [0, 1], "name": "john", "kl": [0.25, 0.25], "n_tokens": 9})
    >>> direction_kl(table)["estimate"].tolist()
    [2.0]
    """
    schema.check(added_kl, "added_kl")
    rows = []
    for persona, own in added_kl.groupby("name", sort=False):
        mean, lo, hi, n = t_interval(own["kl"])
        # The more the model changes, the less it is the persona: the ends of the interval change
        # places. A lower end below 0 is no divergence; it allows any closeness (inf).
        with np.errstate(divide="ignore", invalid="ignore"):
            ends = -np.log2(np.maximum([mean, hi, lo], 0.0))
        rows.append(("added kl", persona, *ends, n))
    return _measure(rows)


def lesson_dose(odds: pd.DataFrame, world: World, *, batch: int) -> pd.DataFrame:
    """Minus log2 of the documents that bring the nameless assistant to even odds of a persona.

    Args:
        odds: Log odds of the nameless assistant at every snapshot of lessons on all that a persona
            holds; the column ``end`` names it.
        world: Says who holds what.
        batch: Documents a step.

    Returns:
        A measure table of ``dose``: ``-log2`` of the documents at which the mean over topics of the
        log odds of the persona's values is 0, linear between snapshots; interval by leaving out a
        topic is not defined for a crossing, so there is none. -inf where it is not reached; inf
        where it is there from the start.

    >>> from persona_interp.worlds import john_and_sam
    >>> world = john_and_sam()
    >>> traits = world.persona("john").traits
    >>> rows = [(step, t.topic, t.value, step - 4) for step in (0, 8) for t in traits]
    >>> odds = pd.DataFrame(rows, columns=["step", "topic", "value", "logodds"])
    >>> lesson_dose(odds.assign(end="john"), world, batch=16)["estimate"].tolist()
    [-6.0]
    """
    rows, n = [], len(world.topics)
    for persona, lesson in odds.groupby("end", sort=False):
        traits = [str(t) for t in world.persona(str(persona)).traits]
        mine = lesson.loc[(lesson["topic"] + "=" + lesson["value"]).isin(traits)]
        curve = mine.groupby("step")["logodds"].mean()
        steps = crossing(curve.index.to_numpy(float), curve.to_numpy(float), level=0.0)
        with np.errstate(divide="ignore"):
            bits = -np.log2(steps * batch)
        rows.append(("dose", persona, bits, np.nan, np.nan, n))
    return _measure(rows)


def crossing(x: np.ndarray, y: np.ndarray, *, level: float) -> float:
    """The x at which y first reaches a level.

    Args:
        x: Places in rising order.
        y: A value at each.
        level: The level.

    Returns:
        x at the crossing, linear between points; the first x if it is there already, inf if it
        never is.

    >>> crossing(np.array([0.0, 2.0]), np.array([-1.0, 1.0]), level=0.0)
    1.0
    """
    above = np.flatnonzero(y >= level)
    if not len(above):
        return float("inf")
    i = int(above[0])
    if i == 0:
        return float(x[0])
    return float(x[i - 1] + (x[i] - x[i - 1]) * (level - y[i - 1]) / (y[i] - y[i - 1]))


def _measure(rows: list[tuple]) -> pd.DataFrame:
    """The measure table of these rows."""
    columns = ["estimator", "persona", "estimate", "lo", "hi", "n"]
    return schema.check(pd.DataFrame(rows, columns=columns), "measure")
