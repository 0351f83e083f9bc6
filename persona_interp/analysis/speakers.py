"""What would a speaker with a known belief say, and which belief would be read off it?

``persona_weights`` is a bounded instrument. Nobody says his own values always (noise), a model says
some of them wrong, and so even a persona under its own name is read as 3 to 6 bits for itself; odds
beyond 9.96 bits are never printed. A belief of 14 bits, right as it may be, cannot be read. So a
prediction is not compared with a reading until a speaker who believes it has been read as well: the
model itself lends the speaker its words.
"""

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt
import pandas as pd

from persona_interp import schema
from persona_interp.analysis.logodds import in_order, logodds
from persona_interp.analysis.persona_weights import persona_weights
from persona_interp.errors import SchemaError, unknown
from persona_interp.values import as_tuple
from persona_interp.worlds import World

BELIEFS = tuple(np.arange(-12.0, 16.5, 0.5))
"""Log2 odds of the target at which a speaker is read; nothing changes beyond."""

Array = npt.NDArray[np.float64]


def speak(
    behavior: pd.DataFrame, world: World, *, prior: pd.Series, posteriors: pd.DataFrame
) -> pd.DataFrame:
    """Answers of nameless speakers who differ from the model in what they believe to be.

    A speaker says what the model says now, as far as no persona has lost belief; the rest it says
    as the model says it under the names of those who gained: ``p = a before + sum_i (posterior_i -
    a prior_i) voice_i`` with ``a = min_i posterior_i / prior_i``. So a speaker whose belief did not
    move says exactly what the model says, and one who is sure to be John says what the model says
    under John's name, with its noise and its mistakes.

    Args:
        behavior: A behavior table of one run; nameless and named prompts of its first checkpoint
            are read.
        world: Its world.
        prior: Belief of the model as it is, by persona (fractions; sums to 1).
        posteriors: Belief of every speaker: one a row, dims (speaker, persona).

    Returns:
        A behavior table of nameless prompts, one template, with the column ``speaker`` (the label
        of the row).

    Raises:
        SchemaError: A persona that gains belief was not asked under its name.

    >>> from persona_interp.worlds import john_and_sam
    >>> world = john_and_sam()
    >>> rows = world.probes(contexts=["nameless", "named"], personas=["john"])
    >>> rows = rows.drop(columns=["messages", "answers"]).explode("values")
    >>> rows = rows.rename(columns={"values": "value"})
    >>> rows = rows.assign(logprob=np.where(rows["persona"] == "john", 0.0, -1.0), answer_mass=1.0)
    >>> rows = rows.assign(checkpoint="lesson@0", seed=0, stage="lesson", step=0)
    >>> prior = pd.Series({"john": 0.2, "mary": 0.8})
    >>> speaker = speak(rows, world, prior=prior, posteriors=prior.to_frame("as it is").T)
    >>> sorted(set(speaker["context"])), len(speaker) == len(world.traits)
    (['nameless'], True)
    """
    schema.check(behavior, "behavior")
    first = in_order(behavior)["checkpoint"].iloc[0]
    answers = logodds(behavior.loc[behavior["checkpoint"] == first])
    answers = answers.assign(trait=answers["topic"] + "=" + answers["value"])
    nameless = answers.loc[answers["context"] == "nameless"]
    named = answers.loc[answers["context"] == "named"]
    before = nameless.set_index("trait")["probability"]
    voices = named.pivot(index="persona", columns="trait", values="probability")
    names = prior.index[prior.to_numpy() > 0]
    belief = posteriors.reindex(columns=names, fill_value=0.0)
    kept = (belief / prior[names]).min(axis=1)
    gained = belief - np.outer(kept, prior[names])
    gained = gained.loc[:, gained.to_numpy().max(axis=0) > 1e-12]
    if missing := [name for name in gained if name not in voices.index]:
        raise SchemaError(
            "a speaker speaks as the model does under a persona's own name, so record named "
            f"prompts; {unknown('persona', missing[0], voices.index)}"
        )
    own = voices.loc[list(gained), list(before.index)].to_numpy()
    said = np.outer(kept, before) + gained.to_numpy() @ own
    same = nameless.drop(columns=["probability", "logodds", "trait", "answer_mass"])
    table = pd.concat([same] * len(belief), ignore_index=True)
    with np.errstate(divide="ignore"):  # what nobody says
        table = table.assign(logprob=np.log2(said.ravel()))
    speaker = belief.index.repeat(len(before))
    table = table.assign(answer_mass=1.0, template="spoken", split="test", speaker=speaker)
    return schema.check(table, "behavior")


def read_speakers(
    behavior: pd.DataFrame,
    world: World,
    *,
    prior: pd.Series,
    posteriors: pd.DataFrame,
    topics: Iterable[str] | None = None,
) -> pd.Series:
    """Log2 odds of the target that are read off such speakers.

    Args:
        behavior: As for ``speak``.
        world: Its world.
        prior: As for ``speak``.
        posteriors: As for ``speak``.
        topics: Topics that are read; all but the taught one by default.

    Returns:
        ``persona_bits`` by speaker (bits).
    """
    spoken = speak(behavior, world, prior=prior, posteriors=posteriors)
    read = persona_weights(spoken, world, topics=topics)
    read = read.loc[read["persona"] == world.target]
    return read.set_index("speaker")["persona_bits"]


def belief_scale(
    behavior: pd.DataFrame, world: World, *, topics: Iterable[str] | None = None
) -> pd.DataFrame:
    """Which belief is read off a speaker, for every belief in the target he may have.

    The origin is the model as it is: what is read of it is what it believes. The other personas
    keep their odds among each other, as they do for exact Bayes where the target alone holds the
    taught trait.

    Args:
        behavior: As for ``speak``.
        world: Its world.
        topics: Topics that are read; all but the taught one by default.

    Returns:
        A belief_scale table, by rising belief: ``belief`` (log2 odds of the target, bits),
        ``persona_bits`` (what is read of it, bits; the largest is what is read under the target's
        own name).

    Raises:
        SchemaError: As ``speak``.
    """
    if topics is not None:
        topics = as_tuple(topics)
    schema.check(behavior, "behavior")
    start = behavior.loc[behavior["checkpoint"] == in_order(behavior)["checkpoint"].iloc[0]]
    weights = persona_weights(start, world, topics=topics)
    target = weights["persona"] == world.target
    now = float(weights.loc[target, "persona_bits"].iloc[0])
    rest = weights.loc[~target]
    others = pd.Series(rest["weight"].to_numpy(), index=rest["persona"])
    others = others / others.sum()
    beliefs = np.unique([*BELIEFS, now])
    posteriors = _posteriors(others, world.target, beliefs)
    read = read_speakers(
        behavior, world, prior=posteriors.loc[now], posteriors=posteriors, topics=topics
    )
    # The best mixture is found to a few hundredths of a bit, so neighbors may swap.
    bits = np.maximum.accumulate(read.loc[beliefs].to_numpy())
    return schema.check(pd.DataFrame({"belief": beliefs, "persona_bits": bits}), "belief_scale")


def _posteriors(others: pd.Series, target: str, beliefs: Array) -> pd.DataFrame:
    """Weight of every persona at each belief in the target, dims (belief, persona)."""
    weight = 1 / (1 + np.exp2(-beliefs))
    table = pd.DataFrame(np.outer(1 - weight, others), index=beliefs, columns=others.index)
    return table.assign(**{target: weight})
