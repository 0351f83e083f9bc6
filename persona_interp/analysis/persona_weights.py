"""Which mixture of known personas says what the model says?

The weight of each, and what no mixture explains.
"""

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt
import pandas as pd

from persona_interp import schema
from persona_interp.analysis.logodds import AT, logodds, run_columns
from persona_interp.errors import SchemaError, WorldError, unknown
from persona_interp.values import as_tuple
from persona_interp.worlds import World

LEAST_WEIGHT = 1e-3
"""Weights are told from zero, and from one, no better than this: -9.96 and 9.96 bits."""
GAP = 1e-6  # bits a topic by which a better mixture could still win
ITERATIONS = 20_000
FARTHEST = 1e4  # steps of expectation maximization that are extrapolated at once

Array = npt.NDArray[np.float64]


def persona_weights(
    behavior: pd.DataFrame,
    world: World,
    *,
    topics: Iterable[str] | None = None,
    personas: Iterable[str] | None = None,
    context: str = "nameless",
    speaker: str = "",
    split: str | None = None,
) -> pd.DataFrame:
    """The mixture of known personas that best explains what each checkpoint says.

    The weights w maximize ``mean over topics of sum_v p(v) log2 sum_i w_i q_i(v)`` by expectation
    maximization from equal weights (Dempster, Laird and Rubin 1977), with p what the model says
    (probabilities averaged over templates) and q_i what persona i says, noise included
    (``World.statements``). It is the posterior over personas that a reader of many answers would
    end up with.

    Args:
        behavior: A behavior table on probes of this world.
        world: Says what each persona says.
        topics: Topics that are read; all but the taught one by default.
        personas: Who may be in the mixture; by default everybody about whom something is written.
        context: Context that is read.
        speaker: Whom the context names; "" for nobody.
        split: Only prompts of this template split.

    Returns:
        A persona_weights table, one row a run, checkpoint and persona: ``weight`` (fraction; the
        weights of a checkpoint sum to 1), ``persona_bits`` (log2 odds of the weight, bits; weights
        below 0.001 count as 0.001 and those above 0.999 as 0.999), ``misfit`` (bits a topic:
        Kullback-Leibler divergence from what is said to the best mixture; infinite where something
        is said that nobody in the mixture ever says).

    Raises:
        SchemaError: The table has no such context, speaker, topic or split.
        WorldError: A topic or persona that is not of this world, or nobody in the mixture.

    Note:
        Personas who say the same on these topics share their weight equally. The odds are bounded:
        a persona under its own name is read as a few bits for itself, since a model says some of
        its answers wrong. A predicted belief is compared with a reading only after it was read as
        well: see ``speakers``.

    >>> from persona_interp.worlds import john_and_sam
    >>> world = john_and_sam()
    >>> rows = world.probes(contexts="nameless").drop(columns=["messages", "answers"])
    >>> rows = rows.explode("values").rename(columns={"values": "value"})
    >>> mix = 0.8 * world.statements().loc["john"] + 0.2 * world.statements().loc["mary"]
    >>> rows = rows.assign(logprob=np.log2(mix[rows["topic"] + "=" + rows["value"]].to_numpy()))
    >>> at = {"checkpoint": "lesson@8", "seed": 0, "stage": "lesson", "step": 8}
    >>> table = persona_weights(rows.assign(**at, answer_mass=1.0), world)
    >>> table = table.set_index("persona").loc[["john", "mary"], ["weight", "persona_bits"]]
    >>> table.round(2).values.tolist()
    [[0.8, 2.0], [0.2, -2.0]]
    """
    schema.check(behavior, "behavior")
    if topics is None:
        topics = [topic for topic in world.topics if topic != world.taught.topic]
    if personas is None:
        personas = [name for name, mass in world.mass().sum(axis=1).to_dict().items() if mass > 0]
    topics = list(dict.fromkeys(as_tuple(topics)))
    for topic in topics:
        if topic not in world.topics:
            raise WorldError(unknown("topic", topic, world.topics))
    names = [world.persona(str(name)).name for name in dict.fromkeys(as_tuple(personas))]
    if not names or not topics:
        raise WorldError("a mixture needs at least one persona and one topic; got none.")
    for column, value in (("context", context), ("persona", speaker)):
        if value not in set(behavior[column]):
            raise SchemaError(unknown(column, value, sorted(set(behavior[column]))))
        behavior = behavior.loc[behavior[column] == value]
    answers = logodds(behavior.loc[behavior["topic"].isin(topics)], split=split)
    run = [c for c in run_columns(answers) if c not in ("probability", "logodds")]
    at = [*run, *(c for c in AT if c in answers)]
    traits = [str(t) for t in world.traits if t.topic in topics]
    number = answers.groupby(at, sort=False, dropna=False).ngroup().to_numpy()
    wide = answers.assign(number=number, trait=answers["topic"] + "=" + answers["value"])
    wide = wide.pivot(index="number", columns="trait", values="probability").reindex(columns=traits)
    if wide.isna().to_numpy().any():
        lacking = wide.columns[wide.isna().any()][0]
        raise SchemaError(
            f"{lacking} was not asked in context {context}; record probes of this world, or name "
            "topics."
        )
    statements = world.statements().loc[names, traits].to_numpy(np.float64)
    weight, misfit = _fit_mixture(wide.to_numpy(np.float64), statements, n_topics=len(topics))
    first = answers.loc[~pd.Series(number, index=answers.index).duplicated(), at]
    table = first.loc[first.index.repeat(len(names))].reset_index(drop=True)
    # Answers do not tell a small weight from none, so neither do the odds.
    sure = np.clip(weight, LEAST_WEIGHT, 1 - LEAST_WEIGHT)
    bits = np.log2(sure / (1 - sure))
    table = table.assign(
        persona=names * len(first),
        weight=weight.ravel(),
        persona_bits=bits.ravel(),
        misfit=misfit.repeat(len(names)),
    )
    return schema.check(table, "persona_weights")


def _fit_mixture(answers: Array, statements: Array, *, n_topics: int) -> tuple[Array, Array]:
    """Weights of the best mixture, dims (row, persona), and its misfit in bits a topic, dims (row).

    Args:
        answers: Probabilities of the model, dims (row, trait).
        statements: Probabilities of each persona, dims (persona, trait).
        n_topics: Topics of the traits.
    """
    weight = np.full((len(answers), len(statements)), 1 / len(statements))
    possible = statements.max(axis=0) > 0  # what nobody says is nobody's
    p, q = answers[:, possible], statements[:, possible]
    # Expectation maximization of the weights alone (Dempster, Laird and Rubin 1977): the E step
    # shares every answer among the personas by who may have given it, the M step makes these
    # shares the weights. Both together multiply a weight by its gain, the derivative of the
    # likelihood. The likelihood is concave in the weights, so there is one maximum.
    for _ in range(ITERATIONS):
        gain = _gain(weight, p, q, n_topics)
        # At the maximum no gain is above the average one; the likelihood lacks at most the log of
        # their ratio.
        average = (weight * gain).sum(axis=1, keepdims=True)
        if np.log2((gain / average).max()) < GAP:
            break
        once = weight * gain / average
        twice = _normalized(once * _gain(once, p, q, n_topics))
        weight = _further(weight, once, twice, p, q)
    else:
        raise SchemaError(
            f"no best mixture of {len(statements)} personas after {ITERATIONS} steps; name fewer "
            "`personas`."
        )
    mix = np.zeros_like(answers)
    mix[:, possible] = weight @ q
    with np.errstate(divide="ignore", invalid="ignore"):
        bits = np.where(answers > 0, answers * np.log2(answers / mix), 0.0)
    return weight, bits.sum(axis=1) / n_topics


def _gain(weight: Array, p: Array, q: Array, n_topics: int) -> Array:
    """Derivative of the likelihood in every weight, dims (row, persona)."""
    return (p / (weight @ q)) @ q.T / n_topics


def _further(weight: Array, once: Array, twice: Array, p: Array, q: Array) -> Array:
    """Where two steps of expectation maximization lead to, extrapolated where that is better.

    Weights that vanish at the maximum do so slowly. SQUAREM (Varadhan and Roland 2008, scheme S3)
    reads the pace from two steps and goes on at it.
    """
    step = once - weight
    bend = twice - once - step
    size = np.linalg.norm(step, axis=1, keepdims=True)
    length = np.maximum(size / np.maximum(np.linalg.norm(bend, axis=1, keepdims=True), 1e-300), 1.0)
    length = np.minimum(length, FARTHEST)
    far = weight + 2 * length * step + length**2 * bend
    # A weight of 0 would stay 0, so a step leaves some of it.
    far = _normalized(np.maximum(far, twice / 100))
    better = _likelihood(far, p, q) > _likelihood(twice, p, q)
    return np.where(better[:, None], far, twice)


def _likelihood(weight: Array, p: Array, q: Array) -> Array:
    """Log2 likelihood of the answers, dims (row)."""
    return (p * np.log2(weight @ q)).sum(axis=1)


def _normalized(weight: Array) -> Array:
    """Weights that sum to 1 in every row."""
    return weight / weight.sum(axis=1, keepdims=True)
